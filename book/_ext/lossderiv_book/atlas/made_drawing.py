"""The pictures on the pages of constructions: mixtures, levels, bounds, extra zeros, functions.

Our losses draw them. Where a usual formula is set beside ours, both run in float32, and the truth
is computed with 60 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp
import torch
from torch import Tensor

import lossderiv as ld
from lossderiv.autoencoder import plots

from .drawing import DASHES, Picture, svg
from .words import number

DIGITS = 60
GREY = "#888888"


def exact(density, outputs: Sequence[float | Sequence[float]], x: Tensor) -> Tensor:
    """``p(x)`` at every point for the same raw outputs, by our loss in double precision."""
    loss = ld.loss(density, reduction="none", constants="keep", validate=False)
    raw = (torch.tensor(o, dtype=torch.float64) for o in outputs)
    return torch.exp(-loss(tuple(r.expand(*x.shape, *r.shape) for r in raw), x.double()))


@dataclass(frozen=True)
class Measured:
    """How one way of computing fares on a sweep: worst relative errors, and what is not finite."""

    who: str
    value: float
    slope: float
    broken: int
    cases: int


def measure(who: str, got: tuple[Tensor, Tensor], truth: Sequence[tuple[mp.mpf, mp.mpf]]):
    """Losses and slopes against the truth; errors over what is finite."""
    errors: tuple[list[float], list[float]] = ([], [])
    broken = 0
    for value, slope, true in zip(*(t.tolist() for t in got), truth, strict=True):
        broken += not (math.isfinite(value) and math.isfinite(slope))
        for kept, a, b in zip(errors, (value, slope), true, strict=True):
            if math.isfinite(a):
                kept.append(float(abs(a - b) / abs(b)))
    worst = (max(e, default=math.nan) for e in errors)
    return Measured(who, *worst, broken, len(truth))


def with_slope(loss: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """A loss and its slope in the argument, as autograd has it."""
    moved = at.clone().requires_grad_(True)
    value = loss(moved)
    (slope,) = torch.autograd.grad(value.sum(), moved)
    return value.detach(), slope


def true_slopes(nll: Callable[[mp.mpf], mp.mpf], at: Tensor) -> list[tuple[mp.mpf, mp.mpf]]:
    with mp.workdps(DIGITS):
        places = [mp.mpf(v) for v in at.tolist()]
        return [(nll(v), mp.diff(nll, v)) for v in places]


# --- mixtures ---------------------------------------------------------------------------------

SCORES, MEANS, SCALES = (0.0, 0.7, -0.4), (-2.0, 0.5, 3.0), (-0.5, 0.1, -0.9)
BETWEEN = (-0.75, 2.0)


def shares(x: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted densities of the components, and each one's share: its responsibility."""
    weights = torch.softmax(torch.tensor(SCORES, dtype=torch.float64), 0)
    parts = [
        w * exact("normal", (mu, s), x) for w, mu, s in zip(weights, MEANS, SCALES, strict=True)
    ]
    weighted = torch.stack(parts)
    return weighted, weighted / weighted.sum(0)


def mixture_picture() -> Picture:
    x = torch.linspace(-5, 5, 601).double()
    whole = exact(ld.mixture("normal", 3), (SCORES, MEANS, SCALES), x)
    weighted, share = shares(x)
    with plots.style():
        above, below = plots.axes(2, 1, width=7, height=4.2, sharex=True)
        above.plot(x, whole, color="black", label="mixture")
        for k in range(3):
            look = {"color": plots.COLOURS[k], "linestyle": DASHES[k]}
            above.fill_between(x, 0, weighted[k], color=plots.COLOURS[k], alpha=0.15, linewidth=0)
            above.plot(x, weighted[k], label=f"component {k + 1}", **look)
            below.plot(x, share[k], **look)
        above.set(ylabel="density", ylim=(0, None))
        above.legend(loc="upper left")
        below.set(xlabel="$x$", ylabel="responsibility", ylim=(-0.03, 1.03), xlim=(-5, 5))
        drawn = svg(above.figure)
    _, at = shares(torch.tensor(BETWEEN).double())
    said = "; ".join(
        f"at x = {number(v)} they are {', '.join(f'{s:.2f}' for s in at[:, k].tolist())}"
        for k, v in enumerate(BETWEEN)
    )
    return Picture(
        drawn,
        "Above, three normal densities times their weights, and their sum, the mixture. Below, the "
        f"share that each has in a datum at $x$: {said.replace(' x = ', ' $x$ = ')}. A datum moves "
        "a component's parameters as much as that share says.",
        "Two plots over x. Above, a density with three peaks over its three weighted parts. Below, "
        f"three responsibilities that add up to 1 and change over between the peaks: {said}.",
    )


