"""Several seeds at once: variational autoencoders side by side, every weight with an axis of seeds.

A step of a network this small is mostly overhead, so three of them side by side cost little more
than one. Nothing passes between them: each is what it would have been alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from lossderiv.autoencoder.data import Data
from lossderiv.autoencoder.fit import NonFiniteLoss
from lossderiv.autoencoder.models import build
from lossderiv.derivations import find_density
from lossderiv.evidence import in_outputs
from lossderiv.insight.divergence import kl
from lossderiv.losses import loss
from lossderiv.symbolic.records import Derivation

Outputs = tuple[Tensor, ...]


class Levels(nn.Module):
    """A likelihood of grey levels on top of `Vaes`: what raw outputs mean, what is trained.

    `measured` is a distribution of the levels 0 ... L - 1, and `outputs(raw, shared)` are its raw
    outputs as its loss takes them, made of the decoder's: a tuple of `heads` tensors, seeds x N x
    pixels. `shared` is where numbers start that are learned once for all images, with an axis of
    seeds in front; None where there are none.

    Training takes `trained(outputs, levels)` where given, a loss of each pixel or a sum of them,
    which need be no likelihood of levels; else the exact negative log-likelihood, in nats.

    >>> import lossderiv as ld
    >>> coins = Levels(ld.derive("binomial", n=16), 1, lambda raw, shared: raw[0])
    >>> coins((torch.zeros(1, 1, 2),), torch.tensor([[[0.0, 8.0]]]))
    tensor(12.7181)
    >>> coins.table((torch.zeros(1, 1, 2),), 17).sum(3)
    tensor([[[1., 1.]]])
    """

    def __init__(
        self,
        measured: Derivation,
        heads: int,
        outputs: Callable[[Outputs, Tensor | None], Tensor | Outputs],
        *,
        trained: Callable[[Tensor | Outputs, Tensor], Tensor] | None = None,
        shared: Tensor | None = None,
    ):
        super().__init__()
        self.heads, self.outputs = heads, outputs
        self.shared = None if shared is None else nn.Parameter(shared.clone())
        # Levels come from `Data.counts`: nothing to validate.
        exact = {"constants": "keep", "validate": False}
        self.trained = trained or loss(measured, reduction="sum", **exact)
        self.measured = loss(measured, reduction="none", **exact)

    def forward(self, raw: Outputs, levels: Tensor) -> Tensor:
        """What is minimised."""
        return self.trained(self.outputs(raw, self.shared), levels)

    def exact(self, raw: Outputs, levels: Tensor) -> Tensor:
        """Minus the log of the probability of each pixel's level, in nats."""
        return self.measured(self.outputs(raw, self.shared), levels)

    def table(self, raw: Outputs, count: int) -> Tensor:
        """Probabilities of the levels 0 ... count - 1, along a last axis."""
        each = [self.exact(raw, torch.full_like(raw[0], level)) for level in range(count)]
        return torch.exp(-torch.stack(each, -1))


