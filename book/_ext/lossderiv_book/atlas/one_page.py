"""All losses on one page: shape, data, outputs, pull, formula, and when each fails.

Everything but the last is read off the records; ``FAILS`` is a TABLE of a sentence each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lossderiv.symbolic.render import in_pieces

from .curves import settings, sweep, window
from .knowledge import Known, by_group
from .pages import Family, data_of
from .words import symbol, tex_name, title

COLUMNS = (
    "family",
    "loss and slope",
    "data",
    "outputs",
    "a far target pulls",
    "fails when",
    "loss",
    "more",
)

FAILS: Mapping[str, str] = {
    "normal": (
        "there are outliers: one of them decides; or a learned width meets pixels without "
        "noise, and collapses"
    ),
    "bernoulli": "the data are grey: then it is a loss without a density",
    "continuous_bernoulli": "it should be sure of a middle grey: one output sets mean and spread",
    "laplace": "a learned width meets pixels that never change, and collapses",
    "categorical": "levels have an order: it does not know that 7 lies beside 8",
    "logistic": (
        "the data end somewhere: it spends probability beyond, unless truncated or discretised"
    ),
    "gumbel": "a value lies far below: its cost grows exponentially",
    "gumbel_min": "a value lies far above: its cost grows exponentially",
    "log_normal": "a zero occurs: it has no likelihood, and what is nearly 0 pulls like an outlier",
    "half_normal": "0 is not the likeliest value, or one value is very large",
    "exponential": "0 is not the likeliest value, or the spread is not the mean",
    "weibull": "a zero occurs: it has no likelihood",
    "rayleigh": "the spread is not in a fixed proportion to the mean; a zero has no likelihood",
    "log_logistic": "a mean is wanted: for a shape up to 1 there is none; a zero has no likelihood",
    "half_logistic": "0 is not the likeliest value",
    "asymmetric_laplace": (
        "a mean is wanted: it estimates a quantile, and quantiles trained apart may cross"
    ),
    "binomial": "counts spread more, or less, than coins do: the spread follows from the mean",
    "beta_binomial": "counts spread less than coins do: then its two outputs run off together",
    "geometric": "0 is not the likeliest count",
    "poisson": "variance and mean differ, or the counts have a top level",
    "negative_binomial": "counts spread less than Poisson's: the dispersion's output runs off",
    "negative_binomial_logits": "the data are nearly Poisson: its outputs run off together",
    "cauchy": (
        "the start is bad: what is far off hardly pulls; or a mean is wanted, for there is none"
    ),
    "half_cauchy": "0 is not the likeliest value, or a mean is wanted, for there is none",
    "student_t": (
        "the start is bad: what is far off hardly pulls; few data do not determine the tails"
    ),
    "hyperbolic_secant": "outliers are gross: their pull is bounded but does not fade",
    "gamma": "a zero occurs: it has no likelihood",
    "inverse_gamma": "a value is nearly 0: a single one decides",
    "logit_normal": "white or black occur: 0 and 1 have no likelihood",
    "beta": "white or black occur: 0 and 1 have no likelihood",
    "beta_mean": "white or black occur: 0 and 1 have no likelihood",
    "kumaraswamy": "white or black occur; or an output is to be the mean, which neither is",
    "inverse_gaussian": "a value is nearly 0: a single one decides",
    "von_mises": "the start faces the other way: on the far side of the circle the pull fades",
    "generalized_normal": (
        "the power is below 1: the slope is infinite at the target; it must be given"
    ),
    "huber": "errors are skewed; where it bends must be given",
    "pareto": "a target lies below the least value, which moves with an output: infinite loss",
    "generalized_pareto": (
        "ξ is below 0 and a target lies beyond the end that it makes: infinite loss"
    ),
    "uniform": "anything is to be learned: no slope inside, infinite loss outside",
    "multivariate_normal_diagonal": "entries err together, or one of them has outliers",
    "ordered_logistic": (
        "some grades are surer than others: cutpoints and width serve all data alike"
    ),
    "multinomial": "counts spread more than independent draws do",
    "dirichlet": "a share is exactly 0: it has no likelihood",
    "multivariate_normal": (
        "vectors are long: outputs grow with the square of their length; outliers decide"
    ),
}
"""Each continues "it fails when"."""

WIDTH, HEIGHT, EDGE = 108, 64, 3
INK, SLOPE, PAPER, ZERO = "#0b5f8a", "#a8510a", "#ffffff", "#9aa5b1"


def tables(all_known: tuple[Known, ...]) -> str:
    """All losses, a table for each kind of data."""
    return by_group(all_known, COLUMNS, row)


def row(known: Known) -> str:
    """What the page says about one family, a cell for each of :data:`COLUMNS`."""
    family = known.family
    page, d = f"families/{family.name}.md", family.derivation
    sections = ("derivation", "certificate", "source")
    cells = (
        f"[{title(family.name)}]({page})",
        f"![{said(family)}](families/pictures/{family.name}-small.svg)",
        data_of(family.density),
        "<br>".join(outputs(family)),
        "<br>".join(pulls(known)),
        FAILS[family.name],
        f"${in_pieces(d.loss)}$",
        "<br>".join(f"[{section}]({page}#{section})" for section in sections),
    )
    return f"| {' | '.join(cells)} |"


def outputs(family: Family) -> Iterator[str]:
    """How many raw outputs there are, and by which link each becomes a parameter."""
    d = family.derivation
    vectors = any(hasattr(o, "label") for o in d.context.outputs)
    yield f"{len(d.outputs)}" + (", vectors" if vectors else "")
    for name, link in d.links.items():
        yield f"${tex_name(name)}$: {link.name}"
    if family.given:
        yield "given: " + ", ".join(f"${tex_name(n)}$" for n in family.given)


def pulls(known: Known) -> Iterator[str]:
    """What becomes of the slope in each output as the target goes to the ends of its domain."""
    alike: dict[str, list[str]] = {}
    for output, kind in known.tail.kinds.items():
        alike.setdefault(kind, []).append(f"${tex_name(output.removeprefix('eta_'))}$")
    for kind, letters in alike.items():
        yield f"{', '.join(letters)}: {kind}"


# --- the small picture -------------------------------------------------------


def said(family: Family) -> str:
    """The alternative text of the small picture."""
    swept = _swept(family)
    return f"{title(family.name)}: the loss and, below it, its slope, over {symbol(swept.output)}"


def small(family: Family) -> str:
    """An SVG: the loss above, its slope below with a line at 0, for the plainest setting."""
    swept = _swept(family)
    loss, slope = swept.drawn[0]
    half = HEIGHT / 2
    top = _path(loss, EDGE, half - EDGE, _reach(loss))
    low, high = _reach(slope)
    low, high = min(low, 0.0), max(high, 0.0)
    bottom = _path(slope, half + EDGE, HEIGHT - EDGE, (low, high))
    zero = _height(0.0, half + EDGE, HEIGHT - EDGE, (low, high))
    stroke = 'fill="none" stroke-width="1.8" stroke-linejoin="round"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{PAPER}"/>'
        f'<path d="M{EDGE} {zero:.1f}H{WIDTH - EDGE}" stroke="{ZERO}" stroke-width="0.8"/>'
        f'<path d="{top}" stroke="{INK}" {stroke}/>'
        f'<path d="{bottom}" stroke="{SLOPE}" {stroke} stroke-dasharray="5 1.5"/></svg>\n'
    )


def _swept(family: Family):
    found = settings(family.density, family.given)
    data = family.density.data
    scalar = data.shape == "scalar"
    return sweep(found, window(found) if scalar else (-4.0, 4.0))


def _reach(values: Tensor) -> tuple[float, float]:
    finite = values[torch.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high - low > 1e-9 else (low - 1, high + 1)


def _height(value: float, top: float, bottom: float, reach: tuple[float, float]) -> float:
    low, high = reach
    return bottom - (value - low) / (high - low) * (bottom - top)


def _path(values: Tensor, top: float, bottom: float, reach: tuple[float, float]) -> str:
    """Every sixth point; where the values are not finite, a gap."""
    parts, pen = [], "M"
    points = values.tolist()[::6]
    for k, value in enumerate(points):
        if not math.isfinite(value):
            pen = "M"
            continue
        x = EDGE + k / (len(points) - 1) * (WIDTH - 2 * EDGE)
        parts.append(f"{pen}{x:.1f} {_height(value, top, bottom, reach):.1f}")
        pen = "L"
    return "".join(parts)
