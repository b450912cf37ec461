"""Numbers to try: probe points for the symbols of a derivation, and 60-digit values of formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import mpmath as mp
import sympy as sp

from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Context, Domain, close
from lossderiv.symbolic.vectors import CLASSES, with_classes

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
        if not self.is_vector:
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
            return _vector_value(self.expr, point)
        try:
            return mp.mpmathify(self._function(*[mp.mpmathify(point[s]) for s in self.symbols]))
        except (ValueError, ZeroDivisionError):  # mpmath's words for a pole: no number is here
            return mp.nan


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


def _vector_value(expr: sp.Expr, point: Point) -> mp.mpf:
    named = expr.free_symbols | expr.atoms(sp.Idx)
    index = {s: v for s, v in point.items() if isinstance(v, int) and s in named}
    written = with_classes(expr, point.get(CLASSES, CLASS_COUNT), index)
    entries = {e: _number(point[e.base][int(e.indices[0])]) for e in written.atoms(sp.Indexed)}
    scalars = {
        s: sp.Float(v, mp.mp.dps)
        for s, v in point.items()
        if isinstance(s, sp.Symbol) and s not in index and isinstance(v, int | float)
    }
    number = written.xreplace(entries).xreplace(scalars).evalf(mp.mp.dps)
    return mp.mpmathify(number)


def _number(value: object) -> sp.Expr:
    return sp.Integer(value) if isinstance(value, int) else sp.Float(value, mp.mp.dps)


def indexed_points(exprs: Sequence[sp.Expr], context: Context, count: int = 6) -> Iterator[Point]:
    """Every probe point, with each free index of ``exprs`` running over the classes."""
    free = [s for e in exprs for s in e.free_symbols if isinstance(s, sp.Idx)]
    for point in points(context, count):
        for values in product(range(CLASS_COUNT), repeat=len(free)):
            yield {**point, **dict(zip(free, values, strict=True)), CLASSES: CLASS_COUNT}
