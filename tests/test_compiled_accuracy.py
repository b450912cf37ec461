"""The compiled tier is held to the default tier's bounds, on the same cases."""

from __future__ import annotations

import pytest
from test_accuracy import EXTREME, MODERATE, OURS, SOFTPLUS, described
from test_accuracy_composed import SOFT_BOUND, counts
from test_compiled import ELEMENTWISE, ROWS

import lossderiv as ld
from benchmarks.composed_rows import COMPOSED
from benchmarks.measure import cases, score
from lossderiv.compiled import EachKernel
from lossderiv.compiled_rows import EachRow


def compiled(row):
    """The row's loss, and a look at whether C computes it."""
    settings = {"reduction": "none", "constants": "keep", **row.settings}
    density = row.made() if row.made else row.catalogue_name
    loss = ld.loss(density, compiled=True, **settings, **row.fixed)
    assert isinstance(loss._program.each, EachKernel | EachRow)
    return lambda eta, x: loss(tuple(eta) if len(eta) > 1 else eta[0], x)


def check(row, moderate: int, extreme: int) -> None:
    batch = cases(row, "float32", moderate, extreme)
    found = score(row, "lossderiv", compiled(row), "float32", batch)
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.harm == 0, described(found)
    assert found.value_max <= row.value_bound, described(found)
    assert found.gradient_max <= row.gradient_bound, described(found)
    assert found.bad_moderate == 0, described(found)
    if row.soft_outputs:
        assert found.soft_max <= SOFT_BOUND, described(found)


def in_c(rows):
    return [row for row in rows if row.catalogue_name in (*ELEMENTWISE, *ROWS)]


@pytest.mark.parametrize("row", in_c(OURS), ids=lambda row: row.name)
def test_compiled_float32_stays_within_the_same_bounds(row):
    check(row, MODERATE, EXTREME)


@pytest.mark.parametrize("row", in_c(SOFTPLUS), ids=lambda row: row.name)
def test_compiled_softplus_stays_within_the_same_bounds(row):
    check(row, 8, 24)


@pytest.mark.parametrize("row", COMPOSED, ids=lambda row: row.name)
def test_compiled_densities_made_of_others_stay_within_the_same_bounds(row):
    check(row, *counts(row))
