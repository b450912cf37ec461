"""Can a formula be negative? A proof that it cannot, by the signs of what occurs in it.

The formula is written as one fraction in numbers that cannot be negative: a number between 0 and 1
as odds ``t/(1 + t)``, a power of e with a positive exponent as ``1 + t``. If then all is added and
multiplied with positive factors, it cannot be negative. ``False`` says only that none of these
proofs was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import sympy as sp

from lossderiv.insight.solve import cleared
from lossderiv.symbolic.records import Domain


def nonnegative(formula: sp.Expr, domains: Mapping[sp.Expr, Domain] | None = None) -> bool:
    """Whether the formula is shown to be nowhere negative, in one of its forms.

    >>> from sympy.abc import x
    >>> from lossderiv import Unit
    >>> p = Unit.symbol("p")
    >>> nonnegative((1 - p)**2 + p*(1 - p), {p: Unit}), nonnegative(p - p**2/2, {})
    (True, False)
    """
    if isinstance(formula, sp.Piecewise):
        return all(nonnegative(branch, domains) for branch, _ in formula.args)
    if formula.has(sp.Piecewise):
        return False
    odds = {s: _odds(s) for s, d in (domains or {}).items() if _is_share(d)}
    bases = [formula, formula.xreplace(odds)] if odds else [formula]
    return any(form.is_nonnegative for base in bases for form in _forms(base))


def _forms(formula: sp.Expr):
    """The formula in ways in which its sign may show."""
    yield formula
    if formula.has(sp.exp):
        yield _expanded(_with_growth(formula))
    whole = cleared(formula)
    yield whole
    yield sp.factor(whole)
    waves = cleared(formula.rewrite(sp.exp))
    yield sp.factor(waves)
    yield _expanded(waves)
    yield _expanded(_with_growth(waves))


def _expanded(formula: sp.Expr) -> sp.Expr:
    top, bottom = sp.fraction(cleared(formula))
    return sp.expand(top) / sp.factor(bottom)


def _is_share(domain: Domain) -> bool:
    return domain.shape == "scalar" and (domain.low, domain.high) == (0, 1) and not domain.integer


def _odds(share: sp.Symbol) -> sp.Expr:
    t = sp.Symbol(f"odds_{share}", positive=True)
    return t / (1 + t)


def _with_growth(formula: sp.Expr) -> sp.Expr:
    """``exp(k u)`` with ``u >= 0`` as ``(1 + t)^k``; any other ``exp(k u)`` as ``t^k``."""
    formula = sp.expand(formula, deep=True, power_exp=True, mul=False, multinomial=False)
    waves = {wave: wave.args[0].as_coeff_Mul() for wave in formula.atoms(sp.exp)}
    numbers = [k for k, u in waves.values() if u == 1]
    unit = math.lcm(*(k.q for k in numbers if k.is_Rational))
    found = {}
    for wave, (k, u) in waves.items():
        if u == 1:
            k, u = k * unit, sp.Integer(1) / unit
        if (-u).is_nonnegative:
            k, u = -k, -u
        if k.is_Integer:
            t = sp.Symbol(f"growth({u})", positive=True)
            found[wave] = (1 + t) ** k if u.is_nonnegative else t**k
    return formula.xreplace(found)
