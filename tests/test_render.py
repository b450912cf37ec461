"""Derivations for people: tables that hold together, short lines, LaTeX in balance."""

from __future__ import annotations

import re

import pytest
import sympy as sp
from drawing import given

import lossderiv as ld
from lossderiv.symbolic.render import tex

MARKS = {"", "proven", "checked"}
ENVIRONMENT = re.compile(r"\\(begin|end)\{(\w+)\}")

x = sp.Symbol("x", positive=True)
each = pytest.mark.parametrize("family", ld.families())


def derived(family: str) -> ld.Derivation:
    return ld.derive(family, **given(family))


def in_balance(tex: str) -> bool:
    """Braces, environments and ``\\left``/``\\right`` each close in the order they opened."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    opened = []
    for move, name in ENVIRONMENT.findall(tex):
        if move == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            return False
    sides = [len(re.findall(rf"\\{side}(?![a-z])", tex)) for side in ("left", "right")]
    return depth == 0 and not opened and sides[0] == sides[1]


def cells(row: str) -> list[str]:
    return [c.strip() for c in row.strip().strip("|").split("|")]


@pytest.mark.parametrize("wrong", ["{a", "a}", r"\left(a", r"\begin{x}\end{y}", "}{"])
def test_imbalance_is_found(wrong):
    assert not in_balance(wrong)


@each
def test_latex_is_in_balance(family):
    tex = derived(family).latex()
    assert tex.startswith("\\begin{aligned}\n")
    assert tex.endswith("\n\\end{aligned}")
    assert in_balance(tex)
    rows = tex.splitlines()[1:-1]
    assert all(row.count(" &") == 1 for row in rows)
    assert all(in_balance(row.removesuffix(r" \\")) for row in rows)


@each
def test_the_table_has_three_columns_and_every_step(family):
    d = derived(family)
    head, rule, *rows = d.markdown().splitlines()
    assert cells(head) == ["step", "formula", "reason"]
    assert cells(rule) == ["---"] * 3
    slopes = sum(len(steps) for steps in d.gradient_steps.values())
    assert len(rows) == 1 + len(d.steps) + len(d.evaluation) + slopes
    for k, row in enumerate(rows):
        label, formula, reason = cells(row)  # a bare bar would make a fourth cell
        assert label.startswith(f"{k}. ") if k else label == "density"
        assert formula.count("$") % 2 == 0
        assert in_balance(formula)
        assert reason
        mark = re.search(r"\*\((\w+)\)\*$", reason)
        assert (mark[1] in ("proven", "checked")) if k else mark is None


@each
def test_no_python_names_in_the_formulas(family):
    r"""What is typeset is mathematics: \log, not log1p or KroneckerDelta."""
    tex = derived(family).latex()
    bare = re.sub(r"\\operatorname\{[^}]*\}|\\text\{[^}]*\}|\\[A-Za-z]+", " ", tex)
    assert not re.findall(r"[A-Za-z]{4,}_|log1p|expm1|KroneckerDelta|Piecewise|IndexedBase", bare)


@each
def test_text_fits_a_terminal(family):
    d = derived(family)
    text = d.text()
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[0].startswith(family)
    for k, step in enumerate(d.steps, 1):
        assert f"{k:>2}. {step.rule}" in text
    assert "\nloss " in text
    assert "\ndropped " in text


@each
def test_a_notebook_shows_both(family):
    d = derived(family)
    shown = d._repr_mimebundle_()
    assert shown == {"text/markdown": d.markdown(), "text/plain": d.text()}
    assert str(d) == d.text()
    assert family in repr(d)
    assert "\n" not in repr(d)


def test_fixed_values_are_told():
    d = ld.derive("normal", sigma=0.5)
    assert d.text().startswith("normal with sigma = 1/2")
    assert "sigma=1/2" in repr(d)
    assert "given, not learned" in d.markdown()


def test_a_density_without_docstring_is_described_by_its_domain():
    @ld.density
    def bare(x: ld.Unit, p: ld.Unit):
        return p + (1 - p) * 2 * x

    assert "Unit: real 0 <= x <= 1" in ld.derive(bare).text()


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (sp.exp(-x) / (sp.sqrt(2) * (1 + x)), r"\frac{1}{\sqrt{2} \, \left(1 + x\right)} e^{- x}"),
        (sp.exp(-x) / (sp.sqrt(2) * x), r"\frac{1}{\sqrt{2} \, x} e^{- x}"),
        (sp.loggamma(x), r"\log\Gamma\left(x\right)"),
        (sp.loggamma(x) ** 2, r"\log^{2}\Gamma\left(x\right)"),
        (sp.polygamma(0, x), r"\psi\left(x\right)"),
        (sp.polygamma(1, x), r"\psi'\left(x\right)"),
        (sp.polygamma(0, x) ** 2, r"\left[\psi\left(x\right)\right]^{2}"),
        (sp.polygamma(2, x), r"\psi^{(2)}\left(x\right)"),
    ],
)
def test_formulas_are_set_as_a_textbook_sets_them(formula, shown):
    assert tex(formula) == shown


HEADS = {
    "discretized": (
        lambda: ld.discretized("logistic", levels=17, low=0, high=1),
        [r"p(x \mid \mu, s)", r"p(x \mid \mu, s)", r"-\log p", r"\ell"],
    ),
    "mixture": (
        lambda: ld.mixture("laplace", 3),
        [r"p(x \mid \mathrm{logits}, \mu, b)", r"-\log p", r"\ell"],
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_comes_before_the_log_is_a_density_and_what_comes_after_a_loss(name):
    make, wanted = HEADS[name]
    rows = ld.derive(make()).markdown().splitlines()[2:]
    heads = [re.split(r" (?:=|\\overset)", row.split("|")[2].strip(" $"))[0] for row in rows]
    assert heads[: len(wanted)] == wanted
