"""The speed table is printed and written for every peer; how fast anything is, no test says."""

from __future__ import annotations

import json

import pytest
import torch

import lossderiv as ld
from benchmarks import costs, derive, speed
from benchmarks.rows import rows_of

FIRST_PEERS = {
    "F.mse_loss",
    "F.l1_loss",
    "F.binary_cross_entropy_with_logits",
    "F.gaussian_nll_loss",
    "F.cross_entropy",
}


def test_the_peers_are_the_builtins_and_every_twin():
    names = [pair.name for pair in speed.PAIRS]
    assert len(names) == len(set(names))
    assert set(names) >= FIRST_PEERS
    assert {pair.family for pair in speed.TWINS} >= {f for f in ld.families() if has_twin(f)}


def has_twin(family: str) -> bool:
    return any(row.twin for row in rows_of(family))


def test_a_smoke_run_prints_and_writes_every_cost(tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert speed.main(["--smoke", "--only", "F.", "--json", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    builtins = [pair.name for pair in speed.BUILTINS]
    for what in speed.WHAT:
        rows = [r for r in record["ratios"] if r["what"] == what]
        assert [r["peer"] for r in rows if r["tier"] == "default"] == builtins
        assert {r["peer"] for r in rows if r["tier"] == "compiled"} == set(builtins)
    flat = [pair.name for pair in speed.BUILTINS if not pair.is_vector]
    assert [r["peer"] for r in record["one pass"]] == flat
    ratios = record["ratios"] + record["one pass"] + record["kernel over bandwidth"]
    assert all(0 < r["minimum"] <= r["median"] <= r["maximum"] for r in ratios)
    costs = [c for table in record.values() if isinstance(table, list) for c in table]
    costs = [c for c in costs if "theirs" in c]
    assert all(c["default"] > 0 and c["compiled"] > 0 and c["theirs"] > 0 for c in costs)
    (begun,) = record["first use, s"]
    assert 0 < begun["from_cache"] < begun["compiling"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in builtins)


def test_the_compiled_tier_allocates_the_gradients():
    (pair,) = (p for p in speed.BUILTINS if p.name == "F.mse_loss")
    held = costs.memory(pair, (64, 784))
    assert 1 <= held.compiled < 1.001  # the gradient and two numbers


def test_a_size_counts_pixels_and_leaves_out_what_is_too_large():
    sizes = {pair.name: speed.sizes_of(pair, speed.SIZES) for pair in speed.PAIRS}
    assert sizes["F.mse_loss"] == sizes["F.cross_entropy"] == list(speed.SIZES)
    assert sizes["F.cross_entropy, 256"] == list(speed.SIZES[:2])
    (pair,) = (p for p in speed.BUILTINS if p.classes == 16)
    (scores,), target = speed.inputs(pair, (8, 5))
    assert scores.shape == (40, 16)
    assert target.shape == (40,)


def test_one_pass_writes_every_gradient_and_no_loss():
    x, *outputs = (torch.randn(5, requires_grad=k > 0) for k in range(3))
    value = speed.one_pass(*outputs, x)
    value.backward()
    assert value == 0
    assert all(torch.equal(o.grad, (x - o).detach()) for o in outputs)


def test_peak_memory_counts_what_is_held_at_a_time():
    def step():
        a = torch.empty(1000)
        a = torch.empty(1000)  # the first is freed only now
        del a
        return torch.empty(500)

    assert costs.peak_memory(step) == pytest.approx(8000, abs=200)


def test_everyday_inputs_lie_in_the_support():
    """A loss that checks its target takes every row's."""
    for pair in speed.TWINS:
        if pair.family in ld.families():
            raw, target = speed.inputs(pair, (8, 8))
            assert torch.isfinite(speed.our_loss(pair)(*raw, target)), pair.name


def test_both_sides_of_a_pair_mean_the_same_loss():
    """Ours with constants dropped and the peer have one gradient up to a constant factor."""
    for pair in speed.BUILTINS + speed.COMPOSED:  # twins are compared in test_against_torch.py
        raw, target = speed.inputs(pair, (32, 32))
        raw = [eta.detach().double().requires_grad_(True) for eta in raw]
        target = target.double() if target.is_floating_point() else target
        loss = pair.loss()
        ours = loss(tuple(raw) if len(raw) > 1 else raw[0], target)
        peer = pair.peer(*raw, target)
        slopes = [torch.autograd.grad(value, raw) for value in (ours, peer)]
        factor = sum(float((a * b).sum()) for a, b in zip(*slopes, strict=True)) / sum(
            float((a * a).sum()) for a in slopes[0]
        )
        assert factor > 0
        for mine, theirs in zip(*slopes, strict=True):
            gap = (theirs - factor * mine).abs().max()
            assert float(gap) < pair.same * float(theirs.abs().max()), pair.name


def test_the_time_of_every_derivation_is_printed(capsys):
    assert derive.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(ld.families())
