"""TABLE of distribution functions, their logs and the slopes of those: what bins and tails need.

The same kind of rows as in ``lossderiv/special.py``, which takes them in. Each is good to the last
digits in both tails, where the distribution function itself is all but 0 or 1.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.functions import Special, make_special

HALF = sp.Rational(1, 2)


def _row(name: str, **members) -> type[Special]:
    return make_special(name, home="lossderiv.special_tails", **members)


def _laplace(u: sp.Expr) -> sp.Expr:
    """One side's part and the other's, of which one is always 0 or 1/2."""
    return (sp.exp(sp.Min(u, 0)) - sp.exp(-sp.Max(u, 0)) + 1) / 2


def _cauchy(u: sp.Expr) -> sp.Expr:
    return HALF + sp.atan(u) / sp.pi


laplace_cdf = _row(
    "laplace_cdf",
    meaning=_laplace,
    slopes=(lambda u: sp.exp(-sp.Abs(u)) / 2,),
    positive=True,
    tex=r"F_{\mathrm{Laplace}}",
    spelling="""
def laplace_cdf(u):
    tail = 0.5 * torch.exp(-torch.abs(u))
    return torch.where(u < 0.0, tail, 1.0 - tail)
""",
)

log_laplace_cdf = _row(
    "log_laplace_cdf",
    meaning=lambda u: sp.log(_laplace(u)),
    slopes=(lambda u: laplace_cdf_pull(u),),
    tex=r"\log F_{\mathrm{Laplace}}",
    spelling="""
def log_laplace_cdf(u):
    tail = 0.5 * torch.exp(-torch.abs(u))
    return torch.where(u < 0.0, u - 0.6931471805599453, torch.log1p(-tail))
""",
)

laplace_cdf_pull = _row(
    "laplace_cdf_pull",
    meaning=lambda u: sp.Piecewise((1, u < 0), (1 / (2 * sp.exp(u) - 1), True)),
    slopes=(None,),
    positive=True,
    spelling="""
def laplace_cdf_pull(u):
    # the slope of the log of Laplace's distribution function: 1 on the left
    tail = 0.5 * torch.exp(-torch.relu(u))
    return torch.where(u < 0.0, 1.0, tail / (1.0 - tail))
""",
)

cauchy_cdf = _row(
    "cauchy_cdf",
    meaning=_cauchy,
    slopes=(lambda u: 1 / (sp.pi * (1 + u**2)),),
    positive=True,
    tex=r"F_{\mathrm{Cauchy}}",
    spelling="""
def cauchy_cdf(u):
    # 1/2 + atan(u)/pi; far to the left the angle is that of -1/u
    left = u < -1.0
    r = -1.0 / torch.where(left, u, -1.0)
    near = 0.5 + 0.3183098861837907 * torch.atan(torch.where(left, -1.0, u))
    return torch.where(left, 0.3183098861837907 * torch.atan(r), near)
""",
)

log_cauchy_cdf = _row(
    "log_cauchy_cdf",
    meaning=lambda u: sp.log(_cauchy(u)),
    slopes=(lambda u: cauchy_cdf_pull(u),),
    tex=r"\log F_{\mathrm{Cauchy}}",
    spelling="""
def log_cauchy_cdf(u):
    # on both sides by the small angle between the axis and the far end
    right = u > 1.0
    r = 1.0 / torch.where(right, u, 1.0)
    high = torch.log1p(-0.3183098861837907 * torch.atan(r))
    return torch.where(right, high, torch.log(cauchy_cdf(torch.where(right, 1.0, u))))
""",
)

cauchy_cdf_pull = _row(
    "cauchy_cdf_pull",
    meaning=lambda u: 1 / (sp.pi * (1 + u**2) * _cauchy(u)),
    slopes=(None,),
    positive=True,
    spelling="""
def cauchy_cdf_pull(u):
    # the slope of the log of Cauchy's distribution function, without the square of a large number
    big = torch.abs(u) > 1.0
    r = 1.0 / torch.where(big, u, 1.0)
    v = torch.where(big, 0.0, u)
    near = 1.0 / ((1.0 + v * v) * (1.5707963267948966 + torch.atan(v)))
    left = -r / (1.0 + r * r) * (r / torch.atan(r))
    right = r * r / ((1.0 + r * r) * (3.141592653589793 - torch.atan(r)))
    return torch.where(big, torch.where(u < 0.0, left, right), near)
""",
)

# An interval from u on, k wide (perhaps without end), mirrored so that its middle is not negative.
MIRROR = """
    left = u + 0.5 * k < 0.0
    u = torch.where(left, -u - k, u)
""".strip("\n")
LAPLACE = f"""
{MIRROR}
    inside = u < 0.0
    a, b = torch.where(inside, -u, 1.0), torch.where(inside, u + k, 1.0)
    outside = 0.5 * (torch.exp(-a) + torch.exp(-b))
    whole = -0.5 * (torch.expm1(-a) + torch.expm1(-b))
""".strip("\n")

log_laplace_mass = _row(
    "log_laplace_mass",
    meaning=lambda u, k: sp.log(_laplace(u + k) - _laplace(u)),
    slopes=(lambda u, k: laplace_mass_pull(u, k), lambda u, k: laplace_mass_edge(u, k)),
    spelling=f"""
def log_laplace_mass(u, k):
    # log(F(u + k) - F(u)) for Laplace's F: a tail on one side, all but two tails in the middle
{LAPLACE}
    high = outside < 0.5
    most = torch.log1p(-torch.where(high, outside, 0.0))
    both = torch.where(high, most, torch.log(whole))
    return torch.where(inside, both, log1mexp(k) - u - 0.6931471805599453)
