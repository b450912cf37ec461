"""``source(language="c")``: read by any C compiler, it gives the loss's numbers."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
import sympy as sp
import torch
from test_compiled import CLOSE, ELEMENTWISE, derived, drawn

import lossderiv as ld
from lossderiv.codegen.row_steps import RULES
from lossderiv.native import compiler
from lossderiv.symbolic.triangular import Forward

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-fopenmp-simd", "-O2", "-x", "c")


def built(text: str, *options: str) -> None:
    command = [compiler.compiler(), *STRICT, *options, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def pointers(*arrays: torch.Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(a.data_ptr()) for a in arrays]


@pytest.mark.parametrize("family", ELEMENTWISE)
def test_a_strict_compiler_has_nothing_to_say(family):
    text = ld.source(derived(family), language="c")
    built(text, "-fsyntax-only")
    assert max(map(len, text.splitlines())) <= 100
    assert derived(family).text() in text


@pytest.mark.parametrize("family", ["normal", "student_t", "negative_binomial"])
def test_it_computes_the_loss(family, tmp_path):
    built(
        ld.source(derived(family), language="c"), "-shared", "-fPIC", "-lm", f"-o{tmp_path}/it.so"
    )
    library = ctypes.CDLL(str(tmp_path / "it.so"))
    library.summed.restype = ctypes.c_double
    outputs, x = drawn(family, (1500,))
    losses = ld.loss(derived(family), reduction="none")(outputs, x)
    slopes = torch.autograd.grad(losses.sum(), outputs)
    found = [torch.empty(1500) for _ in range(1 + len(outputs))]
    inputs = [t.detach() for t in (*outputs, x)]
    n, s = ctypes.c_ssize_t(1500), ctypes.c_float(2.0)

    total = library.summed(n, s, *pointers(*inputs, *found[1:]))
    assert total == pytest.approx(losses.sum().item(), rel=1e-5)
    for expected, got in zip(slopes, found[1:], strict=True):
        torch.testing.assert_close(got, 2.0 * expected, **CLOSE)

    library.each(n, *pointers(found[0], *inputs, *found[1:]))
    for expected, got in zip((losses.detach(), *slopes), found, strict=True):
        torch.testing.assert_close(got, expected, **CLOSE)


def test_a_comment_in_a_docstring_cannot_end_the_derivation():
    @ld.density
    def odd(x: ld.Real, mu: ld.Real):
        """Says */ int main."""
        return sp.exp(-((x - mu) ** 2) / 2) / sp.sqrt(2 * sp.pi)

    built(ld.source(odd, language="c"), "-fsyntax-only")


def test_other_languages_are_refused():
    with pytest.raises(ld.ParameterError, match=r"language='fortran' .* 'python' or 'c'"):
        ld.source("normal", language="fortran")


def test_a_function_of_vectors_that_c_lacks_is_named(monkeypatch):
    monkeypatch.delitem(RULES, Forward)
    with pytest.raises(ld.SpellingError, match="Forward, a function of vectors, has no C"):
        ld.source("multivariate_normal", language="c")
