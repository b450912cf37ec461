"""A prior over the weights is a penalty on them: maximum a posteriori instead of likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from lossderiv.derivations import derive, find_density
from lossderiv.domains import LINKS
from lossderiv.errors import ParameterError
from lossderiv.insight.claim import Claim
from lossderiv.insight.record import Shown, heading
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.prove import prove
from lossderiv.symbolic.records import Context, Density, Domain

COUPLED = ("SGD", "Adam", "Adagrad", "RMSprop")  # these add weight_decay * w to the gradient
DECOUPLED = ("AdamW",)  # takes lr * weight_decay * w off the weight itself


@dataclass(frozen=True, repr=False)
class Penalty(Shown):
    """What a prior adds to the summed negative log-likelihood of all the data, for each weight.

    ``kind`` is ``"weight decay"`` where ``expr = strength/2 * w**2``, ``"L1"`` where
    ``expr = strength * |w|``, and ``""`` for anything else.
    """

    prior: str
    given: Mapping[str, sp.Expr]
    weight: sp.Symbol
    expr: sp.Expr
    kind: str
    strength: sp.Expr | None
    steps: tuple[Claim, ...]
    density: Density | None = None

    def check(self) -> tuple[str, ...]:
        """Each claim proven or probed again; raises ``DerivationError`` at a false one."""
        again = _claims(self.density, self.given, self.weight, self.expr, self.kind, self.strength)
        return tuple(step.verdict for step in again)

    @property
    def title(self) -> str:
        """Which prior."""
        return f"Penalty of the prior {heading(self.prior, self.given)}"

    def rows(self):
        """The penalty, its name, and how it meets an optimiser."""
        rows = [s.row() for s in self.steps]
        if self.kind == "weight decay":
            text = (
                "In SGD and Adam, weight_decay = strength for a loss summed over all the data, "
                "strength/n for a mean over n terms; AdamW's weight_decay is no prior's, because "
                "it skips the division by the root of the second moment."
            )
            rows.append(("as an argument", [text]))
        elif self.kind == "L1":
            text = "No argument of torch.optim: add coefficient(n) * |w| to a mean over n terms."
            rows.append(("as an argument", [text]))
        return rows

    def coefficient(self, terms: int, reduction: str = "mean", batch: int | None = None) -> float:
        """What ``expr`` is multiplied by before it is added to a batch's loss.

        ``terms`` counts what the log-likelihood of the whole data set sums: examples, or pixels of
        all examples, whichever the loss averages over. A ``"mean"`` needs 1/terms whatever the
        batch; a ``"sum"`` over ``batch`` of the terms needs batch/terms, and 1 without batches.
        """
        if reduction not in ("mean", "sum"):
            raise ParameterError(f"reduction={reduction!r} is not possible; use 'mean' or 'sum'.")
        if not 0 < (batch or terms) <= terms:
            raise ParameterError(
                f"A batch of {batch} out of {terms} terms is not possible: terms counts the whole "
                "data set."
            )
        return 1 / terms if reduction == "mean" else (batch or terms) / terms

    def weight_decay(
        self,
        terms: int,
        reduction: str = "mean",
        batch: int | None = None,
        optimizer: str = "SGD",
        preconditioner: float | None = None,
    ) -> float:
        """The optimiser's ``weight_decay`` that is this prior; the rest as in :meth:`coefficient`.

        SGD and Adam add ``weight_decay * w`` to the gradient, which is the slope of
        ``weight_decay/2 * w**2``. AdamW leaves its decay out of the division by
        ``sqrt(v) + eps``: one step equals the prior's only if that ``preconditioner`` is known, and
        it changes with every step and weight. Source: the algorithms in the documentation of
        torch.optim; Loshchilov and Hutter (2019), algorithm 2.

        >>> import lossderiv as ld
        >>> ld.map_penalty("normal", sigma=0.1).weight_decay(terms=60_000)
        0.0016666666666666668
        """
        if self.kind != "weight decay":
            raise ParameterError(
                f"The prior {self.prior} is no weight decay: its penalty is {self.expr}. Add "
                "coefficient(...) times that to the loss."
            )
        if self.strength.free_symbols:
            raise ParameterError(
                f"The strength {self.strength} is not a number yet: give the prior's values, as "
                "in map_penalty('normal', sigma=0.1)."
            )
        if optimizer not in (*COUPLED, *DECOUPLED):
            known = ", ".join((*COUPLED, *DECOUPLED))
            raise ParameterError(
                f"How {optimizer!r} decays weights is not known here; {known} are."
            )
        decay = float(self.strength) * self.coefficient(terms, reduction, batch)
        if optimizer in COUPLED:
            return decay
        if preconditioner is None:
            raise ParameterError(
                f"{optimizer} decays weights outside its division by sqrt(v) + eps, so that no "
                "prior corresponds to it. Use Adam, or give the preconditioner of one step and "
                "weight."
            )
        return decay / preconditioner


def map_penalty(prior: str | Density, **given: float) -> Penalty:
    """The penalty ``-log p(w)`` of a prior over each weight, constants left out.

    A location that is not ``given`` is 0; other parameters stay symbols. Maximum a posteriori
    minimises the summed negative log-likelihood plus this penalty for each weight. Source: Bishop
    (2006), section 1.2.5.

    >>> import lossderiv as ld
    >>> ld.map_penalty("normal").expr
    w**2/(2*sigma**2)
    >>> ld.map_penalty("laplace", b=0.5).expr
    2*Abs(w)
    """
    density = find_density(prior)
    if density.data.name != "Real":
        raise ParameterError(
            f"A weight is any real number, and {density.name} lives in {density.data.describe()}. "
            "Choose a prior over the real line, such as normal or laplace."
        )
    for name, value in given.items():
        if name not in density.parameters:
            raise ParameterError(
                f"{density.name} has no parameter {name!r}; it has {', '.join(density.parameters)}."
            )
        if not density.parameters[name].contains(float(value)):
            raise ParameterError(
                f"{name} = {value} lies outside {density.parameters[name].describe()}. Choose a "
                "value inside."
            )
    values = {n: sp.Rational(str(v)) for n, v in given.items()}
    for n, domain in density.parameters.items():
        if domain.name == "Real":
            values.setdefault(n, sp.Integer(0))
    w = sp.Symbol("w", real=True)
    nll = _nll_of_weight(density, values, w)
    expr = sp.Add(*(t for t in sp.Add.make_args(nll) if t.has(w)))
    kind, strength = _kind(expr, w)
    steps = _claims(density, values, w, expr, kind, strength)
    return Penalty(density.name, values, w, expr, kind, strength, steps, density)


def _nll_of_weight(density: Density, values: Mapping, w: sp.Symbol) -> sp.Expr:
    nll = _nll(density).xreplace({density.symbols[n]: v for n, v in values.items()})
    return nll.xreplace({density.variable: w})


def _claims(density: Density, values: Mapping, w, expr, kind: str, strength) -> tuple[Claim, ...]:
    """What the record says, each claim verified as it is made."""
    domains = {w: density.data}
    domains |= {density.symbols[n]: d for n, d in density.parameters.items() if n not in values}
    context = Context(domains, (w,))
    verdict = prove(_nll_of_weight(density, values, w), expr, context, "constant")
    steps = [
        Claim("penalty", -sp.Function("log_p")(w), expr, "up to what no weight moves", verdict)
    ]
    if kind:
        shape = w**2 / 2 if kind == "weight decay" else sp.Abs(w)
        same = prove(expr, strength * shape, context)
        steps.append(Claim(kind, sp.Symbol("strength"), strength, "what multiplies it", same))
    return tuple(steps)


def _nll(density: Density) -> sp.Expr:
    links = {n: _onto(d) for n, d in density.parameters.items() if d.link is None}
    return spell_out(derive(density.name, links=links).nll)


def _onto(domain: Domain) -> str:
    return next(name for name, link in LINKS.items() if link.onto == domain.name)


def _kind(expr: sp.Expr, w: sp.Symbol) -> tuple[str, sp.Expr | None]:
    for kind, shape in (("weight decay", w**2 / 2), ("L1", sp.Abs(w))):
        strength = sp.cancel(expr / shape) if kind == "weight decay" else sp.expand(expr / shape)
        if not strength.has(w):
            return kind, strength
    return "", None