def mixture_measured() -> list[Measured]:
    """The loss of a datum further and further out, and its slope in the second mean."""
    far = torch.linspace(1, 40, 79)
    raw = [torch.tensor(v) for v in (SCORES, MEANS, SCALES)]
    ours = ld.loss(ld.mixture("normal", 3), reduction="none", constants="keep")

    def parts(second):
        first, third = (raw[1][k].expand_as(second) for k in (0, 2))
        means = torch.stack([first, second, third], -1)
        return tuple(r.expand_as(means) if r is not raw[1] else means for r in raw)

    def plain(second):
        scores, means, scales = parts(second)
        z = (far[:, None] - means) / scales.exp()
        p = torch.exp(-0.5 * z * z) / (scales.exp() * math.sqrt(2 * math.pi))
        return -torch.log((torch.softmax(scores, -1) * p).sum(-1))

    def torchs(second):
        scores, means, scales = parts(second)
        normal = torch.distributions.Normal(means, scales.exp())
        weights = torch.distributions.Categorical(logits=scores)
        return -torch.distributions.MixtureSameFamily(weights, normal).log_prob(far)

    def nll(x):
        def of(second):
            first, _, third = raw[1].tolist()
            means = (first, second, third)
            scores, scales = ([mp.exp(v) for v in raw[k].tolist()] for k in (0, 2))
            p = (
                w * mp.exp(-(((x - m) / s) ** 2) / 2) / (s * mp.sqrt(2 * mp.pi))
                for w, m, s in zip(scores, means, scales, strict=True)
            )
            return -mp.log(sum(p) / sum(scores))

        return of

    at = torch.full_like(far, MEANS[1])
    with mp.workdps(DIGITS):
        truth = [
            true_slopes(nll(mp.mpf(x)), a[None])[0] for x, a in zip(far.tolist(), at, strict=True)
        ]
    ways = {
        "log of the weighted sum, as it stands": plain,
        "`torch.distributions.MixtureSameFamily`": torchs,
        "**lossderiv**": lambda second: ours(parts(second), far),
    }
    return [measure(who, with_slope(way, at), truth) for who, way in ways.items()]


# --- levels -----------------------------------------------------------------------------------

FEW, BAR = 16, 0.35


def levels_picture() -> Picture:
    """A logistic density and what it gives to each of few levels, the first one open."""
    outputs = (-0.7, math.log(0.16))
    x, step = torch.linspace(-1.5, 1.2, 601).double(), 2 / (FEW - 1)
    density = exact("logistic", outputs, x)
    levels = torch.arange(FEW)
    p = exact(ld.discretized("logistic", levels=FEW), outputs, levels)
    places = -1 + step * levels
    edge = float(places[0]) + step / 2
    with plots.style():
        ax = plots.axes(width=7, height=3)
        ax.bar(
            places.numpy(), (p / step).numpy(), width=0.94 * step, color=plots.COLOURS[0], alpha=0.3
        )
        open_bin = x <= edge
        ax.fill_between(
            x[open_bin], 0, density[open_bin], color=plots.COLOURS[1], alpha=0.35, linewidth=0
        )
        ax.plot(x, density, color="black", linewidth=1.2)
        ax.set(xlabel="place of the level", ylabel="probability / width of a bin")
        ax.set_xlim(-1.5, 1.2)
        drawn = svg(ax.figure)
    first, tail = float(p[0]), float(exact("logistic", outputs, places[:1])[0] * step)
    return Picture(
        drawn,
        f"A logistic density, and the probabilities of {FEW} levels from −1 to 1 as bars. Each bar "
        "has the area under the curve over its bin; the first bin takes all of the tail on its "
        f"left as well (shaded): {first:.3f}, where height times width would give {tail:.3f}. The "
        f"{FEW} probabilities add up to {float(p.sum()):.6f}.",
        f"A bell-shaped curve with its peak near the left end of {FEW} bars. The first bar is much "
        "higher than the curve above it, because it holds the tail on its left, which is shaded.",
    )


