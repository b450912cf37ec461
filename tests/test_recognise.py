"""A derived loss is called by its name exactly where it has one; torch's own module agrees."""

from __future__ import annotations

import functools
import pickle
import re

import pytest
import sympy as sp
import torch
from drawing import given

import lossderiv as ld
from lossderiv.recognise import NAMED
from lossderiv.special import relu
from lossderiv.symbolic.functions import spell_out

KNOWN = {
    ("normal", ("sigma", 1)): "torch.nn.MSELoss, times 1/2",
    ("normal", ("sigma", 0.1)): "torch.nn.MSELoss, times 50",
    ("normal",): "torch.nn.GaussianNLLLoss",
    ("laplace", ("b", 1)): "torch.nn.L1Loss",
    ("laplace", ("b", 2)): "torch.nn.L1Loss, times 1/2",
    ("bernoulli",): "torch.nn.BCEWithLogitsLoss",
    ("poisson",): "torch.nn.PoissonNLLLoss",
    ("categorical",): "torch.nn.CrossEntropyLoss",
    ("huber", ("sigma", 1), ("delta", 1)): "torch.nn.HuberLoss(delta=1); torch.nn.Smooth",
    ("huber", ("sigma", 2), ("delta", 1.5)): "torch.nn.HuberLoss(delta=3), times 1/4; torch",
    ("huber", ("sigma", 1), ("delta", 200)): "torch.nn.HuberLoss(delta=200); torch.nn.Smooth",
    ("generalized_normal", ("alpha", 1), ("beta", 2)): "torch.nn.MSELoss",
    ("generalized_normal", ("alpha", 4), ("beta", 1)): "torch.nn.L1Loss, times 1/4",
    ("asymmetric_laplace", ("b", 1), ("tau", 0.25)): "pinball loss(tau=1/4)",
    ("asymmetric_laplace", ("b", 2), ("tau", 0.9)): "pinball loss(tau=9/10), times 1/2",
    ("asymmetric_laplace", ("b", 1), ("tau", 0.5)): "torch.nn.L1Loss, times 1/2",
    ("hyperbolic_secant", ("s", 1)): "log-cosh loss",
}


def pinball(eta, x, tau):
    """Koenker and Bassett (1978), equation 1.3."""
    return torch.where(x >= eta, tau * (x - eta), (tau - 1) * (x - eta)).sum()


def log_cosh(eta, x):
    return torch.log(torch.cosh(x - eta)).sum()


NOT_IN_TORCH = {"pinball loss": pinball, "log-cosh loss": log_cosh}
SENTENCE = re.compile(
    r"(?:torch\.nn\.)?(?P<name>[\w -]+)(?:\((?P<shape>\w+)=(?P<at>[\d/]+)\))?"
    r"(?:, times (?P<times>[\d/]+))?"
)


def derived(key) -> ld.Derivation:
    family, *fixed = key
    return ld.derive(family, **dict(fixed))


@pytest.mark.parametrize("key", KNOWN, ids=str)
def test_known_losses_are_named(key):
    assert ld.known_as(derived(key)).startswith(KNOWN[key])


@pytest.mark.parametrize("key", KNOWN, ids=str)
def test_torchs_module_agrees(key):
    """Gradients of our loss are the stated factor times those of the module that is named."""
    for match in ld.known_as(derived(key)).matches:
        compare(key, SENTENCE.match(str(match)))


