"""Bounds on a density's data: what ``truncated`` and ``censored`` share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import sympy as sp

from lossderiv.combinators.distribution_functions import (
    DISTRIBUTION_FUNCTIONS,
    DistributionFunction,
)
from lossderiv.combinators.parts import scalar_part
from lossderiv.domains import Interval
from lossderiv.errors import DensityError, ParameterError
from lossderiv.symbolic.records import Density, Domain


@dataclass(frozen=True)
class Bounded:
    """A density, its distribution function and two bounds; ``None`` where there is no bound."""

    density: Density
    function: DistributionFunction
    low: sp.Expr | None
    high: sp.Expr | None
    data: Domain

    @property
    def settings(self) -> dict[str, float | None]:
        """The bounds as numbers."""
        ends = {"low": self.low, "high": self.high}
        return {n: None if v is None else float(v) for n, v in ends.items()}

    def standard(self, bound: sp.Expr) -> sp.Expr:
        """A bound in the units of the distribution function."""
        return self.function.standard(bound, *self.density.symbols.values())

    @property
    def length(self) -> sp.Expr:
        """How far apart the bounds are, in those units."""
        return sp.factor_terms(sp.expand(self.standard(self.high) - self.standard(self.low)))

    @property
    def words(self) -> str:
        """The bounds for a docstring."""
        if self.low is None:
            return f"up to {float(self.high):g}"
        if self.high is None:
            return f"from {float(self.low):g} on"
        return f"from {float(self.low):g} to {float(self.high):g}"


def bounded(of: str | Density, low: float | None, high: float | None, combinator: str) -> Bounded:
    """The density and its bounds, if it has a distribution function and they lie in its support."""
    density = scalar_part(of, combinator)
    function = DISTRIBUTION_FUNCTIONS.get(density.name)
    if function is None or density.made is not None:
        raise DensityError(
            f"{combinator} needs the distribution function of {density.name}, and none is known. "
            "Add a row for it to lossderiv/combinators/distribution_functions.py, or choose one of "
            f"{', '.join(DISTRIBUTION_FUNCTIONS)}."
        )
    ends = tuple(_number(v, combinator, n) for n, v in (("low", low), ("high", high)))
    _ordered(*ends, combinator)
    for name, end in zip(("low", "high"), ends, strict=True):
        if end is not None and not density.data.low < end < density.data.high:
            raise ParameterError(
                f"{combinator} was given {name}={end:g}, which does not lie inside the support of "
                f"{density.name} ({density.data.describe()}). Leave it out, or choose a bound "
                "inside."
            )
    exact = [None if e is None else sp.Rational(repr(float(e))) for e in ends]
    return Bounded(density, function, *exact, _data(density.data, *ends))


def _number(value: float | None, combinator: str, name: str) -> float | None:
    """A bound, or ``None`` for an infinite one."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as problem:
        raise ParameterError(
            f"{combinator} was given {name}={value!r}; a bound is a number, or None for none."
        ) from problem
    if math.isnan(number):
        raise ParameterError(f"{combinator} was given {name}=nan; a bound is a number.")
    return None if math.isinf(number) and (number < 0) == (name == "low") else number


def _ordered(low: float | None, high: float | None, combinator: str) -> None:
    if low is None and high is None:
        raise ParameterError(f"{combinator} needs a bound: give low=..., high=..., or both.")
    if low is not None and high is not None and not low < high:
        raise ParameterError(
            f"{combinator} was given low={low:g} and high={high:g}: the lower bound must lie below "
            "the upper one."
        )


def _data(data: Domain, low: float | None, high: float | None) -> Domain:
    """The part of a domain between the bounds, probed inside and, if it has ends, near them."""
    bottom = data.low if low is None else low
    top = data.high if high is None else high
    if math.isfinite(bottom) and math.isfinite(top):
        inner = Interval(bottom, top)
        if low is None or high is None:
            return replace(inner, open_low=data.open_low and low is None)
        return inner
    reach = (0.3, 1.25, 2.1, 0.05)
    typical = tuple(bottom + r if math.isfinite(bottom) else top - r for r in reach)
    signs = {"positive": True} if bottom > 0 else {"real": True}
    edge = f"{bottom:g} <= x" if math.isfinite(bottom) else f"x <= {top:g}"
    return Domain(f"HalfLine({edge})", low=bottom, high=top, assumptions=signs, typical=typical)