LEVELS = 256
HALF = 1 / (LEVELS - 1)


def differences(mu: Tensor, s: float, x: float) -> Tensor:
    """Minus the log of a level's probability, the difference as it stands."""
    y = 2 * HALF * x - 1
    return -torch.log(torch.sigmoid((y + HALF - mu) / s) - torch.sigmoid((y - HALF - mu) / s))


def clamped(mu: Tensor, s: float, x: float) -> Tensor:
    """The same with a floor of 1e-12 below the difference, and the density below 1e-5."""
    y, softplus = 2 * HALF * x - 1, torch.nn.functional.softplus
    difference = torch.sigmoid((y + HALF - mu) / s) - torch.sigmoid((y - HALF - mu) / s)
    z = (y - mu) / s
    dense = z - math.log(s) - 2 * softplus(z) + math.log(2 * HALF)
    return -torch.where(difference > 1e-5, torch.log(difference.clamp(min=1e-12)), dense)


def ours(mu: Tensor, s: float, x: float) -> Tensor:
    loss = ld.loss(ld.discretized("logistic", levels=LEVELS), reduction="none", validate=False)
    return loss((mu, torch.full_like(mu, math.log(s))), torch.full_like(mu, x))


def level_truth(s: float, x: float) -> Callable[[mp.mpf], mp.mpf]:
    """By ``F(b) - F(a) = (e^-a - e^-b)/((1 + e^-a)(1 + e^-b))``."""

    def nll(mu):
        width, scale = mp.mpf(1) / (LEVELS - 1), mp.exp(mp.mpf(float(torch.tensor(math.log(s)))))
        y = 2 * width * x - 1
        a, b = (mp.exp(-(y + e * width - mu) / scale) for e in (-1, 1))
        return mp.log1p(a) + mp.log1p(b) - mp.log(a - b)

    return nll


WAYS = {"difference, as it stands": differences, "with clamps": clamped, "**lossderiv**": ours}
BINS = {"a scale of 4 bins": 8 * HALF, "a scale of a tenth of a bin": 0.2 * HALF}
LEVEL, REACH = 200.0, 100


def sweep(s: float) -> tuple[Tensor, Tensor]:
    """How many bins the mean lies off the level, and the mean itself."""
    off = torch.linspace(0, REACH, 201)[1:]
    return off, (2 * HALF * (LEVEL - off) - 1)


def tails_picture() -> Picture:
    """Loss and slope of a level further and further from the mean."""
    with plots.style():
        grid = plots.axes(2, 2, width=7, height=4.6, sharex=True)
        for column, (said, s) in enumerate(BINS.items()):
            off, mu = sweep(s)
            for k, (who, way) in reversed(list(enumerate(WAYS.items()))):
                value, slope = with_slope(lambda m, way=way, s=s: way(m, s, LEVEL), mu)
                look = {
                    "color": plots.COLOURS[(1, 2, 0)[k]],
                    "linestyle": ("-", (0, (4, 2)), "-")[k],
                }
                look["linewidth"] = (1.3, 1.6, 3.5)[k]
                name = who.replace("*", "")
                for ax, curve in zip(grid[:, column], (value, -slope * s), strict=True):
                    shown = torch.where(torch.isfinite(curve), curve, torch.nan)
                    ax.plot(off, shown, label=name, alpha=0.45 if k == 2 else 1, **look)
            grid[0, column].set_title(said)
            grid[1, column].set_xlabel("bins between mean and level")
        for ax in grid[1]:
            ax.set_ylim(-0.1, 1.3)
        grid[0, 0].set_ylabel("loss (nats)")
        grid[1, 0].set_ylabel("pull on the mean × scale")
        grid[0, 0].legend(loc="lower right")
        drawn = svg(grid[0, 0].figure)
    ends = []
    for said, s in BINS.items():
        off, mu = sweep(s)
        value = differences(mu, s, LEVEL)
        lost = off[~torch.isfinite(value)]
        wrong = (clamped(mu, s, LEVEL) - ours(mu, s, LEVEL)).abs().max()
        ends.append(
            f"for {said} the plain difference is infinite from {float(lost[0]):.3g} bins on, and "
            f"the clamped one is off by up to {number(float(wrong))} nats"
        )
    return Picture(
        drawn,
        "The loss of one level in float32 as the mean moves away from it, and how hard the level "
        "pulls the mean back (in units of one over the scale, so far out it must be 1). In "
        f"numbers: {'; '.join(ends)}. A line ends where the result is no number.",
        "Four plots over the distance in bins, for a wide and a narrow density. Our loss is a "
        f"straight line with pull 1. In numbers: {'; '.join(ends)}.",
    )


