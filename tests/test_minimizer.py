"""What ``minimizer`` says, found again by ``scipy.optimize`` on the generated torch loss."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import scipy.optimize
import sympy as sp
import torch
from drawing import given, targets
from test_exponential_family import CASES, name

import lossderiv as ld
from lossderiv.errors import DerivationError
from lossderiv.insight.averages import Average, Median, Quantile, over_sample
from lossderiv.insight.minimizer import _Problem
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out

each = pytest.mark.parametrize("case", CASES, ids=name)


@cache
def _found(family: str, fixed: tuple) -> ld.Minimizer:
    return ld.minimizer(family, **dict(fixed))


def found(case) -> ld.Minimizer:
    return _found(case[0], tuple(case[1].items()))


def is_scalar(m) -> bool:
    d = m.derivation
    everything = (d.density.variable, *d.context.outputs)
    return all(d.context.domains[s].shape == "scalar" for s in everything)


def sample_of(m, size: int = 9) -> torch.Tensor:
    d = m.derivation
    generator = torch.Generator().manual_seed(7)
    x = targets(d.density.data.bounded(d.fixed), (size,), generator)
    return x.abs() + 0.5 if d.nll.has(inside) else x  # in the support of the values tried below


def mean_loss(m, x: torch.Tensor):
    """The exact mean NLL of a sample as a function of the raw outputs, by the torch loss."""
    loss = ld.loss(m.derivation, reduction="mean", constants="keep", validate=False)

    def at(etas) -> float:
        value = loss(tuple(torch.full_like(x, float(e)) for e in etas), x)
        return float(value) if torch.isfinite(value) else 1e9  # outside the support

    return at


def raw(m, values: dict) -> list[float]:
    """Raw outputs whose parameters are ``values``, by bisection of each inverse link."""
    d, etas = m.derivation, []
    for n, output in zip(d.links, d.context.outputs, strict=True):
        theta = sp.lambdify(output, spell_out(d.links[n].inverse(output)), "numpy")
        etas.append(
            scipy.optimize.brentq(lambda t, f=theta, v=values[n]: f(t) - v, -60, 60, xtol=1e-13)
        )
    return etas


@each
def test_it_answers(case):
    m = found(case)
    assert set(m.profile) == set(m.derivation.links)
    assert set(m.constants) <= set(m.profile)
    for optimum in m.profile.values():
        assert (optimum.formula is None) == ("no " in optimum.why)
        assert bool(optimum.verdict) == (optimum.formula is not None or "flat" in optimum.why)
    assert case[0] in m.text()
    assert "|" in m.markdown()


@each
def test_no_constants_are_better(case):
    """Nelder and Mead, from the found constants and from elsewhere, finds nothing lower."""
    m = found(case)
    if set(m.constants) != set(m.profile) or not is_scalar(m):
        return
    x = sample_of(m)
    at, best = mean_loss(m, x), raw(m, m.at(x.tolist()))
    lowest = min(
        at([b + d for b in best]) for d in (-1e-10, 0, 1e-10)
    )  # an edge is a rounding away
    assert lowest < 1e8
    found_elsewhere = []
    for start in (np.zeros(len(best)), np.array(best) + 0.5, np.array(best) - 0.5):
        options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 3000}
        other = scipy.optimize.minimize(at, start, method="Nelder-Mead", options=options)
        found_elsewhere.append(other.fun)
    assert min(found_elsewhere) >= lowest - 2e-10
    assert min(found_elsewhere) == pytest.approx(lowest, abs=1e-7)


@each
def test_no_value_is_better_when_the_others_are_given(case):
    m = found(case)
    if not is_scalar(m):
        return
    if all(optimum.formula is None for optimum in m.profile.values()):
        return
    d, x = m.derivation, sample_of(m)
    at = mean_loss(m, x)
    values = {n: float(d.density.parameters[n].typical[1]) for n in d.links}
    for n, optimum in m.profile.items():
        if optimum.formula is None:
            continue
        others = {k: v for k, v in values.items() if k != n}
        best = m.at(x.tolist(), **others)[n] if others else m.at(x.tolist())[n]
        place = list(d.links).index(n)
        etas = raw(m, {**others, n: best})

        def along(t: float, etas=etas, place=place) -> float:
            return at([*etas[:place], t, *etas[place + 1 :]])

        lowest = along(etas[place])
        if "support" not in optimum.why:
            around = np.linspace(etas[place] - 3, etas[place] + 3, 1201)
            assert min(map(along, around)) >= lowest - 1e-10
            assert min(along(etas[place] - 0.05), along(etas[place] + 0.05)) >= lowest
        else:
            outside, within = sorted((1e-9, -1e-9), key=lambda t: -along(etas[place] + t))
            assert along(etas[place] + outside) > 1e8
            assert along(etas[place] + 1e8 * within) > along(etas[place] + within)


def test_textbook_answers():
    x = ld.minimizer("normal").derivation.density.variable
    assert ld.minimizer("normal").constants["mu"] == Average(x)
    assert ld.minimizer("laplace").constants["mu"] == Median(x)
    pinball = ld.minimizer("asymmetric_laplace", tau=0.9).constants["mu"]
    assert pinball.func is Quantile
    assert pinball.args[1] == sp.Rational(9, 10)
    assert ld.minimizer("log_normal").constants["mu"].args[0].func == sp.log
    for family in ("cauchy", "student_t", "logistic", "hyperbolic_secant", "huber"):
        assert "mu" not in ld.minimizer(family, **given(family)).constants


def test_the_widths_of_the_sigma_vae():
    """Adam on one width, the means being a decoder's own for each pixel, ends at the formula."""
    generator = torch.Generator().manual_seed(2)
    mu, x = torch.randn((2, 50), generator=generator, dtype=torch.float64)
    for family, width, residual in (
        ("normal", "sigma", ((x - mu) ** 2).mean().sqrt()),
        ("laplace", "b", (x - mu).abs().mean()),
    ):
        profile = ld.minimizer(family).profile[width].formula
        letters = {s.name for s in profile.free_symbols}
        assert letters == {"x", "mu"}
        eta = torch.zeros((), dtype=torch.float64, requires_grad=True)
        loss = ld.loss(family)
        descent = torch.optim.LBFGS(
            [eta], line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-16
        )

        def closure(eta=eta, loss=loss, descent=descent):
            descent.zero_grad()
            value = loss((mu, eta.expand(50)), x)
            value.backward()
            return value

        for _ in range(5):
            descent.step(closure)
        assert torch.exp(eta).item() == pytest.approx(residual.item(), rel=1e-7)
        pairs = [{"x": a, "mu": b} for a, b in zip(x.tolist(), mu.tolist(), strict=True)]
        body = sp.lambdify(("x", "mu"), next(iter(profile.atoms(Average))).args[0], "numpy")
        average = np.mean([body(**pair) for pair in pairs])
        (whole,) = profile.atoms(Average)
        assert float(profile.xreplace({whole: sp.Float(average)})) == pytest.approx(residual.item())


