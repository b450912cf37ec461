"""TABLE: for each combinator, the mean, the mode and a sampler, made of those of the parts.

A density in the catalogue has its row in :mod:`lossderiv.sampling`; one that a combinator made has
none, but a row here that asks its parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import sympy as sp
import torch
from torch import Tensor

from lossderiv.autograd import Program, special_function, torch_function
from lossderiv.combinators.distribution_functions import DISTRIBUTION_FUNCTIONS
from lossderiv.derivations import derive
from lossderiv.errors import ParameterError
from lossderiv.sampling import SUMMARIES, uniform
from lossderiv.symbolic.records import Density, Derivation


@dataclass(frozen=True)
class State:
    """A density at given parameters: those (``theta``) and the raw ``outputs`` that made them.

    ``derivation`` says which parameters are given and by which links the others are learned.
    ``programs`` keeps what was compiled for the parts, each under its ``path``.
    """

    density: Density
    theta: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    derivation: Derivation
    programs: dict[str, Program] = field(default_factory=dict)
    path: str = ""

    def part(self, k: int = 0, **theta: Tensor) -> State:
        """The ``k``-th part at the same parameters, but for those of ``theta``."""
        density = self.density.made.parts[k]
        kept = {n: theta[n] if n in theta else self.theta[n] for n in density.parameters}
        raw = {f"eta_{n}" for n in density.parameters}
        outputs = {n: o for n, o in self.outputs.items() if n in raw}
        path = f"{self.path}/{k}"
        return replace(self, density=density, theta=kept, outputs=outputs, path=path)

    def mean(self) -> Tensor:
        """The mean of each element's distribution."""
        return self._asked("mean")

    def mode(self) -> Tensor:
        """The most likely value of each element."""
        return self._asked("mode")

    def sample(self, generator: torch.Generator | None) -> Tensor:
        """One draw for each element."""
        return self._asked("sample", generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log of the density at ``x``, by the outputs."""
        program = self._program()
        outputs = [self.outputs[n] for n in program.derivation.outputs]
        *outputs, x = torch.broadcast_tensors(*outputs, x)
        return -program.value(*outputs, x)[0]

    def _program(self) -> Program:
        if self.path not in self.programs:
            d, names = self.derivation, self.density.parameters
            fixed = {n: v for n, v in d.fixed.items() if n in names}
            links = {n: link.name for n, link in d.links.items() if n in names}
            own = derive(self.density, links=links, **fixed)
            self.programs[self.path] = Program(own, exact=True)
        return self.programs[self.path]

    def _asked(self, kind: str, **options) -> Tensor:
        made = self.density.made
        if made is not None:
            found = getattr(COMPOSED.get(made.name), kind, None)
            if found is not None:
                return found(self, **options)
        else:
            row = SUMMARIES.get(self.density.name)
            found = getattr(row, kind, None)
            if found is not None:
                given = self.outputs if row.of == "outputs" else self.theta
                return found(**given, **options)
        raise ParameterError(
            f"No {kind} is known for {self.density.name}. Compute it from loss.theta(outputs), or "
            "add a row for the family to lossderiv/sampling.py."
        )


@dataclass(frozen=True)
class Composed:
    """What image to show, as functions of a :class:`State`; ``None`` where nothing is known."""

    mean: Callable[[State], Tensor] | None
    mode: Callable[[State], Tensor] | None
    sample: Callable[..., Tensor]


def _gate(state: State, like: Tensor) -> Tensor:
    return state.theta["gate"] + torch.zeros_like(like)


def mean_zero_inflated(state: State) -> Tensor:
    """``(1 - gate)`` times the count's mean."""
    mean = state.part().mean()
    return (1 - _gate(state, mean)) * mean


def mode_zero_inflated(state: State) -> Tensor:
    """Zero, or the count's own mode where that is likelier."""
    count = state.part()
    peak = count.mode()
    gate, zero = _gate(state, peak), torch.zeros_like(peak)
    other = (1 - gate) * torch.exp(count.log_prob(peak))
    return torch.where(gate + (1 - gate) * torch.exp(count.log_prob(zero)) >= other, zero, peak)


def draw_zero_inflated(state: State, generator: torch.Generator | None) -> Tensor:
    """A zero from the gate, or a count."""
    count = state.part().sample(generator)
    return torch.where(uniform(count, generator) < _gate(state, count), 0.0, count)


def _some(count: State, like: Tensor) -> Tensor:
    """The probability that a count is positive."""
    return -torch.expm1(count.log_prob(torch.zeros_like(like)))


def mean_hurdle(state: State) -> Tensor:
    """``(1 - gate)`` times the mean of the positive counts, which tends to 1 for a mean near 0."""
    count = state.part()
    mean = count.mean()
    some = _some(count, mean)
    positive = torch.where(some > 0, mean / torch.where(some > 0, some, 1.0), 1.0)
    return (1 - _gate(state, mean)) * positive


def mode_hurdle(state: State) -> Tensor:
    """Zero, or the likeliest positive count where that is likelier."""
    count = state.part()
    peak = torch.clamp_min(count.mode(), 1.0)
    gate = _gate(state, peak)
    other = (1 - gate) * torch.exp(count.log_prob(peak)) / _some(count, peak)
    return torch.where(gate >= other, torch.zeros_like(peak), peak)


RARE = 0.02
"""Below this probability of a positive count, one is drawn by adding up probabilities."""


def draw_hurdle(state: State, generator: torch.Generator | None) -> Tensor:
    """A zero from the gate, or a positive count."""
    count = state.part()
    drawn = count.sample(generator)
    some = _some(count, drawn)
    rare = some < RARE
    while bool((waits := (drawn == 0) & ~rare).any()):  # until every count is positive
        drawn = torch.where(waits, count.sample(generator), drawn)
    level, reached, k = uniform(drawn, generator) * some, torch.zeros_like(some), 0
    while bool((waits := rare & (reached < level)).any()) and k < 10_000:
        k += 1
        drawn = torch.where(waits, float(k), drawn)
        reached = reached + torch.exp(count.log_prob(torch.full_like(drawn, k)))
    return torch.where(uniform(drawn, generator) < _gate(state, drawn), 0.0, drawn)


def mean_discretized(state: State) -> Tensor:
    """Every level times its probability."""
    total = 0.0
    for level in range(1, state.density.made.settings["levels"]):
        here = torch.full_like(_like(state), level)
        total = total + level * torch.exp(state.log_prob(here))
    return total


def mode_discretized(state: State) -> Tensor:
    """The level nearest to the peak, or one of the open bins at both ends."""
    near = _level(state, state.part().mode())
    first, last = torch.zeros_like(near), torch.full_like(near, state.density.data.high)
    levels = torch.stack((near, first, last))
    likely = torch.stack([state.log_prob(level) for level in levels])
    return levels.gather(0, likely.argmax(0, keepdim=True))[0]


def draw_discretized(state: State, generator: torch.Generator | None) -> Tensor:
    """The level nearest to a draw of the density; the bins at both ends are open."""
    return _level(state, state.part().sample(generator))


def _level(state: State, value: Tensor) -> Tensor:
    """The number of the level in whose bin a value lies."""
    made, top = state.density.made.settings, state.density.data.high
    low, high = made["low"], made["high"]
    return torch.round((value - low) * (top / (high - low))).clamp(0, top)


def _like(state: State) -> Tensor:
    """A tensor of the shape that all parameters share."""
    return torch.broadcast_tensors(*state.outputs.values())[0]


def _component(state: State) -> State:
    """All components at once, along the last axis, with the values that they were given."""
    one = state.density.made.settings["derivation"]
    given = {n: torch.tensor(float(v)).to(_like(state)) for n, v in one.fixed.items()}
    links = {n: state.derivation.links[n] for n in one.links}
    return replace(state.part(**given), derivation=replace(one, links=links))


def _weights(state: State) -> Tensor:
    return torch.softmax(state.theta["logits"], -1)


def mean_mixture(state: State) -> Tensor:
    """The components' means, by their weights."""
    return (_weights(state) * _component(state).mean()).sum(-1)


def mode_mixture(state: State) -> Tensor:
    """The likeliest of the components' modes: near the highest peak where peaks lie apart."""
    parts, log_weights = _component(state), torch.log_softmax(state.theta["logits"], -1)
    peaks = parts.mode().unbind(-1)
    likely = [torch.logsumexp(log_weights + parts.log_prob(p[..., None]), -1) for p in peaks]
    best = torch.stack(likely, -1).argmax(-1, keepdim=True)
    return torch.stack(peaks, -1).gather(-1, best)[..., 0]


def draw_mixture(state: State, generator: torch.Generator | None) -> Tensor:
    """A draw of one component, chosen by its weight."""
    drawn = _component(state).sample(generator)
    w = _weights(state).expand_as(drawn)
    chosen = torch.multinomial(w.reshape(-1, w.shape[-1]), 1, generator=generator)
    return drawn.gather(-1, chosen.reshape(*w.shape[:-1], 1))[..., 0]


HALVINGS = 60
"""Steps of a bisection: from an interval to one that a double cannot tell from a point."""
FAR = 700.0
"""The log of the largest distance from a bound, and minus that of the smallest."""


def _bounds(state: State) -> tuple[float | None, float | None]:
    settings = state.density.made.settings
    return settings["low"], settings["high"]


def _is_normal(state: State) -> bool:
    return state.density.made.parts[0].name == "normal"


def _known_for_the_normal(state: State, kind: str) -> tuple[Tensor, Tensor]:
    """Location and scale of a normal part; others have no closed form here."""
    if not _is_normal(state):
        raise ParameterError(
            f"No {kind} is known for {state.density.name}, but for a normal density. Average draws "
            "of loss.sample instead."
        )
    mu, sigma = state.theta["mu"], state.theta["sigma"]
    return torch.broadcast_tensors(mu, sigma)


def mean_truncated(state: State) -> Tensor:
    """Of a normal density: from the nearer bound, where the mean before truncation lies outside."""
    mu, sigma = _known_for_the_normal(state, "mean")
    low, high = _bounds(state)
    if low is None or high is None:
        end, turn = (high, -1.0) if low is None else (low, 1.0)
        u = turn * (end - mu) / sigma
        out = end - turn * sigma * (0.5**0.5) * special_function("erfcx_pull")(u * 0.5**0.5)
        pull = special_function("normal_cdf_pull")(-u)
        return torch.where(u > 0, out, mu + turn * sigma * pull)
    a, b, k = (low - mu) / sigma, (mu - high) / sigma, (high - low) / sigma
    bell, pull = special_function("bell_mean"), special_function("normal_mass_pull")
    inside = mu - sigma * pull(a, k)
    below = low + sigma * bell(torch.relu(a), k)
    above = high - sigma * bell(torch.relu(b), k)
    return torch.where(mu < low, below, torch.where(mu > high, above, inside))


def mode_truncated(state: State) -> Tensor:
    """The part's own mode, or the bound beyond which it lies: each has one peak."""
    return torch.clamp(state.part().mode(), *_bounds(state))


def draw_truncated(state: State, generator: torch.Generator | None) -> Tensor:
    """By bisection of the distribution function, in double precision.

    Between two ends the place is bisected, from one end on the log of the distance to it.
    """
    part, (low, high), data = state.part(), _bounds(state), state.density.data
    like = part.sample(generator)
    flat = torch.zeros_like(like, dtype=torch.float64)
    theta = {n: t.double() + flat for n, t in part.theta.items()}
    share, u = _share_of_mass(part.density, theta, low, high), uniform(flat, generator)
    if math.isfinite(data.low) and math.isfinite(data.high):
        left, right, place = flat + data.low, flat + data.high, lambda t: t
    elif math.isfinite(data.low):
        left, right, place = flat - FAR, flat + FAR, lambda t: data.low + torch.exp(t)
    else:
        left, right, place = flat - FAR, flat + FAR, lambda t: data.high - torch.exp(-t)
    for _ in range(HALVINGS):
        middle = left + 0.5 * (right - left)
        enough = share(place(middle)) < u
        left, right = torch.where(enough, middle, left), torch.where(enough, right, middle)
    return torch.clamp(place(left).to(like.dtype), low, high)


def _share_of_mass(
    density: Density, theta: Mapping[str, Tensor], low: float | None, high: float | None
) -> Callable[[Tensor], Tensor]:
    """``P(X <= t)`` given the bounds, taken on the side where the bounds lie."""
    if density.name == "normal":
        return _share_of_bell(theta["mu"], theta["sigma"], low, high)
    row, x = DISTRIBUTION_FUNCTIONS[density.name], sp.Symbol("x", real=True)
    names, symbols = list(theta), list(density.symbols.values())
    z = row.standard(x, *symbols)
    both = torch_function([*names, "x"], (row.below(z), row.above(z)), ())

    def at(t):
        below, above = both(*theta.values(), t)
        return below + torch.zeros_like(t), above + torch.zeros_like(t)

    like = next(iter(theta.values()))
    if low is None:
        whole = at(torch.full_like(like, high))[0]
        return lambda t: at(t)[0] / whole
    start = at(torch.full_like(like, low))
    if high is None:
        return lambda t: 1 - at(t)[1] / start[1]
    end = at(torch.full_like(like, high))
    right = start[0] > 0.5
    whole = torch.where(right, start[1] - end[1], end[0] - start[0])

    def share(t):
        below, above = at(t)
        return torch.where(right, start[1] - above, below - start[0]) / whole

    return share


def _share_of_bell(
    mu: Tensor, sigma: Tensor, low: float | None, high: float | None
) -> Callable[[Tensor], Tensor]:
    """The same for a normal density, however far outside its mean lies."""
    log_cdf, log_mass = special_function("log_normal_cdf"), special_function("log_normal_mass")
    if low is None:
        whole = log_cdf((high - mu) / sigma)
        return lambda t: torch.exp(log_cdf((t - mu) / sigma) - whole)
    start = (low - mu) / sigma
    if high is None:
        whole = log_cdf(-start)
        return lambda t: -torch.expm1(log_cdf((mu - t) / sigma) - whole)
    whole = log_mass(start, (high - low) / sigma)
    return lambda t: torch.exp(log_mass(start, (t - low) / sigma) - whole)


def draw_censored(state: State, generator: torch.Generator | None) -> Tensor:
    """A draw of the part, recorded at the bound that it is beyond."""
    return torch.clamp(state.part().sample(generator), *_bounds(state))


def mean_censored(state: State) -> Tensor:
    """Of a normal density: both bounds by their probabilities, and what lies between."""
    mu, sigma = _known_for_the_normal(state, "mean")
    low, high = _bounds(state)
    mean = mu
    if low is not None:
        mean = mean + sigma * _excess((low - mu) / sigma)
    if high is not None:
        mean = mean - sigma * _excess((mu - high) / sigma)
    return mean


def _excess(u: Tensor) -> Tensor:
    """The mean of ``max(u - z, 0)`` for a standard normal z: ``u Phi(u) + phi(u)``."""
    below, pull = special_function("normal_cdf"), special_function("normal_cdf_pull")
    return below(u) * (u + pull(u))


def draw_transformed(state: State, generator: torch.Generator | None) -> Tensor:
    """The function of a draw."""
    forward, x = state.density.made.settings["forward"], state.density.made.parts[0].variable
    return torch_function([str(x)], (forward,), ())(state.part().sample(generator))[0]


COMPOSED: dict[str, Composed] = {
    "independent": Composed(
        lambda state: state.part().mean(),
        lambda state: state.part().mode(),
        lambda state, generator: state.part().sample(generator),
    ),
    "transformed": Composed(None, None, draw_transformed),
    "truncated": Composed(mean_truncated, mode_truncated, draw_truncated),
    "censored": Composed(mean_censored, None, draw_censored),
    "zero_inflated": Composed(mean_zero_inflated, mode_zero_inflated, draw_zero_inflated),
    "hurdle": Composed(mean_hurdle, mode_hurdle, draw_hurdle),
    "discretized": Composed(mean_discretized, mode_discretized, draw_discretized),
    "mixture": Composed(mean_mixture, mode_mixture, draw_mixture),
}
