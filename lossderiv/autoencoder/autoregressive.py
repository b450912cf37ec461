"""A decoder without a code: each pixel's distribution is read off the pixels before it.

A stack of masked convolutions (van den Oord, Kalchbrenner and Kavukcuoglu 2016) computes, in one
pass over an image, the raw outputs for all of its pixels, such that those of a pixel depend on the
rows above it and on the pixels to its left, and on nothing else. So by the chain rule the sum of
the pixels' losses is the loss of the whole image, with no independence assumed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossderiv.errors import LossDerivError
from lossderiv.losses import Loss


class MaskedConv(nn.Conv2d):
    """A convolution that sees what comes before a pixel, row by row, and nothing else.

    With `own` it sees the pixel's own place as well, as every layer but the first may: what stands
    there has been made of earlier pixels alone.
    """

    def __init__(self, channels: int, out: int, size: int, *, own: bool):
        super().__init__(channels, out, size, padding=size // 2)
        place = torch.arange(size * size).view(size, size)
        self.register_buffer("mask", (place < size * size // 2 + own).float())

    def forward(self, x: Tensor) -> Tensor:
        """N x channels x H x W to N x out x H x W."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelNetwork(nn.Module):
    """Images (N x 1 x H x W in [0, 1]) to raw outputs (N x heads x H x W) for each pixel.

    The first layer reaches over the whole image, so no earlier pixel is out of sight; each block
    adds to what is there; and a bias of its own tells every pixel where it stands.
    """

    def __init__(
        self, shape: tuple[int, int, int], heads: int, width: int, blocks: int, dropout: float
    ):
        super().__init__()
        _, height, across = shape
        self.first = MaskedConv(3, width, 2 * max(height, across) - 1, own=False)
        self.place = nn.Parameter(torch.zeros(width, height, across))
        self.blocks = nn.ModuleList(MaskedConv(width, width, 3, own=True) for _ in range(blocks))
        self.last = nn.Conv2d(width, heads, 1)
        self.between = nn.Sequential(nn.SiLU(), nn.Dropout(dropout))

    def forward(self, images: Tensor) -> Tensor:
        """Raw outputs of all pixels, in one pass."""
        # Both ends of the scale are special: whether there is ink, and whether it is full.
        seen = torch.cat((images, (images > 0).to(images), (images == 1).to(images)), 1)
        # Centred, so that the zeros beyond the edge are neither paper nor ink.
        h = self.first(seen - 0.5) + self.place
        for block in self.blocks:
            h = h + block(self.between(h))
        return self.last(self.between(h))


def build(
    shape: tuple[int, int, int],
    heads: int,
    *,
    width: int = 48,
    blocks: int = 4,
    dropout: float = 0.2,
    seed: int = 0,
) -> PixelNetwork:
    """An untrained network for grey images of `shape` (1, H, W); the same seed, the same weights.

    `lossderiv.autoencoder.train` trains it like an autoencoder. Raises `LossDerivError` for images
    with more channels than one, whose order this network would not know.

    >>> network = build((1, 8, 8), heads=2)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2, 8, 8])
    """
    if shape[0] != 1:
        raise LossDerivError(
            f"a network of pixels was asked for images with {shape[0]} channels; it orders the "
            "pixels of grey images, with 1. Convert them to grey first."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PixelNetwork(shape, heads, width, blocks, dropout)


@torch.no_grad()
def draw(network: PixelNetwork, loss: Loss, like: Tensor, levels: int, *, seed: int = 0) -> Tensor:
    """As many images as `like` holds, pixel by pixel, in the shape and the place of `like`.

    Each pixel is a level 0 ... levels - 1 drawn from `loss` given the pixels that were drawn before
    it, and stands in the image divided by `levels - 1`. The network is put in evaluation mode.
    """
    network.eval()
    generator = torch.Generator(like.device).manual_seed(seed)
    images = torch.zeros_like(like)
    for row in range(like.shape[-2]):
        for column in range(like.shape[-1]):
            outputs = loss.split(network(images)[..., row : row + 1, column : column + 1])
            level = loss.sample(outputs, generator=generator)
            images[..., row : row + 1, column : column + 1] = level / (levels - 1)
    return images
