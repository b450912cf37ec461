"""TABLE of special functions: what each means, its slope, and how torch computes it well.

A row is worth having when the formula itself loses digits or overflows somewhere that a training
run can reach. Every row is tested for value and slope against its meaning, in round-off units.

The names of a row's arguments say where it holds: ``u``, ``v``, ``z``, ``d``, ``b`` of a log-rate
any real number; ``q`` above -1; ``k``, ``nu``, ``kappa``, ``a``, ``b`` of a pair positive; ``p``
inside (0, 1); ``x`` a count, or any number that is not negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

import sympy as sp

from lossderiv.special_bell import BELL
from lossderiv.special_normal import NORMAL
from lossderiv.special_tails import TAILS
from lossderiv.symbolic.functions import Special, make_special

ZERO = sp.Integer(0)


def _lines(numbers: Sequence[sp.Rational | float], width: int = 8) -> str:
    """A tuple's numbers, one to a line."""
    return "".join(f"{' ' * width}{float(c)!r},\n" for c in numbers)


def _taylor(coefficients: Sequence[sp.Rational | float], few: int = 6) -> str:
    """The text of a polynomial in ``s``, with as many terms as the number type can feel.

    float64 takes all of them, the narrower types the first ``few``.
    """
    return f"""
    coefficients = (
{_lines(coefficients)}    )
    count = len(coefficients) if s.dtype == torch.float64 else {few}
    series = torch.full_like(s, coefficients[count - 1])
    for c in reversed(coefficients[: count - 1]):
        series = c + s * series""".strip("\n")


def _bend(q: str, deep: int = 0) -> str:
    """The text of ``bend``, which is (q - log(1 + q)) / q^2 for ``q`` from -0.4 to 0.8.

    By the series of log(1 + q) in t = q / (2 + q), DLMF 4.6.4.
    """
    text = f"""
    t = {q} / (2.0 + {q})
    s = t * t
{_taylor([sp.Rational(1, 2 * n + 3) for n in range(14)])}
    bend = (1.0 - (1.0 - t) * t * series) / (2.0 + {q})"""
    return indent(text.strip("\n"), " " * deep)


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


# Stirling's series (DLMF 5.11.1) and its kin diverge, but as fractions c0/(z + c1/(z + ...)) with
# positive numbers (Stieltjes; DLMF 5.10.1) they converge and lose no digits. Here the last numbers
# are such that the fraction meets its function at Chebyshev points of 1/z^2, which takes a third of
# the terms; `tests/test_special_numerics.py` computes them anew. First for float64, then for less.
BINET = (  # log Gamma, from 2 on
    (
        0.08333333333333333,
        0.03333333333325303,
        0.2523809503791477,
        0.5256052252229344,
        1.0113621594188327,
        1.5114530055937925,
        2.177567731308925,
        2.4151167949098844,
        2.065589827664657,
        1.1829989588881453,
        0.5017849537186196,
    ),
    (
        0.08333333333333333,
        0.0333332687191872,
        0.2521226702437172,
        0.5013817697225427,
        0.6199545989230894,
    ),
)
BINET_FAR = (  # the same in 1/k^2, times k, from 1 on, for single precision
    0.08333333111172146,
    -0.00277748763236241,
    0.0007869202823375237,
    -0.0005294074003492047,
    0.00046797217485445355,
    -0.00035238268996581656,
    0.0001687372807340966,
    -3.621702719983478e-05,
)
BINET_NEAR = (  # log Gamma(2 + s) + s, over s, for s from -1 to 0
    1.4227843366060249,
    0.32246733423189855,
    -0.06734249159661486,
    0.02070358786834336,
    -0.0066150278649302315,
    0.00562149842919851,
    0.004557118289298296,
    0.0077079789708693475,
    0.004819469389545117,
    0.0017030024858622707,
)
DIGAMMA = (  # log k - 1/(2k) - psi(k), times k, from 2 on
    (
        0.08333333333333333,
        0.09999999999983672,
        0.3761904745422291,
        0.7263403232058674,
        1.2530467149541453,
        1.846007368246109,
        2.56928937493272,
        3.0274277080528367,
        2.8416146144844587,
        1.9627773680128617,
        1.0925907758495952,
        0.4334822009392621,
    ),
    (
        0.08333333333333333,
        0.09999948395360463,
        0.37549698713925905,
        0.6814987670803618,
        0.707636679683785,
    ),
)
TRIGAMMA = (  # psi'(k) - 1/k - 1/(2k^2), times k^2, from 3 on
    (
        0.16666666666666666,
        0.1999999999999669,
        0.5142857139797022,
        0.9523807525218393,
        1.5151218371184494,
        2.201288587075084,
        2.983438824007741,
        3.642934133881503,
        3.551606045000446,
        2.4339436778349066,
        1.0546430796750483,
    ),
    (
        0.16666666666666666,
        0.19999606004898773,
        0.5109905767749214,
        0.7780426979936225,
    ),
)
HALF_STEP = (  # log Gamma(h) - log Gamma(h + 1/2) + log(h)/2, from 2 on
    (
        0.125,
        0.04166666666665099,
        0.258333332954995,
        0.5329490303781098,
        1.0163372488027114,
        1.5233685397489163,
        2.2355253014529195,
        2.7008519085890845,
        2.6977557292671106,
        1.902250067025027,
        1.0943604138821281,
        0.4236909897927373,
    ),
    (
        0.125,
        0.041666582257714656,
        0.25806334093715116,
        0.5081946412187683,
        0.6214996154101594,
    ),
)
HALF_STEP_SLOPE = (  # minus its slope, times h, from 2 on
    (
        0.125,
        0.12499999999996471,
        0.3749999996608815,
        0.7499997919876383,
        1.2499718716084574,
        1.8737000812763223,
        2.5995975105191893,
        3.2659845114599166,
        3.4095939723412245,
        2.7569462804569724,
        1.7838915815409915,
        0.9712508092584866,
        0.396712336406057,
    ),
    (
        0.125,
        0.12499933202708356,
        0.37428163420574284,
        0.703368833475594,
        0.7004768902567329,
    ),
)


# For the smallest largest relative error in single precision: (I0(k) - 1)/k^2 in k^2 for k up to 5,
# and exp(2 k) / (8 k I0(k)^2) in 1/k - 1/10 from there on; 1 - I1(k)/I0(k) in k - 2 for k up to 4,
# and k times that in 1/k - 1/8 from there on.
I0_NEAR = (
    0.250000025,
    0.0156249531,
    0.000434052423,
    6.77620262e-06,
    6.84211815e-08,
    4.36444972e-10,
    3.36238488e-12,
)
I0_FAR = (
    0.764930094,
    -0.214206363,
    -0.110303031,
    -0.198524789,
    -0.754241718,
    -2.97121235,
    7.88963875,
    103.036681,
)
BESSEL_NEAR = (
    0.302225339,
    -0.164223233,
    0.068424878,
    -0.0188553736,
    0.00182202806,
    0.00113782659,
    -0.000668039389,
    0.000162141406,
    6.29606008e-07,
    -1.83914336e-05,
    8.25666847e-06,
    -8.59802279e-07,
    -7.36302923e-07,
    2.3182052e-07,
    1.92745607e-08,
    -1.09307181e-08,
)
BESSEL_FAR = (
    0.518116017,
    0.171300322,
    0.292778365,
    1.03557619,
    3.50767927,
    -14.7754807,
    -245.749412,
    -234.185595,
    7581.72793,
    14864.0594,
    -114621.804,
    -245149.17,
)


