"""Sampled divergences against closed forms, and what they say where there is none."""

from __future__ import annotations

import math

import pytest
import torch

import lossderiv as ld
from lossderiv.errors import ParameterError

# Six standard errors: a true estimator fails once in 5 * 10^8 runs; the seed is fixed.
SIGMAS = 6


def estimate(q, p, q_outputs, p_outputs, draws=20_000, **options):
    generator = torch.Generator().manual_seed(8)
    tensors = [
        [torch.tensor(o, dtype=torch.float64) for o in out] for out in (q_outputs, p_outputs)
    ]
    return ld.kl_estimate(q, p, *map(tuple, tensors), draws=draws, generator=generator, **options)


@pytest.mark.parametrize(
    ("family", "names", "q", "p"),
    [
        ("normal", ("mu", "sigma"), (0.0, 0.0), (1.0, 0.5)),
        ("gamma", ("concentration", "rate"), (0.5, 0.0), (0.2, 0.4)),
        ("exponential", ("rate",), (0.0,), (0.7,)),
        ("poisson", ("rate",), (1.0,), (0.5,)),
    ],
)
def test_it_agrees_with_the_closed_form(family, names, q, p):
    found = estimate(family, family, q, p)
    links = {"mu": lambda v: v}
    values = {f"{n}_q": links.get(n, math.exp)(v) for n, v in zip(names, q, strict=True)}
    values |= {f"{n}_p": links.get(n, math.exp)(v) for n, v in zip(names, p, strict=True)}
    expected = ld.kl(family, family).at(**values)
    assert found.draws == 20_000
    assert 0 < found.standard_error < 0.1 * expected
    assert abs(found.value - expected) < SIGMAS * found.standard_error


def test_two_cauchys():
    """log(((s + t)^2 + (m - n)^2)/(4 s t)), Chyzak and Nielsen (2019), theorem 1."""
    found = estimate("cauchy", "cauchy", (0.0, 0.0), (1.0, 0.5))
    expected = math.log(((1 + math.exp(0.5)) ** 2 + 1) / (4 * math.exp(0.5)))
    assert abs(found.value - expected) < SIGMAS * found.standard_error


def test_each_element_has_its_own():
    q = (torch.zeros(2, 3), torch.zeros(2, 3))
    p = (torch.arange(6.0).reshape(2, 3), torch.zeros(2, 3))
    found = ld.kl_estimate("normal", "normal", q, p, generator=torch.Generator().manual_seed(1))
    expected = torch.arange(6.0).reshape(2, 3) ** 2 / 2
    assert found.value.shape == found.standard_error.shape == (2, 3)
    assert ((found.value - expected).abs() <= SIGMAS * found.standard_error).all()


def test_it_is_infinite_where_p_excludes_what_q_draws():
    found = estimate("normal", "uniform", (0.0, 0.0), (-1.0, 0.0))
    assert found.value == math.inf


def test_one_draw_has_no_error():
    with pytest.raises(ParameterError, match="at least 2"):
        estimate("normal", "normal", (0.0, 0.0), (0.0, 0.0), draws=1)
