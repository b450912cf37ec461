"""Losses over classes: is ``exp(-loss)``, added up over the classes, the same for all outputs?

The sum runs over as many classes as there are outputs, so it can always be written down. Where the
loss picks one entry, ``common + g(eta[x])``, what the sum makes of it is a categorical likelihood
with the logits ``-g``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import mpmath as mp
import sympy as sp

from lossderiv.errors import DensityError
from lossderiv.symbolic.probe import Formula
from lossderiv.symbolic.records import Domain
from lossderiv.symbolic.render import plain
from lossderiv.symbolic.vectors import CLASSES, EACH, RUNNING, LogSumExp, sum_over

AGREE = mp.mpf(10) ** -25
VECTORS = ((0.3, -0.8, 0.45), (-1.25, 0.6, -0.2), (2.1, 0.15, 1.1, -0.4, 0.9))


class _Softmax:
    """``softmax(eta)[k]``, for reading a formula."""

    def __init__(self, vector: sp.IndexedBase):
        self.vector = vector

    def __getitem__(self, k) -> sp.Expr:
        return sp.exp(self.vector[k] - LogSumExp(self.vector[RUNNING], RUNNING))


WORDS = {
    "logsumexp": lambda v: LogSumExp(v[RUNNING], RUNNING),
    "softmax": _Softmax,
    "mean": lambda v: sum_over(v[RUNNING], RUNNING) / CLASSES,
    "total": lambda v: sum_over(v[RUNNING], RUNNING),
}


def read(loss: sp.Expr | str, domain: Domain, target: str) -> tuple:
    """The loss, its target and the vector of its raw outputs."""
    x = domain.symbol(target)
    if isinstance(loss, str):
        inside = "|".join(WORDS)
        names = {*re.findall(r"\b([A-Za-z]\w*)\s*\[", loss)}
        names |= {*re.findall(rf"\b(?:{inside})\(\s*([A-Za-z]\w*)\s*\)", loss)}
        vectors = {n: sp.IndexedBase(n, real=True) for n in names - set(WORDS)}
        try:
            loss = sp.sympify(loss, locals={**WORDS, **vectors, target: x})
        except (sp.SympifyError, SyntaxError, TypeError, AttributeError) as problem:
            raise DensityError(
                f"The loss {loss!r} cannot be read as a formula over classes: {problem}. Write it "
                "with eta[x] for the output of the target's class, and logsumexp(eta), "
                "softmax(eta)[x], mean(eta), total(eta), exp, log, ..."
            ) from problem
    if not isinstance(loss, sp.Expr):
        raise DensityError(
            f"Expected a loss as a SymPy expression or as text, not {type(loss).__name__}."
        )
    loss = loss.xreplace({f: sp.Rational(str(f)) for f in loss.atoms(sp.Float)})
    bases = sorted(loss.atoms(sp.IndexedBase), key=str)
    picked = [e for e in loss.atoms(sp.Indexed) if e.indices == (x,)]
    others = {s.name for s in loss.free_symbols if isinstance(s, sp.Symbol)}
    others -= {target, str(CLASSES), *(str(b.label) for b in bases)}
    if len(bases) != 1 or not picked or others:
        raise DensityError(
            f"A loss over classes has one vector of raw outputs and picks the entry of its "
            f"target, such as logsumexp(eta) - eta[{target}]; {loss} does not, or has other "
            f"symbols ({', '.join(sorted(others)) or 'none'})."
        )
    return loss, x, bases[0]


def log_total(loss: sp.Expr, x: sp.Symbol, vector: sp.IndexedBase) -> tuple[sp.Expr, sp.Expr]:
    """``log sum_x exp(-loss)``, and the logits if the loss picks one entry (else 0)."""
    expanded = sp.expand(loss)
    common, own = expanded.as_independent(x, as_Add=True)
    entry = sp.Dummy("entry", real=True)
    logit = (-own).xreplace({vector[x]: entry})
    if logit.has(x):
        return LogSumExp(-loss.xreplace({x: EACH}), EACH), sp.Integer(0)
    logits = logit.xreplace({entry: vector[EACH]})
    return LogSumExp(logits, EACH) - common, logits


def sums(loss: sp.Expr, x: sp.Symbol, vector: sp.IndexedBase) -> list[mp.mpf]:
    """``sum_x exp(-loss)`` in numbers, class by class, at each of :data:`VECTORS`."""
    energy = Formula(loss)
    found = []
    for values in VECTORS:
        at = [energy.at({vector: values, x: k, CLASSES: len(values)}) for k in range(len(values))]
        if not all(mp.isfinite(a) and mp.im(a) == 0 for a in at):
            raise DensityError(f"The loss {loss} is no real number at the outputs {values}.")
        with mp.workdps(40):
            found.append(mp.fsum(mp.exp(-a) for a in at))
    return found


def gaps(log_z: sp.Expr, loss: sp.Expr, x, vector) -> list[mp.mpf]:
    """The formula for the log of the sum, less the sum's log in numbers."""
    formula, totals = Formula(log_z), sums(loss, x, vector)
    with mp.workdps(40):
        return [
            formula.at({vector: v, CLASSES: len(v)}) - mp.log(z)
            for v, z in zip(VECTORS, totals, strict=True)
        ]


def answer_of(logits: sp.Expr, log_z, totals: Sequence[mp.mpf], vector: sp.IndexedBase) -> str:
    """The sentence that says what was found."""
    moves = any(abs(z - totals[0]) > AGREE * totals[0] for z in totals)
    theirs = plain(logits.xreplace({vector[EACH]: sp.Symbol(str(vector.label))}))
    name = f"categorical with logits {theirs}" if logits != 0 else "a categorical density"
    if not moves:
        less = "" if abs(totals[0] - 1) < AGREE else f", less {mp.nstr(mp.log(totals[0]), 8)}"
        return f"{name}: the loss is its negative log-likelihood{less}."
    return (
        f"None: the normaliser Z of exp(-loss) depends on the output, Z = {mp.nstr(totals[0], 5)} "
        f"at {vector.label} = {VECTORS[0]} and {mp.nstr(totals[1], 5)} at {VECTORS[1]}. The "
        f"missing term is log Z = {plain(log_z)}; loss + log Z is that of {name}."
    )
