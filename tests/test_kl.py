"""Divergences: against torch's table, against samples, and refusals that say why."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sympy as sp
import torch
from torch import distributions

import lossderiv as ld
from lossderiv.insight.divergence import _terms

PAIRS = {
    "normal": [{"mu": 0.3, "sigma": 0.7}, {"mu": -1.1, "sigma": 2.5}],
    "laplace": [{"mu": 0.3, "b": 0.7}, {"mu": -1.1, "b": 2.5}],
    "exponential": [{"rate": 0.4}, {"rate": 3.0}],
    "gamma": [{"concentration": 0.6, "rate": 2.0}, {"concentration": 3.5, "rate": 0.25}],
    "poisson": [{"rate": 0.4}, {"rate": 3.0}],
    "bernoulli": [{"p": 0.2}, {"p": 0.75}],
    "geometric": [{"p": 0.2}, {"p": 0.75}],
    "beta": [{"alpha": 0.6, "beta": 2.0}, {"alpha": 3.5, "beta": 1.25}],
}
PAIRS = {family: pair for family, pair in PAIRS.items() if family in ld.families()}


def twin(family: str, values: dict) -> distributions.Distribution:
    """The torch distribution of the same family."""
    made = {
        "normal": lambda mu, sigma: distributions.Normal(mu, sigma),
        "laplace": lambda mu, b: distributions.Laplace(mu, b),
        "exponential": distributions.Exponential,
        "gamma": distributions.Gamma,
        "poisson": distributions.Poisson,
        "bernoulli": lambda p: distributions.Bernoulli(probs=p),
        "geometric": lambda p: distributions.Geometric(probs=p),
        "beta": lambda alpha, beta: distributions.Beta(alpha, beta),
    }[family]
    return made(**{n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()})


def named(q: dict, p: dict) -> dict:
    return {f"{n}_q": v for n, v in q.items()} | {f"{n}_p": v for n, v in p.items()}


@pytest.mark.parametrize("family", PAIRS)
def test_torchs_table_agrees(family):
    k = ld.kl(family, family)
    one, two = PAIRS[family]
    for q, p in ((one, two), (two, one)):
        theirs = distributions.kl_divergence(twin(family, q), twin(family, p))
        assert k.at(**named(q, p)) == pytest.approx(float(theirs), rel=1e-10)
    assert k.at(**named(one, one)) == pytest.approx(0, abs=1e-12)


def test_classes():
    k = ld.kl("categorical", "categorical")
    q, p = [0.2, 0.5, 0.3], [0.6, 0.1, 0.3]
    body, index = k.expr.function, k.expr.variables[0]
    total = sum(body.subs(index, j) for j in range(3))
    symbols = {sp.IndexedBase(n, real=True): v for n, v in (("p_q", q), ("p_p", p))}
    value = total.xreplace({b[j]: sp.Float(v[j]) for b, v in symbols.items() for j in range(3)})
    theirs = distributions.kl_divergence(
        distributions.Categorical(torch.tensor(q).double()),
        distributions.Categorical(torch.tensor(p).double()),
    )
    assert float(value) == pytest.approx(float(theirs), rel=1e-6)


def test_two_families():
    """Between families torch has few rows; scipy's quadrature has them all."""
    k = ld.kl("exponential", "gamma")
    q, p = scipy.stats.expon(scale=1 / 1.5), scipy.stats.gamma(2.5, scale=1 / 0.8)
    x = scipy.integrate.quad(lambda v: q.pdf(v) * (q.logpdf(v) - p.logpdf(v)), 0, 60)[0]
    said = k.at(rate_q=1.5, concentration_p=2.5, rate_p=0.8)
    assert said == pytest.approx(x, rel=1e-8)


def test_samples_agree():
    """A mean of log q - log p over draws of q, 5 standard errors wide: fails once in 2 million."""
    k = ld.kl("log_normal", "log_normal")
    q, p = scipy.stats.lognorm(0.5, scale=math.exp(0.2)), scipy.stats.lognorm(1.5, scale=1)
    x = q.rvs(20_000, random_state=np.random.default_rng(3))
    gaps = q.logpdf(x) - p.logpdf(x)
    said = k.at(mu_q=0.2, sigma_q=0.5, mu_p=0, sigma_p=1.5)
    assert abs(gaps.mean() - said) < 5 * gaps.std() / math.sqrt(len(x))
    assert gaps.std() / math.sqrt(len(x)) < 0.02 * said


def test_fixed_values_are_put_in():
    k = ld.kl("normal", "normal", mu_p=0, sigma_p=1)
    assert set(k.symbols) == {"mu_q", "sigma_q"}
    mu, sigma = k.symbols.values()
    assert sp.expand(k.expr - (mu**2 + sigma**2 - 1) / 2 + sp.log(sigma)) == 0
    given = ld.kl(ld.derive("normal", sigma=1), "normal", sigma_p=1)
    gap = given.symbols["mu_q"] - given.symbols["mu_p"]
    assert given.expr == gap**2 / 2


def test_where_there_is_none_it_says_why():
    assert "infinite" in ld.kl("normal", "exponential").reason
    assert "no common measure" in ld.kl("poisson", "exponential").reason
    assert "moves with its parameters" in ld.kl("uniform", "uniform").reason
    assert "vectors" in ld.kl("dirichlet", "dirichlet").reason
    assert "vectors" in ld.kl("categorical", "bernoulli").reason
    none = ld.kl("poisson", "geometric")
    assert none.expr is None
    assert "follows neither" in none.reason
    with pytest.raises(ld.ParameterError, match="no closed form"):
        none.at(rate_q=1, p_p=0.5)


def test_a_wrong_average_is_not_returned(monkeypatch):
    """The judge is quadrature: a formula that the scores get wrong does not pass."""
    from lossderiv.insight import divergence

    right = divergence._by_scores
    monkeypatch.setattr(
        divergence,
        "_by_scores",
        lambda *a: {t: e + sp.Rational(1, 10**6) for t, e in right(*a).items()},
    )
    wrong = ld.kl("exponential", "exponential")
    assert wrong.expr is None
    assert "is not the average" in wrong.reason


@pytest.mark.parametrize("family", PAIRS)
def test_each_divergence_is_checked_again(family):
    k = ld.kl(family, family)
    assert len(k.check()) == len(k.steps) >= 1


def test_a_false_divergence_does_not_pass_its_check():
    k = ld.kl("exponential", "exponential")
    with pytest.raises(ld.DerivationError, match=r"KL\(exponential"):
        replace(k, expr=k.expr + sp.Rational(1, 10**6)).check()
    average = next(s for s in k.steps if s.label == "score")
    wrong = replace(average, right=2 * average.right)
    with pytest.raises(ld.DerivationError, match="step 'score'"):
        replace(k, steps=(k.steps[0], wrong)).check()


def test_terms_are_gathered():
    x, a = sp.symbols("x a")
    assert _terms((x + a) ** 2 - x, x) == {x**2: 1, x: 2 * a - 1, sp.Integer(1): a**2}


def test_it_reads_well():
    k = ld.kl("normal", "normal")
    assert all(len(line) <= 80 for line in k.text().splitlines())
    assert "result, in nats" in k.markdown()
    for problem in ({"mu_z": 1}, {"sigma_q": -1}):
        with pytest.raises(ld.ParameterError):
            ld.kl("normal", "normal", **problem)
    with pytest.raises(ld.ParameterError, match="sigma_p is missing"):
        k.at(mu_q=0, sigma_q=1, mu_p=0)
