"""What the Atlas draws, as numbers: densities over the data, losses and slopes over an output.

Everything is computed by the package's own losses, in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

import lossderiv as ld
from lossderiv.autograd import inverse_links
from lossderiv.catalogue import FAMILIES
from lossderiv.errors import LossDerivError
from lossderiv.symbolic.records import Density, Derivation, Domain, Link

from .settings import looks

DRAWS, POINTS = 4_000, 601


class AtlasError(LossDerivError):
    """A family that cannot be drawn, with what to add so that it can."""


@dataclass(frozen=True)
class Setting:
    """One choice of all parameters, with the loss made for it and its raw outputs there."""

    theta: Mapping[str, object]
    exact: ld.Loss
    loss: ld.Loss
    raw: Mapping[str, Tensor]

    def density(self, x: Tensor) -> Tensor:
        """``p(x)`` at every point (for vectors, along the last axis)."""
        event = 1 if self.derivation.density.data.shape in ("vector", "simplex") else 0
        shape = x.shape[: x.dim() - event]
        outputs = tuple(r.expand(*shape, *r.shape) for r in self.raw.values())
        return torch.exp(-self.exact(outputs, x))

    def swept(self, name: str, values: Tensor, x: object) -> tuple[Tensor, Tensor]:
        """Loss and slope while one raw output (a vector's first entry) takes ``values``."""
        raw = {n: r.expand(len(values), *r.shape).clone() for n, r in self.raw.items()}
        (raw[name][..., 0] if raw[name].dim() > 1 else raw[name])[:] = values
        raw[name].requires_grad_(True)
        kind = torch.int64 if self.derivation.density.data.shape == "category" else values.dtype
        target = torch.as_tensor(x, dtype=kind)
        loss = self.loss(tuple(raw.values()), target.expand(len(values), *target.shape))
        (slope,) = torch.autograd.grad(loss.sum(), raw[name])
        slope = slope[..., 0] if slope.dim() > 1 else slope
        return loss.detach(), torch.where(torch.isfinite(loss), slope, torch.nan)

    @cached_property
    def draws(self) -> Tensor:
        """Many draws of x; the same each time."""
        generator = torch.Generator().manual_seed(0)
        outputs = tuple(r.expand(DRAWS, *r.shape) for r in self.raw.values())
        return self.loss.sample(outputs, generator=generator).double()

    def link(self, output: str) -> Link:
        return self.derivation.links[output.removeprefix("eta_")]

    def domain(self, output: str) -> Domain:
        """Where the output's parameter lives."""
        return self.derivation.density.parameters[output.removeprefix("eta_")]

    @property
    def derivation(self) -> Derivation:
        return self.loss.derivation


def raw_output(link: Link, value: object) -> Tensor:
    """The raw output that a link takes to ``value``; for a simplex the log-probabilities."""
    if link.name == "softmax":
        return torch.log(torch.tensor(value, dtype=torch.float64))
    if isinstance(value, (tuple, list)):
        return torch.stack([raw_output(link, v) for v in value])
    inverse = inverse_links()[link.name]
    low, high = torch.tensor([-60.0, 60.0], dtype=torch.float64)
    for _ in range(80):  # inverse links rise, so halving finds the place
        half = (low + high) / 2
        low, high = (half, high) if inverse(half) < value else (low, half)
    return high if link.name != "identity" else torch.tensor(float(value), dtype=torch.float64)


def settings(density: Density, given: Mapping[str, object]) -> tuple[Setting, ...]:
    """The three settings in which a family is drawn; made once."""
    return _settings(density.name, tuple(given.items()))


@cache
def _settings(name: str, pairs: tuple[tuple[str, object], ...]) -> tuple[Setting, ...]:
    density, given, found = FAMILIES[name], dict(pairs), []
    for theta in looks(density, given):
        fixed = {n: theta[n] for n in given}
        options = {"reduction": "none", "validate": False, **fixed}
        loss = ld.loss(density.name, **options)
        exact = ld.loss(density.name, constants="keep", **options)
        links = loss.derivation.links
        raw = {f"eta_{n}": raw_output(links[n], theta[n]) for n in links}
        if tuple(raw) != loss.outputs:
            raise AtlasError(
                f"The raw outputs of {density.name} are {', '.join(loss.outputs)}, which are not "
                "one for each learned parameter: say in book/_ext/lossderiv_book/atlas/curves.py "
                "how its settings become raw outputs."
            )
        found.append(Setting(theta, exact, loss, raw))
    return tuple(found)


@dataclass(frozen=True)
class Sweep:
    """Which raw output the loss is drawn over, and what tells its curves apart.

    ``targets`` has a value of x for each curve; ``by_target`` says that the curves differ in it,
    else they differ in their setting.
    """

    output: str
    values: Tensor
    by_target: bool
    curves: tuple[tuple[Setting, object], ...]

    @cached_property
    def drawn(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Loss and slope of each curve."""
        return tuple(s.swept(self.output, self.values, x) for s, x in self.curves)

    def ends(self) -> tuple[tuple[Fate, ...], tuple[Fate, ...]]:
        """What becomes of each curve's slope far to the left and far to the right."""
        setting, _ = self.curves[0]
        if setting.domain(self.output).name == "Angle":
            return ((Fate(TURNS),) * len(self.curves),) * 2
        exponential = setting.link(self.output).onto == "Positive"
        further = 2 * float(self.values[-1] - self.values[0]) * (1 if exponential else 30)
        left = torch.stack([self.values[0] - further, self.values[0] - 2 * further])
        right = torch.stack([self.values[-1] + further, self.values[-1] + 2 * further])
        return tuple(
            tuple(_fate(s.swept(self.output, far, x)[1]) for s, x in self.curves)
            for far in (left, right)
        )


FADES, LEVELS, GROWS = "fades to zero", "levels off at", "keeps growing"
TURNS, GONE = "comes round with every turn", "is gone, for the loss is infinite"


@dataclass(frozen=True)
class Fate:
    """What becomes of a slope far out; where it levels off, at which value."""

    kind: str
    value: float = 0.0


def _fate(slopes: Tensor) -> Fate:
    """From a slope far out and twice as far."""
    near, far = (float(v) for v in slopes)
    if math.isnan(far):
        return Fate(GONE)
    if abs(far) < 1e-6 or abs(far) < 0.8 * abs(near):
        return Fate(FADES)
    return Fate(GROWS) if abs(far) > 1.25 * abs(near) else Fate(LEVELS, far)


def sweep(found: tuple[Setting, ...], window: tuple[float, float]) -> Sweep:
    """The first output such that other parameters tell the curves apart; else by the target."""
    varied = [n for n in found[0].theta if len({str(setting.theta[n]) for setting in found}) > 1]
    outputs = found[0].loss.outputs
    telling = [o for o in outputs if any(f"eta_{n}" != o for n in varied)]
    data = found[0].derivation.density.data
    by_target = not telling or data.shape == "category"
    output = outputs[0] if by_target else telling[0]
    if by_target:
        base = found[1] if found[0].raw[outputs[0]].dim() else found[0]  # entries all equal hide
        curves = tuple((base, x) for x in targets(found))
    else:
        x = middle(torch.cat([s.draws for s in found]), data)
        curves = tuple((setting, x) for setting in found)
    at = [s.raw[output] for s, _ in curves]
    low, high = _reach(found[0].link(output), data, at, curves[0][1], window)
    return Sweep(output, torch.linspace(low, high, POINTS).double(), by_target, curves)


def _reach(link: Link, data: Domain, raw, x, window) -> tuple[float, float]:
    """How far an output is swept: as wide as the data for a location, else a few units."""
    if data.name == "Angle":
        return -math.pi, math.pi
    if link.name == "identity" and (data.low, data.high) == (-math.inf, math.inf):
        half = (window[1] - window[0]) / 2
        centre = float(x[0] if isinstance(x, tuple) else x)
        return centre - half, centre + half
    if link.name in ("logistic", "softmax"):
        return -6.0, 6.0
    at = sum(float(r.reshape(-1)[0]) for r in raw) / len(raw)
    return at - 3.0, at + 3.0


def middle(sample: Tensor, data: Domain) -> object:
    """A typical value of x: 0 for errors of either sign, else the median, rounded."""
    if sample.dim() > 1:
        return tuple(middle(entry, data) for entry in sample.T)
    low, high = torch.quantile(sample, torch.tensor([0.2, 0.8], dtype=sample.dtype)).tolist()
    return 0.0 if low < 0 < high else rounded(float(sample.median()), data)


def rounded(value: float, data: Domain) -> float:
    return float(round(value)) if data.integer else float(f"{value:.2g}")


def targets(found: tuple[Setting, ...]) -> tuple[float, ...]:
    """Up to three values of x: small, medium, large."""
    data = found[0].derivation.density.data
    pooled = torch.cat([s.draws for s in found])
    if pooled.dim() > 1:
        picked = pooled[torch.tensor([0, DRAWS, 2 * DRAWS])]
        return tuple(tuple(float(f"{v:.2g}") for v in row) for row in picked.tolist())
    quantiles = torch.tensor([0.15, 0.5, 0.85], dtype=pooled.dtype)
    values = torch.quantile(pooled, quantiles).tolist()
    if data.shape == "category":
        return tuple(range(int(pooled.max()) + 1))[:3]
    return tuple(dict.fromkeys(rounded(v, data) for v in values))


def window(found: tuple[Setting, ...]) -> tuple[float, float]:
    """The part of the data's axis where most of the three densities lies."""
    data = found[0].derivation.density.data
    ends = torch.tensor([0.02, 0.98], dtype=torch.float64)
    quantiles = [torch.quantile(s.draws, ends).tolist() for s in found]
    low, high = min(q[0] for q in quantiles), max(q[1] for q in quantiles)
    low, high = (max(data.low, low), min(data.high, high))
    x = axis(found, low, high)
    seen = torch.zeros_like(x, dtype=torch.bool)
    for setting in found:  # heavy tails are long before they are worth showing
        p = setting.density(x)
        seen |= p > 0.02 * p[torch.isfinite(p)].max()
    low, high = float(x[seen].min()), float(x[seen].max())
    margin = 0.1 * (high - low)
    low, high = low - margin, high + margin
    if data.integer:
        low, high = math.floor(low), math.ceil(high)
    elif math.isfinite(data.low) and low - data.low < 3 * margin:
        low = data.low
    if math.isfinite(data.high) and data.low > -math.inf:
        high = data.high
    return max(data.low, low), min(data.high, high)


def axis(found: tuple[Setting, ...], low: float, high: float) -> Tensor:
    """Points of the data's axis, inside an open domain."""
    data = found[0].derivation.density.data
    if data.integer:
        return torch.arange(int(low), int(high) + 1).double()
    x = torch.linspace(low, high, POINTS).double()
    inside = torch.ones_like(x, dtype=torch.bool)
    if data.open_low:
        inside &= x > data.low
    if data.open_high:
        inside &= x < data.high
    return x[inside]
