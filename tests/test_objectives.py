"""Objectives for boosted trees: against autograd, and trained by the real libraries."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import torch
import xgboost

import lossderiv as ld

CASES = [
    ("bernoulli", {}),
    ("poisson", {}),
    ("normal", {}),
    ("gamma", {}),
    ("student_t", {"sigma": 1, "nu": 3}),
    ("exponential", {}),
]


@pytest.mark.parametrize(("family", "fixed"), CASES, ids=[c[0] for c in CASES])
def test_slope_and_curvature_are_autograds(family, fixed):
    d = ld.derive(family, **fixed)
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(7, len(d.outputs), dtype=torch.float64, generator=generator)
    x = torch.tensor([float(v) for v in (1, 0, 1, 1, 0, 1, 1)], dtype=torch.float64)
    x = x + 0.5 if d.density.data is ld.Positive else x
    gradient, hessian = ld.objective(d).scikit(x.numpy(), raw.squeeze(1).numpy())
    outputs = [c.clone().requires_grad_() for c in raw.unbind(1)]
    total = ld.loss(d, reduction="sum")(tuple(outputs), x)
    slopes = torch.autograd.grad(total, outputs, create_graph=True)
    for k, (s, o) in enumerate(zip(slopes, outputs, strict=True)):
        (bend,) = torch.autograd.grad(s.sum(), o, retain_graph=True)
        np.testing.assert_allclose(gradient.reshape(7, -1)[:, k], s.detach(), rtol=1e-10)
        np.testing.assert_allclose(hessian.reshape(7, -1)[:, k], bend, rtol=1e-9, atol=1e-12)


def table() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(2)
    features = draws.uniform(-1, 1, (400, 2))
    return features, draws.poisson(np.exp(0.5 + features[:, 0])).astype(float)


def test_xgboost_fits_counts():
    """Its own ``count:poisson`` damps the curvature, so only the fit is judged."""
    x, y = table()
    data = xgboost.DMatrix(x, label=y)
    common = {"max_depth": 2, "base_score": 0.0, "nthread": 1, "eta": 0.3}
    ours = xgboost.train(common, data, 20, obj=ld.objective("poisson", "xgboost"))
    raw = ours.predict(data, output_margin=True)
    flat = np.log(y.mean())
    nll = lambda eta: np.mean(np.exp(eta) - y * eta)  # noqa: E731
    assert nll(raw) < nll(flat) - 0.1


def test_lightgbm_trains_as_with_its_own_binary():
    x, y = table()
    y = (y > 1).astype(float)
    common = {"verbose": -1, "num_threads": 1, "num_leaves": 4, "boost_from_average": False}
    raw = []
    for objective in (ld.objective("bernoulli", "lightgbm"), "binary"):
        data = lightgbm.Dataset(x, label=y, weight=np.linspace(0.5, 2, len(y)))
        model = lightgbm.train({**common, "objective": objective}, data, 15)
        raw.append(model.predict(x, raw_score=True))
    np.testing.assert_allclose(raw[0], raw[1], rtol=1e-4, atol=1e-5)


def test_xgboost_trains_as_with_its_own_logistic():
    x, y = table()
    data = xgboost.DMatrix(x, label=(y > 1).astype(float), weight=np.linspace(0.5, 2, len(y)))
    common = {"max_depth": 2, "nthread": 1, "tree_method": "exact"}
    ours = xgboost.train(
        {**common, "base_score": 0.0}, data, 15, obj=ld.objective("bernoulli", "xgboost")
    )
    theirs = xgboost.train({**common, "base_score": 0.5, "objective": "binary:logistic"}, data, 15)
    margins = [m.predict(data, output_margin=True) for m in (ours, theirs)]
    np.testing.assert_allclose(margins[0], margins[1], rtol=1e-3, atol=1e-4)


def classes():
    x, y = table()
    return x, np.clip(y, 0, 2).astype(int)


def test_classes_against_autograd():
    generator = np.random.default_rng(2)
    raw, y, w = generator.normal(size=(6, 4)), np.arange(6) % 4, np.linspace(0.5, 2, 6)
    slopes, bends = ld.objective("categorical").scikit(y, raw, w)
    eta = torch.tensor(raw, requires_grad=True)
    each = torch.nn.functional.cross_entropy(eta, torch.tensor(y), reduction="none")
    (g,) = torch.autograd.grad((torch.tensor(w) * each).sum(), eta, create_graph=True)
    np.testing.assert_allclose(slopes, g.detach().numpy(), rtol=1e-12, atol=1e-14)
    for k in range(4):
        (h,) = torch.autograd.grad(g[:, k].sum(), eta, retain_graph=True)
        np.testing.assert_allclose(bends[:, k], h[:, k].numpy(), rtol=1e-12)


class Doubled:
    """Our slopes, and our second derivatives times two, as XGBoost's own softmax has them."""

    def __init__(self, objective):
        self.objective = objective

    def __call__(self, raw, data):
        slopes, bends = self.objective(raw, data)
        return slopes, 2 * bends


def test_xgboost_trains_as_with_its_own_softmax():
    x, y = classes()
    data = xgboost.DMatrix(x, label=y)
    common = {"max_depth": 2, "nthread": 1, "num_class": 3, "base_score": 0.5}
    ours = xgboost.train(common, data, 8, obj=Doubled(ld.objective("categorical", "xgboost")))
    theirs = xgboost.train({**common, "objective": "multi:softprob"}, data, 8)
    margins = [m.predict(data, output_margin=True) for m in (ours, theirs)]
    spread = [m - m.mean(1, keepdims=True) for m in margins]
    np.testing.assert_allclose(spread[0], spread[1], rtol=1e-3, atol=1e-4)


def test_lightgbm_trains_as_with_its_own_multiclass():
    """Its softmax has second derivatives larger by classes / (classes - 1), 3/2 here."""
    x, y = classes()
    common = {"verbose": -1, "num_threads": 1, "num_leaves": 4, "num_class": 3}
    common |= {"boost_from_average": False, "min_sum_hessian_in_leaf": 0.0}
    slope = ld.objective("categorical", "lightgbm")

    def ours(raw, data):
        g, h = slope(raw, data)
        return g, 1.5 * h

    raw = []
    for objective in (ours, "multiclass"):
        model = lightgbm.train({**common, "objective": objective}, lightgbm.Dataset(x, label=y), 8)
        raw.append(model.predict(x, raw_score=True))
    np.testing.assert_allclose(raw[0], raw[1], rtol=1e-4, atol=1e-5)


def test_refusals():
    with pytest.raises(ld.ParameterError, match="no library"):
        ld.objective("normal", "catboost")
    with pytest.raises(ld.ParameterError, match="data that are vectors"):
        ld.objective("dirichlet")
    with pytest.raises(ld.ShapeError, match="a column for each class"):
        ld.objective("categorical").scikit(np.zeros(3), np.zeros(3))
    with pytest.raises(ld.TargetError, match=r"met 0 \.\. 2"):
        ld.objective("categorical").scikit(np.array([0, 2]), np.zeros((2, 2)))
    with pytest.raises(ld.ShapeError, match="2 raw outputs"):
        ld.objective("normal").scikit(np.zeros(3), np.zeros(3))
    with pytest.raises(ld.TargetError):
        ld.objective("bernoulli").scikit(np.array([2.0]), np.zeros(1))
