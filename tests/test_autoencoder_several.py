"""Several seeds side by side: each is what it would be alone, and the bound is a bound."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import lossderiv as ld
from lossderiv import autoencoder as ae
from lossderiv.autoencoder import several

SHAPE = (1, 8, 8)
BINS = ld.discretized("normal", 17, low=0, high=16)


@pytest.fixture(scope="module")
def data():
    all_of_them = ae.load("digits", on=torch.device("cpu"))
    return dataclasses.replace(all_of_them, train=all_of_them.train[:256])


def coins():
    return several.Levels(ld.derive("binomial", n=16), 1, lambda raw, shared: raw[0])


def bells(seeds):
    start = torch.ones(seeds, 1, 1)
    return several.Levels(
        ld.derive(BINS), 1, lambda raw, s: (8 + 8 * raw[0], s.expand_as(raw[0])), shared=start
    )


def silent(vaes):
    """Encoders that say N(0, I) about every image."""
    for weight in vaes.encoder.parameters():
        weight.data.zero_()
    return vaes.requires_grad_(False)


def test_they_start_from_the_weights_of_build(data):
    vaes = several.Vaes(SHAPE, latent=4, heads=2, seeds=(3, 7))
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    images = data.test[:5]
    for row, seed in enumerate((3, 7)):
        decoder = ae.build("mlp", SHAPE, 4, heads=2, seed=seed).decoder
        outputs = torch.stack([out[row] for out in vaes.decode(z.expand(2, -1, -1))], 1)
        assert torch.allclose(outputs, decoder(z).flatten(2), atol=1e-6)
        encoder = ae.build("mlp", SHAPE, 8, seed=seed).encoder
        codes = torch.cat([part[row] for part in vaes.encode(images)], 1)
        assert torch.allclose(codes, encoder(2 * images - 1), atol=1e-6)


def test_a_seed_beside_others_is_what_it_is_alone(data):
    runs = {}
    for seeds in ((0, 1), (1,)):
        vaes, likelihood = several.Vaes(SHAPE, 4, 1, seeds), bells(len(seeds))
        several.train(vaes, data, likelihood, epochs=3)
        bits = several.bits_per_dim(vaes, likelihood, data, data.test[:50], draws=4)
        runs[seeds] = bits[-1].item(), likelihood.shared[-1].item()
    assert runs[0, 1] == pytest.approx(runs[1,], rel=1e-4)
    assert runs[1,][1] != 1.0


def test_training_lowers_the_bits_with_noise_and_without(data):
    for beta in (1.0, None):
        vaes, likelihood = several.Vaes(SHAPE, 4, 1, (0,)), coins()
        width = torch.full((1, 1, 4), 0.3)
        how = {"draws": 8, "width": width}
        before = several.bits_per_dim(vaes, likelihood, data, data.val, **how)
        told = {}
        seconds = several.train(
            vaes, data, likelihood, epochs=20, beta=beta, after_step=told.__setitem__
        )
        after = several.bits_per_dim(vaes, likelihood, data, data.val, **how)
        assert after < before - 1
        assert seconds > 0
        assert list(told) == list(range(1, 81))
        assert told[80] < told[1] / 2


def test_a_code_that_nobody_reads_leaves_the_exact_bits(data):
    vaes = silent(several.Vaes(SHAPE, 4, 1, (0, 1)))
    for weight in vaes.decoder.parameters():
        weight.data.zero_()
    images = data.test[:20]
    levels = data.counts(images).double()
    each = torch.distributions.Binomial(16, torch.tensor(0.5).double()).log_prob(levels)
    exact = -each.mean().item() / math.log(2)
    found = several.bits_per_dim(vaes, coins(), data, images, draws=3)
    assert found.tolist() == pytest.approx([exact, exact], rel=1e-5)


def test_the_bound_against_quadrature_for_any_proposal_and_prior(data):
    """One number of code: p(x) is an integral that can be done."""
    vaes = several.Vaes(SHAPE, 1, 1, (0, 1)).double()
    silent(vaes)
    likelihood, images = coins(), data.test[:10].double()
    for prior in (torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.5, 0.8)):
        z = torch.linspace(-9, 9, 2001).double()
        raw = vaes.decode(z[:, None].expand(2, -1, -1))[0][:, :, None]
        levels = data.counts(images).flatten(1).double()
        log_p = -likelihood.exact((raw.expand(-1, -1, 10, -1),), levels.expand(2, 2001, -1, -1))
        log_p = log_p.sum(3) + prior.log_prob(z)[:, None]
        exact = -(log_p.logsumexp(1) + math.log(z[1] - z[0])).mean(1) / (64 * math.log(2))
        given = None if prior.loc == 0 else lambda z, prior=prior: prior.log_prob(z).sum(2)
        for how in ({}, {"widen": 1.5}, {"width": torch.full((2, 1, 1), 2.0).double()}):
            how = {"log_prior": given, **how}
            found = several.bits_per_dim(vaes, likelihood, data, images, draws=800, **how)
            assert found.tolist() == pytest.approx(exact.tolist(), abs=4e-3)
            few = several.bits_per_dim(vaes, likelihood, data, images, draws=2, **how)
            assert (few > exact).all()


def test_the_derived_divergence_is_that_of_torch_distributions():
    m, log_s = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    codes, prior = Normal(m, log_s.exp()), Normal(torch.tensor(0.0), torch.tensor(1.0))
    theirs = kl_divergence(codes, prior).sum(-1)
    assert torch.allclose(several.divergence(m, log_s), theirs, rtol=1e-5)


def test_levels_train_the_exact_likelihood_unless_told_otherwise():
    likelihood = bells(2)
    raw = (torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(0)),)
    levels = torch.arange(9.0).expand(2, 6, -1)
    assert torch.allclose(likelihood.table(raw, 17).sum(3), torch.ones(2, 6, 9), atol=1e-5)
    total = likelihood.exact(raw, levels).sum()
    assert torch.allclose(likelihood(raw, levels), total, rtol=1e-5)
    squares = several.Levels(
        ld.derive("binomial", n=16),
        1,
        lambda raw, shared: raw[0],
        trained=lambda out, x: (out - x).square().sum(),
    )
    assert torch.equal(squares(raw, levels), (raw[0] - levels).square().sum())


def test_a_loss_that_is_not_finite_stops_the_training(data):
    wild = several.Levels(
        ld.derive("binomial", n=16),
        1,
        lambda raw, shared: raw[0],
        trained=lambda out, x: (out / 0.0).sum(),
    )
    with pytest.raises(ae.NonFiniteLoss, match=r"step 1 of 4, of seeds \(0, 1\)"):
        several.train(several.Vaes(SHAPE, 2, 1, (0, 1)), data, wild, epochs=1)
