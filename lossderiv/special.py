"""TABLE of special functions: what each means, its slope, and how torch computes it well.

A row is worth having when the formula itself loses digits or overflows somewhere that a training
run can reach. Every row is tested for value and slope against its meaning, in round-off units.

The names of a row's arguments say where it holds: ``u``, ``z``, ``d``, ``b`` of a log-rate any real
number; ``q`` above -1; ``k``, ``nu``, ``kappa``, ``a``, ``b`` of a pair positive; ``p`` inside
(0, 1); ``x`` a count, or any number that is not negative.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.functions import Special, make_special

ZERO = sp.Integer(0)


def _taylor(coefficients: list[sp.Rational], few: int = 6) -> str:
    """The text of a polynomial in ``s``, with as many terms as the number type can feel.

    float64 takes all of them, the narrower types the first ``few``.
    """
    numbers = "\n".join(f"        {float(c)!r}," for c in coefficients)
    return f"""
    coefficients = (
{numbers}
    )
    count = len(coefficients) if s.dtype == torch.float64 else {few}
    series = torch.full_like(s, coefficients[count - 1])
    for c in reversed(coefficients[: count - 1]):
        series = c + s * series""".strip("\n")


def _cumulants(order: int, count: int = 13) -> list[sp.Rational]:
    """Taylor coefficients of the ``order``-th derivative of ``log(sinh(u/2)/(u/2))`` in ``u**2``.

    ``log(sinh(u/2)/(u/2)) = sum_n B_2n u^2n / (2n (2n)!)``, DLMF 4.19.7 with u/2.
    """
    terms = {}
    for n in range(1, count + 2):
        power = 2 * n - order
        falling = sp.ff(2 * n, order)
        terms[power] = sp.bernoulli(2 * n) * falling / (2 * n * sp.factorial(2 * n))
    lowest = min(p for p in terms if p >= 0)
    return [terms[p] for p in range(lowest, lowest + 2 * count, 2)]


logistic = make_special(
    "logistic",
    meaning=lambda u: 1 / (1 + sp.exp(-u)),
    slopes=(lambda u: logistic(u) * logistic(-u),),
    positive=True,
    tex=r"\sigma",
    spelling="""
def logistic(u):
    return torch.sigmoid(u)
""",
)

softplus = make_special(
    "softplus",
    meaning=lambda u: sp.log(1 + sp.exp(u)),
    slopes=(lambda u: logistic(u),),
    positive=True,
    spelling="""
def softplus(u):
    return torch.relu(u) + torch.log1p(torch.exp(-torch.abs(u)))
""",
)

log_softplus = make_special(
    "log_softplus",
    meaning=lambda u: sp.log(sp.log(1 + sp.exp(u))),
    slopes=(lambda u: softplus_pull(u),),
    spelling="""
def log_softplus(u):
    # below -37 the softplus is exp(u) to the last bit of a double
    far = u < -37.0
    near = torch.where(far, -37.0, u)
    return torch.where(far, u, torch.log(softplus(near)))
""",
)

softplus_pull = make_special(
    "softplus_pull",
    meaning=lambda u: 1 / ((1 + sp.exp(-u)) * sp.log(1 + sp.exp(u))),
    slopes=(lambda u: softplus_pull(u) * (logistic(-u) - softplus_pull(u)),),
    positive=True,
    spelling="""
def softplus_pull(u):
    # the slope of log softplus: 1 far to the left, 1/u far to the right
    far = u < -37.0
    near = torch.where(far, -37.0, u)
    return torch.where(far, 1.0, torch.sigmoid(near) / softplus(near))
""",
)

log_exprel = make_special(
    "log_exprel",
    meaning=lambda u: sp.log((sp.exp(u) - 1) / u),
    slopes=(lambda u: exprel_mean(u),),
    spelling=f"""
def log_exprel(u):
    # log((exp(u) - 1) / u): an even series after u/2 near 0, expm1 of -|u| elsewhere
    near = torch.abs(u) < 1.5
    s = torch.where(near, u * u, 0.0)
{_taylor(_cumulants(0))}
    a = torch.where(near, 1.5, torch.abs(u))
    far = torch.relu(u) + torch.log(-torch.expm1(-a) / a)
    return torch.where(near, 0.5 * u + s * series, far)
