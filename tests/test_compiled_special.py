"""Elementary and special functions in C: the torch functions' bounds, in float32."""

from __future__ import annotations

import ctypes
import inspect
import re
from functools import cache

import numpy as np
import pytest
import sympy as sp
import torch
from scipy import special
from test_special_numerics import ROWS, arguments, in_torch, misses

from lossderiv.codegen.c_kernel import HEAD
from lossderiv.codegen.c_spelling import IN_C, c_function, elementary, needed
from lossderiv.codegen.c_spelling import WRITTEN as FILES
from lossderiv.errors import SpellingError
from lossderiv.native import load
from lossderiv.special import SPECIAL
from lossderiv.symbolic.functions import make_special

LOOP = """
void {name}_of(ptrdiff_t n, float *restrict y, {arrays})
{{
    #pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = {name}({entries});
}}
"""


def loop(name: str, count: int) -> str:
    arrays = ", ".join(f"const float *restrict u{k}" for k in range(count))
    return LOOP.format(
        name=name, arrays=arrays, entries=", ".join(f"u{k}[i]" for k in range(count))
    )


def arity(name: str) -> int:
    return len(inspect.signature(SPECIAL[name].meaning).parameters)


@cache
def library() -> ctypes.CDLL:
    """All functions, each in a loop of its own."""
    loops = [loop(f"{n}_f", arity(n)) for n in dict.fromkeys([*ROWS, *WRITTEN])]
    plain = [loop(n, 1) for n in UNARY if n.removesuffix("_f") not in ROWS]
    bodies = "\n".join([*loops, *plain])
    return load("\n\n".join([HEAD, *needed(bodies), bodies]))


def in_c(name: str):
    def compute(*arrays: torch.Tensor) -> torch.Tensor:
        arrays = [a.contiguous() for a in arrays]
        y = torch.empty_like(arrays[0])
        function = getattr(library(), f"{name}_of")
        function.argtypes = [ctypes.c_ssize_t, *[ctypes.c_void_p] * (1 + len(arrays))]
        function(y.numel(), *(t.data_ptr() for t in (y, *arrays)))
        return y

    return compute


@pytest.mark.parametrize("name", ROWS)
def test_a_special_function_in_c_is_as_good_as_in_torch(name):
    assert misses(name, torch.float32, in_c(f"{name}_f"), ()) == []


def test_one_without_c_says_what_to_do():
    row = make_special(
        "odd",
        meaning=sp.airyai,
        slopes=(None,),
        spelling="def odd(u): return torch.special.airy_ai(u)",
    )
    with pytest.raises(SpellingError, match=r"airy_ai has no C .* Add a function .*elementary.c"):
        c_function(row)


NEAR = 2.0**23 - 1  # from 2^23 on, float32 numbers are a radian and more apart
# name -> its meaning in double precision, from where to where, bound in ulp
UNARY = {
    "exp_f": (np.exp, -np.inf, np.inf, 1.0),
    "exp_down_f": (np.exp, -np.inf, 0.0, 1.0),
    "expm1_f": (np.expm1, -np.inf, np.inf, 1.5),
    "log_f": (np.log, 0.0, np.inf, 1.0),
    "log1p_f": (np.log1p, -1.0, np.inf, 1.5),
    "log1p_unit_f": (np.log1p, 0.0, 1.0, 2.0),
    "softplus_f": (lambda u: np.logaddexp(0.0, u), -np.inf, np.inf, 2.5),
    "softplus_down_f": (lambda u: np.logaddexp(0.0, u), -np.inf, 0.0, 2.5),
    "sigmoid_down_f": (special.expit, -np.inf, 0.0, 2.5),
    "sign_f": (np.sign, -np.inf, np.inf, 0.0),
    "step_f": (lambda u: 0.5 + 0.5 * np.sign(u), -np.inf, np.inf, 0.0),
    "sigmoid_f": (special.expit, -np.inf, np.inf, 2.5),
    "tanh_f": (np.tanh, -np.inf, np.inf, 2.5),
    "sinh_f": (np.sinh, -88.0, 88.0, 2.5),
    "sin_f": (np.sin, -NEAR, NEAR, 2.0),
    "cos_f": (np.cos, -NEAR, NEAR, 2.0),
    "tan_f": (np.tan, -NEAR, NEAR, 4.0),
    "erfcx_f": (special.erfcx, -np.inf, np.inf, 6.0),
    "i0e_f": (special.i0e, 0.0, np.inf, 4.0),
    "lgamma_f": (special.gammaln, 0.0, np.inf, 3.0),
    "digamma_f": (special.digamma, 0.0, np.inf, 6.0),
}


