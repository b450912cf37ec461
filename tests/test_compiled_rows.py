"""The compiled tier over rows of entries: losses over classes, mixtures, independent entries."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
import torch
from test_compiled import CLOSE, agree, same_bits
from test_compiled_source import built, pointers

import lossderiv as ld
from lossderiv.codegen.c_kernel import BLOCK
from lossderiv.compiled import PIECE, in_pieces
from lossderiv.compiled_rows import EachRow, SummedRows

LEVELS = 256


def pixels(count: int = 10) -> ld.Density:
    return ld.mixture(ld.discretized("logistic", levels=LEVELS), count)


MADE = {
    "categorical": lambda: "categorical",
    "dirichlet": lambda: "dirichlet",
    "multinomial": lambda: ld.derive("multinomial", n=20),
    "full normal": lambda: "multivariate_normal",
    "diagonal normal": lambda: "multivariate_normal_diagonal",
    "independent laplace": lambda: ld.independent("laplace", 1),
    "levels": pixels,
    **{
        f"{count} x {family}": lambda family=family, count=count: ld.mixture(family, count)
        for family, count in (
            ("normal", 10),
            ("laplace", 2),
            ("logistic", 3),
            ("student_t", 10),
            ("poisson", 33),  # long enough for a processor's vectors
            ("negative_binomial", 4),
        )
    },
}
each = pytest.mark.parametrize("name", MADE)


def drawn(d: ld.Derivation, rows: tuple[int, ...], width: int = 7, seed: int = 0):
    """Raw outputs that need a gradient, and a target."""
    g = torch.Generator().manual_seed(seed)
    domains = [d.context.domains[o] for o in d.context.outputs]
    width = domains[0].length or width
    outputs = [torch.randn((*rows, o.width(width)), generator=g) for o in domains]
    for o, domain in zip(outputs, domains, strict=True):  # below a diagonal less than on it: else
        o.mul_(0.3 if domain.pairs else 1.0).requires_grad_()  # equations multiply what is rounded
    data = d.density.data
    if data.shape == "category":
        return outputs, torch.randint(0, width, rows, generator=g)
    if data.shape == "simplex":
        return outputs, torch.randn((*rows, width), generator=g).softmax(-1)
    if data.total is not None:  # some of one class alone
        picked = torch.randint(0, width, (*rows, data.total), generator=g)
        picked[::3] = picked[::3, ..., :1]
        return outputs, torch.nn.functional.one_hot(picked, width).sum(-2).float()
    if data.integer:
        return outputs, torch.randint(0, min(data.high, 20) + 1, rows, generator=g).float()
    return outputs, torch.randn((*rows, width) if data.is_vector else rows, generator=g)


def both(of, **options) -> tuple[ld.Loss, ld.Loss]:
    d = ld.derive(of)
    return ld.loss(d, **options), ld.loss(d, compiled=True, **options)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@each
def test_it_is_compiled_and_agrees(name, reduction):
    for constants in ("drop", "keep"):
        expected, got = both(MADE[name](), reduction=reduction, constants=constants)
        outputs, x = drawn(got.derivation, (5, 41))
        agree(outputs, x, expected, got)
        with torch.no_grad():
            torch.testing.assert_close(got(outputs, x), expected(outputs, x), **CLOSE)
    program = got._program
    kernel = program.summed if reduction == "mean" else program.each
    assert isinstance(kernel, SummedRows if reduction == "mean" else EachRow)


@each
def test_it_is_as_near_to_double_precision_as_the_default_tier(name):
    d = ld.derive(MADE[name]())
    outputs, x = drawn(d, (400,))
    wide = [o.detach().double().requires_grad_() for o in outputs]
    found = []
    for given, data, compiled in (
        (wide, x if x.dtype == torch.int64 else x.double(), False),
        (outputs, x, False),
        (outputs, x, True),
    ):
        losses = ld.loss(d, reduction="none", compiled=compiled)(given, data)
        found.append((losses, *torch.autograd.grad(losses.sum(), given)))
    for truth, default, got in zip(*found, strict=True):
        size = truth.abs().mean()
        errors = [(t.double() - truth).abs() / size for t in (default, got)]
        assert errors[1].mean() <= 2.0 * errors[0].mean() + 2e-8, name
        assert errors[1].max() <= 2.0 * errors[0].max() + 1e-6, name
    (truth, *slopes), _, (losses, *got) = found
    # A Dirichlet loss is log B less a sum of logs, each some tens: of those the error is a part.
    atol = 2e-5 if name == "dirichlet" else 2e-6
    torch.testing.assert_close(losses.double(), truth, rtol=2e-6, atol=atol)
    # What solves a row's equations has an error that is part of the row's largest entry.
    atol = 1e-4 if name == "full normal" else 1e-5
    for a, b in zip(got, slopes, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("rows", [(), (1,), (BLOCK // 10,), (BLOCK // 10 + 1,), (3, 5, 7)])
@pytest.mark.parametrize("name", ["categorical", "10 x normal"])
def test_any_number_of_rows(name, rows):
    outputs, x = drawn(ld.derive(MADE[name]()), rows, width=10)
    for reduction in ("sum", "none"):
        agree(outputs, x, *both(MADE[name](), reduction=reduction))


@pytest.mark.parametrize("width", [2, 3, 16, 17, 256, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_any_number_of_classes(width):
    outputs, x = drawn(ld.derive("categorical"), (9,), width)
    x[:2] = torch.tensor([0, width - 1])
    for reduction in ("sum", "none"):
        agree(outputs, x, *both("categorical", reduction=reduction))


@pytest.mark.parametrize("name", ["independent laplace", "diagonal normal", "full normal"])
def test_rows_of_one_entry(name):
    outputs, x = drawn(ld.derive(MADE[name]()), (50,), width=1)
    agree(outputs, x, *both(MADE[name]()))


@each
def test_a_batch_without_rows(name):
    outputs, x = drawn(ld.derive(MADE[name]()), (0,))
    values = [loss(outputs, x) for loss in both(MADE[name](), reduction="none")]
    assert torch.equal(*values)
    assert values[1].shape == (0,)


@pytest.mark.parametrize("name", ["categorical", "levels", "10 x normal"])
def test_extreme_scores_and_outputs(name):
    """As the default tier: what underflows, overflows or is infinite there does so here."""
    expected, got = both(MADE[name](), reduction="none")
    outputs, x = drawn(got.derivation, (400,), width=10)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for o in outputs:
            o.mul_(torch.tensor([1.0, 10.0, 30.0, 1e4])[torch.randint(0, 4, o.shape, generator=g)])
        outputs[0][::7, 0] = 1e4
        outputs[0][::11, 3] = -torch.inf
        for o in outputs[1:]:
            o.clamp_(-40, 40)
    wide = [o.detach().double().requires_grad_() for o in outputs]
    found = []
    for loss, given in ((expected, outputs), (got, outputs), (expected, wide)):
        values = loss(given, x.to(given[0].dtype) if x.is_floating_point() else x)
        found.append((values, *torch.autograd.grad(values.sum(), given)))
    for a, b, truth in zip(*found, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite())
        size = truth.abs().clamp_min(1.0)
        errors = [(t.double() - truth).abs().div(size)[a.isfinite()].max() for t in (a, b)]
        assert errors[1] <= 2.0 * errors[0] + 1e-6


def test_what_is_not_a_number_stays_so_in_its_row():
    for name in ("categorical", "10 x normal"):
        got = both(MADE[name](), reduction="none")[1]
        outputs, x = drawn(got.derivation, (6,), width=10)
        with torch.no_grad():
            outputs[0][2, 3] = torch.nan
        assert got(outputs, x).isnan().tolist() == [k == 2 for k in range(6)]


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("wrong", [7, -1, 2**40])
def test_a_class_outside_is_refused_whenever_it_comes(reduction, wrong):
    """Beyond the first batch targets are not checked; nor is one with ``validate=False``."""
    for validate in ("first", False):
        loss = ld.loss("categorical", compiled=True, reduction=reduction, validate=validate)
        outputs, x = drawn(loss.derivation, (50,))
        loss(outputs, x)
        x[33] = wrong
        with pytest.raises(ld.TargetError, match=rf"index \(33,\) is {wrong}, .* between 0 and 6"):
            loss(outputs, x)


def test_a_weight_of_zero_ignores_even_a_class_outside():
    outputs, x = drawn(ld.derive("categorical"), (6,))
    x[2] = -100
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 0.5, 1.0])
    agree(outputs, x, *both("categorical"), weight)


@pytest.mark.parametrize("name", ["categorical", "10 x normal", "independent laplace"])
def test_what_is_not_contiguous_or_must_be_broadcast(name):
    expected, got = both(MADE[name]())
    outputs, x = drawn(got.derivation, (8, 6), width=10)
    turned = [o.detach().transpose(0, 1).requires_grad_() for o in outputs]
    agree(turned, x.transpose(0, 1), expected, got)
    narrow = [o.detach()[:1].clone().requires_grad_() for o in outputs]
    agree(narrow, x, expected, got)


@pytest.mark.parametrize("name", ["categorical", "10 x normal"])
def test_one_thread_and_two_give_the_same_bits(name):
    loss = both(MADE[name](), reduction="sum")[1]
    same_bits(loss, *drawn(loss.derivation, (PIECE // 2 - 7,), width=10))


def test_pieces_of_an_output_of_pairs_start_where_they_should():
    expected, got = both("multivariate_normal", reduction="sum")
    outputs, x = drawn(got.derivation, (PIECE // 40 + 9,), width=40)
    rows = slice(PIECE // 40, None)  # those of the second piece
    whole, part = (
        torch.autograd.grad(loss(given, target), given)
        for loss, given, target in (
            (got, outputs, x),
            (expected, [o.detach()[rows].requires_grad_() for o in outputs], x[rows]),
        )
    )
    for a, b in zip(whole, part, strict=True):
        torch.testing.assert_close(a[rows], b, rtol=1e-3, atol=1e-3 * b.abs().max().item())


def pieces(rows: int, entries: int) -> list[tuple[int, int]]:
    """Where each piece of a sum starts, and how long it is."""
    found: list[tuple[int, int]] = []

    def work(start: int, size: int) -> float:
        found.append((start, size))
        return 0.0

    in_pieces(rows, entries, work)
    return sorted(found)


def test_the_pieces_of_a_sum_do_not_depend_on_the_threads():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(pieces(300_000, 10))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
    assert len(found[0]) > 2
    assert sum(size for _, size in found[0]) == 300_000


@pytest.mark.parametrize("name", ["categorical", "levels"])
def test_other_float_types_and_higher_derivatives_take_the_default_way(name):
    expected, got = both(MADE[name]())
    outputs, x = drawn(got.derivation, (6,))
    wide = [o.double() for o in outputs]
    target = x if x.dtype == torch.int64 else x.double()
    torch.testing.assert_close(got(wide, target), expected(wide, target), rtol=0, atol=0)
    seconds = []
    for loss in (expected, got):
        first = torch.autograd.grad(loss(outputs, x), outputs, create_graph=True)
        seconds.append(torch.autograd.grad(sum((g**2).sum() for g in first), outputs))
    for a, b in zip(*seconds, strict=True):
        torch.testing.assert_close(b, a, **CLOSE)


def test_value_and_grad_without_a_graph():
    for name in ("categorical", "levels"):
        expected, got = both(MADE[name]())
        outputs, x = drawn(got.derivation, (30,))
        found = [loss.value_and_grad(outputs, x) for loss in (expected, got)]
        torch.testing.assert_close(found[1], found[0], **CLOSE)


def test_names_that_the_loops_want_for_themselves():
    @ld.density
    def odd(k: ld.Real, rows: ld.Real, work: ld.Positive):
        """A normal density."""
        import sympy as sp

        e = ld.let("e", (k - rows) / work)
        return sp.exp(-(e**2) / 2) / (work * sp.sqrt(2 * sp.pi))

    outputs, x = drawn(ld.derive(ld.mixture("normal", 3)), (40,))
    got, plain = ld.loss(ld.mixture(odd, 3), compiled=True), ld.loss(ld.mixture("normal", 3))
    torch.testing.assert_close(got(outputs, x), plain(outputs, x), **CLOSE)
    assert isinstance(got._program.summed, SummedRows)


# The text ----------------------------------------------------------------------------------------


@each
def test_a_strict_compiler_has_nothing_to_say(name):
    d = ld.derive(MADE[name]())
    text = ld.source(d, language="c")
    built(text, "-fsyntax-only")
    assert max(map(len, text.splitlines())) <= 100
    assert d.text() in text


def test_the_text_alone_computes_the_loss(tmp_path):
    d = ld.derive(ld.mixture("normal", 4))
    text = ld.source(d, language="c")
    built(text, "-shared", "-fPIC", "-lm", f"-o{tmp_path}/it.so")
    library = ctypes.CDLL(str(tmp_path / "it.so"))
    library.summed.restype = ctypes.c_double
    outputs, x = drawn(d, (1500,))
    losses = ld.loss(d, reduction="none")(outputs, x)
    slopes = torch.autograd.grad(losses.sum(), outputs)
    arrays = int(text.partition("There\n   is work for ")[2].partition(" ")[0])
    work = torch.empty(arrays * BLOCK)
    found = [torch.empty(1500), *(torch.empty(1500, 4) for _ in outputs)]
    given = pointers(*(t.detach() for t in (*outputs, x)), *found[1:])
    n, s = ctypes.c_ssize_t(1500), ctypes.c_float(2.0)
    total = library.summed(n, *pointers(work), s, *given)
    assert total == pytest.approx(losses.sum().item(), rel=1e-5)
    for expected, got in zip(slopes, found[1:], strict=True):
        torch.testing.assert_close(got, 2.0 * expected, **CLOSE)
    library.each(n, *pointers(work, found[0]), *given)
    for expected, got in zip((losses.detach(), *slopes), found, strict=True):
        torch.testing.assert_close(got, expected, **CLOSE)


def test_nothing_outside_the_arrays_is_touched(tmp_path):
    """Arrays and work of exactly the stated size, watched by the compiler's sanitizer."""
    text = ld.source("categorical", language="c")
    arrays = text.partition("There\n   is work for ")[2].partition(" ")[0]
    main = """
#include <stdlib.h>
int main(void)
{
    const ptrdiff_t widths[] = {2, 10, 1023, 1024, 1500};
    for (int w = 0; w < 5; w++)
        for (ptrdiff_t rows = 1; rows < 220; rows += 73) {
            const ptrdiff_t K = widths[w];
            float *work = malloc(sizeof(float) * ARRAYS * (K < 1024 ? 1024 : K));
            float *u = malloc(sizeof(float) * rows * K), *g = malloc(sizeof(float) * rows * K);
            float *losses = malloc(sizeof(float) * rows);
            int64_t *x = malloc(sizeof(int64_t) * rows);
            for (ptrdiff_t k = 0; k < rows * K; k++)
                u[k] = (float)(k % 13);
            for (ptrdiff_t r = 0; r < rows; r++)
                x[r] = r % 2 ? 0 : K - 1;
            if (refused(rows, K, x) != rows)
                return 1;
            summed(rows, K, work, 1.0f, u, x, g);
            each(rows, K, work, losses, u, x, g);
            free(work), free(u), free(g), free(losses), free(x);
        }
    return 0;
}
""".replace("ARRAYS", arrays)
    watched(text + main, tmp_path)


