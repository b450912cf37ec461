"""What ``fisher``, ``hessian`` and ``tail`` say, found again by draws, autograd and differences.

Drawn numbers: a true information lies within 7 standard errors of its estimate but for about one
run in 10^11 for each entry; seeds are fixed.
"""

from __future__ import annotations

import math
import re
from functools import cache

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch
from drawing import given, inputs
from test_exponential_family import CASES, name

import lossderiv as ld
from lossderiv.errors import DerivationError, ParameterError
from lossderiv.insight.fisher import recognised
from lossderiv.symbolic.functions import spell_out

FAMILIES = ld.families()
SCALAR = [
    f
    for f in FAMILIES
    if all(
        ld.derive(f, **given(f)).context.domains[s].shape == "scalar"
        for s in (
            ld.derive(f, **given(f)).density.variable,
            *ld.derive(f, **given(f)).context.outputs,
        )
    )
]
each_family = pytest.mark.parametrize("family", FAMILIES)
each = pytest.mark.parametrize("family", SCALAR)


@cache
def derived(family: str):
    return ld.derive(family, **given(family))


@cache
def fisher(family: str):
    return ld.fisher(derived(family))


@cache
def hessian(family: str):
    return ld.hessian(derived(family))


@cache
def tail(family: str):
    return ld.tail(derived(family))


def slopes(d, etas, x: torch.Tensor) -> torch.Tensor:
    """Gradients of the torch loss, one row for each output."""
    outputs = tuple(torch.full_like(x, float(e)).requires_grad_() for e in etas)
    loss = ld.loss(d, reduction="sum", validate=False)(outputs, x)
    return torch.stack(torch.autograd.grad(loss, outputs))


@each_family
def test_nothing_is_left_undecided(family):
    """Each family's loss, as it is derived by default, is shown to be convex or shown not to be."""
    h, t = hessian(family), tail(family)
    assert {h.in_theta.answer, h.in_eta.answer} <= {"convex", "not convex"}
    assert "not decided" not in t.kinds.values()


@each_family
def test_they_answer(family):
    for record in (fisher(family), hessian(family), tail(family)):
        assert family in record.text()
        assert "|" in record.markdown()
    assert set(tail(family).kinds) == set(derived(family).outputs)
    words = {"convex", "not convex", "not decided"}
    assert {hessian(family).in_theta.answer, hessian(family).in_eta.answer} <= words


ETAS = (0.3, 1.2, 1.6)  # no spikes at the ends of (0, 1), where draws round to an end


def information(f, etas) -> np.ndarray:
    """The closed form in the raw outputs, or the integral in the parameters brought there."""
    d = f.derivation
    at = dict(zip(d.context.outputs, etas, strict=True))
    if f.eta is not None:
        return np.array([[float(sp.sympify(spell_out(e)).xreplace(at)) for e in r] for r in f.eta])
    theta = {n: spell_out(e).xreplace(at) for n, e in d.theta.items()}
    turn = [
        float(spell_out(e.diff(o)).xreplace(at))
        for e, o in zip(d.theta.values(), d.context.outputs, strict=True)
    ]
    return np.array(f.at(**{n: float(v) for n, v in theta.items()})) * np.outer(turn, turn)


@each
def test_fisher_is_the_mean_square_of_drawn_slopes(family):
    f, d = fisher(family), derived(family)
    if not f.exists:
        with pytest.raises(ParameterError, match="cannot be integrated"):
            f.at(**dict.fromkeys(d.links, 0.5))
        return
    etas = ETAS[: len(d.outputs)]
    said = information(f, etas)
    count = 60000
    outputs = tuple(torch.full((count,), e, dtype=torch.float64) for e in etas)
    x = ld.loss(d).sample(outputs, generator=torch.Generator().manual_seed(11)).double()
    g = slopes(d, etas, x)
    for i in range(len(etas)):
        for j in range(len(etas)):
            products = g[i] * g[j]
            error = products.std().item() / math.sqrt(count)
            assert abs(products.mean().item() - said[i, j]) <= 7 * error + 1e-12


@each_family
def test_each_information_is_checked_again(family):
    f = fisher(family)
    assert bool(f.check()) == (f.theta is not None or f.eta is not None)