def floats(low: float, high: float) -> np.ndarray:
    """One in 997 of all float32 numbers, and the ends."""
    u = np.arange(0, 2**32, 997, dtype=np.uint32).view(np.float32)
    return np.append(u[(u >= low) & (u <= high)], np.float32([low, high]))


@pytest.mark.parametrize("name", UNARY)
def test_an_elementary_function_is_good_to_a_few_ulp(name):
    meaning, low, high, bound = UNARY[name]
    u = floats(low, high)
    with np.errstate(all="ignore"):
        truth = meaning(u.astype(np.float64))
        single = truth.astype(np.float32)
    got = in_c(name)(torch.from_numpy(u)).numpy()
    size = np.abs(single)
    usual = np.isfinite(single) & (size >= np.finfo(np.float32).tiny)
    unit = np.spacing(np.maximum(size[usual], 1.0) if "gamma" in name else size[usual])
    error = np.abs(got[usual].astype(np.float64) - truth[usual]) / unit
    assert error.max() <= bound, u[usual][error.argmax()]
    rare = ~usual & (size != 0)
    np.testing.assert_allclose(got[rare], single[rare], rtol=0, atol=(bound + 1) * 1.5e-45)
    assert (np.abs(got[size == 0]) <= 2e-45).all()


# Rows with a C of their own -> from where to where, bound in ulp, against the row in float64
WRITTEN = {
    "log1p_bend": (np.nextafter(np.float32(-1), np.float32(0)), np.inf, 10.0),
    "log1p_square": (-np.inf, np.inf, 3.0),
    "cauchy_score": (-np.inf, np.inf, 3.0),
    "student_constant": (1e-30, 1e30, 4.0),
    "student_constant_pull": (1e-30, 1e30, 5.0),
    "log_i0e": (0.0, np.inf, 3.0),
    "bessel_gap": (0.0, np.inf, 5.0),
    "binet": (0.0, 1e30, 14.0),  # at 1/3, where two terms five times as large cancel
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_row_written_in_c_is_good_to_a_few_ulp(name):
    low, high, bound = WRITTEN[name]
    u = floats(low, high)
    u = u[(u != 0) & np.isfinite(u)]
    points = torch.from_numpy(u)
    truth = in_torch(name, SPECIAL[name](*sp.symbols(arguments(name))))(points.double())
    got = in_c(f"{name}_f")(points).double()
    unit = np.spacing(np.maximum(truth.abs().float().numpy(), np.finfo(np.float32).tiny))
    error = (got - truth).abs().numpy() / unit
    assert error.max() <= bound, u[error.argmax()]


@pytest.mark.parametrize("name", ["sin_f", "cos_f"])
def test_a_far_angle_keeps_its_place_on_the_circle(name):
    u = floats(-np.inf, np.inf)
    u = u[np.isfinite(u) & (np.abs(u) > NEAR)]
    error = np.abs(in_c(name)(torch.from_numpy(u)).numpy() - UNARY[name][0](u.astype(np.float64)))
    assert error.max() <= 1.5e-7, u[error.argmax()]
    assert in_c(name)(torch.tensor([torch.inf, -torch.inf] * 8)).isnan().all()


@pytest.mark.parametrize("name", UNARY)
def test_no_number_stays_no_number(name):
    u = torch.tensor([torch.nan] * 20)
    assert in_c(name)(u).isnan().all()


def test_no_function_is_written_twice():
    names = [
        n for file in FILES for n in re.findall(r"^INLINE \w+ (\w+)\(", file.read_text(), re.M)
    ]
    assert sorted(names) == sorted(elementary())


def test_every_name_is_there():
    assert set(IN_C.values()) <= set(elementary())


def test_a_spelling_is_read_by_running_it():
    """Loops unroll, names are used once, and what depends on the type is decided."""
    row = make_special(
        "sketch",
        meaning=lambda u, v: u + v,
        slopes=(None, None),
        spelling="""
def sketch(u, v):
    # says what it does
    count = 4 if u.dtype == torch.float64 else 2
    total = torch.zeros_like(u)
    for n in range(count):
        total = total + n * u / (v - 1.0)
    near = (u < v) & (v != 0)
    return torch.where(near, -total, torch.expm1(total) ** 2)
""",
    )
    assert c_function(row) == (
        "/* says what it does */\n"
        "INLINE float sketch_f(float u, float v)\n"
        "{\n"
        "    const float total = 0.0f + 0.0f * u / (v - 1.0f);\n"
        "    const float total_1 = total + 1.0f * u / (v - 1.0f);\n"
        "    const int near = (u < v) & (v != 0.0f);\n"
        "    return near ? -total_1 : square_f(expm1_f(total_1));\n"
        "}"
    )