def test_nothing_outside_a_matrix_is_touched(tmp_path):
    """As above; an output and its slope have a number for each pair of entries."""
    text = ld.source("multivariate_normal", language="c")
    arrays = text.partition("There\n   is work for ")[2].partition(" ")[0]
    main = """
#include <stdlib.h>
static float *filled(ptrdiff_t count)
{
    float *u = malloc(sizeof(float) * count);
    for (ptrdiff_t k = 0; k < count; k++)
        u[k] = (float)(k % 13) / 200.0f;
    return u;
}
int main(void)
{
    const ptrdiff_t widths[] = {1, 2, 7, 1023, 1025};
    for (int w = 0; w < 5; w++)
        for (ptrdiff_t rows = 1; rows < 4; rows += 2) {
            const ptrdiff_t K = widths[w], most = K < 1024 ? 1024 : K;
            float *work = malloc(sizeof(float) * ARRAYS * most), *losses = filled(rows);
            float *of[] = {filled(rows * K), filled(rows * K), filled(rows * K * (K - 1) / 2)};
            float *d[] = {filled(rows * K), filled(rows * K), filled(rows * K * (K - 1) / 2)};
            float *x = filled(rows * K);
            summed(rows, K, work, 1.0f, of[0], of[1], of[2], x, d[0], d[1], d[2]);
            each(rows, K, work, losses, of[0], of[1], of[2], x, d[0], d[1], d[2]);
            for (int k = 0; k < 3; k++)
                free(of[k]), free(d[k]);
            free(work), free(losses), free(x);
        }
    return 0;
}
""".replace("ARRAYS", arrays)
    watched(text + main, tmp_path)


def watched(text: str, folder) -> None:
    """Run a program; the compiler's sanitizer watches."""
    built(text, "-fsanitize=address,undefined", "-lm", f"-o{folder}/it")
    done = subprocess.run([folder / "it"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