@each_family
def test_each_curvature_and_each_tail_is_checked_again(family):
    assert hessian(family).check()
    t = tail(family)
    assert len(t.check()) == sum(map(len, t.ends.values()))


def test_a_false_curvature_does_not_pass_its_check():
    from dataclasses import replace

    from lossderiv.insight.curvature import Convexity

    for family in ("poisson", "categorical"):
        h = hessian(family)
        with pytest.raises(DerivationError, match="second derivative"):
            replace(h, eta=((2 * h.eta[0][0],),)).check()
    with pytest.raises(DerivationError, match="said to be convex"):
        replace(hessian("cauchy"), in_theta=Convexity("convex", "so it was said")).check()
    for family in ("cauchy", "uniform"):
        h = hessian(family)
        point = dict(h.in_eta.point) | {h.derivation.density.variable: sp.Rational(1, 3)}
        at = dict.fromkeys(h.derivation.context.outputs, sp.Rational(1, 4))
        with pytest.raises(DerivationError, match="is none"):
            replace(h, in_eta=replace(h.in_eta, point=point | at)).check()


def test_a_false_tail_does_not_pass_its_check():
    from dataclasses import replace

    t = tail("laplace")
    end = replace(t.ends["eta_mu"][0], kind="redescending")
    with pytest.raises(DerivationError, match="towards -inf"):
        replace(t, ends=dict(t.ends) | {"eta_mu": (end, t.ends["eta_mu"][1])}).check()


def test_a_false_information_does_not_pass_its_check():
    from dataclasses import replace

    for family in ("poisson", "categorical", "dirichlet"):
        f = fisher(family)
        name = "eta" if f.theta is None else "theta"
        wrong = ((2 * getattr(f, name)[0][0],),)
        with pytest.raises(DerivationError):
            replace(f, **{name: wrong}).check()


CLOSED = {
    "normal": lambda s: [[1 / s**2, 0], [0, 2 / s**2]],
    "laplace": lambda s: [[1 / s**2, 0], [0, 1 / s**2]],
    "logistic": lambda s: [[1 / (3 * s**2), 0], [0, (sp.pi**2 + 3) / (9 * s**2)]],
    "cauchy": lambda s: [[1 / (2 * s**2), 0], [0, 1 / (2 * s**2)]],
}


@pytest.mark.parametrize("family", CLOSED)
def test_textbook_informations(family):
    """Lehmann and Casella (1998), table 2.5.1, and by hand."""
    f = fisher(family)
    scale = list(f.derivation.density.symbols.values())[1]
    difference = sp.Matrix(f.theta) - sp.Matrix(CLOSED[family](scale))
    assert difference.applyfunc(sp.expand).is_zero_matrix


def test_numbers_are_recognised_only_when_they_agree():
    with mp.workdps(40):
        assert recognised(mp.pi**2 / 9 + mp.mpf(1) / 3) == sp.pi**2 / 9 + sp.Rational(1, 3)
        assert recognised(mp.sqrt(2)) is None


def differences(d, etas, x: float) -> np.ndarray:
    """The Hessian by central differences of autograd's gradient."""
    h, target = 1e-5, torch.tensor([x], dtype=torch.float64)
    columns = []
    for k in range(len(etas)):
        up, down = np.array(etas, float), np.array(etas, float)
        up[k], down[k] = up[k] + h, down[k] - h
        column = (slopes(d, up, target) - slopes(d, down, target)) / (2 * h)
        columns.append(column[:, 0].numpy())
    return np.array(columns)


@each
def test_second_derivatives_are_differences_of_autograds(family):
    h, d = hessian(family), derived(family)
    _, x = inputs(d, shape=(4,))
    etas = (0.31, -0.23, 0.57)[: len(d.outputs)]
    for target in x.tolist():
        at = {**dict(zip(d.context.outputs, etas, strict=True)), d.density.variable: target}
        at |= {d.density.symbols[n]: v for n, v in d.fixed.items()}
        said = [[float(sp.sympify(spell_out(e)).xreplace(at)) for e in row] for row in h.eta]
        np.testing.assert_allclose(differences(d, etas, target), said, rtol=2e-5, atol=2e-6)


