"""A code plane to touch: drag a point, see what the decoder draws there.

The page carries the decoder's weights as 16-bit floats and computes in the reader's browser: no
server, no network, no library.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from string import Template

import matplotlib
import torch
from matplotlib.colors import to_hex
from torch import Tensor, nn

from lossderiv.autoencoder.models import Autoencoder
from lossderiv.errors import LossDerivError


@dataclass(frozen=True)
class Explorer:
    """A piece of HTML with its script; a notebook shows it by itself."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return "An interactive plane of codes: open this page in a browser to use it."


def explore(
    model: Autoencoder, codes: Tensor, labels: Tensor, shape: tuple[int, int, int]
) -> Explorer:
    """The plane of a trained dense decoder with a code of two numbers.

    `codes` (N x 2) and `labels` (N) of training images become dots; `shape` is that of an image.
    Raises `LossDerivError` for a decoder that the page cannot compute.
    """
    dense = [layer for layer in model.decoder if isinstance(layer, nn.Linear)]
    known = all(isinstance(part, nn.Linear | nn.SiLU | nn.Unflatten) for part in model.decoder)
    if model.latent != 2 or model.heads != 1 or not known:
        raise LossDerivError(
            f"the explorer draws a dense decoder with 2 numbers and 1 head; this one has "
            f"{model.latent} numbers, {model.heads} head(s) and the layers "
            f"{', '.join(type(part).__name__ for part in model.decoder)}. Train "
            'build("mlp", shape, latent=2) for it.'
        )
    low, high = codes.min(0).values, codes.max(0).values
    margin = 0.08 * (high - low)
    edges = torch.stack([low - margin, high + margin]).T
    palette = matplotlib.colormaps["tab10"]
    payload = {
        "layers": [{"weight": halves(d.weight), "bias": halves(d.bias)} for d in dense],
        "codes": halves(codes),
        "labels": labels.tolist(),
        "names": [str(label) for label in range(int(labels.max()) + 1)],
        "colours": [to_hex(palette(i)) for i in range(10)],
        "limits": [round(edge, 4) for edge in edges.flatten().tolist()],
        "start": [round(middle, 4) for middle in codes.mean(0).tolist()],
    }
    text = json.dumps(payload, separators=(",", ":"))
    template = resources.files("lossderiv.autoencoder").joinpath("explorer.html").read_text()
    name = "explorer-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    height, width = shape[1:]
    return Explorer(
        Template(template).substitute(id=name, payload=text, width=width, height=height)
    )


def halves(values: Tensor) -> str:
    """Numbers as 16-bit floats (little-endian) in base64."""
    return base64.b64encode(values.detach().cpu().numpy().astype("<f2").tobytes()).decode()
