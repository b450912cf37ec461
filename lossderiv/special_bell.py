"""TABLE of what a normal density has in an interval: its probability, its moments, their slopes.

The same kind of rows as in ``lossderiv/special.py``, which takes them in. The interval begins ``u``
standard deviations above the mean (below it for a negative ``u``) and is ``k`` of them wide; the
width is an argument of its own, because a difference of two far ends has no digits left. Where the
exponent falls by less than 2 over the interval, the integrals are taken by Gauss and Legendre's
rule (DLMF 3.5.15), in which nothing cancels; elsewhere by Mills' ratio, where little does.

``bell_...`` leave out the factor ``exp(-u^2/2)``, which a loss far from the mean cancels, and ask
for a ``u`` that is not negative.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.special_normal import erfcx_pull
from lossderiv.symbolic.functions import Special, make_special

WIDE = (  # nodes and weights on [0, 1]: the roots of Legendre's polynomials, for float64
    (0.009219682876640375, 0.023587668193255914),
    (0.04794137181476257, 0.05346966299765921),
    (0.11504866290284765, 0.08003916427167311),
    (0.2063410228566913, 0.10158371336153296),
    (0.3160842505009099, 0.1167462682691774),
    (0.43738329574426554, 0.12457352290670139),
    (0.5626167042557345, 0.12457352290670139),
    (0.6839157494990901, 0.1167462682691774),
    (0.7936589771433087, 0.10158371336153296),
    (0.8849513370971523, 0.08003916427167311),
    (0.9520586281852375, 0.05346966299765921),
    (0.9907803171233597, 0.023587668193255914),
)
NARROW = (  # and for less
    (0.025446043828620736, 0.06474248308443485),
    (0.12923440720030277, 0.13985269574463832),
    (0.2970774243113014, 0.19091502525255946),
    (0.5, 0.2089795918367347),
    (0.7029225756886985, 0.19091502525255946),
    (0.8707655927996972, 0.13985269574463832),
    (0.9745539561713793, 0.06474248308443485),
)


def _nodes() -> str:
    wide, narrow = ("".join(f"            {p!r},\n" for p in part) for part in (WIDE, NARROW))
    return f"""
    if k.dtype == torch.float64:
        nodes = (
{wide}        )
    else:
        nodes = (
{narrow}        )""".strip("\n")


# The integrals of exp(-u t - t^2/2), times 1, t and t^2, over a share s of [0, k], each over k.
SUMS = f"""
    near = k * (torch.relu(u) + 0.5 * k) < 2.0
    a, b = torch.where(near, u, 0.0), torch.where(near, k, 1.0)
{_nodes()}
    less = first = second = torch.zeros_like(a + b)
    for s, weight in nodes:
        t = s * b
        change = weight * torch.expm1(-t * (a + 0.5 * t))
        share = weight + change
        less, first, second = less + change, first + t * share, second + MOMENT * share
    mass = 1.0 + less
""".strip("\n")
# Mills' ratio at both ends, and what the far one weighs beside the near one.
MILLS = """
    d = torch.where(near, 0.0, torch.relu(u))
    e = torch.where(near, 2.0, k)
    mills = 1.2533141373155003 * torch.special.erfcx(0.7071067811865476 * d)
    other = 1.2533141373155003 * torch.special.erfcx(0.7071067811865476 * (d + e))
    fall = torch.exp(-e * (d + 0.5 * e))
    rest = fall * (other / mills)
""".strip("\n")
# Both ends on either side of a mean that lies inside.
MIRROR = """
    left = u + 0.5 * k < 0.0
    u = torch.where(left, -u - k, u)
    inside = (u < 0.0) & (k * (torch.relu(u) + 0.5 * k) >= 2.0)
    f, g = torch.where(inside, -u, 1.0), torch.where(inside, u + k, 1.0)
    outside = 0.5 * (
        torch.special.erfc(0.7071067811865476 * f) + torch.special.erfc(0.7071067811865476 * g)
    )
    whole = 1.0 - outside
""".strip("\n")


def _sums(moment: str = "t * t") -> str:
    return SUMS.replace("MOMENT", moment)


def _row(name: str, **members) -> type[Special]:
    return make_special(name, home="lossderiv.special_bell", **members)


def _phi(u: sp.Expr) -> sp.Expr:
    return sp.exp(-(u**2) / 2) / sp.sqrt(2 * sp.pi)


def _mass(u: sp.Expr, k: sp.Expr) -> sp.Expr:
    """A difference of the tails on the side where the interval lies."""
    return (sp.erfc(u / sp.sqrt(2)) - sp.erfc((u + k) / sp.sqrt(2))) / 2


def _area(u: sp.Expr, k: sp.Expr) -> sp.Expr:
    return _mass(u, k) / _phi(u)


def _mean(u: sp.Expr, k: sp.Expr) -> sp.Expr:
    return (_phi(u) - _phi(u + k)) / _mass(u, k) - u


def _square(u: sp.Expr, k: sp.Expr) -> sp.Expr:
    return 1 + (u * _phi(u) - (u + k) * _phi(u + k)) / _mass(u, k)


def _mills_slope(u: sp.Expr) -> sp.Expr:
    """``u M(u) - 1``, without the cancellation on the right."""
    return mills(u) * erfcx_pull(u / sp.sqrt(2)) / sp.sqrt(2)


mills = _row(
    "mills",
    meaning=lambda u: sp.sqrt(sp.pi / 2) * sp.exp(u**2 / 2) * sp.erfc(u / sp.sqrt(2)),
    slopes=(_mills_slope,),
    positive=True,
    spelling="""
