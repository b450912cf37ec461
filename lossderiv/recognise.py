"""TABLE of the field's named losses, and the recognition of a derivation among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.special import softplus
from lossderiv.symbolic.derive import slope
from lossderiv.symbolic.probe import Formula, indexed_points
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.vectors import RUNNING, LogSumExp


@dataclass(frozen=True)
class Named:
    """A loss that has a name: its formula in the raw outputs and the target.

    ``says`` is what its user must do so that the two agree, where that is more than a factor.
    """

    name: str
    formula: Callable[..., sp.Expr]
    outputs: int = 1
    vector: bool = False
    says: str = ""


NAMED: tuple[Named, ...] = (
    Named("torch.nn.MSELoss", lambda eta, x: (x - eta) ** 2),
    Named("torch.nn.L1Loss", lambda eta, x: sp.Abs(x - eta)),
    Named("torch.nn.BCEWithLogitsLoss", lambda eta, x: softplus(eta) - x * eta),
    Named("torch.nn.PoissonNLLLoss", lambda eta, x: sp.exp(eta) - x * eta),
    Named(
        "torch.nn.GaussianNLLLoss",
        lambda mu, eta, x: (2 * eta + (x - mu) ** 2 * sp.exp(-2 * eta)) / 2,
        outputs=2,
        says="var = exp(2 eta), eta being the log of the standard deviation",
    ),
    Named(
        "torch.nn.CrossEntropyLoss",
        lambda eta, x: LogSumExp(eta[RUNNING], RUNNING) - eta[x],
        vector=True,
    ),
)


def known_as(of: str | Density | Derivation, **options) -> str | None:
    """The name under which the field knows this loss, with the factor between them.

    Two losses are the same for training when their slopes in every raw output agree up to one
    positive factor; that is what is tested, at 60 digits. ``None`` when no known loss matches.
    ``options`` are those of :func:`lossderiv.derive`.

    >>> import lossderiv as ld
    >>> ld.known_as("normal", sigma=1)
    'torch.nn.MSELoss, times 1/2'
    >>> ld.known_as("bernoulli")
    'torch.nn.BCEWithLogitsLoss'
    >>> ld.known_as("continuous_bernoulli") is None
    True
    """
    d = derive(of, **options)
    vector = any(isinstance(o, sp.IndexedBase) for o in d.context.outputs)
    for named in NAMED:
        if named.outputs != len(d.outputs) or named.vector != vector:
            continue
        factor = _factor(d, named.formula(*d.context.outputs, d.density.variable))
        if factor is not None:
            return _sentence(named, factor)
    return None


def _sentence(named: Named, factor: sp.Expr) -> str:
    text = named.name if factor == 1 else f"{named.name}, times {factor}"
    return f"{text} ({named.says})" if named.says else text


def _factor(d: Derivation, formula: sp.Expr) -> sp.Expr | None:
    """The positive ``c`` with ``d.loss = c * formula`` up to what no output moves, if any."""
    if any(isinstance(o, sp.IndexedBase) for o in d.context.outputs):
        return 1 / d.scale if sp.expand(d.scale * d.loss - formula) == 0 else None
    ratio = None
    for by in d.context.outputs:
        ours, theirs = Formula(slope(d.loss, by, ())), Formula(slope(formula, by, ()))
        for point in indexed_points((ours.expr, theirs.expr), d.context):
            a, b = ours.at(point), theirs.at(point)
            if b == 0 or a == 0:
                if a != b:
                    return None
                continue
            if ratio is None:
                ratio = a / b
            if not ratio > 0 or abs(a / b - ratio) > mp.mpf(10) ** -40 * ratio:
                return None
    return None if ratio is None else sp.nsimplify(str(mp.nstr(ratio, 30)), rational=True)
