"""Samplers of codes: what they match, what they leave out, what they refuse."""

import math

import pytest
import torch

from lossderiv import autoencoder as ae
from lossderiv.autoencoder import sample
from lossderiv.errors import LossDerivError, UnknownNameError

COUNT = 20_000
ALL = tuple(sample.SAMPLERS)


def normal(count, latent, seed=0):
    return torch.randn(count, latent, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def tilted():
    """Correlated codes far from the origin: 1,000 to fit, 1,000 to choose on."""
    factor = torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    return torch.tensor([5.0, -3.0]) + normal(2000, 2) @ factor.T


@pytest.fixture(scope="module")
def clusters():
    """Three small clusters in the corners of a large triangle."""
    corners = torch.tensor([[0.0, 10.0], [10.0, 0.0], [-10.0, 0.0]])
    return corners.repeat(400, 1) + 0.5 * normal(1200, 2)


def fitted(kind, codes, seed=0):
    half = len(codes) // 2
    return sample.fit(kind, codes[:half], codes[half:], seed=seed)


def test_standard_ignores_the_codes(tilted):
    drawn = fitted("standard", tilted).sample(COUNT)
    torch.testing.assert_close(drawn.mean(0), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), torch.eye(2), atol=0.04, rtol=0)


def test_diagonal_has_place_and_scale_but_no_correlation(tilted):
    drawn = fitted("diagonal", tilted).sample(COUNT)
    codes = tilted[:1000]
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), codes.std(0), atol=0, rtol=0.03)
    assert codes.T.corrcoef()[0, 1] > 0.9
    assert drawn.T.corrcoef()[0, 1].abs() < 0.03


def test_gaussian_has_the_covariance(tilted):
    drawn = fitted("gaussian", tilted).sample(COUNT)
    codes = tilted[:1000]
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), atol=0.1, rtol=0.03)


@pytest.mark.parametrize(("kind", "stays_out"), [("gaussian", False), ("mixture", True)])
def test_only_the_mixture_leaves_the_hole_empty(clusters, kind, stays_out):
    drawn = fitted(kind, clusters).sample(2000)
    in_the_hole = (drawn - torch.tensor([0.0, 3.3])).norm(dim=1) < 3
    assert (in_the_hole.float().mean() < 0.005) == stays_out


def test_mixture_size_is_the_likeliest_on_validation_codes(clusters):
    three = sample.mixture(clusters[:600], clusters[600:], sizes=(1, 3), restarts=1)
    assert len(three.weights) == 3
    cloud = normal(400, 8)
    one = sample.mixture(cloud[:100], cloud[100:], sizes=(1, 10), restarts=1)
    assert len(one.weights) == 1


def test_without_sizes_a_component_has_at_least_fifty_codes():
    # Ten clusters: 10 components fit, and with 499 codes there may be no more than 9.
    centres = 100 * normal(10, 2)
    codes = centres.repeat(100, 1) + normal(1000, 2)
    assert len(sample.mixture(codes[:500], codes[500:], restarts=1).weights) == 10
    assert len(sample.mixture(codes[:499], codes[500:], restarts=1).weights) == 9
    assert len(sample.mixture(codes[:3], codes[500:], restarts=1).weights) == 1


def test_averaging_restarts_makes_validation_codes_more_probable():
    # The log of a mean is at least the mean of the logs; here the starts differ, so it is more.
    codes, hold = normal(300, 6).tanh(), normal(300, 6, seed=1).tanh()
    alone = [sample.mixture(codes, hold, s, sizes=(8,), restarts=1) for s in range(3)]
    together = sample.mixture(codes, hold, 0, sizes=(8,), restarts=3)
    assert len(together.weights) == 24
    assert together.weights.sum().item() == pytest.approx(1)
    logs = torch.stack([one.log_prob(hold) for one in alone])
    assert together.log_prob(hold).mean() > logs.mean() + 0.05
    torch.testing.assert_close(together.log_prob(hold), logs.logsumexp(0) - math.log(3))


