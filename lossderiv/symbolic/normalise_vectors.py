"""The integral of a density of vectors: a sum, or a grid, in two or three dimensions.

On an axis the grid is the trapezoidal rule after a substitution that lets the density fall off
doubly exponentially, which then converges as fast as any rule (Takahasi and Mori, 1974).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

import sympy as sp

from lossderiv.symbolic.probe import CLASS_COUNT
from lossderiv.symbolic.records import Density, Domain
from lossderiv.symbolic.vectors import with_classes

STEP = 0.11
REACH = 4.4

Weighted = Iterator[tuple[float, tuple[float, ...]]]  # a weight and a vector


def over_vectors(density: Density, data: Domain, point: Mapping[sp.Expr, object]) -> float:
    """The sum or integral over all vectors: three entries of a total, else two free ones."""
    if data.total is not None:
        grid = ((1.0, x) for x in _counts(data.total, CLASS_COUNT))
        return _total(density, point, CLASS_COUNT, grid)
    if data.shape == "simplex":
        return _total(density, point, CLASS_COUNT, _triangle())
    return _total(density, point, 2, _plane())


def _total(density, point: Mapping[sp.Expr, object], count: int, grid: Weighted) -> float:
    p = _function(density, point, count)
    return math.fsum(w * p(*x) for w, x in grid)


def _function(density, point: Mapping[sp.Expr, object], count: int) -> Callable[..., float]:
    """The density as a function of the entries of its data, in double precision."""
    data = density.variable
    written = with_classes(density.formula, count, {})
    values = {
        e: sp.sympify(point[e.base][int(e.indices[0])])
        for e in written.atoms(sp.Indexed)
        if e.base != data
    }
    values |= {s: sp.sympify(v) for s, v in point.items() if isinstance(s, sp.Symbol)}
    names = sp.symbols(f"x:{count}")
    entries = {data[n]: name for n, name in enumerate(names)}
    return sp.lambdify(names, written.xreplace(values).xreplace(entries), "math")


def _counts(total: int, count: int) -> Iterator[tuple[int, ...]]:
    """Every vector of ``count`` whole numbers that add up to ``total``."""
    if count == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _counts(total - first, count - 1):
            yield (first, *rest)


def _ticks() -> Iterator[float]:
    count = int(REACH / STEP)
    return (STEP * n for n in range(-count, count + 1))


def _plane() -> Weighted:
    line = [(STEP * math.cosh(t), math.sinh(t)) for t in _ticks()]
    for (v, a), (w, b) in itertools.product(line, line):
        yield v * w, (a, b)


def _triangle() -> Weighted:
    """A share ``u`` of the whole, a share ``v`` of the rest, and what is left."""
    unit = []
    for t in _ticks():
        s = math.pi * math.sinh(t)
        u, rest = 1 / (1 + math.exp(-s)), 1 / (1 + math.exp(s))
        unit.append((STEP * math.pi * math.cosh(t) * u * rest, u, rest))
    for (a, u, left), (b, v, last) in itertools.product(unit, unit):
        if left * last > 1e-300 and u > 1e-300:
            yield a * b * left, (u, left * v, left * last)
