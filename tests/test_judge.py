"""The judge must itself be right: densities integrate to 1, slopes are those of the values."""

from __future__ import annotations

import itertools
import math
import zlib

import numpy as np
import pytest
import torch
from mpmath import mp, mpf
from scipy import integrate

from benchmarks.judge import exp, judge, log
from benchmarks.measure import cases, score
from benchmarks.row import CONTINUOUS, CONTINUOUS_REAL, DISCRETE, LABEL, Row, with_softplus
from benchmarks.rows import BY_NAME, ROWS

UNIT = {"logit_normal", "beta", "beta_mean", "kumaraswamy", "continuous_bernoulli"}
SUPPORT = {
    "uniform": lambda low, width: (low, low + width),
    "pareto": lambda scale, alpha: (scale, math.inf),
    "generalized_pareto": lambda s, xi: (0.0, math.inf if xi > 0 else -s / xi),
    "von_mises": lambda mu, kappa: (mu - math.pi, mu + math.pi),
}
# Bernoulli as a density on grey levels does not normalise: that is what its chapter is about.
NOT_A_DENSITY = {"bernoulli, grey targets"}


def near_zero(row: Row) -> tuple[float, ...]:
    """Raw outputs where quadrature is easy."""
    rng = np.random.default_rng(zlib.crc32(row.name.encode()))
    return tuple(float(v) for v in 0.35 * rng.normal(size=row.count_outputs))


def support(row: Row, theta: list) -> tuple[float, float]:
    if row.catalogue_name in SUPPORT:
        return SUPPORT[row.catalogue_name](*[float(t) for t in theta])
    if row.catalogue_name in UNIT:
        return 0.0, 1.0
    return (0.0, math.inf) if row.target == CONTINUOUS else (-math.inf, math.inf)


def halves(low: float, high: float, location: float) -> tuple[tuple[float, float], ...]:
    """Split at the kink of the even densities, or somewhere inside."""
    inside = low + 1.0 if math.isinf(high) else (low + high) / 2
    middle = location if math.isinf(low) else inside
    return (low, middle), (middle, high)


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in ROWS
        if row.target in (CONTINUOUS, CONTINUOUS_REAL)
        and row.target_width is None
        and row.name not in NOT_A_DENSITY
    ],
    ids=lambda row: row.name,
)
def test_a_continuous_textbook_density_integrates_to_one(row):
    with mp.workdps(20):
        eta = near_zero(row)
        theta = row.theta([mpf(v) for v in eta])
        low, high = support(row, theta)

        def density(x):
            # a quadrature node can round onto an open edge, whose density counts for nothing
            return 0.0 if x in (low, high) else float(mp.exp(-row.nll_at(theta, [mpf(x)])))

        total = sum(
            integrate.quad(density, a, b, epsabs=1e-8, epsrel=1e-6, limit=100)[0]
            for a, b in halves(low, high, eta[0])
        )
    assert total == pytest.approx(1.0, abs=1e-5)


def outcomes(row: Row):
    """Every target with a probability worth adding up."""
    if row.name == "multinomial":
        n = row.fixed["n"]
        cuts = itertools.combinations(range(n + 3), 3)
        return [[mpf(v) for v in (a, b - a - 1, c - b - 1, n + 2 - c)] for a, b, c in cuts]
    if row.target == LABEL:
        return [[mpf(k)] for k in range(5)]
    if row.name == "bernoulli":
        return [[mpf(0)], [mpf(1)]]
    high = row.fixed.get("n", 400 if "negative" in row.name or row.name == "geometric" else 80)
    return [[mpf(k)] for k in range(high + 1)]


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in ROWS
        # a million terms say no more than ten: the formula is the same
        if row.target in (DISCRETE, LABEL) and row.name != "binomial, n = 1000000"
    ],
    ids=lambda row: row.name,
)
def test_a_discrete_textbook_density_sums_to_one(row):
    with mp.workdps(20):
        theta = row.theta([mpf(v) for v in near_zero(row)])
        total = sum(mp.exp(-row.nll_at(theta, x)) for x in outcomes(row))
    assert float(total) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("row", [*ROWS, with_softplus(BY_NAME["gamma"])], ids=lambda row: row.name)
