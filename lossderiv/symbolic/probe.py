"""Numbers to try: probe points for the symbols of a derivation, and 60-digit values of formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import mpmath as mp
import sympy as sp

from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Context, Domain, close
from lossderiv.symbolic.vectors import CLASSES, Unrolled, with_classes

DIGITS = 60
CLASS_COUNT = 3  # vectors are probed with three entries
MOST_DIGITS = 4000

Point = Mapping[sp.Expr, object]


def points(context: Context, count: int = 6) -> list[Point]:
    """``count`` typical points and one for each pair of an output and its extreme values.

    Each symbol walks through its domain's typical values with a stride of its own, so that no two
    symbols move together; after a round of six their order shifts.
    """
    symbols = list(context.domains)
    typical = []
    for k in range(count):
        steps = [k * (2 * n + 1) + n * (1 + k // 6) for n in range(len(symbols))]
        typical.append(
            {s: _typical(context.domains[s], j) for s, j in zip(symbols, steps, strict=True)}
        )
    extreme = [
        {**typical[0], s: value if isinstance(s, sp.Symbol) else (value, 0.5, -value)}
        for s in context.outputs
        for value in context.domains[s].extreme
    ]
    return typical + extreme


def _typical(domain: Domain, k: int) -> object:
    """The ``k``-th typical value (cyclic) of a domain; a vector where the domain holds vectors."""
    return domain.typical[k % len(domain.typical)]


class Formula:
    """A formula made ready for high-precision evaluation at many points."""

    def __init__(self, expr: sp.Expr, where: Sequence[tuple[sp.Symbol, sp.Expr]] = ()):
        self.expr = close(expr, tuple(where))
        self.is_vector = bool(self.expr.atoms(sp.IndexedBase))
        if self.is_vector:
            self._written: dict[tuple, tuple[list[sp.Expr], Callable]] = {}
            self._indices = _indices(self.expr)
        else:
            plain = spell_out(self.expr).doit()
            self.symbols = sorted(plain.free_symbols, key=str)
            # other names, because a parameter called beta may stand beside the beta function
            names = [sp.Symbol(f"argument{k}") for k in range(len(self.symbols))]
            renamed = plain.xreplace(dict(zip(self.symbols, names, strict=True)))
            self._function = sp.lambdify(names, renamed, [OURS, "mpmath"])

    def at(self, point: Point) -> mp.mpf:
        """The value at ``point``, doubling the precision until two runs agree to 60 digits."""
        digits, last = 2 * DIGITS, None
        while digits <= MOST_DIGITS:
            with mp.workdps(digits):
                value = self._once(point)
            if last is not None and _agree(value, last):
                return value
            digits, last = 2 * digits, value
        return last

    def _once(self, point: Point) -> mp.mpf:
        if self.is_vector:
            symbols, function = self._for_classes(point)
            values = [_entry(point, s) if isinstance(s, sp.Indexed) else point[s] for s in symbols]
        else:
            symbols, function = self.symbols, self._function
            values = [point[s] for s in symbols]
        try:
            return mp.mpmathify(function(*map(mp.mpmathify, values)))
        except (ValueError, ZeroDivisionError):  # mpmath's words for a pole: no number is here
            return mp.nan

    def _for_classes(self, point: Point) -> tuple[list[sp.Expr], Callable]:
        """The formula written out for as many classes, and with the indices, of ``point``."""
        index = {s: point[s] for s in self._indices}
        key = (point.get(CLASSES, CLASS_COUNT), *index.values())
        if key not in self._written:
            written = with_classes(self.expr, key[0], index)
            entries = written.atoms(sp.Indexed)
            symbols = sorted(entries, key=str)
            symbols += sorted(written.free_symbols & set(point) - entries, key=str)
            names = [sp.Symbol(f"argument{k}") for k in range(len(symbols))]
            plain = written.xreplace(dict(zip(symbols, names, strict=True)))
            self._written[key] = symbols, sp.lambdify(names, plain, [OURS, "mpmath"])
        return self._written[key]


def _entry(point: Point, entry: sp.Indexed) -> object:
    return point[entry.base][int(entry.indices[0])]


def _indices(expr: sp.Expr) -> list[sp.Expr]:
    """What picks entries of a vector: free indices, and data that name a class."""
    inner = expr.expr if isinstance(expr, sp.Derivative) else expr
    by = expr.variables if isinstance(expr, sp.Derivative) else ()
    spelled = spell_out(inner)
    picks = {s for e in spelled.atoms(sp.Indexed) for i in e.indices for s in i.free_symbols}
    picks |= {s for e in by for i in e.indices for s in i.free_symbols}
    picks |= {s for row in spelled.atoms(Unrolled) for s in row.args[-1].free_symbols}
    for pair in spelled.atoms(sp.KroneckerDelta, sp.Eq):
        picks |= pair.free_symbols if any(isinstance(a, sp.Idx) for a in pair.args) else set()
    free = spelled.free_symbols | set().union(*(e.free_symbols for e in by))
    return sorted(picks & free - {CLASSES}, key=str)


def _exp(u):
    """``exp``, infinite or zero beyond 2^4000: mpmath would need as many bits as the number has."""
    if mp.im(u) == 0 and abs(u) > 2**4000:
        return mp.inf if u > 0 else mp.mpf(0)
    return mp.exp(u)


OURS = {"exp": _exp, "binomial": mp.binomial}  # SymPy would write a binomial out in factorials


def _agree(a, b) -> bool:
    if not (mp.isfinite(a) and mp.isfinite(b)):
        return True
    with mp.workdps(DIGITS + 10):
        return abs(a - b) <= mp.mpf(10) ** -DIGITS * max(1, abs(a))


def indexed_points(exprs: Sequence[sp.Expr], context: Context, count: int = 6) -> Iterator[Point]:
    """Every probe point, with each free index of ``exprs`` running over the classes."""
    free = [s for e in exprs for s in e.free_symbols if isinstance(s, sp.Idx)]
    for point in points(context, count):
        for values in product(range(CLASS_COUNT), repeat=len(free)):
            yield {**point, **dict(zip(free, values, strict=True)), CLASSES: CLASS_COUNT}
