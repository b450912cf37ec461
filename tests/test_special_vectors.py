"""Special functions of vectors against their meaning: value in round-off units, slope exactly."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch

from lossderiv import special_vectors
from lossderiv.autograd import _helpers
from lossderiv.codegen.printer import TorchPrinter, torch_text
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import CLASS_COUNT, Formula
from lossderiv.symbolic.vectors import (
    CLASSES,
    ENTRY,
    RUNNING,
    Bound,
    Entries,
    LogSumExp,
    Softmax,
    slope_in,
)

BOUND = 8  # round-off units of the sizes that the arguments make the result have
DTYPES = (torch.float32, torch.float64)
POINTS = 40


def scores(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 10 ** rng.uniform(-6, 3), CLASS_COUNT)


def sizes(rng: np.random.Generator) -> np.ndarray:
    return np.exp(rng.uniform(-30, 30, CLASS_COUNT))


def counts(rng: np.random.Generator) -> np.ndarray:
    total = int(10 ** rng.uniform(0, 5))
    return rng.multinomial(total, rng.dirichlet((0.3,) * CLASS_COUNT)).astype(float)


def weights(rng: np.random.Generator) -> np.ndarray:
    """Weights whose exact sum is 1: eighths, or all but 2^-k in one place."""
    k = int(rng.integers(3, 20))
    w = np.array([1 - 2.0**-k, 2.0 ** -(k + 1), 2.0 ** -(k + 1)])
    return rng.permutation(w)


# What each function is asked for: how its vector is drawn, and the vector's symbol.
ROWS = {
    "Surprisals": (scores, sp.IndexedBase("a", real=True)),
    "Complements": (weights, sp.IndexedBase("a", positive=True)),
    "StirlingErrors": (counts, sp.IndexedBase("a", integer=True, nonnegative=True)),
    "Rest": (sizes, sp.IndexedBase("a", positive=True)),
    "LogBeta": (sizes, sp.IndexedBase("a", positive=True)),
}
TABLE = {
    name: row
    for name, row in vars(special_vectors).items()
    if isinstance(row, type)
    and issubclass(row, Bound | Entries)
    and row not in (Bound, Entries, LogSumExp, Softmax)
}
each = pytest.mark.parametrize("name", TABLE)


def expression(name: str) -> tuple[sp.Expr, sp.IndexedBase]:
    vector = ROWS[name][1]
    index = ENTRY if issubclass(TABLE[name], Entries) else RUNNING
    return TABLE[name](vector[index], index), vector


def drawn(name: str, dtype: torch.dtype) -> torch.Tensor:
    rng = np.random.default_rng(7)
    return torch.tensor(np.stack([ROWS[name][0](rng) for _ in range(POINTS)])).to(dtype)


def in_torch(expr: sp.Expr, points: torch.Tensor) -> torch.Tensor:
    printer = TorchPrinter()
    text = torch_text(expr, printer)
    return eval(text, {**_helpers(printer.used), "a": points})


def truth(expr: sp.Expr, vector: sp.IndexedBase, point: list[float]) -> list[mp.mpf]:
    entries = range(CLASS_COUNT) if ENTRY in expr.free_symbols else [None]
    formula = Formula(expr)
    whole = {vector: tuple(point), CLASSES: CLASS_COUNT}
    return [formula.at(whole if k is None else {**whole, ENTRY: k}) for k in entries]


def test_every_row_of_the_table_is_here():
    assert set(TABLE) == set(ROWS)


@each
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_value_is_its_meaning(name, dtype):
    """The error is what rounding the arguments could do: their sizes times the slopes.

    Below the smallest normal number torch may say 0.
    """
    expr, vector = expression(name)
    points, info = drawn(name, dtype), torch.finfo(dtype)
    found = in_torch(expr, points).reshape(POINTS, -1).tolist()
    moved = [1 + mp.mpf(10) ** -15 * (n + 1) for n in range(CLASS_COUNT)]
    for point, got in zip(points.tolist(), found, strict=True):
        true = truth(expr, vector, point)
        reach = [mp.mpf(0)] * len(true)
        for n in range(CLASS_COUNT):
            if name == "Complements":  # its weights add up to 1: no one of them moves alone
                break
            other = [v * (moved[n] if m == n else 1) for m, v in enumerate(point)]
            apart = zip(truth(expr, vector, other), true, strict=True)
            reach = [
                r + abs(a - b) / (moved[n] - 1) for r, (a, b) in zip(reach, apart, strict=True)
            ]
        for g, t, r in zip(got, true, reach, strict=True):
            allowed = BOUND * info.eps * (abs(t) + r) + info.tiny
            assert abs(g - t) <= allowed, (point, g, mp.nstr(t, 12))


@each
def test_slope_is_its_meanings(name):
    """Where a function has a slope of its own, it is that of the formula, at 60 digits."""
    expr, vector = expression(name)
    if "_eval_derivative" not in vars(TABLE[name]):
        return
    index = next(iter(expr.args[1].free_symbols)) if isinstance(expr, Bound) else ENTRY
    assert index == RUNNING
    ours = slope_in(expr, vector[ENTRY])
    theirs = slope_in(spell_out(expr), vector[ENTRY])
    for point in drawn(name, torch.float32)[:8].tolist():
        for a, b in zip(truth(ours, vector, point), truth(theirs, vector, point), strict=True):
            assert abs(a - b) <= mp.mpf(10) ** -40 * max(1, abs(b))


def test_a_poor_spelling_is_found(monkeypatch):
    poor = "def rest(a):\n    return a.sum(-1, keepdim=True) - a"
    monkeypatch.setattr(special_vectors.Rest, "spelling", poor)
    with pytest.raises(AssertionError):
        test_value_is_its_meaning("Rest", torch.float64)