def levels_measured() -> list[Measured]:
    """All three ways on both scales together, against 60 digits."""
    found = []
    truth = {s: true_slopes(level_truth(s, LEVEL), sweep(s)[1]) for s in BINS.values()}
    every = [pair for s in BINS.values() for pair in truth[s]]
    for who, way in WAYS.items():
        got = [
            with_slope(lambda m, way=way, s=s: way(m, s, LEVEL), sweep(s)[1]) for s in BINS.values()
        ]
        whole = tuple(torch.cat(parts) for parts in zip(*got, strict=True))
        found.append(measure(who, whole, every))
    return found


def total_of_pixelcnn() -> float:
    """The sum of the probabilities of all 256 levels, for ten components; in float32."""
    g = torch.Generator().manual_seed(0)
    density = ld.mixture(ld.discretized("logistic", levels=LEVELS), 10)
    loss = ld.loss(density, reduction="none")
    raw = tuple(torch.randn(10, generator=g).expand(LEVELS, 10) - shift for shift in (0, 0, 3))
    return float(torch.exp(-loss(raw, torch.arange(LEVELS).float())).sum())


# --- bounds -----------------------------------------------------------------------------------

OUTSIDE = (0.4, -0.5, -4.0)
SIGMA = 0.5


def bounds_picture() -> Picture:
    x = torch.linspace(0, 1, 301).double()
    log_sigma, heaps = math.log(SIGMA), []
    with plots.style():
        left, right = plots.axes(1, 2, width=7, height=2.9)
        for k, mu in enumerate(OUTSIDE):
            look = {"color": plots.COLOURS[k], "linestyle": DASHES[k]}
            said = rf"$\mu = {number(mu)}$".replace("−", "-")
            left.plot(
                x, exact(ld.truncated("normal", 0, 1), (mu, log_sigma), x), label=said, **look
            )
            p = exact(ld.censored("normal", 0, 1), (mu, log_sigma), x)
            right.plot(x[1:-1], p[1:-1], **look)
            shift = 0.012 * (k - 1)
            ends = torch.tensor([0.0, 1.0]) + shift
            right.vlines(ends, 0, p[[0, -1]], color=plots.COLOURS[k], linewidth=2)
            right.plot(ends, p[[0, -1]], "oDs"[k], color=plots.COLOURS[k], markersize=4)
            heaps.append(f"{float(p[0]):.2f} and {float(p[-1]):.2f}")
        left.set(title="truncated", xlabel="$x$", ylabel="density", ylim=(0, 5))
        left.legend()
        right.set(title="censored", xlabel="$x$", ylabel="density; at the ends probability")
        drawn = svg(left.figure)
    return Picture(
        drawn,
        f"The same three normal densities, σ = {SIGMA:g}, truncated and censored at 0 and 1. "
        "Truncation divides by what lies inside, so that a mean far outside leaves a steep "
        "density at the near end. Censoring heaps the tails at the ends; the probabilities there "
        f"are, in the order of the legend, {'; '.join(heaps)}.",
        "Left, three densities over 0 to 1 that fall more steeply the further the mean lies to "
        f"the left. Right, lower curves with stems at both ends, of heights {'; '.join(heaps)}.",
    )


