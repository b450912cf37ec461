"""Every derivation of the catalogue: steps, bookkeeping, gradient, and the losses it is known for.

Families, fixed parameters and links come from the tables; a new row is covered by writing it.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from functools import cache
from itertools import pairwise

import mpmath as mp
import pytest
import sympy as sp
from drawing import density, given, label, variants

import lossderiv as ld
from lossderiv.errors import ParameterError
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import CLASS_COUNT, Formula, points
from lossderiv.symbolic.records import RELATIONS, close
from lossderiv.symbolic.vectors import CLASSES, ENTRY, LogSumExp, with_classes

VARIANTS = variants()
each = pytest.mark.parametrize("variant", VARIANTS, ids=label)
BY_LABEL = {label(v): v for v in VARIANTS}


@cache
def derived_once(name: str) -> ld.Derivation:
    family, options = BY_LABEL[name]
    return ld.derive(family, **options)


def derived(variant) -> ld.Derivation:
    return derived_once(label(variant))


def every_step(d: ld.Derivation):
    yield from d.steps
    yield from d.evaluation
    for name, steps in d.gradient_steps.items():
        yield from steps
        yield from d.gradient_evaluation[name]


def test_the_table_of_variants_reaches_every_family_and_fixes_and_links():
    assert {family for family, _ in VARIANTS} == set(ld.families())
    assert any("links" in options for _, options in VARIANTS)
    assert ("normal", {"sigma": 0.45}) in VARIANTS


@each
def test_check_passes(variant):
    report = derived(variant).check()
    assert report.proven + report.checked == len(report.lines)
    assert {verdict for _, _, verdict in report.lines} <= {"proven", "checked"}
    assert report.lines[-1][1] == "nll = scale loss + dropped"
    assert variant[0] in str(report)


@each
def test_steps_hang_together(variant):
    """Each step begins where the one before ended, and the last one ends at the loss."""
    d = derived(variant)
    for chain in (d.steps, d.evaluation, *d.gradient_steps.values()):
        for before, after in pairwise(chain):
            assert after.before in (before.after, -sp.log(before.after, evaluate=False))
    for step in every_step(d):
        assert step.relation in RELATIONS
        assert step.rule
        assert step.reason
    assert d.steps[0].before in (d.density.expr, -sp.log(d.density.expr, evaluate=False))
    assert close(d.steps[-1].after, d.where) == d.loss
    assert sum(s.relation == "link" for s in d.steps) == 1
    assert ("fix" in {s.relation for s in d.steps}) == bool(d.fixed)
    assert ("constant" in {s.relation for s in d.steps}) == (d.dropped != 0)


@each
def test_outputs_follow_the_parameters(variant):
    d = derived(variant)
    learned = [n for n in d.density.parameters if n not in d.fixed]
    assert d.outputs == tuple(f"eta_{n}" for n in learned)
    assert tuple(d.links) == tuple(learned)
    assert tuple(d.gradient) == d.outputs


@each
def test_what_is_dropped_no_output_moves(variant):
    d = derived(variant)
    assert not any(d.dropped.has(o) for o in d.context.outputs)
    for term in sp.Add.make_args(d.open_loss):
        assert close(term, d.where).has(*d.context.outputs)


def numbers(values: dict, point: dict) -> dict:
    return {**point, **values, CLASSES: CLASS_COUNT}


@each
def test_nll_is_scale_times_loss_plus_dropped(variant):
    """From the density itself: -log p at theta(eta), without any of the steps in between."""
    d = derived(variant)
    loss, dropped = Formula(d.loss), Formula(d.dropped)
    p = Formula(d.density.formula, tuple((d.density.symbols[n], v) for n, v in d.fixed.items()))
    met = 0
    for point in points(d.context, 36 if d.density.formula.has(inside) else 6):
        theta = {d.density.symbols[n]: v for n, v in d.fixed.items()}
        for name, formula in d.theta.items():
            symbol = d.density.symbols[name]
            if isinstance(symbol, sp.IndexedBase):
                at = [numbers({ENTRY: k}, point) for k in range(CLASS_COUNT)]
                theta[symbol] = tuple(Formula(formula).at(w) for w in at)
            else:
                theta[symbol] = Formula(formula).at(numbers({}, point))
        with mp.workdps(90):
            nll = -mp.log(p.at(numbers(theta, point)))
            ours = int(d.scale) * loss.at(numbers({}, point)) + dropped.at(numbers({}, point))
            if mp.isfinite(nll):
                assert abs(nll - ours) <= mp.mpf(10) ** -40 * max(1, abs(nll)), point
                met += 1
            else:  # the density is 0 even to mpmath: exp(-exp(10^13))
                assert not ours < 10**12
    assert met >= 6


@each
def test_gradient_is_the_losss_derivative(variant):
    """SymPy's own derivative of the loss with every function spelled out, at 60 digits."""
    d = derived(variant)
    for name, symbol in d.symbols.items():
        for point in points(d.context):
            if isinstance(symbol, sp.IndexedBase):
                pairs = by_entries(d, symbol, name, point)
            else:
                slope = spell_out(d.loss).doit().diff(symbol).replace(sp.DiracDelta, lambda *_: 0)
                pairs = [
                    (Formula(sp.sympify(slope)).at(point), Formula(d.gradient[name]).at(point))
                ]
            for true, ours in pairs:
                assert mp.isfinite(true)
                assert abs(true - ours) <= mp.mpf(10) ** -45 * max(1, abs(true)), (name, point)


