"""The loss as a torch module: everything that torch's own losses do, for every family."""

from __future__ import annotations

import copy
import math
import pickle
import shutil
from functools import cache

import numpy as np
import pytest
import sympy as sp
import torch
from drawing import CLASSES, given, inputs, targets
from scipy import stats
from torch.autograd import gradcheck, gradgradcheck

import lossderiv as ld
from lossderiv.eager import BLOCK, OF_CLASSES
from lossderiv.errors import LossDerivError
from lossderiv.sampling import SUMMARIES

FAMILIES = ld.families()
each = pytest.mark.parametrize("family", FAMILIES)
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@cache
def derived(family: str) -> ld.Derivation:
    return ld.derive(family, **given(family))


def loss_of(family: str, **options) -> ld.Loss:
    return ld.loss(derived(family), **options)


def drawn(family: str, shape=(7,), seed: int = 0, dtype=torch.float64, grad: bool = False):
    outputs, x = inputs(derived(family), shape, seed, dtype)
    return tuple(o.requires_grad_(grad) for o in outputs), x


def is_vector(family: str) -> bool:
    return derived(family).context.domains[derived(family).context.outputs[0]].is_vector


def takes_vectors(family: str) -> bool:
    return derived(family).density.data.is_vector


def event(family: str, x: torch.Tensor) -> tuple[int, ...]:
    """The last axis of a target of vectors; nothing for one of numbers."""
    return tuple(x.shape[-1:]) if takes_vectors(family) else ()


def gradients(value: torch.Tensor, outputs, seed=None, **options):
    return torch.autograd.grad(value, outputs, seed, **options)


# Reductions, constants, weights ------------------------------------------------------------------


@each
@pytest.mark.parametrize("constants", ["drop", "keep"])
def test_reductions(family, constants):
    outputs, x = drawn(family, (3, 4), grad=True)
    each_value = loss_of(family, reduction="none", constants=constants)(outputs, x)
    assert each_value.shape == (3, 4)
    for reduction, by_hand in (("mean", each_value.mean()), ("sum", each_value.sum())):
        value = loss_of(family, reduction=reduction, constants=constants)(outputs, x)
        torch.testing.assert_close(value, by_hand, **CLOSE)
        wanted = gradients(by_hand, outputs, retain_graph=True)
        torch.testing.assert_close(gradients(value, outputs), wanted, **CLOSE)


@each
def test_keep_adds_what_drop_leaves_out(family):
    """The exact NLL is scale times the loss plus the dropped constant of each element."""
    d = derived(family)
    outputs, x = drawn(family)
    loss = loss_of(family, reduction="none")
    kept = loss_of(family, reduction="none", constants="keep")(outputs, x)
    rest = kept - float(d.scale) * loss(outputs, x)
    if loss.dropped is not None:
        torch.testing.assert_close(rest, torch.full_like(rest, loss.dropped), **CLOSE)
    moved = tuple(o + 0.3 for o in outputs)
    again = loss_of(family, reduction="none", constants="keep")(moved, x)
    inside = torch.isfinite(again)  # of the support, which may have moved
    assert inside.any()
    again = again - float(d.scale) * loss(moved, x)
    torch.testing.assert_close(again[inside], rest[inside], **CLOSE)


def test_a_rescaled_loss_keeps_the_same_likelihood():
    d = ld.derive("normal", sigma=1)
    mu, x = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    one, twice = ld.loss(d, constants="keep"), ld.loss(d.rescaled("1/2"), constants="keep")
    torch.testing.assert_close(one(mu, x), twice(mu, x), **CLOSE)
    torch.testing.assert_close(2 * ld.loss(d)(mu, x), ld.loss(d.rescaled("1/2"))(mu, x), **CLOSE)
    mse = torch.nn.functional.mse_loss(mu, x)
    torch.testing.assert_close(ld.loss(d.rescaled("1/2"))(mu, x), mse, **CLOSE)


