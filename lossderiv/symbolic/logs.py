"""The logarithm of a density, opened as far as signs allow.

``log(a b) = log a + log b`` needs both factors positive. A factor's sign is known from SymPy's
assumptions or, failing that, from its values at the probe points; factors of unknown sign stay
together under one log. An indicator counts as positive: outside the support both sides are
infinite. The step that records the opening is checked like every other, so a wrong
guess cannot pass.
"""

from __future__ import annotations

from collections import defaultdict

import sympy as sp

from lossderiv.symbolic.probe import Formula, indexed_points
from lossderiv.symbolic.records import Context


def open_log(expr: sp.Expr, context: Context, where) -> sp.Expr:
    """``log(expr)`` as a sum over the factors of ``expr``; numbers are gathered in one log."""
    number, total, unsigned = sp.Integer(1), sp.Integer(0), sp.Integer(1)
    for factor in sp.Mul.make_args(expr):
        if factor.is_number:
            number *= factor
        elif isinstance(factor, sp.exp):
            total += factor.args[0]
        elif (opened := _open_factor(factor, context, where)) is None:
            unsigned *= factor
        else:
            total += opened
    if number.is_negative:
        number, unsigned = -number, -unsigned
    rest = sp.log(unsigned) if unsigned != 1 else sp.Integer(0)
    return total + rest + log_of_number(number)


def _open_factor(factor: sp.Expr, context: Context, where) -> sp.Expr | None:
    if isinstance(factor, sp.Product):
        return sp.Sum(open_log(factor.function, context, where), *factor.limits)
    if isinstance(factor, sp.Piecewise):
        return sp.Piecewise(*((open_log(e, context, where), c) for e, c in factor.args))
    base, exponent = factor.as_base_exp()
    if exponent == 1:
        return sp.log(factor) if is_positive(factor, context, where) else None
    if exponent.is_integer and not is_positive(base, context, where):
        return None
    opened = open_log(base, context, where)
    if all(
        t.could_extract_minus_sign() for t in sp.Add.make_args(exponent)
    ):  # so that -log p shows (nu + 1)/2, not -(-nu - 1)/2
        return -((-exponent) * opened)
    return exponent * opened


def is_positive(expr: sp.Expr, context: Context, where) -> bool:
    """Whether ``expr`` is positive, by SymPy's assumptions or at every probe point.

    A zero here and there is let pass: log 0 is minus infinity on both sides.
    """
    if expr.is_positive:
        return True
    formula = Formula(expr, where)
    values = [formula.at(point) for point in indexed_points((expr,), context)]
    return all(v.imag == 0 and v.real >= 0 for v in values) and any(v.real > 0 for v in values)


def log_of_number(number: sp.Expr) -> sp.Expr:
    """The log of a positive number with equal exponents gathered: ``log(1/sqrt(2 pi))`` becomes
    ``-log(2 pi)/2``."""
    by_exponent: dict[sp.Expr, sp.Expr] = defaultdict(lambda: sp.Integer(1))
    exponents: dict[sp.Expr, sp.Expr] = defaultdict(lambda: sp.Integer(0))
    for base, exponent in number.as_powers_dict().items():
        if base.is_Rational and base > 0:
            for prime, power in sp.factorrat(base).items():
                exponents[sp.Integer(prime)] += power * exponent
        else:
            exponents[base] += exponent
    for base, exponent in exponents.items():
        by_exponent[exponent] *= base
    return sp.Add(
        *(e * sp.log(b, evaluate=False) for e, b in by_exponent.items() if b != 1 and e != 0)
    )