""",
)

exprel_mean = make_special(
    "exprel_mean",
    meaning=lambda u: 1 / (1 - sp.exp(-u)) - 1 / u,
    slopes=(lambda u: exprel_variance(u),),
    positive=True,
    spelling=f"""
def exprel_mean(u):
    # mean of the density that exp(u x) makes on [0, 1]: 1/(1 - exp(-u)) - 1/u
    near = torch.abs(u) < 1.5
    s = torch.where(near, u * u, 0.0)
{_taylor(_cumulants(1))}
    a = torch.where(near, 1.5, torch.abs(u))
    far = 1.0 / a - 1.0 / torch.expm1(a)
    return torch.where(near, 0.5 + u * series, torch.where(u > 0, 1.0 - far, far))
""",
)

exprel_variance = make_special(
    "exprel_variance",
    meaning=lambda u: 1 / u**2 - 1 / (4 * sp.sinh(u / 2) ** 2),
    slopes=(None,),
    positive=True,
    spelling=f"""
def exprel_variance(u):
    # variance of the density that exp(u x) makes on [0, 1]
    near = torch.abs(u) < 1.5
    s = torch.where(near, u * u, 0.0)
{_taylor(_cumulants(2))}
    a = torch.where(near, 1.5, torch.abs(u))
    far = 1.0 / a**2 - torch.exp(-a) / torch.expm1(-a) ** 2
    return torch.where(near, series, far)
""",
)

log1p = make_special(
    "log1p",
    meaning=lambda u: sp.log(1 + u),
    slopes=(lambda u: 1 / (1 + u),),
    tex=r"\log\left(1 + #1\right)",
    spelling="""
def log1p(u):
    return torch.log1p(u)
""",
)

expm1 = make_special(
    "expm1",
    meaning=lambda u: sp.exp(u) - 1,
    slopes=(lambda u: sp.exp(u),),
    tex=r"\left(e^{#1} - 1\right)",
    spelling="""
def expm1(u):
    return torch.expm1(u)
""",
)

lgamma = make_special(
    "lgamma",  # SymPy's own loggamma turns into log(gamma) at whole numbers, which overflows
    meaning=lambda u: sp.loggamma(u),
    slopes=(lambda u: digamma(u),),
    tex=r"\log\Gamma\left(#1\right)",
    spelling="""
def lgamma(u):
    return torch.lgamma(u)
""",
)

digamma = make_special(
    "digamma",
    meaning=lambda u: sp.digamma(u),
    slopes=(None,),
    tex=r"\psi",
    spelling="""
def digamma(u):
    return torch.digamma(u)
""",
)

expm1_minus = make_special(
    "expm1_minus",
    meaning=lambda d: sp.exp(d) - 1 - d,
    slopes=(lambda d: expm1(d),),
    spelling=f"""
def expm1_minus(d):
    # exp(d) - 1 - d: its own Taylor series near 0 (DLMF 4.2.19)
    near = torch.abs(d) < 0.7
    s = torch.where(near, d, 0.0)
{_taylor([1 / sp.factorial(n + 2) for n in range(15)], few=8)}
    far = torch.where(near, 1.0, d)
    return torch.where(near, s * s * series, torch.expm1(far) - far)
""",
)

log1p_square = make_special(
    "log1p_square",
    meaning=lambda z: sp.log(1 + z**2),
    slopes=(lambda z: cauchy_score(z),),
    tex=r"\log\left(1 + \left(#1\right)^{2}\right)",
    spelling="""
def log1p_square(z):
    # log(1 + z^2) = 2 log|z| + log(1 + 1/z^2), so that nothing large is squared
    big = torch.abs(z) > 1.0
    a = torch.where(big, torch.abs(z), 1.0)
    r = torch.where(big, 1.0 / a, z)
    return torch.where(big, 2.0 * torch.log(a), 0.0) + torch.log1p(r * r)
""",
)

cauchy_score = make_special(
    "cauchy_score",
    meaning=lambda z: 2 * z / (1 + z**2),
    slopes=(lambda z: cauchy_curvature(z),),
    spelling="""
def cauchy_score(z):
    # 2 z / (1 + z^2), the same for z and 1/z
    big = torch.abs(z) > 1.0
    r = torch.where(big, 1.0 / torch.where(big, z, 1.0), z)
    return 2.0 * r / (1.0 + r * r)
