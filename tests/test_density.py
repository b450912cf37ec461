"""Densities integrate to one; a reader's own density goes the same road, or is refused."""

from __future__ import annotations

import math

import pytest
import sympy as sp
import torch
from drawing import density, given, inputs

import lossderiv as ld
from lossderiv.errors import DensityError, ParameterError


@pytest.mark.parametrize("family", ld.families())
def test_the_catalogue_integrates_to_one(family):
    found = density(family).check(**given(family))
    assert len(found) >= 2
    assert all(abs(z - 1) < 1e-6 for z in found.values())


@pytest.mark.parametrize("family", ld.families())
def test_the_catalogue_says_what_it_is(family):
    d = density(family)
    assert d.name == family
    assert "Source:" in d.doc
    assert d.doc.split("\n")[0].endswith(".")


@ld.density
def kumaraswamy(x: ld.Unit, a: ld.Positive, b: ld.Positive):
    """Kumaraswamy on (0, 1)."""
    return a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)


@ld.density
def waiting_time(x: ld.NonNegative, rate: ld.Positive):
    """Waiting time until an event that comes at a constant rate."""
    return rate * sp.exp(-rate * x)


@ld.density
def flat_topped(x: ld.Interval(-1, 1), p: ld.Unit):
    """A mixture of a flat density and a rising one."""
    return p / 2 + (1 - p) * (1 + x) / 2


@ld.density
def failures(x: ld.Count, p: ld.Unit):
    """Failures before the first success."""
    return p * (1 - p) ** x


@ld.density
def die(x: ld.Integer(1, 6), p: ld.Unit):
    """A die that shows its highest face with probability p."""
    return sp.Piecewise((p, sp.Eq(x, 6)), ((1 - p) / 5, True))


@ld.density
def coin(x: ld.Binary, p: ld.Unit):
    """A coin of one's own."""
    return p**x * (1 - p) ** (1 - x)


@ld.density
def gumbel_like(x: ld.Real, mu: ld.Real, beta: ld.Positive):
    """The largest of many."""
    z = ld.let("z", (x - mu) / beta)
    return sp.exp(-z - sp.exp(-z)) / beta


@ld.density
def bell(x: ld.Real, mu: ld.Real):
    """No parameter but its place."""
    return sp.exp(-((x - mu) ** 2)) / sp.sqrt(sp.pi)


OWN = [kumaraswamy, waiting_time, flat_topped, failures, coin, gumbel_like, bell]
DISCRETE = {"failures", "coin"}


