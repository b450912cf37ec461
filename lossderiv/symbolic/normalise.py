"""Is a density nowhere negative, and its integral one? Asked at several probed parameters."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

import mpmath as mp
import sympy as sp

from lossderiv.errors import DensityError, ParameterError
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.normalise_vectors import over_vectors
from lossderiv.symbolic.probe import CLASS_COUNT, Formula
from lossderiv.symbolic.records import Density
from lossderiv.symbolic.vectors import CLASSES

TOLERANCE = 1e-6
PROBES = 3
SPIKE = 80  # digits that show how much of a density lies in a spike at an open end
CHUNK = 64  # terms of an infinite sum are added in chunks until one adds nothing


def check_density(density: Density, fixed: Mapping[str, object]) -> Mapping[str, float]:
    """See :meth:`Density.check`."""
    unknown = set(fixed) - set(density.parameters)
    if unknown:
        raise ParameterError(
            f"{density.name} has no parameter {sorted(unknown)[0]!r}; "
            f"it has {', '.join(density.parameters) or 'none'}."
        )
    made = density.made
    if made is not None and made.product:
        return check_density(made.parts[0], fixed)  # one entry's integral is that of each
    found, fixed = {}, {n: _plain(v) for n, v in fixed.items()}
    for k in range(PROBES):
        point, label = _parameters(density, fixed, k)
        found[label] = float(_total(density, point, fixed, label))
    if any(not abs(z - 1) <= TOLERANCE for z in found.values()):
        listed = "; ".join(f"Z = {z:.6g} at {label}" for label, z in found.items())
        raise DensityError(
            f"The density {density.name} does not integrate to 1 over its support "
            f"({density.data.describe()}): {listed}. Divide the formula by its integral Z (which "
            "may depend on the parameters), or correct the support."
        )
    return MappingProxyType(found)


def _plain(value: object) -> object:
    """A given value as a float, or as a SymPy tuple of floats."""
    return sp.Tuple(*map(float, value)) if isinstance(value, tuple | sp.Tuple) else float(value)


def _parameters(density: Density, fixed: Mapping[str, object], k: int):
    point = {
        density.symbols[name]: fixed[name]
        if name in fixed
        else domain.typical[(k + n) % len(domain.typical)]
        for n, (name, domain) in enumerate(density.parameters.items())
    }
    label = ", ".join(f"{s} = {v}" for s, v in point.items()) or "no parameters"
    return point, label


def _total(density: Density, point: Mapping[sp.Expr, object], fixed: Mapping, label: str) -> mp.mpf:
    x, data = density.variable, density.data
    data = data.bounded({n: point[s] for n, s in density.symbols.items() if s in point})
    if data.is_vector:
        return over_vectors(density, data, point)
    given = tuple((density.symbols[n], fixed[n]) for n in fixed)
    formula = Formula(density.formula, given)

    def p(value):
        height = formula._once({**point, x: value, CLASSES: CLASS_COUNT})
        if height < -TOLERANCE:
            raise DensityError(
                f"The density {density.name} is negative: p = {mp.nstr(height, 6)} at {x} = "
                f"{mp.nstr(mp.mpf(value), 6)} for {label}. A probability cannot be, even if the "
                "integral is 1: give the parameter a smaller domain, or correct the formula."
            )
        return height

    with mp.workdps(20):
        if data.shape == "category":
            return mp.fsum(p(k) for k in range(CLASS_COUNT))
        if data.integer:
            return _sum(p, data.low, data.high)
        given = (v if isinstance(v, tuple) else (v,) for v in point.values())
        special = [*chain.from_iterable(given), *_edges(density, point)]
        heaps = mp.fsum(p(a) for a in data.atoms)
        total = heaps + _integral(p, data.low, data.high, special)
    if abs(total - 1) > TOLERANCE and (data.open_low or data.open_high):
        with mp.workdps(SPIKE):
            return heaps + _integral(p, data.low, data.high, special)
    return total


def _edges(density: Density, point: Mapping[sp.Expr, object]) -> list[float]:
    """Where a condition in the formula, straight in the data, turns from true to false."""
    x, found = density.variable, []
    for condition in spell_out(density.formula).atoms(sp.core.relational.Relational):
        line = (condition.lhs - condition.rhs).xreplace(
            {s: sp.Float(v) for s, v in point.items() if isinstance(v, int | float)}
        )
        slope = line.diff(x)
        if slope.is_number and slope != 0:
            found.append(float(-line.xreplace({x: sp.Integer(0)}) / slope))
    return found


def _sum(p, low: float, high: float) -> mp.mpf:
    total, start = mp.mpf(0), int(low)
    while True:
        stop = start + CHUNK if high == mp.inf else min(start + CHUNK, int(high) + 1)
        part = mp.fsum(p(v) for v in range(start, stop))
        total, start = total + part, stop
        faded = part < mp.mpf(10) ** -15 and total > 0
        if start > high or (high == mp.inf and (faded or start > 100 * CHUNK)):
            return total


def _integral(p, low: float, high: float, special: list) -> mp.mpf:
    """Quadrature split at the parameters' own values, where kinks sit, and at a few scales."""
    inside = {v for v in special if isinstance(v, float | int) and low < v < high}
    if low == -mp.inf or high == mp.inf:
        base = [-100, -10, -3, -1, 0, 1, 3, 10, 100]
        inside |= {float(v) for v in base if low < v < high}
    return mp.quad(p, [mp.mpf(low), *sorted(inside), mp.mpf(high)])
