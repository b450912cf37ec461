"""Two autoencoders, dense and convolutional, whose decoder has one head per parameter.

A decoder that feeds a loss with two outputs per pixel (a mean and a log-scale, say) is built with
`heads=2`: its output has `heads * C` channels, and `loss.split(output, dim=1)` cuts it apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossderiv.errors import UnknownNameError


class Autoencoder(nn.Module):
    """Image -> code -> image. The two halves are usable on their own; that is the point."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int, heads: int = 1):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent = latent
        self.heads = heads

    def encode(self, images: Tensor) -> Tensor:
        """Images (N x C x H x W) to codes (N x latent)."""
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (N x latent) to raw outputs (N x heads*C x H x W), on the whole real line."""
        return self.decoder(codes)

    def forward(self, images: Tensor) -> Tensor:
        """Raw outputs for images: decode what was encoded."""
        return self.decode(self.encode(images))


def build(
    kind: str, shape: tuple[int, int, int], latent: int, heads: int = 1, seed: int = 0
) -> Autoencoder:
    """An untrained autoencoder, `mlp` or `conv`, for images of `shape` (C, H, W).

    The same seed gives the same weights; the random state of the caller is left as it was.

    >>> model = build("mlp", (1, 8, 8), latent=8)
    >>> model(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 1, 8, 8])
    >>> build("conv", (1, 28, 28), latent=16, heads=2).decode(torch.zeros(3, 16)).shape
    torch.Size([3, 2, 28, 28])
    """
    if kind not in KINDS:
        raise UnknownNameError(
            f"there is no autoencoder named {kind!r}; choose one of {', '.join(KINDS)}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = KINDS[kind](shape, latent, heads)
    return Autoencoder(encoder, decoder, latent, heads)


def mlp(shape: tuple[int, int, int], latent: int, heads: int) -> tuple[nn.Module, nn.Module]:
    """Dense halves: pixels - 256 - 128 - latent, and back."""
    channels, height, width = shape
    pixels = channels * height * width
    encoder = nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, 256),
        nn.SiLU(),
        nn.Linear(256, 128),
        nn.SiLU(),
        nn.Linear(128, latent),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 128),
        nn.SiLU(),
        nn.Linear(128, 256),
        nn.SiLU(),
        nn.Linear(256, heads * pixels),
        nn.Unflatten(1, (heads * channels, height, width)),
    )
    return encoder, decoder


def conv(shape: tuple[int, int, int], latent: int, heads: int) -> tuple[nn.Module, nn.Module]:
    """Convolutional halves: sizes are halved while even and above 4 (8 to 4; 28 to 14 to 7)."""
    channels, height, width = shape
    widths = [16]
    down: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1), nn.SiLU()]
    while height % 2 == 0 and width % 2 == 0 and min(height, width) > 4:
        height, width = height // 2, width // 2
        widths.append(2 * widths[-1])
        down += [nn.Conv2d(widths[-2], widths[-1], 3, stride=2, padding=1), nn.SiLU()]
    features = widths[-1] * height * width
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, latent))

    up: list[nn.Module] = [
        nn.Linear(latent, features),
        nn.SiLU(),
        nn.Unflatten(1, (widths[-1], height, width)),
    ]
    for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
        up += [nn.Upsample(scale_factor=2), nn.Conv2d(wide, narrow, 3, padding=1), nn.SiLU()]
    decoder = nn.Sequential(*up, nn.Conv2d(widths[0], heads * channels, 3, padding=1))
    return encoder, decoder


KINDS = {"mlp": mlp, "conv": conv}
