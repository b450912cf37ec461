"""The bound: its two parts against torch.distributions, its units, and refusals."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Gamma, Laplace, Normal, kl_divergence

import lossderiv as ld

TWINS = {
    "normal": (Normal, {"mu_p": 0.5, "sigma_p": 2.0}, lambda a, b: (a, b.exp())),
    "laplace": (Laplace, {"mu_p": 0.5, "b_p": 2.0}, lambda a, b: (a, b.exp())),
    "gamma": (Gamma, {"concentration_p": 1.5, "rate_p": 2.0}, lambda a, b: (a.exp(), b.exp())),
}


def batch() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)  # noqa: E731
    x = torch.randint(0, 2, (4, 3, 2), generator=generator).double()
    return draw(4, 3, 2), x, draw(4, 5).requires_grad_(), draw(4, 5).requires_grad_()


@pytest.mark.parametrize("family", TWINS)
def test_torchs_distributions_agree(family):
    """Value and gradient in the encoder's outputs: sums over an example, a mean over the batch."""
    twin, prior, links = TWINS[family]
    logits, x, a, b = batch()
    bound = ld.elbo("bernoulli", family, family, beta=0.7, **prior)
    p = twin(*(torch.tensor(v, dtype=torch.float64) for v in prior.values()))
    theirs = -Bernoulli(logits=logits).log_prob(x).sum((1, 2))
    theirs = (theirs + 0.7 * kl_divergence(twin(*links(a, b)), p).sum(1)).mean()
    ours = bound(logits, x, (a, b))
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-12)
    for mine, known in zip(
        torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b)), strict=True
    ):
        torch.testing.assert_close(mine, known, rtol=1e-9, atol=1e-12)


def test_constants_are_kept():
    """A Gaussian's log(2 pi)/2 belongs to the evidence."""
    _, x, a, b = batch()
    fixed = ld.derive("normal", sigma=1)
    reconstruction, _ = ld.elbo(fixed, mu_p=0, sigma_p=1).parts(x + 1, x, (a, b))
    theirs = -Normal(x + 1, 1.0).log_prob(x).sum((1, 2))
    torch.testing.assert_close(reconstruction, theirs)


def test_it_is_a_lower_bound_that_is_reached():
    """x | z ~ N(z, 1), z ~ N(0, 1): at the posterior N(x/2, 1/2) the bound is log p(x), N(0, 2).

    The average over z is a Gauss-Hermite sum, exact for a quadratic.
    """
    bound = ld.elbo(ld.derive("normal", sigma=1), mu_p=0, sigma_p=1)
    x = torch.tensor([[0.8]], dtype=torch.float64)
    evidence = -Normal(torch.zeros_like(x), 2.0**0.5).log_prob(x)
    for mean, sd, gap in ((0.4, 0.5**0.5, 0.0), (0.1, 0.5, None)):
        mu, eta = torch.full_like(x, mean), torch.full_like(x, sd).log()
        values = [bound(mu + side * sd, x, (mu, eta)) for side in (-1, 1)]
        excess = float(sum(values) / 2 - evidence)
        assert excess == pytest.approx(0, abs=1e-12) if gap == 0 else excess > 0.01


def test_refusals():
    with pytest.raises(ld.ParameterError, match="sigma_p"):
        ld.elbo("bernoulli", mu_p=0)
    with pytest.raises(ld.ParameterError, match="no closed form"):
        ld.elbo("bernoulli", "normal", "exponential", rate_p=1)
    bound = ld.elbo("bernoulli", mu_p=0, sigma_p=1)
    with pytest.raises(ld.ShapeError, match="2 raw outputs"):
        bound(torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 5))
    with pytest.raises(ld.ShapeError, match="first axis"):
        bound(torch.zeros(2, 3), torch.ones(2, 3), (torch.zeros(3, 5), torch.zeros(3, 5)))
