"""Inputs for any family, read off its domains: what the tests of every family share."""

from __future__ import annotations

import math
from functools import cache

import torch

import lossderiv as ld
from lossderiv.domains import LINKS
from lossderiv.special import inside
from lossderiv.symbolic.records import Derivation, Domain

CLASSES = 5


@cache
def density(family: str) -> ld.Density:
    from lossderiv.catalogue import FAMILIES

    return FAMILIES[family]


def given(family: str) -> dict[str, object]:
    """Values for the parameters of a family that cannot be learned."""
    domains = density(family).parameters
    return {name: d.typical[0] for name, d in domains.items() if d.link is None}


def variants() -> list[tuple[str, dict]]:
    """Every family, each of its parameters fixed in turn, each link in each place it fits."""
    found = []
    for family in ld.families():
        always, domains = given(family), density(family).parameters
        learned = [n for n in domains if n not in always]
        found.append((family, always))
        if len(learned) > 1:
            scalar = [n for n in learned if domains[n].shape == "scalar"]
            found += [(family, {**always, n: domains[n].typical[1]}) for n in scalar]
        for name in learned:
            into = domains[name].entry or domains[name].name
            others = (k for k, link in LINKS.items() if link.onto == into)
            for link in others:
                if LINKS[link] is not domains[name].link:
                    found.append((family, {**always, "links": {name: link}}))
    return found


def label(variant: tuple[str, dict]) -> str:
    family, options = variant
    links = options.get("links", {})
    plain = {k: v for k, v in options.items() if k != "links"}
    return "-".join([family, *(f"{k}={v}" for k, v in {**plain, **links}.items())])


def targets(
    domain: Domain, shape: tuple[int, ...], generator: torch.Generator, dtype=torch.float64
) -> torch.Tensor:
    """Random data of a domain, well inside it."""

    if domain.total is not None:
        even = torch.ones((*shape, CLASSES), dtype=torch.float64).reshape(-1, CLASSES)
        drawn = torch.multinomial(even, domain.total, replacement=True, generator=generator)
        counts = torch.nn.functional.one_hot(drawn, CLASSES).sum(-2)
        return counts.reshape(*shape, CLASSES).to(dtype)
    if domain.shape == "vector":
        shape = (*shape, CLASSES)

    def rand():
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    if domain.shape == "category":
        return torch.randint(CLASSES, shape, generator=generator)
    if domain.shape == "simplex":
        raw = torch.randn((*shape, CLASSES), generator=generator, dtype=torch.float64)
        return torch.softmax(raw, -1).to(dtype)
    low, high = domain.low, domain.high
    if domain.integer:
        top = min(high, low + 6) if math.isfinite(low) else 3
        bottom = low if math.isfinite(low) else -3
        return (bottom + torch.floor(rand() * (top - bottom + 1))).to(dtype)
    if math.isfinite(low) and math.isfinite(high):
        return (low + (high - low) * (0.05 + 0.9 * rand())).to(dtype)
    if math.isfinite(low):
        return (low + 0.05 + 3 * rand()).to(dtype)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def inputs(
    derivation: Derivation, shape: tuple[int, ...] = (7,), seed: int = 0, dtype=torch.float64
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Raw outputs and a target, moderate and reproducible."""
    generator = torch.Generator().manual_seed(seed)
    outputs = []
    for symbol in derivation.context.outputs:
        domain = derivation.context.domains[symbol]
        full = (*shape, domain.width(CLASSES)) if domain.is_vector else shape
        raw = torch.randn(full, generator=generator, dtype=torch.float64)
        outputs.append(raw.to(dtype))
    if derivation.density.formula.has(inside):  # the support moves with the parameters
        tame = tuple(torch.tanh(o) for o in outputs)  # or a heavy tail overflows
        return tame, ld.loss(derivation).sample(tame, generator=generator)
    return tuple(outputs), targets(derivation.density.data, shape, generator, dtype)
