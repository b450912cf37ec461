"""Divergences by sampling, where no closed form is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lossderiv.derivations import derive
from lossderiv.errors import ParameterError
from lossderiv.losses import Outputs, loss
from lossderiv.symbolic.records import Density, Derivation


@dataclass(frozen=True)
class Estimate:
    """A Monte-Carlo mean in nats, its standard error, and the number of draws."""

    value: Tensor
    standard_error: Tensor
    draws: int


def kl_estimate(
    q: str | Density | Derivation,
    p: str | Density | Derivation,
    q_outputs: Outputs,
    p_outputs: Outputs,
    *,
    draws: int = 10_000,
    generator: torch.Generator | None = None,
) -> Estimate:
    """``KL(q || p)`` as the mean of ``log q(x) - log p(x)`` over draws of x from q, in nats.

    ``q_outputs`` and ``p_outputs`` are raw outputs, as the two losses take them; every element
    gets its own estimate. The mean is unbiased, and infinite where p excludes what q draws. The
    standard error falls with the root of ``draws`` if ``log q/p`` has a variance. A closed form,
    where there is one, is :func:`lossderiv.kl`.

    Raises
    ------
    ParameterError
        For fewer than two draws, and for a family without a sampler.

    >>> import torch, lossderiv as ld
    >>> zero, one = torch.zeros(()), torch.ones(())
    >>> found = ld.kl_estimate("normal", "normal", (zero, zero), (one, zero),
    ...                        generator=torch.Generator().manual_seed(0))
    >>> bool(abs(found.value - 0.5) < 4 * found.standard_error)
    True
    """
    if draws < 2:
        raise ParameterError(f"draws={draws}: an estimate with an error needs at least 2 draws.")
    exact = {"reduction": "none", "constants": "keep", "validate": False}
    of_q, of_p = loss(derive(q), **exact), loss(derive(p), **exact)
    many = [_repeated(outputs, draws) for outputs in (q_outputs, p_outputs)]
    with torch.no_grad():
        x = of_q.sample(many[0], generator=generator)
        gaps = of_p(many[1], x) - of_q(many[0], x)
    return Estimate(gaps.mean(0), gaps.std(0) / draws**0.5, draws)


def _repeated(outputs: Outputs, draws: int) -> tuple[Tensor, ...]:
    """The outputs with a first axis of ``draws`` copies."""
    given = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return tuple(o.expand(draws, *o.shape) for o in given)