def bounds_measured() -> list[Measured]:
    """Means up to 20 deviations outside, in float32."""
    x = 0.3
    mu = torch.linspace(-10, 0.4, 53)
    ours_ = ld.loss(ld.truncated("normal", 0, 1), reduction="none", constants="keep")
    s = torch.full_like(mu, math.log(SIGMA))
    normal = torch.distributions.Normal

    def plain(m):
        d = normal(m, s.exp())
        inside = d.cdf(torch.ones_like(m)) - d.cdf(torch.zeros_like(m))
        return -(d.log_prob(torch.full_like(m, x)) - torch.log(inside))

    def nll(m):
        sigma, place = mp.exp(mp.mpf(float(s[0]))), mp.mpf(float(torch.tensor(x)))
        a, b = -m / sigma, (1 - m) / sigma
        mass = (mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))) / 2
        z = (place - m) / sigma
        return z * z / 2 + mp.log(sigma) + mp.log(2 * mp.pi) / 2 + mp.log(mass)

    truth = true_slopes(nll, mu)
    ways = {
        "difference of distribution functions, as it stands": plain,
        "**lossderiv**": lambda m: ours_((m, s), torch.full_like(m, x)),
    }
    return [measure(who, with_slope(way, mu), truth) for who, way in ways.items()]


# --- zeros ------------------------------------------------------------------------------------

GATE, RATE = 0.3, 3.0


def zeros_picture() -> Picture:
    x = torch.arange(11)
    logit, log_rate = math.log(GATE / (1 - GATE)), math.log(RATE)
    rows = {
        "Poisson": exact("poisson", (log_rate,), x),
        "zero-inflated": exact(ld.zero_inflated("poisson"), (logit, log_rate), x),
        "hurdle": exact(ld.hurdle("poisson"), (logit, log_rate), x),
    }
    with plots.style():
        ax = plots.axes(width=7, height=2.8)
        for k, (name, p) in enumerate(rows.items()):
            at = x + 0.2 * (k - 1)
            ax.vlines(at, 0, p, color=plots.COLOURS[k], linewidth=2)
            ax.plot(at, p, "oDs"[k], color=plots.COLOURS[k], markersize=4, label=name)
        ax.set(xlabel="count $x$", ylabel="probability", ylim=(0, None), xticks=x.tolist())
        ax.legend()
        drawn = svg(ax.figure)
    zeros = ", ".join(f"{float(p[0]):.3f} ({name})" for name, p in rows.items())
    return Picture(
        drawn,
        f"Counts with rate {RATE:g} and a gate of {GATE:g}. Probability of a zero: {zeros}. "
        "Behind the gate zero-inflation still draws zeros of its own; the hurdle does not.",
        f"Three rows of stems over the counts 0 to 10. Probability of a zero: {zeros}.",
    )


# --- functions of a number --------------------------------------------------------------------

TANH = ((0.0, 0.5), (0.0, 1.0), (1.0, 1.0))


def transformed_picture() -> Picture:
    x = torch.linspace(-1, 1, 601).double()[1:-1]
    said = [f"mean {number(m)}, scale {number(s)}" for m, s in TANH]
    highest = []
    with plots.style():
        ax = plots.axes(width=7, height=2.8)
        for k, (mu, sigma) in enumerate(TANH):
            p = exact(ld.transformed("normal", "tanh"), (mu, math.log(sigma)), x)
            ax.plot(x, p, color=plots.COLOURS[k], linestyle=DASHES[k], label=said[k])
            highest.append(f"{number(round(float(x[p.argmax()]), 2))} ({said[k]})")
        ax.set(xlabel="$y$", ylabel="density", ylim=(0, None))
        ax.legend()
        drawn = svg(ax.figure)
    return Picture(
        drawn,
        "What the hyperbolic tangent makes of a normal number, for three normals. Highest at "
        f"{', '.join(highest)}: where the function flattens, an interval shrinks and its density "
        "grows.",
        f"Three density curves between −1 and 1, highest at {', '.join(highest)}.",
    )
