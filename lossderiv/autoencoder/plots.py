"""Pictures for the chapters: images in rows, training curves, the space of codes.

Every function draws on the Axes it is given, or on a new figure of its own, and returns the Axes.
Nothing here goes through pyplot, so no global state is touched; the last line of a notebook cell
shows the figure: `curves([history]).figure`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib import resources

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from lossderiv.autoencoder.fit import History

# Between images, so that the white edge of each can be seen.
PAPER = "#e4eaf1"

STYLE = matplotlib.rc_params_from_file(
    str(resources.files("lossderiv.autoencoder").joinpath("book.mplstyle")),
    use_default_template=False,
)

COLOURS = tuple(STYLE["axes.prop_cycle"].by_key()["color"])

DOTS = 1500
"""A picture with more dots than that is smaller as pixels."""


def style():
    """The book's look, for as long as a `with` block lasts."""
    return matplotlib.rc_context(STYLE)


class Picture(Figure):
    """A figure that a notebook shows by itself: lines as SVG, images and many dots as PNG."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    @property
    def is_lines(self) -> bool:
        """Whether the picture has no images, and few dots."""
        dots = sum(len(c.get_offsets()) for ax in self.axes for c in ax.collections)
        return dots <= DOTS and not any(ax.images for ax in self.axes)

    def _repr_svg_(self) -> str | None:
        if not self.is_lines:
            return None
        buffer = io.StringIO()
        with style(), matplotlib.rc_context({"svg.hashsalt": "lossderiv"}):
            self.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return buffer.getvalue()

    def _repr_png_(self) -> bytes | None:
        if self.is_lines:
            return None
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png")
        return buffer.getvalue()


def axes(rows: int = 1, columns: int = 1, *, width: float = 7, height: float = 3, **sharing):
    """New Axes in a `Picture`: one, or an array of them. `sharing` goes to Figure.subplots."""
    with style():
        figure = Picture(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08)
        return figure.subplots(rows, columns, **sharing)


def images(
    rows: Mapping[str, Tensor] | Tensor,
    *,
    columns: int = 10,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Images in a grid: either named rows of images, or one batch wrapped at `columns`.

    Each image is N x 1 x H x W with 0 white and 1 black; values outside [0, 1] are shown as the
    nearer end of the scale, and are not changed.
    """
    if isinstance(rows, Tensor):
        names, lines = [], list(rows.split(columns))
    else:
        names, lines = list(rows), [batch[:columns] for batch in rows.values()]
    columns = max(len(line) for line in lines)
    height, width = lines[0].shape[-2:]
    gap = max(1, height // 8)
    sheet = np.full((len(lines) * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for i, line in enumerate(lines):
        for j, image in enumerate(line.detach().cpu()):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = image[0]

    with style():
        if ax is None:
            label = 0.9 if names else 0
            size = (7 - label) * sheet.shape[0] / sheet.shape[1]
            ax = axes(height=size + (0.35 if title else 0.1))
        ax.imshow(sheet, vmin=0, vmax=1)
        ax.set_facecolor(PAPER)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_xticks([])
        ax.set_yticks([i * (height + gap) + height / 2 - 0.5 for i in range(len(names))], names)
        ax.tick_params(length=0)
        ax.set_title(title)
    return ax


def curves(
    histories: Mapping[str, Sequence[History]], *, ylabel: str = "loss", ax: Axes | None = None
) -> Axes:
    """Training (dotted) and validation (solid) curves: a colour per name, a line per seed."""
    with style():
        ax = ax or axes(height=3.2)
        for colour, (name, runs) in zip(COLOURS, histories.items(), strict=False):
            for run in runs:
                epochs = range(1, len(run.val) + 1)
                for part, dash, curve in (
                    ("training", ":", run.train),
                    ("validation", "-", run.val),
                ):
                    label = f"{name}, {part}" if run is runs[0] else None
                    ax.plot(epochs, curve, dash, lw=1.3, color=colour, label=label)
        ax.set_yscale("log")
        ax.set_xlabel("epoch")
        ax.set_ylabel(ylabel)
        ax.legend()
    return ax


def codes(
    codes: Tensor, labels: Tensor | None = None, *, title: str = "", ax: Axes | None = None, **dots
) -> Axes:
    """Two coordinates of codes as dots; with labels, each class is drawn in its colour and digit.

    The first two columns are shown. `dots` goes to Axes.scatter.
    """
    points = codes.detach().cpu().numpy()[:, :2]
    with style():
        ax = ax or axes(width=4.6, height=4.4)
        if labels is None:
            ax.scatter(*points.T, **{"s": 8, "lw": 0, **dots})
        else:
            classes = labels.cpu().numpy()
            palette = matplotlib.colormaps["tab10"]
            for label in np.unique(classes):
                group = points[classes == label]
                colour = palette(int(label) % 10)
                ax.scatter(*group.T, color=colour, **{"s": 8, "lw": 0, "alpha": 0.7, **dots})
                ax.annotate(
                    str(label), np.median(group, axis=0), color="black", weight="bold",
                    ha="center", va="center",
                    bbox={"boxstyle": "circle,pad=0.2", "fc": "white", "ec": colour},
                )  # fmt: skip
        ax.set_xlabel("code 1")
        ax.set_ylabel("code 2")
        ax.set_title(title)
    return ax