@each
@pytest.mark.parametrize("constants", ["drop", "keep"])
def test_weights(family, constants):
    outputs, x = drawn(family, (3, 4), grad=True)
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0], dtype=torch.float64)
    plain = loss_of(family, reduction="none", constants=constants)(outputs, x)
    weighted = loss_of(family, reduction="none", constants=constants)(outputs, x, weight)
    torch.testing.assert_close(weighted, plain * weight, **CLOSE)
    for reduction, share in (("sum", 1.0), ("mean", 3 * weight.sum())):
        value = loss_of(family, reduction=reduction, constants=constants)(outputs, x, weight)
        by_hand = (plain * weight).sum() / share
        torch.testing.assert_close(value, by_hand, **CLOSE)
        wanted = gradients(by_hand, outputs, retain_graph=True)
        torch.testing.assert_close(gradients(value, outputs), wanted, **CLOSE)


@each
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_missing_data_has_weight_zero(family, reduction):
    """NaN targets and infinite outputs at weight 0 reach neither the value nor the gradient."""
    outputs, x = drawn(family, (6,))
    weight = torch.tensor([1.0, 0, 1, 0, 1, 1], dtype=torch.float64)
    present = weight != 0
    missing = x.clone()
    missing[~present] = -7 if not x.is_floating_point() else math.nan
    spoiled = tuple(o.clone() for o in outputs)
    for o in spoiled:
        o[3] = math.inf
        o.requires_grad_()
    loss = loss_of(family, reduction=reduction)
    value = loss(spoiled, missing, weight)
    clean = tuple(o[present].requires_grad_() for o in outputs)
    expected = loss(clean, x[present])
    found = value[present] if reduction == "none" else value
    torch.testing.assert_close(found, expected, **CLOSE)
    got = gradients(value.sum(), spoiled)
    for ours, theirs in zip(got, gradients(expected.sum(), clean), strict=True):
        torch.testing.assert_close(ours[present], theirs, **CLOSE)
        assert (ours[~present] == 0).all()


# Checking the target -----------------------------------------------------------------------------

GOOD, BAD = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0])
LOGITS = torch.tensor([0.5, -0.5])


def test_validate_first_checks_the_first_batch_only():
    loss = ld.loss("bernoulli")
    with pytest.raises(LossDerivError):
        loss(LOGITS, BAD)
    with pytest.raises(LossDerivError):  # a refused batch does not count as the first
        loss(LOGITS, BAD)
    loss(LOGITS, GOOD)
    assert loss(LOGITS, BAD).isfinite()
    with pytest.raises(LossDerivError):  # shapes are checked always
        loss(LOGITS, torch.zeros(3))


def test_validate_true_checks_every_batch_and_false_none():
    always, never = ld.loss("bernoulli", validate=True), ld.loss("bernoulli", validate=False)
    always(LOGITS, GOOD)
    with pytest.raises(LossDerivError):
        always(LOGITS, BAD)
    assert never(LOGITS, BAD).isfinite()


# What goes in ------------------------------------------------------------------------------------


@each
def test_a_tuple_a_list_and_a_lone_tensor(family):
    outputs, x = drawn(family)
    loss = loss_of(family)
    value = loss(outputs, x)
    assert loss(list(outputs), x) == value
    if len(outputs) == 1:
        assert loss(outputs[0], x) == value


@each
def test_broadcasting_is_torchs(family):
    outputs, _ = drawn(family, (4, 1), grad=True)
    x = drawn(family, (3,), seed=1)[1]
    value = loss_of(family, reduction="none")(outputs, x)
    assert value.shape == (4, 3)
    wide = tuple(o.expand(4, 3, *o.shape[2:]).contiguous() for o in outputs)
    x_wide = x.expand(4, 3, *event(family, x)).contiguous()
    expected = loss_of(family, reduction="none")(wide, x_wide)
    torch.testing.assert_close(value, expected, **CLOSE)
    found = gradients(value.sum(), outputs)
    assert all(g.shape == o.shape for g, o in zip(found, outputs, strict=True))
    torch.testing.assert_close(found, gradients(expected.sum(), outputs), **CLOSE)


