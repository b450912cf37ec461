"""How good drawn images are: several numbers, always together, since each is blind to something.

No weights are downloaded. A `Judge` is a small classifier, trained on the data at hand; images are
compared in its 32 features, and in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields

import numpy as np
import torch
from torch import Tensor, nn

from lossderiv.autoencoder.data import Data
from lossderiv.autoencoder.fit import split
from lossderiv.autoencoder.models import Autoencoder
from lossderiv.errors import LossDerivError
from lossderiv.losses import Loss


@dataclass(frozen=True)
class Scores:
    """What a judge says about one set of images; see the functions of the same names."""

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float
    sharpness: float
    copying: float


@dataclass(frozen=True)
class Table:
    """Scores of several methods, each over several seeds, shown as mean ± half the range.

    `beside` holds further columns: for each name, the values of those methods that have any; the
    others get a dash. Bits per dimension stand there, since only a model with a likelihood has
    them.
    """

    rows: Mapping[str, Sequence[Scores]]
    beside: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    def column(self, score: str, method: str) -> list[float]:
        """One score of one method, seed by seed."""
        return [getattr(scores, score) for scores in self.rows[method]]

    def _cells(self) -> list[list[str]]:
        names = [f.name for f in fields(Scores)]
        lines = [["", *names, *self.beside]]
        for method in self.rows:
            own = [spread(self.column(name, method)) for name in names]
            more = [spread(v[method]) if method in v else "–" for v in self.beside.values()]
            lines.append([method, *own, *more])
        return lines

    def __repr__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in cells]
        return "\n".join("  ".join(line).rstrip() for line in lines)

    def _repr_markdown_(self) -> str:
        head, *body = self._cells()
        # Heads and spreads in small print, so that eight columns fit the width of a page; where
        # there are more, long heads may be hyphenated.
        names = [HYPHENATED.get(name, name) if self.beside else name for name in head[1:]]
        columns = [f"<small>{name}</small>" for name in names]
        lines = [["", *columns], ["---", *["--:"] * len(columns)]]
        for method, *cells in body:
            parts = (cell.partition(" ± ") for cell in cells)
            lines.append(
                [method, *(f"{mid} <small>±&nbsp;{half}</small>" if half else mid
                           for mid, _, half in parts)]
            )  # fmt: skip
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


HYPHENATED = {
    "precision": "pre&shy;cision",
    "density": "den&shy;sity",
    "coverage": "cover&shy;age",
    "sharpness": "sharp&shy;ness",
    "copying": "copy&shy;ing",
}


def average(scores: Sequence[Scores]) -> Scores:
    """The mean of each score, over several draws from one method."""
    columns = zip(*(astuple(one) for one in scores), strict=True)
    return Scores(*(sum(column) / len(scores) for column in columns))


def spread(values: Sequence[float]) -> str:
    """Mean ± half the range, to three significant digits of the mean.

    >>> spread([500.0, 540.0, 610.0])
    '550 ± 55'
    >>> spread([0.81, 0.8, 0.82])
    '0.81 ± 0.01'
    """
    middle = sum(values) / len(values)
    half = (max(values) - min(values)) / 2
    digits = 0 if abs(middle) >= 100 else 1 if abs(middle) >= 10 else 2
    return f"{middle:.{digits}f} ± {half:.{digits}f}"


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier of the data, whose features images are compared in.

    `body` maps images to features, `head` features to class scores. `accuracy` is its share of
    right answers on the test images. Every set that it scores has `count` images.
    """

    data: Data
    body: nn.Module
    head: nn.Module
    accuracy: float
    count: int

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """N x 32 features, in float64 on the CPU."""
        parts = [self.body(part) for part in images.split(1000)]
        return torch.cat(parts).cpu().double()

    @torch.no_grad()
    def confidence(self, images: Tensor) -> float:
        """Mean probability of the likeliest class."""
        parts = [self.head(self.body(part)).softmax(1) for part in images.split(1000)]
        return torch.cat(parts).max(1).values.mean().item()

    def real(self, seed: int = 0) -> Tensor:
        """`count` random training images: their scores are the floor, what real images reach."""
        return pick(self.data.train, self.count, seed)

    def reference(self, seed: int = 0) -> Tensor:
        """`count` random test images, which all others are compared to."""
        return pick(self.data.test, self.count, seed)

    def score(self, images: Tensor, seed: int = 0) -> Scores:
        """Scores of `count` images against as many test images, picked by `seed`."""
        expected = (self.count, *self.data.shape)
        if tuple(images.shape) != expected:
            raise LossDerivError(
                f"this judge scores sets of shape {expected} and met {tuple(images.shape)}. Scores "
                "depend on the number of images, so every set has as many: judge.count."
            )
        if not images.isfinite().all():
            row = int((~images.isfinite()).flatten(1).any(1).nonzero()[0])
            raise LossDerivError(
                f"image {row} holds a pixel that is not finite, so no score means anything. Look "
                "at the decoder's output for that code."
            )
        reference = self.reference(seed)
        real, drawn = self.features(reference), self.features(images)
        near, back = balls(real, drawn), balls(drawn, real)
        return Scores(
            frechet(real, drawn),
            _hit(near),
            _hit(back),
            _crowd(near),
            _hit(near.T),
            sharpness(reference, images),
            copying(self.data.train, reference, images),
        )