@each
def test_a_convex_loss_lies_below_its_chords(family):
    h, d = hessian(family), derived(family)
    if not h.in_eta:
        return
    _, x = inputs(d, shape=(300,))
    loss = ld.loss(d, reduction="none", validate=False)
    generator = torch.Generator().manual_seed(4)
    a, b = 3 * torch.randn((2, len(d.outputs), 300), generator=generator, dtype=torch.float64)
    middle = loss(tuple((a + b) / 2), x)
    chord = (loss(tuple(a), x) + loss(tuple(b), x)) / 2
    assert (middle <= chord + 1e-9 * (1 + chord.abs())).all()


@each
def test_convexity_in_the_parameters(family):
    """Chords of ``-log p`` for a yes; for a no, its second derivatives by differences."""
    h, d = hessian(family), derived(family)
    x, thetas = d.density.variable, [d.density.symbols[n] for n in d.links]
    fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    formula = spell_out(d.nll.xreplace(fixed)).doit()
    letters = {s: sp.Dummy() for s in (x, *thetas)}  # a beta stands beside the function beta
    nll = sp.lambdify(list(letters.values()), formula.xreplace(letters), "mpmath")
    data = d.density.data.bounded(d.fixed)
    if h.in_theta:
        random = np.random.default_rng(8)
        into = {"identity": lambda t: t, "exp": np.exp, "logistic": lambda t: 1 / (1 + np.exp(-t))}
        for value in data.typical:
            for a, b in random.normal(size=(12, 2, len(thetas))):
                ends = [
                    [
                        mp.mpf(into[link.name](t))
                        for t, link in zip(e, d.links.values(), strict=True)
                    ]
                    for e in (a, b)
                ]
                middle = [(p + q) / 2 for p, q in zip(*ends, strict=True)]
                chord = sum(nll(mp.mpf(value), *e) for e in ends) / 2
                assert nll(mp.mpf(value), *middle) <= chord + mp.mpf(10) ** -10
        return
    point = {s: h.in_theta.point.get(s, d.context.domains[s].typical[0]) for s in (x, *thetas)}
    if x not in h.in_theta.point:
        point[x] += 0.1  # not on the edge of a support that moves
    at, size = [mp.mpf(float(v)) for v in point.values()], len(thetas)
    with mp.workdps(40):
        rows = [
            [
                mp.diff(nll, at, (0, *(int(k == i) + int(k == j) for k in range(size))))
                for j in range(size)
            ]
            for i in range(size)
        ]
        lowest = min(mp.eigsy(mp.matrix(rows), eigvals_only=True))
    assert float(lowest) == pytest.approx(h.in_theta.eigenvalue, rel=1e-6)
    assert lowest < 0


@each
def test_a_counter_example_is_one(family):
    h, d = hessian(family), derived(family)
    if h.in_eta.answer != "not convex":
        assert h.in_eta.point is None
        return
    if h.in_eta.eigenvalue is None:
        assert family == "uniform"  # whose own test is below
        return
    etas = [float(h.in_eta.point.get(o, 0.0)) for o in d.context.outputs]
    x = float(h.in_eta.point[d.density.variable])
    lowest = np.linalg.eigvalsh(differences(d, etas, x))[0]
    assert lowest == pytest.approx(h.in_eta.eigenvalue, rel=1e-3, abs=1e-6)
    assert lowest < 0


def test_a_support_that_moves_is_not_convex():
    """Uniform: finite at both ends of a line of settings, infinite in its middle."""
    found = hessian("uniform").in_eta
    assert found.eigenvalue is None
    numbers = [float(v) for v in re.findall(r"-?[\d.]*\d", found.why.partition("between")[2])]
    ends, x = (numbers[:2], numbers[2:]), float(found.point[derived("uniform").density.variable])
    loss = ld.loss("uniform", reduction="none", validate=False)

    def at(low, width):
        outputs = tuple(torch.tensor([v]).double() for v in (low, width))
        return loss(outputs, torch.tensor([x]).double())

    assert all(torch.isfinite(at(*end)) for end in ends)
    middle = [(a + b) / 2 for a, b in zip(*ends, strict=True)]
    assert torch.isinf(at(*middle))


# --- vectors: each statement about an entry i (and l), in the numbers of autograd ----------------

