"""TABLE of the normal distribution function, its logs and slopes, and the scaled complement erfcx.

The same kind of rows as in ``lossderiv/special.py``, which takes them in.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.functions import Special, make_special


def _row(name: str, **members) -> type[Special]:
    return make_special(name, home="lossderiv.special_normal", **members)


def _below_normal(u: sp.Expr) -> sp.Expr:
    return sp.erfc(-u / sp.sqrt(2)) / 2


log_erfcx = _row(
    "log_erfcx",
    meaning=lambda u: u**2 + sp.log(sp.erfc(u)),
    slopes=(lambda u: erfcx_pull(u),),
    spelling="""
def log_erfcx(u):
    # log(exp(u^2) erfc(u)): from 1/2 on by torch's erfcx, which overflows at the left
    right, left = u > 0.5, u < -0.5
    middle = torch.where(right | left, 0.0, u)
    far = torch.log(torch.special.erfcx(torch.where(right, u, 1.0)))
    low = torch.where(left, u, -1.0)
    return torch.where(
        right,
        far,
        torch.where(
            left,
            low * low + torch.log(torch.special.erfc(low)),
            middle * middle + torch.log1p(-torch.special.erf(middle)),
        ),
    )
""",
)

erfcx_pull = _row(
    "erfcx_pull",
    meaning=lambda u: 2 * u - 2 * sp.exp(-(u**2)) / (sp.sqrt(sp.pi) * sp.erfc(u)),
    slopes=(lambda u: 2 + (2 * u - erfcx_pull(u)) * erfcx_pull(u),),
    spelling="""
def erfcx_pull(u):
    # 2u - 2/(sqrt(pi) erfcx(u)), about -1/u for large u: Laplace's fraction (DLMF 7.9.1), started
    # near its own limit
    far = u > 1.0
    v = torch.where(far, u, 1.0)
    count = 110 if u.dtype == torch.float64 else 28
    rest = count / (torch.sqrt(v * v + 2.0 * count) + v)
    for n in range(count, 0, -1):
        rest = 0.5 * n / (v + rest)
    near = torch.where(far, 1.0, u)
    direct = 2.0 * near - 1.1283791670955126 / torch.special.erfcx(near)
    return torch.where(far, -2.0 * rest, direct)
""",
)

normal_cdf = _row(
    "normal_cdf",
    meaning=_below_normal,
    slopes=(lambda u: sp.exp(-(u**2) / 2) / sp.sqrt(2 * sp.pi),),
    positive=True,
    tex=r"\Phi",
    spelling="""
def normal_cdf(u):
    return 0.5 * torch.special.erfc(-0.7071067811865476 * u)
""",
)

log_normal_cdf = _row(
    "log_normal_cdf",
    meaning=lambda u: sp.log(_below_normal(u)),
    slopes=(lambda u: normal_cdf_pull(u),),
    tex=r"\log\Phi",
    spelling="""
def log_normal_cdf(u):
    # log(erfc(-u/sqrt 2)/2): on the left by erfcx, which keeps the square apart
    left = u < 0.0
    t = -0.7071067811865476 * torch.where(left, u, 0.0)
    low = torch.log(0.5 * torch.special.erfcx(t)) - t * t
    r = 0.7071067811865476 * torch.where(left, 0.0, u)
    return torch.where(left, low, torch.log1p(-0.5 * torch.special.erfc(r)))
""",
)

normal_cdf_pull = _row(
    "normal_cdf_pull",
    meaning=lambda u: sp.exp(-(u**2) / 2) / (sp.sqrt(2 * sp.pi) * _below_normal(u)),
    slopes=(lambda u: normal_cdf_pull(u) * erfcx_pull(-u / sp.sqrt(2)) / sp.sqrt(2),),
    positive=True,
    spelling="""
def normal_cdf_pull(u):
    # the slope of log Phi: about -u far to the left, where both density and Phi underflow
    left = u < 0.0
    t = -0.7071067811865476 * torch.where(left, u, 0.0)
    r = torch.where(left, 0.0, u)
    right = torch.exp(-0.5 * r * r) / torch.special.erfc(-0.7071067811865476 * r)
    return 0.7978845608028654 * torch.where(left, 1.0 / torch.special.erfcx(t), right)
""",
)

NORMAL = {
    f.__name__: f for f in (log_erfcx, erfcx_pull, normal_cdf, log_normal_cdf, normal_cdf_pull)
}
