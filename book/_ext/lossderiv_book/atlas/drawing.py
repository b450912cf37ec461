"""The two pictures of a family: its density in three settings, and its loss with its slope.

Each is 3.5 inches wide: side by side they fill the page, on a phone each fills the screen.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
import torch
from torch import Tensor

from lossderiv.autoencoder import plots
from lossderiv.symbolic.records import Density, Domain

from . import planes
from .curves import (
    LEVELS,
    AtlasError,
    Fate,
    Setting,
    Sweep,
    axis,
    settings,
    sweep,
    window,
)
from .words import assignments, number, symbol, tex_name

SIZE = (3.5, 3.5)
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))  # told apart without colour as well


@dataclass(frozen=True)
class Picture:
    """An SVG, what it says to those who see it, and to those who do not."""

    svg: str
    caption: str
    alt: str


def svg(figure) -> str:
    """The figure as text that is the same in every build."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "atlas", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def pictures(density: Density, given: Mapping[str, object]) -> tuple[Picture, Picture]:
    """The density and the loss of a family; ``given`` are the parameters that must be given."""
    found = settings(density, given)
    kind = density.data.shape
    if kind not in PICTURES:
        raise AtlasError(
            f"The Atlas has no picture for data of shape {kind!r} ({density.name}). Add a row for "
            "it to PICTURES in book/_ext/lossderiv_book/atlas/drawing.py."
        )
    with plots.style():
        picture, span = PICTURES[kind](found)
        return picture, draw_loss(sweep(found, span), varied(found))


def varied(found: tuple[Setting, ...]) -> tuple[str, ...]:
    """The parameters in which the settings differ."""
    names = found[0].theta
    return tuple(n for n in names if len({str(s.theta[n]) for s in found}) > 1)


def label(setting: Setting, names: tuple[str, ...], style: str = "tex") -> str:
    return assignments({n: setting.theta[n] for n in names}, style)


# --- the density ------------------------------------------------------------------------------


def draw_line(found: tuple[Setting, ...]) -> tuple[Picture, tuple[float, float]]:
    """Numbers on an axis: lines for continuous data, stems for counts."""
    data = found[0].derivation.density.data
    span = window(found)
    x = axis(found, *span)
    return _density_picture(found, x, data), span


def draw_classes(found: tuple[Setting, ...]) -> tuple[Picture, tuple[float, float]]:
    """Classes on an axis, as many as the outputs or the given levels make."""
    last = max(int(s.draws.max()) for s in found)
    x = torch.arange(last + 1)
    return _density_picture(found, x, found[0].derivation.density.data), (0.0, float(last))


def draw_vectors(found: tuple[Setting, ...]) -> tuple[Picture, tuple[float, float]]:
    """Vectors: see ``planes``."""
    figure, caption, alt, span = planes.draw(found, varied(found))
    return Picture(svg(figure), caption, alt), span


def _density_picture(found: tuple[Setting, ...], x: Tensor, data: Domain) -> Picture:
    names = varied(found)
    discrete = data.integer
    curves = [setting.density(x) for setting in found]
    for setting, p in zip(found, curves, strict=True):
        if not torch.isfinite(p).any():
            raise AtlasError(
                f"The density of {setting.derivation.density.name} is finite nowhere at "
                f"{label(setting, names, 'plain')}: give it a row in LOOKS "
                "(book/_ext/lossderiv_book/atlas/settings.py)."
            )
    ax = plots.axes(width=SIZE[0], height=SIZE[1])
    gap = 0.0 if len(x) > 40 else 0.18
    for k, (setting, p) in enumerate(zip(found, curves, strict=True)):
        said, colour = label(setting, names), plots.COLOURS[k]
        if discrete:
            at = x + gap * (k - 1)
            if gap:
                ax.vlines(at, 0, p, color=colour, linewidth=1.6)
            ax.plot(at, p, "oDs"[k], color=colour, markersize=3.5, label=said)
        else:
            ax.plot(x, p, color=colour, linestyle=DASHES[k], label=said)
    top = _top(curves, discrete)
    ax.set_ylim(0, top)
    if discrete and len(x) <= 12:
        ax.set_xticks(x)
    ax.set_xlabel("class $x$" if data.shape == "category" else "$x$")
    ax.set_ylabel("probability $p(x)$" if discrete else "density $p(x)$")
    _legend_above(ax, max(len(label(s, names, "plain")) for s in found))
    return Picture(svg(ax.figure), *_density_words(found, x, curves, top, discrete))


