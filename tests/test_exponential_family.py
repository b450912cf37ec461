"""What ``exponential_family`` says, found again by quadrature, singular values and autograd."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
import scipy.integrate
import sympy as sp
import torch
from drawing import density, given, inputs, targets

import lossderiv as ld
from lossderiv.domains import Angle
from lossderiv.errors import DerivationError
from lossderiv.insight.exponential import omega_symbols
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out


def cases() -> list[tuple[str, dict]]:
    """Every family, and each of its learned scalar parameters fixed in turn."""
    found = []
    for family in ld.families():
        always, domains = given(family), density(family).parameters
        learned = [n for n in domains if n not in always]
        scalar = [n for n in learned if domains[n].shape == "scalar"] if len(learned) > 1 else []
        found += [
            (family, always),
            *((family, {**always, n: domains[n].typical[1]}) for n in scalar),
        ]
    return found


def name(case) -> str:
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


CASES = cases()
each = pytest.mark.parametrize("case", CASES, ids=name)


@cache
def _found(family: str, fixed: tuple) -> ld.ExponentialFamily:
    return ld.exponential_family(family, **dict(fixed))


def found(case) -> ld.ExponentialFamily:
    return _found(case[0], tuple(case[1].items()))


def is_scalar(e) -> bool:
    d = e.derivation
    return all(
        d.context.domains[s].shape == "scalar" for s in (d.density.variable, *d.context.outputs)
    )


@each
def test_it_answers_and_its_steps_hold(case):
    e = found(case)
    assert e.answer in ("yes", "no", "not found")
    assert bool(e) == (e.answer == "yes") == bool(e.steps)
    assert set(e.check()) <= {"proven", "checked"}
    assert case[0] in e.text()
    assert max(map(len, e.text().splitlines())) <= 100
    assert e.markdown().count("\n") >= 2


def table_of_likelihoods(d, size: int = 9) -> np.ndarray:
    """``log p`` in float64 at ``size`` targets and parameters, less the first row and column."""
    generator = torch.Generator().manual_seed(3)
    x = targets(d.density.data.bounded(d.fixed), (400,), generator).unique()
    x = x[torch.linspace(0, len(x) - 1, min(size, len(x))).long()].numpy()
    etas = 0.7 * torch.randn((size, len(d.outputs)), generator=generator, dtype=torch.float64)
    log_p = sp.lambdify((d.density.variable, *d.context.outputs), in_outputs(d, -d.nll), NUMBERS)
    table = np.stack([log_p(x, *eta) * np.ones(len(x)) for eta in etas.numpy()])
    table = (table - table[0] - table[:, :1] + table[0, 0])[1:, 1:]
    table /= np.linalg.norm(table, axis=1, keepdims=True)  # which leaves the rank alone
    return table / np.linalg.norm(table, axis=0)


def in_outputs(d, formula: sp.Expr) -> sp.Expr:
    """A formula in the parameters, in the raw outputs."""
    theta = {d.density.symbols[n]: f for n, f in d.theta.items()}
    return spell_out(spell_out(formula).xreplace(theta))


NUMBERS = ["scipy", "numpy"]


@each
def test_as_many_statistics_as_the_table_of_likelihoods_has_rank(case):
    """By numpy's singular values: k for a yes, at least two more than parameters for a no.

    Or as many as the outcomes allow: four outcomes have a table of rank 3 at most.
    """
    e = found(case)
    d = e.derivation
    if not is_scalar(e) or d.nll.has(inside):
        return  # the log of a density is not a number everywhere
    values = np.linalg.svd(table_of_likelihoods(d), compute_uv=False)
    rank = int((values > 1e-12 * values[0]).sum())
    if e:
        assert rank == len(e.natural)
    else:
        data = d.density.data.bounded(d.fixed)
        assert rank >= min(len(d.outputs) + 2, data.high - data.low if data.integer else math.inf)


def points_of(e) -> list[dict]:
    d = e.derivation
    domains = {d.density.symbols[n]: d.density.parameters[n] for n in d.links}
    return [
        {s: v.typical[(k + 2 * n + 2) % len(v.typical)] for n, (s, v) in enumerate(domains.items())}
        for k in range(2)
    ]


def expectation(e, formula: sp.Expr, point: dict) -> float:
    """``E formula(x)`` under the density, by adaptive quadrature or by summing up."""
    d = e.derivation
    x, data = d.density.variable, d.density.data.bounded(d.fixed)
    values = {**point, **{d.density.symbols[n]: v for n, v in d.fixed.items()}}
    weight = sp.lambdify(x, spell_out(d.density.formula).xreplace(values), NUMBERS)
    value = sp.lambdify(x, spell_out(formula).xreplace(values), NUMBERS)
    if data.integer:
        total, k = 0.0, int(data.low)
        while k <= data.high:
            w = float(weight(k))
            total, k = total + w * float(value(k)), k + 1
            if k > 60 and w < 1e-17:
                break
        return total
    if data.low == 0 and data.high == 1:  # an end may be a spike: s^n away from it, s is tame
        s, n = sp.Symbol("s", positive=True), 4 if d.density.name == "kumaraswamy" else 16
        halves = [mass_and_value(d, formula, values, x, end) for end in (s**n, 1 - s**n)]
        return sum(
            scipy.integrate.quad(f, 0, 0.5 ** (1 / n), limit=300, epsabs=1e-9, epsrel=1e-8)[0]
            for f in halves
        )
    low, high = data.low, data.high
    cuts = [
        c for c in (*map(float, values.values()), -4, -1, 0, 0.05, 0.3, 1, 4, 20) if low < c < high
    ]
    ends = [low, *sorted(set(cuts)), high]

    def integrand(at: float) -> float:
        with np.errstate(over="ignore"):  # an infinite exponent is a density of zero
            w = float(weight(np.float64(at)))
        return w * float(value(np.float64(at))) if w > 0 else 0.0

    return sum(
        scipy.integrate.quad(integrand, a, b, limit=300, epsabs=1e-10, epsrel=1e-9)[0]
        for a, b in pairwise(ends)
    )


def mass_and_value(d, formula, values, x, inner):
    """The integrand of ``E formula(x)`` in a variable in which ``x`` is ``inner``."""
    (s,) = inner.free_symbols
    whole = spell_out(d.density.formula * formula).xreplace(values).xreplace({x: inner})
    return sp.lambdify(s, whole * abs(inner.diff(s)), NUMBERS)


@pytest.mark.parametrize("family", [f for f, fixed in CASES if fixed == given(f)])
def test_the_parts_put_together_are_the_density(family):
    """``log h + omega T - A`` against the exact likelihood of the generated torch loss."""
    e = found((family, given(family)))
    if not e or not is_scalar(e):
        return
    d = e.derivation
    outputs, x = inputs(d, shape=(5,))
    exact = ld.loss(d, reduction="none", constants="keep", validate=False)(outputs, x)
    product = sum(f * t for f, t in zip(e.natural, e.statistic, strict=True))
    said = in_outputs(d, sp.log(e.base_measure) + product - e.log_partition)
    for k in range(5):
        at = {o: v[k].item() for o, v in zip(d.context.outputs, outputs, strict=True)}
        at[d.density.variable] = x[k].item()
        number = complex(sp.sympify(said).xreplace(at).evalf())
        assert number.imag == pytest.approx(0, abs=1e-12)
        assert number.real == pytest.approx(-exact[k].item(), rel=1e-8, abs=1e-9)


@each
def test_the_slope_of_the_log_partition_is_the_mean(case):
    """In the natural parameters, by differences; and the canonical link leads back."""
    e = found(case)
    if e.natural_log_partition is None or e.mean is None or not is_scalar(e):
        return
    omegas = omega_symbols(len(e.natural))
    partition = sp.lambdify(omegas, spell_out(e.natural_log_partition), "mpmath")
    symbols = e.derivation.density.symbols
    for point in points_of(e):
        values = [mp.mpf(sp.N(spell_out(f).xreplace(point), 30)) for f in e.natural]
        back = dict(zip(omegas, map(sp.Float, values), strict=True))
        for name, link in e.canonical_link.items():
            assert float(spell_out(link).xreplace(back)) == pytest.approx(point[symbols[name]])
        for k, mean in enumerate(e.mean):
            with mp.workdps(30):
                order = tuple(int(n == k) for n in range(len(omegas)))
                slope = mp.diff(partition, tuple(values), order)
            assert float(sp.sympify(spell_out(mean).xreplace(point))) == pytest.approx(
                float(mp.re(slope)), rel=1e-8
            )


@each
def test_the_means_of_the_statistics_are_their_integrals(case):
    e = found(case)
    if e and is_scalar(e) and len(e.natural) == len(e.derivation.links):
        assert e.mean is not None
    if e.mean is None or not is_scalar(e):
        return
    for point in points_of(e):
        for mean, statistic in zip(e.mean, e.statistic, strict=True):
            said = float(sp.sympify(spell_out(mean).xreplace(point)))
            assert said == pytest.approx(expectation(e, statistic, point), rel=2e-7, abs=2e-8)


@each
def test_the_gradient_is_the_mean_minus_the_statistic(case):
    """Finite differences of ``-log p`` at 30 digits against ``(E T - T) d omega / d eta``."""
    e = found(case)
    if e.mean is None or not is_scalar(e):
        return
    d = e.derivation
    x, outputs = d.density.variable, d.context.outputs
    fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    loss = sp.lambdify(
        (x, *outputs), in_outputs(d, -sp.log(d.density.formula.xreplace(fixed))), "mpmath"
    )
    for k, point in enumerate(e.derivation.density.data.bounded(d.fixed).typical):
        etas = [(-0.4, 0.7, 0.2)[(k + n) % 3] for n in range(len(outputs))]
        at = dict(zip((x, *outputs), (point, *etas), strict=True))
        for n, output in enumerate(outputs):
            said = sum(
                in_outputs(d, m - t) * in_outputs(d, f).diff(output)
                for f, m, t in zip(e.natural, e.mean, e.statistic, strict=True)
            )
            with mp.workdps(30):
                order = tuple(int(m == n + 1) for m in range(len(outputs) + 1))
                found_ = mp.diff(loss, (mp.mpf(point), *map(mp.mpf, etas)), order)
            assert float(sp.sympify(said).xreplace(at)) == pytest.approx(
                float(found_), rel=1e-9, abs=1e-9
            )


@pytest.mark.parametrize("family", [f for f, fixed in CASES if fixed == given(f)])
def test_autograd_finds_the_mean_minus_the_statistic(family):
    """Through the generated torch loss, whatever way it computes."""
    e = found((family, given(family)))
    if e.mean is None or not is_scalar(e):
        return
    d = e.derivation
    outputs, x = inputs(d, shape=(5,))
    outputs = tuple(o.requires_grad_() for o in outputs)
    slopes = torch.autograd.grad(ld.loss(d, reduction="sum", validate=False)(outputs, x), outputs)
    for output, slope in zip(d.context.outputs, slopes, strict=True):
        said = sum(
            in_outputs(d, m - t) * in_outputs(d, f).diff(output)
            for f, m, t in zip(e.natural, e.mean, e.statistic, strict=True)
        )
        for k in range(5):
            at = {o: v[k].item() for o, v in zip(d.context.outputs, outputs, strict=True)}
            at[d.density.variable] = x[k].item()
            assert float(sp.sympify(said).xreplace(at)) == pytest.approx(
                slope[k].item(), rel=1e-8, abs=1e-9
            )


def test_categorical_is_the_vector_case():
    e = ld.exponential_family("categorical")
    p = e.derivation.density.symbols["p"]
    assert e.canonical
    (omega,), (statistic,), (mean,) = e.natural, e.statistic, e.mean
    assert omega.func == sp.log
    assert omega.args[0].base == p
    assert mean.base == p
    assert isinstance(statistic, sp.KroneckerDelta)
    outputs, x = inputs(e.derivation)
    (eta,) = outputs
    eta.requires_grad_()
    (slope,) = torch.autograd.grad(ld.loss("categorical", reduction="sum")(eta, x), eta)
    onehot = torch.nn.functional.one_hot(x, eta.shape[-1])
    torch.testing.assert_close(slope, torch.softmax(eta, -1) - onehot)


def test_vectors_of_data():
    """Dirichlet and multinomial (Bishop 2006, section 2.4): digamma means, and counts."""
    e = ld.exponential_family("dirichlet")
    alpha = e.derivation.density.symbols["alpha"]
    assert [omega.base for omega in e.natural] == [alpha]
    assert e.statistic[0].func == sp.log
    assert e.mean[0].has(sp.polygamma)
    m = ld.exponential_family("multinomial", n=3)
    assert m
    assert m.canonical
    normal = ld.exponential_family("multivariate_normal_diagonal")
    assert len(normal.natural) == 2
    for record in (e, m, normal):
        assert record.check()


CANONICAL = {"bernoulli", "binomial", "poisson", "categorical", "continuous_bernoulli"}


def test_textbook_answers():
    """The families that textbooks name (Bishop 2006, section 2.4), and those that they rule out."""
    for family in ("normal", "bernoulli", "gamma", "poisson", "inverse_gaussian", "von_mises"):
        assert ld.exponential_family(family), family
    for family in ("student_t", "cauchy", "logistic", "gumbel", "laplace", "uniform", "weibull"):
        assert ld.exponential_family(family, **given(family)).answer == "no", family
    for family in CANONICAL:
        assert ld.exponential_family(family, **given(family)).canonical, family
    assert not ld.exponential_family("exponential").canonical
    assert ld.exponential_family("normal", sigma=1).canonical
    assert ld.exponential_family("laplace", mu=0)
    assert ld.exponential_family("weibull", concentration=2)


def test_a_density_of_ones_own():
    @ld.density
    def rayleigh(x: ld.Positive, s: ld.Positive):
        """Length of a vector with two normal entries."""
        return x / s**2 * sp.exp(-(x**2) / (2 * s**2))

    e = ld.exponential_family(rayleigh)
    x, s = e.derivation.density.variable, e.derivation.density.symbols["s"]
    assert e.statistic == (x**2,)
    assert e.mean == (2 * s**2,)


def test_the_centred_table_sees_one_statistic_too_few():
    """The rank test can fail: the normal density's second statistic shows."""
    e = found(("normal", {}))
    values = np.linalg.svd(table_of_likelihoods(e.derivation), compute_uv=False)
    assert (values > 1e-12 * values[0]).sum() == 2


def test_a_false_claim_is_refused():
    from dataclasses import replace

    e = ld.exponential_family("bernoulli")
    (good, *_) = [s for s in e.steps if "slope" in s.rule]
    bad = replace(e, steps=(replace(good, after=good.after * 2),))
    with pytest.raises(DerivationError, match="mean minus statistic"):
        bad.check()


def test_an_angle_is_a_vector_in_disguise():
    e = ld.exponential_family("von_mises")
    assert e.derivation.density.data is Angle
    assert {t.func for t in e.statistic} == {sp.cos, sp.sin}
