"""From a loss back to its density: names, normalisers and refusals, against scipy and torch."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sympy as sp
import torch

import lossderiv as ld
from lossderiv.insight import totals
from lossderiv.insight.totals import divergence, numeric_total, symbolic_total
from lossderiv.symbolic.functions import spell_out

HALF = math.sqrt(0.5)
NAMED = [
    ("(x - eta)**2 / 2", "normal", lambda x, e: scipy.stats.norm.pdf(x, e)),
    ("(x - eta)**2", "normal", lambda x, e: scipy.stats.norm.pdf(x, e, HALF)),
    ("Abs(x - eta)/3", "laplace", lambda x, e: scipy.stats.laplace.pdf(x, e, 3)),
    ("log(1 + (x - eta)**2)", "cauchy", lambda x, e: scipy.stats.cauchy.pdf(x, e)),
    ("log_cosh(x - eta)", "hyperbolic_secant", lambda x, e: scipy.stats.hypsecant.pdf(x, e)),
    ("relu(x - eta) - Rational(3, 4)*(x - eta)", "asymmetric_laplace", None),
    ("huber_error(x - eta, 2)", "huber", None),
]


def density(record, eta: float):
    """exp(-loss - log Z), which the record claims to be a density, as numbers."""
    (output,) = record.outputs
    expr = sp.exp(-record.loss - record.log_normaliser).subs(output, eta)
    return sp.lambdify(record.variable, spell_out(expr), "numpy")


@pytest.mark.parametrize(("loss", "family", "reference"), NAMED, ids=[n[0] for n in NAMED])
def test_a_likelihood_is_named(loss, family, reference):
    """The named family, normalised: scipy's density, or an integral of 1 and our own loss."""
    record = ld.likelihood_of(loss, ld.Real)
    assert record.is_likelihood
    assert record.family == family
    p = density(record, 0.4)
    x = np.linspace(-3, 4, 15)
    if reference is not None:
        np.testing.assert_allclose(p(x), reference(x, 0.4), rtol=1e-13)
    far = math.inf if family == "cauchy" else 200
    sides = [(-far, -1.6), (-1.6, 0.4), (0.4, 2.4), (2.4, far)]
    assert sum(scipy.integrate.quad(p, *s)[0] for s in sides) == pytest.approx(1, abs=1e-7)
    values = {n: float(v) for n, v in record.given.items()}
    ours = ld.loss(family, constants="keep", reduction="none", **values)
    numbers = ours(torch.full((15,), 0.4, dtype=torch.float64), torch.tensor(x))
    np.testing.assert_allclose(p(x), np.exp(-numbers.numpy()), rtol=1e-12)


def test_binary_cross_entropy_on_bits_and_on_grey_values():
    """On {0, 1} Bernoulli's likelihood; on [0, 1] what is missing is the continuous Bernoulli's."""
    bits = ld.likelihood_of("softplus(eta) - x*eta", ld.Binary)
    assert (bits.is_likelihood, bits.family, bits.missing) == (True, "bernoulli", None)
    grey = ld.likelihood_of("softplus(eta) - x*eta", ld.Unit)
    assert (grey.is_likelihood, grey.family) == (False, "continuous_bernoulli")
    (eta,) = grey.outputs
    for number in (-3.0, 0.7, 5.0):
        twin = torch.distributions.ContinuousBernoulli(logits=torch.tensor(number).double())
        x = torch.tensor(0.3).double()
        bce = torch.nn.functional.binary_cross_entropy_with_logits(twin.logits, x)
        missing = float(spell_out(grey.missing).subs(eta, number))
        assert float(-twin.log_prob(x) - bce) == pytest.approx(missing, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "domain", "why"),
    [
        ("Max(0, 1 - x*eta)", ld.Real, "no finite integral"),
        ("Max(0, 1 - (2*x - 1)*eta)", ld.Binary, "depends on the output"),
        ("log(1 + (x - eta)**2)/2", ld.Real, "no finite integral"),
        ("1 - exp(-(x - eta)**2)", ld.Real, "no finite integral"),
        ("log(x) + x*exp(eta)", ld.Positive, "no finite integral"),
        ("(x - eta)**2", ld.Unit, "depends on the output"),
    ],
)
def test_a_loss_without_likelihood_says_why(loss, domain, why):
    record = ld.likelihood_of(loss, domain)
    assert not record.is_likelihood
    assert record.family is None
    assert record.answer.startswith("None")
    assert why in record.answer


