"""Kernels of the default tier: what a special function's text becomes in them."""

from __future__ import annotations

import pytest
import sympy as sp
import torch
from drawing import given, inputs

import lossderiv as ld
from benchmarks import costs, speed
from lossderiv.autograd import special_function
from lossderiv.codegen.inplace import kernel_text, special_function_text
from lossderiv.codegen.operations import Operation, by_sign, fuse, needed
from lossderiv.codegen.recording import FLOAT32, Recorded, Recorder, play
from lossderiv.errors import SpellingError
from lossderiv.select import select
from lossderiv.special import SPECIAL

U, X = sp.symbols("u x", real=True)
CONSTANTS = {0.0: "zero", 1.0: "one"}


def text_of(value, *slopes, dtype=FLOAT32):
    return kernel_text("kernel", value, slopes, ["u", "x"], (), True, dtype)[0]


def recorder():
    written = []

    def new(call, *operands, option=""):
        written.append((call, operands, option))
        return f"v{len(written) - 1}"

    return Recorder(new, str, "u", FLOAT32), written


def test_functions_of_loss_and_gradient_share_their_steps():
    score, balance = SPECIAL["student_score"](U, X), SPECIAL["student_balance"](U, X)
    assert text_of(score, balance).count("exp_") == text_of(score).count("exp_") == 2


def test_a_series_has_as_many_terms_as_the_type_can_feel():
    f = SPECIAL["log_exprel"](U)
    assert len(text_of(f, dtype="torch.float64")) > len(text_of(f))
    assert "torch.float64" not in text_of(f)


def test_a_product_that_others_read_is_not_made_twice():
    product, total = Operation("v0", "torch.mul", ("u", "x")), ("one", "v0")
    alone = [product, Operation("v1", "torch.add", total)]
    (op,) = fuse(alone, {}, CONSTANTS, {"v1"})
    assert op == Operation("v1", "torch.addcmul", ("one", "u", "x"))
    shared = [*alone, Operation("v2", "torch.log", ("v0",))]
    assert fuse(shared, {}, CONSTANTS, {"v1", "v2"}) == shared


def test_products_that_may_cancel_each_other_are_both_rounded():
    one, other = (Operation(f"v{k}", "torch.mul", ("u", "x")) for k in (0, 1))
    difference = [one, other, Operation("v2", "torch.sub", ("v0", "v1"))]
    assert fuse(difference, {}, CONSTANTS, {"v2"}) == difference
    own = {"torch": torch, "select": select}
    exec(special_function_text("digamma_bend", FLOAT32), own)
    assert own["digamma_bend"](*torch.tensor([5e20, 1.0, 0.0])[:, None]).item() == 0.0


def test_multiples_by_powers_of_two_join_any_sum():
    double, third = Operation("v0", "torch.add", ("zero", "u"), "alpha=2.0"), "alpha=0.3"
    total = Operation("v1", "torch.add", ("x", "v0"))
    (op,) = fuse([double, total], {"v0": ("u", 2.0)}, CONSTANTS, {"v1"})
    assert op == Operation("v1", "torch.add", ("x", "u"), "alpha=2.0")
    kept = [Operation("v0", "torch.add", ("zero", "u"), third), total]
    assert fuse(kept, {"v0": ("u", 0.3)}, CONSTANTS, {"v1"}) == kept


def test_a_kernel_takes_products_into_sums():
    text = text_of(SPECIAL["binet"](U))
    assert text.count("addcmul") == 8 + 6  # all but the first step of two polynomials


def test_a_kernel_adds_squares_and_scaled_numbers_in_one_operation_each():
    text = text_of(X + U**2 / 2, 1 - U**2)
    assert "addcmul(x, u, u, value=0.5)" in text
    number, slope = (line.strip() for line in text.splitlines()[-3:-1])
    assert number.endswith("= torch.add(zero, one, alpha=s)")  # without axes
    assert slope.endswith("u, u, out=slope0, value=-s)")


def test_a_size_with_its_sign_takes_one_operation():
    size = Operation("v0", "torch.abs", ("u",))
    operations = [
        size,
        Operation("v1", "torch.neg", ("v0",)),
        Operation("v2", "torch.exp", ("v1",)),
        Operation("v3", "torch.sign", ("u",)),
    ]
    sign, minus, *_ = by_sign(operations, "zero", {"v2", "v3"})
    assert sign == operations[3]
    assert minus == Operation("v1", "torch.addcmul", ("zero", "u", "v3"), "value=-1.0")
    assert by_sign(operations[:3], "zero", {"v2"}) == operations[:3]  # no sign is there
    read = [*operations, Operation("v4", "torch.log", ("v0",))]
    assert size in by_sign(read, "zero", {"v2", "v3", "v4"})


@pytest.mark.parametrize("u", [0.0, -0.0, 1e-45, -3.5, torch.inf, -torch.inf, torch.nan])
def test_a_size_by_its_sign_is_the_size(u):
    u = torch.tensor([u])
    found = torch.addcmul(torch.tensor(0.0), u, u.sign(), value=-1.0)
    torch.testing.assert_close(found, -u.abs(), rtol=0, atol=0, equal_nan=True)


