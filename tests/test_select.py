"""``select`` is ``torch.where``, to the last bit, and the default tier's kernels use it."""

from __future__ import annotations

import itertools

import pytest
import torch

import lossderiv as ld
from lossderiv.select import select

ODD = [0.0, -0.0, 1.0, -2.5, float("inf"), -float("inf"), float("nan"), 1e-45, 3e38]
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int64)


@each_dtype
def test_every_pair_of_odd_numbers_comes_out_untouched(dtype):
    pairs = torch.tensor(list(itertools.product(ODD, ODD)), dtype=dtype)
    a, b = pairs.unbind(1)
    for mask in (torch.arange(len(a)) % 2 == 0, torch.arange(len(a)) % 2 == 1):
        assert torch.equal(bits(select(mask, a, b)), bits(torch.where(mask, a, b)))


@each_dtype
@pytest.mark.parametrize("number", ODD)
def test_a_number_stands_for_a_tensor_of_it(dtype, number):
    a, mask = torch.randn(5, 7, dtype=dtype), torch.rand(5, 7) < 0.5
    assert torch.equal(bits(select(mask, a, number)), bits(torch.where(mask, a, number)))
    assert torch.equal(bits(select(mask, number, a)), bits(torch.where(mask, number, a)))


def test_shapes_broadcast():
    mask, a, b = torch.tensor([[True], [False]]), torch.randn(3), torch.randn(2, 3)
    assert torch.equal(select(mask, a, b), torch.where(mask, a, b))
    assert torch.equal(select(mask, a.t(), b[:, :1]), torch.where(mask, a, b[:, :1]))
    one = torch.tensor(4.0)
    assert torch.equal(select(mask, one, 0.0), torch.where(mask, one, 0.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64], ids=str)
def test_other_types_take_the_usual_way(dtype):
    mask, a, b = torch.tensor([True, False]), torch.arange(2).to(dtype), torch.ones(2, dtype=dtype)
    assert torch.equal(select(mask, a, b), torch.where(mask, a, b))


def test_kernels_use_it_and_the_readable_source_does_not(monkeypatch):
    asked = []

    def watched(mask, a, b, out=None):
        asked.append(mask.shape)
        return torch.where(mask, a, b)

    monkeypatch.setattr("lossderiv.autograd.select", watched)
    loss = ld.loss("continuous_bernoulli")
    assert "torch.where(" in loss.source
    assert "select(" not in loss.source
    loss(torch.zeros(4, requires_grad=True), torch.full((4,), 0.25))
    assert set(asked) == {(4,)}


def test_it_writes_into_a_tensor_of_its_own_choice():
    mask, a, b = torch.rand(50) < 0.5, torch.randn(50), torch.randn(50)
    whole = torch.where(mask, a, b)
    assert select(mask, a, b, out=(spare := torch.empty(50))).data_ptr() == spare.data_ptr()
    assert torch.equal(spare, whole)
    assert torch.equal(select(mask, a, b, out=a), whole)
    assert torch.equal(a, whole)


def test_a_mask_may_be_larger_than_both():
    mask, a = torch.tensor([True, False, True]), torch.tensor(2.0)
    spare = torch.empty(3)
    assert select(mask, a, 1.0, out=spare).tolist() == [2.0, 1.0, 2.0]
