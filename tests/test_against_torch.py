"""Value and gradient against torch's own losses, in float64 on moderate inputs."""

from __future__ import annotations

import pytest
import torch

import lossderiv as ld
from benchmarks.measure import cases, ours, peer, target_tensor, twin
from benchmarks.rows import ROWS

MINE = [row for row in ROWS if row.catalogue_name in ld.families()]
WITH_TWIN = [row for row in MINE if row.twin and "float64" in row.twin_dtypes]
WITH_PEER = [row for row in MINE if row.peer]
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}
ROUGH = {"von_mises": {"rtol": 5e-6, "atol": 5e-6}}  # torch's Bessel function is a float32 fit


def batch(row, count: int = 24):
    """Raw outputs and targets, moderate, in float64."""
    drawn = cases(row, "float64", count, 0)
    raw = torch.tensor([case.eta for case in drawn], dtype=torch.float64)
    return raw, target_tensor(row, [case.x for case in drawn], torch.float64)


def value_and_gradient(row, evaluate, raw, x):
    raw = raw.clone().requires_grad_(True)
    value = evaluate(row.groups(raw), x)
    (gradient,) = torch.autograd.grad(value.sum(), raw)
    return value.detach(), gradient


@pytest.mark.parametrize("row", WITH_TWIN, ids=lambda row: row.name)
def test_constants_kept_is_minus_log_prob(row):
    raw, x = batch(row)
    expected = value_and_gradient(row, twin(row), raw, x)
    found = value_and_gradient(row, ours(row), raw, x)
    near = ROUGH.get(row.name, TOLERANCE)
    torch.testing.assert_close(found[0], expected[0], **near)
    torch.testing.assert_close(found[1], expected[1], **near)


@pytest.mark.parametrize("row", WITH_PEER, ids=lambda row: row.name)
def test_constants_dropped_is_torchs_loss(row):
    raw, x = batch(row)
    expected = value_and_gradient(row, peer(row), raw, x)
    found = value_and_gradient(row, ours(row, constants="drop"), raw, x)
    torch.testing.assert_close(found[0], expected[0], **TOLERANCE)
    torch.testing.assert_close(found[1], expected[1], **TOLERANCE)


@pytest.mark.parametrize("row", MINE, ids=lambda row: row.name)
def test_dropped_constants_are_constant(row):
    """Kept and dropped differ by a positive factor and by a term that no output moves."""
    drawn = cases(row, "float64", 24, 0)
    moved = [tuple(v + 0.01 for v in case.eta) for case in drawn]
    here = [row.possible(eta, case.x) for eta, case in zip(moved, drawn, strict=True)]
    raw, x = batch(row)
    raw, x = raw[here], x[here]
    assert len(raw) >= 12
    keep, drop = ours(row), ours(row, constants="drop")
    kept, kept_slope = value_and_gradient(row, keep, raw, x)
    left, left_slope = value_and_gradient(row, drop, raw, x)
    factor = float((kept_slope * left_slope).sum() / (left_slope**2).sum())
    assert factor > 0
    torch.testing.assert_close(kept_slope, factor * left_slope, **TOLERANCE)
    dropped = kept - factor * left
    kept, _ = value_and_gradient(row, keep, raw + 0.01, x)
    left, _ = value_and_gradient(row, drop, raw + 0.01, x)
    rounding = 8 * torch.finfo(left.dtype).eps * float((factor * left).abs().max())
    torch.testing.assert_close(
        kept - factor * left, dropped, rtol=TOLERANCE["rtol"], atol=TOLERANCE["atol"] + rounding
    )


@pytest.mark.parametrize("row", MINE, ids=lambda row: row.name)
@pytest.mark.parametrize("constants", ["keep", "drop"])
def test_reductions_are_those_of_torch(row, constants):
    """sum and mean of the elementwise loss, in value and gradient."""
    raw, x = batch(row, 8)
    each, slope = value_and_gradient(row, ours(row, constants=constants), raw, x)
    for reduction, share in (("sum", 1), ("mean", len(raw))):
        whole = ours(row, constants=constants, reduction=reduction)
        value, gradient = value_and_gradient(row, whole, raw, x)
        torch.testing.assert_close(value, each.sum() / share, **TOLERANCE)
        torch.testing.assert_close(gradient, slope / share, **TOLERANCE)
