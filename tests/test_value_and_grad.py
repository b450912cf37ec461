"""Loss and gradient without a graph: the same as with one, for tensors and for arrays."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.optimize import minimize

import lossderiv as ld

CASES = {
    "normal": ((5, 3), (5, 3), lambda g: torch.randn(5, 3, generator=g)),
    "bernoulli": ((5, 3), None, lambda g: torch.randint(0, 2, (5, 3), generator=g).float()),
    "student_t": ((5, 1), (3,), lambda g: torch.randn(5, 3, generator=g)),
    "uniform": ((5, 3), (5, 3), lambda g: torch.rand(5, 3, generator=g) - 9),
    "categorical": ((5, 4), None, lambda g: torch.randint(0, 4, (5,), generator=g)),
    "dirichlet": ((5, 3), None, lambda g: torch.rand(5, 3, generator=g).softmax(-1)),
}
each_family = pytest.mark.parametrize("family", CASES)
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def inputs(family: str):
    """Raw outputs, of shapes that must broadcast in one family, and a target."""
    g = torch.Generator().manual_seed(3)
    *shapes, target = CASES[family]
    count = len(ld.derive(family).outputs)
    shapes = [s for s in shapes if s] + [shapes[0]] * count
    x = target(g)
    low = -10.0 if family == "uniform" else 0.0  # every target in the support
    raw = [torch.randn(s, generator=g) for s in shapes[:count]]
    if low:
        raw = [torch.full_like(raw[0], low), torch.full_like(raw[1], 1.5)]
    return tuple(raw), x


@each_family
@each_reduction
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_what_autograd_says(family, reduction, weighted):
    raw, x = inputs(family)
    loss = ld.loss(family, reduction=reduction)
    events = x.shape[:-1] if loss._takes_vectors else x.shape
    weight = torch.arange(float(events.numel())).reshape(events) if weighted else None
    leaves = tuple(o.clone().requires_grad_() for o in raw)
    expected = loss(leaves, x, weight)
    slopes = torch.autograd.grad(expected.sum(), leaves)
    value, found = loss.value_and_grad(leaves, x, weight)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-6, atol=1e-7)
    for g, s, o in zip(found, slopes, raw, strict=True):
        assert g.shape == o.shape
        assert not g.requires_grad
        torch.testing.assert_close(g, s, rtol=1e-5, atol=1e-7)
    assert not value.requires_grad


def test_arrays_in_arrays_out_and_left_as_they_were():
    cost = ld.value_and_grad("normal")
    mu, s, x = (np.linspace(-1, 1, 6).reshape(2, 3) for _ in range(3))
    for array in (mu, s, x):
        array.setflags(write=False)
    value, (in_mu, in_s) = cost((mu, s[:, ::-1]), x)
    assert isinstance(value, np.float64)
    assert isinstance(in_mu, np.ndarray)
    assert in_mu.shape == in_s.shape == (2, 3)
    tensors = tuple(torch.tensor(v.copy()) for v in (mu, s[:, ::-1]))
    again, slopes = cost(tensors, torch.tensor(x.copy()))
    assert isinstance(again, torch.Tensor)
    assert value == again.item()
    np.testing.assert_array_equal(in_s, slopes[1].numpy())


def test_the_type_of_each_output_is_its_slopes():
    value, slope = ld.value_and_grad("bernoulli")(
        torch.zeros(4, dtype=torch.bfloat16), torch.ones(4)
    )
    assert slope.dtype == torch.bfloat16
    assert value.dtype == torch.float32  # as a call has it: that of output and target together


def test_nothing_at_all_has_no_slope():
    _, slope = ld.value_and_grad("bernoulli", reduction="sum")(np.zeros((0, 3)), np.zeros((0, 3)))
    assert slope.shape == (0, 3)


def test_scipy_minimises_it():
    """The rate of a Poisson is the mean of its counts."""
    cost = ld.value_and_grad("poisson", reduction="sum")
    counts = np.array([2.0, 0.0, 3.0, 7.0])
    found = minimize(cost, np.zeros(1), args=(counts,), jac=True)
    assert np.exp(found.x[0]) == pytest.approx(3.0, rel=1e-4)


def test_bad_input_is_refused_as_in_a_call():
    with pytest.raises(ld.TargetError, match="index"):
        ld.value_and_grad("bernoulli")(np.zeros(2), np.array([0.0, 2.0]))
    with pytest.raises(ld.DtypeError, match="floating-point"):
        ld.value_and_grad("bernoulli")(np.zeros(2, dtype=int), np.zeros(2))


def test_equal_gradients_are_two_tensors():
    @ld.density
    def between(x: ld.Real, a: ld.Real, b: ld.Real):
        """A normal density whose mean has two parts."""
        return sp.exp(-((x - a - b) ** 2) / 2) / sp.sqrt(2 * sp.pi)

    loss, x = ld.loss(between), torch.randn(6)
    outputs = tuple(torch.randn(6, requires_grad=True) for _ in range(2))
    for found in (
        loss.value_and_grad(outputs, x)[1],
        torch.autograd.grad(loss(outputs, x), outputs),
    ):
        assert torch.equal(*found)
        found[0].zero_()
        assert found[1].abs().min() > 0


def test_cuts_of_one_tensor_are_computed_where_they_lie():
    """Packed outputs: no copy on the way from the decoder to the kernel."""
    loss = ld.loss("normal")
    packed = torch.randn(4, 6, 5)
    outputs = loss.split(packed)
    assert [o.data_ptr() for o in outputs] == [packed.data_ptr(), packed[:, 3:].data_ptr()]
    seen = []
    kernel = loss._program.summed
    loss._program.__dict__["summed"] = lambda *args: seen.extend(args) or kernel(*args)
    leaf = packed.requires_grad_()
    for _ in range(2):  # the way of the first batch, and the short way of the others
        loss(loss.split(leaf), torch.randn(4, 3, 5)).backward()
    pointers = [a.data_ptr() for a in seen if isinstance(a, torch.Tensor)]
    assert pointers[0] == pointers[3] == packed.data_ptr()
    assert pointers[1] == pointers[4] == packed[:, 3:].data_ptr()