def test_categorical_frequencies():
    m = ld.minimizer("categorical")
    (formula,) = m.constants.values()
    assert isinstance(formula, Average)
    assert isinstance(formula.args[0], sp.KroneckerDelta)
    x = torch.tensor([0, 2, 2, 1, 2])
    best = torch.bincount(x) / len(x)
    loss = ld.loss("categorical")
    lowest = loss(torch.log(best).expand(5, 3), x)
    generator = torch.Generator().manual_seed(0)
    others = [
        loss((torch.log(best) + torch.randn(3, generator=generator)).expand(5, 3), x)
        for _ in range(50)
    ]
    assert min(others) > lowest


@each
def test_each_optimum_is_checked_again(case):
    m = found(case)
    known = [o for o in m.profile.values() if o.formula is not None]
    assert len(m.check()) >= len(known)


def test_a_false_optimum_does_not_pass_its_check():
    """At a zero of the slope, at a corner and at an edge."""
    for family, which in (("poisson", "rate"), ("laplace", "mu"), ("pareto", "scale")):
        m = ld.minimizer(family)
        worse = replace(m.profile[which], formula=m.profile[which].formula * sp.Rational(9, 10))
        with pytest.raises(DerivationError, match=f"best {which} of {family}"):
            replace(m, profile={**m.profile, which: worse}).check()


