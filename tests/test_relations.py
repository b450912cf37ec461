"""Families that are others in disguise, or become others in a limit: values and gradients.

``EXACT`` relations hold for every input, and are proven at 60 digits. ``LIMITS`` are reached along
a sequence of parameters: the distance to the limit shrinks at the rate that theory promises, until
only rounding is left, and stays there. Both are tables: a relation is a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import log

import mpmath as mp
import pytest
import sympy as sp
import torch
from drawing import density
from torch.nn.functional import softplus

import lossderiv as ld
from lossderiv.symbolic.probe import Formula, points
from lossderiv.symbolic.records import Derivation


@dataclass(frozen=True)
class Exact:
    """``special`` with ``given`` is ``plain``; ``outputs`` gives the outputs of the first as
    formulas in those of the second, where they are not the same in the same order."""

    special: str
    given: Mapping[str, float]
    plain: str
    outputs: Callable[..., tuple] = lambda *eta: eta
    plain_given: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.given.items())
        return f"{self.special}({numbers}) = {self.plain}"


EXACT = (
    Exact("negative_binomial", {"alpha": 1}, "geometric", lambda eta: (-eta,)),
    Exact("negative_binomial_logits", {"r": 1}, "geometric", lambda eta: (-eta,)),
    Exact("kumaraswamy", {"a": 1}, "beta", plain_given={"alpha": 1}),
    Exact("kumaraswamy", {"b": 1}, "beta", plain_given={"beta": 1}),
    Exact("binomial", {"n": 1}, "bernoulli"),
)


@cache
def derived(family: str, given: tuple[tuple[str, float], ...]) -> Derivation:
    return ld.derive(family, **dict(given))


def exact_nll(d: Derivation) -> sp.Expr:
    """The whole negative log-likelihood in the raw outputs, constants kept."""
    return d.scale * d.loss + d.dropped


@pytest.mark.parametrize("relation", EXACT, ids=str)
def test_the_same_loss_and_gradient_at_60_digits(relation):
    one = derived(relation.special, tuple(relation.given.items()))
    other = derived(relation.plain, tuple(relation.plain_given.items()))
    theirs = [other.symbols[name] for name in other.outputs]
    ours = [one.symbols[name] for name in one.outputs]
    put = dict(zip(ours, relation.outputs(*theirs), strict=True))
    put[one.density.variable] = other.density.variable
    left = Formula(exact_nll(one).xreplace(put))
    right = Formula(exact_nll(other))
    slopes = {
        eta: sum(
            one.gradient[name].xreplace(put) * put[symbol].diff(eta)
            for name, symbol in one.symbols.items()
        )
        for eta in theirs
    }
    met = 0
    for point in points(other.context):
        if not (other.density.data.contains(point[other.density.variable])):
            continue
        met += 1
        assert close(left.at(point), right.at(point)), point
        for name, eta in other.symbols.items():
            found, expected = (
                Formula(slopes[eta]).at(point),
                Formula(other.gradient[name]).at(point),
            )
            assert close(found, expected), (name, point)
    assert met >= 6


def close(a, b) -> bool:
    return abs(a - b) <= mp.mpf(10) ** -50 * max(1, abs(b))


def test_a_false_relation_is_found():
    with pytest.raises(AssertionError):
        test_the_same_loss_and_gradient_at_60_digits(
            Exact("negative_binomial", {"alpha": 2}, "geometric", lambda eta: (-eta,))
        )


# Limits ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """``special`` becomes ``plain`` as ``t`` goes to 0.

    ``at(t, eta)`` gives the outputs of the first at the outputs ``eta`` of the second, ``given(t)``
    the values of its given parameters; ``etas`` and ``targets`` are outputs and targets of the
    second where the two are compared. They differ by at most ``reach * t``, relative to 1, in
    value and gradient, and by rounding, which is ``worse(t)`` where the limit zooms in on a point.
    ``target`` takes the second's targets to the first's, ``offset`` is what that adds to the value.
    """

    special: str
    plain: str
    at: Callable[[float, tuple], tuple]
    etas: tuple[tuple[float, ...], ...]
    targets: tuple[float, ...]
    reach: float
    given: Callable[[float], Mapping[str, float]] = lambda t: {}
    plain_given: Mapping[str, float] = field(default_factory=dict)
    target: Callable[[float, torch.Tensor], torch.Tensor] = lambda t, x: x
    offset: Callable[[float], float] = lambda t: 0.0
    worse: Callable[[float], float] = lambda t: 1.0
    smallest: float = 2.0**-64  # t goes from 2^-7 down, a power of 2 so that targets stay exact

    def __str__(self) -> str:
        return f"{self.special} -> {self.plain}"


def near_the_middle(t: float, mu, eta):
    """Logit and log-precision of a beta density with mean 1/2 + t mu and width t exp(eta)."""
    shift = t * mu
    return 2 * torch.atanh(2 * shift), torch.log(
        (0.25 - shift**2) * torch.exp(-2 * eta) - t**2
    ) - 2 * log(t)


def two_shapes(logit, log_precision):
    return log_precision - softplus(-logit), log_precision - softplus(logit)


LIMITS = (
    Limit(
        "binomial",
        "poisson",
        # p = rate/n as a logit, log rate - log n - log(1 - rate/n)
        at=lambda t, eta: (eta[0] + log(t) - torch.log1p(-t * torch.exp(eta[0])),),
        given=lambda t: {"n": round(1 / t)},
        etas=((0.0,), (1.2,), (-2.0,)),
        targets=(0.0, 1.0, 4.0),
        reach=40.0,
        smallest=2.0**-20,
    ),
    Limit(
        "beta_binomial",
        "binomial",
        at=lambda t, eta: (-softplus(-eta[0]) - log(t), -softplus(eta[0]) - log(t)),
        given=lambda t: {"n": 10},
        plain_given={"n": 10},
        etas=((0.0,), (1.2,), (-2.0,)),
        targets=(0.0, 3.0, 10.0),
        reach=400.0,
    ),
    Limit(
        "negative_binomial",
        "poisson",
        at=lambda t, eta: (eta[0], torch.full_like(eta[0], log(t))),
        etas=((0.0,), (3.2,), (-2.0,)),
        targets=(0.0, 1.0, 25.0),
        reach=400.0,
    ),
    Limit(
        "negative_binomial_logits",
        "poisson",
        at=lambda t, eta: (torch.full_like(eta[0], -log(t)), eta[0] + log(t)),
        etas=((0.0,), (3.2,), (-2.0,)),
        targets=(0.0, 1.0, 25.0),
        reach=1e3,
    ),
    Limit(
        "beta_mean",
        "normal",
        at=lambda t, eta: near_the_middle(t, *eta),
        etas=((0.0, 0.0), (0.5, 0.7), (-1.0, -0.4)),
        targets=(0.0, 1.25, -0.75),
        reach=30.0,
        target=lambda t, x: 0.5 + t * x,
        offset=log,
        worse=lambda t: 1 / t,
        smallest=2.0**-13,
    ),
    Limit(
        "beta",
        "normal",
        at=lambda t, eta: two_shapes(*near_the_middle(t, *eta)),
        etas=((0.0, 0.0), (0.5, 0.7), (-1.0, -0.4)),
        targets=(0.0, 1.25, -0.75),
        reach=30.0,
        target=lambda t, x: 0.5 + t * x,
        offset=log,
        worse=lambda t: 1 / t**2,  # the width is a difference of two shapes, both rounded
        smallest=2.0**-13,
    ),
)


def compared(limit: Limit, t: float, dtype: torch.dtype):
    """Value and slopes of both sides, as columns: slopes by the plain family's outputs."""
    grid = [(eta, x) for eta in limit.etas for x in limit.targets]
    plain_eta = tuple(
        torch.tensor([eta[k] for eta, _ in grid], dtype=dtype).requires_grad_()
        for k in range(len(limit.etas[0]))
    )
    x = torch.tensor([x for _, x in grid], dtype=dtype)
    keep = {"reduction": "none", "constants": "keep", "validate": False}
    one = ld.loss(limit.special, **keep, **limit.given(t))
    other = ld.loss(limit.plain, **keep, **limit.plain_given)
    columns = []
    for value in (
        one(limit.at(t, plain_eta), limit.target(t, x)) - limit.offset(t),
        other(plain_eta, x),
    ):
        slopes = torch.autograd.grad(value.sum(), plain_eta)
        columns.append(torch.stack((value.detach(), *slopes)).double())
    return columns


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_accurate_up_to_the_limit(limit, dtype):
    """At every t the distance is what theory allows and a few roundings, value and gradient."""
    t, tried, eps = 2.0**-7, 0, torch.finfo(dtype).eps
    while t >= limit.smallest:
        found, expected = compared(limit, t, dtype)
        size = 1 + expected.abs().amax(0)
        off = ((found - expected).abs() / size).max().item()
        rounding = (16 + 4 * abs(log(t))) * eps * limit.worse(t)  # log t is an output, and rounded
        assert off <= limit.reach * t + rounding, f"t = {t}: {off}"
        t, tried = t / 8, tried + 1
    assert tried >= 3


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_the_limit_is_approached_not_met(limit):
    """Far from the limit the two differ: the test above compares two things."""
    found, expected = compared(limit, 2.0**-4, torch.float64)
    assert (found - expected).abs().max() > 1e-3


def test_every_relation_names_families():
    for relation in (*EXACT, *LIMITS):
        assert density(relation.special).name == relation.special
        assert density(relation.plain).name == relation.plain
