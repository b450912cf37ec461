"""TABLE of domains: where a number may live, its default link, and points to probe.

``Real, Positive, NonNegative, Unit, Count, Binary, Angle, Simplex, Category`` are domains;
``Integer(lo, hi)`` and ``Interval(lo, hi)`` make one. They are the annotations of a density.
"""

from __future__ import annotations

import math
from dataclasses import replace

import sympy as sp

from lossderiv.errors import ParameterError
from lossderiv.special import logistic, softplus
from lossderiv.symbolic.records import Domain, Link
from lossderiv.symbolic.vectors import RUNNING


def _itself(eta: sp.Expr) -> sp.Expr:
    return eta


def _softmax(eta: sp.Indexed) -> sp.Expr:
    return sp.exp(eta) / sp.Sum(sp.exp(eta.base[RUNNING]), RUNNING)


identity = Link("identity", _itself, "Real", "any real number is allowed")
exponential = Link("exp", sp.exp, "Positive", "a positive number is the exp of a real one")
softplus_link = Link(
    "softplus", softplus, "Positive", "a softplus is positive, and linear when large"
)
logistic_link = Link("logistic", logistic, "Unit", "a probability is the logistic of a logit")
softmax = Link(
    "softmax",
    _softmax,
    "Simplex",
    "probabilities are exponentials, divided by their sum",
)

LINKS: dict[str, Link] = {
    link.name: link for link in (identity, exponential, softplus_link, logistic_link, softmax)
}

Real = Domain(
    "Real",
    assumptions={"real": True},
    link=identity,
    typical=(0.3, -1.25, 2.1, 0.05, -0.6, 1.0),
    extreme=(-30.0, 30.0),
)
Positive = Domain(
    "Positive",
    low=0.0,
    open_low=True,
    assumptions={"positive": True},
    link=exponential,
    typical=(1.0, 0.45, 2.75, 1.6),
)
NonNegative = Domain(
    "NonNegative",
    low=0.0,
    assumptions={"nonnegative": True},
    typical=(0.5, 1.75, 0.1, 4.0),
)
Unit = Domain(
    "Unit",
    low=0.0,
    high=1.0,
    assumptions={"nonnegative": True},
    link=logistic_link,
    typical=(0.3, 0.85, 0.6, 0.05),
)
Interior = replace(
    Unit,
    name="Interior",
    open_low=True,
    open_high=True,
    assumptions={"positive": True},
    link=None,
)
Proportion = replace(Interior, name="Proportion", link=logistic_link)
Count = Domain(
    "Count",
    low=0,
    integer=True,
    assumptions={"integer": True, "nonnegative": True},
    typical=(2, 0, 5, 1, 11),
)
Binary = Domain(
    "Binary",
    low=0,
    high=1,
    integer=True,
    assumptions={"integer": True, "nonnegative": True},
    typical=(1, 0),
)
Angle = Domain(
    "Angle",
    low=-math.pi,
    high=math.pi,
    assumptions={"real": True},
    link=identity,
    typical=(0.4, -2.2, 3.0, 0.1),
    extreme=(-30.0, 30.0),
)
Category = Domain(
    "Category",
    low=0,
    integer=True,
    assumptions={"integer": True, "nonnegative": True},
    typical=(0, 1, 2),
    shape="category",
)
Simplex = Domain(
    "Simplex",
    low=0.0,
    high=1.0,
    link=softmax,
    typical=((0.2, 0.5, 0.3), (0.7, 0.1, 0.2), (0.25, 0.25, 0.5)),
    shape="simplex",
)
Shares = replace(Simplex, name="Shares", open_low=True, link=None, assumptions={"positive": True})
Logits = Domain(
    "Logits",
    typical=((0.3, -1.25, 2.1), (0.0, -0.6, 1.0), (2.0, 1.5, -3.0)),
    extreme=(-30.0, 30.0),
    shape="simplex",
)


Increasing = Domain(
    "Increasing",
    typical=((-2.0, -0.5, 0.5, 2.0), (-0.3, 1.2), (0.7,)),
    shape="increasing",
)


def UpTo(parameter: str) -> Domain:
    """The integers from 0 to a given parameter: a number of trials, or how many cuts there are."""
    return replace(Count, name=f"UpTo({parameter})", high_is=parameter)


def Vector(domain: Domain, axes: int = 1) -> Domain:
    """Vectors with entries in ``domain``, along the last axis or several."""
    t = domain.typical
    return replace(
        domain,
        name=f"Vector({domain.name})",
        entry=domain.name,
        shape="vector",
        axes=axes,
        typical=tuple(tuple(t[(k + 2 * n) % len(t)] for n in range(3)) for k in range(len(t))),
    )


def Below(domain: Domain) -> Domain:
    """The entries of a matrix below its diagonal, each in ``domain``, as a vector row by row."""
    return replace(Vector(domain), name=f"Below({domain.name})", pairs=True)


def Counts(parameter: str) -> Domain:
    """Vectors of counts that add up to the value of a given parameter, along the last axis."""
    return replace(Vector(Count), name=f"Counts({parameter})", high_is=parameter)


def Given(domain: Domain) -> Domain:
    """A domain whose parameter is given rather than learned, unless a link is asked for."""
    return replace(domain, link=None)


def Integer(low: int, high: float = math.inf) -> Domain:
    """The integers from ``low`` to ``high``; a parameter in it is given, never learned.

    Raises :class:`~lossderiv.errors.ParameterError` for limits in the wrong order.

    >>> Integer(1, 6).contains(6), Integer(1, 6).contains(2.5)
    (True, False)
    """
    if not low <= high:
        raise ParameterError(f"Integer({low}, {high}) is empty: give the lower end first.")
    middle = [low + k for k in (2, 0, 5, 1) if low + k <= high]
    signs = {"positive": True} if low > 0 else {"nonnegative": True} if low == 0 else {}
    return Domain(
        f"Integer({low}, {high:g})",
        low=low,
        high=high,
        integer=True,
        assumptions={"integer": True, **signs},
        typical=tuple(middle),
    )


def Interval(low: float, high: float) -> Domain:
    """The real numbers from ``low`` to ``high``, ends included.

    Raises :class:`~lossderiv.errors.ParameterError` for limits that are no interval.

    >>> Interval(-1, 1).contains(-1), Interval(-1, 1).describe()
    (True, 'Interval(-1, 1): real -1 <= x <= 1')
    """
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise ParameterError(
            f"Interval({low}, {high}) is not an interval: give finite ends, the lower one first. "
            "For a half-line use Positive or NonNegative."
        )
    signs = {"positive": True} if low > 0 else {"nonnegative": True} if low == 0 else {"real": True}
    return Domain(
        f"Interval({low:g}, {high:g})",
        low=float(low),
        high=float(high),
        assumptions=signs,
        typical=tuple(low + f * (high - low) for f in (0.3, 0.85, 0.6, 0.05)),
    )
