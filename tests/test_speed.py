"""The speed table is printed and written for every peer; how fast anything is, no test says."""

from __future__ import annotations

import json

import lossderiv as ld
from benchmarks import speed

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
    expected = [pair.name for pair in speed.PAIRS if pair.family in ld.families()]
    assert [r["peer"] for r in ratios] == expected
    assert set(expected) >= FIRST_PEERS
    assert all(0 < r["minimum"] <= r["median"] <= r["maximum"] for r in ratios)
    printed = capsys.readouterr().out
    assert all(name in printed for name in expected)


def test_both_sides_of_a_pair_mean_the_same_loss():
    """Ours with constants dropped and the peer have one gradient up to a constant factor."""
    for pair in speed.PAIRS:
        if pair.family not in ld.families():
            continue
        raw, target = speed.inputs(pair, (32, 32))
        loss = ld.loss(pair.family, **pair.fixed)
        slopes = []
        for value in (
            loss(tuple(raw) if len(raw) > 1 else raw[0], target),
            pair.peer(*raw, target),
        ):
            for eta in raw:
                eta.grad = None
            value.backward()
            slopes.append([eta.grad.clone() for eta in raw])
        factor = sum(float((a * b).sum()) for a, b in zip(*slopes, strict=True)) / sum(
            float((a * a).sum()) for a in slopes[0]
        )
        assert factor > 0
        for ours, peer in zip(*slopes, strict=True):
            assert float((peer - factor * ours).abs().max()) < 1e-5 * float(peer.abs().max())
