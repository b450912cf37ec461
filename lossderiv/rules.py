"""TABLE of rules: the identities by which a loss becomes short, and then safe to compute.

``READING`` leads to the loss that a person reads; ``COMPUTING`` leads from there to the form that
a machine evaluates without losing digits. Each rule carries its own evidence and is tested for
being true, needed, enough and modest.
"""

from __future__ import annotations

from sympy import (
    Abs,
    IndexedBase,
    KroneckerDelta,
    Min,
    Rational,
    Sum,
    Symbol,
    atanh,
    besseli,
    cos,
    cosh,
    exp,
    factorial,
    gamma,
    log,
    sign,
    sin,
    sqrt,
    symbols,
)

from lossderiv.special import (
    cauchy_score,
    expm1,
    expm1_minus,
    exprel_inverse,
    exprel_mean,
    inside,
    inverse_expm1,
    lgamma,
    lgamma_stirling,
    log1mexp,
    log1p,
    log1p_share,
    log1p_share_pull,
    log1p_square,
    log_cosh,
    log_exprel,
    log_i0e,
    log_softplus,
    logistic,
    poisson_deviance,
    power_log,
    relu,
    scaled_expm1,
    scaled_expm1_minus,
    scaled_square_pull,
    share_deviance,
    signed_power,
    softplus,
    softplus_pull,
    step,
    stirling_error,
    stirling_gap,
    student_balance,
    student_constant,
    student_constant_pull,
    student_constant_slope,
    student_score,
    wall,
)
from lossderiv.symbolic.records import Rule
from lossderiv.symbolic.vectors import (
    ENTRY,
    RUNNING,
    LogSumExp,
    Others,
    Placed,
    Softmax,
    Surprisal,
)

a, b, t, u, v = symbols("a b t u v", real=True)
m, r, s = symbols("m r s", positive=True)
half = Rational(1, 2)
k = Symbol("k", integer=True)
c = Symbol("c", integer=True, nonnegative=True)
total = Symbol("total", integer=True, positive=True)
HALF = Rational(1, 2)
eta, index = IndexedBase("eta", real=True), Symbol("x", integer=True, nonnegative=True)
picked = eta[index]
all_scores = LogSumExp(eta[RUNNING], RUNNING)
weights = Softmax(eta[ENTRY], ENTRY)
others = Others(weights, ENTRY, index)
surprisal = Surprisal(eta[ENTRY], weights, ENTRY, index)