@pytest.mark.parametrize("own", OWN, ids=lambda d: d.name)
def test_an_own_density_goes_the_whole_road(own):
    """Integrated, derived, checked, printed, computed: value and gradient against torch's."""
    d = ld.derive(own)
    d.check()
    assert own.name in d.text()
    outputs, x = inputs(d)
    outputs = tuple(o.requires_grad_() for o in outputs)
    value = ld.loss(own, reduction="none", constants="keep")(outputs, x)
    theta = ld.loss(own).theta(outputs)
    names = [str(own.variable), *theta]
    p = sp.lambdify(names, sp.N(own.formula, 17), "torch")(x, *theta.values())
    torch.testing.assert_close(value, -torch.log(p), rtol=1e-9, atol=1e-9)
    ours = torch.autograd.grad(value.sum(), outputs)
    theirs = torch.autograd.grad(-torch.log(p).sum(), outputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert "import torch" in ld.source(own)


def test_an_own_coin_is_the_catalogues():
    assert ld.known_as(coin) == ld.known_as("bernoulli") == "torch.nn.BCEWithLogitsLoss"
    assert str(ld.derive(coin).loss) == str(ld.derive("bernoulli").loss)


@ld.density
def boxed(x: ld.Unit, mu: ld.Real, b: ld.Positive):
    """Laplace's density between 0 and 1, in three cases that share two slopes."""
    z = ld.let("z", (x - mu) / b)
    edge = b * (1 - sp.exp(-1 / b))
    within = b * (2 - sp.exp(-mu / b) - sp.exp(-(1 - mu) / b))
    return sp.Piecewise(
        (sp.exp(-x / b) / edge, mu < 0),
        (sp.exp(-(1 - x) / b) / edge, mu > 1),
        (sp.exp(-sp.Abs(z)) / within, True),
    )


@ld.density
def blank_or_count(x: ld.Integer(0, 16), gate: ld.Unit, p: ld.Unit):
    """Sixteen points, all white with probability gate."""
    count = sp.binomial(16, x) * p**x * (1 - p) ** (16 - x)
    return sp.Piecewise(
        (gate + (1 - gate) * (1 - p) ** 16, sp.Eq(x, 0)), ((1 - gate) * count, True)
    )


@pytest.mark.parametrize("compiled", [False, True], ids=["default", "compiled"])
@pytest.mark.parametrize(
    ("own", "theirs", "fixed", "x"),
    [
        (boxed, lambda: ld.truncated("laplace", 0, 1), {"b": 0.05}, [0.0, 0.3, 1.0]),
        (blank_or_count, lambda: ld.zero_inflated("binomial"), {}, [0.0, 7.0, 16.0]),
    ],
    ids=["boxed", "blank_or_count"],
)
def test_cases_by_hand_are_the_combinators(own, theirs, fixed, x, compiled):
    given = {} if fixed else {"n": 16}
    ours = ld.loss(own, reduction="none", constants="keep", compiled=compiled, **fixed)
    package = ld.loss(theirs(), reduction="none", constants="keep", **fixed, **given)
    x = torch.tensor(x)[:, None]
    eta = torch.linspace(-1.5, 2.5, 9).expand(3, 9).clone().requires_grad_()
    outputs = (eta,) if fixed else (eta, eta.flip(1))
    one, other = (loss(outputs if len(outputs) > 1 else eta, x) for loss in (ours, package))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    slopes = [torch.autograd.grad(value.sum(), eta)[0] for value in (one, other)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)
    space = {}
    exec(ld.source(own, **fixed), space)


def test_a_density_that_is_negative_is_refused_though_its_integral_is_one():
    @ld.density
    def pedestal(x: ld.Angle, mu: ld.Angle, rho: ld.Unit):
        return (1 + 2 * rho * sp.cos(x - mu)) / (2 * sp.pi)

    with pytest.raises(ld.DensityError, match=r"pedestal is negative: p = -0\.1.* rho = 0\.85"):
        ld.derive(pedestal)


def test_a_discrete_density_sums_over_its_support():
    assert all(abs(z - 1) < 1e-6 for z in die.check().values())
    assert all(abs(z - 1) < 1e-6 for z in failures.check().values())


# Refused -----------------------------------------------------------------------------------------


def read(function):
    """Like the decorator, where the decoration itself is what must fail."""
    return ld.density(function)


def test_a_density_that_does_not_integrate_to_one_is_refused_with_its_integral():
    @ld.density
    def unfinished(x: ld.Real, mu: ld.Real, sigma: ld.Positive):
        return sp.exp(-(((x - mu) / sigma) ** 2) / 2)

    with pytest.raises(DensityError) as caught:
        ld.derive(unfinished)
    message = str(caught.value)
    assert f"Z = {0.45 * math.sqrt(2 * math.pi):.6g} at mu = " in message  # at sigma = 0.45
    assert "sigma = 0.45" in message
    assert "Divide the formula by its integral" in message
    with pytest.raises(DensityError):
        ld.loss(unfinished)
    with pytest.raises(DensityError):
        ld.source(unfinished)


def test_a_density_wrong_by_little_is_refused():
    @ld.density
    def nearly(x: ld.Binary, p: ld.Unit):
        return p**x * (1 - p) ** (1 - x) * (1 + sp.Rational(1, 10**5))

    with pytest.raises(DensityError, match=r"Z = 1\.00001"):
        nearly.check()


def test_a_fixed_value_at_which_it_fails_is_tried():
    @ld.density
    def only_at_one(x: ld.NonNegative, rate: ld.Positive, power: ld.Positive):
        return rate * sp.exp(-rate * x) * power

    with pytest.raises(DensityError, match="Z = 2 at"):
        ld.derive(only_at_one, power=2)
    ld.derive(only_at_one, power=1).check()


def test_a_density_on_the_wrong_support_is_refused():
    @ld.density
    def half(x: ld.Real, rate: ld.Positive):
        return rate * sp.exp(-rate * sp.Abs(x))

    with pytest.raises(DensityError, match="Real: any real x"):
        half.check()


def test_a_density_without_annotations_is_refused():
    def bare(x, mu: ld.Real):
        return sp.exp(-((x - mu) ** 2))

    with pytest.raises(DensityError, match="'x' of the density bare has no domain"):
        read(bare)


def test_a_density_with_a_wrong_annotation_is_refused():
    def odd(x: float, mu: ld.Real):
        return sp.exp(-((x - mu) ** 2))

    with pytest.raises(DensityError, match="Annotate it"):
        read(odd)


def test_a_density_without_arguments_is_refused():
    def nothing():
        return sp.Integer(1)

    with pytest.raises(DensityError, match="name the data"):
        read(nothing)


def test_an_undeclared_symbol_is_refused():
    nu = sp.Symbol("nu", positive=True)

    def loose(x: ld.NonNegative):
        return nu * sp.exp(-nu * x)

    with pytest.raises(DensityError, match="uses nu, which is neither"):
        read(loose)


@pytest.mark.parametrize("exp", [math.exp, torch.exp], ids=["math", "torch"])
def test_functions_that_are_not_sympys_are_refused(exp):
    def numeric(x: ld.NonNegative, rate: ld.Positive):
        return rate * exp(-rate * x)

    with pytest.raises(DensityError, match="from sympy import exp"):
        read(numeric)


def test_a_density_that_returns_no_formula_is_refused():
    def chatty(x: ld.Unit):
        return "1"

    def silent(x: ld.Unit):
        return None

    for wrong in (chatty, silent):
        with pytest.raises(DensityError, match="not a formula"):
            read(wrong)


def test_let_outside_a_density_is_refused():
    with pytest.raises(DensityError, match="outside a density"):
        ld.let("z", sp.Integer(1))


def test_let_gives_each_name_once():
    def twice(x: ld.Real, mu: ld.Real):
        ld.let("z", x - mu)
        ld.let("z", x + mu)
        return sp.exp(-x)

    with pytest.raises(DensityError, match="given twice"):
        read(twice)
    with pytest.raises(DensityError, match="outside a density"):  # and nothing is left open
        ld.let("z", sp.Integer(1))


def test_a_density_without_parameters_has_nothing_to_learn():
    @ld.density
    def uniform(x: ld.Unit):
        return sp.Integer(1)

    uniform.check()
    with pytest.raises(ParameterError, match="nothing"):
        ld.derive(uniform)


def test_check_names_an_unknown_parameter():
    with pytest.raises(ParameterError, match="no parameter 'q'"):
        coin.check(q=1)
