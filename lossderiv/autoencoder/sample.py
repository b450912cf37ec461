"""Where codes come from: distributions fitted to the codes of an autoencoder, or trained with it.

`fit` fits one to codes. All but one are Gaussian mixtures and differ in the number of components
only: one for `standard`, `diagonal` and `gaussian`, some for `mixture`, one for each training code
for `kernel`. The last, `neighbours`, draws on lines between codes that lie close together.

`prior` asks a trained model for the distribution that it was trained with. `LearnedPrior` is one
that is trained too, and `aggregate` is what a variational encoder makes of a set of images.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lossderiv.errors import LossDerivError, UnknownNameError


class Sampler(Protocol):
    """Anything that new codes can be drawn from."""

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """`count` new codes (count x latent), the same ones for the same seed."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussian mixture: p(z) = sum_j w_j N(z; m_j, F_j F_j^T).

    `weights` (J), `means` (J x k) and lower triangular `factors` (J x k x k, or 1 x k x k where all
    components share one), in float64 on the CPU; samples have `dtype` and `device` of the codes
    that were fitted.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    dtype: torch.dtype
    device: torch.device

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """`count` new codes: choose a component, then z = m + F e with e from N(0, I)."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], 1, dtype=torch.float64, generator=generator)
        factors = self.factors[chosen] if len(self.factors) > 1 else self.factors
        codes = self.means[chosen] + (factors @ noise)[..., 0]
        return codes.to(self.device, self.dtype)

    def log_prob(self, codes: Tensor) -> Tensor:
        """Log density of each code, in nats."""
        z = _exact(codes)
        logs = []
        for weights, means, factors in self._groups():
            factor = factors[0]
            spots = torch.linalg.solve_triangular(factor, means.T, upper=False).T
            points = torch.linalg.solve_triangular(factor, z.T, upper=False).T
            volume = factor.diagonal().log().sum() + 0.5 * z.shape[1] * math.log(2 * math.pi)
            logs.append(weights.log() - 0.5 * torch.cdist(points, spots) ** 2 - volume)
        return torch.cat(logs, dim=1).logsumexp(1)

    def _groups(self):
        """Components that share a factor, together."""
        parts = (self.weights, self.means, self.factors)
        return [parts] if len(self.factors) == 1 else zip(*(p.split(1) for p in parts), strict=True)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Codes on the line between a training code and one of its `nearest` nearest ones.

    It has no density: its samples fill no volume.
    """

    codes: Tensor
    partners: Tensor

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """`count` new codes: a random code, one of its neighbours, a place between."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(len(self.codes), (count,), generator=generator)
        columns = torch.randint(self.partners.shape[1], (count,), generator=generator)
        share = torch.rand(count, 1, generator=generator).to(self.codes)
        start, end = self.codes[rows], self.codes[self.partners[rows, columns]]
        return torch.lerp(start, end, share)


def fit(kind: str, codes: Tensor, validation: Tensor | None = None, *, seed: int = 0) -> Sampler:
    """Fit the distribution named `kind` to `codes` (count x latent).

    ============  =====================================================================
    standard      N(0, I); looks at nothing but the number of columns
    diagonal      Gaussian with the mean and the variance of each number of the codes
    gaussian      Gaussian with their mean and covariance
    mixture       Gaussian mixture; its size is chosen on the `validation` codes
    kernel        a small Gaussian around every code; its width is chosen on `validation`
    neighbours    lines between a code and its nearest ones
    ============  =====================================================================

    Raises `UnknownNameError` for another name, and `LossDerivError` for codes that are not a
    finite matrix, or if `validation` is missing where something is chosen on it.

    >>> codes = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    >>> fit("gaussian", codes).sample(5, seed=1).shape
    torch.Size([5, 3])
    """
    if kind not in SAMPLERS:
        near = difflib.get_close_matches(str(kind), SAMPLERS, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise UnknownNameError(
            f"there is no sampler of codes named {kind!r}. {hint}Known: {', '.join(SAMPLERS)}."
        )
    _check("codes", codes)
    if kind not in CHOOSING:
        return SAMPLERS[kind](codes)
    if validation is None:
        raise LossDerivError(
            f"the sampler {kind!r} chooses its {CHOOSING[kind]} on validation codes, and none were "
            f"given. Pass them as the third argument: fit({kind!r}, codes, validation)."
        )
    _check("validation codes", validation)
    if validation.shape[1] != codes.shape[1]:
        raise LossDerivError(
            f"codes have {codes.shape[1]} numbers and validation codes {validation.shape[1]}. "
            "Encode both with the same model."
        )
    return SAMPLERS[kind](codes, validation, seed)


def prior(model: nn.Module) -> Sampler:
    """The distribution of codes that `model` was trained with: what its method `prior` returns.

    Raises `LossDerivError` for a model that has none, as a plain autoencoder.
    """
    if not hasattr(model, "prior"):
        raise LossDerivError(
            f"this {type(model).__name__} was trained without a distribution of codes, so it has "
            "no prior to draw from: its loss does not say where codes should be. Fit one to its "
            "codes, as in fit('mixture', codes, validation), or train a variational autoencoder "
            "and give it a method prior() that returns its p(z)."
        )
    return model.prior()


class LearnedPrior(nn.Module):
    """A prior to be trained with its model: sum_j w_j N(z; m_j, diag s_j^2), J components.

    Make it an attribute of the model, let `log_prob` take the place of the log density of N(0, I)
    in the loss, and return `sampler()` from the model's method `prior`. It starts as J Gaussians
    of width 1 around draws from N(0, I). Tomczak and Welling 2018 compare it with others.
    """

    def __init__(self, latent: int, components: int = 20, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent, generator=generator))
        self.log_widths = nn.Parameter(torch.zeros(components, latent))

    def log_prob(self, codes: Tensor) -> Tensor:
        """Log density of each code (N x latent), in nats, with gradients."""
        spots = (codes[:, None] - self.means) / self.log_widths.exp()
        volume = self.log_widths.sum(1) + 0.5 * codes.shape[1] * math.log(2 * math.pi)
        logs = self.logits.log_softmax(0) - 0.5 * spots.square().sum(2) - volume
        return logs.logsumexp(1)

    def sampler(self) -> Mixture:
        """The distribution as it is now, to draw from."""
        weights, means = _exact(self.logits).softmax(0), _exact(self.means)
        factors = _exact(self.log_widths).exp().diag_embed()
        return Mixture(weights, means, factors, self.means.dtype, self.means.device)


def aggregate(means: Tensor, log_variances: Tensor) -> Mixture:
    """What a variational encoder makes of N images: (1/N) sum_n N(z; mu_n, diag sigma_n^2).

    Both arguments are N x latent. This *aggregated posterior* is what the decoder was trained on,
    and the prior that makes the bound on the likelihood of these images highest (Hoffman and
    Johnson 2016); but its draws are codes of these images, give or take sigma.
    """
    _check("means", means)
    _check("log variances", log_variances)
    if means.shape != log_variances.shape:
        raise LossDerivError(
            f"there are means of shape {tuple(means.shape)} and log variances of shape "
            f"{tuple(log_variances.shape)}. Give one of each per number of the code."
        )
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    factors = (_exact(log_variances) / 2).exp().diag_embed()
    return Mixture(weights, _exact(means), factors, means.dtype, means.device)


def standard(codes: Tensor) -> Mixture:
    """N(0, I)."""
    latent = codes.shape[1]
    return _one(codes, torch.zeros(latent, dtype=torch.float64), torch.eye(latent).double())


def diagonal(codes: Tensor) -> Mixture:
    """Mean and variance of each number, no correlations."""
    z = _exact(codes)
    return _one(codes, z.mean(0), z.std(0).diag())


def gaussian(codes: Tensor) -> Mixture:
    """Mean and covariance."""
    z = _exact(codes)
    return _one(codes, z.mean(0), _factor(z))


def mixture(
    codes: Tensor,
    validation: Tensor,
    seed: int = 0,
    sizes: Sequence[int] = (),
    restarts: int = 5,
) -> Mixture:
    """The Gaussian mixture under which the validation codes are most probable.

    For each of the `sizes`, expectation maximisation (scikit-learn, float64) is started `restarts`
    times and the resulting densities are averaged: each start finds other clusters, and their mean
    is smoother than any of them. A hundredth of the codes' mean variance is added to every
    component's, so that none can shrink to a point. At most 10,000 codes are used. Without
    `sizes`, those of 10, 20 and 40 are tried that leave at least 50 codes to a component.
    """
    from sklearn.mixture import GaussianMixture

    z = _exact(codes)
    chosen = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))[:10_000]
    some = z[chosen.sort().values]
    floor = 1e-2 * z.var(0).mean().item()
    most = max(1, len(some) // 50)
    found = []
    for size in sizes or [s for s in (10, 20, 40) if s <= most] or [most]:
        parts = []
        for restart in range(restarts):
            state = restarts * seed + restart
            em = GaussianMixture(size, reg_covar=floor, random_state=state).fit(some.numpy())
            parts.append((em.weights_ / restarts, em.means_, em.covariances_))
        weights, means, covariances = (
            torch.from_numpy(np.concatenate(p)) for p in zip(*parts, strict=True)
        )
        factors = torch.linalg.cholesky(covariances)
        found.append(Mixture(weights, means, factors, codes.dtype, codes.device))
    return _likeliest(found, validation)


def kernel(
    codes: Tensor,
    validation: Tensor,
    seed: int = 0,
    widths: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6),
) -> Mixture:
    """A Gaussian around every code, with the codes' covariance shrunk by width^2.

    The width is the one under which up to 1,000 validation codes are most probable.
    """
    z = _exact(codes)
    weights = torch.full((len(z),), 1 / len(z), dtype=torch.float64)
    factor = _factor(z)[None]
    found = [Mixture(weights, z, h * factor, codes.dtype, codes.device) for h in widths]
    return _likeliest(found, validation)


def neighbours(codes: Tensor, nearest: int = 5) -> Neighbours:
    """Pairs of codes and their `nearest` nearest ones."""
    partners = [
        torch.cdist(part, codes).topk(nearest + 1, largest=False).indices[:, 1:]
        for part in codes.detach().split(1000)
    ]
    return Neighbours(codes.detach(), torch.cat(partners))


SAMPLERS = {
    "standard": standard,
    "diagonal": diagonal,
    "gaussian": gaussian,
    "mixture": mixture,
    "kernel": kernel,
    "neighbours": neighbours,
}
CHOOSING = {"mixture": "size", "kernel": "width"}


def _one(codes: Tensor, mean: Tensor, factor: Tensor) -> Mixture:
    weights = torch.ones(1, dtype=torch.float64)
    return Mixture(weights, mean[None], factor[None], codes.dtype, codes.device)


def _factor(z: Tensor) -> Tensor:
    """Lower triangular F with F F^T the covariance of the rows."""
    factor, failed = torch.linalg.cholesky_ex(torch.atleast_2d(z.T.cov()))
    if failed:
        raise LossDerivError(
            f"the covariance of the {len(z)} codes is singular (number {int(failed)} of "
            f"{z.shape[1]} is a combination of those before it, or constant). Give more codes than "
            "they have numbers, or train with fewer numbers."
        )
    return factor


def _likeliest(candidates: list[Mixture], validation: Tensor) -> Mixture:
    return max(candidates, key=lambda one: one.log_prob(validation[:1000]).mean().item())


def _exact(codes: Tensor) -> Tensor:
    """Float64 on the CPU: covariances of float32 codes lose half of their digits."""
    return codes.detach().cpu().double()


def _check(what: str, codes: Tensor) -> None:
    if codes.ndim != 2 or len(codes) < 2:
        raise LossDerivError(
            f"{what} must be a matrix with a row per image, at least two of them; met shape "
            f"{tuple(codes.shape)}. model.encode(images) gives one."
        )
    if not codes.isfinite().all():
        row = int((~codes.isfinite()).any(1).nonzero()[0])
        raise LossDerivError(
            f"{what} hold a value that is not finite, first in row {row}. Look at that image, or "
            "train the model again with a lower learning rate."
        )