""",
)

cauchy_curvature = make_special(
    "cauchy_curvature",
    meaning=lambda z: 2 * (1 - z**2) / (1 + z**2) ** 2,
    slopes=(None,),
    spelling="""
def cauchy_curvature(z):
    # 2 (1 - z^2) / (1 + z^2)^2; with r = 1/z it is 2 r^2 (r^2 - 1) / (1 + r^2)^2
    big = torch.abs(z) > 1.0
    r = torch.where(big, 1.0 / torch.where(big, z, 1.0), z)
    middle = 2.0 * (1.0 - r * r) / (1.0 + r * r) ** 2
    return torch.where(big, -r * r * middle, middle)
""",
)

log1p_bend = make_special(
    "log1p_bend",
    meaning=lambda q: sp.Piecewise(
        (sp.Rational(1, 2), sp.Eq(q, 0)), ((q - sp.log(1 + q)) / q**2, True)
    ),
    slopes=(None,),
    positive=True,
    spelling=f"""
def log1p_bend(q):
    # (q - log(1 + q)) / q^2: the series of log(1 + q) in t = q / (2 + q) (DLMF 4.6.4) near 0
    near = torch.abs(q - 0.2) < 0.6
    v = torch.where(near, q, 0.0)
    t = v / (2.0 + v)
    s = t * t
{_taylor([sp.Rational(1, 2 * n + 3) for n in range(14)])}
    far = torch.where(near, 1.0, q)
    return torch.where(
        near,
        (1.0 - (1.0 - t) * t * series) / (2.0 + v),
        (1.0 - torch.log1p(far) / far) / far,
    )
""",
)

log1p_minus = make_special(
    "log1p_minus",
    meaning=lambda q: q - sp.log(1 + q),
    slopes=(lambda q: q / (1 + q),),
    spelling="""
def log1p_minus(q):
    # q - log(1 + q), about q^2/2 near 0
    near = torch.abs(q) < 0.8
    v = torch.where(near, q, 0.0)
    far = torch.where(near, 1.0, q)
    return torch.where(near, v * v * log1p_bend(v), far - torch.log1p(far))
""",
)

log1p_pull = make_special(
    "log1p_pull",
    meaning=lambda q: sp.log(1 + q) - q / (1 + q),
    slopes=(lambda q: log1p_pull_slope(q),),
    spelling="""
def log1p_pull(q):
    # log(1 + q) - q/(1 + q), about q^2/2 near 0
    near = torch.abs(q) < 0.8
    v = torch.where(near, q, 0.0)
    far = torch.where(near, 1.0, q)
    return torch.where(
        near,
        v * v * (1.0 / (1.0 + v) - log1p_bend(v)),
        torch.log1p(far) - far / (1.0 + far),
    )
""",
)

log1p_pull_slope = make_special(
    "log1p_pull_slope",
    meaning=lambda q: q / (1 + q) ** 2,
    slopes=(None,),
    spelling="""
def log1p_pull_slope(q):
    # q / (1 + q)^2, without the square of a large number
    r = 1.0 / (1.0 + q)
    return q * r * r
""",
)

log1mexp = make_special(
    "log1mexp",
    meaning=lambda u: sp.log(1 - sp.exp(-u)),
    slopes=(lambda u: inverse_expm1(u),),
    spelling="""
def log1mexp(u):
    # log(1 - exp(-u)) for u > 0: from below log 2 on, 1 - exp(-u) is the small one
    near = u < 0.6931471805599453
    small = torch.where(near, u, 1.0)
    large = torch.where(near, 1.0, u)
    return torch.where(
        near, torch.log(-torch.expm1(-small)), torch.log1p(-torch.exp(-large))
    )
""",
)

inverse_expm1 = make_special(
    "inverse_expm1",
    meaning=lambda u: 1 / (sp.exp(u) - 1),
    slopes=(lambda u: -inverse_expm1(u) * (1 + inverse_expm1(u)),),
    tex=r"\frac{1}{e^{#1} - 1}",
    spelling="""
def inverse_expm1(u):
    # 1 / (exp(u) - 1) for u > 0, where exp(u) may overflow
    return -torch.exp(-u) / torch.expm1(-u)
""",
)

logit = make_special(
    "logit",
    meaning=lambda p: sp.log(p / (1 - p)),
    slopes=(lambda p: 1 / (p * (1 - p)),),
    spelling="""
