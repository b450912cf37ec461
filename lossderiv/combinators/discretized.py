"""``discretized``: the probability that a density puts on each of a row of bins."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import sympy as sp

from lossderiv.combinators.distribution_functions import DISTRIBUTION_FUNCTIONS
from lossderiv.derivations import find_density
from lossderiv.domains import Integer
from lossderiv.errors import DensityError, ParameterError
from lossderiv.special import larger, wall
from lossderiv.symbolic.records import Construction, Density, Domain, Move

# Families whose bins have a form that holds in both tails: symmetric, with location and scale.
FAMILIES = {n: find_density(n) for n in ("logistic", "normal", "laplace", "cauchy")}
DIFFERENCE = (
    "of the distribution function at its two ends, taken by symmetry from the end that is nearer "
    "to the middle of the density. A wall is 0 but for the first and the last level, whose bins it "
    "makes endless: nothing is cut off"
)


def discretized(
    density: str | Density,
    levels: int | None = None,
    *,
    width: float | None = None,
    low: float = -1.0,
    high: float = 1.0,
) -> Density:
    r"""Levels ``0 .. L-1``, each with the probability that ``density`` gives to its bin.

    .. math:: p(x) = F(r_x) - F(l_x), \\qquad l_x, r_x = low + (x \\mp 1/2) \\, width,

    with the distribution function F of the density; the first and the last bin are open:
    :math:`l_0 = -\\infty`, :math:`r_{L-1} = \\infty`. Level x sits at ``low + x width``, in the
    middle of its bin: from -1 to 1, unless ``low`` and ``high`` say otherwise. The probabilities
    add up to 1, so bits per dimension are those of a code for the levels themselves.

    Source: Salimans, Karpathy, Chen and Kingma (2017), equation 2, for the logistic.

    Parameters
    ----------
    density
        ``"logistic"``, ``"normal"``, ``"laplace"`` or ``"cauchy"``.
    levels
        How many levels there are, at least 2: 256 for pixels of 8 bits.
    width
        The distance between levels, in place of their number.
    low, high
        Where the first and the last level sit, in the units of the density.

    Raises
    ------
    ParameterError
        For fewer than two levels, a width that does not divide the range, a range without length.
    DensityError
        For a density whose distribution function has no form that holds in both tails.

    >>> import torch, lossderiv as ld
    >>> pixels = ld.loss(ld.discretized("logistic", levels=256), constants="keep")
    >>> grey = torch.tensor([0.0, 128.0, 255.0])
    >>> pixels((torch.zeros(3), torch.full((3,), -3.0)), grey)
    tensor(14.4167)
    """
    base = find_density(density)
    if FAMILIES.get(base.name) is not base:
        raise DensityError(_unknown(base))
    first, step, count = _grid(levels, width, low, high)
    row, data = DISTRIBUTION_FUNCTIONS[base.name], _numbered(count)
    x = data.symbol(str(base.variable))
    location, scale = base.symbols.values()
    left, right, lo, hi, near = sp.symbols("left right lo hi near", real=True)
    gap, reach = sp.symbols("gap reach", positive=True)

    # The ends of a bin are whole numbers over one: each is rounded once, and near 0 none is lost.
    line, over = _over_one_number(first + step * (x - sp.Rational(1, 2)))
    before_first, after_last = wall(x - 1), wall(count - 2 - x)
    where = (
        (left, line),
        (right, line + step * over),
        (lo, row.standard(left / over, location, scale)),
        (hi, row.standard(right / over, location, scale)),
        (gap, step / scale),
        (near, larger(lo - before_first, -hi - after_last)),
        (reach, gap + before_first + after_last),
    )
    before = sp.Piecewise(
        (row.below(hi), x < 1),
        (row.above(lo), x > count - 2),
        (row.below(hi) - row.below(lo), True),
    )
    after = row.below(near + reach) - row.below(near)
    move = Move(before, after, "a bin's probability is a difference", DIFFERENCE)
    settings = {"levels": count, "low": low, "high": high}
    return Density(
        name=f"discretized({base.name}, {count})",
        expr=after,
        variable=x,
        data=data,
        symbols=base.symbols,
        parameters=base.parameters,
        where=where,
        doc=f"Where a {base.name} variable falls among {count} levels from {low:g} to {high:g}.",
        made=Construction("discretized", (base,), MappingProxyType(settings), (move,)),
    )


def _grid(levels, width, low, high) -> tuple[sp.Rational, sp.Rational, int]:
    """Where the first level sits, the distance between two, and how many there are."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ParameterError(
            f"discretized was given low={low} and high={high}: the first level must sit below the "
            "last one, both at finite places."
        )
    first, length = _exact(low), _exact(high) - _exact(low)
    if (levels is None) == (width is None):
        raise ParameterError(
            "discretized needs either levels=..., how many there are, or width=..., how far apart "
            f"they are; it was given levels={levels} and width={width}."
        )
    if width is not None:
        steps = length / _exact(width) if width > 0 else sp.S.Zero
        if not steps.is_Integer or steps < 1:
            raise ParameterError(
                f"discretized was given width={width}, which does not cut the range from "
                f"{low:g} to {high:g} into whole bins. Choose one that does, or give levels=...."
            )
        levels = int(steps) + 1
    if levels != int(levels) or levels < 2:
        raise ParameterError(
            f"discretized was given levels={levels}; it takes a whole number of at least 2, such "
            "as 256 for pixels of 8 bits."
        )
    return first, length / (int(levels) - 1), int(levels)


def _exact(number: float) -> sp.Rational:
    """0.1 means one tenth."""
    return sp.Rational(repr(number))


def _numbered(count: int) -> Domain:
    """The levels as a domain, probed at both ends and between."""
    few = (count // 2, 0, count - 1, 1, count // 3, count - 2)
    return replace(Integer(0, count - 1), typical=tuple(dict.fromkeys(few)))


def _over_one_number(line: sp.Expr) -> tuple[sp.Expr, sp.Integer]:
    """A straight line with fractions as one with whole numbers, and the number to divide by."""
    line = sp.expand(line)
    over = sp.ilcm(*(sp.fraction(c)[1] for c in line.as_coefficients_dict().values()))
    return sp.expand(line * over), over


def _unknown(base: Density) -> str:
    known = ", ".join(FAMILIES)
    why = (
        "Its distribution function has no closed form while nu is learned; for nu = 1 use 'cauchy'."
        if base.name == "student_t"
        else "A bin far out needs a difference of distribution functions that does not underflow."
    )
    return f"discretized knows {known}, not {base.name}. {why} Choose one of those."
