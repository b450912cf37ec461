"""The marker of exercises: it accepts what is right, and names what is wrong.

Solutions and stubs are taken from the chapters themselves, so what a reader sees is what is tested.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn.functional import softplus

import lossderiv as ld
from lossderiv.exercises import EXERCISES, check_exercise

BOOK = Path(__file__).parents[1] / "book"
CODE = re.compile(r"^```(?:python|\{code-cell\}[^\n]*)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
CHECKED = re.compile(r'ld\.check_exercise\("([\d.]+)", (\w+)\)')
HALF_LOG_2PI = math.log(2 * math.pi) / 2


def answers(text: str) -> dict[str, list[tuple[str, str]]]:
    """Exercise -> (code, function's name) of each block of ``text`` that checks an answer."""
    found: dict[str, list[tuple[str, str]]] = {}
    for code in CODE.findall(text):
        for id, name in CHECKED.findall(code):
            found.setdefault(id, []).append((code, name))
    return found


def split(text: str) -> tuple[str, str]:
    """What a reader meets, and what is folded away as a solution."""
    solution = re.compile(r"^````\{solution\}.*?^````\s*$", re.MULTILINE | re.DOTALL)
    return solution.sub("", text), "\n".join(solution.findall(text))


def marked(code: str, id: str, name: str):
    space = {"torch": torch, "ld": ld, "math": math}
    exec(code, space)
    return check_exercise(id, space[name])


TEXTS = [split(p.read_text(encoding="utf-8")) for p in sorted(BOOK.glob("part*/*.md"))]
STUBS = [(k, *a) for shown, _ in TEXTS for k, found in answers(shown).items() for a in found]
SOLUTIONS = [(k, *a) for _, folded in TEXTS for k, found in answers(folded).items() for a in found]


def test_every_exercise_has_a_stub_and_a_solution_in_the_book():
    assert sorted(k for k, _, _ in STUBS) == sorted(EXERCISES)
    assert sorted(k for k, _, _ in SOLUTIONS) == sorted(EXERCISES)


@pytest.mark.parametrize(("id", "code", "name"), STUBS, ids=[s[0] for s in STUBS])
def test_stub_fails(id, code, name):
    assert not marked(code, id, name).ok


@pytest.mark.parametrize(("id", "code", "name"), SOLUTIONS, ids=[s[0] for s in SOLUTIONS])
def test_solution_passes(id, code, name):
    result = marked(code, id, name)
    assert result.ok, result


def nll(eta, x):
    """The answer to exercise 5.2, before the sum over pixels and the mean over images."""
    return (x - eta) ** 2 / 2 + HALF_LOG_2PI


WRONG = {
    "sign": ("7.1", lambda e, x: x - torch.sigmoid(e), "sign is wrong"),
    "factor": ("6.1", lambda e, x: (x - e) ** 2, "there 0.02 times"),
    "sign of one term": ("5.1", lambda e, x: x * e.exp() + e, "-eta_rate has the wrong sign"),
    "one term missing": ("6.3", lambda m, s, x: ((x - m) / s.exp()) ** 2 / 2, "eta_sigma is miss"),
    "one term twice": (
        "6.3",
        lambda m, s, x: ((x - m) / s.exp()) ** 2 / 2 + 2 * s,
        "eta_sigma is there 2 times",
    ),
    "constant missing": (
        "5.2",
        lambda e, x: (nll(e, x) - HALF_LOG_2PI).sum(1).mean(),
        "log(2*pi)/2 is missing",
    ),
    "constant once instead of per pixel": (
        "5.2",
        lambda e, x: (nll(e, x) - HALF_LOG_2PI).sum(1).mean() + HALF_LOG_2PI,
        "log(2*pi)/2 is there 0.2 times",
    ),
    "constant kept": (
        "6.1",
        lambda e, x: 50 * (x - e) ** 2 + HALF_LOG_2PI - math.log(10),
        "still there",
    ),
    "term of the target kept": (
        "5.3",
        lambda e, x: x**2 / (2 * softplus(e) ** 2) + 2 * softplus(e).log() - x.log(),
        "-log(x), which no output moves, is still there",
    ),
    "any constant": ("7.1", lambda e, x: torch.sigmoid(e) - x + 3, "3 too large"),
    "mean, not sum over pixels": ("5.2", lambda e, x: nll(e, x).mean(), "mean over all"),
    "sum over everything": ("5.2", lambda e, x: nll(e, x).sum(), "sum over all"),
    "over the wrong axis": ("5.2", lambda e, x: nll(e, x).sum(0).mean(), "sum over images"),
    "not reduced": ("5.2", nll, "one number for each element"),
    "reduced": ("6.1", lambda e, x: (50 * (x - e) ** 2).mean(), "the mean over all"),
    "shape": ("6.1", lambda e, x: (x - e)[:, :2], "shape (3, 2)"),
    "normaliser missing": ("7.3", lambda e, x: softplus(e) - x * e, "not on x"),
    "in general": ("7.4", torch.sigmoid, "should be"),
    "not finite": ("6.3", lambda m, s, x: ((x - m) / s) ** 2 / 2 + s.log(), "not finite"),
    "overflow": ("7.2", lambda e, x: torch.log(1 + e.exp()) - x * e, "overflows"),
    "not a tensor": ("6.1", lambda e, x: ..., "ellipsis"),
}


@pytest.mark.parametrize(("id", "f", "said"), WRONG.values(), ids=WRONG)
def test_fault_is_named(id, f, said):
    result = check_exercise(id, f)
    assert not result.ok
    assert said in result.message


def test_unknown_exercise_offers_near_ones():
    with pytest.raises(ld.LossDerivError, match=r"Did you mean 7\.2"):
        check_exercise("7.22", softplus)


def test_marked_prints_itself():
    assert repr(check_exercise("7.4", torch.sigmoid)).startswith("Exercise 7.4: not yet. At eta")