def test_where_a_loss_is_flat_any_value_is_as_good():
    """Uniform with its width given: all ends from max(x) - width to min(x), none beyond."""
    m = ld.minimizer("uniform")
    assert m.profile["low"].why.endswith("the loss is flat from max(x - width) to min(x)")
    at = mean_loss(ld.minimizer("uniform", width=4), torch.tensor([1.0, 2.5, 4.0]).double())
    inside_ = [at([low]) for low in (1e-9, 0.3, 0.999)]
    assert inside_ == pytest.approx([np.log(4)] * 3, abs=1e-12)
    assert min(at([-0.01]), at([1.01])) > 1e8
    assert m.at([1.0, 2.5, 4.0], low=0.5) == {"width": 3.5}


@pytest.mark.parametrize(
    "family",
    [
        f
        for f in ld.families()
        if f in ("categorical", "multinomial", "multivariate_normal_diagonal")
    ],
)
def test_constants_of_vectors(family):
    """Each entry's formula, put into the torch loss: no other constants are better."""
    from lossderiv.symbolic.vectors import ENTRY

    m = ld.minimizer(family, **given(family))
    assert set(m.constants) == set(m.derivation.links)
    d = m.derivation
    x = targets(d.density.data.bounded(d.fixed), (40,), torch.Generator().manual_seed(3))
    loss = ld.loss(d, reduction="mean", validate=False)
    best = []
    for parameter, formula in m.constants.items():
        rows = torch.nn.functional.one_hot(x, 5).double() if x.dim() == 1 else x
        entries = [_in_numbers(formula, d, rows[:, k].tolist(), ENTRY) for k in range(5)]
        theta = torch.tensor(entries).double()
        best.append(theta if d.links[parameter].name == "identity" else theta.log())
    at = lambda outputs: float(loss(tuple(o.expand(40, 5) for o in outputs), x))  # noqa: E731
    lowest = at(best)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 0.03, 0.5):
        for _ in range(20):
            moved = [o + size * torch.randn(5, generator=generator).double() for o in best]
            assert at(moved) >= lowest - 1e-12


def _in_numbers(formula, d, column: list[float], entry) -> float:
    """A formula of one entry at its own column of the data."""
    v = sp.Symbol("v", real=True)
    x = d.density.variable
    own = sp.KroneckerDelta(x, entry) if isinstance(x, sp.Symbol) else x[entry]
    return float(over_sample(formula.xreplace({own: v}), v, column, {}))


def test_a_false_root_is_refused():
    d = ld.derive("poisson")
    rate = d.density.symbols["rate"]
    problem = _Problem(d)
    good = problem.profile(rate)
    with pytest.raises(DerivationError, match="best rate of poisson"):
        problem._checked(rate, good.equation, 2 * good.formula, good.curvature)
    with pytest.raises(DerivationError, match="best rate of poisson"):
        problem._checked(rate, good.equation, good.formula, -good.curvature)


def test_the_comparison_with_scipy_can_fail():
    m = ld.minimizer("exponential")
    x = sample_of(m)
    at = mean_loss(m, x)
    worse = at(raw(m, {"rate": 1.01 * m.at(x.tolist())["rate"]}))
    other = scipy.optimize.minimize(at, [0.0], method="Nelder-Mead", options={"fatol": 1e-13})
    assert other.fun < worse - 1e-6


def test_quantiles_of_a_sample():
    x = sp.Symbol("x", real=True)
    assert over_sample(Median(x), x, [3, 1, 2, 10], {}) == 2.5
    assert over_sample(Quantile(x, sp.Rational(9, 10)), x, list(range(20)), {}) == 17.5
    assert over_sample(Quantile(x, sp.Rational(1, 10)), x, [5, 7, 9], {}) == 5


def test_a_record_does_not_change():
    m = ld.minimizer("poisson")
    with pytest.raises(AttributeError):
        m.profile = {}
    assert replace(m, constants={}).constants == {}
