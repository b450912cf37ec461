"""TABLE: for each family, its mean, its mode and a sampler, as functions of the parameters.

Each row takes the constrained parameters as keywords and returns a tensor of the target's shape;
samplers take a ``torch.Generator`` (or ``None``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Summary:
    """What image to show: the mean, the mode, or a draw."""

    mean: Callable[..., Tensor] | None
    mode: Callable[..., Tensor] | None
    sample: Callable[..., Tensor]


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers strictly inside (0, 1), shaped like ``like``."""
    u = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    tiny = torch.finfo(like.dtype).eps / 2
    return u + tiny * (1 - 2 * u)  # from [0, 1) to the open interval, evenly


def gauss(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers shaped like ``like``."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def draw_laplace(mu: Tensor, b: Tensor, generator) -> Tensor:
    """Inverse CDF: ``mu - b sign(v) log(1 - 2|v|)`` with v uniform on (-1/2, 1/2)."""
    v = uniform(mu + b, generator) - 0.5
    return mu - b * torch.sign(v) * torch.log1p(-2 * torch.abs(v))


def draw_continuous_bernoulli(lam: Tensor, generator) -> Tensor:
    """Inverse CDF in the logit: ``log(1 + u (e^eta - 1)) / eta``, and ``u`` itself at eta = 0.

    For positive eta the mirror image is drawn, so that the exponential never overflows.
    """
    eta = torch.logit(lam)
    a = -torch.abs(eta)
    u = uniform(lam, generator)
    flat = a == 0
    safe = torch.where(flat, -1.0, a)
    y = torch.where(flat, u, torch.log1p(u * torch.expm1(safe)) / safe)
    return torch.where(eta > 0, 1 - y, y)


def mean_continuous_bernoulli(lam: Tensor) -> Tensor:
    """``1/(1 - e^-eta) - 1/eta`` with eta the logit of lam."""
    from lossderiv.autograd import special_function

    return special_function("exprel_mean")(torch.logit(lam))


def draw_categorical(p: Tensor, generator) -> Tensor:
    """Class indices, one for each vector on the last axis."""
    flat = p.reshape(-1, p.shape[-1])
    return torch.multinomial(flat, 1, generator=generator).reshape(p.shape[:-1])


SUMMARIES: dict[str, Summary] = {
    "normal": Summary(
        mean=lambda mu, sigma: mu + 0 * sigma,
        mode=lambda mu, sigma: mu + 0 * sigma,
        sample=lambda mu, sigma, generator: mu + sigma * gauss(mu + sigma, generator),
    ),
    "bernoulli": Summary(
        mean=lambda p: p,
        mode=lambda p: (p > 0.5).to(p.dtype),
        sample=lambda p, generator: torch.bernoulli(p, generator=generator),
    ),
    "continuous_bernoulli": Summary(
        mean=mean_continuous_bernoulli,
        mode=lambda lam: (lam > 0.5).to(lam.dtype),
        sample=draw_continuous_bernoulli,
    ),
    "laplace": Summary(
        mean=lambda mu, b: mu + 0 * b,
        mode=lambda mu, b: mu + 0 * b,
        sample=draw_laplace,
    ),
    "categorical": Summary(
        mean=None,  # the classes have no order and no mean
        mode=lambda p: p.argmax(-1),
        sample=draw_categorical,
    ),
}
