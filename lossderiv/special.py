"""TABLE of special functions: what each means, its slope, and how torch computes it well.

A row is worth having when the formula itself loses digits or overflows somewhere that a training
run can reach. Every row is tested for value and slope against its meaning, in round-off units.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.functions import Special, make_special

ZERO = sp.Integer(0)


def _taylor(coefficients: list[sp.Rational]) -> str:
    """The text of a polynomial in ``s``, with as many terms as the number type can feel."""
    numbers = "\n".join(f"        {float(c)!r}," for c in coefficients)
    return f"""
    coefficients = (
{numbers}
    )
    count = len(coefficients) if s.dtype == torch.float64 else 6
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
        relu,
        step,
    )
}
