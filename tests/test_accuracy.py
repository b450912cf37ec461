"""Hard bounds in round-off units on every loss: a reduced run of the certificate.

The measure and its cases are those of `benchmarks/accuracy.py`, the bounds those of the rows.
"""

from __future__ import annotations

import json

import pytest

import lossderiv as ld
from benchmarks import accuracy
from benchmarks.measure import cases, ours, score
from benchmarks.row import LOG, with_softplus
from benchmarks.rows import BY_NAME, FIRST_FIVE, ROWS, rows_of

MODERATE, EXTREME = 16, 48
OURS = [row for row in ROWS if row.catalogue_name in ld.families()]
by_name = {"argvalues": OURS, "ids": [row.name for row in OURS]}


def described(found) -> str:
    """The worst points, for the message of a failed bound."""
    return "\n".join(
        f"{w.quantity} at eta={w.eta} x={w.x}: {w.got!r} for {w.truth!r}, {w.nat:.3g} nat"
        for w in found.worst
    )


def measured(row, dtype: str, moderate: int = MODERATE, extreme: int = EXTREME):
    return score(row, "lossderiv", ours(row), dtype, cases(row, dtype, moderate, extreme))


@pytest.mark.parametrize("family", ld.families())
def test_every_family_has_a_row(family):
    assert rows_of(family), f"add {family} to benchmarks/rows.py"


@pytest.mark.parametrize("family", FIRST_FIVE)
def test_the_first_five_are_in_the_catalogue_and_held_to_8(family):
    assert family in ld.families()
    assert {(row.value_bound, row.gradient_bound) for row in rows_of(family)} == {(8.0, 8.0)}


@pytest.mark.parametrize("row", **by_name)
def test_float32_stays_within_its_bounds(row):
    found = measured(row, "float32")
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.harm == 0, described(found)
    assert found.value_max <= row.value_bound, described(found)
    assert found.gradient_max <= row.gradient_bound, described(found)
    assert found.bad_moderate == 0, described(found)


SOFTPLUS = [with_softplus(row) for row in OURS if any(o.kind == LOG for o in row.outputs)]


@pytest.mark.parametrize("row", SOFTPLUS, ids=lambda row: row.name)
def test_softplus_in_place_of_exp_stays_within_the_same_bounds(row):
    found = measured(row, "float32", 8, 24)
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.harm == 0, described(found)
    assert found.value_max <= row.value_bound, described(found)
    assert found.gradient_max <= row.gradient_bound, described(found)
    assert found.bad_moderate == 0, described(found)


@pytest.mark.parametrize("row", **by_name)
def test_float64_is_finite_and_good_on_everyday_inputs(row):
    """torch's own lgamma and digamma are good to about 1e3 float64 units, hence the bound."""
    found = measured(row, "float64", 10, 20)
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert found.moderate_max <= 1e3, described(found)


@pytest.mark.parametrize("row", **by_name)
def test_bfloat16_is_float32_inside(row):
    found = measured(row, "bfloat16", 8, 16)
    assert found.nonfinite_value == found.nonfinite_gradient == 0, described(found)
    assert max(found.value_max, found.gradient_max) <= 2.0, described(found)


def test_continuous_bernoulli_near_its_limit():
    """|logit| from 1e-8 to 1e-2 is where torch.distributions goes wrong: enough cases lie there."""
    row = BY_NAME["continuous_bernoulli"]
    batch = [case for case in cases(row, "float32", 0, 160) if 0 < abs(case.eta[0]) <= 1e-2]
    assert len(batch) >= 20
    found = score(row, "lossderiv", ours(row), "float32", batch)
    assert max(found.value_max, found.gradient_max) <= 8.0, described(found)


def test_the_runner_prints_and_writes_what_it_measured(tmp_path, capsys):
    path = tmp_path / "accuracy.json"
    assert accuracy.main(["--smoke", "--family", "normal", "--json", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert {s["row"] for s in record["scores"]} == {r.name for r in rows_of("normal")}
    assert {s["who"] for s in record["scores"]} == {"lossderiv", "nn.functional", "distributions"}
    assert "non-finite value" in capsys.readouterr().out


def test_the_runner_refuses_an_unknown_family(capsys):
    assert accuracy.main(["--family", "nromal"]) == 2
    assert "nromal" in capsys.readouterr().err
