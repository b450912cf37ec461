"""The table of densities made of others: mixtures, discretised ones and their kin.

Rows as in `rows`, each with the density that it measures; the catalogue's certificates do not
count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import draws, textbook
from benchmarks.judge import sigmoid
from benchmarks.row import DISCRETE, Row, location, log_of

LEVELS = 256


def discretised(family: str, scale: str, below: Callable) -> Row:
    """A family with location and scale, on levels between -1 and 1."""

    def made():
        import lossderiv as ld

        return ld.discretized(family, levels=LEVELS)

    return Row(
        f"discretised {family}",
        (location(), log_of(scale)),
        textbook.discretised(below, LEVELS),
        draws.binned(LEVELS),
        target=DISCRETE,
        scale=lambda mu, s: s,
        made=made,
    )


COMPOSED: tuple[Row, ...] = (discretised("logistic", "s", sigmoid),)

BY_NAME: Mapping[str, Row] = {row.name: row for row in COMPOSED}