def mills(u):
    # Mills' ratio, the integral of exp(-u t - t^2/2) from 0 on
    return 1.2533141373155003 * torch.special.erfcx(0.7071067811865476 * u)
""",
)

bell_area = _row(
    "bell_area",
    meaning=_area,
    slopes=(
        lambda u, k: -bell_area(u, k) * bell_mean(u, k),
        lambda u, k: sp.exp(-k * (u + k / 2)),
    ),
    positive=True,
    spelling=f"""
def bell_area(u, k):
    # the integral of exp(-u t - t^2/2) from 0 to k
{_sums()}
{MILLS}
    return torch.where(near, b * mass, mills * (1.0 - rest))
""",
)

log_bell_area = _row(
    "log_bell_area",
    meaning=lambda u, k: sp.log(_area(u, k)),
    slopes=(lambda u, k: -bell_mean(u, k), lambda u, k: bell_edge(u, k)),
    spelling=f"""
def log_bell_area(u, k):
    # log of the integral of exp(-u t - t^2/2) from 0 to k
{_sums()}
{MILLS}
    far = 0.22579135264472744 + log_erfcx(0.7071067811865476 * d) + torch.log1p(-rest)
    return torch.where(near, torch.log(b * mass), far)
""",
)

bell_level = _row(
    "bell_level",
    meaning=lambda u, k: _area(u, k) / k,
    slopes=(
        lambda u, k: -bell_level(u, k) * bell_mean(u, k),
        lambda u, k: bell_level(u, k) * (u * bell_mean(u, k) - bell_spread(u, k)) / k,
    ),
    positive=True,
    spelling=f"""
def bell_level(u, k):
    # the mean of exp(-u t - t^2/2) from 0 to k
{_sums()}
{MILLS}
    return torch.where(near, mass, mills / e * (1.0 - rest))
""",
)

log_bell_level = _row(
    "log_bell_level",
    meaning=lambda u, k: sp.log(_area(u, k) / k),
    slopes=(
        lambda u, k: -bell_mean(u, k),
        lambda u, k: (u * bell_mean(u, k) - bell_spread(u, k)) / k,
    ),
    spelling=f"""
def log_bell_level(u, k):
    # log of the mean of exp(-u t - t^2/2) from 0 to k, which tends to 0 for a narrow interval
{_sums()}
{MILLS}
    far = 0.22579135264472744 - torch.log(e) + log_erfcx(0.7071067811865476 * d)
    return torch.where(near, torch.log1p(less), far + torch.log1p(-rest))
""",
)

normal_level = _row(
    "normal_level",
    meaning=lambda u, k: _mass(u, k) * sp.sqrt(2 * sp.pi) / k,
    slopes=(
        lambda u, k: normal_level(u, k) * normal_mass_pull(u, k),
        lambda u, k: (
            -normal_level(u, k) * (u * normal_mass_pull(u, k) + normal_mass_square(u, k)) / k
        ),
    ),
    positive=True,
    spelling="""
def normal_level(u, k):
    # the mean of exp(-t^2/2) from u to u + k
    return torch.exp(log_normal_level(u, k))
""",
)

log_normal_level = _row(
    "log_normal_level",
    meaning=lambda u, k: sp.log(_mass(u, k) * sp.sqrt(2 * sp.pi) / k),
    slopes=(
        lambda u, k: normal_mass_pull(u, k),
        lambda u, k: -(u * normal_mass_pull(u, k) + normal_mass_square(u, k)) / k,
    ),
    spelling=f"""
def log_normal_level(u, k):
    # log of the mean of exp(-t^2/2) from u to u + k, for a mean inside (its slope in k has a
    # square of u that cancels); it tends to 0 where the interval is narrow
{MIRROR}
    high = inside & (outside < 0.5)
    both = torch.where(
        high, torch.log1p(-torch.where(high, outside, 0.0)), torch.log(whole)
    )
    v = torch.where(inside, 0.0, u)
    tail = log_bell_level(v, k) - 0.5 * v * v
    return torch.where(inside, (0.9189385332046727 - torch.log(k)) + both, tail)
