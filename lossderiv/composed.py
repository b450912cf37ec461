"""TABLE: for each combinator, the mean, the mode and a sampler, made of those of the parts.

A density in the catalogue has its row in :mod:`lossderiv.sampling`; one that a combinator made has
none, but a row here that asks its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lossderiv.autograd import Program
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
        kept = {n: theta.get(n, self.theta[n]) for n in density.parameters}
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


COMPOSED: dict[str, Composed] = {
    "zero_inflated": Composed(mean_zero_inflated, mode_zero_inflated, draw_zero_inflated),
    "hurdle": Composed(mean_hurdle, mode_hurdle, draw_hurdle),
}
