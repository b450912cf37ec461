"""Pictures for the chapters: images in rows, training curves, the space of codes.

Every function draws on the Axes it is given, or on a new figure of its own, and returns the Axes.
Nothing here goes through pyplot, so no global state is touched; the last line of a notebook cell
shows the figure: `curves([history]).figure`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from lossderiv.autoencoder.fit import History

# Okabe and Ito's eight colours, which readers with any colour vision tell apart, black last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")

# Between images, so that the white edge of each can be seen.
PAPER = "#e4eaf1"

# White behind everything, so that figures stay readable on a dark page; 7 inches of width are
# about 690 pixels in the book, where 9 points are 12 pixels high.
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.labelsize": 9.5,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.size": 9.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "image.cmap": "gray_r",
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 180,
    "savefig.facecolor": "white",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def style():
    """The book's look, for as long as a `with` block lasts."""
    return matplotlib.rc_context(STYLE)


class Picture(Figure):
    """A figure that a notebook shows by itself, as a PNG of the book's resolution."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
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
