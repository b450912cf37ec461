"""The compiled tier: the default tier's results, its fall-backs, and its sum."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from functools import cache

import numpy as np
import pytest
import sympy as sp
import torch
from drawing import given, inputs

import lossderiv as ld
from lossderiv import compiled
from lossderiv.codegen.c_kernel import kernel_c
from lossderiv.codegen.row_steps import RULES
from lossderiv.compiled import PIECE, CompiledProgram, EachKernel, SummedKernel
from lossderiv.native import compiler
from lossderiv.symbolic.triangular import Forward

CLOSE = {"rtol": 2e-5, "atol": 2e-5}


@cache
def derived(family: str) -> ld.Derivation:
    return ld.derive(family, **given(family))


def is_elementwise(family: str) -> bool:
    d = derived(family)
    return not any(d.context.domains[o].is_vector for o in d.context.outputs)


ELEMENTWISE = [f for f in ld.families() if is_elementwise(f)]
ROWS = [  # tests/test_compiled_rows.py
    "categorical",
    "dirichlet",
    "multinomial",
    "multivariate_normal",
    "multivariate_normal_diagonal",
]
each = pytest.mark.parametrize("family", ELEMENTWISE)


def drawn(family: str, shape=(3, 41), seed: int = 0, dtype=torch.float32):
    outputs, x = inputs(derived(family), shape, seed, dtype)
    return tuple(o.requires_grad_() for o in outputs), x


def both(family: str, **options) -> tuple[ld.Loss, ld.Loss]:
    d = derived(family)
    return ld.loss(d, **options), ld.loss(d, compiled=True, **options)


def agree(outputs, x, expected: ld.Loss, got: ld.Loss, weight=None) -> None:
    """Same loss, same slopes, up to rounding."""
    values = [loss(outputs, x, weight) for loss in (expected, got)]
    torch.testing.assert_close(values[1], values[0], **CLOSE)
    slopes = [torch.autograd.grad(v, outputs, torch.ones_like(v)) for v in values]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(b, a, **CLOSE)


def test_there_is_a_compiler():
    """Debian's python images and CI's machine have one; without it this file tests nothing."""
    assert compiler.compiler()


# The same numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "none"])
@each
def test_every_elementwise_family_is_compiled_and_agrees(family, reduction):
    expected, got = both(family, reduction=reduction)
    outputs, x = drawn(family)
    agree(outputs, x, expected, got)
    program = got._program
    kernel = program.summed if reduction == "mean" else program.each
    assert isinstance(kernel, SummedKernel if reduction == "mean" else EachKernel)


@pytest.mark.parametrize("family", ["normal", "bernoulli"])
@pytest.mark.parametrize("constants", ["drop", "keep"])
def test_without_a_graph_the_value_is_the_same(family, constants):
    expected, got = both(family, constants=constants)
    outputs, x = drawn(family)
    with torch.no_grad():
        torch.testing.assert_close(got(outputs, x), expected(outputs, x), **CLOSE)
    assert isinstance(got._program.summed_value, SummedKernel)


@pytest.mark.parametrize("shape", [(), (1,), (1023,), (1024,), (1025,), (3, 5, 7)])
def test_any_number_of_elements(shape):
    outputs, x = drawn("normal", shape)
    agree(outputs, x, *both("normal"))


def test_an_upstream_gradient_multiplies():
    outputs, x = drawn("laplace")
    slopes = [torch.autograd.grad(3.0 * loss(outputs, x), outputs) for loss in both("laplace")]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(b, a, **CLOSE)


def test_a_weight_of_zero_ignores_even_nan():
    outputs, x = drawn("normal", (6,))
    x[2] = torch.nan
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 0.5, 1.0])
    agree(outputs, x, *both("normal"), weight)


def test_what_is_not_contiguous_or_must_be_broadcast():
    _, got = both("normal")
    expected = ld.loss(derived("normal"))
    g = torch.Generator().manual_seed(0)
    packed = torch.randn(5, 8, generator=g, requires_grad=True)
    x = torch.randn(4, 5, generator=g).T
    agree(got.split(packed), x, expected, got)
    narrow = tuple(torch.randn(5, 1, generator=g, requires_grad=True) for _ in range(2))
    agree(narrow, x, expected, got)


def test_names_that_c_or_the_kernel_wants_for_itself():
    @ld.density
    def odd(i: ld.Real, n: ld.Real, double: ld.Positive):
        """A normal density."""
        s = ld.let("s", (i - n) / double)
        return sp.exp(-(s**2) / 2) / (double * sp.sqrt(2 * sp.pi))

    outputs, x = drawn("normal")
    value = ld.loss(odd, compiled=True)(outputs, x)
    torch.testing.assert_close(value, ld.loss("normal")(outputs, x), **CLOSE)


def test_a_formula_with_cases_and_one_with_levels():
    counts = torch.arange(0.0, 40.0)
    outputs = tuple(torch.linspace(-2, 2, 40).requires_grad_() for _ in range(2))
    for density in (
        ld.zero_inflated("poisson"),
        ld.hurdle("poisson"),
        ld.discretized("logistic", levels=256),
    ):
        expected, got = (ld.loss(density, reduction="none", compiled=c) for c in (False, True))
        agree(outputs, counts, expected, got)
        assert isinstance(got._program.each, EachKernel)


def test_a_grade_that_is_none_looks_nothing_up():
    loss = both("ordered_logistic", reduction="none", validate=False)[1]
    high = len(given("ordered_logistic")["cutpoints"])
    x = torch.tensor([-2.0, 0.5, high + 1, 1e9, -1e30, torch.inf, torch.nan, 0.0, high])
    found = loss(torch.zeros(len(x), requires_grad=True), x)
    assert found.isnan().tolist() == [True] * 7 + [False] * 2


# Sums --------------------------------------------------------------------------------------------


def same_bits(loss, outputs, x) -> None:
    """One thread and two give the same value and slopes, to the last bit."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            value = loss(outputs, x)
            found.append((value, *torch.autograd.grad(value, outputs)))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_one_thread_and_two_give_the_same_bits():
    outputs, x = drawn("normal", (5, PIECE - 7))
    same_bits(both("normal", reduction="sum")[1], outputs, x)


