"""The prover believes no falsehood: planted ones are rejected, in claims and in derivations."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
import sympy as sp
from sympy.codegen.rewriting import logsumexp_2terms_opt, optimize

import lossderiv as ld
from lossderiv.domains import Real
from lossderiv.errors import DerivationError
from lossderiv.symbolic.prove import prove
from lossderiv.symbolic.records import Context

a, b = sp.symbols("a b", real=True)
HERE = Context(MappingProxyType({a: Real, b: Real}), (a,))  # b is data, a is learned


def test_sympys_own_false_logsumexp_is_rejected():
    true = sp.log(sp.exp(a) + sp.exp(b))
    false = optimize(true, [logsumexp_2terms_opt])
    assert false != true
    with pytest.raises(DerivationError, match="false"):
        prove(true, false, HERE)


@pytest.mark.parametrize(
    ("before", "after", "relation"),
    [
        (a**2 / 2 + sp.log(2 * sp.pi) / 2, a**2 / 2, "="),  # a lost constant
        (a**2 / 2, a**2 / 2 + sp.Rational(1, 10**30), "="),  # a tiny one
        (b * a - sp.exp(a), b * a + sp.exp(a), "="),  # a flipped sign
        (a - b, b - a, "="),
        (a**2 + a + b, a**2 + b, "constant"),  # a dropped learned term
        (a**2 + sp.exp(a - 40), a**2, "constant"),  # a tiny one
        (a * b + b, a, "constant"),
        (2 * a**2, 3 * a, "scale"),  # no factor at all
        (a**2, -(a**2), "scale"),  # not a positive one
        (a**2 * sp.exp(a), a**2, "scale"),  # one that is learned
        (a**2 + 1, 2 * a**2 + 1, "scale"),
        (sp.log(1 + sp.exp(a)), sp.exp(a), "link"),
    ],
    ids=str,
)
def test_a_planted_falsehood_is_rejected(before, after, relation):
    with pytest.raises(DerivationError, match="Correct the rule or the formula"):
        prove(before, after, HERE, relation)


@pytest.mark.parametrize(
    ("before", "after", "relation"),
    [
        ((a + b) ** 2, a**2 + 2 * a * b + b**2, "="),
        (a**2 + sp.exp(b), a**2, "constant"),
        (sp.exp(b) * a**2, a**2, "scale"),
        (sp.log(1 + sp.exp(a)), a + sp.log(1 + sp.exp(-a)), "="),
    ],
    ids=str,
)
def test_a_truth_is_accepted(before, after, relation):
    """The same prover, so that a rejection means something."""
    assert prove(before, after, HERE, relation) in ("proven", "checked")


def tampered(family: str, relation: str, change, **options) -> ld.Derivation:
    """A derivation of which one step (the last of its relation) was changed, as were the later."""
    d = ld.derive(family, **options)
    k = max(k for k, s in enumerate(d.steps) if s.relation == relation)
    return replace(d, steps=(*d.steps[:k], change(d.steps[k]), *d.steps[k + 1 :]))


@pytest.mark.parametrize(
    ("family", "relation", "change", "named"),
    [
        ("normal", "=", lambda s: replace(s, after=-s.after), "negative log-likelihood"),
        ("normal", "=", lambda s: replace(s, after=s.after + 1), "negative log-likelihood"),
        (
            "normal",
            "constant",
            lambda s: replace(s, after=s.after - next(iter(s.context.outputs)) * 3),
            "drop",
        ),
        (
            "normal",
            "link",
            lambda s: replace(s, substitution=tuple((p, e + 1) for p, e in s.substitution)),
            "sigma: exp",
        ),
        ("bernoulli", "link", lambda s: replace(s, after=2 * s.after), "p: logistic"),
        ("bernoulli", "=", lambda s: replace(s, after=s.after * 2), "mirror"),
        ("categorical", "=", lambda s: replace(s, after=s.after + 1), "sum of exponentials"),
    ],
)
def test_a_derivation_with_a_false_step_fails_its_check(family, relation, change, named):
    false = tampered(family, relation, change)
    with pytest.raises(DerivationError, match=named):
        false.check()


def test_a_wrong_gradient_fails_the_check():
    d = ld.derive("bernoulli")
    (first, *rest) = d.gradient_steps["eta_p"]
    false = replace(first, after=first.after + 1)
    with pytest.raises(DerivationError, match="differentiate"):
        replace(d, gradient_steps={"eta_p": (false, *rest)}).check()


def test_a_wrong_computing_form_fails_the_check():
    d = ld.derive("bernoulli")
    *before, last = d.evaluation
    with pytest.raises(DerivationError, match="softplus less a line"):
        replace(d, evaluation=(*before, replace(last, after=last.after + 1))).check()


def test_wrong_bookkeeping_fails_the_check():
    """A constant that is said to be dropped but was not."""
    d = ld.derive("normal")
    with pytest.raises(DerivationError, match="nll = scale loss"):
        replace(d, dropped=d.dropped + 1).check()
    with pytest.raises(DerivationError, match="nll = scale loss"):
        replace(d, scale=sp.Integer(2)).check()
