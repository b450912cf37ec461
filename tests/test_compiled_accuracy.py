"""The compiled tier is held to the default tier's bounds, on the same cases."""

from __future__ import annotations

import pytest
from test_accuracy import EXTREME, MODERATE, OURS, SOFTPLUS, described
from test_compiled import ELEMENTWISE

import lossderiv as ld
from benchmarks.measure import cases, score
from lossderiv.compiled import EachKernel


def compiled(row):
    """The row's loss, and a look at whether C computes it."""
    settings = {"reduction": "none", "constants": "keep", **row.settings}
    loss = ld.loss(row.catalogue_name, compiled=True, **settings, **row.fixed)
    assert isinstance(loss._program.each, EachKernel)
    return lambda eta, x: loss(tuple(eta) if len(eta) > 1 else eta[0], x)


def check(row, moderate: int, extreme: int) -> None:
    batch = cases(row, "float32", moderate, extreme)
    found = score(row, "lossderiv", compiled(row), "float32", batch)
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.harm == 0, described(found)
    assert found.value_max <= row.value_bound, described(found)
    assert found.gradient_max <= row.gradient_bound, described(found)
    assert found.bad_moderate == 0, described(found)


def elementwise(rows):
    return [row for row in rows if row.catalogue_name in ELEMENTWISE]


@pytest.mark.parametrize("row", elementwise(OURS), ids=lambda row: row.name)
def test_compiled_float32_stays_within_the_same_bounds(row):
    check(row, MODERATE, EXTREME)


@pytest.mark.parametrize("row", elementwise(SOFTPLUS), ids=lambda row: row.name)
def test_compiled_softplus_stays_within_the_same_bounds(row):
    check(row, 8, 24)