class Linear(nn.Module):
    """One linear layer for each seed: seeds x N x in -> seeds x N x out."""

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([one.weight.detach().T for one in layers]))
        self.bias = nn.Parameter(torch.stack([one.bias.detach()[None] for one in layers]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def side_by_side(networks: Sequence[nn.Sequential]) -> nn.Sequential:
    """Dense networks of one shape as a single one, for images that are rows of pixels."""
    layers = []
    for same in zip(*networks, strict=True):
        if isinstance(same[0], nn.Linear):
            layers.append(Linear(same))
        elif isinstance(same[0], nn.SiLU):
            layers.append(same[0])
    return nn.Sequential(*layers)


class Vaes(nn.Module):
    """Dense variational autoencoders, pixels - 256 - 128 - latent and back, one for each seed.

    They start from the weights that `build("mlp", ...)` makes with these seeds; the encoder has
    two outputs per number of the code, the decoder `heads` per pixel.

    >>> vaes = Vaes((1, 8, 8), latent=4, heads=2, seeds=(0, 1, 2))
    >>> mean, log_width = vaes.encode(torch.zeros(5, 1, 8, 8))
    >>> mean.shape, [out.shape for out in vaes.decode(mean)]
    (torch.Size([3, 5, 4]), [torch.Size([3, 5, 64]), torch.Size([3, 5, 64])])
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, heads: int, seeds: Sequence[int]):
        super().__init__()
        self.seeds, self.latent, self.heads = tuple(seeds), latent, heads
        encoders = [build("mlp", shape, 2 * latent, seed=s).encoder for s in seeds]
        decoders = [build("mlp", shape, latent, heads, seed=s).decoder for s in seeds]
        self.encoder, self.decoder = side_by_side(encoders), side_by_side(decoders)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the width of the codes of images: N x C x H x W, or seeds x N x pixels.

        Grey values are moved to [-1, 1], around which the layers start."""
        if images.dim() == 4:
            images = images.flatten(1).expand(len(self.seeds), -1, -1)
        return self.encoder(2 * images - 1).chunk(2, dim=2)

    def decode(self, codes: Tensor) -> Outputs:
        """Raw outputs, seeds x N x pixels each, of codes (seeds x N x latent)."""
        return self.decoder(codes).chunk(self.heads, dim=2)


def divergence(mean: Tensor, log_width: Tensor) -> Tensor:
    """KL(N(mean, width^2) || N(0, 1)), summed over the numbers of a code, in nats."""
    return _from_standard_normal()(mean, log_width)[0].sum(-1)


@cache
def _from_standard_normal() -> Callable[..., Outputs]:
    """The derived divergence of each number of a code."""
    return in_outputs(kl("normal", "normal", mu_p=0, sigma_p=1), find_density("normal"))[1]


def train(
    vaes: Vaes,
    data: Data,
    likelihood: Levels,
    *,
    epochs: int,
    batch: int = 64,
    lr: float = 6e-3,
    weight_decay: float = 1e-2,
    beta: float | None = 1.0,
    warm_up: float = 0.4,
    after_step: Callable[[int, float], None] | None = None,
) -> float:
    """Train in place on -log p(x | z) + beta KL, in nats per image; return the CPU seconds taken.

    The weight of KL grows from 0 to `beta` over the first share `warm_up` of the steps, so that the
    code is in use before it has its price. What the likelihood shares is trained with the networks.
    AdamW with one cycle of the learning rate; each seed has its own order of images and its own
    noise. With `beta=None` there is no divergence and no noise: plain autoencoders.
    `after_step(number, value)` is told the loss of the batch, averaged over images and seeds.

    Raises `NonFiniteLoss` at the first loss that is infinite or not a number.
    """
    device = data.train.device
    vaes.to(device), likelihood.to(device)
    images, levels = data.train.flatten(1), data.counts(data.train).flatten(1).to(data.train)
    batch = min(batch, len(images))
    weights = [*vaes.parameters(), *likelihood.parameters()]
    generators = [torch.Generator().manual_seed(seed) for seed in vaes.seeds]
    per_epoch = len(images) // batch
    steps = epochs * per_epoch
    optimiser = torch.optim.AdamW(weights, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps)
    started = time.process_time()
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.stack([torch.randperm(len(images), generator=g) for g in generators])
        rows = order[:, step % per_epoch * batch :][:, :batch].to(device)
        mean, log_width = vaes.encode(images[rows])
        codes = mean
        if beta is not None:
            noise = torch.stack([torch.randn(mean.shape[1:], generator=g) for g in generators])
            codes = mean + log_width.exp() * noise.to(mean)
        total = likelihood(vaes.decode(codes), levels[rows]).sum()
        if beta is not None:
            price = beta * min(1.0, (step + 1) / max(1.0, warm_up * steps))
            total = total + price * divergence(mean, log_width).sum()
        value = total.item() / (batch * len(vaes.seeds))
        if not math.isfinite(value):
            raise NonFiniteLoss(
                f"the loss is {value} at step {step + 1} of {steps}, of seeds {vaes.seeds} "
                f"together. Lower the learning rate ({lr:g}), or bound the output that runs away."
            )
        optimiser.zero_grad()
        (total / batch).backward()
        optimiser.step()
        schedule.step()
        if after_step is not None:
            after_step(step + 1, value)
    for weight in weights:
        weight.requires_grad_(False)
    return time.process_time() - started


@torch.no_grad()
def bits_per_dim(
    vaes: Vaes,
    likelihood: Levels,
    data: Data,
    images: Tensor,
    *,
    draws: int,
    widen: float = 1.0,
    width: Tensor | None = None,
    log_prior: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> Tensor:
    """An upper bound of -log2 p(x) / D for each seed's network, averaged over `images`.

    p(x) is the mean over codes z of p(x | z), and its estimate is the mean of
    p(x | z) p(z) / q(z) over `draws` codes from q = N(mean, width^2), the encoder's: unbiased, so
    that its logarithm falls short on average, and the less the more draws (Burda, Grosse and
    Salakhutdinov 2016). Any q gives a bound: `widen` multiplies the encoder's widths, and `width`
    (seeds x 1 x latent) takes their place, which a plain autoencoder needs. `log_prior` is the log
    density of codes (seeds x N x latent), by default that of N(0, I).
    """
    levels = data.counts(images).flatten(1).to(images).expand(len(vaes.seeds), -1, -1)
    mean, log_width = vaes.encode(images)
    log_width = log_width + math.log(widen) if width is None else width.log().expand_as(mean)
    generator = torch.Generator().manual_seed(seed)
    logs = []
    for _ in range(draws):
        noise = torch.randn(mean.shape[1:], generator=generator).to(mean)
        codes = mean + log_width.exp() * noise
        pixels = -likelihood.exact(vaes.decode(codes), levels).sum(2)
        prior = -codes.square().sum(2) / 2 if log_prior is None else log_prior(codes)
        logs.append((pixels + prior + (noise.square() / 2 + log_width).sum(2)).double())
    if log_prior is not None:  # the constant of q, which that of N(0, I) cancels
        logs = [one + vaes.latent * math.log(2 * math.pi) / 2 for one in logs]
    each = torch.stack(logs).logsumexp(0) - math.log(draws)
    return -each.mean(1) / (levels.shape[2] * math.log(2))
