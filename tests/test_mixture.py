"""``mixture``: against torch.distributions, by relations, at the ends, and when misused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributions as D

import lossderiv as ld


def heads(count: int, outputs: int = 3, batch: tuple[int, ...] = (50,), seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    shape = (*batch, count)
    return tuple(torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(outputs))


def test_a_mixture_of_normals_is_torchs():
    logits, mu, log_sigma = (h.requires_grad_() for h in heads(4))
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    twin = D.MixtureSameFamily(D.Categorical(logits=logits), D.Normal(mu, log_sigma.exp()))
    loss = ld.loss(ld.mixture("normal", 4), reduction="none", constants="keep")
    ours, theirs = loss((logits, mu, log_sigma), x), -twin.log_prob(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for o, t in zip(
        torch.autograd.grad(ours.sum(), (logits, mu, log_sigma)),
        torch.autograd.grad(theirs.sum(), (logits, mu, log_sigma)),
        strict=True,
    ):
        torch.testing.assert_close(o, t, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("family", "fixed", "x"),
    [
        ("laplace", {}, 0.3),
        ("poisson", {}, 4.0),
        ("exponential", {}, 0.7),
        ("student_t", {"nu": 4}, 0.3),
        ("binomial", {"n": 9}, 4.0),
        ("beta", {}, 0.4),
    ],
)
def test_equal_components_are_one(family, fixed, x):
    """Whatever the weights: the loss of each mixture is that of its one component."""
    single = ld.loss(family, reduction="none", constants="keep", **fixed)
    mixed = ld.loss(ld.mixture(family, 3, **fixed), reduction="none", constants="keep")
    one = [h[:, :1] for h in heads(3, len(single.outputs))]
    (logits,) = heads(3, 1, seed=5)
    target = torch.full((50,), x, dtype=torch.float64)
    got = mixed((logits, *(h.expand(-1, 3) for h in one)), target)
    wanted = single(tuple(h[:, 0] for h in one), target)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


GIVEN = {
    "asymmetric_laplace": {"tau": 0.7},
    "beta_binomial": {"n": 5},
    "binomial": {"n": 5},
    "generalized_normal": {"beta": 1.5},
    "huber": {"delta": 1.0},
}
WITH_AN_AXIS = {"categorical", "dirichlet", "multinomial", "ordered_logistic"}
WITH_AN_AXIS |= {"multivariate_normal", "multivariate_normal_diagonal"}


@pytest.mark.parametrize("family", sorted(set(ld.families()) - WITH_AN_AXIS))
def test_every_family_of_numbers_mixes(family):
    """Value against the components' own losses; drawn from itself, with finite slopes."""
    fixed, generator = GIVEN.get(family, {}), torch.Generator().manual_seed(0)
    mixed = ld.mixture(family, 3, **fixed)
    loss = ld.loss(mixed, reduction="none", constants="keep")
    outputs = tuple(torch.randn(7, 3, generator=generator) for _ in loss.outputs)
    x = loss.sample(outputs, generator=generator)
    own = ld.loss(family, reduction="none", constants="keep", **fixed)
    logs = torch.log_softmax(outputs[0], -1) - own(outputs[1:], x[:, None].expand(7, 3))
    torch.testing.assert_close(loss(outputs, x), -logs.logsumexp(-1), atol=1e-5, rtol=1e-5)
    _, slopes = ld.loss(mixed).value_and_grad(outputs, x)
    assert all(torch.isfinite(g).all() for g in slopes)
    assert all(g.any() for g in slopes) or family == "uniform"  # whose place no datum moves


def test_the_derivation_holds_and_says_how():
    d = ld.derive(ld.mixture("normal", 10))
    report = d.check()
    rules = [line[1] for line in report.lines]
    assert rules[0] == "log of a weighted sum"
    assert "differentiate a mixture" in rules
    assert d.outputs == ("eta_logits", "eta_mu", "eta_sigma")
    assert "logsumexp" in d.text()


def test_it_adds_up_to_one():
    assert all(abs(z - 1) < 1e-6 for z in ld.mixture("logistic", 3).check().values())


def test_pixels_add_up_to_one_in_bits():
    """The PixelCNN++ likelihood: over the 256 levels exp(-loss) is 1."""
    loss = ld.loss(
        ld.mixture(ld.discretized("logistic", levels=256), 10), reduction="none", constants="keep"
    )
    logits, mu, log_s = (h.float() for h in heads(10, batch=(6, 1), seed=3))
    levels = torch.arange(256.0).expand(6, 256)
    outputs = tuple(h.expand(6, 256, 10) for h in (logits, mu / 2, 2 * log_s - 3))
    total = torch.exp(-loss(outputs, levels).double()).sum(-1)
    torch.testing.assert_close(total, torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-6)


def test_a_weight_of_next_to_nothing_leaves_everything_finite():
    loss = ld.loss(ld.mixture(ld.discretized("logistic", levels=256), 2))
    outputs = [
        torch.tensor([[0.0, -1e4]]),
        torch.tensor([[0.9, -50.0]]),
        torch.tensor([[-9.0, -50.0]]),
    ]
    outputs = [o.requires_grad_() for o in outputs]
    value = loss(outputs, torch.tensor([3.0]))
    value.backward()
    assert value.isfinite()
    assert all(o.grad.isfinite().all() for o in outputs)


def test_fresh_links_and_given_values():
    loss = ld.loss(ld.mixture("normal", 2), links={"sigma": "softplus"})
    assert "softplus" in str(loss.derivation.links["sigma"].name)
    narrow = ld.loss(ld.mixture("normal", 2, sigma=0.1))
    assert narrow.outputs == ("eta_logits", "eta_mu")