def test_kernel_width_is_the_likeliest_on_validation_codes(tilted):
    fit, hold = tilted[:1000], tilted[1000:]
    value = sample.kernel(fit, hold).log_prob(hold).mean()
    for width in (0.05, 0.6):
        assert sample.kernel(fit, hold, widths=(width,)).log_prob(hold).mean() < value


def test_log_density_of_standard_by_hand():
    codes = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    expected = torch.tensor([0.0, -12.5], dtype=torch.float64) - math.log(2 * math.pi)
    got = sample.standard(codes).log_prob(codes)
    torch.testing.assert_close(got, expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize("kind", ["diagonal", "gaussian", "mixture", "kernel"])
def test_log_density_agrees_with_torch_distributions(clusters, kind):
    fit = fitted(kind, clusters)
    factors = fit.factors.expand(len(fit.means), -1, -1)
    twin = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(fit.weights),
        torch.distributions.MultivariateNormal(fit.means, scale_tril=factors),
    )
    some = clusters[:50].double()
    torch.testing.assert_close(fit.log_prob(some), twin.log_prob(some), atol=1e-6, rtol=0)


def test_neighbours_stay_on_short_lines(clusters):
    codes = clusters[:600]
    nearest = sample.neighbours(codes, nearest=3)
    assert not (nearest.partners == torch.arange(600)[:, None]).any()
    drawn = nearest.sample(1000)
    longest = (codes[:, None] - codes[nearest.partners]).norm(dim=2).max()
    assert torch.cdist(drawn, codes).min(1).values.max() <= longest / 2
    ends, inside = torch.tensor([[0.0, 0.0], [1.0, 2.0]]), sample.Neighbours
    between = inside(ends, torch.tensor([[1], [0]])).sample(100)
    torch.testing.assert_close(between[:, 1], 2 * between[:, 0])
    assert between[:, 0].min() >= 0
    assert between[:, 0].max() <= 1


@pytest.mark.parametrize("kind", ALL)
def test_same_seed_same_codes(clusters, kind):
    drawn = fitted(kind, clusters).sample(30, seed=4)
    assert drawn.shape == (30, 2)
    assert drawn.dtype == clusters.dtype
    assert torch.equal(drawn, fitted(kind, clusters).sample(30, seed=4))
    assert not torch.equal(drawn, fitted(kind, clusters).sample(30, seed=5))


