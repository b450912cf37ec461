"""A parameter that is given is one that the decoder always puts out: same value, same slopes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from drawing import density, given, inputs

import lossderiv as ld
from lossderiv.special import inside


def exact(family: str, given: Mapping[str, object]) -> ld.Loss:
    return ld.loss(family, reduction="none", constants="keep", **given)


def value_and_slopes(loss: ld.Loss, x, raw):
    raw = tuple(o.clone().requires_grad_() for o in raw)
    value = loss(raw, x)
    return value.detach(), torch.autograd.grad(value.sum(), raw)


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
    expected = value_and_slopes(learned, x, raw)
    rest = [o for i, o in enumerate(raw) if i != k]
    slopes = [g for i, g in enumerate(expected[1]) if i != k]
    fixed = exact(family, {**given(family), name: value})
    for found in (
        value_and_slopes(fixed, x, rest),
        (fixed._program.value(*rest, x)[0], fixed._program.gradient(*rest, x)),
    ):
        torch.testing.assert_close(found[0], expected[0], rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(list(found[1]), slopes, rtol=1e-11, atol=1e-11)
