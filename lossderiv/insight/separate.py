"""Sums of products: a formula as ``sum_k c_k(ours) g_k(theirs)``, if it is one.

The one tool of exponential families (parameters against data) and of averaged scores (one
parameter against everything that varies over a sample). It multiplies out, which is fine for
reading and ruinous for computing, so nothing here goes near the code that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp

from lossderiv.symbolic.functions import spell_out


@dataclass(frozen=True)
class Separated:
    """``sum_k c_k g_k + alone + apart``: each ``c`` and ``alone`` of ours, the others of theirs.

    ``entangled`` is the first term that is no such product (then the rest means nothing).
    """

    pairs: tuple[tuple[sp.Expr, sp.Expr], ...]
    alone: sp.Expr
    apart: sp.Expr
    entangled: sp.Expr | None = None


Touches = Callable[[sp.Expr], bool]


def separate(expr: sp.Expr, ours: Touches, theirs: Touches) -> Separated:
    """Sort the terms of ``expr``, written with its special functions and, if need be, without.

    >>> from sympy.abc import m, x
    >>> separate((x - m)**2, lambda e: e.has(m), lambda e: e.has(x)).pairs
    ((-2*m, x),)
    """
    first = _sorted(multiplied_out(expr), ours, theirs)
    if first.entangled is None:
        return first
    return _sorted(multiplied_out(spell_out(expr)), ours, theirs)


def multiplied_out(expr: sp.Expr) -> sp.Expr:
    """Products, powers, logs and (where they occur) angles of sums, written as sums."""
    angles = expr.has(sp.sin, sp.cos)
    return sp.expand(expr, trig=True) if angles else sp.expand(expr)


def _sorted(expr: sp.Expr, ours: Touches, theirs: Touches) -> Separated:
    pairs: dict[sp.Expr, sp.Expr] = {}
    alone, apart = [], []
    for term in sp.Add.make_args(expr):
        mine, others = [sp.Integer(1)], [sp.Integer(1)]
        for factor in sp.Mul.make_args(term):
            if ours(factor) and theirs(factor):
                return Separated((), sp.Integer(0), sp.Integer(0), factor)
            (others if theirs(factor) else mine).append(factor)
        c, g = sp.Mul(*mine), sp.Mul(*others)
        if g == 1:
            alone.append(c)
        elif not ours(c):
            apart.append(term)
        else:
            pairs[g] = pairs.get(g, sp.Integer(0)) + c
    kept = {g: c for g, c in pairs.items() if c != 0}
    return Separated(_merged(kept), sp.Add(*alone), sp.Add(*apart))


def _merged(pairs: dict[sp.Expr, sp.Expr]) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """One pair for all ``g`` whose ``c`` differ by a number only; the numbers go to the ``g``."""
    merged: list[tuple[sp.Expr, dict[sp.Expr, sp.Expr]]] = []
    for g, c in pairs.items():
        for first, members in merged:
            ratio = sp.cancel(c / first)
            if ratio.is_number:
                members[g] = ratio
                break
        else:
            merged.append((c, {g: sp.Integer(1)}))
    return tuple(_named_pair(c, members) for c, members in merged)


def _named_pair(c: sp.Expr, members: dict[sp.Expr, sp.Expr]) -> tuple[sp.Expr, sp.Expr]:
    if len(members) == 1:
        return c, next(iter(members))
    number, letters = c.as_coeff_Mul()
    return letters, sp.Add(*(number * r * g for g, r in members.items()))