def judge(data: Data, *, seed: int = 0, steps: int = 300, count: int | None = None) -> Judge:
    """Train a small dense classifier on the training images; the same seed, the same judge.

    `count`, the number of images in each scored set, defaults to the number of test images, at
    most 1,000.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, head = _classifier(data.shape, int(data.train_labels.max()) + 1)
    body.to(data.train.device), head.to(data.train.device)
    parameters = [*body.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(data.train), (128,), generator=generator).to(data.train.device)
        answers = head(body(data.train[rows]))
        loss = nn.functional.cross_entropy(answers, data.train_labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    for parameter in parameters:
        parameter.requires_grad_(False)
    answers = torch.cat([head(body(part)).argmax(1) for part in data.test.split(1000)])
    accuracy = (answers == data.test_labels).float().mean().item()
    return Judge(data, body, head, accuracy, count or min(1000, len(data.test)))


def _classifier(shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, nn.Module]:
    channels, height, width = shape
    pixels = channels * height * width
    body = nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, 256), nn.SiLU(), nn.Linear(256, 32), nn.SiLU()
    )
    return body, nn.Linear(32, classes)


def pick(images: Tensor, count: int, seed: int) -> Tensor:
    """`count` different images at random."""
    if count > len(images):
        raise LossDerivError(
            f"{count} different images were asked for, and there are {len(images)}. Ask for fewer."
        )
    generator = torch.Generator().manual_seed(seed)
    return images[torch.randperm(len(images), generator=generator)[:count].to(images.device)]


def frechet(real: Tensor, drawn: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in squared units of the features; 0 is best. It
    sees means and covariances and nothing else, and falls with the number of images. Dowson and
    Landau 1982; on features of a classifier, Heusel et al. 2017.

    The trace of the root is the sum of the singular values of F1^T F2 where S = F F^T, which
    cannot come out negative or complex as the root of a product of two matrices can.
    """
    factors = []
    for rows in (real, drawn):
        centred = rows.double() - rows.double().mean(0)
        factors.append(torch.linalg.qr(centred).R.T / (len(rows) - 1) ** 0.5)
    first, second = factors
    shift = (real.double().mean(0) - drawn.double().mean(0)).square().sum()
    shared = torch.linalg.svdvals(first.T @ second).sum()
    return (shift + first.square().sum() + second.square().sum() - 2 * shared).item()


def precision(real: Tensor, drawn: Tensor, k: int = 5) -> float:
    """Share of drawn points inside some real point's ball, which reaches to its k-th neighbour.

    Kynkäänniemi et al. 2019. One outlier among the real points has a large ball and forgives much.
    """
    return _hit(balls(real, drawn, k))


def recall(real: Tensor, drawn: Tensor, k: int = 5) -> float:
    """Share of real points inside some drawn point's ball: precision with the roles exchanged.

    Kynkäänniemi et al. 2019. Points drawn far apart have large balls and cover much.
    """
    return _hit(balls(drawn, real, k))


def density(real: Tensor, drawn: Tensor, k: int = 5) -> float:
    """In how many real points' balls a drawn point lies, on average, divided by k.

    Naeem et al. 2020. About 1 for real points; more, if the drawn ones crowd where real ones do.
    """
    return _crowd(balls(real, drawn, k), k)


def coverage(real: Tensor, drawn: Tensor, k: int = 5) -> float:
    """Share of real points whose ball holds at least one drawn point.

    Naeem et al. 2020. For real points in both sets it tends to 1 - 2^-k as the sets grow.
    """
    return _hit(balls(real, drawn, k).T)


def balls(centres: Tensor, points: Tensor, k: int = 5) -> Tensor:
    """Whether each centre's ball, which reaches to its k-th neighbour (rows), holds each point."""
    return distances(centres, points) <= radii(centres, k)[:, None]


def _hit(inside: Tensor) -> float:
    return inside.any(0).double().mean().item()


def _crowd(inside: Tensor, k: int = 5) -> float:
    return (inside.double().sum(0).mean() / k).item()


def sharpness(real: Tensor, drawn: Tensor) -> float:
    """Energy of the edges, relative to real images: 1 is right, less is blurred, more is noisy.

    The edges are the discrete Laplacian: four times a pixel less its four neighbours.
    """
    return (edges(drawn).square().mean() / edges(real).square().mean()).item()


def copying(train: Tensor, real: Tensor, drawn: Tensor) -> float:
    """Mean distance to the nearest training image, relative to that of unseen real images.

    In pixels. 0 is a copy, 1 is as far from the training images as unseen ones are. Blurred images
    are nearer to everything, so a little less than 1 is no proof of copying.
    """
    return (nearest(drawn, train).mean() / nearest(real, train).mean()).item()