""",
)

laplace_mass_pull = _row(
    "laplace_mass_pull",
    meaning=lambda u, k: (
        (sp.exp(-sp.Abs(u + k)) - sp.exp(-sp.Abs(u))) / (2 * (_laplace(u + k) - _laplace(u)))
    ),
    slopes=(None, None),
    spelling=f"""
def laplace_mass_pull(u, k):
    # (f(u + k) - f(u)) over the probability between: -1 in the right tail, 1 in the left one
{LAPLACE}
    both = 0.5 * torch.exp(-a) * torch.expm1(-torch.where(inside, 2.0 * u + k, 0.0)) / whole
    pull = torch.where(inside, both, -1.0)
    return torch.where(left, -pull, pull)
""",
)

laplace_mass_edge = _row(
    "laplace_mass_edge",
    meaning=lambda u, k: sp.exp(-sp.Abs(u + k)) / (2 * (_laplace(u + k) - _laplace(u))),
    slopes=(None, None),
    positive=True,
    spelling=f"""
def laplace_mass_edge(u, k):
    # f(u + k) over the probability between; the other end's where the interval is mirrored
{LAPLACE}
    both = 0.5 * torch.exp(-torch.where(left, a, b)) / whole
    tail = torch.where(left, 1.0 + inverse_expm1(k), inverse_expm1(k))
    return torch.where(inside, both, tail)
""",
)

# The angles of both ends by sines and cosines, and that between them: sin(t)/t and t itself.
CAUCHY = f"""
{MIRROR}
    endless = k == torch.inf
    width = torch.where(endless, 1.0, k)
    v = u + width
    far_u, far_v = torch.abs(u) > 1.0, v > 1.0
    p = torch.where(far_u, 1.0 / torch.where(far_u, u, 1.0), u)
    q = torch.where(far_v, 1.0 / torch.where(far_v, v, 1.0), v)
    one, two = 1.0 / torch.sqrt(1.0 + p * p), 1.0 / torch.sqrt(1.0 + q * q)
    cos_u = torch.where(far_u, torch.abs(p) * one, one)
    sin_u = torch.where(far_u, torch.sign(p) * one, p * one)
    cos_v = torch.where(endless, 0.0, torch.where(far_v, q * two, two))
    sin_v = torch.where(endless, 1.0, torch.where(far_v, two, q * two))
    sin = torch.where(endless, cos_u, width * cos_u * cos_v)
    cos = cos_u * cos_v + sin_u * sin_v
    steep = torch.abs(cos) < 0.5
    lean = torch.where(steep, cos / torch.where(steep, sin, 1.0), 0.0)
    small = torch.atan(sin / torch.where(steep, 1.0, torch.abs(cos)))
    angle = torch.where(cos < 0.0, 3.141592653589793 - small, small)
    angle = torch.where(steep, 1.5707963267948966 - torch.atan(lean), angle)
    faint = (sin < 1e-3) & (cos > 0.0)
    square = torch.where(faint, sin * sin, 0.0)
    series = 1.0 - square * (0.16666666666666666 + 0.04722222222222222 * square)
    ratio = torch.where(faint, series, sin / torch.where(faint, 1.0, angle))
""".strip("\n")


def _angle(u: sp.Expr, k: sp.Expr) -> sp.Expr:
    return sp.atan(u + k) - sp.atan(u)


log_cauchy_mass = _row(
    "log_cauchy_mass",
    meaning=lambda u, k: sp.log(_angle(u, k) / sp.pi),
    slopes=(lambda u, k: cauchy_mass_pull(u, k), lambda u, k: cauchy_mass_edge(u, k)),
    spelling=f"""
def log_cauchy_mass(u, k):
    # log of an angle over pi: a tiny one by the logs of its sine's factors, one near pi by its rest
{CAUCHY}
    length = torch.where(endless, 0.0, torch.log(width) - 0.5 * log1p_square(v))
    tiny = length - 0.5 * log1p_square(u) - torch.log(series) - 1.1447298858494002
    most = (cos < 0.0) & (torch.abs(cos) >= 0.5)
    high = torch.log1p(-0.3183098861837907 * torch.where(most, small, 0.0))
    direct = torch.log(0.3183098861837907 * torch.where(faint, 1.0, angle))
    return torch.where(faint, tiny, torch.where(most, high, direct))
""",
)

cauchy_mass_pull = _row(
    "cauchy_mass_pull",
    meaning=lambda u, k: (1 / (1 + (u + k) ** 2) - 1 / (1 + u**2)) / _angle(u, k),
    slopes=(None, None),
    spelling=f"""
def cauchy_mass_pull(u, k):
    # (f(u + k) - f(u)) over the probability between: the sine of both angles' sum, and sin(t)/t
{CAUCHY}
    pull = -ratio * (sin_u * cos_v + sin_v * cos_u)
    return torch.where(left, -pull, pull)
""",
)

cauchy_mass_edge = _row(
    "cauchy_mass_edge",
    meaning=lambda u, k: 1 / ((1 + (u + k) ** 2) * _angle(u, k)),
    slopes=(None, None),
    positive=True,
    spelling=f"""
def cauchy_mass_edge(u, k):
    # f(u + k) over the probability between; the other end's where the interval is mirrored
{CAUCHY}
    end = torch.where(left, cos_u / torch.where(endless, 1.0, cos_v), cos_v / cos_u)
    return ratio / width * end
""",
)

TAILS: dict[str, type[Special]] = {
    f.__name__: f
    for f in (
        laplace_cdf,
        log_laplace_cdf,
        laplace_cdf_pull,
        cauchy_cdf,
        log_cauchy_cdf,
        cauchy_cdf_pull,
        log_laplace_mass,
        laplace_mass_pull,
        laplace_mass_edge,
        log_cauchy_mass,
        cauchy_mass_pull,
        cauchy_mass_edge,
    )
}
