"""Softmax of short rows: the numbers of torch's own, however short the rows are."""

from __future__ import annotations

import pytest
import torch

from lossderiv import narrow

WIDTHS = [1, 2, 3, narrow.REGISTER - 1, narrow.REGISTER, 40]
each = pytest.mark.parametrize("name", ["softmax", "log_softmax"])


def drawn(width: int, dtype=torch.float32) -> torch.Tensor:
    g = torch.Generator().manual_seed(width)
    return (30 * torch.randn((7, 5, width), generator=g)).to(dtype)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_numbers_are_torch_s(name, dtype, width):
    for u in (drawn(width, dtype), drawn(width, dtype).transpose(0, 1)):
        kept = u.clone()
        found = getattr(narrow, name)(u, -1)
        exact = getattr(torch, name)(u.double(), -1)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(found.double(), exact, rtol=100 * eps, atol=2 * eps)
        assert torch.equal(u, kept)


@each
@pytest.mark.parametrize("width", WIDTHS)
def test_so_are_zeros_infinities_and_what_is_no_number(name, width):
    u = drawn(width)
    u[0, 0] = -torch.inf  # no entry is left
    u[1, 1, 0] = -torch.inf
    u[2, 2, 0] = torch.inf
    u[3, 3, 0] = torch.nan
    found, expected = (getattr(module, name)(u, -1) for module in (narrow, torch))
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.isinf(), expected.isinf())
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-5, atol=1e-6)


@each
def test_rows_without_entries_and_batches_without_rows(name):
    for shape in ((3, 0), (0, 3), (0, 0)):
        assert getattr(narrow, name)(torch.empty(shape), -1).shape == shape


@pytest.mark.parametrize("width", [3, 40])
def test_it_writes_where_it_is_told(width):
    u, place = drawn(width), torch.empty((7, 5, width))
    assert narrow.softmax(u, -1, out=place) is place
    torch.testing.assert_close(place, torch.softmax(u, -1))
