"""Priors as penalties: against torch.distributions and, step by step, torch's optimisers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy as sp
import torch

import lossderiv as ld

SIGMA, COUNT = 0.3, 12


@pytest.mark.parametrize(
    ("prior", "given", "twin"),
    [
        ("normal", {"sigma": 0.3}, torch.distributions.Normal(0.0, 0.3)),
        ("laplace", {"b": 0.3}, torch.distributions.Laplace(0.0, 0.3)),
        ("normal", {"mu": 1, "sigma": 2}, torch.distributions.Normal(1.0, 2.0)),
        ("student_t", {"sigma": 2, "nu": 3}, torch.distributions.StudentT(3.0, 0.0, 2.0)),
        ("cauchy", {"gamma": 0.5}, torch.distributions.Cauchy(0.0, 0.5)),
    ],
)
def test_the_penalty_is_the_log_prior(prior, given, twin):
    """Differences of -log p between weights, in torch's own numbers."""
    penalty = ld.map_penalty(prior, **given)
    w = torch.tensor([-1.7, 0.2, 0.9])
    theirs = -twin.log_prob(w)
    ours = [float(penalty.expr.subs(penalty.weight, float(v))) for v in w]
    for k in (0, 1):
        assert ours[k] - ours[2] == pytest.approx(float(theirs[k] - theirs[2]), rel=1e-4)


def test_what_it_is_called():
    normal, laplace = ld.map_penalty("normal"), ld.map_penalty("laplace")
    assert (normal.kind, str(normal.strength)) == ("weight decay", "sigma**(-2)")
    assert (laplace.kind, str(laplace.strength)) == ("L1", "1/b")
    for other in ("cauchy", "student_t", "logistic"):
        assert ld.map_penalty(other).kind == ""
    assert ld.map_penalty("normal", mu=1).kind == ""


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(COUNT, 3, dtype=torch.float64, generator=generator)
    return x, x @ torch.tensor([1.0, -2.0, 0.5]).double() + 0.1


def trained(optimizer, reduction: str, batch: int, penalised: bool) -> torch.Tensor:
    """Weights after 30 steps: the decay as the optimiser's argument, or the penalty in the loss."""
    x, y = data()
    penalty = ld.map_penalty("normal", sigma=SIGMA)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    decay = penalty.weight_decay(COUNT, reduction, batch, optimizer.__name__)
    steps = optimizer([w], lr=0.02, weight_decay=0.0 if penalised else decay)
    extra = sp.lambdify(penalty.weight, penalty.expr)
    for k in range(30):
        rows = torch.arange(k * batch, (k + 1) * batch) % COUNT
        loss = 0.5 * (y[rows] - x[rows] @ w) ** 2
        loss = loss.mean() if reduction == "mean" else loss.sum()
        if penalised:
            loss = loss + penalty.coefficient(COUNT, reduction, batch) * extra(w).sum()
        steps.zero_grad()
        loss.backward()
        steps.step()
    return w.detach()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("batch", [COUNT, 4])
def test_weight_decay_is_the_gaussian_prior(optimizer, reduction, batch):
    ours = trained(optimizer, reduction, batch, penalised=True)
    torch.testing.assert_close(
        trained(optimizer, reduction, batch, penalised=False), ours, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("batch", [1, 4, COUNT])
def test_in_one_epoch_the_prior_counts_once(batch):
    """Batches of a sum add up to the data's; those of a mean do when each is multiplied back."""
    penalty = ld.map_penalty("normal", sigma=SIGMA)
    batches = COUNT // batch
    assert batches * penalty.coefficient(COUNT, "sum", batch) == pytest.approx(1)
    assert batches * batch * penalty.coefficient(COUNT, "mean", batch) == pytest.approx(1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_with_it_sgd_finds_the_posteriors_mode(reduction):
    """Ridge regression's closed form, (X'X + 1/sigma^2)^-1 X'y for noise of width 1."""
    x, y = data()
    mode = torch.linalg.solve(x.T @ x + torch.eye(3).double() / SIGMA**2, x.T @ y)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    decay = ld.map_penalty("normal", sigma=SIGMA).weight_decay(COUNT, reduction)
    lr = 0.3 if reduction == "mean" else 0.3 / COUNT
    steps = torch.optim.SGD([w], lr=lr, weight_decay=decay)
    for _ in range(2000):
        loss = 0.5 * (y - x @ w) ** 2
        steps.zero_grad()
        (loss.mean() if reduction == "mean" else loss.sum()).backward()
        steps.step()
    torch.testing.assert_close(w.detach(), mode, rtol=1e-9, atol=1e-10)


def test_adamw_is_no_prior_but_for_one_step():
    """With its own preconditioner a step of AdamW is Adam's data step and the prior's pull."""
    penalty, lr = ld.map_penalty("normal", sigma=SIGMA), 0.01
    with pytest.raises(ld.ParameterError, match="no prior corresponds"):
        penalty.weight_decay(COUNT, optimizer="AdamW")
    w = torch.tensor([0.8], dtype=torch.float64, requires_grad=True)
    gradient = 2.5
    root = gradient + 1e-8  # after one step the root of the second moment is the gradient's size
    decay = penalty.weight_decay(COUNT, optimizer="AdamW", preconditioner=root)
    step = torch.optim.AdamW([w], lr=lr, weight_decay=decay)
    (gradient * w).sum().backward()
    step.step()
    pull = float(sp.diff(penalty.expr, penalty.weight).subs(penalty.weight, 0.8)) / COUNT
    assert float(w.detach()) == pytest.approx(0.8 - lr * (gradient + pull) / root, rel=1e-12)


def test_an_l1_penalty_has_a_coefficient_but_no_weight_decay():
    penalty = ld.map_penalty("laplace", b=0.5)
    assert penalty.coefficient(COUNT) * float(penalty.strength) == pytest.approx(2 / COUNT)
    with pytest.raises(ld.ParameterError, match="no weight decay"):
        penalty.weight_decay(COUNT)


def test_bad_requests_are_refused():
    normal = ld.map_penalty("normal", sigma=1)
    for bad in (
        lambda: ld.map_penalty("poisson"),
        lambda: ld.map_penalty("normal", width=1),
        lambda: ld.map_penalty("normal", sigma=-1),
        lambda: ld.map_penalty("normal").weight_decay(10),
        lambda: normal.weight_decay(10, reduction="none"),
        lambda: normal.weight_decay(10, "sum", batch=20),
        lambda: normal.weight_decay(10, optimizer="LBFGS"),
    ):
        with pytest.raises(ld.ParameterError):
            bad()


def test_it_reads_well():
    text = ld.map_penalty("normal", sigma=0.1).text()
    assert "strength = 100" in text
    assert max(map(len, text.splitlines())) <= 80


def test_each_penalty_is_checked_again():
    for prior, given in (("normal", {"sigma": 0.1}), ("laplace", {}), ("cauchy", {"gamma": 1})):
        penalty = ld.map_penalty(prior, **given)
        assert penalty.check() == tuple(step.verdict for step in penalty.steps)
    normal = ld.map_penalty("normal")
    for bad in ({"expr": 2 * normal.expr}, {"strength": 2 * normal.strength}):
        with pytest.raises(ld.DerivationError):
            replace(normal, **bad).check()