def test_slopes_and_sizes_are_those_of_the_values(row):
    """Jets against mpmath's finite differences of the plain formula."""
    case = cases(row, "float32", 2, 0)[1]
    continuous = row.target in (CONTINUOUS, CONTINUOUS_REAL)
    split = len(case.eta)
    with mp.workdps(60):
        inputs = [mpf(v) for v in ((*case.eta, *case.x) if continuous else case.eta)]

        def f(*point):
            x = list(point[split:]) if continuous else [mpf(v) for v in case.x]
            return row.nll_at(row.theta(list(point[:split])), x)

        def partial(*orders):
            return mp.diff(f, inputs, orders) if any(orders) else f(*inputs)

        def order(*axes):
            return tuple(sum(axis == i for axis in axes) for i in range(len(inputs)))

        raw, target = row.units(row.theta(inputs[:split]))
        reach = [max(abs(v), u) for v, u in zip(inputs, raw + target, strict=True)]
        slopes = [partial(*order(i)) for i in range(len(inputs))]
        value_size = abs(f(*inputs)) + sum(r * abs(s) for r, s in zip(reach, slopes, strict=True))
        bend = partial(*order(0, 0))
        size = abs(slopes[0]) + sum(r * abs(partial(*order(0, j))) for j, r in enumerate(reach))
    assert abs(case.truth.value - f(*inputs)) < mpf("1e-14") * (1 + abs(case.truth.value))
    for found, expected in zip(case.truth.gradient, slopes[:split], strict=True):
        assert abs(found - expected) < mpf("1e-12") * (1 + abs(expected))
    found = row.curvature(case.eta, case.x).numbers[0]
    assert abs(found - bend) < mpf("1e-12") * (1 + abs(bend))
    assert float(case.truth.value_size) == pytest.approx(float(value_size), rel=1e-8)
    assert float(case.truth.gradient_sizes[0]) == pytest.approx(float(size), rel=1e-8, abs=1e-12)


def test_precision_doubles_until_nothing_is_lost():
    """log(1 + e^eta) at eta = -300 is 0 at 80 digits; the judge must not stop there."""
    truth = judge(lambda jets: (log(1 + exp(jets[0])), [mpf(1)]), (-300.0,), 1, extra_digits=60)
    assert float(truth.value) == pytest.approx(math.exp(-300.0))
    assert float(truth.gradient[0]) == pytest.approx(math.exp(-300.0))


def test_a_lost_number_does_not_pass_for_zero():
    """1 - (1 - e^-500) is 0 at 80 digits and again at 160."""
    truth = judge(lambda jets: (1 - (1 - exp(jets[0])), [mpf(1)]), (-500.0,), 1)
    assert float(truth.value) == pytest.approx(math.exp(-500.0))


@pytest.mark.parametrize("eta", [-700.0, -45.0, 0.5, 45.0, 700.0])
@pytest.mark.parametrize("x", [0.0, 1.0])
def test_probabilities_keep_their_digits(eta, x):
    """The judge's logistic against brute precision and nothing else."""
    truth = BY_NAME["bernoulli"].truth((eta,), (x,))
    with mp.workdps(800):
        p = 1 / (1 + mp.exp(-mpf(eta)))
        value, slope = -x * mp.log(p) - (1 - x) * mp.log(1 - p), p - x
    with mp.workdps(60):
        assert abs(truth.value - value) <= abs(value) * mpf("1e-40")
        assert abs(truth.gradient[0] - slope) <= abs(slope) * mpf("1e-40")


def measured(evaluate, name="bernoulli"):
    row = BY_NAME[name]
    return score(row, "planted", evaluate, "float32", cases(row, "float32", 10, 40))


def test_a_naive_log_of_a_sigmoid_fails_the_measure():
    def naive(eta, x):
        p = torch.sigmoid(eta[0])
        return -(x * p.log() + (1 - x) * (1 - p).log())

    found = measured(naive)
    assert found.nonfinite_value > 0
    assert found.harm > 0


def test_a_value_clamped_against_infinity_fails_the_measure():
    def clamped(eta, x):
        p = torch.sigmoid(eta[0]).clamp(1e-7, 1 - 1e-7)
        return -(x * p.log() + (1 - x) * (1 - p).log())

    found = measured(clamped)
    assert found.nonfinite_value == 0
    assert found.harm > 0


@pytest.mark.parametrize(("units", "bad"), [(4.0, False), (60.0, True)])
def test_the_measure_counts_round_off_units(units, bad):
    """A squared error whose residual is off by some units of round-off of itself."""

    def disturbed(eta, x):
        z = (eta[0] - x) * (1 + units * torch.finfo(eta[0].dtype).eps)
        return z * z / 2 + math.log(2 * math.pi) / 2

    found = measured(disturbed, "normal, sigma = 1")
    assert (found.bad > 0) is bad
    assert units / 4 < found.gradient_max < 4 * units


def test_a_wrong_gradient_fails_although_the_value_is_right():
    def detached(eta, x):
        exact = -torch.nn.functional.logsigmoid((2 * x - 1).double() * eta[0].double())
        return exact.float().detach() + 0.0 * eta[0]

    found = measured(detached)
    assert found.value_max < 8
    assert found.harm > 0
