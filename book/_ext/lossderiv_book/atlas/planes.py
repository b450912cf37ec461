"""Densities of vectors: over the plane of two numbers, over the triangle of three shares or counts.

Two numbers are drawn by contours, at a half and a tenth of each setting's peak; counts that add up
by dots whose area is the probability.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossderiv.autoencoder import plots

from .curves import AtlasError, Setting
from .words import assignments, number

FRACTIONS = (0.1, 0.5)
GRID = 161


def points(found: tuple[Setting, ...]) -> tuple[Tensor, Tensor, bool]:
    """Places to evaluate the density, where to draw them, and whether they are a triangle."""
    data = found[0].derivation.density.data
    width = found[0].draws.shape[-1]
    name = found[0].derivation.density.name
    triangle = data.shape == "simplex" or bool(data.total)
    if width != (3 if triangle else 2):
        raise AtlasError(
            f"The Atlas draws vectors of two numbers, or of three that add up; {name} has {width}. "
            "Give it a row in LOOKS (book/_ext/lossderiv_book/atlas/settings.py)."
        )
    if not triangle:
        drawn = torch.cat([s.draws for s in found])
        ends = torch.quantile(drawn, torch.tensor([0.002, 0.998], dtype=drawn.dtype), dim=0)
        axes = [torch.linspace(float(lo), float(hi), GRID).double() for lo, hi in ends.T]
        x = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        return x, x, False
    n = data.total or GRID - 1
    whole = [(n - j - k, j, k) for k in range(n + 1) for j in range(n + 1 - k)]
    counts = torch.tensor(whole, dtype=torch.float64)
    x = counts if data.total else (counts + 1 / 3) / (n + 1)  # inside the open triangle
    share = x / x.sum(-1, keepdim=True)
    places = torch.stack([share[:, 1] + share[:, 2] / 2, share[:, 2] * math.sqrt(3) / 2], -1)
    return x, places, True


def draw(found: tuple[Setting, ...], names: tuple[str, ...]):
    """The figure, what it says to those who see it, and to those who do not; the first axis."""
    x, places, triangle = points(found)
    counts = bool(found[0].derivation.density.data.total)
    densities = [setting.density(x) for setting in found]
    labels = [assignments({n: s.theta[n] for n in names}) for s in found]
    plainly = [assignments({n: s.theta[n] for n in names}, "plain") for s in found]
    figure = (
        _dots(places, densities, labels)
        if counts
        else _contours(places, densities, labels, triangle)
    )
    peaks = [_peak(x, p) for p in densities]
    kind = "probabilities" if counts else "density"
    how = (
        "the area of a dot is the probability of its counts, whose corners are all in one class"
        if counts
        else "contours at a half and at a tenth of each peak"
    )
    where = "over the triangle of three entries that add up" if triangle else "over the plane"
    said = "; ".join(f"{peak} ({label})" for peak, label in zip(peaks, labels, strict=True))
    caption = f"The {kind} of $x$ in three settings, {where}: {how}. Highest: {said}."
    said = "; ".join(f"{peak} ({label})" for peak, label in zip(peaks, plainly, strict=True))
    alt = f"The {kind} of x in three settings, {where}; {how}. Highest: {said}."
    first = x.reshape(-1, x.shape[-1])[:, 0]
    return figure, caption, alt, (float(first.min()), float(first.max()))


def _peak(x: Tensor, p: Tensor) -> str:
    at = x.reshape(-1, x.shape[-1])[int(p.flatten().argmax())]
    return f"{number(float(p.max()))} at x = {number([round(float(v), 1) for v in at])}"


def _contours(places: Tensor, densities: list[Tensor], labels: list[str], triangle: bool):
    ax = plots.axes(width=3.5, height=3.5)
    for k, (p, label) in enumerate(zip(densities, labels, strict=True)):
        colour, peak = plots.COLOURS[k], float(p.max())
        look = {"levels": [f * peak for f in FRACTIONS], "colors": [colour], "linewidths": [1, 2]}
        if triangle:
            ax.tricontour(places[:, 0], places[:, 1], p, **look)
        else:
            ax.contour(places[..., 0], places[..., 1], p, **look)
        ax.plot([], [], color=colour, label=label)
    if triangle:
        _frame(ax)
    else:
        ax.set_xlabel("$x_0$")
        ax.set_ylabel("$x_1$")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2)
    return ax.figure


def _dots(places: Tensor, densities: list[Tensor], labels: list[str]):
    axes = plots.axes(3, 1, width=3.5, height=5.4)
    most = max(float(p.max()) for p in densities)
    for k, (ax, p, label) in enumerate(zip(axes, densities, labels, strict=True)):
        seen = p > most / 1000
        ax.scatter(*places[seen].T, s=60 * p[seen] / most, color=plots.COLOURS[k])
        _frame(ax)
        ax.set_title(label, fontsize=9)
    return axes[0].figure


def _frame(ax) -> None:
    """The triangle and the names of its corners."""
    height = math.sqrt(3) / 2
    ax.plot([0, 1, 0.5, 0], [0, 0, height, 0], color="#888888", linewidth=0.8)
    for x, y, name, side in ((0, 0, 0, "right"), (1, 0, 1, "left"), (0.5, height, 2, "left")):
        ax.annotate(
            f"$x_{name}$",
            (x, y),
            (0.02 if side == "left" else -0.02, 0),
            ha=side,
            textcoords="offset fontsize",
        )
    ax.set_aspect("equal")
    ax.axis("off")
