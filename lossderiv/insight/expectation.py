"""Expectations under a density: by quadrature or by summing up, to a stated number of digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import mpmath as mp
import sympy as sp

from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Derivation

MOST_TERMS = 20000
CUTS = (-100, -30, -10, -3, -1, -0.1, 0, 0.1, 1, 3, 10, 30, 100)


def expectation(
    d: Derivation, formula: sp.Expr, point: Mapping[sp.Symbol, object], digits: int = 20
) -> mp.mpf:
    """``E formula(x)`` for scalar data, the parameters of ``formula`` and density at ``point``."""
    values = {**point, **{d.density.symbols[n]: v for n, v in d.fixed.items()}}
    data = d.density.data.bounded(d.fixed)
    p = _function(d, d.density.formula, values)
    g = _function(d, formula, values)

    def both(x: mp.mpf) -> mp.mpf:
        weight = p(x)
        return weight * g(x) if weight != 0 else mp.mpf(0)

    with mp.workdps(digits + 10):
        if data.integer:
            return _sum(both, p, data.low, data.high, digits)
        inside = {mp.mpf(str(v)) for v in (*values.values(), *CUTS)}
        ends = [data.low, *sorted(v for v in inside if data.low < v < data.high), data.high]
        ends = [e if math.isfinite(e) else mp.sign(e) * mp.inf for e in ends]
        return mp.quad(both, ends)


def _function(d: Derivation, formula: sp.Expr, values: Mapping) -> Callable:
    plain = spell_out(formula).doit().xreplace(values)
    return sp.lambdify(d.density.variable, plain, [{"exp": _exp}, "mpmath"])


def _exp(u):
    """``exp``, infinite or zero beyond 2^200: a density is long 0 there, and mpmath would need as
    many bits as the number has."""
    if mp.isnan(u) or abs(u) < 2**200:
        return mp.exp(u)
    return mp.inf if u > 0 else mp.mpf(0)


def _sum(both: Callable, p: Callable, low: float, high: float, digits: int) -> mp.mpf:
    total, mass, k = mp.mpf(0), mp.mpf(0), int(low)
    while k <= high and k - low < MOST_TERMS:
        term = both(mp.mpf(k))
        total, mass, k = total + term, mass + p(mp.mpf(k)), k + 1
        if mass > 0.9 and abs(term) < mp.mpf(10) ** -(digits + 5) * max(1, abs(total)):
            break
    return total
