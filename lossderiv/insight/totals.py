"""Integrals and sums over a data domain: SymPy's where it finds one in time, and numbers.

SymPy may think for hours about an integral. It thinks in a process of its own, which is ended
when its time is up; the answer is then ``None``, and numbers have to do.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import combinations

import mpmath as mp
import sympy as sp

from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Domain

SECONDS = 20.0
DIGITS = 30
CHUNK = 64
MOST_CHUNKS = 400
REACH, GRID = 41.37, 331  # corners are looked for this far out, on this many steps
LOOSE = mp.mpf(10) ** -12  # relative agreement asked of quadrature over a formula with corners

_WORKER = """
import pickle, sys
import sympy as sp
exprs, x, low, high, discrete = pickle.load(sys.stdin.buffer)
total = sp.summation if discrete else sp.integrate
pickle.dump([total(expr, (x, low, high)) for expr in exprs], sys.stdout.buffer)
"""


@lru_cache(maxsize=256)
def symbolic_total(
    exprs: tuple[sp.Expr, ...], x: sp.Symbol, low, high, discrete: bool = False
) -> sp.Expr | None:
    """The sum of the integrals (or sums) of ``exprs`` over ``x`` as SymPy finds them, or ``None``.

    >>> from sympy.abc import x
    >>> symbolic_total((sp.exp(-x), sp.exp(-2 * x)), x, 0, sp.oo)
    3/2
    """
    task = pickle.dumps(([spell_out(e) for e in exprs], x, low, high, discrete))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _WORKER], input=task, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:  # SymPy gave up with an exception of its own
        return None
    found = sp.Add(*pickle.loads(done.stdout))
    unfinished = found.has(sp.Integral, sp.Sum, sp.nan, sp.zoo, sp.oo)
    return None if unfinished else found


def exact_end(end: float) -> sp.Expr:
    """The end of a domain as SymPy writes it."""
    return sp.Rational(str(float(end))) if mp.isfinite(end) else sp.oo * (1 if end > 0 else -1)


def branches(found: sp.Expr) -> list[sp.Expr]:
    """Each formula that SymPy offers, where it tells cases apart."""
    cases = sorted(found.atoms(sp.Piecewise), key=lambda p: p.count_ops(), reverse=True)
    if not cases:
        return [found]
    return [b for e, _ in cases[0].args for b in branches(found.xreplace({cases[0]: e}))]


def numeric_total(
    function: Callable[[mp.mpf], mp.mpf], data: Domain, corners: Iterable[float] = ()
) -> mp.mpf:
    """The integral (or sum) of ``function`` over a data domain, split where it has ``corners``."""
    with mp.workdps(DIGITS):
        if data.integer:
            return _sum(function, data.low, data.high)
        low, high = mp.mpf(data.low), mp.mpf(data.high)
        marks = {mp.mpmathify(c) for c in corners}
        centres = marks or {mp.mpf(0)}
        if mp.isinf(low) or mp.isinf(high):
            wide = (0.1, 1, 3, 10, 30, 100)
            marks |= {c + side * w for c in centres for w in wide for side in (-1, 1)}
        inner = sorted(m for m in marks if low < m < high)
        return mp.quad(function, [low, *inner, high])


def corners(expr: sp.Expr, x: sp.Symbol, data: Domain, point: Mapping) -> list[mp.mpf]:
    """Where a formula may bend: sign changes, over the target, of what its cases turn on."""
    numbers = {s: sp.Float(mp.nstr(mp.mpmathify(v), 25), 25) for s, v in point.items()}
    plain = spell_out(expr).xreplace(numbers)
    turns = {r.lhs - r.rhs for r in plain.atoms(sp.core.relational.Relational)}
    turns |= {a.args[0] for a in plain.atoms(sp.Abs, sp.sign)}
    turns |= {a - b for m in plain.atoms(sp.Max, sp.Min) for a, b in combinations(m.args, 2)}
    low, high = max(data.low, -REACH), min(data.high, REACH)
    grid = [low + (high - low) * k / mp.mpf(GRID) for k in range(GRID + 1)]
    found = []
    for turn in (t for t in turns if t.free_symbols == {x}):
        g = sp.lambdify(x, turn, "mpmath")
        signs = [mp.sign(g(v)) for v in grid]
        pairs = zip(grid, grid[1:], signs, signs[1:], strict=False)
        found += [mp.findroot(g, (a, b), solver="anderson") for a, b, p, q in pairs if p * q < 0]
        found += [v for v, side in zip(grid, signs, strict=True) if side == 0]
    return found


def _sum(function, low: float, high: float) -> mp.mpf:
    total, start = mp.mpf(0), int(low)
    for _ in range(MOST_CHUNKS):
        stop = start + CHUNK if high == mp.inf else min(start + CHUNK, int(high) + 1)
        part = mp.fsum(function(mp.mpf(v)) for v in range(start, stop))
        total, start = total + part, stop
        if start > high or abs(part) < mp.mpf(10) ** -DIGITS * abs(total):
            return total
    return mp.nan


def divergence(log_weight: Callable[[mp.mpf], mp.mpf], data: Domain) -> str | None:
    """Why ``exp(log_weight)`` has no finite total, in words; ``None`` if it has one.

    Towards each end the weight is compared with a power of the distance: it must fall faster than
    1/|x| far out and grow slower than 1/u at a distance u from a finite end.
    """
    ends = [(side, bound) for side, bound in ((-1, data.low), (1, data.high))]
    for side, bound in ends:
        if mp.isinf(bound):
            power = _power(lambda u, s=side: log_weight(s * u), mp.mpf(10) ** 9, mp.mpf(10) ** 12)
            if not power < -1 - mp.mpf(10) ** -6:
                where = "x -> oo" if side > 0 else "x -> -oo"
                return f"exp(-loss) goes like |x|^{_short(power)} for {where}"
        elif not data.integer:
            power = _power(
                lambda u, s=side, b=bound: log_weight(b - s * u),
                mp.mpf(10) ** -12,
                mp.mpf(10) ** -9,
            )
            if not power > -1 + mp.mpf(10) ** -6:
                return f"exp(-loss) goes like u^{_short(power)} at a distance u from {bound:g}"
    return None


def _power(log_weight, near: mp.mpf, far: mp.mpf) -> mp.mpf:
    """The exponent of the power law between two distances."""
    with mp.workdps(80):
        a, b = log_weight(near), log_weight(far)
        if mp.isinf(b) and b < 0:
            return -mp.inf
        return (b - a) / mp.log(far / near)


def _short(power: mp.mpf) -> str:
    return "0" if abs(power) < 1e-6 else mp.nstr(power, 4).removesuffix(".0")
