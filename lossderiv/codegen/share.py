"""Name what is computed twice.

Structural sharing only: a subexpression that stands in several places gets a name. Sums and
products are never taken apart, because how they are grouped is what makes them accurate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair

from lossderiv.symbolic.vectors import EACH, ENTRY, INWARD, OUTWARD

Assignments = tuple[tuple[sp.Symbol, sp.Expr], ...]


def share(exprs: Sequence[sp.Expr], where: Assignments) -> tuple[Assignments, tuple[sp.Expr, ...]]:
    """Assignments (the used names of ``where`` among them) and what is left of ``exprs``."""
    where = tuple((s, *_over_entries([e])) for s, e in where)
    exprs, where = fold_constants(_over_entries(exprs), where)
    used = _used(exprs, where)
    trees = [*(e for _, e in used), *exprs]
    uses: Counter[sp.Expr] = Counter()
    for tree in trees:
        _count(tree, uses)
    constants = {s for s, e in where if e.is_number}
    names = {e: _name(k, e) for k, e in enumerate(_repeated(trees, uses, constants))}
    whole = {e: s for s, e in used}  # a repeated tree that already has a name keeps it
    names |= {e: s for e, s in whole.items() if e in names}

    out: list[tuple[sp.Symbol, sp.Expr]] = []
    done: set[sp.Symbol] = set()

    def named(node: sp.Expr, top: bool = False) -> sp.Expr:
        if not top and node in names:
            emit(names[node], node)
            return names[node]
        if node in done:
            return node
        if not node.args or isinstance(node, sp.Indexed | sp.Idx | sp.IndexedBase):
            if node in definitions:
                emit(node, definitions[node])
            return node
        return node.func(*(named(a) for a in node.args))

    definitions = dict(used)

    def emit(symbol: sp.Symbol, node: sp.Expr) -> None:
        if symbol not in done:
            done.add(symbol)
            out.append((symbol, named(node, top=True)))

    results = tuple(named(e) for e in exprs)
    return tuple(out), results


def _over_entries(exprs: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
    """Sums over entries with the index that a vector's entries have, so that both share names."""
    return tuple(e.xreplace(dict.fromkeys((EACH, INWARD, OUTWARD), ENTRY)) for e in exprs)


def fold_constants(
    exprs: Sequence[sp.Expr], where: Assignments
) -> tuple[tuple[sp.Expr, ...], Assignments]:
    """Functions of named constants alone become numbers: ``log(n)`` with ``n = 16``."""
    values = {s: e for s, e in where if e.is_number}

    def fold(expr: sp.Expr) -> sp.Expr:
        whole = isinstance(expr, sp.Expr) and not expr.is_Symbol
        if whole and expr.free_symbols and expr.free_symbols <= set(values):
            return expr.xreplace(values).evalf(30)
        if not expr.args or isinstance(expr, sp.Indexed | sp.Idx | sp.IndexedBase):
            return expr
        inner = sp.Expr | ExprCondPair
        return expr.func(*(fold(a) if isinstance(a, inner) else a for a in expr.args))

    return tuple(fold(e) for e in exprs), tuple((s, fold(e)) for s, e in where)


def _name(k: int, expr: sp.Expr) -> sp.Expr:
    """``t0``, ``t1``, ...; a vector's name carries the index that its entries have."""
    if ENTRY in expr.free_symbols:
        return sp.IndexedBase(f"t{k}", real=True)[ENTRY]
    return sp.Symbol(f"t{k}", real=True)


def _used(exprs, where: Assignments) -> Assignments:
    """Those definitions that ``exprs`` need, directly or through one another."""
    needed = set().union(*(e.free_symbols for e in exprs))
    kept = []
    for symbol, meaning in reversed(where):
        if symbol in needed:
            needed |= meaning.free_symbols
            kept.append((symbol, meaning))
    return tuple(reversed(kept))


def _count(node: sp.Expr, uses: Counter) -> None:
    """Count places; what lies inside a repeated tree is counted once, not once for each copy."""
    uses[node] += 1
    if uses[node] == 1:
        for a in node.args:
            if isinstance(a, sp.Expr | ExprCondPair):
                _count(a, uses)


def _repeated(trees, uses: Counter, constants: set[sp.Symbol]) -> list[sp.Expr]:
    found = []
    for tree in trees:
        for node in sp.postorder_traversal(tree):
            if node not in found and uses[node] > 1 and _worth_a_name(node, constants):
                found.append(node)
    return found


def _worth_a_name(node, constants: set[sp.Symbol]) -> bool:
    if not isinstance(node, sp.Expr) or not node.args or node.is_number:
        return False
    if node.free_symbols <= constants:
        return False
    if isinstance(node, sp.Indexed | sp.Idx | sp.IndexedBase | sp.KroneckerDelta):
        return False
    if any(isinstance(s, sp.Idx) and s != ENTRY for s in node.free_symbols):
        return False  # depends on a running index: it has no value of its own
    return not (node.is_Mul and len(node.args) == 2 and node.args[0] == -1)
