"""Special functions of a mixture's scores against their meaning, in round-off units."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch

from lossderiv import special_mixtures
from lossderiv.autograd import _helpers
from lossderiv.codegen.printer import TorchPrinter, torch_text
from lossderiv.special_mixtures import LogShare, MixedSurprisal, ShareOf
from lossderiv.symbolic.probe import CLASS_COUNT, Formula
from lossderiv.symbolic.vectors import CLASSES, EACH, ENTRY, Bound, Entries, LogSumExp, Softmax

BOUND = 8  # round-off units of what rounding the arguments could do
POINTS = 60
SOFT = ("LogShare",)  # a log that only ever meets an exp
A, B = (sp.IndexedBase(n, real=True) for n in "ab")

# What each is asked for: the expression, and its two vectors by how they are drawn.
ROWS = {
    "MixedSurprisal": (MixedSurprisal(A[EACH], EACH, B[EACH]), "scores", "losses"),
    "LogShare": (LogShare(A[ENTRY], ENTRY, B[ENTRY]), "scores", "losses"),
    "ShareOf": (ShareOf(A[ENTRY], ENTRY, B[ENTRY]), "roots", "scores"),
}
DRAW = {
    "scores": lambda rng: rng.normal(0, 10 ** rng.uniform(-3, 4), CLASS_COUNT),
    "losses": lambda rng: (
        np.abs(rng.normal(0, 10 ** rng.uniform(-12, 2), CLASS_COUNT))
        if rng.random() < 0.6
        else rng.normal(0, 3, CLASS_COUNT)
    ),
    "roots": lambda rng: np.exp(-np.abs(rng.normal(0, 10 ** rng.uniform(-2, 1), CLASS_COUNT))),
}
each = pytest.mark.parametrize("name", ROWS)


def drawn(name: str, dtype: torch.dtype) -> list[torch.Tensor]:
    rng = np.random.default_rng(11)
    kinds = ROWS[name][1:]
    points = [[DRAW[kind](rng) for kind in kinds] for _ in range(POINTS)]
    return list(torch.tensor(np.array(points)).to(dtype).unbind(1))


def in_torch(expr: sp.Expr, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    printer = TorchPrinter()
    text = torch_text(expr, printer)
    return eval(text, {**_helpers(printer.used), "a": a, "b": b})


def misses(name: str, dtype: torch.dtype, computed) -> list[str]:
    expr = ROWS[name][0]
    formula, info, bad = Formula(expr), torch.finfo(dtype), []
    a, b = drawn(name, dtype)
    found = computed(expr, a, b).reshape(POINTS, -1).tolist()
    entries = range(CLASS_COUNT) if issubclass(type(expr), Entries) else [None]
    for u, v, got in zip(a.tolist(), b.tolist(), found, strict=True):
        for k, g in zip(entries, got, strict=True):
            at = {CLASSES: CLASS_COUNT} if k is None else {CLASSES: CLASS_COUNT, ENTRY: k}
            true, step = formula.at({**at, A: u, B: v}), mp.mpf(10) ** -20
            size = abs(true)
            for n in range(CLASS_COUNT):
                for vector, other in ((A, u), (B, v)):
                    moved = [mp.mpf(w) * (1 + step * (m == n)) for m, w in enumerate(other)]
                    point = {**at, A: u, B: v, vector: moved}
                    size += abs(formula.at(point) - true) / step
            soft = 1 if name in SOFT else 0
            if not abs(g - true) <= BOUND * info.eps * (size + soft) + info.tiny:
                bad.append(f"{name} at {u}, {v}, {k}: {g!r} for {mp.nstr(true, 17)}")
    return bad


def test_every_row_of_the_table_is_here():
    kinds = (Bound, Entries, LogSumExp, Softmax)
    table = {
        n
        for n, row in vars(special_mixtures).items()
        if isinstance(row, type) and issubclass(row, Bound | Entries) and row not in kinds
    }
    assert table == set(ROWS)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_value_is_its_meaning(name, dtype):
    assert misses(name, dtype, in_torch) == []


@pytest.mark.parametrize(
    ("name", "poor"),
    [
        ("MixedSurprisal", lambda a, b: torch.logsumexp(a, -1) - torch.logsumexp(a - b, -1)),
        ("LogShare", lambda a, b: torch.log(torch.softmax(a - b, -1))),
        ("ShareOf", lambda a, b: a * a * b * (1 + 1e-5)),
    ],
)
def test_a_poor_spelling_is_found(name, poor):
    assert misses(name, torch.float32, lambda _, a, b: poor(a, b)) != []


def test_a_share_that_underflows_still_counts_where_its_slope_is_huge():
    root, slope = torch.exp(torch.tensor([-60.0])), torch.tensor([1e37])
    assert (root * root).item() == 0.0
    got = in_torch(ROWS["ShareOf"][0], root, slope).item()
    assert got == pytest.approx(float(mp.exp(-120) * mp.mpf(10) ** 37), rel=1e-5)


def test_no_share_no_slope():
    got = in_torch(ROWS["ShareOf"][0], torch.tensor([0.0]), torch.tensor([torch.inf]))
    assert got.item() == 0.0