@torch.no_grad()
def bits_per_dim(
    model: Autoencoder, loss: Loss, images: Tensor, levels: int, *, seed: int = 0
) -> float:
    """Bits per pixel for images whose codes are given: -log2 p(x | z) / D, averaged; low is good.

    `images` are N x C x H x W in [0, 1] with that many grey `levels`, D is the number of their
    pixels, z is `model.encode(images)` and `loss` the likelihood that the decoder's outputs are
    parameters of. A model whose `encode` draws does so with `seed`.

    **It is not the marginal likelihood** -log2 p(x) / D: the code is given, and what it would cost
    to send is left out, so a longer code always seems to help. A variational model adds its KL
    divergence (nats per image over D log 2) for an upper bound of the marginal one; the codes of a
    plain autoencoder have no price.

    All families are brought to one measure, probabilities of the grey levels 0 ... levels - 1:

    - a family of whole numbers gives the level's probability. Its outputs must have been trained
      on levels (`data.counts`).
    - a family of real numbers gives a density of pixels in [0, 1]. The level counts as spread
      evenly over its share h = 1 / (levels - 1) of the scale, and costs the mean of
      -log2 [h p(x + u)] over u in [-h/2, h/2]: never less than the probability of that share
      would, by Jensen's inequality, so a density that shrinks to a spike gains nothing (Theis,
      van den Oord and Bethge 2016). The mean is a Gauss-Legendre sum, exact for a Gaussian.

    Raises `LossDerivError` for a loss that is no likelihood, and for a family that gives some
    level, or its share, no probability.
    """
    if not isinstance(loss, Loss):
        raise LossDerivError(
            f"bits are a likelihood's, and {type(loss).__name__} is none that this package knows. "
            "Name the family that it stands for, as in lossderiv.loss('normal', sigma=0.1)."
        )
    data = loss.derivation.density.data
    share = 0.0 if data.integer else 1 / (levels - 1)
    ends = (0, levels - 1) if data.integer else (-share / 2, 1 + share / 2)
    if not all(data.contains(end) for end in ends):
        raise LossDerivError(
            f"{loss.derivation.density.name} is a distribution of {data.describe()}, and "
            f"{levels} grey levels need one from {ends[0]:g} to {ends[1]:g} "
            f"({'whole numbers' if data.integer else 'half a level beyond black and white'}), so "
            "there are no bits per dimension. Take binomial with n = levels - 1, or a family of "
            "all real numbers."
        )
    nodes, weights = np.polynomial.legendre.leggauss(1 if data.integer else 8)
    total = 0.0
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed)
        for part in images.split(1000):
            outputs = split(loss, model.decode(model.encode(part)).double())
            levelled = (part.double() * (levels - 1)).round()
            for node, weight in zip(nodes.tolist(), (weights / 2).tolist(), strict=True):
                x = levelled if data.integer else (levelled + node / 2) * share
                total += weight * len(part) * loss.bits_per_dim(outputs, x).item()
    return total / len(images) + (0.0 if data.integer else math.log2(levels - 1))


def edges(images: Tensor) -> Tensor:
    """The discrete Laplacian of N x 1 x H x W images, inside the border."""
    centre = 4 * images[..., 1:-1, 1:-1]
    return (
        centre
        - images[..., :-2, 1:-1]
        - images[..., 2:, 1:-1]
        - images[..., 1:-1, :-2]
        - images[..., 1:-1, 2:]
    )


def nearest(these: Tensor, those: Tensor) -> Tensor:
    """Distance from each of these to the nearest of those, in all their numbers."""
    many = those.flatten(1)
    parts = [torch.cdist(part, many).min(1).values for part in these.flatten(1).split(500)]
    return torch.cat(parts)


def distances(these: Tensor, those: Tensor) -> Tensor:
    """Each of these (rows) to each of those (columns), exact for near ones too."""
    return torch.cdist(these, those, compute_mode="donot_use_mm_for_euclid_dist")


def radii(points: Tensor, k: int) -> Tensor:
    """Distance from each point to its k-th nearest other point."""
    if len(points) <= k:
        raise LossDerivError(
            f"a ball reaches to the {k}th nearest other point, and there are {len(points)} points "
            "in all. Give more images, or a smaller k."
        )
    return distances(points, points).kthvalue(k + 1, dim=1).values


@dataclass(frozen=True, eq=False)
class Linear:
    """Principal component analysis as an autoencoder: the baseline that needs no training."""

    mean: Tensor
    directions: Tensor
    shape: tuple[int, int, int]

    def encode(self, images: Tensor) -> Tensor:
        """Images to codes (N x latent): coordinates along the directions."""
        return (images.flatten(1) - self.mean) @ self.directions

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to images."""
        return (codes @ self.directions.T + self.mean).unflatten(1, self.shape)


def pca(data: Data, latent: int) -> Linear:
    """The linear autoencoder with the smallest squared error on the training images."""
    flat = data.train.flatten(1)
    mean = flat.mean(0)
    vectors = torch.linalg.eigh((flat - mean).T.cpu().double().cov()).eigenvectors
    directions = vectors.flip(1)[:, :latent].to(flat)
    return Linear(mean, directions, data.shape)