def _numbers(table: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """The text that picks a fraction's numbers by the type of ``z``."""
    wide, narrow = (_lines(part, 12) for part in table)
    return f"""
    if z.dtype == torch.float64:
        coefficients = (
{wide}        )
    else:
        coefficients = (
{narrow}        )""".strip("\n")


def _corrected(k: sp.Expr) -> sp.Expr:
    """What is left of ``log Gamma(k)`` beside ``k log k - k``."""
    return sp.loggamma(k) - k * sp.log(k) + k


def _mixing(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Minus the entropy of two parts of a whole, times the whole; 0 log 0 is 0."""

    def part(k):
        return sp.Piecewise((0, sp.Eq(k, 0)), (k * sp.log(k), True))

    return part(a) + part(b) - part(a + b)


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
    meaning=lambda u: sp.loggamma(sp.Float(u, 400) if u.is_Integer and u > 1000 else u),
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
    s = torch.clamp(d, -0.7, 0.7)
{_taylor([1 / sp.factorial(n + 2) for n in range(15)], few=8)}
    return torch.where(near, s * s * series, torch.expm1(d) - d)
""",
)

log1p_square = make_special(
    "log1p_square",
    meaning=lambda z: sp.log(1 + z**2),
    slopes=(lambda z: cauchy_score(z),),
    tex=r"\log\left(1 + \left(#1\right)^{2}\right)",
    spelling="""
def log1p_square(z):
    # log(1 + z^2) = 2 log m + log(1 + r^2), m = max(|z|, 1) and r = min(|z|, 1)/m, which is |z| or
    # 1/|z|: no large square, and no quotient of two infinite numbers
    a = torch.abs(z)
    m = torch.clamp_min(a, 1.0)
    r = torch.clamp_max(a, 1.0) / m
    return torch.log1p(r * r) + 2.0 * torch.log(m)
""",
)

cauchy_score = make_special(
    "cauchy_score",
    meaning=lambda z: 2 * z / (1 + z**2),
    slopes=(lambda z: cauchy_curvature(z),),
    spelling="""
def cauchy_score(z):
    # 2 z / (1 + z^2), the same for z and 1/z
    m = torch.clamp_min(torch.abs(z), 1.0)
    r = torch.clamp(z, -1.0, 1.0) / m
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
    m = torch.clamp_min(torch.abs(z), 1.0)
    r = z / m / m
    middle = 2.0 * (1.0 - r * r) / (1.0 + r * r) ** 2
    return torch.where(m > 1.0, -r * r * middle, middle)
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
    # (q - log(1 + q)) / q^2, near 0 by a series
    near = torch.abs(q - 0.2) < 0.6
    v = torch.clamp(q, -0.4, 0.8)
{_bend("v")}
    far = torch.where(near, 1.0, q)
    return torch.where(
        near,
        bend,
        (1.0 - torch.log1p(far) / far) / far,
    )
""",
)

log1p_minus = make_special(
    "log1p_minus",
    meaning=lambda q: q - sp.log(1 + q),
    slopes=(lambda q: q / (1 + q),),
    spelling=f"""
def log1p_minus(q):
    # q - log(1 + q): near 0, where it is about q^2/2, by the series of log1p_bend
    near = torch.abs(q - 0.2) < 0.6
    v = torch.clamp(q, -0.4, 0.8)
{_bend("v")}
    return torch.where(near, v * v * bend, q - torch.log1p(q))
""",
)

log1p_pull = make_special(
    "log1p_pull",
    meaning=lambda q: sp.log(1 + q) - q / (1 + q),
    slopes=(lambda q: log1p_pull_slope(q),),
    spelling=f"""
def log1p_pull(q):
    # log(1 + q) - q/(1 + q): near 0, where it is about q^2/2, by the series of log1p_bend
    near = torch.abs(q - 0.2) < 0.6
    v = torch.clamp(q, -0.4, 0.8)
{_bend("v")}
    close = v * v * (1.0 / (1.0 + v) - bend)
    return torch.where(near, close, torch.log1p(q) - q / (1.0 + q))
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

zero_surprisal = make_special(
    "zero_surprisal",
    meaning=lambda u, k: sp.log(1 + sp.exp(u)) - sp.log(sp.exp(u) + sp.exp(-k)),
    slopes=(
        lambda u, k: expm1(-k) * logistic(-u) * logistic(u + k),
        lambda u, k: logistic(-u - k),
    ),
    positive=True,
    spelling="""
def zero_surprisal(u, k):
    # -log(s + (1 - s) exp(-k)) with s = logistic(u), by log1p as long as it is small
    q = torch.sigmoid(-u) * -torch.expm1(-k)
    near = q < 0.5
    close = -torch.log1p(-torch.where(near, q, 0.0))
    return torch.where(near, close, softplus(u) - torch.logaddexp(u, -k))
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

exprel_inverse = make_special(
    "exprel_inverse",
    meaning=lambda u: u / (sp.exp(u) - 1),
    slopes=(None,),
    positive=True,
    tex=r"\frac{#1}{e^{#1} - 1}",
    spelling="""
def exprel_inverse(u):
    # u / (exp(u) - 1) for u > 0, where exp(u) may overflow
    return u * inverse_expm1(u)
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
    m = torch.clamp(p, 0.25, 0.75)
    return torch.where(
        middle,
        torch.log1p((2.0 * m - 1.0) / (1.0 - m)),
        torch.log(p) - torch.log1p(-p),
    )
""",
)

artanh = make_special(
    "artanh",
    meaning=lambda p: sp.log((1 + p) / (1 - p)) / 2,
    slopes=(lambda p: 1 / ((1 - p) * (1 + p)),),
    tex=r"\operatorname{artanh}",
    spelling="""
def artanh(p):
    # log((1 + p) / (1 - p)) / 2 by log1p of a positive number: 1 - p is exact near 1; near 0 p and
    # a small correction, rounded once
    a = torch.abs(p)
    small = a < 0.01
    s = torch.where(small, p * p, 0.0)
    near = p + p * (s * (0.3333333333333333 + s * (0.2 + s * 0.14285714285714285)))
    far = 0.5 * torch.sign(p) * torch.log1p(2.0 * a / (1.0 - a))
    return torch.where(small, near, far)
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

binet = make_special(
    "binet",
    meaning=lambda k: (
        sp.loggamma(k) - (k - sp.Rational(1, 2)) * sp.log(k) + k - sp.log(2 * sp.pi) / 2
    ),
    slopes=(None,),
    positive=True,
    spelling=f"""
def binet(k):
    # what Stirling's formula leaves of log Gamma (DLMF 5.11.1), 1/(12 k) for large k. Single
    # precision has enough in a polynomial in 1/k^2 from 1 on, and below in one for how log Gamma
    # departs from its value at 1
    if k.dtype != torch.float64:
        held = torch.clamp_max(k, 1.0)
        s = held - 1.0
{indent(_taylor(BINET_NEAR, few=len(BINET_NEAR)), "    ")}
        departure = s * series - (held + 0.5) * torch.log(held)
        inverse = 1.0 / torch.clamp_min(k, 1.0)
        s = inverse * inverse
{indent(_taylor(BINET_FAR, few=len(BINET_FAR)), "    ")}
        return inverse * series + departure
    small = k < 2.0
    z = torch.clamp_min(k, 2.0)
    coefficients = (
{_lines(BINET[0])}    )
    tail = torch.zeros_like(z)
    for c in reversed(coefficients):
        tail = c / (z + tail)
    s = torch.clamp_max(k, 2.0)
    direct = torch.lgamma(s + 1.0) - (s + 0.5) * torch.log(s) + s - 0.9189385332046727
    return torch.where(small, direct, tail)
""",
)

lgamma_stirling = make_special(
    "lgamma_stirling",
    meaning=lambda k: sp.loggamma(k) - k * sp.log(k) + k,
    slopes=(lambda k: digamma_less_log(k),),
    spelling="""
def lgamma_stirling(k):
    # log Gamma(k) - k log k + k, about log(2 pi / k)/2 for large k (DLMF 5.11.1)
    return 0.9189385332046727 - 0.5 * torch.log(k) + binet(k)
""",
)

digamma_less_log = make_special(
    "digamma_less_log",
    meaning=lambda k: sp.digamma(k) - sp.log(k),
    slopes=(lambda k: trigamma_less_inverse(k),),
    tex=r"\left[\psi\left(#1\right) - \log\left(#1\right)\right]",
    spelling=f"""
def digamma_less_log(k):
    # psi(k) - log k, about -1/(2 k) for large k (DLMF 5.11.2); two steps up for small k (5.5.2)
    small = k < 2.0
    z = torch.where(small, k + 2.0, k)
{_numbers(DIGAMMA)}
    tail = torch.zeros_like(z)
    for c in reversed(coefficients):
        tail = c / (z + tail)
    far = -0.5 / z - tail / z
    s = torch.where(small, k, 1.0)
    steps = torch.log1p(2.0 / s) - 1.0 / (s + 1.0)
    return torch.where(small, (steps + far) - 1.0 / s, far)
""",
)

trigamma_less_inverse = make_special(
    "trigamma_less_inverse",
    meaning=lambda k: sp.polygamma(1, k) - 1 / k,
    slopes=(None,),
    positive=True,
    tex=r"\left[\psi'\left(#1\right) - \tfrac{1}{#1}\right]",
    spelling=f"""
def trigamma_less_inverse(k):
    # psi'(k) - 1/k, about 1/(2 k^2) for large k (DLMF 5.15.8); three steps up (5.15.5), and
    # nothing negative
    z = k + 3.0
{_numbers(TRIGAMMA)}
    tail = torch.zeros_like(z)
    for c in reversed(coefficients):
        tail = c / (z + tail)
    value = (0.5 + tail) / z / z
    for j in (2.0, 1.0, 0.0):
        value = value + 1.0 / (k + j) / (k + j) / (k + (j + 1.0))
    return value
""",
)

student_constant = make_special(
    "student_constant",
    meaning=lambda nu: sp.loggamma(nu / 2) - sp.loggamma((nu + 1) / 2) + sp.log(nu / 2) / 2,
    slopes=(lambda nu: student_constant_slope(nu),),
    positive=True,
    spelling=f"""
def student_constant(nu):
    # log Gamma(h) - log Gamma(h + 1/2) + log(h)/2 with h = nu/2, about 1/(8 h) for large h; a step
    # from h to h + 1 costs log(1 + 1/(4 h (h + 1)))/2 (from DLMF 5.5.1), nothing negative
    h = 0.5 * nu
    z = h + 2.0
{_numbers(HALF_STEP)}
    tail = torch.zeros_like(z)
    for c in reversed(coefficients):
        tail = c / (z + tail)
    first = (0.5 / h) * (0.5 / (h + 1.0))
    second = (0.5 / (h + 1.0)) * (0.5 / (h + 2.0))
    return 0.5 * torch.log1p(first + second + first * second) + tail
""",
)

student_constant_slope = make_special(
    "student_constant_slope",
    meaning=lambda nu: (sp.digamma(nu / 2) - sp.digamma((nu + 1) / 2) + 1 / nu) / 2,
    slopes=(None,),
    spelling=f"""
def student_constant_slope(nu):
    # slope of student_constant, term by term; all terms have one sign
    h = 0.5 * nu
    z = h + 2.0
{_numbers(HALF_STEP_SLOPE)}
    tail = torch.zeros_like(z)
    for c in reversed(coefficients):
        tail = c / (z + tail)
    first = (0.5 / h) * (0.5 / (h + 1.0)) / (h + 0.5)
    second = (0.5 / (h + 1.0)) * (0.5 / (h + 2.0)) / (h + 1.5)
    return -0.5 * (first + (second + tail / z))
""",
)

student_constant_pull = make_special(
    "student_constant_pull",
    meaning=lambda nu: nu * (sp.digamma(nu / 2) - sp.digamma((nu + 1) / 2) + 1 / nu) / 2,
    slopes=(None,),
    spelling=f"""
def student_constant_pull(nu):
    # nu times student_constant_slope, about -1/(4 nu): the slope alone underflows first
    h = 0.5 * nu
    z = h + 2.0
{_numbers(HALF_STEP_SLOPE)}
    tail = torch.zeros_like(z)
    for c in reversed(coefficients):
        tail = c / (z + tail)
    first = 0.5 * (0.5 / (h + 1.0)) / (h + 0.5)
    second = (0.5 * (h / (h + 1.0))) * (0.5 / (h + 2.0)) / (h + 1.5)
    return -(first + (second + tail * (h / z)))
""",
)

lbeta = make_special(
    "lbeta",
    meaning=lambda a, b: sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b),
    slopes=(lambda a, b: digamma_gap(a, b), lambda a, b: digamma_gap(b, a)),
    tex=r"\log\operatorname{B}",
    spelling="""
def lbeta(a, b):
    # log Gamma(a) + log Gamma(b) - log Gamma(a + b) (DLMF 5.12.1) by Stirling's formula and what
    # it leaves (5.11.1): what is large in the three cancels on paper. high / low could overflow,
    # and 0 log 0 is 0
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    less = torch.log1p(low / high)
    ratio = torch.sqrt(high) / torch.sqrt(torch.clamp_min(low, 1e-37))
    more = less + 2.0 * torch.log(ratio)
    rest = binet(low) + (binet(high) - binet(low + high))
    middle = 0.9189385332046727 + 0.5 * (less - torch.log(low))
    return rest + middle - low * more - high * less
""",
)

lbeta_stirling = make_special(
    "lbeta_stirling",
    meaning=lambda a, b: (
        sp.loggamma(a)
        + sp.loggamma(b)
        - sp.loggamma(a + b)
        + a * sp.log((a + b) / a)
        + b * sp.log((a + b) / b)
    ),
    slopes=(None, None),
    spelling="""
def lbeta_stirling(a, b):
    # log B(a, b) less what Stirling's formula has in the exponents (DLMF 5.12.1 with 5.11.1)
    rest = binet(b) - binet(a + b) + binet(a)
    return 0.9189385332046727 + 0.5 * torch.log(1.0 / a + 1.0 / b) + rest
""",
)

share_stirling = make_special(
    "share_stirling",
    meaning=lambda u, k: lbeta_stirling(k / (1 + sp.exp(-u)), k / (1 + sp.exp(u))),
    slopes=(None, None),
    spelling="""
def share_stirling(u, k):
    # lbeta_stirling(k s, k (1 - s)) at the logit u of s; -log(k s (1 - s)) where one of the two
    # is so small that it might underflow
    tiny = k * torch.sigmoid(-torch.abs(u)) < torch.finfo(k.dtype).eps ** 1.5
    m, v = torch.where(tiny, 1.0, k), torch.where(tiny, 0.0, u)
    some = lbeta_stirling(m * torch.sigmoid(v), m * torch.sigmoid(-v))
    return torch.where(tiny, softplus(u) + softplus(-u) - torch.log(k), some)
""",
)

digamma_pull = make_special(
    "digamma_pull",
    meaning=lambda k: k * (sp.digamma(k) - sp.log(k)),
    slopes=(None,),
    spelling="""
def digamma_pull(k):
    # k (psi(k) - log k), from -1 at 0, where psi overflows, up to -1/2
    m = torch.clamp_min(k, 1e-30)
    return m * digamma_less_log(m)
""",
)

digamma_gap_pull = make_special(
    "digamma_gap_pull",
    meaning=lambda a, b: a * (sp.digamma(a) - sp.digamma(a + b)),
    slopes=(None, None),
    spelling="""
def digamma_gap_pull(a, b):
    # a (psi(a) - psi(a + b)), -b/(a + b) for tiny a and b, where psi overflows
    c = a + b
    rest = a * (digamma_gap(a + 1.0, b))
    return rest - torch.where(c > 0, b / torch.where(c > 0, c, 1.0), 0.0)
""",
)

digamma_gap = make_special(
    "digamma_gap",
    meaning=lambda a, b: sp.digamma(a) - sp.digamma(a + b),
    slopes=(
        lambda a, b: trigamma_gap(a, b),
        lambda a, b: -trigamma_less_inverse(a + b) - 1 / (a + b),
    ),
    spelling=f"""
def digamma_gap(a, b):
    # psi(a) - psi(a + b): two steps up (DLMF 5.5.2), then the difference of two fractions at z and
    # z + b, taken level by level, so that a small b loses nothing; all terms have one sign
    z = a + 2.0
    w = z + b
{_numbers(DIGAMMA)}
    low = high = lag = torch.zeros_like(w)
    for c in reversed(coefficients):
        low, high = c / (z + low), c / (w + high)
        lag = low * (high / c) * (b - lag)
    steps = b / (a + b) / a + b / (a + 1.0 + b) / (a + 1.0)
    return -(steps + torch.log1p(b / z) + lag / z + (0.5 + high) * (b / w) / z)
""",
)

trigamma_gap = make_special(
    "trigamma_gap",
    meaning=lambda a, b: sp.polygamma(1, a) - sp.polygamma(1, a + b),
    slopes=(None, None),
    positive=True,
    spelling=f"""
def trigamma_gap(a, b):
    # psi'(a) - psi'(a + b), as digamma_gap: three steps up (DLMF 5.15.5), nothing negative
    z = a + 3.0
    w = z + b
{_numbers(TRIGAMMA)}
    low = high = lag = torch.zeros_like(w)
    for c in reversed(coefficients):
        low, high = c / (z + low), c / (w + high)
        lag = low * (high / c) * (b - lag)
    part = b / w / z
    value = part + (0.5 + high) * part * (1.0 / z + 1.0 / w) + lag / z / z
    for j in (2.0, 1.0, 0.0):
        k = a + j
        value = value + b / (k + b) / k * (1.0 / k + 1.0 / (k + b))
    return value
""",
)

rising_log = make_special(
    "rising_log",
    meaning=lambda x, a: sp.loggamma(x + 1 / a) - sp.loggamma(1 / a) + x * sp.log(a),
    slopes=(
        lambda x, a: log1p(a * x) + digamma_less_log(x + 1 / a),
        lambda x, a: rising_log_slope(x, a),
    ),
    spelling="""
def rising_log(x, a):
    # sum of log(1 + i a) over the whole numbers i < x: log Gamma(x + r) - log Gamma(r) - x log r
    # with r = 1/a (DLMF 5.2.4), by Stirling's formula where r is large; a x (x - 1)/2 for small a
    large = a > 0.5
    s = 1.0 / torch.where(large, a, 1.0)
    direct = torch.lgamma(x + s) - torch.lgamma(s) - x * torch.log(s)
    v = torch.where(large, 0.5, a)
    # below 1e-17 the difference of the binets no longer counts, but 1/v^2 in its slope overflows
    r = 1.0 / torch.where(v < 1e-17, 1e-17, v)
    y = v * x
    log = torch.log1p(y)
    stirling = x * (log - y * log1p_bend(y)) - 0.5 * log + (binet(x + r) - binet(r))
    return torch.where(large, direct, stirling)
""",
)

rising_log_slope = make_special(
    "rising_log_slope",
    meaning=lambda x, a: (x - (sp.digamma(x + 1 / a) - sp.digamma(1 / a)) / a) / a,
    slopes=(None, None),
    spelling=f"""
def rising_log_slope(x, a):
    # sum of i / (1 + i a) over the whole numbers i < x: r (x - r (psi(x + r) - psi(r))) with
    # r = 1/a; x (x - 1)/2 for small a. Where r is below 2, two steps up (DLMF 5.5.2). The fraction
    # at r (or r + 2) and at x more, in terms of their inverses z and w
    large = a > 0.5
    r = 1.0 / torch.where(large, a, 1.0)
    v = torch.where(large, 0.5, a)
    y = v * x
    z = torch.where(large, 1.0 / (r + 2.0), v)
    w = torch.where(large, 1.0 / (x + r + 2.0), v / (1.0 + y))
{_numbers(DIGAMMA)}
    first, *others = coefficients
    low = high = torch.zeros_like(w)
    for c in reversed(others):
        low, high = c * z * z / (1.0 + low), c * w * w / (1.0 + high)
    p, q = torch.where(large, r * z, 1.0), torch.where(large, r * w, 1.0 / (1.0 + y))
    tail = first * (p * p / (1.0 + low) - q * q / (1.0 + high))
    steps = r * x * (1.0 - 1.0 / (x + r) - r / (r + 1.0) / (x + r + 1.0))
    far = steps - r * r * (torch.log1p(x * z) + 0.5 * x * z * w)
    near = x * (x * log1p_bend(y)) - 0.5 * x / (1.0 + y)
    return torch.where(large, far, near) - tail
""",
)

rising_stirling = make_special(
    "rising_stirling",
    meaning=lambda x, a: (
        sp.loggamma(1 / a)
        - sp.loggamma(x + 1 / a)
        + (x + 1 / a) * sp.log(x + 1 / a)
        + sp.log(a) / a
        - x
    ),
    slopes=(
        lambda x, a: -digamma_less_log(x + 1 / a),
        lambda x, a: rising_stirling_slope(x, a),
    ),
    spelling="""
def rising_stirling(x, a):
    # Stirling's corrections of log Gamma at r = 1/a less those at x + r, about a x/2 for small a
    # below 1e-17 the difference of the binets no longer counts, but 1/a^2 in its slope overflows
    r = 1.0 / torch.where(a < 1e-17, 1e-17, a)
    return 0.5 * torch.log1p(a * x) + (binet(r) - binet(x + r))
""",
)

rising_stirling_slope = make_special(
    "rising_stirling_slope",
    meaning=lambda x, a: (
        (sp.digamma(x + 1 / a) - sp.log(x + 1 / a) - sp.digamma(1 / a) - sp.log(a)) / a**2
    ),
    slopes=(None, None),
    spelling=f"""
def rising_stirling_slope(x, a):
    # r^2 (D(x + r) - D(r)) with r = 1/a and D = psi - log; x/2 for small a. As rising_log_slope:
    # where r is below 2, two steps up, each 1/r - log(1 + 1/r) less the same at x more, all logs
    # in one
    large = a > 0.5
    r = 1.0 / torch.where(large, a, 1.0)
    v = torch.where(large, 0.5, a)
    y = v * x
    z = torch.where(large, 1.0 / (r + 2.0), v)
    w = torch.where(large, 1.0 / (x + r + 2.0), v / (1.0 + y))
{_numbers(DIGAMMA)}
    first, *others = coefficients
    low = high = torch.zeros_like(w)
    for c in reversed(others):
        low, high = c * z * z / (1.0 + low), c * w * w / (1.0 + high)
    p, q = torch.where(large, r * z, 1.0), torch.where(large, r * w, 1.0 / (1.0 + y))
    tail = first * (p * p / (1.0 + low) - q * q / (1.0 + high))
    part = x / (x + r) / r + x / (x + r + 1.0) / (r + 1.0)
    steps = part - torch.log1p(2.0 * x / (x + r + 2.0) / r)
    return torch.where(large, r * (r * steps), 0.0) + (0.5 * x * p * q + tail)
""",
)

overdispersed_deviance = make_special(
    "overdispersed_deviance",
    meaning=lambda x, u, v: sp.Piecewise(
        (sp.exp(-v) * sp.log(1 + sp.exp(u + v)), sp.Eq(x, 0)),
        (
            x * (sp.log(x) - u)
            - (x + sp.exp(-v)) * (sp.log(1 + x * sp.exp(v)) - sp.log(1 + sp.exp(u + v))),
            True,
        ),
    ),
    slopes=(
        lambda x, u, v: overdispersed_lean(x, u, v),
        lambda x, u, v: overdispersed_score(x, u, v),
        lambda x, u, v: -overdispersed_pull(x, u, v),
    ),
    spelling=f"""
def overdispersed_deviance(x, u, v):
    # for a log-mean u and a log-dispersion v; 0 where the mean is x. With the share
    # s = (x - exp(u)) / (1 + exp(u + v)) it is exp(-v) (w - log(1 + w)) + x (c - log(1 + c)) for
    # w = s exp(v) and c = -s/x: no term is negative
    share = -overdispersed_score(x, u, v)
    some = x > 0
    k = torch.where(some, x, 1.0)
    c = -share / k
    near = some & (torch.abs(c - 0.2) < 0.6)
    log = (u - torch.log(k)) + (torch.log1p(x * torch.exp(v)) - softplus(u + v))
    q = torch.clamp(c, -0.4, 0.8)
{_bend("q")}
    count = torch.where(near, -share * q * bend, -share - x * log)
    return overdispersed_pull(x, u, v) + count
""",
)

overdispersed_lean = make_special(
    "overdispersed_lean",
    meaning=lambda x, u, v: sp.log(x) - u - sp.log(1 + x * sp.exp(v)) + sp.log(1 + sp.exp(u + v)),
    slopes=(None, None, None),
    spelling="""
def overdispersed_lean(x, u, v):
    # log of x / (1 + x exp(v)) less that of the mean exp(u), each by what is small in it
    eta = u + v
    y = x * torch.exp(v)
    near = (eta < 0.0) & (y < 1.0)
    s = torch.where(near, y, 0.0)
    close = torch.log(x) - u - torch.log1p(s) + softplus(eta)
    return torch.where(near, close, softplus(-eta) - torch.log1p(1.0 / y))
""",
)

overdispersed_score = make_special(
    "overdispersed_score",
    meaning=lambda x, u, v: (sp.exp(u) - x) / (1 + sp.exp(u + v)),
    slopes=(None, None, None),
    spelling="""
def overdispersed_score(x, u, v):
    # (exp(u) - x) / (1 + exp(u + v)), where exp(u) and its divisor may be large together
    eta = u + v
    first = torch.exp(torch.where(eta < 0.0, u, -v)) * torch.sigmoid(torch.abs(eta))
    return first - x * torch.sigmoid(-eta)
""",
)

overdispersed_pull = make_special(
    "overdispersed_pull",
    meaning=lambda x, u, v: (
        (x - sp.exp(u)) / (1 + sp.exp(u + v))
        - sp.exp(-v) * (sp.log(1 + x * sp.exp(v)) - sp.log(1 + sp.exp(u + v)))
    ),
    slopes=(None, None, None),
    spelling=f"""
def overdispersed_pull(x, u, v):
    # exp(-v) (w - log(1 + w)), w = (x - exp(u)) exp(v) / (1 + exp(u + v)), about exp(-v) w^2/2
    share = -overdispersed_score(x, u, v)
    w = share * torch.exp(v)
    near = torch.abs(w - 0.2) < 0.6
    q = torch.clamp(w, -0.4, 0.8)
{_bend("q")}
    far = share - torch.exp(-v) * (torch.log1p(x * torch.exp(v)) - softplus(u + v))
    return torch.where(near, share * q * bend, far)
""",
)

overdispersed_balance = make_special(
    "overdispersed_balance",
    meaning=lambda x, u, v: (
        sp.exp(-v)
        * (sp.digamma(x + sp.exp(-v)) - sp.digamma(sp.exp(-v)) - sp.log(1 + sp.exp(u + v)))
        - (x - sp.exp(u)) / (1 + sp.exp(u + v))
    ),
    slopes=(None, None, None),
    spelling="""
def overdispersed_balance(x, u, v):
    # exp(v) rising_stirling_slope(x, exp(v)) - overdispersed_pull(x, u, v); for a count of 1 and a
    # mean far below it the two are almost equal, and without what they have in common the pull is
    # that of no count
    a = torch.exp(v)
    alone = (x == 1.0) & (u < -0.6931471805599453)
    whole = torch.where(alone, torch.sigmoid(u + v), a * rising_stirling_slope(x, a))
    return whole - overdispersed_pull(torch.where(alone, 0.0, x), u, v)
""",
)

binomial_deviance = make_special(
    "binomial_deviance",
    meaning=lambda a, b, u: sp.Piecewise(
        (b * sp.log(1 + sp.exp(u)), sp.Eq(a, 0)),
        (a * sp.log(1 + sp.exp(-u)), sp.Eq(b, 0)),
        (
            a * (sp.log(a / (a + b)) + sp.log(1 + sp.exp(-u)))
            + b * (sp.log(b / (a + b)) + sp.log(1 + sp.exp(u))),
            True,
        ),
    ),
    slopes=(
        lambda a, b, u: softplus(-u) - log1p(b / a),
        lambda a, b, u: softplus(u) - log1p(a / b),
        lambda a, b, u: binomial_pull(a, b, u),
    ),
    spelling=f"""
def binomial_deviance(a, b, u):
    # of a against b at the logit u of s, 0 where u = log(a/b). With the pull p = b s - a (1 - s) it
    # is a (c - log(1 + c)) + b (d - log(1 + d)) for c = p/a and d = -p/b: no term is negative
    pull = binomial_pull(a, b, u)
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    some = low > 0
    i, j = torch.where(some, a, 1.0), torch.where(some, b, 1.0)
    less = torch.log1p(low / torch.where(some, high, 1.0))
    # the ratio itself could overflow
    more = less + torch.abs(2.0 * torch.log(torch.sqrt(i) / torch.sqrt(j)))
    total = 0.0
    for k, p, v, log in (
        (i, pull, u, torch.where(a < b, more, less)),
        (j, -pull, -u, torch.where(a < b, less, more)),
    ):
        c = p / k
        near = torch.abs(c - 0.2) < 0.6
        q = torch.clamp(c, -0.4, 0.8)
{_bend("q", 4)}
        total = total + torch.where(near, p * q * bend, p - k * (log - softplus(-v)))
    edge = torch.where(a > 0, a * softplus(-u), b * softplus(u))
    return torch.where(some, total, edge)
""",
)

binomial_pull = make_special(
    "binomial_pull",
    meaning=lambda a, b, u: b / (1 + sp.exp(-u)) - a / (1 + sp.exp(u)),
    slopes=(
        lambda a, b, u: -logistic(-u),
        lambda a, b, u: logistic(u),
        lambda a, b, u: (a + b) * logistic(u) * logistic(-u),
    ),
    spelling="""
def binomial_pull(a, b, u):
    # slope of (a + b) softplus(u) - a u: neither of a and b is lost in their sum
    return b * torch.sigmoid(u) - a * torch.sigmoid(-u)
""",
)

stirling_error = make_special(
    "stirling_error",
    meaning=lambda x: sp.Piecewise(
        (0, sp.Eq(x, 0)), (sp.loggamma(x + 1) - x * sp.log(x) + x, True)
    ),
    slopes=(None,),
    spelling="""
def stirling_error(x):
    # log x! - (x log x - x), about log(2 pi x)/2 (DLMF 5.11.1); 0 at 0
    some = x > 0
    k = torch.where(some, x, 1.0)
    return torch.where(some, 0.9189385332046727 + 0.5 * torch.log(k) + binet(k), 0.0)
""",
)

poisson_deviance = make_special(
    "poisson_deviance",
    meaning=lambda x, b: sp.Piecewise(
        (sp.exp(b), sp.Eq(x, 0)), (sp.exp(b) - x - x * (b - sp.log(x)), True)
    ),
    slopes=(lambda x, b: sp.log(x) - b, lambda x, b: sp.exp(b) - x),
    spelling="""
def poisson_deviance(x, b):
    # exp(b) - x - x (b - log x), 0 where the log-rate b is log x; exp(b) for x = 0
    some = x > 0
    k = torch.where(some, x, 1.0)
    return torch.where(some, k * expm1_minus(b - torch.log(k)), torch.exp(b))
""",
)

positive_count = make_special(
    "positive_count",
    meaning=lambda x, u: (
        sp.loggamma(x + 1) + sp.log(sp.exp(sp.exp(u)) - 1) - sp.log(sp.exp(u)) - (x - 1) * u
    ),
    slopes=(None, None),
    spelling="""
def positive_count(x, u):
    # -log of a Poisson count's probability among the positive ones, at the log-rate u: below a
    # rate of 1 no term is negative, above it a deviance and Stirling's correction
    near = u < 0.0
    v = torch.where(near, u, 0.0)
    w = torch.where(near, 0.0, u)
    small = torch.lgamma(x + 1.0) + log_exprel(torch.exp(v)) - (x - 1.0) * v
    large = stirling_error(x) + poisson_deviance(x, w) + log1mexp(torch.exp(w))
    return torch.where(near, small, large)
""",
)

share_deviance = make_special(
    "share_deviance",
    meaning=lambda x, m, t: sp.Piecewise(
        (m * sp.exp(-t), sp.Eq(x, 0)),
        (m * sp.exp(-t) - x - x * (sp.log(m) - t - sp.log(x)), True),
    ),
    slopes=(None, None, lambda x, m, t: x - m * sp.exp(-t)),
    spelling="""
def share_deviance(x, m, t):
    # Poisson deviance of x against m exp(-t); the log of m/x is exactly 0 where x is all of m
    some = x > 0
    k = torch.where(some, x, 1.0)
    return torch.where(some, k * expm1_minus(-torch.log(k / m) - t), m * torch.exp(-t))
""",
)

stirling_gap = make_special(
    "stirling_gap",
    meaning=lambda x, m: stirling_error(x) + stirling_error(m - x) - stirling_error(m),
    slopes=(None, None),
    spelling="""
def stirling_gap(x, m):
    # the corrections of a binomial coefficient; exactly 0 where x is 0 or all of m
    whole = stirling_error(torch.zeros_like(x) + m)
    return (stirling_error(x) - whole) + stirling_error(m - x)
""",
)

log_i0e = make_special(
    "log_i0e",
    meaning=lambda kappa: sp.log(sp.besseli(0, kappa)) - kappa,
    slopes=(lambda kappa: bessel_gap(kappa),),
    spelling=f"""
def log_i0e(kappa):
    # log(I0(kappa) exp(-kappa)): the power series of I0 near 0 (DLMF 10.25.2). Single precision has
    # enough in it up to 5, and from there on in a polynomial in 1/kappa for
    # exp(2 kappa) / (8 kappa I0(kappa)^2), about pi/4 (DLMF 10.40.1)
    if kappa.dtype != torch.float64:
        near = kappa < 5.0
        s = torch.clamp_max(kappa, 5.0) ** 2
{indent(_taylor(I0_NEAR, few=len(I0_NEAR)), "    ")}
        above = s * series
        s = 1.0 / torch.clamp_min(kappa, 5.0) - 0.1
{indent(_taylor(I0_FAR, few=len(I0_FAR)), "    ")}
        log = torch.log1p(torch.where(near, above, kappa * series - 1.0))
        return torch.where(near, log - kappa, -1.0397207708399179 - 0.5 * log)
    near = kappa < 1.0
    s = 0.25 * torch.where(near, kappa, 0.0) ** 2
{_taylor([1 / sp.factorial(n + 1) ** 2 for n in range(9)])}
    far = torch.log(torch.special.i0e(torch.where(near, 1.0, kappa)))
    return torch.where(near, torch.log1p(s * series) - kappa, far)
""",
)

bessel_lag = make_special(
    "bessel_lag",
    meaning=lambda kappa: (
        kappa * sp.besseli(0, kappa) / sp.besseli(1, kappa) - kappa - sp.Rational(1, 2)
    ),
    slopes=(None,),
    positive=True,
    spelling="""
def bessel_lag(kappa):
    # kappa I0/I1 - kappa - 1/2, from 3/2 at 0 down to 3/(8 kappa): Perron's fraction for I1/I0
    # (Gautschi and Slavik 1978) in a form without a minus sign, started near its own limit
    count = 54 if kappa.dtype == torch.float64 else 22
    lag = torch.relu(count - 2.0 * kappa)
    for n in range(count, 0, -1):
        lag = (n + 0.5) * (0.5 + lag) / (2.0 * kappa + 0.5 + lag)
    return lag
""",
)

bessel_gap = make_special(
    "bessel_gap",
    meaning=lambda kappa: sp.besseli(1, kappa) / sp.besseli(0, kappa) - 1,
    slopes=(lambda kappa: bessel_gap_slope(kappa),),
    spelling=f"""
def bessel_gap(kappa):
    # I1(kappa) / I0(kappa) - 1, about -1/(2 kappa) for large kappa. Single precision has enough in
    # two polynomials: one in kappa up to 4, one in 1/kappa for kappa (1 - I1/I0) from there on
    if kappa.dtype == torch.float64:
        v = 0.5 + bessel_lag(kappa)
        return -v / (kappa + v)
    s = torch.clamp_max(kappa, 4.0) - 2.0
{_taylor(BESSEL_NEAR, few=len(BESSEL_NEAR))}
    near = series
    i = 1.0 / torch.clamp_min(kappa, 4.0)
    s = i - 0.125
{_taylor(BESSEL_FAR, few=len(BESSEL_FAR))}
    return torch.where(kappa < 4.0, -near, -i * series)
""",
)

bessel_gap_slope = make_special(
    "bessel_gap_slope",
    meaning=lambda kappa: (
        1
        - sp.besseli(1, kappa) / sp.besseli(0, kappa) / kappa
        - (sp.besseli(1, kappa) / sp.besseli(0, kappa)) ** 2
    ),
    slopes=(None,),
    positive=True,
    spelling="""
def bessel_gap_slope(kappa):
    # 1 - A/kappa - A^2 with A = I1/I0 (DLMF 10.29.2), about 1/(2 kappa^2) for large kappa
    lag = bessel_lag(kappa)
    r = 1.0 / (kappa + 0.5 + lag)
    return (2.0 * kappa * lag + (lag * lag - 0.25)) * r * r
""",
)

scaled_expm1 = make_special(
    "scaled_expm1",
    meaning=lambda k, u: k * (sp.exp(u) - 1),
    slopes=(lambda k, u: expm1(u), lambda k, u: k * sp.exp(u)),
    spelling="""
def scaled_expm1(k, u):
    # k (exp(u) - 1); for large u the factor goes into the exponent, lest that overflow
    large = u > 20.0
    return torch.where(
        large,
        torch.exp(torch.where(large, u, 0.0) + torch.log(k)) - k,
        k * torch.expm1(torch.where(large, 0.0, u)),
    )
""",
)

scaled_expm1_minus = make_special(
    "scaled_expm1_minus",
    meaning=lambda k, u: k * (sp.exp(u) - 1 - u),
    slopes=(lambda k, u: expm1_minus(u), lambda k, u: scaled_expm1(k, u)),
    spelling="""
def scaled_expm1_minus(k, u):
    # k (exp(u) - 1 - u); for large u the factor goes into the exponent as well
    large = u > 20.0
    return torch.where(
        large,
        torch.exp(torch.where(large, u, 0.0) + torch.log(k)) - k - k * u,
        k * expm1_minus(torch.where(large, 0.0, u)),
    )
""",
)

gamma_deviance = make_special(
    "gamma_deviance",
    meaning=lambda a, b: b - a - a * sp.log(b / a),
    slopes=(None, None),
    spelling=f"""
def gamma_deviance(a, b):
    # b - a - a log(b/a), 0 where b = a; square roots, since the ratio itself would overflow
    d = 2.0 * torch.log(torch.sqrt(b) / torch.sqrt(a))
    s = torch.clamp(d, -0.7, 0.7)
{_taylor([1 / sp.factorial(n + 2) for n in range(15)], few=8)}
    return torch.where(torch.abs(d) < 0.7, a * (s * s * series), b - a - a * d)
""",
)

scaled_square_pull = make_special(
    "scaled_square_pull",
    meaning=lambda k, z: k * (sp.log(1 + z**2) - z**2 / (1 + z**2)),
    slopes=(None, None),
    spelling=f"""
def scaled_square_pull(k, z):
    # k times log1p_square_pull(z), which alone underflows where k is large and z small; near 0 by
    # the series of log1p_bend
    near = torch.abs(z) < 0.8
    v = torch.clamp(z, -0.8, 0.8) ** 2
{_bend("v")}
    close = ((k * v) * v) * (1.0 / (1.0 + v) - bend)
    far = torch.clamp_min(torch.abs(z), 0.8)
    m = torch.clamp_min(far, 1.0)
    r = far / m / m
    return torch.where(near, close, k * (log1p_square(far) - far * (r / (1.0 + r * r))))
""",
)

student_score = make_special(
    "student_score",
    meaning=lambda z, v: (1 + sp.exp(v)) * z / (sp.exp(v) + z**2),
    slopes=(None, None),
    spelling="""
def student_score(z, v):
    # slope of (nu + 1)/2 log(1 + z^2/nu) in z, v = log nu: z (1 + 1/nu) / (1 + w^2), both parts
    # divided by the square of m = max(|w|, 1), since neither z nor w may be squared
    w = z * torch.exp(-0.5 * v)
    m = torch.clamp_min(torch.abs(w), 1.0)
    u, c = w / m, 1.0 / m
    return z / m * (1.0 + torch.exp(-v)) / m / (u * u + c * c)
""",
)

student_balance = make_special(
    "student_balance",
    meaning=lambda z, v: (1 - z**2) * sp.exp(v) / (sp.exp(v) + z**2),
    slopes=(None, None),
    spelling="""
def student_balance(z, v):
    # (1 - z^2)/(1 + z^2/nu), v = log nu: what is left of 1 - z student_score(z, v); as there, both
    # parts are divided by m^2
    w = z * torch.exp(-0.5 * v)
    m = torch.clamp_min(torch.abs(w), 1.0)
    u, c = w / m, 1.0 / m
    return (1.0 - z) / m * ((1.0 + z) / m) / (u * u + c * c)
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

larger = make_special(
    "larger",
    meaning=lambda u, v: sp.Max(u, v),
    slopes=(lambda u, v: step(u - v), lambda u, v: 1 - step(u - v)),
    tex=r"\max",
    spelling="""
def larger(u, v):
    return torch.maximum(u, v)
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

inside = make_special(
    "inside",
    meaning=lambda u: sp.Piecewise((1, u >= 0), (0, True)),
    slopes=(lambda u: ZERO,),
    tex=r"\mathbf{1}_{#1 \geq 0}",
    spelling="""
def inside(u):
    # 1 from 0 on, 0 below: the edge of a support
    return (u >= 0.0).to(u.dtype)
""",
)

wall = make_special(
    "wall",
    meaning=lambda u: sp.Piecewise((0, u >= 0), (sp.oo, True)),
    slopes=(lambda u: ZERO,),
    spelling="""
def wall(u):
    # 0 from 0 on, infinite below: what it costs to be outside a support
    return torch.where(u >= 0.0, torch.zeros_like(u), torch.inf)
""",
)

huber_error = make_special(
    "huber_error",
    meaning=lambda z, b: sp.Piecewise((z**2 / 2, sp.Abs(z) <= b), (b * (sp.Abs(z) - b / 2), True)),
    slopes=(lambda z, b: clip(z, b), lambda z, b: relu(sp.Abs(z) - b)),
    spelling="""
def huber_error(z, b):
    # z^2/2 up to |z| = b, and from there on along the tangent
    c = torch.minimum(torch.abs(z), b)
    return c * (torch.abs(z) - 0.5 * c)
""",
)

clip = make_special(
    "clip",
    meaning=lambda z, b: sp.Piecewise((z, sp.Abs(z) <= b), (b * sp.sign(z), True)),
    slopes=(lambda z, b: step(b - sp.Abs(z)), lambda z, b: sp.sign(z) * step(sp.Abs(z) - b)),
    spelling="""
def clip(z, b):
    # z, held between -b and b
    return torch.minimum(torch.maximum(z, -b), b)
""",
)

log1p_share = make_special(
    "log1p_share",
    meaning=lambda u, k: sp.Piecewise((k, sp.Eq(u, 0)), (sp.log(sp.Abs(1 + u * k)) / u, True)),
    slopes=(lambda u, k: -log1p_share_pull(u, k), lambda u, k: 1 / (1 + u * k)),
    spelling="""
def log1p_share(u, k):
    # log|1 + u k| / u, which is k (1 - u k/2 + ...) where u k is tiny
    t = u * k
    near = torch.abs(t) < 1e-8
    far = torch.where(near, 1.0, t)
    low = torch.maximum(far, -2.0 - far)  # |1 + t| = |1 + (-2 - t)|
    return k * torch.where(near, 1.0 - 0.5 * t, torch.log1p(low) / far)
""",
)

log1p_share_pull = make_special(
    "log1p_share_pull",
    meaning=lambda u, k: sp.Piecewise(
        (k**2 / 2, sp.Eq(u, 0)),
        ((sp.log(sp.Abs(1 + u * k)) - u * k / (1 + u * k)) / u**2, True),
    ),
    slopes=(None, None),
    spelling=f"""
def log1p_share_pull(u, k):
    # (log|1 + t| - t/(1 + t)) / u^2 with t = u k, about k^2/2 where t is small: there by the series
    # of log1p_bend
    q = u * k
    near = torch.abs(q - 0.2) < 0.6
    v = torch.clamp(q, -0.4, 0.8)
{_bend("v")}
    low = torch.maximum(q, -2.0 - q)
    w = torch.where(near, 1.0, u)
    return torch.where(
        near,
        k * (k * (1.0 / (1.0 + v) - bend)),
        (torch.log1p(low) - q / (1.0 + q)) / w / w,
    )
""",
)

signed_power = make_special(
    "signed_power",
    meaning=lambda u, b: sp.sign(u) * sp.Abs(u) ** b,
    slopes=(None, None),
    spelling="""
def signed_power(u, b):
    # sign(u) |u|^b, and 0 at 0: half-way between both sides also where b is negative
    some = u != 0.0
    return torch.where(some, torch.sign(u) * torch.where(some, torch.abs(u), 1.0) ** b, 0.0)
""",
)

power_log = make_special(
    "power_log",
    meaning=lambda u, b: sp.Piecewise((0, sp.Eq(u, 0)), (sp.Abs(u) ** b * sp.log(sp.Abs(u)), True)),
    slopes=(None, None),
    spelling="""
def power_log(u, b):
    # |u|^b log|u|, and its limit 0 at 0
    a = torch.where(u != 0.0, torch.abs(u), 1.0)
    return a**b * torch.log(a)
""",
)

binet_gap = make_special(
    "binet_gap",
    meaning=lambda a, b: (
        sp.loggamma(a)
        - (a - sp.Rational(1, 2)) * sp.log(a)
        - sp.loggamma(a + b)
        + (a + b - sp.Rational(1, 2)) * sp.log(a + b)
        - b
    ),
    slopes=(None, None),
    spelling=f"""
def binet_gap(a, b):
    # Stirling's rest of a less that of a + b: below 2 two steps up (DLMF 5.5.1), then the
    # difference of two fractions at z and z + b, level by level: a small b loses nothing
    small = a < 2.0
    z = torch.where(small, a + 2.0, a)
    w = z + b
{_numbers(BINET)}
    low = high = lag = torch.zeros_like(w)
    for c in reversed(coefficients):
        low, high = c / (z + low), c / (w + high)
        lag = low * (high / c) * (b - lag)
    steps = torch.zeros_like(w)
    for k in (a + 1.0, a):
        ratio = torch.log1p(b / (k + b + 1.0) / k)
        steps = steps + ((k + 0.5) * ratio - b * torch.log1p(1.0 / (k + b)))
    return torch.where(small, lag + steps, lag)
""",
)

stirling_bend = make_special(
    "stirling_bend",
    meaning=lambda a, b, x: (
        _corrected(a) - _corrected(a + x) - _corrected(a + b) + _corrected(a + b + x)
    ),
    slopes=(None, None, None),
    spelling="""
def stirling_bend(a, b, x):
    # log Gamma(k) - k log k + k at the four corners a, a + x, a + b, a + b + x; no term is negative
    log = torch.log1p(b / (a + b + x) * (x / a))
    return 0.5 * log + (binet_gap(a, b) - binet_gap(a + x, b))
""",
)

digamma_bend = make_special(
    "digamma_bend",
    meaning=lambda a, b, x: (
        a * (sp.digamma(a + x) - sp.digamma(a) - sp.digamma(a + b + x) + sp.digamma(a + b))
    ),
    slopes=(None, None, None),
    spelling=f"""
def digamma_bend(a, b, x):
    # a times psi at the four corners a, a + x, a + b, a + b + x: two steps up (DLMF 5.5.2), then
    # the logs, the halves and the fractions of its expansion; no term is negative. The factor a
    # comes early, since the bend alone falls like 1/a^2 and underflows
    z = a + 2.0
    t = b / (z + b + x) * (x / z)
    tiny = t < 1e-8
    ratio = torch.where(tiny, 1.0 - 0.5 * t, torch.log1p(t) / torch.where(tiny, 1.0, t))
    total = (a / z) * x * (b / (z + b + x)) * ratio
    for k, share in ((a, 1.0), (a + 1.0, 1.0), (z, 0.5)):
        widest = (2.0 * k + b + x) / (k + b + x)
        total = total + share * (a / k) * (b / (k + b)) * (x / (k + x)) * widest
{_numbers(DIGAMMA)}
    for k, sign in ((z, 1.0), (z + x, -1.0)):
        w = k + b
        low = high = lag = torch.zeros_like(w)
        for c in reversed(coefficients):
            low, high = c / (k + low), c / (w + high)
            lag = low * (high / c) * (b - lag)
        total = total + sign * (a / k) * (lag + high * (b / w))
    return total
""",
)

polya_deviance = make_special(
    "polya_deviance",
    meaning=lambda a, b, x, y: _mixing(a, b) + _mixing(x, y) - _mixing(a + x, b + y),
    slopes=(None, None, None, None),
    spelling="""
def polya_deviance(a, b, x, y):
    # h(a, b) + h(x, y) - h(a + x, b + y) with h(a, b) = a log a + b log b - (a + b) log(a + b): 0
    # where x is to y as a to b. Four terms k (q - log(1 + q)), none of them negative
    s, n = a + b, x + y
    off = (b * x - a * y) / (s + n)
    gone, kept = -torch.log1p(n / s), -torch.log1p(s / n)
    first = ((a, x, off, gone), (b, y, -off, gone))
    total = 0.0
    for k, more, d, log in (*first, (x, a, -off, kept), (y, b, off, kept)):
        some = k > 0
        safe = torch.where(some, k, 1.0)
        q = d / safe
        near = some & (torch.abs(q) < 0.5)
        close = safe * log1p_minus(torch.where(near, q, 0.0))
        far = d - k * (log + torch.log1p(more / safe))
        total = total + torch.where(near, close, far)
    return total
""",
)

count_entropy = make_special(
    "count_entropy",
    meaning=lambda x, y: -_mixing(x, y),
    slopes=(None, None),
    spelling="""
def count_entropy(x, y):
    # (x + y) log(x + y) - x log x - y log y, 0 where one part has all
    a, b = torch.where(x > 0, x, 1.0), torch.where(y > 0, y, 1.0)
    return x * torch.log1p(y / a) + y * torch.log1p(x / b)
""",
)


SPECIAL: dict[str, type[Special]] = (
    {
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
            zero_surprisal,
            inverse_expm1,
            exprel_inverse,
            logit,
            artanh,
            log_cosh,
            log_sinhc,
            langevin,
            binet,
            lgamma_stirling,
            digamma_less_log,
            trigamma_less_inverse,
            student_constant,
            student_constant_slope,
            lbeta,
            lbeta_stirling,
            share_stirling,
            digamma_pull,
            digamma_gap_pull,
            digamma_gap,
            trigamma_gap,
            rising_log,
            rising_log_slope,
            stirling_error,
            poisson_deviance,
            student_constant_pull,
            student_score,
            student_balance,
            scaled_square_pull,
            scaled_expm1,
            scaled_expm1_minus,
            gamma_deviance,
            positive_count,
            share_deviance,
            rising_stirling,
            rising_stirling_slope,
            overdispersed_deviance,
            overdispersed_lean,
            overdispersed_score,
            overdispersed_pull,
            overdispersed_balance,
            binomial_deviance,
            binomial_pull,
            stirling_gap,
            log_i0e,
            bessel_lag,
            bessel_gap,
            bessel_gap_slope,
            relu,
            larger,
            step,
            inside,
            wall,
            huber_error,
            clip,
            log1p_share,
            log1p_share_pull,
            signed_power,
            power_log,
            binet_gap,
            stirling_bend,
            digamma_bend,
            polya_deviance,
            count_entropy,
        )
    }
    | NORMAL
    | TAILS
    | BELL
)
