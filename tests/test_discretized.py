"""``discretized``: levels add up to one, by relations, in far tails, and when misused."""

from __future__ import annotations

import math

import pytest
import torch

import lossderiv as ld
from lossderiv.combinators.discretized import FAMILIES

each = pytest.mark.parametrize("family", FAMILIES)


def loss_of(family: str, levels: int = 256, **options):
    return ld.loss(
        ld.discretized(family, levels=levels, **options), reduction="none", constants="keep"
    )


@each
@pytest.mark.parametrize("levels", [2, 3, 16, 256])
def test_the_levels_add_up_to_one(family, levels):
    loss = loss_of(family, levels)
    mu = torch.tensor([-3.0, -0.4, 0.0, 0.3, 20.0])[:, None]
    for log_scale in (-12.0, -6.0, -3.0, 0.0, 6.0):
        heads = (mu.expand(5, levels), torch.full((5, levels), log_scale))
        each_level = loss(heads, torch.arange(float(levels)).expand(5, levels)).double()
        total = torch.exp(-each_level).sum(-1)
        torch.testing.assert_close(total, torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-6)


@each
def test_its_own_check_adds_up_too(family):
    assert all(abs(z - 1) < 1e-6 for z in ld.discretized(family, levels=8).check().values())


@each
def test_the_derivation_holds(family):
    ld.derive(ld.discretized(family, levels=256)).check()


@each
def test_narrow_bins_are_the_density_times_their_width(family):
    """A continuous density's loss, less the log of a bin's width."""
    levels = 20_001
    at = torch.tensor([4000.0, 10_000.0, 12_345.0, 19_000.0], dtype=torch.float64)
    heads = (torch.full_like(at, 0.1), torch.full_like(at, -1.0))
    dense = ld.loss(family, reduction="none", constants="keep")
    wanted = dense(heads, -1 + at * 1e-4) - math.log(1e-4)
    got = loss_of(family, levels)(heads, at)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-7)


@each
def test_it_is_its_own_mirror_image(family):
    loss = loss_of(family)
    x = torch.tensor([0.0, 3.0, 127.0, 128.0, 255.0])
    mu, log_s = torch.tensor([0.3, -0.9, 0.0, 0.4, 5.0]), torch.tensor([-3.0, -5, -8, 1, -2])
    torch.testing.assert_close(loss((mu, log_s), x), loss((-mu, log_s), 255 - x))


@each
def test_far_bins_keep_value_and_gradient(family):
    """A hundred scales away, where both distribution functions are the same number in float32."""
    loss = ld.loss(ld.discretized(family, levels=256))
    mu = torch.tensor([1.0], requires_grad=True)
    log_s = torch.tensor([math.log(0.01)], requires_grad=True)
    value = loss((mu, log_s), torch.tensor([1.0]))
    value.backward()
    assert value.isfinite()
    assert mu.grad > 0
    assert log_s.grad < 0


@each
def test_low_and_high_only_move_and_stretch(family):
    mu, log_s = torch.tensor([0.3, -0.9]), torch.tensor([-3.0, -1.0])
    x = torch.tensor([100.0, 0.0])
    grey = loss_of(family, 256, low=0.0, high=255.0)
    wanted = loss_of(family)((mu, log_s), x)
    got = grey(((mu + 1) * 127.5, log_s + math.log(127.5)), x)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_width_tells_the_number_of_levels():
    by_width = ld.discretized("logistic", width=0.5, low=-1, high=1)
    assert by_width.data.high == 4
    assert ld.discretized("logistic", width=0.1, low=0, high=1).data.high == 10


def test_bits_per_dimension_are_those_of_a_code():
    """A scale far beyond the levels spreads nothing evenly: the open ends take a half each."""
    loss = ld.loss(ld.discretized("logistic", levels=2))
    bits = loss.bits_per_dim((torch.zeros(2), torch.full((2,), 9.0)), torch.tensor([0.0, 1.0]))
    assert bits.item() == pytest.approx(1.0, abs=1e-6)


def test_a_target_between_the_levels_is_refused():
    loss = ld.loss(ld.discretized("logistic", levels=256))
    with pytest.raises(ld.TargetError, match="outside the support"):
        loss((torch.zeros(1), torch.zeros(1)), torch.tensor([0.5]))
    with pytest.raises(ld.TargetError, match="outside the support"):
        loss((torch.zeros(1), torch.zeros(1)), torch.tensor([256.0]))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ld.discretized("logistic", levels=1), ld.ParameterError, "at least 2"),
        (lambda: ld.discretized("logistic", levels=2.5), ld.ParameterError, "whole number"),
        (lambda: ld.discretized("logistic"), ld.ParameterError, "levels=..., how many"),
        (
            lambda: ld.discretized("logistic", levels=4, width=1.0),
            ld.ParameterError,
            "levels=4 and width=1.0",
        ),
        (lambda: ld.discretized("logistic", width=0.3), ld.ParameterError, "does not cut"),
        (lambda: ld.discretized("logistic", width=-1.0), ld.ParameterError, "does not cut"),
        (
            lambda: ld.discretized("logistic", levels=4, low=1, high=1),
            ld.ParameterError,
            "below the last",
        ),
        (lambda: ld.discretized("student_t", levels=4), ld.DensityError, "cauchy"),
        (lambda: ld.discretized("poisson", levels=4), ld.DensityError, "not poisson"),
        (lambda: ld.discretized("logistc", levels=4), ld.UnknownNameError, "logistic"),
    ],
)
def test_misuse_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()