@pytest.mark.parametrize("kind", ALL)
def test_sampling_leaves_the_global_random_state_alone(clusters, kind):
    before = torch.random.get_rng_state()
    fitted(kind, clusters).sample(5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_unknown_sampler_names_a_near_one(tilted):
    with pytest.raises(UnknownNameError, match=r"'mixtur'.*Did you mean 'mixture'"):
        sample.fit("mixtur", tilted)
    with pytest.raises(UnknownNameError, match=r"'zzz'\. Known: standard, diagonal"):
        sample.fit("zzz", tilted)


@pytest.mark.parametrize(("kind", "what"), [("mixture", "size"), ("kernel", "width")])
def test_missing_validation_codes(tilted, kind, what):
    with pytest.raises(LossDerivError, match=f"chooses its {what} on validation codes"):
        sample.fit(kind, tilted)


def test_codes_that_cannot_be_fitted(tilted):
    bad = tilted.clone()
    bad[7, 1] = float("nan")
    with pytest.raises(LossDerivError, match=r"codes hold a value that is not finite.*row 7"):
        sample.fit("gaussian", bad)
    with pytest.raises(LossDerivError, match="validation codes hold"):
        sample.fit("mixture", tilted, bad)
    with pytest.raises(LossDerivError, match=r"shape \(2000,\)"):
        sample.fit("gaussian", tilted[:, 0])
    with pytest.raises(LossDerivError, match="codes have 2 numbers and validation codes 1"):
        sample.fit("mixture", tilted, tilted[:, :1])
    with pytest.raises(LossDerivError, match="number 2 of 2 is a combination"):
        sample.fit("gaussian", torch.stack([tilted[:, 0], 0 * tilted[:, 0]], dim=1))


# --- priors of trained models ------------------------------------------------------------------


def test_a_model_without_a_prior_is_told_so():
    model = ae.build("mlp", (1, 4, 4), latent=2)
    with pytest.raises(LossDerivError, match=r"Autoencoder was trained without.*fit\('mixture'"):
        sample.prior(model)


class WithPrior(ae.Autoencoder):
    """A code that lies in three far clusters, and a prior that is trained to find them."""

    def __init__(self, encoder, decoder, latent):
        super().__init__(encoder, decoder, latent)
        self.p = sample.LearnedPrior(latent, components=6)

    def prior(self):
        return self.p.sampler()


def test_learned_prior_is_a_mixture_by_torch_distributions():
    p = sample.LearnedPrior(3, components=4, seed=1)
    with torch.no_grad():
        p.logits.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
        p.log_widths.copy_(0.3 * normal(4, 3))
    parts = torch.distributions.Independent(
        torch.distributions.Normal(p.means, p.log_widths.exp()), 1
    )
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=p.logits), parts
    )
    codes = 2 * normal(50, 3, seed=2)
    torch.testing.assert_close(p.log_prob(codes), law.log_prob(codes))
    torch.testing.assert_close(
        p.sampler().log_prob(codes), law.log_prob(codes).detach().double(), rtol=1e-5, atol=1e-5
    )


def test_learned_prior_goes_where_the_codes_are(clusters):
    """Trained as a part of its model, it is drawn from through `prior`; the hole stays empty."""
    model = WithPrior(torch.nn.Identity(), torch.nn.Identity(), 2)
    assert {name for name, _ in model.named_parameters()} == {"p.logits", "p.means", "p.log_widths"}
    before = sample.prior(model).log_prob(clusters).mean()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(300):
        loss = -model.p.log_prob(clusters).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = sample.prior(model)
    assert after.log_prob(clusters).mean() > before + 5
    drawn = after.sample(2000, seed=3)
    assert drawn.dtype == torch.float32
    assert not drawn.requires_grad
    torch.testing.assert_close(drawn.mean(0), clusters.mean(0), atol=0.5, rtol=0)
    in_the_hole = (drawn - torch.tensor([0.0, 3.3])).norm(dim=1) < 2
    assert in_the_hole.float().mean() < 0.02


def test_aggregate_is_the_mean_of_the_posteriors():
    means, log_variances = 3 * normal(7, 2), normal(7, 2, seed=1)
    together = sample.aggregate(means, log_variances)
    codes = normal(20, 2, seed=2)
    each = torch.distributions.Normal(means, (log_variances / 2).exp()).log_prob(codes[:, None])
    expected = each.sum(2).logsumexp(1) - math.log(7)
    torch.testing.assert_close(together.log_prob(codes), expected.double(), rtol=1e-5, atol=1e-5)
    drawn = together.sample(COUNT, seed=1)
    torch.testing.assert_close(drawn.mean(0), means.mean(0), atol=0.1, rtol=0)
    spread = means.var(0, correction=0) + log_variances.exp().mean(0)
    torch.testing.assert_close(drawn.var(0), spread, atol=0, rtol=0.05)


def test_aggregate_of_unlike_or_broken_posteriors():
    with pytest.raises(LossDerivError, match=r"shape \(5, 2\) and log variances of shape \(5, 3\)"):
        sample.aggregate(normal(5, 2), normal(5, 3))
    with pytest.raises(LossDerivError, match="log variances hold a value that is not finite"):
        sample.aggregate(normal(5, 2), normal(5, 2).log())