READING: tuple[Rule, ...] = (
    Rule(
        "log of a logistic",
        find=log(logistic(u)),
        give=-softplus(-u),
        because="the logistic underflows to 0 while its log is still a modest number",
        anchor={u: 0},
        witness={u: -120.0},
        spares=(log(u), log(1 + u)),
    ),
    Rule(
        "log of one minus a logistic",
        find=log(1 - logistic(u)),
        give=-softplus(u),
        because="one minus the logistic rounds to 0 long before its log is large",
        anchor={u: 0},
        witness={u: 30.0},
        spares=(log(1 - u), log(1 + logistic(u))),
    ),
    Rule(
        "log of one plus an exponential",
        find=log(1 + exp(u)),
        give=softplus(u),
        because="the exponential overflows while the log is just its exponent",
        anchor={u: 0},
        witness={u: 120.0},
        spares=(log(1 + u), log(2 + exp(u))),
    ),
    Rule(
        "one minus a logistic",
        find=1 - logistic(u),
        give=logistic(-u),
        because="the logistic is symmetric, and the subtraction would lose its digits",
        anchor={u: 0},
        witness={u: 30.0},
        spares=(1 - u, 2 - logistic(u)),
    ),
    Rule(
        "log of a softplus",
        find=log(softplus(u)),
        give=log_softplus(u),
        because="the softplus underflows to 0 where its log is just its argument",
        anchor={u: 0},
        witness={u: -120.0},
        spares=(log(u), softplus(u)),
    ),
    Rule(
        "slope of a log softplus",
        find=logistic(u) / softplus(u),
        give=softplus_pull(u),
        because="both underflow together while their ratio tends to 1",
        anchor={u: 0},
        witness={u: -120.0},
        spares=(1 / softplus(u), softplus(u) * logistic(u)),
    ),
    Rule(
        "slope of the inverse of a softplus",
        find=logistic(u) / softplus(u) ** 2,
        give=softplus_pull(u) / softplus(u),
        because="the square underflows while the quotient is a modest number",
        anchor={u: 0},
        witness={u: -50.0},
        spares=(1 / softplus(u) ** 2, logistic(u) * softplus(u) ** 2),
    ),
    Rule(
        "softplus and its mirror image",
        find=a * softplus(-u) + b * softplus(u),
        give=(a + b) * softplus(u) - a * u,
        because="softplus(-u) = softplus(u) - u, so one softplus is enough",
        anchor={a: 1, b: 1, u: 0},
        witness=None,
        spares=(a * softplus(u) + b * softplus(u), softplus(-u)),
    ),
    Rule(
        "normaliser of the continuous Bernoulli",
        find=log(atanh(2 * logistic(u) - 1) / (2 * logistic(u) - 1)),
        give=softplus(u) - log_exprel(u) - log(2),
        because="in the logit the normaliser is log((e^u - 1)/u), which has a limit at 0",
        anchor={u: 1},
        witness={u: 30.0},
        spares=(atanh(2 * logistic(u) - 1), log(2 * logistic(u) - 1)),
    ),
    Rule(
        "log of a sum of exponentials",
        find=log(Sum(exp(eta[RUNNING]), RUNNING)),
        give=all_scores,
        because="the largest term is taken out before the exp, so nothing overflows",
        anchor={},
        witness={eta: (120.0, 0.0, -120.0), index: 0},
        spares=(Sum(exp(eta[RUNNING]), RUNNING),),
    ),
    Rule(
        "log of a factorial",
        find=log(factorial(k)),
        give=lgamma(k + 1),
        because="the factorial overflows at 35 in single precision, its log does not",
        anchor={k: 3},
        witness={k: 40.0},
        spares=(log(k), factorial(k)),
    ),
    Rule(
        "log of a gamma function",
        find=log(gamma(m)),
        give=lgamma(m),
        because="the gamma function overflows at 35 in single precision, its log does not",
        anchor={m: 3},
        witness={m: 40.0},
        spares=(log(m), gamma(m)),
    ),
    Rule(
        "log of one plus a square",
        find=log(1 + u**2),
        give=log1p_square(u),
        because="the square overflows at 1e19 in single precision, the log is then only 88",
        anchor={u: 1},
        witness={u: 1e25},
        spares=(log(1 + u), log(2 + u**2)),
    ),
    Rule(
        "log of one plus a share of a square",
        find=log(1 + u**2 / m),
        give=log1p_square(u / sqrt(m)),
        because="the square overflows at 1e19 in single precision, the log is then only 88",
        anchor={u: 1, m: 1},
        witness={u: 1e25, m: 2.0},
        spares=(log(1 + u / m), log(2 + u**2 / m)),
    ),
    Rule(
        "log of a hyperbolic cosine",
        find=log(cosh(u)),
        give=log_cosh(u),
        because="the hyperbolic cosine overflows at 89 in single precision; near 0 its log is u²/2",
        anchor={u: 0},
        witness={u: 120.0},
        spares=(log(u), cosh(u)),
    ),
    Rule(
        "log of one minus a power",
        find=log(1 - s**m),
        give=log1mexp(-m * log(s)),
        because="a power with a small exponent rounds to 1, and the difference to 0",
        anchor={s: HALF, m: 1},
        witness={s: 0.5, m: 1e-9},
        spares=(log(1 - s), log(1 + s**m), log(2 - s**m)),
    ),
    Rule(
        "a Kumaraswamy density's exponent",
        find=-log(m) - (r - 1) * log1mexp(-m * log(s)),
        give=log(-log(s)) + log_exprel(m * log(s)) - r * log1mexp(-m * log(s)),
        because="for a small exponent m its log is also in the log of 1 - x^m: taken out there, "
        "the slope has no large terms that cancel",
        anchor={s: 0.5, m: 1, r: 1},
        witness={s: 46 / 128, m: 2.0**-100, r: 2.0**-30},
        spares=(log1mexp(-m * log(s)), -log(m) - (r - 1) * log1mexp(m)),
    ),
    Rule(
        "normaliser of Student's t",
        find=lgamma(m / 2) - lgamma(m / 2 + half) + log(m) / 2,
        give=student_constant(m) + log(2) / 2,
        because="for many degrees of freedom two large log-gammas cancel: their difference tends "
        "to 0 like 1/(4 nu)",
        anchor={m: 1},
        witness={m: 1e6},
        spares=(lgamma(m / 2), lgamma(m / 2) - lgamma(m / 2 + 1)),
    ),
    Rule(
        "a gamma density as a deviance",
        find=lgamma(m) - m * log(r) - (m - 1) * log(s) + r * s,
        give=lgamma_stirling(m) + scaled_expm1_minus(m, log(r) + log(s) - log(m)) + log(s),
        because="for a large concentration the log-gamma cancels the rest: what remains is a "
        "deviance, 0 where the mean is the target, and a Stirling correction",
        anchor={m: 1, r: 1, s: 1},
        witness={m: 1e6, r: 1.0, s: 1e6},
        spares=(lgamma(m) - m * log(r), r * s + log(s)),
    ),
    Rule(
        "an inverse gamma density as a deviance",
        find=lgamma(m) - m * log(r) + (m + 1) * log(s) + r / s,
        give=lgamma_stirling(m) + scaled_expm1_minus(m, log(r) - log(s) - log(m)) + log(s),
        because="for a large concentration the log-gamma cancels the rest: what remains is a "
        "deviance, 0 where the mean is the target, and a Stirling correction",
        anchor={m: 1, r: 1, s: 1},
        witness={m: 1e6, r: 1e6, s: 1.0},
        spares=(lgamma(m) - m * log(r), r / s + log(s)),
    ),
    Rule(
        "a deviance less its slope",
        find=a * expm1_minus(u) - scaled_expm1(a, u),
        give=-a * u,
        because="that is what the two are: e^u - 1 - u less e^u - 1",
        anchor={a: 1, u: 1},
        witness=None,
        spares=(a * expm1_minus(u), expm1_minus(u) + scaled_expm1(a, u)),
    ),
    Rule(
        "Student's tail and its slope",
        find=exp(v) * log1p_square(u * exp(-v / 2)) / 2
        - u * (exp(v) / 2 + half) * exp(-v / 2) * cauchy_score(u * exp(-v / 2)) / 2,
        give=scaled_square_pull(exp(v), u * exp(-v / 2)) / 2
        - u * exp(-v / 2) * cauchy_score(u * exp(-v / 2)) / 4,
        because="for many degrees of freedom the two leading terms cancel: their difference is of "
        "fourth order in the residual",
        anchor={u: 1, v: 0},
        witness={u: 1.0, v: 16.0},
        spares=(log1p_square(u), cauchy_score(u)),
    ),
    Rule(
        "Student's score",
        find=(exp(v) / 2 + half) * exp(-v / 2) * cauchy_score(u * exp(-v / 2)),
        give=student_score(u, v),
        because="for many degrees of freedom the scaled residual underflows before the slope does",
        anchor={u: 1, v: 0},
        witness={u: 1e-34, v: 46.0},
        spares=(cauchy_score(u), exp(-v / 2) * cauchy_score(u)),
    ),
    Rule(
        "Student's score against its scale",
        find=a - a * u * student_score(u, v),
        give=a * student_balance(u, v),
        because="for few degrees of freedom the product is 1 to the last digit",
        anchor={a: 1, u: 1, v: 0},
        witness={a: 1.0, u: 2.0, v: -40.0},
        spares=(u * student_score(u, v), 1 - student_score(u, v)),
    ),
    Rule(
        "Student's score, nu by softplus",
        find=(softplus(v) / 2 + half) * cauchy_score(u / sqrt(softplus(v))) / sqrt(softplus(v)),
        give=student_score(u, log_softplus(v)),
        because="for many degrees of freedom the scaled residual underflows before the slope does",
        anchor={u: 1, v: 0},
        witness={u: 1e-34, v: 1e22},
        spares=(cauchy_score(u), cauchy_score(u / sqrt(softplus(v)))),
    ),
    Rule(
        "Student's tail and its slope, nu by softplus",
        find=logistic(v) * log1p_square(u / sqrt(softplus(v))) / 2
        - u
        * (softplus(v) / 2 + half)
        * cauchy_score(u / sqrt(softplus(v)))
        * logistic(v)
        / (2 * softplus(v) ** (3 * half)),
        give=softplus_pull(v)
        * (
            scaled_square_pull(softplus(v), u / sqrt(softplus(v))) / 2
            - u * cauchy_score(u / sqrt(softplus(v))) / (4 * sqrt(softplus(v)))
        ),
        because="for many degrees of freedom the two leading terms cancel: their difference is of "
        "fourth order in the residual",
        anchor={u: 1, v: 0},
        witness={u: 1.0, v: 1e7},
        spares=(log1p_square(u), cauchy_score(u)),
    ),
    Rule(
        "degrees of freedom times the normaliser's slope",
        find=m * student_constant_slope(m),
        give=student_constant_pull(m),
        because="the slope falls like 1/(4 nu²) and underflows before the product does",
        anchor={m: 1},
        witness={m: 1e22},
        spares=(student_constant_slope(m), m * student_constant(m)),
    ),
    Rule(
        "an exponential less itself",
        find=exp(v) - exp(u + v),
        give=-exp(v) * expm1(u),
        because="where u is tiny the two exponentials are equal to the last digit",
        anchor={v: 0, u: 1},
        witness={v: 0.5, u: 1e-9},
        spares=(exp(v) + exp(u + v), exp(v) - exp(u)),
    ),
    Rule(
        "a multiple of an exponential, less the multiple",
        find=a * exp(u) - a,
        give=a * expm1(u),
        because="where u is tiny the exponential is 1 to the last digit",
        anchor={a: 1, u: 1},
        witness={a: 1.0, u: 1e-9},
        spares=(a * exp(u) + a, exp(u) - 2),
    ),
    Rule(
        "a multiple, less it times an exponential",
        find=a - a * exp(u),
        give=-a * expm1(u),
        because="where u is tiny the exponential is 1 to the last digit",
        anchor={a: 1, u: 1},
        witness={a: 1.0, u: 1e-9},
        spares=(a + a * exp(u), 2 - exp(u)),
    ),
    Rule(
        "log of an indicator",
        find=log(inside(u)),
        give=-wall(u),
        because="inside the support it costs nothing, outside it costs infinitely much",
        anchor={u: 1},
        witness=None,
        spares=(log(u), inside(u)),
    ),
    Rule(
        "log of a Bessel function",
        find=log(besseli(0, m)),
        give=log_i0e(m) + m,
        because="the Bessel function grows like e^kappa and overflows at 90 in single precision",
        anchor={m: 1},
        witness={m: 120.0},
        spares=(log(m), log(besseli(1, m))),
    ),
    Rule(
        "a cosine against its peak",
        find=m - m * cos(u),
        give=2 * m * sin(u / 2) ** 2,
        because="near the peak the cosine rounds to 1, while the sine of half the angle is exact",
        anchor={m: 1, u: 0},
        witness={m: 1.0, u: 1e-5},
        spares=(m + m * cos(u), m - cos(u)),
    ),
    Rule(
        "sine of twice an angle",
        find=sin(u / 2) * cos(u / 2),
        give=sin(u) / 2,
        because="the sine of an angle is twice the product of sine and cosine of its half",
        anchor={u: 0},
        witness=None,
        spares=(sin(u / 2) ** 2, sin(u) * cos(u / 2)),
    ),
    Rule(
        "log of a power tail",
        find=(1 + 1 / u) * log(Abs(1 + u * v)),
        give=(1 + u) * log1p_share(u, v),
        because="for a small exponent log(1 + u v)/u tends to v: the tail becomes exponential",
        anchor={u: 1, v: 1},
        witness={u: 1e-9, v: 1.0},
        spares=(log(Abs(1 + u * v)), log(Abs(1 + u * v)) / u),
    ),
    Rule(
        "slope of a power tail by its scale",
        find=a - a * v * (1 + u) / (1 + u * v),
        give=a * (1 - v) / (1 + u * v),
        because="far out in a heavy tail the product is 1 to the last digit",
        anchor={a: 1, u: 1, v: 1},
        witness={a: 1.0, u: 1e6, v: 1e6},
        spares=(1 - v / (1 + u * v), v * (1 + u) / (1 + u * v)),
    ),
    Rule(
        "slope of a power tail by its exponent",
        find=log1p_share(u, v) - (1 + u) * log1p_share_pull(u, v),
        give=v / (1 + u * v) - log1p_share_pull(u, v),
        because="the two logs cancel but for a fraction",
        anchor={u: 1, v: 1},
        witness=None,
        spares=(log1p_share(u, v), log1p_share(u, v) - log1p_share_pull(u, v)),
    ),
    Rule(
        "slope of a power of a size",
        find=Abs(u) ** m * sign(u) / Abs(u),
        give=signed_power(u, m - 1),
        because="at 0 the quotient is 0/0, while the slope is 0",
        anchor={u: 1, m: 2},
        witness=None,
        spares=(Abs(u) ** m, sign(u) / Abs(u)),
    ),
    Rule(
        "a power times a log",
        find=Abs(u) ** m * log(Abs(u)),
        give=power_log(u, m),
        because="at 0 the log is infinite and the power 0: the product tends to 0",
        anchor={u: 1, m: 2},
        witness=None,
        spares=(Abs(u) ** m, log(Abs(u))),
    ),
    Rule(
        "a number times its sign",
        find=u * sign(u),
        give=Abs(u),
        because="that is what the absolute value is",
        anchor={u: 1},
        witness=None,
        spares=(sign(u), Abs(u)),
    ),
)