def logit(p):
    # log(p / (1 - p)): 2 p - 1 is exact near 1/2, and so is 1 - p inside log1p near 0
    middle = torch.abs(p - 0.5) < 0.25
    m = torch.where(middle, p, 0.5)
    edge = torch.where(middle, 0.25, p)
    return torch.where(
        middle,
        torch.log1p((2.0 * m - 1.0) / (1.0 - m)),
        torch.log(edge) - torch.log1p(-edge),
    )
""",
)

log_cosh = make_special(
    "log_cosh",
    meaning=lambda z: sp.log(sp.cosh(z)),
    slopes=(lambda z: sp.tanh(z),),
    tex=r"\log\cosh\left(#1\right)",
    spelling="""
def log_cosh(z):
    # cosh z = 1 + 2 sinh(z/2)^2 near 0 (DLMF 4.35.20), |z| - log 2 far out
    near = torch.abs(z) < 1.0
    half = torch.sinh(0.5 * torch.where(near, z, 0.0))
    a = torch.where(near, 1.0, torch.abs(z))
    far = a + torch.log1p(torch.exp(-2.0 * a)) - 0.6931471805599453
    return torch.where(near, torch.log1p(2.0 * half * half), far)
""",
)

log_sinhc = make_special(
    "log_sinhc",
    meaning=lambda u: sp.Piecewise((0, sp.Eq(u, 0)), (sp.log(sp.sinh(u) / u), True)),
    slopes=(lambda u: langevin(u),),
    spelling=f"""
def log_sinhc(u):
    # log(sinh(u) / u): an even series near 0 (DLMF 4.19.7 with iu), |u| - log(2|u|) far out
    near = torch.abs(u) < 1.25
    s = 4.0 * torch.where(near, u, 0.0) ** 2
{_taylor(_cumulants(0, 20), few=10)}
    a = torch.where(near, 1.25, torch.abs(u))
    far = a + torch.log(-torch.expm1(-2.0 * a) * (0.5 / a))
    return torch.where(near, s * series, far)
""",
)

langevin = make_special(
    "langevin",
    meaning=lambda u: sp.Piecewise((0, sp.Eq(u, 0)), (sp.coth(u) - 1 / u, True)),
    slopes=(lambda u: 4 * exprel_variance(2 * u),),
    spelling=f"""
def langevin(u):
    # coth(u) - 1/u, the slope of log(sinh(u) / u)
    near = torch.abs(u) < 1.25
    s = 4.0 * torch.where(near, u, 0.0) ** 2
{_taylor(_cumulants(1, 20), few=10)}
    a = torch.where(near, 1.25, torch.abs(u))
    far = 1.0 - 2.0 * torch.exp(-2.0 * a) / torch.expm1(-2.0 * a) - 1.0 / a
    return torch.where(near, 4.0 * u * series, torch.where(u > 0, far, -far))
""",
)

relu = make_special(
    "relu",
    meaning=lambda u: (u + sp.Abs(u)) / 2,
    slopes=(lambda u: step(u),),
    tex=r"\max\left(#1, 0\right)",
    spelling="""
def relu(u):
    return torch.relu(u)
""",
)

step = make_special(
    "step",
    meaning=lambda u: (1 + sp.sign(u)) / 2,
    slopes=(lambda u: ZERO,),
    tex=r"\tfrac{1 + \operatorname{sign}\left(#1\right)}{2}",
    spelling="""
def step(u):
    # 1 above zero, 0 below, 1/2 at zero, where the corner's slopes balance
    return 0.5 * torch.sign(u) + 0.5
""",
)

SPECIAL: dict[str, type[Special]] = {
    f.__name__: f
    for f in (
        logistic,
        softplus,
        log_softplus,
        softplus_pull,
        log_exprel,
        exprel_mean,
        exprel_variance,
        log1p,
        expm1,
        lgamma,
        digamma,
        expm1_minus,
        log1p_square,
        cauchy_score,
        cauchy_curvature,
        log1p_bend,
        log1p_minus,
        log1p_pull,
        log1p_pull_slope,
        log1mexp,
        inverse_expm1,
        logit,
        log_cosh,
        log_sinhc,
        langevin,
        relu,
        step,
    )
}
