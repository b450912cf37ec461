"""TABLE: for each combinator, the mean, the mode and a sampler, made of those of the parts.

A density in the catalogue has its row in :mod:`lossderiv.sampling`; one that a combinator made has
none, but a row here that asks its parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lossderiv.autograd import Program, special_function, torch_function
from lossderiv.between import log_tails, mean_by_tails, quantile, shares
from lossderiv.combinators.distribution_functions import DISTRIBUTION_FUNCTIONS
from lossderiv.derivations import derive
from lossderiv.errors import ParameterError
from lossderiv.peaks import highest
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
    return _likeliest(state, [near, first, last])


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


def _bounds(state: State) -> tuple[float | None, float | None]:
    settings = state.density.made.settings
    return settings["low"], settings["high"]


def _in_double(part: State, like: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters in double precision, and a tensor of nothing in the shape that all share."""
    flat = torch.zeros_like(like, dtype=torch.float64)
    return flat, {n: t.double() + flat for n, t in part.theta.items()}


def _has_heavy_tail(part: State, theta: Mapping[str, Tensor]) -> Tensor | bool:
    """Whether the part has no finite mean, or none at all."""
    known = SUMMARIES[part.density.name].mean
    return True if known is None else torch.isinf(known(**theta))


def _mean_by_tails(state: State, given: bool) -> Tensor:
    """By quadrature of what lies below and above: ``given`` the bounds, or heaped at them."""
    part, (low, high), data = state.part(), _bounds(state), state.density.data
    like = _like(state)
    flat, theta = _in_double(part, like)
    below, above = log_tails(part.density, theta)
    if given:
        lower, upper = shares(below, above, low, high, flat)
    else:
        lower, upper = (lambda t: torch.exp(below(t))), (lambda t: torch.exp(above(t)))
    with torch.no_grad():
        middle = quantile(lower, flat + 0.5, data.low, data.high)
    mean = mean_by_tails(lower, upper, middle, data.low, data.high)
    for end, sign in ((data.low, -1.0), (data.high, 1.0)):
        if math.isinf(end):
            heavy = _has_heavy_tail(part, theta)
            mean = torch.where(flat.bool() | heavy, sign * math.inf, mean)
    return mean.to(like.dtype)


def mean_truncated(state: State) -> Tensor:
    """Of a normal density: from the nearer bound, where the mean before truncation lies outside.

    Others by quadrature; infinite where the tail that is left has no mean.
    """
    if state.density.made.parts[0].name != "normal":
        return _mean_by_tails(state, given=True)
    mu, sigma = torch.broadcast_tensors(state.theta["mu"], state.theta["sigma"])
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
    """The part's own mode, or the likeliest bound."""
    low, high = _bounds(state)
    places = [torch.clamp(state.part().mode(), low, high)]
    places += [torch.full_like(places[0], end) for end in (low, high) if end is not None]
    return _likeliest(state, places)


def _likeliest(state: State, places: list[Tensor]) -> Tensor:
    """That one of several values where the density is highest; the first of equal ones."""
    likely = torch.stack([state.log_prob(p) for p in places])
    return torch.stack(places).gather(0, likely.argmax(0, keepdim=True))[0]


def draw_truncated(state: State, generator: torch.Generator | None) -> Tensor:
    """By bisection of the distribution function, in double precision.

    Shares of the mass are ratios of small numbers by their logs, however far outside the bounds
    the location lies.
    """
    part, (low, high), data = state.part(), _bounds(state), state.density.data
    like = _like(state)
    flat, theta = _in_double(part, like)
    lower, _ = shares(*log_tails(part.density, theta), low, high, flat)
    drawn = quantile(lower, uniform(flat, generator), data.low, data.high)
    return torch.clamp(drawn.to(like.dtype), low, high)


def draw_censored(state: State, generator: torch.Generator | None) -> Tensor:
    """A draw of the part, recorded at the bound that it is beyond."""
    return torch.clamp(state.part().sample(generator), *_bounds(state))


def mode_censored(state: State) -> Tensor:
    """None: the bounds have probabilities, and what lies between a density."""
    raise ParameterError(
        f"{state.density.name} has no mode: its bounds have probabilities and the numbers between "
        "them a density, which do not compare. Take loss.mean(outputs), or the mode of "
        f"{state.density.made.parts[0].name}."
    )


def mean_censored(state: State) -> Tensor:
    """Of a normal density: both bounds by their probabilities, and what lies between.

    Others by quadrature; infinite where a tail that is not cut has no mean.
    """
    if state.density.made.parts[0].name != "normal":
        return _mean_by_tails(state, given=False)
    mu, sigma = torch.broadcast_tensors(state.theta["mu"], state.theta["sigma"])
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


def _function(state: State, name: str) -> Callable[[Tensor], Tensor]:
    """A formula of the part's number, or of its function's value, as a torch function."""
    formula, x = state.density.made.settings[name], state.density.made.parts[0].variable
    x = state.density.variable if name == "inverse" else x
    of = torch_function([str(x)], (formula,), ())
    return lambda t: of(t)[0] + torch.zeros_like(t)


def draw_transformed(state: State, generator: torch.Generator | None) -> Tensor:
    """The function of a draw."""
    return _function(state, "forward")(state.part().sample(generator))


def _is_line(state: State) -> bool:
    forward, x = state.density.made.settings["forward"], state.density.made.parts[0].variable
    return bool(forward.diff(x).is_number)


