"""TABLE of the field's named losses, and the recognition of a derivation among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.special import huber_error, log_cosh, relu, softplus
from lossderiv.symbolic.derive import slope
from lossderiv.symbolic.probe import Formula, indexed_points
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.render import plain
from lossderiv.symbolic.vectors import RUNNING, LogSumExp

AGREE = mp.mpf(10) ** -40
NEAR, FAR = mp.mpf(10) ** -30, mp.mpf(10) ** 30  # residuals inside and outside any bend

Slope = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Named:
    """A loss that has a name: its formula in the raw outputs and the target.

    A loss with a number to choose (where Huber's tails begin) names it in ``shape``; ``read``
    reads that number off a loss's slope as a function of the residual ``x - eta``. ``says`` is
    what its user must do so that the two agree, where that is more than a factor.
    """

    name: str
    formula: Callable[..., sp.Expr]
    outputs: int = 1
    vector: bool = False
    says: str = ""
    shape: str = ""
    read: Callable[[Slope], mp.mpf] | None = None


def _corner(slope: Slope) -> mp.mpf:
    """The residual at which a parabola's tangent goes on straight: slope far out / curvature."""
    return NEAR * slope(FAR) / slope(NEAR)


def _level(slope: Slope) -> mp.mpf:
    """The quantile whose two slopes these are: the share of the upper one."""
    return slope(FAR) / (slope(FAR) - slope(-FAR))


def _huber(eta, x, delta):
    return huber_error(x - eta, delta)


def _pinball(eta, x, tau):
    return relu(x - eta) - (1 - tau) * (x - eta)


NAMED: tuple[Named, ...] = (
    Named("torch.nn.MSELoss", lambda eta, x: (x - eta) ** 2),
    Named("torch.nn.L1Loss", lambda eta, x: sp.Abs(x - eta)),
    Named("torch.nn.HuberLoss", _huber, shape="delta", read=_corner),
    Named(
        "torch.nn.SmoothL1Loss",
        lambda eta, x, beta: _huber(eta, x, beta) / beta,
        shape="beta",
        read=_corner,
    ),
    Named("pinball loss", _pinball, shape="tau", read=_level),
    Named("log-cosh loss", lambda eta, x: log_cosh(x - eta)),
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


@dataclass(frozen=True)
class Match:
    """A named loss that a derivation is: its loss is ``factor`` times that, plus a constant.

    ``offset`` is what then completes the exact negative log-likelihood; no raw output moves it.
    """

    name: str
    factor: sp.Expr
    offset: sp.Expr
    says: str = ""

    def __str__(self) -> str:
        text = self.name if self.factor == 1 else f"{self.name}, times {self.factor}"
        return f"{text} ({self.says})" if self.says else text


class Known(str):
    """The answer of :func:`lossderiv.known_as`: a sentence that keeps its ``matches``."""

    matches: tuple[Match, ...]

    def __new__(cls, matches: tuple[Match, ...]):
        text = super().__new__(cls, "; ".join(map(str, matches)))
        text.matches = matches
        return text

    def __getnewargs__(self):
        return (self.matches,)

    @property
    def factor(self) -> sp.Expr:
        """What the first named loss is multiplied by."""
        return self.matches[0].factor

    @property
    def offset(self) -> sp.Expr:
        """What is then added to give the exact negative log-likelihood."""
        return self.matches[0].offset

    def text(self) -> str:
        """Each match as an equation, for a terminal."""
        return "\n".join(
            f"-log p = {'' if m.factor == 1 else f'{m.factor} '}{m.name} + {plain(m.offset)}"
            for m in self.matches
        )


def known_as(of: str | Density | Derivation, **options) -> Known | None:
    """The name under which the field knows this loss, with the factor between them.

    Two losses are the same for training when their slopes in every raw output agree up to one
    positive factor; that is what is tested, at 60 digits. ``None`` when no known loss matches.
    The answer is a string; its ``factor`` and ``offset`` complete the equation
    ``nll = factor * named loss + offset``. ``options`` are those of :func:`lossderiv.derive`.

    >>> import lossderiv as ld
    >>> ld.known_as("normal", sigma=1)
    'torch.nn.MSELoss, times 1/2'
    >>> ld.known_as("normal", sigma=1).offset
    log(2*pi)/2
    >>> ld.known_as("huber", sigma=1, delta=2)
    'torch.nn.HuberLoss(delta=2); torch.nn.SmoothL1Loss(beta=2), times 2'
    >>> ld.known_as("bernoulli")
    'torch.nn.BCEWithLogitsLoss'
    >>> ld.known_as("continuous_bernoulli") is None
    True
    """
    d = derive(of, **options)
    for plain_names in (True, False):  # absolute error is called that, not a pinball at 1/2
        rows = [n for n in NAMED if (n.read is None) is plain_names]
        if found := tuple(m for named in rows if (m := _match(d, named)) is not None):
            return Known(found)
    return None


def _match(d: Derivation, named: Named) -> Match | None:
    if named.outputs != len(d.outputs) or named.vector != d.has_vectors:
        return None
    number, name = (), named.name
    if named.read is not None:
        read = _shape(d, named)
        if read is None:
            return None
        number, name = (read,), f"{name}({named.shape}={read})"
    formula = named.formula(*d.context.outputs, d.density.variable, *number)
    factor = _factor(d, formula)
    if factor is None:
        return None
    offset = d.dropped + d.scale * _gap(d, factor * formula)
    return Match(name, factor, offset, named.says)


def _shape(d: Derivation, named: Named) -> sp.Expr | None:
    """The named loss's own number, as it would have to be for this derivation."""
    (eta,), x = d.context.outputs, d.density.variable
    if d.density.data.low != -float("inf") or d.density.data.high != float("inf"):
        return None
    ours = Formula(slope(d.loss, eta, ()))

    def pull(residual: mp.mpf) -> mp.mpf:
        return ours.at({x: residual, eta: mp.mpf(0)})

    if pull(FAR) != pull(2 * FAR) or 0 in (pull(NEAR), pull(FAR)):
        return None  # no straight tail, so no such number
    number = named.read(pull)
    # Beyond these a tail was not straight after all: exp(-1e30) fills all memory with digits.
    return _exact(number) if NEAR < number < FAR else None


def _gap(d: Derivation, formula: sp.Expr) -> sp.Expr:
    """What a loss has beyond a formula with the same slopes, an expression free of the outputs."""
    if d.loss == formula or d.has_vectors:
        return sp.Integer(0)
    rest = (d.loss - formula).xreplace(dict.fromkeys(d.context.outputs, sp.Integer(0)))
    there = Formula(rest)
    small = all(abs(there.at(p)) < AGREE for p in _probes((rest,), d))
    return sp.Integer(0) if small else rest


def _factor(d: Derivation, formula: sp.Expr) -> sp.Expr | None:
    """The positive ``c`` with ``d.loss = c * formula`` up to what no output moves, if any."""
    if d.has_vectors:
        return 1 / d.scale if sp.expand(d.scale * d.loss - formula) == 0 else None
    ratio = None
    for by in d.context.outputs:
        ours, theirs = Formula(slope(d.loss, by, ())), Formula(slope(formula, by, ()))
        for point in _probes((ours.expr, theirs.expr), d):
            a, b = ours.at(point), theirs.at(point)
            if b == 0 or a == 0:
                if a != b:
                    return None
                continue
            if ratio is None:
                ratio = a / b
            if not ratio > 0 or abs(a / b - ratio) > AGREE * ratio:
                return None
    return None if ratio is None else _exact(ratio)


def _probes(exprs, d: Derivation):
    """The usual probe points and, for any real data, residuals inside and outside every bend."""
    yield from indexed_points(exprs, d.context)
    if d.density.data.name == "Real":
        typical = next(indexed_points(exprs, d.context))
        middle = mp.mpmathify(typical[d.context.outputs[0]])
        for residual in (NEAR, -NEAR, FAR, -FAR):
            with mp.workdps(80):  # enough to hold both the middle and a residual so small
                yield {**typical, d.density.variable: middle + residual}


def _exact(number: mp.mpf) -> sp.Expr:
    return sp.nsimplify(str(mp.nstr(number, 30)), rational=True)
