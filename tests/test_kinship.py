"""Families that are one another, families that become one another, and what each loss estimates.

A relation says: the exact negative log-likelihoods agree when the raw outputs and the target of the
first family are carried over to the second. A limit says that the gap closes in proportion to a
number ``t`` that goes to 0, and that nothing breaks on the way: value and gradient, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import torch
from drawing import density, given, inputs

import lossderiv as ld
from lossderiv.special import inside

LOG_2 = math.log(2)


def same(*outputs):
    return outputs


def no_offset(x):
    return 0 * x


@dataclass(frozen=True)
class Relation:
    """``first(eta, x) == second(outputs(eta), target(x)) + offset(x)``."""

    first: str
    second: str
    given: Mapping[str, object] = field(default_factory=dict)
    given_second: Mapping[str, object] = field(default_factory=dict)
    outputs: Callable = same
    target: Callable = lambda x: x
    offset: Callable = no_offset

    def __str__(self) -> str:
        values = ", ".join(f"{k}={v}" for k, v in self.given.items())
        return f"{self.first}({values}) is {self.second}"


RELATIONS = (
    Relation("gamma", "exponential", {"concentration": 1}),
    Relation("weibull", "exponential", {"concentration": 1}, outputs=lambda s: (-s,)),
    Relation("student_t", "cauchy", {"nu": 1}),
    Relation("generalized_normal", "laplace", {"beta": 1}),
    Relation(
        "generalized_normal", "normal", {"beta": 2}, outputs=lambda mu, a: (mu, a - LOG_2 / 2)
    ),
    Relation("asymmetric_laplace", "laplace", {"tau": 0.5}, outputs=lambda mu, b: (mu, b + LOG_2)),
    Relation("binomial", "bernoulli", {"n": 1}),
    Relation("gumbel", "gumbel_min", outputs=lambda mu, b: (-mu, b), target=torch.neg),
    Relation("log_normal", "normal", target=torch.log, offset=torch.log),
    Relation(
        "logit_normal",
        "normal",
        target=torch.logit,
        offset=lambda x: torch.log(x) + torch.log1p(-x),
    ),
    Relation("inverse_gamma", "gamma", target=torch.reciprocal, offset=lambda x: 2 * torch.log(x)),
    Relation(
        "half_normal",
        "normal",
        given_second={"mu": 0},
        offset=lambda x: torch.full_like(x, -LOG_2),
    ),
    Relation(
        "half_cauchy",
        "cauchy",
        given_second={"mu": 0},
        offset=lambda x: torch.full_like(x, -LOG_2),
    ),
    Relation("pareto", "exponential", {"scale": 1}, target=torch.log, offset=torch.log),
)


@dataclass(frozen=True)
class Limit:
    """``first(given(t)) -> second`` as ``t -> 0``, the gap in proportion to ``t``."""

    first: str
    second: str
    given: Callable[[float], Mapping[str, object]]
    outputs: Callable = same
    given_second: Callable[[float], Mapping[str, object]] = lambda t: {}
    smallest: float = 1e-12

    def __str__(self) -> str:
        return f"{self.first} becomes {self.second}"


LIMITS = (
    Limit("student_t", "normal", lambda t: {"nu": 1 / t}),
    Limit("generalized_pareto", "exponential", lambda t: {"xi": t}, outputs=lambda s: (-s,)),
    Limit("generalized_pareto", "exponential", lambda t: {"xi": -t}, outputs=lambda s: (-s,)),
    Limit(
        "von_mises",
        "normal",
        lambda t: {"kappa": 1 / t},
        given_second=lambda t: {"sigma": math.sqrt(t)},
    ),
)


def value_and_slopes(loss: ld.Loss, outputs: Callable, x, raw):
    raw = tuple(o.clone().requires_grad_() for o in raw)
    value = loss(outputs(*raw), x)
    return value.detach(), torch.autograd.grad(value.sum(), raw)


def exact(family: str, given: Mapping[str, object]) -> ld.Loss:
    return ld.loss(family, reduction="none", constants="keep", **given)


FIXED = [
    (family, name)
    for family in ld.families()
    for name, domain in density(family).parameters.items()
    if domain.link is not None and domain.shape == "scalar"
    if sum(d.link is not None for d in density(family).parameters.values()) > 1
]


@pytest.mark.parametrize(("family", "name"), FIXED, ids=str)
def test_a_given_parameter_is_one_that_is_always_put_out(family, name):
    """Value and the other slopes, in both tiers; 2.3 is no number that a formula could hide."""
    learned = exact(family, given(family))
    raw, x = inputs(learned.derivation, (30,))
    domain = density(family).parameters[name]
    value = {"Unit": 0.23, "Proportion": 0.23, "Positive": 2.3}.get(domain.name, -0.23)
    eta = {"logistic": torch.logit, "exp": torch.log}.get(domain.link.name, lambda v: v)
    k = learned.outputs.index(f"eta_{name}")
    raw = [*raw[:k], torch.full_like(x, 1) * eta(torch.tensor(value, dtype=x.dtype)), *raw[k + 1 :]]
    if learned.derivation.density.formula.has(inside):
        x = learned.sample(tuple(raw), generator=torch.Generator().manual_seed(1))
    expected = value_and_slopes(learned, same, x, raw)
    rest = [o for i, o in enumerate(raw) if i != k]
    slopes = [g for i, g in enumerate(expected[1]) if i != k]
    fixed = exact(family, {**given(family), name: value})
    for found in (
        value_and_slopes(fixed, same, x, rest),
        (fixed._program.value(*rest, x)[0], fixed._program.gradient(*rest, x)),
    ):
        torch.testing.assert_close(found[0], expected[0], rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(list(found[1]), slopes, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("relation", RELATIONS, ids=str)
def test_one_family_is_another(relation):
    first = exact(relation.first, relation.given)
    second = exact(relation.second, relation.given_second)
    raw, x = inputs(first.derivation, (50,))
    ours = value_and_slopes(first, same, x, raw)
    theirs = value_and_slopes(second, relation.outputs, relation.target(x), raw)
    torch.testing.assert_close(ours[0], theirs[0] + relation.offset(x), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-11, atol=1e-11)


def gaps(limit: Limit, t: float, dtype: torch.dtype) -> list[float]:
    """Value and slopes: the largest difference from the limit, where its size is about 1."""
    first, second = exact(limit.first, limit.given(t)), exact(limit.second, limit.given_second(t))
    raw, x = inputs(first.derivation, (50,))
    if limit.first == "von_mises":  # an angle of a few widths, where float32 can tell it from 0
        raw, x = (0 * raw[0],), math.sqrt(t) * (x - x.mean())
    raw, x = tuple(o.to(dtype) for o in raw), x.to(dtype)
    ours = value_and_slopes(first, same, x, raw)
    theirs = value_and_slopes(second, limit.outputs, x, raw)
    pairs = [(ours[0], theirs[0]), *zip(ours[1], theirs[1], strict=True)]
    return [float(((a - b).abs() / (1 + b.abs())).max()) for a, b in pairs]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_one_family_becomes_another(limit):
    """In float64 the gap falls with t; in float32 it falls to the rounding of the input."""
    start = 1e-3
    first = gaps(limit, start, torch.float64)
    assert max(first) > 1e-7, "nothing to close"
    t = start
    while t > limit.smallest:
        t /= 100
        for wide, at_start in zip(gaps(limit, t, torch.float64), first, strict=True):
            assert wide <= 4 * at_start * t / start + 1e-9, t
        for narrow, at_start in zip(gaps(limit, t, torch.float32), first, strict=True):
            assert narrow <= 4 * at_start * t / start + 1e-4, t


def test_a_continuous_bernoulli_becomes_uniform():
    """At a logit of 0 grey is anything between black and white: 0 nats, with a slope of 1/2 - x."""
    loss = ld.loss("continuous_bernoulli", reduction="none", constants="keep")
    x = torch.linspace(0, 1, 9)
    for size in (1e-2, 1e-4, 1e-6, 1e-8, 1e-20, 0.0):
        for eta in (size, -size):
            raw = torch.full_like(x, eta, requires_grad=True)
            value = loss(raw, x)
            (slope,) = torch.autograd.grad(value.sum(), raw)
            assert (value.abs() <= 0.6 * size).all()
            assert ((slope - (0.5 - x)).abs() <= size / 11 + 2e-7).all()


# What a loss estimates ---------------------------------------------------------------------------


def sample_of(family: str) -> torch.Tensor:
    """An odd number of unlike data in the family's support."""
    loss = ld.loss(family, **GIVEN.get(family, {}))
    generator = torch.Generator().manual_seed(4)
    raw = tuple(torch.full((101,), 0.3, dtype=torch.float64) for _ in loss.outputs)
    return loss.sample(raw, generator=generator)