""",
)

bell_mean = _row(
    "bell_mean",
    meaning=_mean,
    slopes=(None, None),
    positive=True,
    spelling=f"""
def bell_mean(u, k):
    # the mean of t on [0, k] under exp(-u t - t^2/2), about 1/u for large u
{_sums()}
{MILLS}
    low = -0.7071067811865476 * erfcx_pull(0.7071067811865476 * d)
    high = e - 0.7071067811865476 * erfcx_pull(0.7071067811865476 * (d + e))
    return torch.where(near, first / mass, (low - rest * high) / (1.0 - rest))
""",
)

bell_edge = _row(
    "bell_edge",
    meaning=lambda u, k: sp.exp(-k * (u + k / 2)) / _area(u, k),
    slopes=(None, None),
    positive=True,
    spelling=f"""
def bell_edge(u, k):
    # the density of t at the far end k
{_sums()}
{MILLS}
    close = torch.exp(-b * (a + 0.5 * b)) / (b * mass)
    return torch.where(near, close, fall / (mills * (1.0 - rest)))
""",
)

bell_spread = _row(
    "bell_spread",
    meaning=lambda u, k: _square(u, k) - u**2,
    slopes=(None, None),
    positive=True,
    spelling=f"""
def bell_spread(u, k):
    # the mean of t (2 u + t), which is 1 + u mean - k edge
{_sums()}
{MILLS}
    low = -0.7071067811865476 * erfcx_pull(0.7071067811865476 * d)
    high = e - 0.7071067811865476 * erfcx_pull(0.7071067811865476 * (d + e))
    far = d * (low - rest * high) / (1.0 - rest) - e * fall / (mills * (1.0 - rest))
    return torch.where(near, (2.0 * a * first + second) / mass, 1.0 + far)
""",
)

log_normal_mass = _row(
    "log_normal_mass",
    meaning=lambda u, k: sp.log(_mass(u, k)),
    slopes=(lambda u, k: normal_mass_pull(u, k), lambda u, k: normal_mass_edge(u, k)),
    spelling=f"""
def log_normal_mass(u, k):
    # log(Phi(u + k) - Phi(u)), mirrored where the interval lies on the left
{MIRROR}
    high = inside & (outside < 0.5)
    both = torch.where(
        high, torch.log1p(-torch.where(high, outside, 0.0)), torch.log(whole)
    )
    v = torch.where(inside, 0.0, u)
    tail = log_bell_area(v, k) - 0.5 * v * v - 0.9189385332046727
    return torch.where(inside, both, tail)
""",
)

normal_mass_pull = _row(
    "normal_mass_pull",
    meaning=lambda u, k: (_phi(u + k) - _phi(u)) / _mass(u, k),
    slopes=(None, None),
    spelling=f"""
def normal_mass_pull(u, k):
    # (phi(u + k) - phi(u)) over the probability between
{MIRROR}
    v = torch.where(inside, 0.0, u)
    fall = torch.expm1(-k * (u + 0.5 * k))
    both = 0.3989422804014327 * torch.exp(-0.5 * f * f) / whole
    pull = fall * torch.where(inside, both, 1.0 / bell_area(v, k))
    return torch.where(left, -pull, pull)
""",
)

normal_mass_edge = _row(
    "normal_mass_edge",
    meaning=lambda u, k: _phi(u + k) / _mass(u, k),
    slopes=(None, None),
    positive=True,
    spelling=f"""
def normal_mass_edge(u, k):
    # phi(u + k) over the probability between; the other end's where the interval is mirrored
{MIRROR}
    v = torch.where(inside, 0.0, u)
    end = torch.where(left, f, g)
    both = 0.3989422804014327 * torch.exp(-0.5 * end * end) / whole
    tail = torch.where(left, 1.0 / bell_area(v, k), bell_edge(v, k))
    return torch.where(inside, both, tail)
""",
)

normal_mass_square = _row(
    "normal_mass_square",
    meaning=_square,
    slopes=(None, None),
    positive=True,
    spelling=f"""
def normal_mass_square(u, k):
    # the mean square of a standard normal number between u and u + k
{MIRROR}
{_sums("(a + t) * (a + t)")}
    v = torch.where(inside, 0.0, torch.relu(u))
    phi, psi = torch.exp(-0.5 * f * f), torch.exp(-0.5 * g * g)
    both = 1.0 - 0.3989422804014327 * (f * phi + g * psi) / whole
    tail = torch.where(near, second / mass, v * v + bell_spread(v, k))
    return torch.where(inside, both, tail)
""",
)

BELL: dict[str, type[Special]] = {
    f.__name__: f
    for f in (
        mills,
        bell_area,
        log_bell_area,
        bell_level,
        log_bell_level,
        normal_level,
        log_normal_level,
        bell_mean,
        bell_edge,
        bell_spread,
        log_normal_mass,
        normal_mass_pull,
        normal_mass_edge,
        normal_mass_square,
    )
}