@each
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_shapes_from_none_to_many(family, shape, weighted):
    outputs, x = drawn(family, shape, grad=True)
    weight = torch.ones(shape, dtype=torch.float64) if weighted else None
    assert loss_of(family, reduction="none")(outputs, x, weight).shape == shape
    value = loss_of(family, reduction="sum")(outputs, x, weight)
    assert value.shape == ()
    assert [g.shape for g in gradients(value, outputs)] == [o.shape for o in outputs]
    mean = loss_of(family)(outputs, x, weight)
    assert mean.isnan() if 0 in shape else mean.isfinite()  # as torch's losses have it


@each
def test_strides_do_not_matter(family):
    outputs, x = drawn(family, (4, 6))
    odd = tuple(o.transpose(0, 1).contiguous().transpose(0, 1) for o in outputs)
    gaps = tuple(torch.stack((o, o), -1)[..., 0].requires_grad_() for o in odd)
    assert not gaps[0].is_contiguous()
    plain = tuple(o.clone().requires_grad_() for o in outputs)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    one, other = loss_of(family)(gaps, turned), loss_of(family)(plain, x)
    torch.testing.assert_close(one, other, **CLOSE)
    torch.testing.assert_close(gradients(one, gaps), gradients(other, plain), **CLOSE)


@each
def test_expanded_inputs_are_left_as_they_are(family):
    """Kernels write in place: never into what they were given."""
    outputs, x = drawn(family, (1, 5))
    wide = tuple(o.expand(3, *o.shape[1:]).detach().requires_grad_() for o in outputs)
    before = [t.clone() for t in (*wide, x)]
    for reduction in ("mean", "none"):
        value = loss_of(family, reduction=reduction)(wide, x.expand(3, *x.shape[1:]))
        found = gradients(value.sum(), wide)
        dense = tuple(o.detach().clone().requires_grad_() for o in wide)
        again = loss_of(family, reduction=reduction)(dense, x.expand(3, *x.shape[1:]).clone())
        torch.testing.assert_close(found, gradients(again.sum(), dense), **CLOSE)
    for now, then in zip((*wide, x), before, strict=True):
        assert torch.equal(now, then)


INTEGER_DATA = [f for f in FAMILIES if derived(f).density.data.integer]


@pytest.mark.parametrize("family", INTEGER_DATA)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_integer_targets(family, dtype):
    outputs, x = drawn(family)
    value = loss_of(family)(outputs, x.to(dtype))
    torch.testing.assert_close(value, loss_of(family)(outputs, x), **CLOSE)


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_low_precision_in_and_out_float32_inside(family, dtype, reduction):
    outputs, x = drawn(family, (50,), dtype=torch.float32)
    low = tuple(o.to(dtype).requires_grad_() for o in outputs)
    high = tuple(o.detach().float().requires_grad_() for o in low)
    x_low = x.to(dtype) if x.is_floating_point() else x
    x_high = x_low.float() if x.is_floating_point() else x
    one = loss_of(family, reduction=reduction)(low, x_low)
    other = loss_of(family, reduction=reduction)(high, x_high)
    assert one.dtype == dtype
    assert torch.equal(one, other.to(dtype))
    for ours, theirs in zip(gradients(one.sum(), low), gradients(other.sum(), high), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs.to(dtype))


def test_mixed_types_promote_as_in_torch():
    mu, x = torch.zeros(3, dtype=torch.bfloat16), torch.zeros(3)
    loss = ld.loss("normal", sigma=1)
    assert loss(mu, x).dtype == torch.float32
    assert loss(mu.double(), x).dtype == torch.float64
    assert loss(mu, x.to(torch.int64)).dtype == torch.bfloat16
    pair = (torch.zeros(3, dtype=torch.float64), torch.zeros(3))
    assert ld.loss("normal")(pair, x).dtype == torch.float64


