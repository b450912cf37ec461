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
    return sp.Piecewise((sp.exp(u) / 2, u < 0), (1 - sp.exp(-u) / 2, True))


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

TAILS: dict[str, type[Special]] = {
    f.__name__: f
    for f in (
        laplace_cdf,
        log_laplace_cdf,
        laplace_cdf_pull,
        cauchy_cdf,
        log_cauchy_cdf,
        cauchy_cdf_pull,
    )
}