VECTORS = [
    f
    for f in FAMILIES
    if f not in SCALAR and any(isinstance(o, sp.IndexedBase) for o in derived(f).context.outputs)
]
each_vector = pytest.mark.parametrize("family", VECTORS)


def at_entry(entry: sp.Expr, values: dict, i: int, other: int, count: int) -> float:
    """A formula in entries ``i`` and ``l`` of vectors, in numbers."""
    from lossderiv.symbolic.vectors import ENTRY, OTHER, with_classes

    plain = with_classes(sp.sympify(entry), count, {ENTRY: i, OTHER: other, **values.get("x", {})})
    numbers = {e: float(values[e.base][int(e.indices[0])]) for e in plain.atoms(sp.Indexed)}
    return float(plain.xreplace({e: sp.Float(v, 30) for e, v in numbers.items()}).evalf(20))


def vector_slopes(d, outputs, x) -> list[torch.Tensor]:
    leaves = tuple(o.clone().requires_grad_() for o in outputs)
    loss = ld.loss(d, reduction="sum", validate=False)(leaves, x)
    return list(torch.autograd.grad(loss, leaves))


@each_vector
def test_fisher_of_vectors_is_the_mean_product_of_drawn_slopes(family):
    f, d = fisher(family), derived(family)
    if f.eta is None:
        assert family == "multivariate_normal"
        assert "coupled" in f.why
        return
    draws, count = 40000, 3
    generator = torch.Generator().manual_seed(13)
    rows = [0.5 * torch.randn(count, generator=generator).double() for _ in d.outputs]
    outputs = tuple(r.expand(draws, count) for r in rows)
    x = ld.loss(d).sample(outputs, generator=generator)
    g = vector_slopes(d, outputs, x if x.dtype == torch.int64 else x.double())
    values = dict(zip(d.context.outputs, rows, strict=True))
    one = len(f.eta) == len(d.outputs) > 1
    for a, row in enumerate(f.eta):
        for b, entry in enumerate(row):
            for i, other in ((0, 0), (1, 1), (0, 2), (2, 1)):
                said = 0.0 if one and i != other else at_entry(entry, values, i, other, count)
                products = g[a if one else 0][:, i] * g[b if one else 0][:, other]
                error = products.std().item() / math.sqrt(draws)
                assert abs(products.mean().item() - said) <= 7 * error + 1e-12


@each_vector
def test_second_derivatives_of_vectors_are_differences_of_autograds(family):
    h, d = hessian(family), derived(family)
    if h.eta is None:
        assert family == "multivariate_normal"
        return
    outputs, x = inputs(d, shape=(1,), seed=5)
    count = outputs[0].shape[-1]
    values = {o: v[0] for o, v in zip(d.context.outputs, outputs, strict=True)}
    if x.dtype == torch.int64:
        values["x"] = {d.density.variable: int(x)}
    else:
        values[d.density.variable] = x[0]
    one, step = len(h.eta) == len(outputs) > 1, 1e-5
    for a, row in enumerate(h.eta):
        for b, entry in enumerate(row):
            for i, other in ((0, 0), (1, 1)) if one else ((0, 0), (1, 1), (0, 2), (2, 1)):
                sides = []
                for sign in (1, -1):
                    moved = [o.clone() for o in outputs]
                    moved[b if one else 0][0, other] += sign * step
                    sides.append(vector_slopes(d, moved, x)[a if one else 0][0, i].item())
                found = (sides[0] - sides[1]) / (2 * step)
                said = at_entry(entry, values, i, other, count)
                assert said == pytest.approx(found, rel=2e-5, abs=2e-6)


