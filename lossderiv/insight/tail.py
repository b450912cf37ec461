"""How hard does a far-off target pull? The gradient as the datum moves to the ends of its domain.

The slope of the loss in a raw output, as a function of the datum, is what robust statistics calls
the psi function; up to a factor it is the influence function (Hampel 1974). It is evaluated at
three distances, each the square of the one before, with 60 digits: equal values mean a bound, equal
exponents a power law, halved exponents a logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import mpmath as mp

from lossderiv.derivations import derive
from lossderiv.errors import DerivationError
from lossderiv.insight.entries import entries_in
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.symbolic.probe import Formula, points
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.vectors import CLASSES, ENTRY

FAR = (8, 16, 32)  # distances as powers of ten
FLAT = 1e-5
STEEP = 20.0

NO_NUMBER = "the gradient is no number there"
WIDE = 200  # digits for differences of a loss at the farthest datum

Slope = Callable[[Mapping, int | None], mp.mpf]
"""(everything, the entry of a vector) -> the slope of the loss."""
Pull = Callable[[Mapping, mp.mpf], mp.mpf]
"""(raw outputs and all else, the datum) -> the size of the gradient."""


@dataclass(frozen=True)
class End:
    """The gradient in one output towards one end of the data's domain.

    ``kind`` is ``"unbounded"``, ``"bounded"`` or ``"redescending"`` (it returns to 0), and ``how``
    says at what rate, or which value it approaches, at the raw outputs that were probed. ``power``
    is the exponent of a power law, in ``|x|`` or in the distance to a finite end, if it is the same
    at all of them.
    """

    end: float
    kind: str
    how: str
    power: float | None = None


@dataclass(frozen=True)
class Tail(Shown):
    """What :func:`tail` found: for each output its :class:`End` on either side, and a summary."""

    derivation: Derivation
    ends: Mapping[str, tuple[End, ...]]

    @property
    def title(self) -> str:
        d = self.derivation
        return f"{heading(d.density.name, d.fixed)}: the pull of a far-off target"

    @property
    def kinds(self) -> Mapping[str, str]:
        """Output -> the worst that happens at an end; redescending only where every end is."""
        said = {}
        for name, ends in self.ends.items():
            found = {e.kind for e in ends}
            order = ("unbounded", "not decided", "bounded", "redescending")
            said[name] = next((k for k in order if k in found), "bounded")
        return MappingProxyType(said)

    def check(self) -> tuple[str, ...]:
        """Every end once more, with differences of the loss instead of its derived gradient.

        Returns what was compared; raises ``DerivationError`` where an end is not as was said.
        """
        d, loss, done = self.derivation, Formula(self.derivation.loss), []
        for name, ends in self.ends.items():

            def slope(point: Mapping, n: int | None, name=name) -> mp.mpf:
                return _difference(loss, point, d.symbols[name], n)

            for said, found in zip(ends, _ends(d, name, slope), strict=True):
                if found.how == NO_NUMBER and _outside(d, loss, said.end):
                    done.append(f"{name} towards {said.end:g}: outside the support, nothing pulls")
                elif (said.kind, said.power) != (found.kind, found.power):
                    raise DerivationError(
                        f"The gradient of {d.density.name} in {name} towards {said.end:g} was "
                        f"found to be {said.kind}, {said.how}; by differences of the loss it is "
                        f"{found.kind}, {found.how}. Correct the gradient."
                    )
                else:
                    done.append(f"{name} towards {said.end:g}: as by differences of the loss")
        return tuple(done)

    def rows(self) -> list[Row]:
        x = self.derivation.density.variable
        rows: list[Row] = []
        for name, ends in self.ends.items():
            lines = [f"{x} -> {e.end:g}: {e.kind}, {e.how}" for e in ends]
            rows.append(
                (f"gradient in {name}: {self.kinds[name]}", lines or ["finitely many data"])
            )
        return rows


def tail(of: str | Density | Derivation, **options) -> Tail:
    """Whether the gradient is bounded, unbounded or redescending as the target moves far away.

    ``options`` are those of :func:`lossderiv.derive`.

    >>> import lossderiv as ld
    >>> dict(ld.tail("normal").kinds)
    {'eta_mu': 'unbounded', 'eta_sigma': 'unbounded'}
    >>> ld.tail("laplace").kinds["eta_mu"], ld.tail("cauchy").kinds["eta_mu"]
    ('bounded', 'redescending')
    """
    d = derive(of, **options)
    ends = {}
    for name in d.outputs:
        formula = Formula(d.gradient[name])

        def slope(point: Mapping, n: int | None, formula=formula) -> mp.mpf:
            return formula.at(point if n is None else {**point, ENTRY: n})

        ends[name] = tuple(_ends(d, name, slope))
    return Tail(d, MappingProxyType(ends))


def _ends(d: Derivation, name: str, slope: Slope) -> list[End]:
    """What a slope in one output, given in numbers, does at each end of the data's domain."""
    data = d.density.data.bounded(d.fixed)
    if data.shape != "scalar":
        return _of_vectors(d, name, slope)
    sides = [(data.low, 1), (data.high, -1)]
    if data.integer:
        sides = [s for s in sides if not math.isfinite(s[0])] if math.isinf(data.high) else []

    def pull(point: Mapping, x: mp.mpf) -> mp.mpf:
        return abs(slope({**point, d.density.variable: x}, None))

    return [_end(d, pull, side, inward) for side, inward in sides]


