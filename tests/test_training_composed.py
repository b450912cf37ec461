"""A small decoder trained with each density made of others: nothing goes infinite on the way.

Five seeds at once, as five networks side by side in one batched product.
"""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

import lossderiv as ld
from lossderiv.combinators.discretized import FAMILIES

SEEDS, STEPS, RATE, HIDDEN, BATCH, COUNT = 5, 500, 1e-2, 16, 16, 10
LEVELS = 17


def levels_of(family: str):
    return ld.discretized(family, levels=LEVELS)


def as_levels(x, g):
    return x


def as_shares(x, g):
    """From 0 to 1, both ends included."""
    return x / 16


def between(x, g):
    """Inside (0, 1): a level is drawn in the middle half of its bin, so never on an end."""
    return (x + 0.25 + 0.5 * torch.rand(x.shape, generator=g)) / LEVELS


def about_zero(x, g):
    return 2 * between(x, g) - 1


LOSSES = {
    **{f"levels of {f}": (lambda f=f: levels_of(f), as_levels) for f in FAMILIES},
    "mixture of levels": (lambda: ld.mixture(levels_of("logistic"), COUNT), as_levels),
    "mixture of normals": (lambda: ld.mixture("normal", COUNT), as_shares),
    "mixture of logistics": (lambda: ld.mixture("logistic", COUNT), as_shares),
    "zero-inflated Poisson": (lambda: ld.zero_inflated("poisson"), as_levels),
    "zero-inflated negative binomial": (
        lambda: ld.zero_inflated("negative_binomial"),
        as_levels,
    ),
    "hurdle Poisson": (lambda: ld.hurdle("poisson"), as_levels),
    "censored normal": (lambda: ld.censored("normal", 0, 1), as_shares),
    # A datum on a bound makes this likelihood unbounded: its loss has no least value to train to.
    "truncated normal": (lambda: ld.truncated("normal", 0, 1), between),
    "tanh-normal": (lambda: ld.transformed("normal", "tanh"), about_zero),
}


@pytest.mark.parametrize("name", LOSSES)
def test_500_steps_at_a_high_rate_stay_finite_and_learn(name):
    make, seen = LOSSES[name]
    loss = ld.loss(make(), reduction="none")
    pixels = torch.tensor(load_digits().data, dtype=torch.float32)  # levels from 0 to 16
    each = COUNT if "mixture" in name else 1
    wide = 64 * each * len(loss.outputs)
    g = torch.Generator().manual_seed(0)
    encoder = torch.randn(SEEDS, 64, HIDDEN, generator=g) / 8
    decoder = torch.randn(SEEDS, HIDDEN, wide, generator=g) / HIDDEN**0.5
    bias = 0.5 * torch.randn(SEEDS, 1, wide, generator=g)
    leaves = [p.requires_grad_() for p in (encoder, decoder, bias)]
    optimiser = torch.optim.Adam(leaves, lr=RATE)
    history = []
    for _ in range(STEPS):
        x = pixels[torch.randint(len(pixels), (SEEDS, BATCH), generator=g)]
        raw = torch.relu((x / 8 - 1) @ encoder) @ decoder + bias
        parts = raw.unflatten(-1, (len(loss.outputs), 64, -1)).unbind(-3)
        outputs = tuple(p if each > 1 else p[..., 0] for p in parts)
        value = loss(outputs, seen(x, g)).mean((1, 2))
        optimiser.zero_grad()
        value.sum().backward()
        assert value.isfinite().all()
        assert all(p.grad.isfinite().all() for p in leaves)
        optimiser.step()
        history.append(value.detach())
    first, last = torch.stack(history[:10]).mean(0), torch.stack(history[-10:]).mean(0)
    assert (last < first - 0.3).all()
