"""Every rule is true, needed, enough and modest.

The four tests run over the tables, so a new rule is covered by writing it.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import MappingProxyType

import mpmath as mp
import pytest
import sympy as sp
import torch

from lossderiv.autograd import _helpers
from lossderiv.codegen.printer import TorchPrinter, torch_text
from lossderiv.domains import Category, Count, Integer, Interior, Logits, Positive, Real, Vector
from lossderiv.errors import DerivationError, SpellingError
from lossderiv.rules import COMPUTING, READING, REJECTED
from lossderiv.symbolic.derive import slope
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import CLASS_COUNT, Formula
from lossderiv.symbolic.prove import prove
from lossderiv.symbolic.records import Context, Rule
from lossderiv.symbolic.stabilise import fire, stabilise
from lossderiv.symbolic.vectors import CLASSES, ENTRY

TABLES = {"READING": READING, "COMPUTING": COMPUTING}
RULES = [rule for table in TABLES.values() for rule in table]
ROUND_OFF = 2.0**-23  # float32
TIDYING = {
    "softplus and its mirror image",
    "a number times its sign",
    "log of an indicator",
    "sine of twice an angle",
    "slope of a power of a size",
    "slope of a power tail by its exponent",
    "a power times a log",
    "a deviance less its slope",
    "exponents that no parameter moves",
    "log of a number less its square",
    "a gamma deviance by its two means",
    "slope of a gamma deviance by its two means",
    "a gamma deviance by its two means, one a softplus",
    "slope of a gamma deviance by its two means, one a softplus",
    "log of a bell's mean height, from its highest point",
}

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def wildcards(*exprs: sp.Expr) -> list[sp.Expr]:
    """Vectors, indices and numbers that the expressions leave open."""
    vectors = set().union(*(e.atoms(sp.IndexedBase) for e in exprs))
    labels = {v.label for v in vectors}
    entries = set().union(*(e.atoms(sp.Indexed) for e in exprs))
    plain = {
        s
        for e in exprs
        for s in e.free_symbols
        if s not in labels | vectors | entries and not isinstance(s, sp.Idx) and s != CLASSES
    }
    return sorted(vectors | plain, key=str)


def domain_of(wild: sp.Expr):
    if isinstance(wild, sp.IndexedBase):
        if wild.label.is_integer:
            return Vector(Count)
        return Vector(Positive) if wild.label.is_positive else Logits
    if wild.is_integer:
        return Integer(1) if wild.is_positive else Category
    if "share" in wild.name:
        return Interior
    return Positive if wild.is_positive else Real


Zero = replace(Real, typical=(0.0, *Real.typical))  # where corners are


def context(*exprs: sp.Expr) -> Context:
    return Context(MappingProxyType({w: domain_of(w) for w in wildcards(*exprs)}), ())


def is_vector(rule: Rule) -> bool:
    return bool(rule.find.atoms(sp.IndexedBase))


# True ------------------------------------------------------------------------------------------


@each_rule
def test_true_at_every_probe(rule):
    assert prove(rule.find, rule.give, context(rule.find)) in ("proven", "checked")


@pytest.mark.parametrize("rule", [r for r in RULES if not is_vector(r)], ids=lambda r: r.name)
def test_true_by_slopes_and_an_anchor(rule):
    """Equal slopes and one equal value: the two sides are the same function."""
    find, give = spell_out(rule.find), spell_out(rule.give)
    open_ended = wildcards(rule.find)
    assert set(rule.anchor) == set(open_ended)
    assert set(wildcards(rule.give)) <= set(open_ended)
    for wild in open_ended:
        if wild.is_integer:
            continue  # a count has no slope
        prove(slope(find, wild, ()), slope(give, wild, ()), context(find))
    old, new = (Formula(side).at(rule.anchor) for side in (rule.find, rule.give))
    assert abs(old - new) <= mp.mpf(10) ** -50


@pytest.mark.parametrize("claim", REJECTED, ids=lambda claim: claim.name)
def test_a_rejected_identity_is_false_at_its_point(claim):
    """Both sides have a value there, and the values differ; so the prover refuses the claim."""
    old, new = (Formula(side).at(claim.point) for side in (claim.find, claim.give))
    assert mp.isfinite(old)
    assert abs(old - new) > 1e-3
    everywhere = Context(
        MappingProxyType(
            {w: Zero if claim.point[w] == 0 else domain_of(w) for w in wildcards(claim.find)}
        ),
        (),
    )
    with pytest.raises(DerivationError, match="false"):
        prove(claim.find, claim.give, everywhere)


# Needed and enough -----------------------------------------------------------------------------


class WithSums(TorchPrinter):
    """Sums and deltas over classes as torch would be asked for, so that an old form can be run."""

    def vector(self, expr, j):
        deltas = {
            d: sp.IndexedBase(sp.Symbol(f"torch.nn.functional.one_hot({other}, {CLASS_COUNT})"))[j]
            for d in expr.atoms(sp.KroneckerDelta)
            for other in d.args
            if other != j
        }
        return super().vector(expr.xreplace(deltas), j)

    def _print_Sum(self, expr):
        return f"({self.vector(expr.function, expr.variables[0])}).sum(-1)"


def in_torch(expr: sp.Expr, point, dtype=torch.float32) -> list[float]:
    """What torch makes of a formula: one number, or one for each class."""
    names = {
        str(w.label if isinstance(w, sp.IndexedBase) else w): torch.tensor(
            value,
            dtype=torch.int64 if not isinstance(w, sp.IndexedBase) and w.is_integer else dtype,
        )
        for w, value in point.items()
    }
    like = next((n for n, tensor in names.items() if tensor.is_floating_point()), "")
    printer = WithSums(like=like)
    text = torch_text(expr, printer)
    result = eval(text, {**_helpers(printer.used), **names})
    return result.reshape(-1).tolist()


def in_truth(expr: sp.Expr, point) -> list[mp.mpf]:
    formula, whole = Formula(expr), {**point, CLASSES: CLASS_COUNT}
    entries = range(CLASS_COUNT) if ENTRY in expr.free_symbols else (None,)
    return [formula.at({**whole, ENTRY: k} if k is not None else whole) for k in entries]


def units_off(expr: sp.Expr, rule: Rule) -> float:
    """Largest relative error in round-off units at the witness; infinite if not finite."""
    found, truth = in_torch(expr, rule.witness), in_truth(rule.find, rule.witness)
    worst = 0.0
    for got, true in zip(found, truth, strict=True):
        assert true != 0, "at a good witness the truth is not 0"
        if not mp.isfinite(got):
            return mp.inf
        worst = max(worst, abs(got - true) / abs(true) / ROUND_OFF)
    return worst


WITNESSED = [r for r in RULES if r.witness is not None]


UNSPELLED = (sp.factorial, sp.gamma, sp.beta, sp.besseli)


def test_only_tidying_rules_go_without_a_witness():
    assert {r.name for r in RULES if r.witness is None} == TIDYING


@pytest.mark.parametrize("rule", WITNESSED, ids=lambda r: r.name)
def test_needed(rule):
    if rule.find.atoms(*UNSPELLED):  # torch has no such function at all
        with pytest.raises(SpellingError):
            torch_text(rule.find, TorchPrinter())
        return
    assert units_off(rule.find, rule) >= 1000


@pytest.mark.parametrize("rule", WITNESSED, ids=lambda r: r.name)
def test_enough(rule):
    """The new form is right at the witness, once the rules that follow have had their say."""
    steps = stabilise(rule.give, COMPUTING, context(rule.give), ())
    assert units_off(steps[-1].after if steps else rule.give, rule) <= 16


def test_a_rule_that_helps_nowhere_is_found():
    u = sp.Symbol("u", real=True)
    idle = Rule("idle", sp.exp(u) + 1, 1 + sp.exp(u), "", {u: 0}, {u: 1.0})
    assert units_off(idle.find, idle) < 1000


def test_a_rule_that_does_not_help_enough_is_found():
    u = sp.Symbol("u", real=True)
    late = Rule("late", sp.log(1 + u), sp.log(1 + u), "", {u: 0}, {u: 1e-6})
    assert units_off(late.give, late) > 16


# Modest ----------------------------------------------------------------------------------------

Q = sp.Symbol("q", positive=True)
LARGER = {
    "in a power": lambda e: Q * 2**e + Q,
    "in a sum": lambda e: sp.sin(Q * sp.cos(Q) + Q + sp.cos(Q) + e),  # or the minus comes out
    "in a product": lambda e: 1 + sp.sin(Q) * e,
}


@each_rule
@pytest.mark.parametrize("shape", LARGER)
def test_fires_inside_a_larger_expression(rule, shape):
    larger, meant = (LARGER[shape](side) for side in (rule.find, rule.give))
    fired = fire(rule, larger)
    assert fired is not None
    prove(fired[1], meant, context(larger, rule.find))


@each_rule
def test_fires_on_other_names(rule):
    """Its letters are wildcards, not names: renamed, the pattern is still found."""
    names = {
        w: sp.IndexedBase(f"other_{w}", **w.label.assumptions0)
        if isinstance(w, sp.IndexedBase)
        else sp.Symbol(f"other_{w}", **w.assumptions0)
        for w in wildcards(rule.find)
    }
    names |= {old.label: new.label for old, new in names.items() if hasattr(old, "label")}
    renamed, meant = rule.find.xreplace(names), rule.give.xreplace(names)
    fired = fire(rule, renamed)
    assert fired is not None
    prove(fired[1], meant, context(renamed))


@each_rule
def test_leaves_its_spares_alone(rule):
    assert rule.spares
    for spare in rule.spares:
        assert fire(rule, spare) is None
        assert fire(rule, sp.exp(spare)) is None


@each_rule
def test_leaves_its_own_result_alone(rule):
    assert fire(rule, rule.give) is None or fire(rule, rule.give)[1] == rule.give


@pytest.mark.parametrize("table", TABLES)
@each_rule
def test_each_table_comes_to_rest_on_every_result(rule, table):
    """No two rules chase each other, and the other rules of the table keep the result true."""
    steps = stabilise(rule.give, TABLES[table], context(rule.give), ())
    assert rule not in [r for r in TABLES[table] if r.name in {s.rule for s in steps}]
    for step in steps:
        assert step.verdict in ("proven", "checked")


@each_rule
def test_reading_leaves_what_is_ready_to_compute(rule):
    """The reading table must not take back what the computing table has done."""
    if rule in COMPUTING:
        assert [r.name for r in READING if fire(r, rule.give)] == []


def test_names_and_reasons_are_the_rules_own():
    for one, other in itertools.combinations(RULES, 2):
        assert one.name != other.name
        assert one.find != other.find
    for rule in RULES:
        assert rule.because
        assert rule.because[0].islower()
        assert not rule.because.endswith(".")


def test_rules_that_chase_each_other_are_stopped():
    u = sp.Symbol("u", real=True)
    there = Rule("there", sp.sin(u), sp.cos(u), "", {}, None)
    back = Rule("back", sp.cos(u), sp.sin(u), "", {}, None)
    with pytest.raises(RecursionError, match="rest"):
        stabilise(sp.sin(u), (there, back), context(u), ())
