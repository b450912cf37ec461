"""Statements about second derivatives, once more: by differences and chords of the loss itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import mpmath as mp
import sympy as sp

from lossderiv.errors import DerivationError
from lossderiv.symbolic.probe import Formula

DIGITS = 40
AGREE = mp.mpf(10) ** -15
CHORDS = 40
SETTINGS = 2


@dataclass(frozen=True)
class Again:
    """A loss as numbers, in the letters ``by``, to be compared with what was said of it."""

    name: str
    loss: Formula
    by: Sequence[sp.Symbol]

    def at(self, point: Mapping, place: Sequence) -> mp.mpf:
        """The loss at ``place``, everything else being at ``point``."""
        return self.loss._once({**point, **dict(zip(self.by, place, strict=True))})

    def differences(self, point: Mapping) -> mp.matrix:
        """The Hessian at a point, by differences."""
        size = range(len(self.by))
        with mp.workdps(DIGITS):
            here = [mp.mpmathify(point[s]) for s in self.by]
            rows = mp.matrix(len(self.by), len(self.by))
            for i in size:
                for j in size[i:]:
                    orders = tuple(int(k == i) + int(k == j) for k in size)
                    value = mp.diff(lambda *v: self.at(point, v), tuple(here), orders)
                    rows[i, j] = rows[j, i] = value
            return rows

    def compare(self, entries: Sequence[Sequence[Formula]], settings: Sequence[Mapping]) -> None:
        """The matrix that was said against differences; raises ``DerivationError``.

        At the first settings at which its formulas are numbers: a level of cutpoints has none at
        its ends, where one neighbour is infinitely far.
        """
        done = 0
        for point in settings:
            said = [[e.at(point) for e in row] for row in entries]
            if any(mp.isnan(value) for row in said for value in row):
                continue
            self._compare(said, point)
            done += 1
            if done == SETTINGS:
                return
        raise DerivationError(
            f"The second derivatives of {self.name} are numbers at {done} settings, and "
            f"{SETTINGS} are needed to check them. Correct the formula that made them."
        )

    def _compare(self, said: Sequence[Sequence[mp.mpf]], point: Mapping) -> None:
        found = self.differences(point)
        for i, row in enumerate(said):
            for j, value in enumerate(row):
                if not abs(value - found[i, j]) <= AGREE * max(1, abs(found[i, j])):
                    raise DerivationError(
                        f"The second derivative of {self.name} in {self.by[i]}, {self.by[j]} was "
                        f"found to be {mp.nstr(value, 8)} at {_read(point)}, where differences "
                        f"of the loss give {mp.nstr(found[i, j], 8)}. Correct the formula that "
                        "made it."
                    )

    def convexity(self, said, settings: Sequence[Mapping]) -> tuple[str, ...]:
        """Chords for a yes, the counter-example for a no; raises ``DerivationError``."""
        if said.answer == "not decided":
            return ()
        if said:
            return self._chords(settings)
        if said.eigenvalue is None:
            value = self.at(said.point, [said.point[s] for s in self.by])
            if value != mp.inf:
                raise self._false(said, f"the loss there is {mp.nstr(value, 8)}")
            return ("the loss is infinite at the counter-example",)
        here = ({**rest, **said.point} for rest in settings)
        point = next(p for p in here if mp.isfinite(self.at(p, [p[s] for s in self.by])))
        lowest = min(mp.eigsy(self.differences(point), eigvals_only=True))
        if not abs(lowest - said.eigenvalue) <= 1e-9 * abs(said.eigenvalue) or lowest >= 0:
            raise self._false(said, f"differences of the loss give {mp.nstr(lowest, 8)}")
        return ("the eigenvalue at the counter-example is that of differences",)

    def _chords(self, settings: Sequence[Mapping]) -> tuple[str, ...]:
        pairs = list(combinations(settings, 2))[:CHORDS]
        for a, b in pairs:
            with mp.workdps(DIGITS):
                ends = [[mp.mpmathify(p[s]) for s in self.by] for p in (a, b)]
                middle = [(u + v) / 2 for u, v in zip(*ends, strict=True)]
                chord = mp.fsum(self.at(a, e) for e in ends) / 2
                below = self.at(a, middle)
                if not below <= chord + AGREE * max(1, abs(chord)):
                    raise DerivationError(
                        f"{self.name} was said to be convex, but halfway between {_read(a)} and "
                        f"{_read(b)} (with the data of the first) the loss is "
                        f"{mp.nstr(below, 8)}, above the chord's {mp.nstr(chord, 8)}. Correct the "
                        "proof."
                    )
        return (f"below {len(pairs)} chords",)

    def _false(self, said, found: str) -> DerivationError:
        return DerivationError(
            f"The counter-example for {self.name} ({said.why}) is none: {found}. Correct it."
        )


def _read(point: Mapping) -> str:
    return ", ".join(f"{s} = {v}" for s, v in point.items())
