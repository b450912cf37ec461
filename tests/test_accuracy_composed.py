"""Hard bounds in round-off units on densities made of others: mixtures, bins and their kin.

The measure is that of `benchmarks/accuracy.py`. Its truth is slow where a case has thirty numbers,
so those rows take fewer cases.
"""

from __future__ import annotations

import pytest

from benchmarks.composed_rows import COMPOSED
from benchmarks.measure import cases, ours, score

SOFT_BOUND = 4.0
by_name = pytest.mark.parametrize("row", COMPOSED, ids=lambda row: row.name)


def described(found) -> str:
    return "\n".join(
        f"{w.quantity} at eta={w.eta} x={w.x}: {w.got!r} for {w.truth!r}, {w.nat:.3g} nat"
        for w in found.worst
    )


def counts(row) -> tuple[int, int]:
    """How many everyday and extreme cases."""
    return (12, 48) if row.count_outputs < 5 else (6, 24) if row.count_outputs < 15 else (1, 2)


def measured(row, dtype: str):
    return score(row, "lossderiv", ours(row), dtype, cases(row, dtype, *counts(row)))


@by_name
def test_float32_stays_within_its_bounds(row):
    found = measured(row, "float32")
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.harm == found.bad_moderate == 0, described(found)
    assert found.value_max <= row.value_bound, described(found)
    assert found.gradient_max <= row.gradient_bound, described(found)
    if row.soft_outputs:
        assert found.soft_max <= SOFT_BOUND, described(found)


@by_name
def test_float64_is_finite_and_good_on_everyday_inputs(row):
    found = measured(row, "float64")
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.moderate_max <= 1e3, described(found)