COMPUTING: tuple[Rule, ...] = (
    Rule(
        "a Poisson count's log-probability",
        find=lgamma(c + 1) + exp(u) - u * c,
        give=stirling_error(c) + poisson_deviance(c, u),
        because="for a count of a million, three numbers of a million cancel to one of about 8: "
        "take the deviance, which is small where the rate is near the count",
        anchor={c: 2, u: 1},
        witness={c: 1e6, u: 13.8},
        spares=(lgamma(c + 1), exp(u) - u * c),
    ),
    Rule(
        "a binomial count's log-probability",
        find=lgamma(c + 1)
        + lgamma(total - c + 1)
        - lgamma(total + 1)
        + total * softplus(u)
        - u * c,
        give=stirling_gap(c, total)
        + share_deviance(c, total, softplus(-u))
        + share_deviance(total - c, total, softplus(u)),
        because="the large terms of the factorials cancel those of the likelihood: two deviances "
        "and three small corrections are left (Loader, 2000)",
        anchor={c: 1, total: 3, u: 1},
        witness={c: 500000.0, total: 1e6, u: 0.0},
        spares=(lgamma(c + 1), total * softplus(u) - u * c),
    ),
    Rule(
        "softplus less a line",
        find=m * softplus(u) - t * u,
        give=u * (m * step(u) - t) - m * log1p(-logistic(-Abs(u))),
        because="for t = 1 and u = 20 the difference is 2e-9, but softplus(20) rounds to 20: "
        "the straight parts cancel exactly when they are subtracted first",
        anchor={m: 1, t: 1, u: 1},
        witness={m: 1.0, t: 1.0, u: 20.0},
        spares=(softplus(u), softplus(u) + 1),
    ),
    Rule(
        "log exprel less a line",
        find=log_exprel(u) - t * u,
        give=relu(u) - t * u + log_exprel(-Abs(u)),
        because="the straight parts cancel exactly when they are subtracted first",
        anchor={t: 1, u: 1},
        witness={t: 1.0, u: 1e8},
        spares=(log_exprel(u), log_exprel(u) + 1),
    ),
    Rule(
        "logistic less a target",
        find=m * logistic(u) + t,
        give=m * step(u) + t - m * sign(u) * logistic(-Abs(u)),
        because="for t = -1 and u = 20 the slope is -2e-9, but logistic(20) rounds to 1",
        anchor={m: 1, t: -1, u: 1},
        witness={m: 1.0, t: -1.0, u: 20.0},
        spares=(logistic(u), t * logistic(u)),
    ),
    Rule(
        "exprel mean less a target",
        find=exprel_mean(u) + t,
        give=step(u) + t - sign(u) * exprel_mean(-Abs(u)),
        because="for t = -1 the slope is -1/u, but the mean itself rounds to 1",
        anchor={t: -1, u: 1},
        witness={t: -1.0, u: 1e8},
        spares=(exprel_mean(u), t * exprel_mean(u)),
    ),
    Rule(
        "all scores against one",
        find=all_scores - picked,
        give=relu(surprisal - log(2)) - log1p(-Min(others, HALF)),
        because="when the target's score leads, the difference is a small number between two "
        "large ones: take log1p of the others' weights up to 1/2, and the difference above log 2",
        anchor={},
        witness={eta: (60.0, 20.0, 0.0), index: 0},
        spares=(all_scores, picked),
    ),
    Rule(
        "softmax less one",
        find=exp(eta[ENTRY] - all_scores) - KroneckerDelta(ENTRY, index),
        give=Placed(weights, ENTRY, index, -others),
        because="at the target's own entry 1 - p is the weight of all the others",
        anchor={},
        witness={eta: (60.0, 20.0, 0.0), index: 0},
        spares=(exp(eta[ENTRY] - all_scores), KroneckerDelta(ENTRY, index)),
    ),
    Rule(
        "an exponent's share of a slope",
        find=exp(u + v) * b * inverse_expm1(-exp(u) * b),
        give=-exp(v) * exprel_inverse(-exp(u) * b),
        because="the product of two large parameters overflows while what it is multiplied by "
        "underflows",
        anchor={u: 0, v: 0, b: -1},
        witness={u: 50.0, v: 50.0, b: -1e-22},
        spares=(exp(u) * inverse_expm1(-u), exp(u + v) * b),
    ),
)
