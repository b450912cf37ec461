"""What lies between two bounds of a density: shares of its mass, draws by bisection, means.

In double precision, and by logs of what lies below and above a place: a ratio of two small
probabilities keeps its digits however far outside the bounds a density's location lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import sympy as sp
import torch
from torch import Tensor

from lossderiv.autograd import torch_function
from lossderiv.combinators.distribution_functions import DISTRIBUTION_FUNCTIONS
from lossderiv.domains import Real
from lossderiv.rules import READING
from lossderiv.symbolic.logs import open_log
from lossderiv.symbolic.records import Context, Density
from lossderiv.symbolic.stabilise import stabilise

Share = Callable[[Tensor], Tensor]
Bound = float | None

HALVINGS = 60
"""Steps of a bisection: from an interval to one that a double cannot tell from a point."""
FAR = 700.0
"""The log of the largest distance from a bound, and minus that of the smallest."""
LOG_HALF = -math.log(2.0)


def log_tails(density: Density, theta: Mapping[str, Tensor]) -> tuple[Share, Share]:
    """The logs of ``P(X <= t)`` and of ``P(X > t)`` as functions of t, by the rules' forms."""
    row, z, x = DISTRIBUTION_FUNCTIONS[density.name], *sp.symbols("z x", real=True)
    context = Context({z: Real}, ())
    tails = [open_log(side(z), context, ()) for side in (row.below, row.above)]
    steps = [stabilise(e, READING, context, ()) for e in tails]
    stable = [s[-1].after if s else e for s, e in zip(steps, tails, strict=True)]
    where = ((z, row.standard(x, *density.symbols.values())),)
    both = torch_function([*theta, "x"], tuple(stable), where)

    def side(k: int) -> Share:
        return lambda t: both(*theta.values(), t)[k] + torch.zeros_like(t)

    return side(0), side(1)


def shares(below: Share, above: Share, low: Bound, high: Bound, like: Tensor):
    """``P(X <= t)`` and ``P(X > t)`` given the bounds, each on the side where the bounds lie."""

    def at(log_tail: Share, bound: Bound) -> Tensor | float:
        return log_tail(torch.full_like(like, bound))

    over_low, under_low = (0.0, -math.inf) if low is None else (at(above, low), at(below, low))
    over_high, under_high = (-math.inf, 0.0) if high is None else (at(above, high), at(below, high))
    right = torch.as_tensor(under_low, dtype=like.dtype) > LOG_HALF
    left = torch.as_tensor(over_high, dtype=like.dtype) > LOG_HALF

    def part(a: Tensor | float, b: Tensor | float) -> Tensor:
        """``1 - e^(a - b)``; 1 where there is no bound."""
        a = torch.as_tensor(a, dtype=like.dtype)
        return -torch.expm1(torch.where(torch.isinf(a), a, a - b))

    def lower(t: Tensor) -> Tensor:
        by_above = part(above(t), over_low) / part(over_high, over_low)
        here = below(t)
        by_below = (
            torch.exp(here - under_high) * part(under_low, here) / part(under_low, under_high)
        )
        return torch.where(right, by_above, by_below)

    def upper(t: Tensor) -> Tensor:
        by_below = part(below(t), under_high) / part(under_low, under_high)
        here = above(t)
        by_above = torch.exp(here - over_low) * part(over_high, here) / part(over_high, over_low)
        return torch.where(left, by_below, by_above)

    return lower, upper


def bisect(enough: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """The place between ``left`` and ``right`` up to which ``enough`` is false."""
    for _ in range(HALVINGS):
        middle = left + 0.5 * (right - left)
        there = enough(middle)
        left, right = torch.where(there, left, middle), torch.where(there, middle, right)
    return left


def quantile(lower: Share, u: Tensor, low: float, high: float) -> Tensor:
    """Where the share below reaches ``u``, in a support from ``low`` to ``high``.

    From an end that is the only one, the log of the distance is bisected.
    """
    if math.isfinite(low) and math.isfinite(high):
        return bisect(lambda t: lower(t) >= u, torch.full_like(u, low), torch.full_like(u, high))

    def place(t: Tensor) -> Tensor:
        if math.isfinite(low):
            return low + torch.exp(t)
        return high - torch.exp(-t) if math.isfinite(high) else torch.sinh(t)

    left, right = (torch.full_like(u, e) for e in (-FAR, FAR))
    return place(bisect(lambda t: lower(place(t)) >= u, left, right))


STEP = 1 / 16
"""Between the nodes of a double-exponential quadrature (Takahasi and Mori, 1974)."""


def mean_by_tails(lower: Share, upper: Share, middle: Tensor, low: float, high: float) -> Tensor:
    """``middle + int_middle^high P(X > t) dt - int_low^middle P(X <= t) dt``."""
    over = _area(lambda d: upper(middle + d), high - middle)
    return middle + over - _area(lambda d: lower(middle - d), middle - low)


def _area(share: Share, length: Tensor) -> Tensor:
    """The integral of a decreasing function from 0 to ``length``, perhaps without end.

    The nodes lie at all scales around the distance where half of it is gone.
    """
    some = length > 0
    length = torch.where(some, length, 1.0)
    with torch.no_grad():
        half = 0.5 * share(torch.zeros_like(length))
        ends = torch.full_like(length, -FAR), torch.clamp_max(torch.log(length), FAR)
        scale = torch.exp(bisect(lambda t: share(torch.exp(t)) <= half, *ends))
    total = torch.zeros_like(length)
    for k in range(round(-4 / STEP), round(6 / STEP) + 1):
        tau = k * STEP
        r = scale * math.exp(math.pi / 2 * math.sinh(tau))
        shrink = 1 / (1 + r / length)  # the nodes of a finite range crowd at its other end
        weight = STEP * math.pi / 2 * math.cosh(tau) * r * shrink**2
        total = total + weight * share(torch.minimum(r * shrink, length))
    return torch.where(some, total, 0.0)