GIVEN = {
    "normal": {"sigma": 2},
    "laplace": {"b": 3},
    "asymmetric_laplace": {"tau": 0.75, "b": 1},
    "log_normal": {"sigma": 1},
    "logit_normal": {"sigma": 1},
    "binomial": {"n": 10},
    "gamma": {"concentration": 2.5},
    "inverse_gamma": {"concentration": 2.5},
    "inverse_gaussian": {"lam": 1},
    "pareto": {"scale": 1},
    "weibull": {"concentration": 2},
    "von_mises": {"kappa": 1},
    "generalized_normal": {"alpha": 1, "beta": 2},
}
THEORY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    # the constant output that minimises the loss over a sample, by the textbook
    "normal": torch.mean,
    "generalized_normal": torch.mean,
    "laplace": torch.median,
    "asymmetric_laplace": lambda x: torch.quantile(x, 0.75),
    "bernoulli": lambda x: torch.logit(x.mean()),
    "binomial": lambda x: torch.logit(x.mean() / 10),
    "geometric": lambda x: -torch.log(x.mean()),
    "poisson": lambda x: torch.log(x.mean()),
    "exponential": lambda x: -torch.log(x.mean()),
    "half_normal": lambda x: torch.log((x**2).mean()) / 2,
    "log_normal": lambda x: torch.log(x).mean(),
    "logit_normal": lambda x: torch.logit(x).mean(),
    "gamma": lambda x: math.log(2.5) - torch.log(x.mean()),
    "inverse_gamma": lambda x: math.log(2.5) - torch.log((1 / x).mean()),
    "inverse_gaussian": lambda x: torch.log(x.mean()),
    "pareto": lambda x: -torch.log(torch.log(x).mean()),
    "weibull": lambda x: torch.log((x**2).mean()) / 2,
    "von_mises": lambda x: torch.atan2(torch.sin(x).mean(), torch.cos(x).mean()),
}


@pytest.mark.parametrize("family", THEORY)
def test_the_minimiser_is_the_one_that_theory_promises(family):
    """The mean slope over the sample changes its sign there, from minus to plus."""
    x = sample_of(family)
    loss = ld.loss(family, **GIVEN.get(family, {}))
    best = THEORY[family](x)

    def at(eta: float) -> tuple[float, float]:
        raw = torch.tensor(eta, dtype=torch.float64, requires_grad=True)
        value = loss(raw.expand(101), x)
        return value.item(), torch.autograd.grad(value, raw)[0].item()

    lowest = at(float(best))[0]
    for step in (1e-4, 1e-2):
        below, above = at(float(best) - step), at(float(best) + step)
        assert below[1] < 0 < above[1]
        assert lowest < min(below[0], above[0])