def _of_vectors(d: Derivation, name: str, slope: Slope) -> list[End]:
    """One entry of the data goes to an end of its domain, the others stay or share what is left.

    The pull is the length of the gradient in all entries of the output.
    """
    data, output = d.density.data, d.symbols[name]
    if data.shape == "category" or data.total is not None:
        return []
    count = entries_in(d)
    size = d.context.domains[output].width(count)

    def pull(point: Mapping, x: mp.mpf) -> mp.mpf:
        rest = [(1 - x) / (count - 1)] * (count - 1) if data.shape == "simplex" else (0.4, -0.7)
        there = {**point, d.density.variable: (x, *rest), CLASSES: count}
        return mp.sqrt(mp.fsum(slope(there, n) ** 2 for n in range(size)))

    return [_end(d, pull, side, inward) for side, inward in ((data.low, 1), (data.high, -1))]


def _outside(d: Derivation, loss: Formula, end: float) -> bool:
    """Whether the loss is infinite towards an end, as where a support has moved away from it."""
    low = end == d.density.data.low
    near = mp.mpf(10) ** -FAR[0]
    x = end + (near if low else -near) if math.isfinite(end) else mp.sign(end) / near
    here = ({**p, d.density.variable: x} for p in points(d.context)[1:3])
    return any(loss._once(p) == mp.inf for p in here)


def _difference(loss: Formula, point: Mapping, output, n: int | None) -> mp.mpf:
    """The slope of a loss in an output, or in its entry ``n``, without its derived gradient."""

    def at(value: mp.mpf) -> mp.mpf:
        if n is None:
            return loss._once({**point, output: value})
        row = list(point[output])
        row[n] = value
        return loss._once({**point, output: row})

    with mp.workdps(WIDE):
        return mp.diff(at, mp.mpmathify(point[output] if n is None else point[output][n]))


def _end(d: Derivation, pull: Pull, end: float, inward: int) -> End:
    """What the slope does towards ``end`` at two settings of the outputs."""
    found = [_at(pull, end, inward, point) for point in points(d.context)[1:3]]
    kinds = {e.kind for e in found}
    worst = next(k for k in ("unbounded", "not decided", "bounded", "redescending") if k in kinds)
    how = dict.fromkeys(e.how for e in found if e.kind == worst)
    powers = {e.power for e in found}
    return End(end, worst, " or ".join(how), powers.pop() if len(powers) == 1 else None)


def _at(pull: Pull, end: float, inward: int, point: Mapping) -> End:
    values = []
    for power in FAR:
        with mp.workdps(80):
            if math.isfinite(end):
                x = mp.mpf(end) + inward * mp.mpf(10) ** -power
            else:
                x = mp.sign(end) * mp.mpf(10) ** power
        values.append(pull(point, x))
    if any(mp.isnan(v) for v in values):
        return End(end, "not decided", NO_NUMBER)
    if any(mp.isinf(v) for v in values):
        return End(end, "unbounded", "faster than any power")
    if values[-1] == 0:
        return End(end, "redescending", "to exactly 0 or faster than any power")
    rates = [
        float(mp.log(b / a) / mp.log(mp.mpf(10) ** (q - p))) if a != 0 else math.nan
        for a, b, p, q in zip(values, values[1:], FAR, FAR[1:], strict=False)
    ]
    distance = "the distance to the end" if math.isfinite(end) else "|x|"
    return _named(end, rates, values[-1], distance)


def _named(end: float, rates: list[float], last: mp.mpf, distance: str) -> End:
    early, late = rates
    sign = -1 if math.isfinite(end) else 1
    if abs(late) < FLAT:
        return End(end, "bounded", f"approaching {mp.nstr(last, 4)} in absolute value", 0.0)
    if late > STEEP:
        return End(end, "unbounded", "faster than any power")
    if late < -STEEP:
        return End(end, "redescending", "faster than any power")
    if abs(late - early) < 1e-3:
        kind = "unbounded" if late > 0 else "redescending"
        power = float(f"{sign * late:.4g}")
        return End(end, kind, f"like {distance} to the power {power:g}", power)
    if late > 0:
        return End(end, "unbounded", f"like the log of {distance} or a power of it")
    return End(end, "redescending", "slowly")
