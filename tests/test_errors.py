"""Bad input is refused in one paragraph that says what was met and what to do."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import sympy as sp
import torch

import lossderiv as ld
from lossderiv import errors
from lossderiv.errors import LossDerivError

ZEROS, ONES = torch.zeros(3), torch.ones(3)
NAN = torch.tensor([0.0, math.nan, 1.0])
CLASSES = torch.tensor([0, 1, 1])


def own(formula) -> ld.Density:
    """A one-off density on the real line."""

    def strange(x: ld.Real, mu: ld.Real):
        return formula(x, mu)

    return ld.density(strange)


def spelled_badly(x, mu):
    """Integrates to one, by its symmetry, but torch has no Fresnel integral."""
    return sp.exp(-((x - mu) ** 2)) / sp.sqrt(sp.pi) * (1 + sp.fresnels(x - mu))


# What is done, the kind of error, and what its message must say.
CASES = {
    "unknown family": (
        lambda: ld.derive("bernouli"),
        errors.UnknownNameError,
        ("'bernouli'", "Did you mean", "bernoulli", "families()"),
    ),
    "unknown family, nothing near": (
        lambda: ld.derive("xyzzy"),
        errors.UnknownNameError,
        ("'xyzzy'", "normal", "density"),
    ),
    "not a family at all": (lambda: ld.derive(3), errors.DensityError, ("int", "density")),
    "a bare function": (lambda: ld.derive(len), errors.DensityError, ("@lossderiv.density",)),
    "missing parameter": (
        lambda: ld.derive("binomial"),
        errors.ParameterError,
        ("binomial", "n", "derive('binomial', n=...)"),
    ),
    "unknown parameter": (
        lambda: ld.derive("normal", sgima=1),
        errors.ParameterError,
        ("normal", "'sgima'", "mu, sigma"),
    ),
    "parameter outside its domain": (
        lambda: ld.derive("normal", sigma=-1),
        errors.ParameterError,
        ("sigma = -1", "Positive", "sigma"),
    ),
    "zero where positive is asked": (
        lambda: ld.derive("normal", sigma=0),
        errors.ParameterError,
        ("sigma = 0", "Positive"),
    ),
    "parameter not finite": (
        lambda: ld.derive("normal", sigma=math.inf),
        errors.ParameterError,
        ("inf",),
    ),
    "parameter NaN": (lambda: ld.derive("normal", mu=math.nan), errors.ParameterError, ("nan",)),
    "parameter not a number": (
        lambda: ld.derive("normal", sigma="wide"),
        errors.ParameterError,
        ("'wide'", "leave it out"),
    ),
    "parameter not whole": (
        lambda: ld.derive("binomial", n=2.5),
        errors.ParameterError,
        ("n = 2.5", "integer"),
    ),
    "nothing left to learn": (
        lambda: ld.derive("normal", mu=0, sigma=1),
        errors.ParameterError,
        ("nothing is left to learn", "mu, sigma"),
    ),
    "unknown link": (
        lambda: ld.derive("normal", links={"sigma": "softpluss"}),
        errors.UnknownNameError,
        ("'softpluss'", "softplus", "sigma"),
    ),
    "link that leaves the domain": (
        lambda: ld.derive("normal", links={"sigma": "identity"}),
        errors.ParameterError,
        ("'identity'", "sigma", "Positive", "exp"),
    ),
    "link for a fixed parameter": (
        lambda: ld.derive("normal", sigma=1, links={"sigma": "exp"}),
        errors.ParameterError,
        ("'sigma'", "mu"),
    ),
    "link for no parameter": (
        lambda: ld.derive("normal", links={"nu": "exp"}),
        errors.ParameterError,
        ("'nu'",),
    ),
    "options for a finished derivation": (
        lambda: ld.loss(ld.derive("normal"), sigma=1),
        errors.ParameterError,
        ("finished", "normal"),
    ),
    "unknown reduction": (
        lambda: ld.loss("normal", reduction="average"),
        errors.ParameterError,
        ("'average'", "'mean'", "'sum'", "'none'"),
    ),
    "unknown constants": (
        lambda: ld.loss("normal", constants=True),
        errors.ParameterError,
        ("constants=True", "'keep'"),
    ),
    "unknown validate": (
        lambda: ld.loss("normal", validate="always"),
        errors.ParameterError,
        ("'always'", "'first'"),
    ),
    "target outside the support": (
        lambda: ld.loss("bernoulli")(ZEROS, torch.tensor([1.0, 0.25, 7.0])),
        errors.TargetError,
        ("bernoulli", "(1,)", "0.25", "2 such values", "continuous_bernoulli"),
    ),
    "target outside, many axes": (
        lambda: ld.loss("continuous_bernoulli")(
            torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [0.5, 255.0]])
        ),
        errors.TargetError,
        ("(1, 1)", "255", "Divide"),
    ),
    "target outside, weighted": (
        lambda: ld.loss("bernoulli")(ZEROS, torch.tensor([math.nan, 1.0, 0.5]), CLASSES.clone()),
        errors.TargetError,
        ("(2,)", "0.5"),
    ),
    "infinite target": (
        lambda: ld.loss("laplace", b=1)(ZEROS, torch.tensor([0.0, 1.0, math.inf])),
        errors.TargetError,
        ("(2,)", "inf"),
    ),
    "NaN target": (
        lambda: ld.loss("normal", sigma=1)(ZEROS, NAN),
        errors.TargetError,
        ("(1,)", "NaN", "weight 0"),
    ),
    "count that is not whole": (
        lambda: ld.loss("poisson")(ZEROS, torch.tensor([0.0, 1.5, 2.0])),
        errors.TargetError,
        ("(1,)", "1.5", "whole"),
    ),
    "more successes than trials": (
        lambda: ld.loss("binomial", n=3)(ZEROS, torch.tensor([0.0, 4.0, 2.0])),
        errors.TargetError,
        ("(1,)", "4"),
    ),
    "class that does not exist": (
        lambda: ld.loss("categorical")(torch.zeros(3, 2), torch.tensor([0, 2, 1])),
        errors.TargetError,
        ("(1,)", "2", "between 0 and 1", "last axis"),
    ),
    "class index that is negative": (
        lambda: ld.loss("categorical")(torch.zeros(3, 2), torch.tensor([0, 0, -100])),
        errors.TargetError,
        ("(2,)", "-100"),
    ),
    "class indices as floats": (
        lambda: ld.loss("categorical")(torch.zeros(3, 2), ONES),
        errors.DtypeError,
        ("integer", "long()"),
    ),
    "vectors of another width": (
        lambda: ld.loss("multivariate_normal_diagonal")((torch.zeros(2, 3),) * 2, torch.ones(2, 4)),
        errors.ShapeError,
        ("eta_sigma (2, 3)", "target (2, 4)", "last axis", "split"),
    ),
    "vectors without an axis": (
        lambda: ld.loss("dirichlet")(torch.zeros(3), torch.tensor(0.5)),
        errors.ShapeError,
        ("target ()", "last axis"),
    ),
    "an entry that is NaN": (
        lambda: ld.loss("multivariate_normal_diagonal")((torch.zeros(2, 3),) * 2, NAN),
        errors.TargetError,
        ("(1,)", "NaN", "weight 0"),
    ),
    "shares that do not add up": (
        lambda: ld.loss("dirichlet")(torch.zeros(2, 2), torch.tensor([[0.5, 0.5], [0.5, 0.6]])),
        errors.TargetError,
        ("(1,)", "1.1", "not to 1", "last axis"),
    ),
    "a share of nothing": (
        lambda: ld.loss("dirichlet")(torch.zeros(2, 2), torch.tensor([[0.5, 0.5], [0.0, 1.0]])),
        errors.TargetError,
        ("(1, 0)", "0.0", "positive"),
    ),
    "shares that do not add up, weighted": (
        lambda: ld.loss("dirichlet")(
            torch.zeros(3, 2), torch.tensor([[2.0, 3.0], [0.5, 0.5], [0.5, 0.4]]), CLASSES.clone()
        ),
        errors.TargetError,
        ("(2,)", "0.9"),
    ),
    "counts that do not add up": (
        lambda: ld.loss("multinomial", n=3)(torch.zeros(2, 2), torch.tensor([[1, 2], [1, 1]])),
        errors.TargetError,
        ("(1,)", "adds up to 2", "not to 3"),
    ),
    "counts that are not whole": (
        lambda: ld.loss("multinomial", n=3)(torch.zeros(2), torch.tensor([1.5, 1.5])),
        errors.TargetError,
        ("(0,)", "1.5"),
    ),
    "a grade that does not exist": (
        lambda: ld.loss("ordered_logistic", cutpoints=(-1, 1))(ZEROS, torch.tensor([0, 3, 1])),
        errors.TargetError,
        ("(1,)", "3", "0 <= x <= 2"),
    ),
    "cutpoints out of order": (
        lambda: ld.loss("ordered_logistic", cutpoints=(1, -1)),
        errors.ParameterError,
        ("cutpoints = (1, -1)", "in order"),
    ),
    "cutpoints that are no sequence": (
        lambda: ld.loss("ordered_logistic", cutpoints=1.5),
        errors.ParameterError,
        ("cutpoints", "sequence", "1.5"),
    ),
    "no cutpoints": (
        lambda: ld.derive("ordered_logistic"),
        errors.ParameterError,
        ("cutpoints", "cannot be learned"),
    ),
    "a vector parameter given a number": (
        lambda: ld.derive("dirichlet", alpha=1),
        errors.ParameterError,
        ("alpha", "vector", "learned"),
    ),
    "complex target": (
        lambda: ld.loss("normal", sigma=1)(ZEROS, ONES + 1j),
        errors.DtypeError,
        ("complex",),
    ),
    "target that is no tensor": (
        lambda: ld.loss("normal", sigma=1)(ZEROS, np.zeros(3)),
        errors.DtypeError,
        ("ndarray", "tensor"),
    ),
    "output that is no tensor": (
        lambda: ld.loss("normal", sigma=1)(0.5, ONES),
        errors.DtypeError,
        ("float", "tensor"),
    ),
    "outputs that are no tensors": (
        lambda: ld.loss("normal")((ZEROS, 1.0), ONES),
        errors.DtypeError,
        ("eta_sigma", "float"),
    ),
    "shapes that do not broadcast": (
        lambda: ld.loss("normal")((ZEROS, ZEROS), torch.ones(4)),
        errors.ShapeError,
        ("eta_mu (3,)", "eta_sigma (3,)", "target (4,)"),
    ),
    "classes on the wrong axis": (
        lambda: ld.loss("categorical")(torch.zeros(2, 5, 4), torch.zeros(2, 4, dtype=torch.int64)),
        errors.ShapeError,
        ("last axis", "(2, 5, 4)", "split"),
    ),
    "weight that does not broadcast": (
        lambda: ld.loss("normal", sigma=1)(ZEROS, ONES, torch.ones(2)),
        errors.ShapeError,
        ("weight (2,)",),
    ),
    "too few outputs": (
        lambda: ld.loss("normal")(ZEROS, ONES),
        errors.ShapeError,
        ("2 outputs", "eta_mu, eta_sigma", "got 1", "split"),
    ),
    "too many outputs": (
        lambda: ld.loss("bernoulli")((ZEROS, ZEROS), ONES),
        errors.ShapeError,
        ("1 output ", "got 2"),
    ),
    "too few outputs for theta": (
        lambda: ld.loss("normal").theta(ZEROS),
        errors.ShapeError,
        ("2 outputs", "got 1"),
    ),
    "too few outputs for bits": (
        lambda: ld.loss("normal").bits_per_dim(ZEROS, ONES),
        errors.ShapeError,
        ("2 outputs", "got 1"),
    ),
    "bits of an impossible target": (
        lambda: ld.loss("bernoulli").bits_per_dim(ZEROS, torch.full((3,), 0.5)),
        errors.TargetError,
        ("0.5", "bernoulli"),
    ),
    "channels that cannot be cut": (
        lambda: ld.loss("normal").split(torch.zeros(2, 3, 4)),
        errors.ShapeError,
        ("3 channels", "2 outputs", "axis 1"),
    ),
    "channels that make no vectors": (
        lambda: ld.loss("multivariate_normal").split(torch.zeros(2, 6)),
        errors.ShapeError,
        ("6 channels", "eta_mu, eta_diag, eta_off", "2 entries need 5", "3 entries 9"),
    ),
    "an axis that is not there": (
        lambda: ld.loss("normal").split(torch.zeros(4)),
        errors.ShapeError,
        ("axis 1", "(4,)"),
    ),
    "integer outputs": (
        lambda: ld.loss("bernoulli")(CLASSES, ONES),
        errors.DtypeError,
        ("eta_p", "int64", "float()"),
    ),
    "complex outputs": (
        lambda: ld.loss("bernoulli")(ZEROS + 1j, ONES),
        errors.DtypeError,
        ("eta_p", "complex64"),
    ),
    "boolean outputs": (
        lambda: ld.loss("bernoulli")(ZEROS > 0, ONES),
        errors.DtypeError,
        ("eta_p", "bool"),
    ),
    "a density that is negative": (
        lambda: ld.loss(own(lambda x, mu: x * sp.exp(-(x**2)))),
        errors.DensityError,
        ("strange", "negative", "x = -", "smaller domain"),
    ),
    "a density that does not integrate to one": (
        lambda: ld.loss(own(lambda x, mu: sp.exp(-((x - mu) ** 2)))),
        errors.DensityError,
        ("strange", "Z = 1.77245", "mu = "),
    ),
    "a function without torch spelling": (
        lambda: ld.source(own(spelled_badly)),
        errors.SpellingError,
        ("fresnel", "special.py"),
    ),
    "the same, as a loss": (
        lambda: ld.loss(own(spelled_badly)),
        errors.SpellingError,
        ("fresnel", "special.py"),
    ),
    "the mean of classes": (
        lambda: ld.loss("categorical").mean(torch.zeros(3, 2)),
        errors.ParameterError,
        ("mean", "categorical", "theta"),
    ),
    "an interval upside down": (
        lambda: ld.Interval(1, 0),
        errors.ParameterError,
        ("Interval(1, 0)", "lower one first"),
    ),
    "an interval without end": (
        lambda: ld.Interval(0, math.inf),
        errors.ParameterError,
        ("finite", "Positive"),
    ),
    "integers without any": (lambda: ld.Integer(3, 2), errors.ParameterError, ("empty",)),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused(case):
    attempt, kind, words = CASES[case]
    with pytest.raises(kind) as caught:
        attempt()
    message = str(caught.value)
    assert isinstance(caught.value, LossDerivError)
    assert isinstance(caught.value, ValueError)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert message[0].isupper() or message[0].islower()
    assert message.rstrip().endswith((".", ")", "?"))
    assert 40 < len(message) < 900
    assert not re.search(r"  |\{|\}", message.replace("links={", "").replace("...}", ""))


def test_every_kind_of_error_has_one_base_and_a_docstring():
    kinds = [e for e in vars(errors).values() if isinstance(e, type)]
    assert all(issubclass(e, LossDerivError) and e.__doc__ for e in kinds)
    assert {kind for _, kind, _ in CASES.values()} | {
        LossDerivError,
        errors.DerivationError,
    } == set(kinds)


@pytest.mark.parametrize("family", ld.families())
def test_a_nan_target_is_named_in_every_family(family):
    from drawing import given, inputs

    d = ld.derive(family, **given(family))
    outputs, x = inputs(d, (4,))
    if d.density.data.shape == "category":
        x[2], where = -1, "(2,"
    else:
        x[2], where = math.nan, "(2,"
    with pytest.raises(errors.TargetError, match=re.escape(where)):
        ld.loss(d)(outputs, x)


def test_the_first_offence_is_the_one_named():
    x = torch.zeros(2, 3)
    x[1, 0] = x[1, 2] = -0.5
    with pytest.raises(errors.TargetError, match=r"index \(1, 0\) is -0\.5"):
        ld.loss("bernoulli")(torch.zeros(2, 3), x)