def test_the_normaliser_of_hinge_is_that_of_two_terms():
    record = ld.likelihood_of("Max(0, 1 - (2*x - 1)*eta)", ld.Binary)
    for number in (-2.5, 0.25, 3.0):
        z = math.exp(-max(0, 1 - number)) + math.exp(-max(0, 1 + number))
        said = float(record.missing.subs(record.outputs[0], number))
        assert said == pytest.approx(math.log(z), abs=1e-14)


def test_a_multiple_of_a_likelihood_keeps_its_minimiser():
    record = ld.likelihood_of("3*(softplus(eta) - x*eta)", ld.Binary)
    assert not record.is_likelihood
    assert (record.family, record.temperature) == ("bernoulli", 3)


def test_what_no_output_moves_may_be_missing():
    """Poisson's loss leaves out log x!, without which nothing is finite; it is Poisson's still."""
    record = ld.likelihood_of("exp(eta) - x*eta", ld.Count)
    assert (record.family, record.temperature, record.values) == ("poisson", 1, ())
    whole = ld.likelihood_of("exp(eta) - x*eta + log(factorial(x))", ld.Count)
    assert (whole.is_likelihood, whole.family) == (True, "poisson")
    np.testing.assert_allclose(whole.values, 1, rtol=1e-12)


def test_two_outputs():
    record = ld.likelihood_of("s + (x - m)**2 * exp(-2*s)/2", ld.Real)
    assert (record.is_likelihood, record.family, dict(record.given)) == (True, "normal", {})
    assert {n: str(e) for n, e in record.learned.items()} == {"mu": "m", "sigma": "exp(s)"}


def test_an_unnamed_density_is_one_all_the_same():
    record = ld.likelihood_of("Abs(x - eta) + (x - eta)**2", ld.Real)
    assert record.is_likelihood
    assert record.family is None
    z = scipy.integrate.quad(lambda x: math.exp(-abs(x) - x * x), -12, 12, points=[0])[0]
    assert record.values[0] == pytest.approx(z, rel=1e-9)


@pytest.mark.parametrize("family", ["normal", "gumbel", "exponential"])
def test_there_and_back(family):
    """A family's own derived loss leads back to it."""
    d = ld.derive(family, **({"normal": {"sigma": 1}}.get(family, {})))
    record = ld.likelihood_of(d.loss, d.density.data)
    assert record.family == family
    assert record.is_likelihood


CLASSES = [
    ("logsumexp(eta) - eta[x]", "categorical", 1.0),
    ("2*(logsumexp(eta) - eta[x])", "categorical", 2.0),
    ("logsumexp(eta) - 0.9*eta[x] - 0.1*mean(eta)", "categorical", 0.9),
    ("(1 - softmax(eta)[x])**2", "categorical", None),
]


@pytest.mark.parametrize(("loss", "family", "times"), CLASSES)
def test_a_loss_over_classes(loss, family, times):
    """Its normaliser added up by torch, and the likelihood that is left by torch's softmax."""
    record = ld.likelihood_of(loss, ld.Category)
    assert record.is_likelihood == (times == 1.0)
    assert record.family == family
    assert len(record.check()) == 1
    eta = torch.tensor([0.3, -0.8, 0.45], dtype=torch.float64)
    p, lse = torch.softmax(eta, 0), torch.logsumexp(eta, 0)
    energies = {
        1.0: lse - eta,
        2.0: 2 * (lse - eta),
        0.9: lse - 0.9 * eta - 0.1 * eta.mean(),
        None: (1 - p) ** 2,
    }[times]
    assert record.values[0] == pytest.approx(float(torch.exp(-energies).sum()), rel=1e-12)
    if times is not None:
        by_torch = torch.log_softmax(times * eta, 0)
        torch.testing.assert_close(-energies - torch.logsumexp(-energies, 0), by_torch)
    if times != 1.0:
        assert record.answer.startswith("None: the normaliser Z of exp(-loss) depends")
    assert "| answer |" in record.markdown()