def test_split_keeps_channels_and_moves_components_last():
    loss = ld.loss(ld.mixture("normal", 5))
    decoder = torch.randn(2, 3 * 4 * 5, 8, 8)
    outputs = loss.split(decoder)
    assert [tuple(o.shape) for o in outputs] == [(2, 4, 8, 8, 5)] * 3
    assert torch.equal(outputs[1][0, 2, 3, 4], decoder[0, 20 + 10 : 20 + 15, 3, 4])
    assert loss(outputs, torch.randn(2, 4, 8, 8)).isfinite()
    assert [tuple(o.shape) for o in loss.split(torch.randn(7, 30), dim=-1)] == [(7, 2, 5)] * 3


def test_weights_and_missing_data():
    loss = ld.loss(ld.mixture("normal", 2))
    outputs = tuple(h.float()[:3] for h in heads(2))
    x, w = torch.tensor([0.1, math.nan, 0.3]), torch.tensor([1.0, 0.0, 1.0])
    kept = [0, 2]
    got = loss(outputs, x, weight=w)
    torch.testing.assert_close(got, loss(tuple(o[kept] for o in outputs), x[kept]))


@pytest.mark.parametrize(
    ("component", "fixed"),
    [
        ("normal", {}),
        ("poisson", {}),
        ("normal", {"sigma": 0.1}),
        (ld.discretized("logistic", levels=9), {}),
    ],
    ids=["normal", "poisson", "narrow normal", "levels"],
)
def test_mean_mode_and_sample_belong_to_the_density(component, fixed):
    loss = ld.loss(ld.mixture(component, 3, **fixed), constants="keep", reduction="none")
    n = 40_000
    rows = (torch.tensor([0.5, -0.3, 1.0]), torch.tensor([-1.0, 0.2, 0.9]), torch.full((3,), -1.5))
    outputs = tuple(r.double().expand(n, 3) for r in rows[: len(loss.outputs)])
    drawn = loss.sample(outputs, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (n,)
    mean = loss.mean(outputs)[0].item()
    assert abs(drawn.mean().item() - mean) < 5 * drawn.std().item() / math.sqrt(n)
    mode = loss.mode(outputs)
    assert mode.shape == (n,)
    at_mode = loss(outputs, mode)[0].item()
    assert at_mode <= loss(outputs, drawn).min().item() + 0.05  # a peak, but for its neighbours
    again = loss.sample(outputs, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


@pytest.mark.parametrize("how", ["compiled", "hessian", "double backward"])
def test_every_tier_agrees(how):
    loss = ld.loss(ld.mixture("logistic", 3), reduction="sum")
    logits, mu, log_s = heads(3, batch=(4,))
    x = torch.linspace(-1, 1, 4, dtype=torch.float64)
    plain = loss((logits, mu, log_s), x)
    if how == "compiled":
        torch._dynamo.reset()
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled((logits, mu, log_s), x), plain)
        return

    def f(m):
        return loss((logits, m, log_s), x)

    h = torch.func.hessian(f)(mu) if how == "hessian" else torch.autograd.functional.hessian(f, mu)
    step = 1e-6
    nudge = torch.zeros_like(mu)
    nudge[0, 0] = step
    by_difference = (f(mu + nudge) - 2 * plain + f(mu - nudge)) / step**2
    assert h[0, 0, 0, 0].item() == pytest.approx(by_difference.item(), abs=2e-3)


@pytest.mark.parametrize("family", ["normal", "logistic", "laplace", "cauchy"])
def test_a_component_beyond_the_largest_float_does_not_spoil_the_others(family):
    """At a scale of e^-50 the loss of its own is infinite in float32; its weight leads by far."""
    outputs = [torch.tensor([[0.0, 100.0]]), torch.zeros(1, 2), torch.tensor([[50.0, -50.0]])]
    leaves = [o.requires_grad_() for o in outputs]
    value = ld.loss(ld.mixture(family, 2))(tuple(leaves), torch.tensor([-5e25]))
    alone = ld.loss(family)((torch.zeros(1), torch.full((1,), 50.0)), torch.tensor([-5e25]))
    torch.testing.assert_close(value, alone + 100, rtol=1e-6, atol=0)
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, leaves))


def test_a_step_names_what_it_uses_and_no_more():
    d = ld.derive(ld.mixture("normal", 3))
    named = [{str(name) for name, _ in step.where} for step in d.evaluation]
    assert named == [{"z[i]", "ell[i]"}]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ld.mixture("normal", 1), ld.ParameterError, "at least 2"),
        (lambda: ld.mixture("normal", 2.5), ld.ParameterError, "whole number"),
        (lambda: ld.mixture("nromal", 2), ld.UnknownNameError, "normal"),
        (lambda: ld.mixture("categorical", 3), ld.DensityError, "vectors or classes"),
        (lambda: ld.mixture("dirichlet", 3), ld.DensityError, "vectors or classes"),
        (lambda: ld.mixture(ld.mixture("normal", 2), 3), ld.DensityError, "vectors or classes"),
        (lambda: ld.mixture("binomial", 3), ld.ParameterError, "needs a value for n"),
        (lambda: ld.mixture("normal", 3, mu=0, sigma=1), ld.ParameterError, "nothing is left"),
        (lambda: ld.derive(ld.mixture("normal", 3), sigma=1), ld.ParameterError, "vector"),
    ],
)
def test_misuse_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_the_wrong_number_of_components_is_refused():
    loss = ld.loss(ld.mixture("normal", 4))
    outputs = tuple(h.float() for h in heads(3))
    with pytest.raises(ld.ShapeError, match="4 components"):
        loss(outputs, torch.zeros(50))
    good = tuple(h.float() for h in heads(4))
    loss(good, torch.zeros(50))
    with pytest.raises(ld.ShapeError, match="4 components"):
        loss(outputs, torch.zeros(50))
