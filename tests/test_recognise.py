"""A derived loss is called by its name exactly where it has one; torch's own module agrees."""

from __future__ import annotations

import re

import pytest
import sympy as sp
import torch
from drawing import given

import lossderiv as ld
from lossderiv.recognise import NAMED

KNOWN = {
    ("normal", ("sigma", 1)): "torch.nn.MSELoss, times 1/2",
    ("normal", ("sigma", 0.1)): "torch.nn.MSELoss, times 50",
    ("normal",): "torch.nn.GaussianNLLLoss",
    ("laplace", ("b", 1)): "torch.nn.L1Loss",
    ("laplace", ("b", 2)): "torch.nn.L1Loss, times 1/2",
    ("bernoulli",): "torch.nn.BCEWithLogitsLoss",
    ("poisson",): "torch.nn.PoissonNLLLoss",
    ("categorical",): "torch.nn.CrossEntropyLoss",
}


def derived(key) -> ld.Derivation:
    family, *fixed = key
    return ld.derive(family, **dict(fixed))


@pytest.mark.parametrize("key", KNOWN, ids=str)
def test_known_losses_are_named(key):
    assert ld.known_as(derived(key)).startswith(KNOWN[key])


@pytest.mark.parametrize("key", KNOWN, ids=str)
def test_torchs_module_agrees(key):
    """Gradients of our loss are the stated factor times those of the module that is named."""
    said = re.match(r"torch\.nn\.(\w+)(?:, times ([\d/]+))?", ld.known_as(derived(key)))
    name, factor = said[1], float(sp.Rational(said[2] or 1))
    generator = torch.Generator().manual_seed(2)
    eta = [torch.randn(6, dtype=torch.float64, generator=generator) for _ in range(2)]
    x = torch.randint(0, 2, (6,), generator=generator).double()
    if name == "CrossEntropyLoss":
        raw = torch.randn(6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
        ours = ld.loss(derived(key), reduction="sum")(raw, x.long())
        theirs = torch.nn.CrossEntropyLoss(reduction="sum")(raw, x.long())
        both = [torch.autograd.grad(v, raw)[0] for v in (ours, theirs)]
    else:
        outputs = [e.requires_grad_() for e in eta[: len(derived(key).outputs)]]
        ours = ld.loss(derived(key), reduction="sum")(outputs, x)
        module = getattr(torch.nn, name)(reduction="sum")
        if name == "GaussianNLLLoss":
            theirs = module(outputs[0], x, torch.exp(2 * outputs[1]))
        else:
            theirs = module(outputs[0], x)
        both = [torch.cat(torch.autograd.grad(v, outputs)) for v in (ours, theirs)]
    torch.testing.assert_close(both[0], factor * both[1], rtol=1e-9, atol=1e-9)


def test_every_name_in_the_table_is_reached():
    names = {ld.known_as(derived(k)).split(",")[0].split(" ")[0] for k in KNOWN}
    assert {n.name for n in NAMED} == names


@pytest.mark.parametrize(
    ("of", "options"),
    [
        ("continuous_bernoulli", {}),
        ("laplace", {}),
        ("normal", {"links": {"sigma": "softplus"}}),
        ("normal", {"mu": 0}),
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