def compare(key, said):
    name, factor = said["name"].strip(), float(sp.Rational(said["times"] or 1))
    options = {said["shape"]: float(sp.Rational(said["at"]))} if said["shape"] else {}
    generator = torch.Generator().manual_seed(2)
    eta = [torch.randn(6, dtype=torch.float64, generator=generator) for _ in range(2)]
    x = torch.randint(0, 2, (6,), generator=generator).double()
    if ld.derive(derived(key)).density.data is ld.Real:
        x = 3 * torch.randn(6, dtype=torch.float64, generator=generator)
    if name == "CrossEntropyLoss":
        raw = torch.randn(6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
        ours = ld.loss(derived(key), reduction="sum")(raw, x.long())
        theirs = torch.nn.CrossEntropyLoss(reduction="sum")(raw, x.long())
        both = [torch.autograd.grad(v, raw)[0] for v in (ours, theirs)]
    else:
        outputs = [e.requires_grad_() for e in eta[: len(derived(key).outputs)]]
        ours = ld.loss(derived(key), reduction="sum")(outputs, x)
        if name in NOT_IN_TORCH:
            module = functools.partial(NOT_IN_TORCH[name], **options)
        else:
            module = getattr(torch.nn, name)(reduction="sum", **options)
        if name == "GaussianNLLLoss":
            theirs = module(outputs[0], x, torch.exp(2 * outputs[1]))
        else:
            theirs = module(outputs[0], x)
        both = [torch.cat(torch.autograd.grad(v, outputs)) for v in (ours, theirs)]
    torch.testing.assert_close(both[0], factor * both[1], rtol=1e-9, atol=1e-9)


def test_every_name_in_the_table_is_reached():
    names = {m.name.split("(")[0] for k in KNOWN for m in ld.known_as(derived(k)).matches}
    assert {n.name for n in NAMED} == names


@pytest.mark.parametrize("key", KNOWN, ids=str)
def test_factor_and_offset_complete_the_likelihood(key):
    """Our exact loss is the factor times the named formula plus the offset, in torch's numbers."""
    d, known = derived(key), ld.known_as(derived(key))
    if "categorical" in key:
        assert known.offset == 0
        return
    eta, x = d.context.outputs, d.density.variable
    named = next(n for n in NAMED if n.name == known.matches[0].name.split("(")[0])
    at = SENTENCE.match(known)["at"]
    formula = spell_out(named.formula(*eta, x, *([sp.Rational(at)] if at else [])))
    exact = ld.loss(d, constants="keep", reduction="none")
    for numbers in ((0.25, -0.5, 1.0), (-2.0, 0.75, 0.0)):
        raw = [torch.tensor(n, dtype=torch.float64) for n in numbers[: len(eta)]]
        point = dict(zip((*eta, x), (*numbers[: len(eta)], numbers[2]), strict=True))
        said = (known.factor * formula + spell_out(known.offset)).subs(point).evalf()
        ours = exact(tuple(raw), torch.tensor(numbers[2], dtype=torch.float64))
        assert float(ours) == pytest.approx(float(said), rel=1e-12, abs=1e-12)


def test_a_named_loss_travels():
    known = ld.known_as("huber", sigma=1, delta=2)
    copy = pickle.loads(pickle.dumps(known))
    assert copy == known
    assert copy.matches == known.matches
    assert "-log p = 2 torch.nn.SmoothL1Loss(beta=2) + log(" in known.text()


@ld.density
def hinge_density(x: ld.Binary, margin: ld.Real):
    """The hinge loss of a label 2 x - 1, with the normaliser that makes it a likelihood."""
    weight = [sp.exp(-relu(1 - side * margin)) for side in (2 * x - 1, 1, -1)]
    return weight[0] / (weight[1] + weight[2])


def test_hinge_is_nobodys_likelihood():
    """Its normaliser moves with the output, so the negative log-likelihood is another loss."""
    assert ld.known_as(hinge_density) is None


@pytest.mark.parametrize(
    ("of", "options"),
    [
        ("continuous_bernoulli", {}),
        ("laplace", {}),
        ("normal", {"links": {"sigma": "softplus"}}),
        ("normal", {"mu": 0}),
        ("huber", {"delta": 1}),
        ("hyperbolic_secant", {"s": 2}),
        ("logistic", {"s": 1}),
        ("cauchy", {"gamma": 1}),
        ("gumbel", {"beta": 1}),
        ("student_t", {"sigma": 1, "nu": 3}),
        ("generalized_normal", {"alpha": 1, "beta": 3}),
    ],
)
def test_unknown_losses_are_not(of, options):
    assert ld.known_as(of, **options) is None


@pytest.mark.parametrize("family", ld.families())
def test_a_factor_changes_the_factor_alone(family):
    d = ld.derive(family, **given(family))
    name = ld.known_as(d)
    halved = ld.known_as(d.rescaled(2))
    if name is None:
        assert halved is None
    else:
        assert halved.split(",")[0].split(" (")[0] == name.split(",")[0].split(" (")[0]
        assert halved != name


def test_a_near_miss_is_a_miss():
    """Squared error with a little of something else is not squared error."""

    @ld.density
    def nearly(x: ld.Real, mu: ld.Real):
        z = x - mu
        shift = sp.Rational(1, 10**12) * (mu - mu)
        return sp.exp(-(z**2) / 2 + shift) / sp.sqrt(2 * sp.pi)

    assert ld.known_as(nearly) == "torch.nn.MSELoss, times 1/2"

    @ld.density
    def skewed(x: ld.Real, mu: ld.Real):
        z = x - sp.Rational(10**9 + 1, 10**9) * mu
        return sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)

    assert ld.known_as(skewed) is None
