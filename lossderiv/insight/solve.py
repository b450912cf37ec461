"""Small equations, solved by structure: undo one function at a time, or a quadratic.

``sympy.solve`` can take minutes and can return what is no solution. The equations met here are
short; whatever is returned is checked by a step, and ``None`` says that no solution was found.
"""

from __future__ import annotations

import sympy as sp

Fold = tuple[sp.Expr, ...]


def cleared(expr: sp.Expr) -> sp.Expr:
    """One fraction in lowest terms; special functions count as letters, sin² is 1 - cos²."""
    whole = _signs_cancelled(sp.cancel(sp.together(expr)))
    sines = {f**2: 1 - sp.cos(f.args[0]) ** 2 for f in whole.atoms(sp.sin)}
    if not sines:
        return whole
    top, bottom = (sp.expand(sp.expand(part).subs(sines)) for part in sp.fraction(whole))
    return _signs_cancelled(sp.cancel(top / bottom))


def _signs_cancelled(ratio: sp.Expr) -> sp.Expr:
    """``-a/(-b - c)`` as ``a/(b + c)``."""
    top, bottom = sp.fraction(ratio)
    if bottom.is_Add and bottom.could_extract_minus_sign():
        return -top / -bottom
    return ratio


def tidy(expr: sp.Expr) -> sp.Expr:
    """Logs of fractions opened, and the sum multiplied out, where that makes it shorter."""
    opened = sp.expand(expr.xreplace({f: _open(f.args[0]) for f in expr.atoms(sp.log)}))
    return opened if opened.count_ops() < expr.count_ops() else expr


def _open(inner: sp.Expr) -> sp.Expr:
    top, bottom = sp.fraction(cleared(inner))
    return sp.log(top) - sp.log(bottom)


def solved(left: sp.Expr, right: sp.Expr, unknown: sp.Symbol) -> sp.Expr | None:
    """The ``unknown`` for which ``left`` (which has it) equals ``right`` (which has not)."""
    if not left.has(unknown):
        return None
    while left != unknown:
        moved = _undone(left, right, unknown)
        if moved is None:
            return _by_polynomial(left, right, unknown)
        left, right = moved
    return right


def _undone(left: sp.Expr, right: sp.Expr, unknown: sp.Symbol):
    """The equation with the outermost function of ``left`` undone, or ``None``."""
    if left.is_Add or left.is_Mul:
        rest, mine = left.as_independent(unknown, as_Add=left.is_Add)
        if rest in (0, 1):
            return _logs_gathered(left, right)
        return (mine, right - rest) if left.is_Add else (mine, right / rest)
    if isinstance(left, sp.exp):
        return left.args[0], sp.log(right)
    if isinstance(left, sp.log):
        return left.args[0], sp.exp(right)
    if left.is_Pow and not left.exp.has(unknown):
        rooted = left.base.is_nonnegative or (left.exp.is_Integer and left.exp.is_odd)
        return (left.base, right ** (1 / left.exp)) if rooted else None
    return None


def _logs_gathered(left: sp.Expr, right: sp.Expr):
    """``log a - log b = c`` as ``a/b = e^c``."""
    if not left.is_Add or not any(t.has(sp.log) for t in left.args):
        return None
    raised = sp.exp(left)
    return None if raised.has(sp.exp) else (cleared(raised), sp.exp(right))


def _by_polynomial(left: sp.Expr, right: sp.Expr, unknown: sp.Symbol) -> sp.Expr | None:
    """The one admissible root of an equation that is linear or quadratic in the unknown."""
    letter = sp.Dummy("right")
    numerator = sp.fraction(sp.together(left - letter))[0]
    if not numerator.is_polynomial(unknown):
        return None
    terms = sp.Poly(sp.expand(numerator), unknown).all_coeffs()
    if len(terms) == 2:
        return _signs_cancelled(cleared(-terms[1] / terms[0]).xreplace({letter: right}))
    if len(terms) == 3 and terms[1] == 0 and unknown.is_positive:
        return sp.sqrt(cleared(-terms[2] / terms[0]).xreplace({letter: right}))
    return None


def inverse(formulas: Fold, values: Fold, unknowns: Fold) -> Fold | None:
    """The ``unknowns`` at which the ``formulas`` take the ``values``, one equation at a time."""
    if len(formulas) != len(unknowns):
        return None
    found, open_equations = {}, list(zip(formulas, values, strict=True))
    while open_equations:
        ready = [
            (f, v, left[0])
            for f, v in open_equations
            if len(left := [u for u in unknowns if f.xreplace(found).has(u)]) == 1
        ]
        if not ready:
            return _polar(formulas, values, unknowns)
        f, v, unknown = ready[0]
        answer = solved(f.xreplace(found), v, unknown)
        if answer is None:
            return None
        found[unknown] = answer
        open_equations.remove((f, v))
    return tuple(found[u] for u in unknowns)


def _polar(formulas: Fold, values: Fold, unknowns: Fold) -> Fold | None:
    """``r cos m`` and ``r sin m``, in this order."""
    for m in unknowns:
        across, up = (formulas[0] / sp.cos(m), formulas[-1] / sp.sin(m))
        if len(formulas) == 2 and across == up and across in unknowns:
            polar = {across: sp.sqrt(values[0] ** 2 + values[1] ** 2)}
            polar[m] = sp.atan2(values[1], values[0])
            return tuple(polar[u] for u in unknowns)
    return None
