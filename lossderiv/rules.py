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
    beta,
    cos,
    cosh,
    exp,
    factorial,
    gamma,
    log,
    pi,
    sign,
    sin,
    sqrt,
    symbols,
)

from lossderiv.special import (
    binomial_deviance,
    binomial_pull,
    cauchy_score,
    digamma,
    digamma_gap,
    digamma_gap_pull,
    digamma_pull,
    expm1,
    expm1_minus,
    exprel_inverse,
    exprel_mean,
    inside,
    inverse_expm1,
    lbeta,
    lbeta_stirling,
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
    logit,
    overdispersed_balance,
    overdispersed_deviance,
    overdispersed_pull,
    poisson_deviance,
    power_log,
    relu,
    rising_log,
    rising_stirling,
    rising_stirling_slope,
    scaled_expm1,
    scaled_expm1_minus,
    scaled_square_pull,
    share_deviance,
    share_stirling,
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
from lossderiv.special_vectors import Complements, LogBeta, StirlingErrors, Surprisals
from lossderiv.symbolic.records import Rejected, Rule
from lossderiv.symbolic.vectors import (
    EACH,
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
share = Symbol("share", positive=True)  # inside (0, 1): beyond it log(1 - share) means nothing
half = Rational(1, 2)
k = Symbol("k", integer=True)
c = Symbol("c", integer=True, nonnegative=True)
total = Symbol("total", integer=True, positive=True)
HALF = Rational(1, 2)
eta, index = IndexedBase("eta", real=True), Symbol("x", integer=True, nonnegative=True)
picked = eta[index]
all_scores = LogSumExp(eta[RUNNING], RUNNING)
surprisals, surprisals_of_each = (Surprisals(eta[n], n) for n in (ENTRY, EACH))
counts = IndexedBase("counts", integer=True, nonnegative=True)
parts = IndexedBase("parts", positive=True)
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
        "log of a difference of exponentials",
        find=log(exp(u) - exp(v)),
        give=u + log1mexp(u - v),
        because="the exponentials overflow, or round to the same number, while their logs do not",
        anchor={u: 1, v: 0},
        witness={u: 120.0, v: 119.0},
        spares=(log(exp(u) + exp(v)), exp(u) - exp(v)),
    ),
    Rule(
        "log of a difference of logistics",
        find=log(logistic(a) - logistic(b)),
        give=log1mexp(a - b) - softplus(-a) - softplus(b),
        because="where both logistics round to 1, or to 0, their difference rounds to nothing",
        anchor={a: 1, b: 0},
        witness={a: 41.0, b: 40.0},
        spares=(log(logistic(a) + logistic(b)), log(logistic(a) - b)),
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
        "log of a beta function",
        find=log(beta(m, r)),
        give=lbeta(m, r),
        because="the beta function underflows where both its arguments are large, its log does not",
        anchor={m: 1, r: 2},
        witness={m: 200.0, r: 300.0},
        spares=(log(m), beta(m, r)),
    ),
    Rule(
        "exponents that no parameter moves",
        find=lbeta(m, r) - (m - 1) * log(share) - (r - 1) * log(1 - share),
        give=lbeta(m, r) - m * log(share) - r * log(1 - share) + log(share - share**2),
        because="the ones in the exponents make terms of the target alone",
        anchor={m: 1, r: 2, share: HALF},
        witness=None,
        spares=(lbeta(m, r) - m * log(share) - r * log(1 - share), (m - 1) * log(share)),
    ),
    Rule(
        "log of a beta function of many",
        find=Sum(lgamma(parts[EACH]) + t, EACH) - lgamma(Sum(parts[RUNNING], RUNNING)),
        give=LogBeta(parts[EACH], EACH) + Sum(t, EACH),
        because="where one part dwarfs the others, its log-gamma and that of the sum cancel",
        anchor={},
        witness={parts: (1e7, 1e-3, 1e-3), t: 0.0},
        spares=(lgamma(Sum(parts[RUNNING], RUNNING)), Sum(lgamma(parts[EACH]), EACH)),
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
        "a negative binomial count as a deviance",
        find=lgamma(c + 1)
        + lgamma(1 / m)
        - lgamma(c + 1 / m)
        + (c + 1 / m) * log(1 + m * r)
        - c * (log(m) + log(r)),
        give=stirling_error(c) + rising_stirling(c, m) + overdispersed_deviance(c, log(r), log(m)),
        because="for a small dispersion all terms but a Poisson count's cancel: what remains is a "
        "deviance, 0 where the mean is the count, and Stirling corrections (Loader, 2000)",
        anchor={c: 1, m: 1, r: 1},
        witness={c: 10.0, m: 1e-9, r: 12.0},
        spares=(lgamma(c + 1) + lgamma(1 / m), (c + 1 / m) * log(1 + m * r)),
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
        "a count of successes before failures",
        find=lgamma(c + 1) + lgamma(m) - lgamma(c + m) + (c + m) * softplus(u) - c * u,
        give=stirling_error(c) + rising_stirling(c, 1 / m) + binomial_deviance(c, m, u),
        because="the large terms of the log-gammas cancel those of the likelihood: a deviance and "
        "small corrections are left (Loader, 2000)",
        anchor={c: 1, m: 1, u: 1},
        witness={c: 1e6, m: 1e6, u: 0.0},
        spares=(lgamma(c + 1), lgamma(m) - lgamma(c + m)),
    ),
    Rule(
        "a rising factorial against a line",
        find=lgamma(m) - lgamma(c + m) + (c + m) * softplus(u) - c * u,
        give=(c + m) * softplus(u) - c * (u + log(m)) - rising_log(c, 1 / m),
        because="two large log-gammas cancel: their difference is a sum of as many logs as counts",
        anchor={c: 1, m: 1, u: 1},
        witness={c: 3.0, m: 1e9, u: -16.0},
        spares=(lgamma(m) - lgamma(c + m), (c + m) * softplus(u)),
    ),
    Rule(
        "a rising factorial",
        find=lgamma(m) - lgamma(c + m),
        give=-c * log(m) - rising_log(c, 1 / m),
        because="two large log-gammas cancel: their difference is a sum of as many logs as counts",
        anchor={c: 1, m: 1},
        witness={c: 3.0, m: 1e9},
        spares=(lgamma(m), lgamma(m) + lgamma(c + m)),
    ),
    Rule(
        "a difference of digammas",
        find=a * digamma(m) - a * digamma(c + m),
        give=a * digamma_gap(m, c),
        because="for a large argument both are its log to the last digit",
        anchor={a: 1, m: 1, c: 1},
        witness={a: 1.0, m: 1e9, c: 3.0},
        spares=(digamma(m), a * digamma(m) + a * digamma(c + m)),
    ),
    Rule(
        "slope in a log-dispersion",
        find=exp(v) * rising_stirling_slope(c, exp(v)) - overdispersed_pull(c, u, v),
        give=overdispersed_balance(c, u, v),
        because="where the mean is far below the count, the two have almost everything in common",
        anchor={c: 2, u: 0, v: 0},
        witness={c: 1.0, u: -40.0, v: -1.0},
        spares=(overdispersed_pull(c, u, v), exp(v) * rising_stirling_slope(c, exp(v))),
    ),
    Rule(
        "slope in a dispersion's softplus",
        find=logistic(t) * rising_stirling_slope(c, softplus(t))
        - softplus_pull(t) * overdispersed_pull(c, u, log_softplus(t)),
        give=softplus_pull(t) * overdispersed_balance(c, u, log_softplus(t)),
        because="where the mean is far below the count, the two have almost everything in common",
        anchor={c: 2, u: 0, t: 0},
        witness={c: 1.0, u: -40.0, t: -1.0},
        spares=(overdispersed_pull(c, u, t), logistic(t) * rising_stirling_slope(c, softplus(t))),
    ),
    Rule(
        "a beta density as a deviance",
        find=lbeta(m, r) - m * log(share) - r * log(1 - share),
        give=lbeta_stirling(m, r) + binomial_deviance(m, r, logit(share)),
        because="for large parameters the log of the beta function cancels the rest: what remains "
        "is a deviance, 0 where the mean is the target, and a Stirling correction",
        anchor={m: 1, r: 2, share: HALF},
        witness={m: 1e6, r: 1e6, share: 0.5},
        spares=(lbeta(m, r), lbeta(m, r) - m * log(share), m * log(share) + r * log(1 - share)),
    ),
    Rule(
        "slope of a beta density in its precision",
        find=t * logistic(u) * digamma_gap(m * logistic(u), m * logistic(-u))
        + t * logistic(-u) * digamma_gap(m * logistic(-u), m * logistic(u))
        - t * logistic(u) * log(share)
        - t * logistic(-u) * log(1 - share),
        give=t
        / m
        * (
            binomial_deviance(m * logistic(u), m * logistic(-u), logit(share))
            + digamma_pull(m * logistic(u))
            + digamma_pull(m * logistic(-u))
            - digamma_pull(m)
        ),
        because="for a large precision four large terms cancel to a deviance and a half",
        anchor={t: 1, u: 0, m: 2, share: HALF},
        witness={t: 1e8, u: 0.0, m: 1e8, share: 0.5},
        spares=(digamma_gap(m, r), t * logistic(u) * log(share)),
    ),
    Rule(
        "slope of a beta density in its mean",
        find=m * logistic(u) * logistic(-u) * digamma_gap(m * logistic(u), m * logistic(-u)),
        give=logistic(-u) * digamma_gap_pull(m * logistic(u), m * logistic(-u)),
        because="the digamma of a tiny parameter overflows while its product with it tends to -1",
        anchor={u: 0, m: 2},
        witness={u: -40.0, m: 2.0**-80},
        spares=(digamma_gap(m, r), m * logistic(u) * digamma_gap(m, r)),
    ),
    Rule(
        "slope of a beta density in its mean, mirrored",
        find=m * logistic(u) * logistic(-u) * digamma_gap(m * logistic(-u), m * logistic(u)),
        give=logistic(u) * digamma_gap_pull(m * logistic(-u), m * logistic(u)),
        because="the digamma of a tiny parameter overflows while its product with it tends to -1",
        anchor={u: 0, m: 2},
        witness={u: 40.0, m: 2.0**-80},
        spares=(digamma_gap(m, r), m * logistic(-u) * digamma_gap(m, r)),
    ),
    Rule(
        "a beta density's correction by its mean",
        find=lbeta_stirling(m * logistic(u), m * logistic(-u)),
        give=share_stirling(u, m),
        because="a tiny share of a tiny precision underflows while its log is a modest number",
        anchor={u: 0, m: 2},
        witness={u: -40.0, m: 2.0**-80},
        spares=(lbeta_stirling(m, r), share_stirling(u, m)),
    ),
    Rule(
        "log of a number less its square",
        find=log(share - share**2),
        give=log(share) + log1p(-share),
        because="that is the number times one minus itself",
        anchor={share: HALF},
        witness=None,
        spares=(log(share), log(share + share**2), log(share - share**3)),
    ),
    Rule(
        "log of one minus a number",
        find=log(1 - share),
        give=log1p(-share),
        because="a small number is lost beside the one",
        anchor={share: HALF},
        witness={share: 1e-9},
        spares=(log(share), log(1 + share), log(2 - share)),
    ),
    Rule(
        "both shares of a slope",
        find=(c + m) * logistic(u) - c,
        give=binomial_pull(c, m, u),
        because="a small share is lost in the sum, and the large one is then subtracted",
        anchor={c: 1, m: 1, u: 1},
        witness={c: 1e6, m: 1e-3, u: 50.0},
        spares=(c * logistic(u) - c, (c + m) * logistic(u)),
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
    Rule(
        "expected counts less counts",
        find=exp(eta[ENTRY] - all_scores) * Sum(counts[EACH], EACH) - counts[ENTRY],
        give=weights * (Sum(counts[EACH], EACH) - counts[ENTRY])
        - counts[ENTRY] * Complements(weights, ENTRY),
        because="where nearly all counts are of one class, 1 - p is the weight of all the others",
        anchor={},
        witness={eta: (60.0, 20.0, 0.0), counts: (3, 0, 0)},
        spares=(exp(eta[ENTRY] - all_scores), Sum(counts[EACH], EACH) - counts[ENTRY]),
    ),
    Rule(
        "one score against all",
        find=eta[ENTRY] - all_scores,
        give=-surprisals,
        because="when this score leads, the difference is a small number between two large ones",
        anchor={},
        witness={eta: (60.0, 20.0, 0.0)},
        spares=(all_scores, eta[ENTRY], eta[ENTRY] + all_scores),
    ),
    Rule(
        "the counts' log-probability",
        find=Sum(lgamma(counts[EACH] + 1) + surprisals_of_each * counts[EACH], EACH)
        - lgamma(Sum(counts[EACH], EACH) + 1),
        give=StirlingErrors(counts[EACH], EACH)
        + Sum(share_deviance(counts[EACH], Sum(counts[EACH], EACH), surprisals_of_each), EACH),
        because="the large terms of the factorials cancel those of the likelihood: deviances and "
        "small corrections are left (Loader, 2000)",
        anchor={},
        witness={eta: (0.0, 0.0, -30.0), counts: (500000, 500000, 0)},
        spares=(lgamma(Sum(counts[EACH], EACH) + 1), Sum(lgamma(counts[EACH] + 1), EACH)),
    ),
)

# Claims that look like rules, kept with the point that kills them, so that nobody tries them again.
REJECTED: tuple[Rejected, ...] = (
    Rejected(
        "SymPy's log of two exponentials",  # codegen.rewriting.logsumexp_2terms_opt
        find=log(exp(u) + exp(v)),
        give=log1p(exp(u)) + v,
        because="the smaller exponent must be taken relative to the larger one",
        point={u: 1, v: 1},
    ),
    Rejected(
        "log of a product of anything",
        find=log(u * v),
        give=log(u) + log(v),
        because="two negative numbers have a positive product and no real logs",
        point={u: -1, v: -2},
    ),
    Rejected(
        "square root of a square",
        find=sqrt(u**2),
        give=u,
        because="the root is the absolute value",
        point={u: -1},
    ),
    Rejected(
        "log of a softplus far left",
        find=log(softplus(u)),
        give=u,
        because="that is only its limit for large negative u",
        point={u: 0},
    ),
    Rejected(
        "a logit as an inverse hyperbolic tangent",
        find=atanh(2 * logistic(u) - 1),
        give=u,
        because="it is half the logit",
        point={u: 1},
    ),
    Rejected(
        "Stirling's leading terms",
        find=lgamma(m),
        give=m * log(m) - m,
        because="the correction is log(2 pi/m)/2 and more: a whole nat for a count of one",
        point={m: 1},
    ),
    Rejected(
        "a Bessel function far out",
        find=log_i0e(m),
        give=-log(2 * pi * m) / 2,
        because="that is only its limit for large kappa",
        point={m: 1},
    ),
    Rejected(
        "log of one plus something small",
        find=log1p(u),
        give=u,
        because="nothing in a formula says that u is small",
        point={u: 1},
    ),
    Rejected(
        "a cosine as its parabola",
        find=1 - cos(u),
        give=u**2 / 2,
        because="an angle is not small because its concentration is large",
        point={u: 3},
    ),
    Rejected(
        "log of one minus an exponential",
        find=log1mexp(m),
        give=log(m) - m / 2,
        because="the next term is u²/24: six digits only below u = 0.005",
        point={m: 1},
    ),
    Rejected(
        "a corner's slope",
        find=step(u),
        give=sign(relu(u)),
        because="at 0 the slopes of both sides balance at 1/2, on which Hessians rely",
        point={u: 0},
    ),
)
