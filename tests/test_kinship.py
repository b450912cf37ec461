"""Families that are one another, and families that become one another, in torch.

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
from drawing import inputs

import lossderiv as ld

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
