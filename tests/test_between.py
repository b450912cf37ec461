"""Means and modes of bounded and of transformed densities: against sums over a fine grid."""

from __future__ import annotations

import math

import pytest
import torch

import lossderiv as ld
from lossderiv.combinators.distribution_functions import DISTRIBUTION_FUNCTIONS
from lossderiv.derivations import find_density
from lossderiv.errors import ParameterError

NODES = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
WITHOUT_MEAN = {"cauchy", "half_cauchy"}
ETA = (0.4, -0.6)
TAME = (0.4, 0.3)  # a density without a pole, which a grid would miss


def bounds(family: str) -> tuple[float, float]:
    data = find_density(family).data
    return (0.2, 0.8) if data.high == 1 else (0.5, 3.0) if data.low == 0 else (-1.0, 2.0)


def grid(low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Places over a range and the length that each stands for; a far end is folded in."""
    if math.isfinite(low) and math.isfinite(high):
        return low + (high - low) * NODES, torch.full_like(NODES, (high - low) / NODES.numel())
    if math.isinf(low) and math.isinf(high):
        x, dx = torch.logit(NODES), 1 / (NODES * (1 - NODES))
        return 4 * x, 4 * dx / NODES.numel()
    far, dx = NODES / (1 - NODES), 1 / (1 - NODES) ** 2
    return (low + far if math.isfinite(low) else high - far), dx / NODES.numel()


def outputs_of(loss: ld.Loss, n: int = 1) -> tuple[torch.Tensor, ...]:
    eta = TAME if "kumaraswamy" in loss.derivation.density.name else ETA
    return tuple(torch.full((n,), e, dtype=torch.float64) for e in eta[: len(loss.outputs)])


def exact(density) -> ld.Loss:
    return ld.loss(density, constants="keep", reduction="none", validate=False)


def density_at(loss: ld.Loss, x: torch.Tensor) -> torch.Tensor:
    return torch.exp(-loss(outputs_of(loss, x.numel()), x))


def expected(loss: ld.Loss) -> float:
    """The mean by a sum over places, heaps of probability included."""
    data = loss.derivation.density.data
    x, dx = grid(data.low, data.high)
    total = (x * density_at(loss, x) * dx).sum().item()
    for atom in data.atoms:
        total += atom * density_at(loss, torch.tensor([atom], dtype=torch.float64)).item()
    return total


SIDES = {"both": (1, 1), "low": (1, 0), "high": (0, 1)}


def cut(combinator: str, family: str, side: str) -> ld.Loss:
    ends = [b if on else None for b, on in zip(bounds(family), SIDES[side], strict=True)]
    return exact(getattr(ld, combinator)(family, *ends))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("family", DISTRIBUTION_FUNCTIONS)
@pytest.mark.parametrize("combinator", ["truncated", "censored"])
def test_the_mean_between_bounds_is_the_sum_over_places(combinator, family, side):
    loss = cut(combinator, family, side)
    mean = loss.mean(outputs_of(loss)).item()
    data = loss.derivation.density.data
    if math.isinf(data.high - data.low) and family in WITHOUT_MEAN:
        assert mean == (math.inf if math.isinf(data.high) else -math.inf)
    elif family == "log_logistic" and math.isinf(data.high):
        assert mean == math.inf  # its beta is below 1 here
    else:
        assert mean == pytest.approx(expected(loss), rel=2e-6, abs=1e-6)


@pytest.mark.parametrize("family", DISTRIBUTION_FUNCTIONS)
def test_the_mode_between_bounds_is_the_highest_place(family):
    loss = cut("truncated", family, "both")
    data = loss.derivation.density.data
    x = torch.cat(
        [torch.tensor([data.low, data.high], dtype=torch.float64), grid(*bounds(family))[0]]
    )
    mode = loss.mode(outputs_of(loss))
    assert data.low <= mode.item() <= data.high
    assert density_at(loss, mode).item() >= density_at(loss, x).max().item() * (1 - 1e-12)


@pytest.mark.parametrize("family", ["laplace", "logistic", "normal"])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_location_far_outside_leaves_an_exponential(family, side):
    """A thousand scales away, where both distribution functions are 0 or 1 in any precision."""
    loss = exact(ld.truncated(family, 0, 1))
    mu = torch.full((4000,), 0.5 + side * 10.5)
    log_scale = torch.full((4000,), math.log(0.01))
    rate = 1e5 if family == "normal" else 100.0
    end = 0.0 if side < 0 else 1.0
    mean = loss.mean((mu, log_scale))
    torch.testing.assert_close(abs(mean - end) * rate, torch.ones(4000), rtol=0.02, atol=0)
    drawn = loss.sample((mu, log_scale), generator=torch.Generator().manual_seed(0))
    assert abs(drawn - end).mean().item() * rate == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("family", ["laplace", "logistic"])
@pytest.mark.parametrize("bounds", [(0, 1), (0, None), (None, 1)])
def test_far_outside_value_and_gradient_are_those_of_an_exponential(family, bounds):
    loss = exact(ld.truncated(family, *bounds))
    high = bounds[1]
    mu = torch.tensor([-1e4 if high is None else 1e4], requires_grad=True)
    log_scale = torch.tensor([-2.0], requires_grad=True)
    distance = torch.tensor([0.25])
    x = distance if high is None else 1 - distance
    scale = math.exp(-2.0)
    mass = 1.0 if None in bounds else 1 - math.exp(-1 / scale)
    value = loss((mu, log_scale), x)
    value.backward()
    assert value.item() == pytest.approx(0.25 / scale - 2.0 + math.log(mass), rel=1e-6)
    slope = 1 - 0.25 / scale - (1 / scale / math.expm1(1 / scale) if None not in bounds else 0)
    assert log_scale.grad.item() == pytest.approx(slope, rel=1e-5)
    assert mu.grad.item() == 0


def test_the_mean_between_bounds_has_a_slope():
    loss = exact(ld.truncated("logistic", -1, 2))
    mu, log_s = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in ETA)
    assert torch.autograd.gradcheck(lambda *o: loss.mean(o), (mu, log_s), rtol=1e-5)


ON_THE_LINE = ("normal", "logistic", "laplace", "gumbel", "gumbel_min", "hyperbolic_secant")


@pytest.mark.parametrize("family", ON_THE_LINE)
@pytest.mark.parametrize("bijection", ["exp", "logistic", "tanh", "sinh"])
def test_the_mean_of_a_function_is_the_sum_over_arguments(family, bijection):
    base, loss = exact(family), exact(ld.transformed(family, bijection))
    x, dx = grid(-math.inf, math.inf)
    f = torch.sigmoid if bijection == "logistic" else getattr(torch, bijection)
    inside = density_at(base, x) * dx
    wanted = torch.where(inside > 0, f(x) * inside, 0.0).sum().item()
    assert loss.mean(outputs_of(loss)).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("family", [*ON_THE_LINE, "huber", "generalized_normal"])
@pytest.mark.parametrize("bijection", ["exp", "logistic", "tanh", "sinh"])
def test_the_mode_of_a_function_is_the_highest_place(family, bijection):
    given = {"huber": {"delta": 1.5}, "generalized_normal": {"beta": 1.5}}.get(family, {})
    loss = exact(ld.derive(ld.transformed(family, bijection), **given))
    data = loss.derivation.density.data
    x = grid(data.low, data.high)[0][50:-50:7]
    mode = loss.mode(outputs_of(loss))
    assert data.low < mode.item() < data.high
    assert (
        loss(outputs_of(loss), mode).item() <= density_at(loss, x).log().neg().min().item() + 1e-9
    )


def test_a_density_that_grows_to_an_end_has_its_mode_there():
    """A wide logistic variable under tanh: both ends draw it in, the nearer one more."""
    loss = exact(ld.transformed("logistic", "tanh"))
    mu, log_s = torch.tensor([0.3, -0.3]), torch.tensor([1.0, 1.0])
    edge = 1 - torch.finfo(torch.float32).eps / 2
    torch.testing.assert_close(loss.mode((mu, log_s)), torch.tensor([edge, -edge]), rtol=0, atol=0)


def test_a_line_moves_mean_and_mode():
    loss = exact(ld.transformed("gumbel", lambda x: 3 - 2 * x))
    base = exact("gumbel")
    outputs = outputs_of(loss)
    torch.testing.assert_close(loss.mean(outputs), 3 - 2 * base.mean(outputs))
    torch.testing.assert_close(loss.mode(outputs), 3 - 2 * base.mode(outputs))


def test_an_exponential_of_heavy_tails_has_an_infinite_mean():
    loss = exact(ld.transformed("laplace", "exp"))
    assert loss.mean((torch.zeros(2), torch.tensor([0.0, 0.5]))).isinf().all()


def test_the_logit_normal_is_the_logistic_of_a_normal_number():
    made, known = exact(ld.transformed("normal", "logistic")), exact("logit_normal")
    outputs = tuple(torch.tensor(v) for v in ([0.3, -1.0, 2.0], [-0.5, 1.5, 0.2]))
    torch.testing.assert_close(made.mean(outputs), known.mean(outputs))
    torch.testing.assert_close(made.mode(outputs), known.mode(outputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("density", "kind", "words"),
    [
        (lambda: ld.censored("normal", 0, 1), "mode", "probabilities.*density"),
        (lambda: ld.transformed("cauchy", "exp"), "mean", "mean of an exponential of cauchy"),
        (lambda: ld.transformed("cauchy", lambda x: 2 * x), "mean", "cauchy"),
        (lambda: ld.transformed("student_t", "tanh"), "mean", "distribution function of student_t"),
    ],
)
def test_what_does_not_exist_is_said(density, kind, words):
    loss = ld.loss(density())
    outputs = tuple(torch.zeros(3) for _ in loss.outputs)
    with pytest.raises(ParameterError, match=words):
        getattr(loss, kind)(outputs)