@each_vector
def test_convexity_of_vectors(family):
    """Chords for a yes; for a no, differences of autograd at the point that was found."""
    h, d = hessian(family), derived(family)
    loss = ld.loss(d, reduction="none", validate=False)
    if h.in_eta:
        _, x = inputs(d, shape=(300,))
        generator = torch.Generator().manual_seed(4)
        a, b = (
            tuple(2 * torch.randn((300, 5), generator=generator).double() for _ in d.outputs)
            for _ in range(2)
        )
        middle = loss(tuple((p + q) / 2 for p, q in zip(a, b, strict=True)), x)
        assert (middle <= (loss(a, x) + loss(b, x)) / 2 + 1e-9).all()
        return
    point = {str(s): float(v) for s, v in h.in_eta.point.items()}
    plain = {k.replace("[i]", "[0]"): v for k, v in point.items()}

    def vector(name: str) -> list[float]:
        return [v for _, v in sorted((k, v) for k, v in plain.items() if k.startswith(name + "["))]

    rows = [vector(n) for n in d.outputs]
    sizes = [len(r) for r in rows]
    x = torch.tensor([vector(d.density.variable.label.name)]).double()

    def flat(values) -> np.ndarray:
        parts = torch.split(torch.tensor(values).double(), sizes)
        found = vector_slopes(d, [p[None] for p in parts], x)
        return torch.cat([g.flatten() for g in found]).numpy()

    start = np.concatenate([np.array(r) for r in rows])
    columns = [(flat(start + 1e-5 * e) - flat(start - 1e-5 * e)) / 2e-5 for e in np.eye(len(start))]
    lowest = np.linalg.eigvalsh(np.array(columns))[0]
    assert lowest == pytest.approx(h.in_eta.eigenvalue, rel=1e-3)
    assert lowest < 0


@each_vector
def test_far_entries_pull_as_said(family):
    """Autograd's gradient as one entry of the data goes to an end of its domain."""
    t, d = tail(family), derived(family)
    outputs, _ = inputs(d, shape=(1,), seed=3)
    for k, ends in enumerate(t.ends.values()):
        if not ends:
            data = d.density.data.bounded(d.fixed)
            assert data.total is not None or data.shape == "category"
        for end in ends:
            norms = []
            for r in (1e-6, 1e-12) if math.isfinite(end.end) else (1e5, 1e10):
                x = torch.full((1, outputs[0].shape[-1]), 0.3).double()
                if d.density.data.shape == "simplex":
                    first = r if end.end == 0 else 1 - r
                    x[:] = (1 - first) / (x.shape[-1] - 1)
                    x[0, 0] = first
                else:
                    x[0, 0] = math.copysign(r, end.end)
                norms.append(vector_slopes(d, outputs, x)[k].norm().item())
            near, far = norms
            assert end.kind == "unbounded"  # as it is for all of these
            assert far > 1.3 * near


@each
def test_far_targets_pull_as_said(family):
    """Autograd's gradient at two distances, for each end at which something was said."""
    t, d = tail(family), derived(family)
    etas = (0.31, -0.23, 0.57)[: len(d.outputs)]
    for k, ends in enumerate(t.ends.values()):
        for end in ends:
            if math.isfinite(end.end):
                low = end.end == d.density.data.low
                x = [end.end + (1 if low else -1) * r for r in (1e-5, 1e-10)]
            else:
                x = [math.copysign(r, end.end) for r in (1e5, 1e10)]
            if "faster" in end.how and end.kind == "unbounded":
                x = [math.copysign(r, end.end) for r in (50.0, 100.0)]
            near, far = slopes(d, etas, torch.tensor(x, dtype=torch.float64))[k].abs().tolist()
            if end.kind == "unbounded":
                assert far > 1.3 * near > 0
            elif end.kind == "redescending":
                assert far < 0.8 * near or far == near == 0
            else:
                assert far == pytest.approx(near, rel=0.05)


def test_robust_statistics_knows_these():
    """Hampel et al. (1986): the mean, the median, Huber's and Cauchy's estimators of location."""
    kinds = {f: tail(f).kinds["eta_mu"] for f in ("normal", "laplace", "huber", "cauchy")}
    assert kinds == {
        "normal": "unbounded",
        "laplace": "bounded",
        "huber": "bounded",
        "cauchy": "redescending",
    }
    assert tail("student_t").kinds["eta_mu"] == "redescending"


@pytest.mark.parametrize(
    "case", [c for c in CASES if c[0] in ("normal", "laplace", "huber")], ids=name
)
def test_fixed_parameters(case):
    h = ld.hessian(case[0], **case[1])
    learned = set(h.derivation.links)
    if learned == {"mu"}:
        assert h.in_eta.answer == h.in_theta.answer == "convex"
        assert "corner" in h.in_eta.why or case[0] != "laplace"
        assert "join" in h.in_eta.why or case[0] != "huber"
    f = ld.fisher(case[0], **case[1])
    assert f.exists
