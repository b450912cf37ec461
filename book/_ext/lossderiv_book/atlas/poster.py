"""All families of single numbers in one picture, each in its three settings.

It opens the index of the Atlas. ``python -m lossderiv_book.atlas.poster FILE`` (in ``book/_ext``)
writes it for the README.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lossderiv.autoencoder import plots

from .curves import Setting, axis, settings, window
from .drawing import Picture, svg
from .explorer import explorable
from .words import title

if TYPE_CHECKING:
    from .pages import Family

COLUMNS = 6


def draw(families: Iterable[Family]) -> Picture:
    """Small pictures in rows, in the order of the catalogue."""
    shown = explorable(families)
    rows = math.ceil(len(shown) / COLUMNS)
    with plots.style():
        panels = list(plots.axes(rows, COLUMNS, width=7, height=1.02 * rows).flat)
        for ax in panels:
            ax.axis("off")
        for ax, family in zip(panels, shown, strict=False):
            _panel(ax, settings(family.density, family.given))
            ax.set_title(_short(title(family.name)), fontsize=7.5, loc="center", pad=2)
        figure = panels[0].figure
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
        caption = (
            f"{len(shown)} families for single numbers, each in three settings. A decoder that "
            "outputs the parameters of any of them is trained by the loss on its page."
        )
        alt = (
            f"A grid of {len(shown)} small pictures, each with three density curves (for counts, "
            f"three rows of dots): {', '.join(title(f.name) for f in shown)}."
        )
        return Picture(_rounded(svg(figure)), caption, alt)


def _rounded(text: str) -> str:
    """Paths to a tenth of a point, which is what an eye can see: half of the file."""
    digits = re.compile(r"(\.\d)\d+")
    return re.sub(
        r' d="[^"]*"', lambda path: " ".join(digits.sub(r"\1", path[0]).split(" \n")), text
    )


def _panel(ax, found: tuple[Setting, ...]) -> None:
    x = axis(found, *window(found))
    x = x[:: max(1, len(x) // 100)]
    peaks = []
    for colour, setting in zip(plots.COLOURS, found, strict=False):
        p = setting.density(x)
        known = p[torch.isfinite(p)]
        peaks.append(float(known.max() if len(x) < 40 else known.quantile(0.97)))
        if found[0].derivation.density.data.integer:
            ax.plot(x, p, "o", color=colour, markersize=1.8)
        else:
            ax.plot(x, p, color=colour, linewidth=1.2)
    ax.axhline(0, color="#999999", linewidth=0.6, zorder=0)
    ax.set_ylim(-0.03 * max(peaks), 1.25 * max(peaks))


def _short(name: str) -> str:
    """The name on as many lines as its panel needs."""
    return name.split(",")[0] if len(name) > 22 else name


def main(target: str) -> None:
    from lossderiv.catalogue import FAMILIES

    from .pages import Family

    Path(target).write_text(draw(map(Family, FAMILIES.values())).svg, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
