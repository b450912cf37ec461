"""Densities made of densities: they go the same road, and their construction shows."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from drawing import inputs

import lossderiv as ld
from lossderiv.errors import DensityError, DerivationError, ParameterError
from lossderiv.symbolic.records import Construction, Density, Move

MADE = {
    "zero_inflated poisson": (lambda: ld.zero_inflated("poisson"), {}),
    "zero_inflated negative binomial": (lambda: ld.zero_inflated("negative_binomial"), {}),
    "zero_inflated binomial": (lambda: ld.zero_inflated("binomial"), {"n": 4}),
    "hurdle poisson": (lambda: ld.hurdle("poisson"), {}),
    "hurdle negative binomial": (lambda: ld.hurdle("negative_binomial"), {}),
    "hurdle geometric": (lambda: ld.hurdle("geometric"), {}),
    "discretized logistic": (lambda: ld.discretized("logistic", levels=16), {}),
    "discretized logistic from 0": (
        lambda: ld.discretized("logistic", levels=5, low=0.0, high=2.0),
        {},
    ),
}
CACHE: dict[str, ld.Derivation] = {}


def derived(name: str) -> ld.Derivation:
    if name not in CACHE:
        make, given = MADE[name]
        CACHE[name] = ld.derive(make(), **given)
    return CACHE[name]


@pytest.mark.parametrize("name", MADE)
def test_every_step_holds_and_the_construction_comes_first(name):
    d = derived(name)
    d.check()
    made = d.density.made
    assert isinstance(made, Construction)
    assert d.steps[0].before == made.moves[0].before == d.density.opening
    assert made.moves[-1].after == d.density.expr
    assert [s.rule for s in d.steps[: len(made.moves)]] == [m.rule for m in made.moves]


@pytest.mark.parametrize("name", MADE)
def test_the_loss_runs_in_every_tier(name):
    """In place, as source, under torch.func and after pickling: one number, one gradient."""
    d = derived(name)
    outputs, x = inputs(d)
    loss = pickle.loads(pickle.dumps(ld.loss(d, reduction="sum")))
    leaves = [o.clone().requires_grad_() for o in outputs]
    value = loss(tuple(leaves), x)
    value.backward()
    space: dict[str, object] = {}
    exec(ld.source(d), space)
    plain = space["gradient"](*outputs, x)
    plain = plain if isinstance(plain, tuple) else (plain,)
    assert torch.allclose(space["loss"](*outputs, x).sum(), value)
    transformed = torch.func.grad(lambda *o: loss(o, x), argnums=tuple(range(len(outputs))))
    for leaf, written, slope in zip(leaves, plain, transformed(*outputs), strict=True):
        assert torch.allclose(leaf.grad, written)
        assert torch.allclose(leaf.grad, slope)


@pytest.mark.parametrize("name", [n for n in MADE if MADE[n][0]().data.integer])
def test_probabilities_add_up_to_one(name):
    d = derived(name)
    loss = ld.loss(d, constants="keep", reduction="none")
    high = d.density.data.high
    top = int(MADE[name][1]["n"]) if MADE[name][1] else int(min(high, 400))
    x = torch.arange(top + 1, dtype=torch.float64)
    outputs = tuple(torch.full_like(x, 0.3 - 0.4 * k) for k in range(len(loss.outputs)))
    assert torch.exp(-loss(outputs, x)).sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", MADE)
def test_mean_mode_and_sample_belong_to_the_density(name):
    d = derived(name)
    loss = ld.loss(d, constants="keep", reduction="none")
    n = 40_000
    outputs = tuple(
        torch.full((n,), 0.2 - 0.5 * k, dtype=torch.float64) for k in range(len(loss.outputs))
    )
    drawn = loss.sample(outputs, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (n,)
    mean = loss.mean(outputs)[0].item()
    assert abs(drawn.mean().item() - mean) < 5 * drawn.std().item() / math.sqrt(n)
    mode = loss.mode(outputs)
    if d.density.data.integer:
        near = loss(outputs, mode)[0].item()
        for other in range(3):
            assert near <= loss(outputs, torch.full_like(mode, other))[0].item() + 1e-12


@pytest.mark.parametrize("make", [ld.zero_inflated, ld.hurdle])
def test_only_counts_can_have_extra_zeros(make):
    for family in ("normal", "beta"):
        with pytest.raises(DensityError, match=rf"counts.*{family}"):
            make(family)
    with pytest.raises(DensityError, match="vectors or classes"):
        make("categorical")


def test_a_name_that_is_taken_is_refused():
    @ld.density
    def doubled(x: ld.Count, gate: ld.Unit):
        """A geometric count whose parameter is called gate."""
        return gate * (1 - gate) ** x

    with pytest.raises(ParameterError, match=r"'gate'.*doubled"):
        ld.zero_inflated(doubled)


def test_a_false_move_is_found():
    """The steps of a construction are checked like any other."""
    good = ld.zero_inflated("poisson")
    (move,) = good.made.moves
    false = Move(2 * move.before, move.after, move.rule, move.reason)
    made = Construction("zero_inflated", good.made.parts, {}, (false,))
    bad = Density(**{**{n: getattr(good, n) for n in good.__dataclass_fields__}, "made": made})
    with pytest.raises(DerivationError, match="zeros apart"):
        ld.derive(bad).check()


def test_rare_positive_counts_are_drawn_without_waiting():
    loss = ld.loss(ld.hurdle("poisson"))
    outputs = (torch.full((1000,), -30.0), torch.full((1000,), -25.0))
    drawn = loss.sample(outputs, generator=torch.Generator().manual_seed(1))
    assert (drawn == 1).all()
    assert torch.allclose(loss.mean(outputs), torch.ones(1000))