def test_a_long_sum_is_right_to_a_few_roundings():
    """One float32 running sum of so many numbers would be off by 1e-4."""
    x = torch.full((1 << 22,), 0.1)
    loss = ld.loss("normal", sigma=1, compiled=True)
    value = loss(torch.zeros_like(x), x).item()
    assert abs(value / (0.5 * np.float64(np.float32(0.1)) ** 2) - 1) < 1e-6


# What it leaves to the default tier --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_float_types(dtype):
    expected, got = both("normal")
    outputs, x = drawn("normal", dtype=dtype)
    values = [loss(outputs, x) for loss in (expected, got)]
    assert values[1].dtype == dtype
    torch.testing.assert_close(*values)


def test_double_backward_and_transforms():
    expected, got = both("student_t")
    outputs, x = drawn("student_t", (4,))
    found = []
    for loss in (expected, got):
        first = torch.autograd.grad(loss(outputs, x), outputs, create_graph=True)
        second = torch.autograd.grad(sum(g.sum() for g in first), outputs)
        mapped = torch.func.vmap(loss)(outputs, x)
        found.append((*second, mapped))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, **CLOSE)


def test_a_copy_and_a_pickle_are_compiled_again():
    outputs, x = drawn("normal")
    loss = both("normal")[1]
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert isinstance(twin._program, CompiledProgram)
        assert torch.equal(twin(outputs, x), loss(outputs, x))


def test_every_family_has_c():
    assert set(ld.families()) == {*ELEMENTWISE, *ROWS}


def test_a_density_without_c_says_once_that_it_runs_uncompiled(monkeypatch):
    monkeypatch.delitem(RULES, Forward)
    family = "multivariate_normal"
    compiled._warn.cache_clear()
    expected, got = both(family)
    outputs, x = drawn(family)
    with pytest.warns(
        RuntimeWarning, match=f"the default tier computes {family}.* has no C spelling"
    ):
        value = got(outputs, x)
    assert torch.equal(value, expected(outputs, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both(family)[1](outputs, x)


def test_without_a_compiler_one_warning_and_the_same_numbers(monkeypatch):
    compiled._warn.cache_clear()
    compiler.compiler.cache_clear()
    compiler.identity.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    try:
        expected, got = both("normal")
        outputs, x = drawn("normal")
        with pytest.warns(RuntimeWarning, match="no C compiler was found .*no-such-compiler"):
            value = got(outputs, x)
        assert torch.equal(value, expected(outputs, x))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            both("laplace")[1](*drawn("laplace"))
    finally:
        compiler.compiler.cache_clear()
        compiler.identity.cache_clear()


@pytest.mark.parametrize("family", ["normal", "student_t"])
def test_the_fused_function_of_cuda_gives_what_a_kernel_gives(family, monkeypatch):
    """Its expressions and its scaling, here on the CPU and not compiled."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    outputs, x = drawn(family)
    program, inputs = both(family)[1]._program, (*(o.detach() for o in outputs), x)
    for reduced, gradients, kernel in (
        (True, True, program.summed),
        (True, False, program.summed_value),
        (False, True, program.each),
        (False, False, program.each_value),
    ):
        s = 0.25 if reduced else 1.0
        found = program._on_cuda(reduced, gradients, *inputs, s)
        for a, b in zip(found, kernel(*inputs, s), strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


def test_anything_but_true_and_false_is_refused():
    with pytest.raises(ld.ParameterError, match="compiled='yes'"):
        ld.loss("normal", compiled="yes")


# The text ----------------------------------------------------------------------------------------


@each
def test_numbers_are_single_and_functions_are_ours(family):
    """A double would halve the width of a vector, a call of the C library end vectorisation."""
    d = derived(family)
    inside = [*d.outputs, str(d.density.variable)]
    text = kernel_c(d.kernel, tuple(d.gradient_kernel.values()), inside, d.where)
    code = re.sub(r"/\*.*?\*/|double total = 0.0", "", text, flags=re.DOTALL)
    assert not re.search(r"\d\.\d+(e[-+]?\d+)?(?![\dfe])", code)
    plain = {
        "summed",
        "each",
        "sizeof",
        "memcpy",
        "defined",
        "reduction",
        "for",
        "return",
    }
    calls = set(re.findall(r"(?<!__builtin_)\b([a-z]\w*)\s?\(", code)) - plain
    functions = re.findall(r"INLINE \w+ (\w+)\(", text)
    assert calls <= set(functions)
    assert len(functions) == len(set(functions))