def test_what_nobody_reads_is_left_out():
    operations = [Operation("v0", "torch.exp", ("u",)), Operation("v1", "torch.log", ("u",))]
    wanted = {"v1"}
    assert needed(operations, wanted) == operations[1:]
    assert wanted == {"v1"}


def test_a_text_that_asks_a_tensor_is_refused():
    record, _ = recorder()
    text = {"f": "def f(u):\n    return u if u > 0 else -u"}
    with pytest.raises(SpellingError, match=r"choose by torch\.where"):
        play(text, "f", record, (Recorded(record, "u"),))


def test_a_text_that_forgets_its_argument_is_refused():
    record, _ = recorder()
    text = {"f": "def f(u):\n    return torch.zeros_like(u)"}
    with pytest.raises(SpellingError, match=r"same number, 0\.0"):
        play(text, "f", record, (Recorded(record, "u"),))


def test_numbers_that_change_nothing_are_no_steps():
    record, written = recorder()
    u = Recorded(record, "u")
    assert all(same is u for same in (u + 0.0, u - 0.0, u * 1.0, u / 1.0))
    assert isinstance(u * 0.0, float)
    assert written == []


@pytest.mark.parametrize("family", ["student_t", "negative_binomial", "beta"])
def test_a_kernel_holds_two_arrays_beside_the_gradients(family):
    """Blocks of a large input, and within one the buffers that a step can use again."""
    (pair,) = (p for p in speed.TWINS if p.name == f"{family}*")
    held = costs.memory(pair, (4096, 784))
    assert held.default <= pair.outputs + 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_argument_has_no_buffer(dtype):
    """Sixteen trials are a number without axes among tensors with them."""
    loss = ld.loss("binomial", n=16, constants="keep", reduction="none")
    eta = torch.linspace(-2, 2, 12, dtype=dtype).reshape(3, 4)
    x = torch.arange(12, dtype=dtype).reshape(3, 4)
    exact = torch.distributions.Binomial(16, logits=eta).log_prob(x)
    torch.testing.assert_close(loss(eta, x), -exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["lbeta", "digamma_gap", "binet", "expm1"])
def test_a_special_function_in_buffers_is_the_readable_one(name, dtype):
    u = torch.logspace(-6, 6, 49, dtype=dtype)
    arguments = (u, u.flip(0).sqrt())[: len(SPECIAL[name].slopes)]
    own = {"torch": torch, "select": select}
    exec(special_function_text(name, str(dtype)), own)
    readable = special_function(name)
    kept = [a.clone() for a in arguments]
    torch.testing.assert_close(own[name](*arguments), readable(*arguments))
    if len(arguments) == 2:  # of fewer axes
        column = (u[:, None], u[:5].sqrt())
        torch.testing.assert_close(own[name](*column), readable(*column))
    assert all(torch.equal(a, b) for a, b in zip(arguments, kept, strict=True))


ROWS = [(100, 1024), (128, 784), (131_072,), (64, 1, 28, 28), (99_991,), (1, 131_071)]


@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_a_sum_of_squares_by_rows_is_as_exact_as_the_sum_of_the_squares(shape):
    half_square = ld.loss("normal", sigma=1, reduction="sum")
    generator = torch.Generator().manual_seed(0)
    for shift in (0.0, 3.0):
        u = shift + torch.randn(shape, generator=generator)
        for v in (u, u.transpose(0, -1)):  # a transposed one is not laid out in rows
            true = 0.5 * v.double().square().sum().item()
            assert abs(half_square(v, torch.zeros_like(v)).item() / true - 1) < 3e-7


def constants_of(function, seen: set[int]):
    """The tensors that a kernel, and what it calls, find among their names."""
    if id(function) in seen or not hasattr(function, "__globals__"):
        return
    seen.add(id(function))
    for value in function.__globals__.values():
        if isinstance(value, torch.Tensor):
            yield value
        elif getattr(value, "__code__", None) and value.__code__.co_filename.startswith("<"):
            yield from constants_of(value, seen)


@pytest.mark.parametrize("family", ld.families())
def test_a_kernel_s_constants_are_where_its_tensors_are(family):
    """On a GPU ``addcmul`` refuses to add to a number of the CPU; "meta" is a device everywhere."""
    program = ld.loss(family, **given(family))._program
    outputs, x = inputs(program.derivation, (3, 4), dtype=torch.float32)
    on_meta = [t.to("meta") for t in (*outputs, x)]
    for reduced in (True, False):
        kernel = program._kernel(reduced, True, "torch.float32", "meta")
        value, *slopes = kernel(*on_meta, 1.0)
        assert value.device.type == "meta"
        assert [(g.device.type, g.shape) for g in slopes] == [("meta", o.shape) for o in outputs]
        assert {c.device.type for c in constants_of(kernel, set())} <= {"meta"}


def test_kernels_are_kept_for_each_type_and_device():
    program = ld.loss("normal")._program
    outputs, x = inputs(program.derivation, (3, 4), dtype=torch.float32)
    here = program.summed(*outputs, x, 1.0)
    there = program.summed(*(t.to("meta") for t in (*outputs, x)), 1.0)
    wide = program.summed(*(t.double() for t in (*outputs, x)), 1.0)
    assert [v[0].device.type for v in (here, there, wide)] == ["cpu", "meta", "cpu"]
    assert [v[0].dtype for v in (here, wide)] == [torch.float32, torch.float64]