def by_entries(d, symbol, name, point):
    """Slope in each entry, of the loss written out for three classes."""
    x = {d.density.variable: point[d.density.variable]}
    written = with_classes(d.loss, CLASS_COUNT, {} if d.density.data.is_vector else x)
    entries = [symbol[k] for k in range(CLASS_COUNT)]
    plain = sp.symbols(f"e:{CLASS_COUNT}", real=True)
    written = written.xreplace(dict(zip(entries, plain, strict=True)))
    values = {**point, **dict(zip(plain, map(float, point[symbol]), strict=True))}
    for k in range(CLASS_COUNT):
        true = Formula(written.diff(plain[k])).at(values)
        yield true, Formula(d.gradient[name]).at({**point, ENTRY: k, CLASSES: CLASS_COUNT})


@each
def test_a_derivation_survives_pickling_and_copying(variant):
    d = derived(variant)
    for twin in (pickle.loads(pickle.dumps(d)), copy.deepcopy(d)):
        assert twin.loss == d.loss
        assert dict(twin.gradient) == dict(d.gradient)
        assert twin.text() == d.text()
    with pytest.raises(FrozenInstanceError):
        d.scale = sp.Integer(2)


@pytest.mark.parametrize("family", ld.families())
def test_deriving_twice_gives_the_same(family):
    one, other = (ld.derive(family, **given(family)) for _ in range(2))
    assert one.text() == other.text()
    assert ld.derive(one) is one


# What the reader expects to arrive at ------------------------------------------------------------

eta_mu, x = ld.derive("normal", sigma=1).symbols["eta_mu"], density("normal").variable


def test_normal_with_unit_width_is_half_the_squared_error():
    d = ld.derive("normal", sigma=1)
    assert sp.expand(d.loss - (x - eta_mu) ** 2 / 2) == 0
    assert d.dropped == sp.log(2 * sp.pi) / 2
    assert [s.relation for s in d.steps] == ["fix", "=", "link", "constant"]
    assert sp.expand(d.gradient["eta_mu"] - (eta_mu - x)) == 0


def test_normal_keeps_what_it_learns():
    """With a learned width, log sigma is no constant."""
    d = ld.derive("normal")
    eta = d.symbols["eta_sigma"]
    assert sp.expand(d.loss - eta - ((x - eta_mu) * sp.exp(-eta)) ** 2 / 2) == 0


def test_bernoulli_is_the_cross_entropy_with_logits():
    from lossderiv.special import softplus

    d = ld.derive("bernoulli")
    eta, x = d.symbols["eta_p"], d.density.variable
    assert d.loss == softplus(eta) - x * eta
    assert d.dropped == 0


def test_categorical_is_the_cross_entropy():
    d = ld.derive("categorical")
    eta, x = d.symbols["eta_p"], d.density.variable
    (total,) = d.loss.atoms(LogSumExp)
    assert d.loss == total - eta[x]
    assert total.args[0].base == eta


def test_laplace_is_the_absolute_error():
    d = ld.derive("laplace", b=1)
    mu, x = d.symbols["eta_mu"], d.density.variable
    assert d.loss in (sp.Abs(x - mu), sp.Abs(mu - x))
    assert d.dropped == sp.log(2)


# Another scale -----------------------------------------------------------------------------------


def test_rescaled_says_so_and_keeps_its_books():
    d = ld.derive("normal", sigma=1).rescaled("1/2")
    assert sp.expand(d.loss - (x - eta_mu) ** 2) == 0
    assert d.scale == sp.Rational(1, 2)
    assert d.steps[-1].relation == "scale"
    d.check()
    assert d.rescaled(2).scale == 1
    assert sp.expand(d.gradient["eta_mu"] + 2 * (x - eta_mu)) == 0


@pytest.mark.parametrize("factor", [0, -1, "-1/2"])
def test_only_a_positive_factor_scales(factor):
    with pytest.raises(ParameterError, match="positive factor"):
        ld.derive("normal").rescaled(factor)


@pytest.mark.parametrize("value", [0.1, 1, 2, 0.25, 1e-8, 12345.678])
def test_a_fixed_value_means_what_it_prints(value):
    """0.1 is one tenth, not the nearest double."""
    d = ld.derive("normal", sigma=value)
    assert d.fixed["sigma"] == sp.Rational(repr(value))
    slope = Formula(d.gradient["eta_mu"]).at({eta_mu: 3, x: 1})
    assert abs(slope - 2 / mp.mpf(repr(value)) ** 2) <= mp.mpf(10) ** -12 * slope
