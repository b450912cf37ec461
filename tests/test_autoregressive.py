"""The masked network: what it may see, what it learns, what it draws, what it refuses."""

import math

import pytest
import torch

import lossderiv as ld
from lossderiv import autoencoder as ae
from lossderiv.autoencoder import autoregressive
from lossderiv.errors import LossDerivError

SHAPE = (1, 4, 5)
PIXELS = 20


@pytest.fixture
def network():
    return autoregressive.build(SHAPE, heads=2, width=6, blocks=2, seed=0).eval()


@pytest.fixture
def stripes():
    """Images whose rows repeat the first one: black or white by the toss of a coin."""
    coins = torch.randint(0, 2, (600, 1, 1, 5), generator=torch.Generator().manual_seed(0))
    images, labels = coins.float().expand(-1, *SHAPE), torch.arange(600) % 2
    pieces = [images[:400], images[400:500], images[500:]]
    return ae.Data("stripes", *pieces, labels[:400], labels[400:500], labels[500:], levels=2)


def test_a_pixel_sees_all_that_comes_before_it_and_nothing_else(network):
    image = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    outputs = network(image).sum(1).flatten()
    sees = torch.stack([torch.autograd.grad(o, image, retain_graph=True)[0].flatten() != 0
                        for o in outputs])  # fmt: skip
    assert torch.equal(sees, torch.arange(PIXELS) < torch.arange(PIXELS)[:, None])


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_state():
    before = torch.random.get_rng_state()
    first, again, other = (autoregressive.build(SHAPE, heads=2, seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.first.weight, again.first.weight)
    assert not torch.equal(first.first.weight, other.first.weight)


def test_it_learns_what_pixels_tell_each_other_and_draws_it(stripes):
    """Five coins for an image of twenty pixels: a quarter of a bit for each pixel."""
    coin = ld.loss("bernoulli", validate=False)
    model = autoregressive.build(SHAPE, heads=1, width=16, blocks=2, dropout=0.0)
    ae.train(model, stripes, coin, epochs=12, batch=40, lr=0.02, label=None)
    bits = ae.evaluate(model, stripes.test, coin) / math.log(2)
    assert 0.24 < bits < 0.3  # one for each pixel, if they were independent

    images = autoregressive.draw(model, coin, stripes.test, stripes.levels, seed=0)
    assert images.shape == stripes.test.shape
    assert set(images.unique().tolist()) == {0, 1}
    assert (images == images[:, :, :1]).float().mean() > 0.95
    assert 0.35 < images[:, :, 0].mean() < 0.65
    assert torch.equal(images, autoregressive.draw(model, coin, stripes.test, 2, seed=0))
    assert not torch.equal(images, autoregressive.draw(model, coin, stripes.test, 2, seed=1))


def test_colours_are_refused():
    with pytest.raises(LossDerivError, match=r"3 channels.*grey"):
        autoregressive.build((3, 8, 8), heads=2)