def _legend_above(ax, longest: int) -> None:
    """Side by side if the longest entry, in letters, leaves room for that."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=3 if longest < 9 else 1,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.8,
    )


def _top(curves: list[Tensor], discrete: bool) -> float:
    """The height of the picture: curves that grow without limit at an end are cut."""
    peaks = [float(p[torch.isfinite(p)].max()) for p in curves]
    if discrete or max(peaks) < 1.2 * max(float(p[5:-5].max()) for p in curves):
        return 1.08 * max(peaks)
    usual = max(float(p[5:-5].quantile(0.97)) for p in curves)
    return 1.6 * usual


def _density_words(found, x, curves, top: float, discrete: bool) -> tuple[str, str]:
    names = varied(found)
    same = {n: v for n, v in found[0].theta.items() if n not in names}
    peaks = [_peak(x, p, top) for p in curves]
    kind = "probabilities" if discrete else "density"
    held = f", all with {assignments(same)}" if same else ""
    said = "; ".join(f"{peak} ({label(s, names)})" for s, peak in zip(found, peaks, strict=True))
    caption = f"The {kind} of $x$ in three settings{held}. Highest: {said}."
    plainly = "; ".join(
        f"{peak} ({label(s, names, 'plain')})" for s, peak in zip(found, peaks, strict=True)
    )
    shape = "Three rows of stems" if discrete else "Three curves"
    low, high = number(float(x[0])), number(float(x[-1]))
    return caption, f"{shape}: the {kind} of x from {low} to {high}. Highest: {plainly}."


def _peak(x: Tensor, p: Tensor, top: float) -> str:
    """Where a curve is highest, in words."""
    finite = torch.where(torch.isfinite(p), p, torch.zeros_like(p))
    peak, at = float(finite.max()), int(finite.argmax())
    if float(finite.min()) > 0.995 * peak:
        return f"{number(peak)} everywhere"
    place = _near(float(x[at]), float(x[-1] - x[0]))
    if peak > top:
        return f"beyond the picture at x = {place}"
    return f"{number(peak)} at x = {place}"


def _near(x: float, width: float) -> str:
    """A place on an axis, to the precision of the eye."""
    step = 10.0 ** math.floor(math.log10(width / 30))
    return number(round(x / step) * step)


# --- the loss ---------------------------------------------------------------------------------


def draw_loss(made: Sweep, names: tuple[str, ...]) -> Picture:
    """Above the loss over one raw output, below its slope."""
    above, below = plots.axes(2, 1, width=SIZE[0], height=SIZE[1], sharex=True)
    for k, ((setting, x), (loss, slope)) in enumerate(zip(made.curves, made.drawn, strict=True)):
        said = f"$x = {_tex_number(x)}$" if made.by_target else label(setting, names)
        look = {"color": plots.COLOURS[k], "linestyle": DASHES[k], "label": said}
        above.plot(made.values, loss, **look)
        below.plot(made.values, slope, **look)
    for ax, limits in zip((above, below), _view(made.drawn), strict=True):
        ax.set_ylim(*limits)
    below.set_xlim(float(made.values[0]), float(made.values[-1]))
    below.axhline(0, color="#888888", linewidth=0.8, zorder=0)
    vector = made.curves[0][0].raw[made.output].dim() > 0
    name = tex_name(made.output) + ("[0]" if vector else "")
    above.set_ylabel("loss")
    below.set_ylabel("slope")
    below.set_xlabel(f"raw output ${name}$")
    above.figure.align_ylabels()
    if made.by_target:
        _legend_above(above, max(len(number(x)) + 4 for _, x in made.curves))
    else:
        above.set_title(f"$x = {_tex_number(made.curves[0][1])}$", fontsize=9.5)
    return Picture(svg(above.figure), *_loss_words(made, names, name))


def _tex_number(x: object) -> str:
    return number(x).replace("−", "-")


def _view(drawn) -> tuple[tuple[float, float], tuple[float, float]]:
    """Which losses are in view, and which slopes belong to them: steep ends are cut."""
    bounds, lowest = [], []
    for loss, _ in drawn:
        loss = loss[torch.isfinite(loss)]
        low, mid, high = float(loss.min()), float(loss.median()), float(loss.max())
        bounds.append(low + min(high - low, max(6.0, 3 * (mid - low))))
        lowest.append(low)
    top = max(sorted(bounds)[len(bounds) // 2], *lowest)
    seen = [slope[torch.isfinite(loss) & (loss <= top)] for loss, slope in drawn]
    low, high = ([float(end(s)) for s in seen] for end in (torch.min, torch.max))
    slopes = _moderate(min(low), low), _moderate(max(high), high)
    return _padded(min(lowest), top), _padded(*slopes)


def _moderate(furthest: float, ends: list[float]) -> float:
    """The furthest of the curves' ends, unless it is far beyond that of the middle curve."""
    middle = sorted(map(abs, ends))[len(ends) // 2]
    return math.copysign(min(abs(furthest), 4 * middle), furthest)


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.06 * (high - low) or 1.0
    return low - pad, high + pad


def _loss_words(made: Sweep, names: tuple[str, ...], name: str) -> tuple[str, str]:
    curves = [
        (f"$x = {_tex_number(x)}$", f"x = {number(x)}")
        if made.by_target
        else (label(s, names), label(s, names, "plain"))
        for s, x in made.curves
    ]
    lowest = []
    for (_, plainly), (loss, _) in zip(curves, made.drawn, strict=True):
        at = int(torch.where(torch.isfinite(loss), loss, torch.inf).argmin())
        if 0 < at < len(loss) - 1:
            width = float(made.values[-1] - made.values[0])
            lowest.append(f"{_near(float(made.values[at]), width)} ({plainly})")
    about = (
        f"for {len(curves)} targets"
        if made.by_target
        else f"at $x = {_tex_number(made.curves[0][1])}$, in the three settings"
    )
    infinite = any(torch.isinf(loss).any() for loss, _ in made.drawn)
    outside = "Where no line is drawn the loss is infinite: the target is impossible there. "
    caption = (
        f"The loss and its slope as the raw output ${name}$ moves, {about}. "
        f"{outside * infinite}{_ends(made, [c[0] for c in curves])}"
    )
    bottom = f"lowest near {', '.join(lowest)}" if lowest else "without a lowest point"
    alt = (
        f"Two plots over the raw output {symbol(made.output)}. Above, the loss, {bottom}. "
        f"Below, its slope. {_ends(made, [c[1] for c in curves])}"
    )
    return caption, alt


def _ends(made: Sweep, curves: list[str]) -> str:
    """What the slope does far out on either side."""
    left, right = (_said(fates, curves) for fates in made.ends())
    if left == right:
        return f"Far out on either side the slope {left}."
    return f"Far to the left the slope {left}; far to the right it {right}."


def _said(fates: tuple[Fate, ...], curves: list[str]) -> str:
    """``fades to zero``; where the curves differ, what each of them does."""
    kinds: dict[str, list[int]] = {}
    for k, fate in enumerate(fates):
        kinds.setdefault(fate.kind, []).append(k)
    parts = []
    for kind, which in kinds.items():
        values = dict.fromkeys(number(fates[k].value) for k in which if kind == LEVELS)
        said = f"{kind} {listed(values)}" if values else kind
        parts.append(said if len(kinds) == 1 else f"{said} for {listed(curves[k] for k in which)}")
    return ", ".join(parts)


def listed(items) -> str:
    """``a, b and c``."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


PICTURES: dict[str, Callable] = {
    "scalar": draw_line,
    "category": draw_classes,
    "vector": draw_vectors,
    "simplex": draw_vectors,
}