@each
def test_autocast_computes_in_float32(family):
    outputs, x = drawn(family, (50,), dtype=torch.float32)
    low = tuple(o.bfloat16().requires_grad_() for o in outputs)
    expected = loss_of(family)(tuple(o.detach().float() for o in low), x)
    for loss in (loss_of(family), loss_of(family, validate=False)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(low, x)
            again = loss(tuple(o.float() for o in low), x)
        assert value.dtype == again.dtype == torch.float32
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(again, expected)
        value.backward()
    assert all(o.grad.dtype == torch.bfloat16 for o in low)


# Derivatives -------------------------------------------------------------------------------------


@each
def test_gradcheck_and_gradgradcheck(family):
    outputs, x = drawn(family, (3,), grad=True)
    for reduction in ("mean", "none"):
        loss = loss_of(family, reduction=reduction)
        assert gradcheck(lambda *o, loss=loss: loss(o, x), outputs)
        assert gradgradcheck(lambda *o, loss=loss: loss(o, x), outputs)


CONTINUOUS = [f for f in FAMILIES if f not in INTEGER_DATA]


@pytest.mark.parametrize("family", CONTINUOUS)
def test_gradcheck_in_the_target(family):
    outputs, x = drawn(family, (3,), grad=True)
    x.requires_grad_()
    loss = loss_of(family, reduction="none", validate=False, constants="keep")
    assert gradcheck(lambda x, *o: loss(o, x), (x, *outputs))


@each
def test_transforms_agree_with_eager(family):
    """torch.func.grad, vmap, jvp, jacfwd and hessian against autograd of the default tier."""
    outputs, x = drawn(family, (4,), grad=True)
    loss = loss_of(family, reduction="none")
    eager = gradients(loss(outputs, x).sum(), outputs, create_graph=True)
    second = [
        torch.autograd.grad(g.sum(), outputs, retain_graph=True, materialize_grads=True)
        for g in eager
    ]
    plain = tuple(o.detach() for o in outputs)
    numbers = tuple(range(len(plain)))

    def one(x, *o):
        return loss(o, x)

    def summed(*o):
        return loss(o, x).sum()

    torch.testing.assert_close(torch.func.grad(summed, numbers)(*plain), eager, **CLOSE)
    places = tuple(n + 1 for n in numbers)
    mapped = torch.func.vmap(torch.func.grad(one, places))(x, *plain)
    torch.testing.assert_close(mapped, eager, **CLOSE)
    tangents = tuple(torch.ones_like(o) for o in plain)
    value, slope = torch.func.jvp(lambda *o: loss(o, x), plain, tangents)
    torch.testing.assert_close(value, loss(plain, x), **CLOSE)
    by_element = sum(g.detach().sum(-1) if is_vector(family) else g.detach() for g in eager)
    torch.testing.assert_close(slope, by_element, **CLOSE)
    torch.testing.assert_close(torch.func.jacfwd(summed, numbers)(*plain), eager, **CLOSE)
    hessian = torch.func.hessian(summed, numbers)(*plain)
    for row, wanted in zip(hessian, second, strict=True):
        for block, w in zip(row, wanted, strict=True):
            torch.testing.assert_close(block.sum(tuple(range(block.dim() // 2))), w, **CLOSE)


def test_at_the_corner_every_tier_has_the_middle_slope():
    """At logit 0, where relu and |u| have corners, slope and curvature are those of softplus."""
    zero = torch.zeros(1, dtype=torch.float64)
    loss = ld.loss("bernoulli")
    assert torch.func.grad(lambda o: loss(o, zero))(zero) == 0.5
    assert torch.func.hessian(lambda o: loss(o, zero))(zero) == 0.25
    ties, first = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    classes = ld.loss("categorical")
    half = torch.tensor([[-0.5, 0.5]], dtype=torch.float64)
    assert torch.equal(torch.func.grad(lambda o: classes(o, first))(ties), half)
    curved = torch.func.hessian(lambda o: classes(o, first))(ties).reshape(2, 2)
    expected = torch.tensor([[0.25, -0.25], [-0.25, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(curved, expected, **CLOSE)


@each
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_backward_twice_and_with_any_seed(family, reduction):
    """retain_graph, grad outputs other than one, and gradients that add up in .grad."""
    outputs, x = drawn(family, (5,), grad=True)
    loss = loss_of(family, reduction=reduction)
    value = loss(outputs, x)
    seed = torch.linspace(-1.5, 2.0, value.numel(), dtype=torch.float64).reshape(value.shape)
    one = gradients(value, outputs, torch.ones_like(value), retain_graph=True)
    one = tuple(g.clone() for g in one)
    seeded = gradients(value, outputs, seed, retain_graph=True)
    shaped = seed[..., None] if is_vector(family) and seed.dim() else seed
    torch.testing.assert_close(seeded, tuple(g * shaped for g in one), **CLOSE)
    for times in (1, 2, 3):
        value.backward(torch.ones_like(value), retain_graph=True)
        torch.testing.assert_close(
            tuple(o.grad for o in outputs), tuple(times * g for g in one), **CLOSE
        )


@each
def test_only_what_is_wanted_gets_a_gradient(family):
    outputs, x = drawn(family)
    assert not loss_of(family)(outputs, x).requires_grad
    with torch.no_grad():
        assert not loss_of(family)(tuple(o.requires_grad_() for o in outputs), x).requires_grad
    outputs[0].requires_grad_(True)
    for o in outputs[1:]:
        o.requires_grad_(False)
    value = loss_of(family)(outputs, x)
    value.backward()
    assert outputs[0].grad.isfinite().all()
    assert all(o.grad is None for o in outputs[1:])


@each
def test_every_tier_computes_the_same(family):
    """In-place kernel, readable source and node tower, value and gradient."""
    loss = loss_of(family, reduction="none")
    for dtype in (torch.float32, torch.float64):
        outputs, x = drawn(family, (200,), dtype=dtype, grad=True)
        kernel = loss(outputs, x)
        slopes = gradients(kernel.sum(), outputs)
        program = loss._program
        eps = torch.finfo(dtype).eps
        near = {"rtol": 16 * eps, "atol": 16 * eps}
        torch.testing.assert_close(program.value(*outputs, x)[0], kernel, **near)
        torch.testing.assert_close(program.transformed(*outputs, x), kernel, **near)
        torch.testing.assert_close(program.gradient(*outputs, x), slopes, **near)
        tower = gradients(program.transformed(*outputs, x).sum(), outputs)
        torch.testing.assert_close(tower, slopes, **near)


@pytest.mark.parametrize(("family", "count"), [("normal", 600_000), ("categorical", 400_000)])
def test_large_tensors_are_the_same_in_blocks(family, count):
    outputs, x = drawn(family, (count,), dtype=torch.float32, grad=True)
    assert outputs[0].numel() > (OF_CLASSES if family == "categorical" else 2 * BLOCK)
    value = ld.loss(family)(outputs, x)
    wide = x.double() if x.is_floating_point() else x
    exact = ld.loss(family, reduction="none")(tuple(o.double() for o in outputs), wide)
    torch.testing.assert_close(value.double(), exact.mean(), rtol=1e-6, atol=0)
    per_element = ld.loss(family, reduction="none")(outputs, x)
    torch.testing.assert_close(
        gradients(value, outputs), gradients(per_element.mean(), outputs), rtol=1e-5, atol=1e-12
    )


# Compiled ----------------------------------------------------------------------------------------


WEIGHT = torch.tensor([1.0, 0.5, 2, 0, 1, 1])


def compiled_agrees(family: str, backend: str, extras=((), (WEIGHT,)), **options) -> None:
    torch._dynamo.reset()
    outputs, x = drawn(family, (6,), dtype=torch.float32, grad=True)
    loss = loss_of(family, **options)
    fast = torch.compile(loss, fullgraph=True, backend=backend)
    for extra in extras:
        one, other = fast(outputs, x, *extra), loss(outputs, x, *extra)
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(gradients(one.sum(), outputs), gradients(other.sum(), outputs))


@each
def test_compiles_to_one_graph(family):
    compiled_agrees(family, "aot_eager")


@pytest.mark.parametrize("options", [{"reduction": "none"}, {"constants": "keep"}], ids=str)
def test_compiles_with_every_option(options):
    compiled_agrees("normal", "aot_eager", **options)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_compiles_with_inductor():
    compiled_agrees("bernoulli", "inductor", extras=((),))


# As a module -------------------------------------------------------------------------------------


@each
def test_it_travels(family):
    """state_dict, pickle, deepcopy and .to() leave a loss that computes the same."""
    outputs, x = drawn(family)
    loss = loss_of(family, reduction="sum", constants="keep")
    value = loss(outputs, x)
    assert dict(loss.state_dict()) == {}
    loss.load_state_dict({})
    for twin in (
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
        loss.to(torch.float64),
        loss.cpu().eval().train(),
    ):
        assert torch.equal(twin(outputs, x), value)
        assert twin.outputs == loss.outputs
        assert twin.source == loss.source
    assert list(loss.parameters()) == []
    assert family in repr(loss)


def test_a_loss_of_ones_own_density_is_pickled():
    @ld.density
    def bell(x: ld.Real, mu: ld.Real, s: ld.Positive):
        return sp.exp(-(((x - mu) / s) ** 2)) / (s * sp.sqrt(sp.pi))

    outputs = (torch.zeros(3), torch.ones(3))
    loss = ld.loss(bell)
    twin = pickle.loads(pickle.dumps(loss))
    assert torch.equal(twin(outputs, torch.ones(3)), loss(outputs, torch.ones(3)))


def test_it_sits_in_a_model():
    model = torch.nn.ModuleDict({"layer": torch.nn.Linear(2, 1), "loss": ld.loss("bernoulli")})
    assert set(model.state_dict()) == {"layer.weight", "layer.bias"}


# What the decoder says ---------------------------------------------------------------------------


@each
def test_theta_is_the_inverse_link(family):
    d = derived(family)
    outputs, _ = drawn(family, (9,))
    theta = loss_of(family).theta(outputs)
    assert list(theta) == list(d.density.parameters)
    for name, value in theta.items():
        domain = d.density.parameters[name]
        if name in d.fixed:
            fixed = d.fixed[name]
            numbers = [float(v) for v in fixed] if value.dim() else float(fixed)
            assert value.tolist() == numbers
        elif domain.shape == "simplex":
            torch.testing.assert_close(value.sum(-1), torch.ones(9, dtype=torch.float64), **CLOSE)
        else:
            assert all(domain.contains(v) for v in value.flatten().tolist())


def test_theta_by_name():
    loss = ld.loss("normal", links={"sigma": "softplus"})
    theta = loss.theta((torch.tensor([1.5]), torch.tensor([0.0])))
    assert theta["mu"] == 1.5
    assert theta["sigma"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("dim", [1, -1])
def test_split_cuts_in_the_order_of_outputs(dim):
    loss = ld.loss("normal")
    raw = torch.arange(2 * 6 * 6.0).reshape(2, 6, 6)
    mu, sigma = loss.split(raw, dim)
    assert torch.equal(torch.cat((mu, sigma), dim), raw)
    assert mu.shape[dim] == 3
    assert torch.equal(ld.loss("bernoulli").split(raw, dim)[0], raw)


def test_split_moves_the_class_axis_last():
    raw = torch.randn(2, 5, 4, 4)
    (scores,) = ld.loss("categorical").split(raw)
    assert scores.shape == (2, 4, 4, 5)
    x = torch.randint(5, (2, 4, 4))
    ours = ld.loss("categorical")(scores, x)
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(raw, x))


def test_split_cuts_vectors_of_several_lengths():
    raw = torch.arange(2 * 9 * 4.0).reshape(2, 9, 4)  # 3 means, 3 widths, 3 entries below them
    for loss, widths in (
        (ld.loss("multivariate_normal"), (3, 3, 3)),
        (ld.loss("dirichlet"), (9,)),
    ):
        parts = loss.split(raw)
        assert [tuple(p.shape) for p in parts] == [(2, 4, w) for w in widths]
        assert torch.equal(torch.cat(parts, -1), raw.movedim(1, -1))
    mu, diag, off = ld.loss("multivariate_normal").split(torch.zeros(7, 14))
    assert (mu.shape, diag.shape, off.shape) == ((7, 4), (7, 4), (7, 6))


def test_a_lone_vector_is_one_event():
    loss = ld.loss("multivariate_normal", constants="keep")
    mu, x = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0])
    diag, off = torch.tensor([0.3, -0.2]), torch.tensor([0.7])
    factor = torch.tensor([[math.exp(0.3), 0.0], [0.7, math.exp(-0.2)]])
    twin = torch.distributions.MultivariateNormal(mu, scale_tril=factor)
    torch.testing.assert_close(loss((mu, diag, off), x), -twin.log_prob(x))


@each
def test_bits_per_dim(family):
    outputs, x = drawn(family, (20,))
    nll = loss_of(family, constants="keep")(outputs, x)
    bits = loss_of(family).bits_per_dim(outputs, x)
    numbers = math.prod(event(family, x))
    torch.testing.assert_close(bits, nll / (numbers * math.log(2)), **CLOSE)


# Mean, mode and samples --------------------------------------------------------------------------

DRAWS = 20_000
# Each goodness-of-fit test may reject a true sampler once in 10^6 runs with a fresh seed; the seed
# is fixed, so that it never does.
FALSE_ALARM = 1e-6


def one_setting(family: str):
    """One vector of outputs, repeated for each draw."""
    outputs, _ = drawn(family, (1,), seed=3)
    return tuple(o.expand(DRAWS, *o.shape[1:]) for o in outputs)


def samples(family: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    return loss_of(family).sample(one_setting(family), generator=generator)


@pytest.mark.parametrize("family", [f for f in FAMILIES if not takes_vectors(f)])
def test_samples_follow_the_density(family):
    """Chi-square of draws against the loss's own probabilities in 20 bins (or all outcomes)."""
    x = samples(family)
    assert x.shape == (DRAWS,)
    assert not x.requires_grad
    loss = loss_of(family, reduction="none", constants="keep", validate=False)
    domain = derived(family).density.data
    one = tuple(o[:1] for o in one_setting(family))
    if domain.integer or domain.shape == "category":
        values = torch.unique(x)
        p = torch.exp(-loss(tuple(o.expand(len(values), *o.shape[1:]) for o in one), values))
        counts = torch.tensor([(x == v).sum() for v in values], dtype=torch.float64)
    else:
        edges = torch.quantile(x[: DRAWS // 2].double(), torch.linspace(0.03, 0.97, 20).double())
        x = x[DRAWS // 2 :]
        nodes, weights = map(torch.tensor, np.polynomial.legendre.leggauss(40))
        half = (edges[1:] - edges[:-1]) / 2
        at = (edges[:-1] + half)[:, None] + half[:, None] * nodes
        wide = tuple(o.expand(*at.shape) for o in one)
        p = (torch.exp(-loss(wide, at)) * weights * half[:, None]).sum(-1)
        counts = torch.histogram(x.double(), edges)[0]
    rest, total = 1 - p.sum(), len(x)
    counts = torch.cat((counts, (total - counts.sum())[None]))
    p = torch.cat((p, rest.clamp(min=0)[None]))
    big = p * total >= 5
    if not big.all():
        counts = torch.cat((counts[big], counts[~big].sum()[None]))
        p = torch.cat((p[big], p[~big].sum()[None]))
    expected = p * total
    used = expected > 1e-6
    chi2 = ((counts - expected)[used] ** 2 / expected[used]).sum().item()
    assert stats.chi2.sf(chi2, int(used.sum()) - 1) > FALSE_ALARM
    assert counts[~used].sum() == 0


@pytest.mark.parametrize("family", [f for f in FAMILIES if takes_vectors(f)])
def test_sampled_vectors_follow_the_density(family):
    """Bartlett's identities: the slope's mean is 0, and its products average to the Hessian.

    Within six standard errors, in each entry of each output and each pair of them.
    """
    x = samples(family)
    assert x.shape == (DRAWS, CLASSES)
    assert not x.requires_grad
    outputs = tuple(o.clone().requires_grad_() for o in one_setting(family))
    loss = loss_of(family, reduction="sum", validate=False)
    slope = torch.cat(gradients(loss(outputs, x), outputs, create_graph=True), -1)
    for a in range(slope.shape[-1]):
        row = gradients(slope[:, a].sum(), outputs, retain_graph=True, materialize_grads=True)
        assert_no_mean(slope.detach()[:, a])
        for b, curved in enumerate(torch.cat(row, -1).unbind(-1)):
            assert_no_mean(slope.detach()[:, a] * slope.detach()[:, b] - curved)


def assert_no_mean(numbers: torch.Tensor) -> None:
    assert numbers.mean().abs() <= 6 * numbers.std() / math.sqrt(len(numbers)) + 1e-12


@each
def test_the_mean_is_the_samples_average(family):
    """Within six standard errors: a false alarm in 5 * 10^8 runs, with a finite variance."""
    if SUMMARIES[family].mean is None:
        with pytest.raises(LossDerivError, match="No mean is known"):
            loss_of(family).mean(one_setting(family))
        return
    x, mean = samples(family).double(), loss_of(family).mean(one_setting(family))
    assert mean.shape == x.shape
    if derived(family).density.data.name == "Angle":  # a mean direction: turn it to 0
        x = torch.remainder(x - mean + math.pi, 2 * math.pi) - math.pi
        mean = 0 * mean
    error = (x.mean(0) - mean[0]).abs()
    assert (error <= 6 * x.std(0) / math.sqrt(DRAWS)).all()


@each
def test_the_mode_is_where_the_density_is_highest(family):
    outputs = one_setting(family)
    if SUMMARIES[family].mode is None:
        with pytest.raises(LossDerivError, match="No mode is known"):
            loss_of(family).mode(outputs)
        return
    mode = loss_of(family).mode(outputs)
    loss = loss_of(family, reduction="none", validate=False, constants="keep")
    x = samples(family).to(mode.dtype)
    assert mode.shape == x.shape
    at_mode = loss(outputs, mode)
    assert (at_mode <= loss(outputs, x) + 1e-9).all()


@each
def test_samples_repeat_with_their_generator(family):
    one, other = samples(family), samples(family)
    assert torch.equal(one, other)
    different = loss_of(family).sample(
        one_setting(family), generator=torch.Generator().manual_seed(12)
    )
    assert not torch.equal(one, different)


@each
def test_targets_drawn_by_domain_are_accepted(family):
    """What these tests draw lies in the support: the check of the first batch says so."""
    outputs, x = drawn(family, (40,), seed=5)
    loss_of(family, validate=True)(outputs, x)
    d = derived(family)
    assert targets(d.density.data, (2,), torch.Generator().manual_seed(0)).shape[0] == 2
    assert CLASSES > 2


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_gradient_that_was_given_away_is_computed_again(reduction, compiled):
    """Whoever has changed the first one in place changes nothing in the second."""
    eta = torch.linspace(-2, 2, 12).requires_grad_()
    loss = ld.loss("bernoulli", reduction=reduction, compiled=compiled)
    value = loss(eta, (torch.arange(12) % 2).float()).sum()
    value.backward(retain_graph=True)
    first, eta.grad = eta.grad, None
    kept = first.clone()
    first.zero_()
    value.backward()
    assert torch.equal(eta.grad, kept)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        value.backward()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_outputs_that_move_the_loss_alike_get_a_gradient_each(reduction, compiled):
    """Their slope is computed once; what scales one must not scale it for the other too."""

    @ld.density
    def of_a_sum(x: ld.Real, a: ld.Real, b: ld.Real):
        """A normal density about the sum of two outputs."""
        return sp.exp(-((x - a - b) ** 2) / 2) / sp.sqrt(2 * sp.pi)

    a, b, x = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    given = (a.requires_grad_(), b.requires_grad_())
    value = ld.loss(of_a_sum, reduction=reduction, compiled=compiled)(given, x)
    (3.0 * value).sum().backward()
    wanted = 3.0 * (a + b - x).detach()
    torch.testing.assert_close((a.grad, b.grad), (wanted, wanted))
