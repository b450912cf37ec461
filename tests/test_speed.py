"""The speed table is printed and written for every peer; how fast anything is, no test says."""

from __future__ import annotations

import json

import torch

import lossderiv as ld
from benchmarks import compiled, derive, speed

FIRST_PEERS = {
    "F.mse_loss",
    "F.l1_loss",
    "F.binary_cross_entropy_with_logits",
    "F.gaussian_nll_loss",
    "F.cross_entropy",
}


def test_a_smoke_run_times_every_peer_of_the_catalogue(tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert speed.main(["--smoke", "--json", str(path)]) == 0
    ratios = json.loads(path.read_text(encoding="utf-8"))["ratios"]
    expected = [pair.name for pair in speed.PAIRS if pair.made or pair.family in ld.families()]
    assert [r["peer"] for r in ratios] == expected
    assert set(expected) >= FIRST_PEERS
    assert all(0 < r["minimum"] <= r["median"] <= r["maximum"] for r in ratios)
    printed = capsys.readouterr().out
    assert all(name in printed for name in expected)


def test_both_sides_of_a_pair_mean_the_same_loss():
    """Ours with constants dropped and the peer have one gradient up to a constant factor."""
    for pair in speed.PAIRS:
        if pair.made is None and pair.family not in ld.families():
            continue
        # float64, because torch's ContinuousBernoulli is off by 1e-3 in float32
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


def test_the_compiled_tier_s_tables_are_printed_and_written(tmp_path, capsys):
    path = tmp_path / "compiled.json"
    assert compiled.main(["--smoke", "--only", "F.mse_loss", "--json", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert [r["tier"] for r in record["ratios"]] == list(compiled.TIERS)
    assert all(0 < r["minimum"] <= r["median"] <= r["maximum"] for r in record["ratios"])
    (held,) = record["memory"]
    assert held["gradients"] == 1 <= held["compiled"] < 1.001  # the gradient and two numbers
    (begun,) = record["start"]
    assert 0 < begun["from_cache"] < begun["compiling"]
    assert "from the cache" in capsys.readouterr().out