def _mean_of_exp(state: State, sign: int) -> Tensor:
    """``E exp(x)`` or ``E exp(-x)``, by the part's moment generating function."""
    part = state.part()
    known = MEANS_OF_EXP.get(part.density.name)
    if known is None:
        raise ParameterError(
            f"No mean is known for {state.density.name}: no closed form of the mean of an "
            f"exponential of {part.density.name} is. Average draws of loss.sample instead."
        )
    location, scale = torch.broadcast_tensors(*part.theta.values())
    return torch.exp(sign * location) * known(scale, sign)


def _up_to(end: float, of: Callable[[Tensor], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """A mean that is infinite from a scale of ``end`` on."""

    def mean(scale: Tensor, sign: int) -> Tensor:
        inside = scale < end
        return torch.where(inside, of(torch.where(inside, scale, end / 2)), torch.inf)

    return mean


def _gumbel(direction: int) -> Callable[[Tensor, int], Tensor]:
    heavy = _up_to(1.0, lambda b: torch.exp(torch.lgamma(1 - b)))
    return lambda b, sign: heavy(b, sign) if sign == direction else torch.exp(torch.lgamma(1 + b))


# E exp(z) with location 0: Johnson, Kotz and Balakrishnan (1995), chapters 13, 22 to 24.
MEANS_OF_EXP: dict[str, Callable[[Tensor, int], Tensor]] = {
    "normal": lambda sigma, sign: torch.exp(sigma**2 / 2),
    "laplace": _up_to(1.0, lambda b: 1 / ((1 - b) * (1 + b))),
    "logistic": _up_to(1.0, lambda s: 1 / torch.sinc(s)),
    "hyperbolic_secant": _up_to(1.0, lambda s: 1 / torch.cos(math.pi / 2 * s)),
    "gumbel": _gumbel(1),
    "gumbel_min": _gumbel(-1),
}


def mean_transformed(state: State) -> Tensor:
    """By the part's mean for a line, by that of an exponential for exp and sinh, else by its tails.

    ``int P(Y > t) dt`` is taken over the range of the function, if that has two ends.
    """
    name, data = state.density.made.settings["bijection"], state.density.data
    if _is_line(state):
        return _function(state, "forward")(state.part().mean())
    if name == "exp":
        return _mean_of_exp(state, 1)
    if name == "sinh":
        up, down = _mean_of_exp(state, 1), _mean_of_exp(state, -1)
        return 0.5 * (up - down)
    part, like = state.part(), _like(state)
    if part.density.name not in DISTRIBUTION_FUNCTIONS or not math.isfinite(data.high - data.low):
        raise ParameterError(
            f"No mean is known for {state.density.name}: that takes a distribution function of "
            f"{part.density.name} and a function with values between two ends. Average draws of "
            "loss.sample instead."
        )
    flat, theta = _in_double(part, like)
    tails, back = log_tails(part.density, theta), _function(state, "inverse")
    grows = bool(back(flat.new_tensor([0.4, 0.6]) * (data.high - data.low) + data.low).diff() > 0)
    below, above = tails if grows else reversed(tails)
    lower, upper = (lambda t: torch.exp(below(back(t)))), (lambda t: torch.exp(above(back(t))))
    with torch.no_grad():
        middle = quantile(lower, flat + 0.5, data.low, data.high)
    return mean_by_tails(lower, upper, middle, data.low, data.high).to(like.dtype)


def _inside(end: Tensor, sign: float) -> Tensor:
    """The number next to an end, on the side of the support; beside 0 the smallest normal one."""
    beside = torch.nextafter(end, torch.full_like(end, sign * math.inf))
    return torch.where(end == 0, sign * torch.finfo(end.dtype).tiny, beside)


def mode_transformed(state: State) -> Tensor:
    """By search for the largest ``q(x)/|f'(x)|``; an end of the support where that grows to it."""
    part, like, data = state.part(), _like(state), state.density.data
    forward, log_slope = _function(state, "forward"), _function(state, "log_slope")
    with torch.no_grad():
        flat, theta = _in_double(part, like)
        outputs = {n: o.double() + flat for n, o in part.outputs.items()}
        wide = replace(part, theta=theta, outputs=outputs)
        start = wide.mode() + flat
        if _is_line(state):
            return forward(start).to(like.dtype)
        width = 0.5 * torch.exp(-wide.log_prob(start))
        place, side = highest(lambda x: wide.log_prob(x) - log_slope(x), start, width)
        peak = forward(place).to(like.dtype)
        grows = forward(start + width) > forward(start - width)
        for end, up in ((data.low, False), (data.high, True)):
            if math.isfinite(end):
                edge = _inside(torch.full_like(peak, end), -1.0 if up else 1.0)
                at_end = (side != 0) & ((side > 0) == (grows == up))
                peak = torch.where(at_end | (peak == end), edge, peak)
    return peak


COMPOSED: dict[str, Composed] = {
    "independent": Composed(
        lambda state: state.part().mean(),
        lambda state: state.part().mode(),
        lambda state, generator: state.part().sample(generator),
    ),
    "transformed": Composed(mean_transformed, mode_transformed, draw_transformed),
    "truncated": Composed(mean_truncated, mode_truncated, draw_truncated),
    "censored": Composed(mean_censored, mode_censored, draw_censored),
    "zero_inflated": Composed(mean_zero_inflated, mode_zero_inflated, draw_zero_inflated),
    "hurdle": Composed(mean_hurdle, mode_hurdle, draw_hurdle),
    "discretized": Composed(mean_discretized, mode_discretized, draw_discretized),
    "mixture": Composed(mean_mixture, mode_mixture, draw_mixture),
}