def test_a_false_claim_does_not_pass_its_check():
    for loss, domain in (
        ("softplus(eta) - x*eta", ld.Unit),
        ("logsumexp(eta) - eta[x]", ld.Category),
    ):
        record = ld.likelihood_of(loss, domain)
        assert record.check() == tuple(step.verdict for step in record.steps)
        for k, step in enumerate(record.steps):
            wrong = replace(step, right=step.right + sp.Rational(1, 10**6))
            with pytest.raises(ld.DerivationError, match="false"):
                replace(record, steps=(*record.steps[:k], wrong)).check()


def test_it_reads_well():
    record = ld.likelihood_of("softplus(eta) - x*eta", ld.Unit)
    assert all(len(line) <= 80 for line in record.text().splitlines())
    assert "| answer |" in record.markdown()
    assert set(record._repr_mimebundle_()) == {"text/plain", "text/markdown"}
    with pytest.raises(AttributeError):
        record.family = "normal"


@pytest.mark.parametrize(
    ("loss", "domain", "target", "says"),
    [
        ("(y - eta)**2", ld.Real, "x", "target='?x'?|no target 'x'"),
        ("x**2", ld.Real, "x", "0 raw outputs"),
        ("(x - eta", ld.Real, "x", "cannot be read"),
        ("log(eta) + x", ld.NonNegative, "x", "not a real number"),
        (3, ld.Real, "x", "not int"),
        ("x - eta", ld.Category, "x", "one vector of raw outputs"),
        ("logsumexp(eta) - eta[x] + b", ld.Category, "x", "other symbols"),
        ("log(eta[x])", ld.Category, "x", "no real number"),
        ("logsumexp(eta) - eta[x", ld.Category, "x", "cannot be read"),
        ("(x - eta)**2", ld.Simplex, "x", "Simplex"),
    ],
)
def test_bad_losses_are_refused(loss, domain, target, says):
    with pytest.raises(ld.LossDerivError, match=says):
        ld.likelihood_of(loss, domain, target)


def test_symbolic_totals_never_hang(monkeypatch):
    """An integral that SymPy cannot do in time is ``None``, and quadrature answers."""
    x = sp.Symbol("x", positive=True)
    monkeypatch.setattr(totals, "SECONDS", 0.05)
    start = time.monotonic()
    assert symbolic_total((sp.exp(-x - x**7 * sp.cos(x)),), x, sp.Integer(0), sp.oo) is None
    assert time.monotonic() - start < 20


def test_tails_are_told_by_their_powers():
    """A weight of power p has a finite integral far out for p < -1, near an end for p > -1."""
    for power, finite in ((-0.5, False), (-1.0, False), (-1.1, True), (-3.0, True)):
        far = divergence(lambda u, p=power: p * totals.mp.log(1 + abs(u)), ld.Real)
        assert (far is None) is finite
    for power, finite in ((-1.5, False), (-1.0, False), (-0.9, True), (2.0, True)):
        near = divergence(lambda u, p=power: p * totals.mp.log(u), ld.Unit)
        assert (near is None) is finite


def test_numeric_totals_against_scipy():
    from_mpmath = numeric_total(lambda v: totals.mp.exp(-abs(v - 0.3)), ld.Real, [0.3])
    assert float(from_mpmath) == pytest.approx(2, rel=1e-15)
    counts = numeric_total(lambda v: totals.mp.mpf("0.7") ** v, ld.Count)
    assert float(counts) == pytest.approx(1 / 0.3, rel=1e-14)
