"""What each loss estimates: the constant output that minimises it is the one of the textbook."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import lossderiv as ld


def sample_of(family: str) -> torch.Tensor:
    """An odd number of unlike data in the family's support."""
    loss = ld.loss(family, **GIVEN.get(family, {}))
    generator = torch.Generator().manual_seed(4)
    raw = tuple(torch.full((101,), 0.3, dtype=torch.float64) for _ in loss.outputs)
    return loss.sample(raw, generator=generator)


GIVEN = {
    "normal": {"sigma": 2},
    "laplace": {"b": 3},
    "asymmetric_laplace": {"tau": 0.75, "b": 1},
    "log_normal": {"sigma": 1},
    "logit_normal": {"sigma": 1},
    "binomial": {"n": 10},
    "gamma": {"concentration": 2.5},
    "inverse_gamma": {"concentration": 2.5},
    "inverse_gaussian": {"lam": 1},
    "pareto": {"scale": 1},
    "weibull": {"concentration": 2},
    "von_mises": {"kappa": 1},
    "generalized_normal": {"alpha": 1, "beta": 2},
}
THEORY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    # the constant output that minimises the loss over a sample, by the textbook
    "normal": torch.mean,
    "generalized_normal": torch.mean,
    "laplace": torch.median,
    "asymmetric_laplace": lambda x: torch.quantile(x, 0.75),
    "bernoulli": lambda x: torch.logit(x.mean()),
    "binomial": lambda x: torch.logit(x.mean() / 10),
    "geometric": lambda x: -torch.log(x.mean()),
    "poisson": lambda x: torch.log(x.mean()),
    "exponential": lambda x: -torch.log(x.mean()),
    "half_normal": lambda x: torch.log((x**2).mean()) / 2,
    "log_normal": lambda x: torch.log(x).mean(),
    "logit_normal": lambda x: torch.logit(x).mean(),
    "gamma": lambda x: math.log(2.5) - torch.log(x.mean()),
    "inverse_gamma": lambda x: math.log(2.5) - torch.log((1 / x).mean()),
    "inverse_gaussian": lambda x: torch.log(x.mean()),
    "pareto": lambda x: -torch.log(torch.log(x).mean()),
    "weibull": lambda x: torch.log((x**2).mean()) / 2,
    "von_mises": lambda x: torch.atan2(torch.sin(x).mean(), torch.cos(x).mean()),
}


@pytest.mark.parametrize("family", THEORY)
def test_the_minimiser_is_the_one_that_theory_promises(family):
    """The mean slope over the sample changes its sign there, from minus to plus."""
    x = sample_of(family)
    loss = ld.loss(family, **GIVEN.get(family, {}))
    best = THEORY[family](x)

    def at(eta: float) -> tuple[float, float]:
        raw = torch.tensor(eta, dtype=torch.float64, requires_grad=True)
        value = loss(raw.expand(101), x)
        return value.item(), torch.autograd.grad(value, raw)[0].item()

    lowest = at(float(best))[0]
    for step in (1e-4, 1e-2):
        below, above = at(float(best) - step), at(float(best) + step)
        assert below[1] < 0 < above[1]
        assert lowest < min(below[0], above[0])
