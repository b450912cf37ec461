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
FLATTEN = 4
NEAR = sp.Symbol("t", positive=True)


def expectation(
    d: Derivation, formula: sp.Expr, point: Mapping[sp.Symbol, object], digits: int = 20
) -> mp.mpf:
    """``E formula(x)`` for scalar data, the parameters of ``formula`` and density at ``point``."""
    values = {**point, **{d.density.symbols[n]: v for n, v in d.fixed.items()}}
    data, x = d.density.data.bounded(d.fixed), d.density.variable
    p, g = (spell_out(f).doit().xreplace(values) for f in (d.density.formula, formula))
    with mp.workdps(digits + 10):
        if data.integer:
            return _sum(_product(p, g, x), _function(p, x), data.low, data.high, digits)
        inside = {mp.mpf(str(v)) for v in (*values.values(), *CUTS)}
        inside |= {mp.mpf(v) for v in data.typical}
        marks = sorted(v for v in inside if data.low < v < data.high)
        whole = mp.quad(_product(p, g, x), marks) if len(marks) > 1 else mp.mpf(0)
        for end, mark in ((data.low, marks[0]), (data.high, marks[-1])):
            place, width = _from_the_end(end, mark)
            near = [f.xreplace({x: place}) for f in (p, g)]
            step = sp.lambdify(NEAR, sp.Abs(place.diff(NEAR)), "mpmath")
            both = _product(*near, NEAR)
            whole += mp.quad(lambda t, f=both, step=step: f(t) * step(t), [0, width])
        return whole


def _from_the_end(end: float, mark: mp.mpf) -> tuple[sp.Expr, mp.mpf]:
    """``x`` in a number ``t`` that is 0 at an end of the domain, and the ``t`` of the mark.

    With ``x = end +- t^4``, or ``t^-4`` towards infinity, the power ``x^(a-1)`` of a density with a
    singular end becomes ``t^(4a-1)``, and the distance to the end is exact however close it is.
    """
    if math.isinf(end):
        start, width = sp.Float(mark, 40), sp.Float(max(1, abs(mark)), 40)
        return start + int(math.copysign(1, end)) * width * (NEAR**-FLATTEN - 1), mp.mpf(1)
    side = 1 if mark > end else -1
    exact = sp.Integer(end) if end == int(end) else sp.Float(end, 40)
    return exact + side * NEAR**FLATTEN, abs(mark - end) ** (mp.mpf(1) / FLATTEN)


def _product(p: sp.Expr, g: sp.Expr, x: sp.Symbol) -> Callable:
    """``p g``, and 0 wherever ``p`` is, however large ``g``."""
    weight, value = _function(p, x), _function(g, x)

    def both(at: mp.mpf) -> mp.mpf:
        share = weight(at)
        return share * value(at) if share != 0 else mp.mpf(0)

    return both


def _function(plain: sp.Expr, x: sp.Symbol) -> Callable:
    return sp.lambdify(x, plain, [{"exp": _exp}, "mpmath"])


def _exp(u):
    """``exp``, infinite or zero beyond 2^1000: a density is long 0 there, and mpmath would need as
    many bits as the number has."""
    if mp.isnan(u) or abs(u) < 2**1000:
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
