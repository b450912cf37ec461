"""The functions that join a row's entries, taken apart: steps for each entry, numbers of a row.

A softmax becomes its largest score, the exponentials of what lies below it, and their sum. What
two functions share is one step: the loss and the shares of a mixture need the same sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import sympy as sp

from lossderiv.codegen.c_printer import CPrinter
from lossderiv.codegen.printer import is_curved
from lossderiv.codegen.share import Assignments
from lossderiv.errors import SpellingError
from lossderiv.special import expm1, lbeta, log1p, stirling_error
from lossderiv.special_mixtures import LogShare, MixedSurprisal, ShareOf
from lossderiv.special_vectors import Complements, LogBeta, Rest, StirlingErrors, Surprisals
from lossderiv.symbolic.triangular import Backward, Forward, Pairs, Scaled
from lossderiv.symbolic.vectors import (
    CLASSES,
    Bound,
    Entries,
    LogSumExp,
    Others,
    Placed,
    Softmax,
    Surprisal,
    Unrolled,
)

OWN = {"rows", "K", "work", "room", "s", "e", "r", "k", "j", "losses", "entries", "block"}
OWN |= {"summed", "each", "refused", "first", "most", "count", "sum", "total"}
"""Names of the loops."""


@dataclass(frozen=True)
class Solution:
    """A number for each entry: those of ``z`` with ``L z = body``, or ``L^T z = body`` if
    ``turned``. ``L`` has a ``diagonal`` and, row by row, the input ``lower`` below it."""

    body: sp.Symbol
    diagonal: sp.Symbol
    lower: sp.Symbol
    turned: bool
    runs = True

    @property
    def parts(self) -> list[sp.Symbol]:
        return [self.body, self.diagonal, self.lower]


@dataclass(frozen=True)
class Products:
    """``factor`` times an entry of ``left`` times one of ``right``, for each pair below a diagonal:
    a result with as many numbers in a row as there are pairs."""

    factor: sp.Expr
    left: sp.Symbol
    right: sp.Symbol
    runs = True

    @property
    def parts(self) -> list[sp.Symbol]:
        return [self.left, self.right]


@dataclass(frozen=True)
class Reduction:
    """A number of a row, made of an entry of each column: ``by`` is max, min, sum, tail (the sum
    without the first entry), others (the sum without that at the place ``at``, or else without the
    class that the target names), picked (that class's), best (the place of the largest) or at (that
    at the place ``at``). A sum with a ``when`` is 0, and not computed, in rows where that is 0.

    Or, by before or after, a number for each entry: the sum of those before or after it."""

    by: str
    body: sp.Expr
    at: sp.Symbol | None = None
    when: sp.Symbol | None = None

    @property
    def runs(self) -> bool:
        """Whether it has a value for each entry."""
        return self.by in ("before", "after")

    @property
    def parts(self) -> list[sp.Symbol]:
        """What it is made of."""
        others = [s for s in (self.at, self.when) if s is not None]
        return [*_by_name(self.body.free_symbols), *others]


AlongRow = Reduction | Solution | Products
"""What takes the entries of a row one after the other."""


@dataclass(frozen=True)
class Result:
    """A step that is the loss or a slope, the array it fills, and what replaces the entry of the
    target's class."""

    value: sp.Symbol
    array: str
    placed: sp.Symbol | None = None


class RowSteps:
    """Steps by their names, in an order in which they can be computed."""

    def __init__(
        self,
        inputs: Sequence[str],
        where: Assignments,
        names: Sequence[sp.Expr],
        classes: bool,
        vectors: bool,
        pairs: Sequence[str] = (),
    ):
        self.meanings: dict[sp.Symbol, sp.Expr | AlongRow] = {}
        self.known: dict[sp.Expr | AlongRow, sp.Symbol] = {}
        self.names: dict[str, sp.Symbol] = {}
        self.inputs = [self.symbol(name, real=True) for name in inputs]
        self.data, self.classes = self.inputs[-1], classes
        self.pairs = {self.symbol(name) for name in pairs}  # a number for each pair of entries
        self.rows: set[sp.Symbol] = {CLASSES} if vectors else {CLASSES, self.data}
        self.own = {self._label(s) for s, _ in where}
        self.named: set[sp.Symbol] = set()
        self.curved: set[sp.Symbol] = set()
        self.results: set[sp.Symbol] = set()
        self.taken = OWN | {s.name for s in self.inputs} | {self._label(s) for s in names}
        self.roots: dict[sp.Symbol, sp.Symbol] = {}  # log of a share -> the share's root

    # Names ---------------------------------------------------------------------------------------

    def symbol(self, name: str, **assumptions) -> sp.Symbol:
        """The symbol that a name of the formula has in C."""
        if name not in self.names:
            safe = f"{name}_" if name in OWN else CPrinter().doprint(sp.Symbol(name))
            self.names[name] = sp.Symbol(safe, **assumptions)
        return self.names[name]

    @staticmethod
    def _label(s: sp.Expr) -> str:
        return str(s.base.label) if isinstance(s, sp.Indexed) else str(s)

    def define(self, name: sp.Expr, expr: sp.Expr) -> None:
        """A step of the formula, under its own name."""
        meaning = self.write(expr)
        label = self._label(name)
        if meaning.is_Symbol:  # such as a share, which is a step already
            self.names[label] = meaning
            return
        plain = name.base.label if isinstance(name, sp.Indexed) else name
        symbol = self.symbol(label, **plain._assumptions_orig)
        self._add(symbol, meaning, entries=isinstance(name, sp.Indexed))
        if label in self.own:
            self.named.add(symbol)

    def keep(self, hint: str, meaning: sp.Expr | AlongRow, **assumptions) -> sp.Symbol:
        """The step of a meaning, which is made if it is new."""
        if isinstance(meaning, sp.Symbol):
            return meaning
        if meaning not in self.known:
            if isinstance(meaning, AlongRow):
                entries = meaning.runs
            else:
                entries = not meaning.free_symbols <= self.rows
            symbol = self._fresh(hint, **assumptions)
            self._add(symbol, meaning, entries)
        return self.known[meaning]

    def result(self, hint: str, meaning: sp.Expr | AlongRow, entries: bool) -> sp.Symbol:
        """A step of its own, whatever it means: even where that is a number or another step."""
        symbol = self._fresh(hint)
        self._add(symbol, meaning, entries)
        self.results.add(symbol)
        return symbol

    def _fresh(self, hint: str, **assumptions) -> sp.Symbol:
        name, k = hint, 1
        while name in self.taken:
            name, k = f"{hint}{k}", k + 1
        self.taken.add(name)
        symbol = sp.Symbol(name, real=True, **assumptions)
        self.named.add(symbol)
        return symbol

    def _add(self, symbol: sp.Symbol, meaning: sp.Expr | AlongRow, entries: bool) -> None:
        self.meanings[symbol] = meaning
        self.known.setdefault(meaning, symbol)
        if not entries:
            self.rows.add(symbol)
        if isinstance(meaning, AlongRow) or is_curved(meaning, self.curved):
            self.curved.add(symbol)

    # Who needs what ------------------------------------------------------------------------------

    def names_in(self, s: sp.Symbol) -> list[sp.Symbol]:
        """The steps and inputs in a step's meaning."""
        meaning = self.meanings[s]
        return meaning.parts if isinstance(meaning, AlongRow) else _by_name(meaning.free_symbols)

    def is_light(self, s: sp.Symbol) -> bool:
        """Whether a number of a row is so soon computed that every loop may do it anew."""
        known = s in self.rows and s in self.meanings
        return known and s not in self.curved and s not in self.results

    def uses(self, s: sp.Symbol) -> set[sp.Symbol]:
        """What must be there before a step, light ones left out for what they are made of."""
        found: set[sp.Symbol] = set()
        for used in self.names_in(s):
            found |= self.uses(used) if self.is_light(used) else {used}
        return found - {CLASSES}

    def needed(self, results: Iterable[sp.Symbol]) -> list[sp.Symbol]:
        """The steps that results are made of, in their order."""
        waiting, found = list(results), set()
        while waiting:
            s = waiting.pop()
            if s in self.meanings and s not in found:
                found.add(s)
                waiting += self.names_in(s)
        return [s for s in self.meanings if s in found]

    # Expressions ---------------------------------------------------------------------------------

    def write(self, expr: sp.Expr) -> sp.Expr:
        """An expression in names alone: what it takes of a whole row is a step of its own."""
        if isinstance(expr, sp.Indexed):
            return self._entry(expr)
        if isinstance(expr, sp.Symbol):
            return self.names.get(str(expr), expr)
        if type(expr) in RULES:
            return RULES[type(expr)](self, *expr.args)
        if isinstance(expr, sp.Sum):
            body = self.write(expr.function)
            if body.free_symbols <= self.rows:
                return CLASSES * body
            return self.keep("added", Reduction("sum", self.keep("term", body)))
        if isinstance(expr, Bound | Entries | Unrolled | sp.Tuple):
            raise SpellingError(f"{type(expr).__name__}, a function of vectors, has no C spelling.")
        if not expr.args:
            return expr
        if isinstance(expr, sp.exp) and (share := self._share(expr.args[0])) is not None:
            return share
        return expr.func(*(self.write(a) for a in expr.args))

    def _entry(self, expr: sp.Indexed) -> sp.Symbol:
        """Each entry of a vector, or the one that the target names."""
        name = self.symbol(self._label(expr), **expr.base.label._assumptions_orig)
        if name in self.pairs:
            raise SpellingError(f"{expr}, one for each pair of entries, has no C spelling here.")
        if not isinstance(expr.indices[0], sp.Idx):
            return self.keep("picked", Reduction("picked", name))
        return name

    def column(self, expr: sp.Expr) -> sp.Symbol:
        return self.keep("score", self.write(expr))

    def _share(self, log: sp.Expr) -> sp.Expr | None:
        """``exp`` of a log of shares, or of half of it, by their roots."""
        factor, inner = log.as_coeff_Mul()
        root = self.roots.get(self.write(inner)) if factor in (1, sp.Rational(1, 2)) else None
        if root is None:
            return None
        return root if factor != 1 else self.keep("share", root**2)

    def below_largest(self, scores: sp.Symbol) -> tuple[sp.Symbol, sp.Symbol]:
        """A row's largest score, and how far each lies below it."""
        top = self.keep("top", Reduction("max", scores))
        return top, self.keep("apart", scores - top, nonpositive=True)

    def weights(self, scores: sp.Symbol) -> tuple[sp.Symbol, sp.Symbol, sp.Symbol]:
        """A softmax's exponentials, their sum, and its inverse."""
        _, apart = self.below_largest(scores)
        exps = self.keep("exps", sp.exp(apart))
        if self.classes:  # their loss asks for the others' sum as well
            others = self.keep("others", Reduction("others", exps))
            total = self.keep("total", others + self.keep("own", Reduction("picked", exps)))
        else:
            total = self.keep("total", Reduction("sum", exps))
        return exps, total, self.keep("inverse", 1 / total)

    def halves(self, apart: sp.Symbol) -> tuple[sp.Symbol, sp.Symbol]:
        """The roots of a softmax's exponentials, and the sum of their squares: a share may
        underflow where its root does not."""
        half = self.keep("half", sp.exp(apart / 2))
        return half, self.keep("total", Reduction("sum", self.keep("square", half**2)))

    def log(self, total: sp.Symbol) -> sp.Symbol:
        return self.keep("log_total", sp.log(total))


def _by_name(symbols: Iterable[sp.Symbol]) -> list[sp.Symbol]:
    return sorted(symbols, key=lambda s: s.name)


def results_of(
    steps: RowSteps, value: sp.Expr, slopes: Sequence[sp.Expr], arrays: Sequence[str]
) -> list[Result]:
    """The loss, then the slopes."""
    results = [Result(steps.result("loss", steps.write(value), entries=False), "losses")]
    for slope, array in zip(slopes, arrays, strict=True):
        placed = None
        factor, pairs = slope.as_coeff_Mul()
        if isinstance(pairs, Pairs):
            left, right = (steps.column(e) for e in pairs.args[:2])
            found = steps.result("d", Products(factor, left, right), entries=True)
            results.append(Result(found, array))
            continue
        if isinstance(slope, Placed):
            slope, _, _, at = slope.args
            placed = steps.result("there", steps.write(at), entries=False)
        found = steps.result("d", steps.write(slope), entries=True)
        results.append(Result(found, array, placed))
    return results


# What each function is made of -------------------------------------------------------------------


def softmax(steps: RowSteps, scores: sp.Expr, i: sp.Idx) -> sp.Symbol:
    exps, _, inverse = steps.weights(steps.column(scores))
    return steps.keep("weight", exps * inverse)


def others(steps: RowSteps, weights: sp.Expr, i: sp.Idx, x: sp.Expr) -> sp.Expr:
    column, inverse = unscaled(steps, weights)
    return steps.keep("others", Reduction("others", column)) * inverse


def unscaled(steps: RowSteps, weights: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Weights, and what all of them are multiplied by: a softmax's are exponentials."""
    column = steps.column(weights)
    meaning = steps.meanings.get(column)
    for inverse in meaning.args if isinstance(meaning, sp.Mul) else ():
        if inverse in steps.rows:
            return meaning / inverse, inverse
    return column, sp.Integer(1)


def all_but_largest(steps: RowSteps, column: sp.Symbol) -> sp.Symbol:
    best = steps.keep("best", Reduction("best", column))
    return steps.keep("rest", Reduction("others", column, at=best))


def surprisals(steps: RowSteps, scores: sp.Expr, i: sp.Idx) -> sp.Expr:
    column = steps.column(scores)
    _, apart = steps.below_largest(column)
    exps, _, _ = steps.weights(column)
    return steps.keep("spread", log1p(all_but_largest(steps, exps))) - apart


def complements(steps: RowSteps, weights: sp.Expr, i: sp.Idx) -> sp.Expr:
    column, inverse = unscaled(steps, weights)
    largest = steps.keep("largest", Reduction("max", column))
    rest = all_but_largest(steps, column)
    one_less = 1 - steps.column(weights)
    return sp.Piecewise((rest * inverse, column >= largest), (one_less, True))


def stirling_errors(steps: RowSteps, counts: sp.Expr, i: sp.Idx) -> sp.Expr:
    """Exactly 0 where one class has all."""
    column = steps.column(counts)
    total = steps.keep("added", Reduction("sum", column))
    errors = steps.keep("errors", Reduction("sum", steps.keep("error", stirling_error(column))))
    largest = steps.keep("largest", Reduction("max", column))
    return sp.Piecewise((0, largest >= total), (errors - stirling_error(total), True))


def rest_of(steps: RowSteps, body: sp.Expr, i: sp.Idx) -> sp.Expr:
    column = steps.column(body)
    before = steps.keep("before", Reduction("before", column))
    return before + steps.keep("after", Reduction("after", column))


def solution(steps: RowSteps, turned: bool, right: sp.Expr, diagonal: sp.Expr, lower: sp.Expr):
    below = steps.symbol(steps._label(lower)) if isinstance(lower, sp.Indexed) else None
    if below not in steps.pairs:
        raise SpellingError(
            f"A matrix with {lower} below its diagonal has no C spelling: no output."
        )
    parts = (steps.keep(n, steps.write(e)) for n, e in (("right", right), ("diagonal", diagonal)))
    return steps.keep("solution", Solution(*parts, below, turned))


def forward(steps: RowSteps, right, diagonal, lower, m: sp.Idx, p: sp.Idx, i: sp.Idx) -> sp.Symbol:
    return solution(steps, False, right, diagonal, lower)


def backward(steps: RowSteps, right, diagonal, lower, n: sp.Idx, p: sp.Idx, i: sp.Idx) -> sp.Symbol:
    return solution(steps, True, right, diagonal, lower)


def scaled(steps: RowSteps, w: sp.Expr, c: sp.Expr, k: sp.Idx, i: sp.Idx) -> sp.Symbol:
    return steps.keep("scaled", steps.write(w) * steps.write(c))


def log_beta(steps: RowSteps, body: sp.Expr, j: sp.Idx) -> sp.Symbol:
    """Entry after entry joins those before it; the first has none."""
    column = steps.column(body)
    before = steps.keep("before", Reduction("before", column))
    joined = steps.keep("joined", lbeta(before, column))
    return steps.keep("log_beta", Reduction("tail", joined))


def surprisal(steps: RowSteps, scores: sp.Expr, w: sp.Expr, i: sp.Idx, x: sp.Expr) -> sp.Expr:
    column = steps.column(scores)
    top, _ = steps.below_largest(column)
    _, total, _ = steps.weights(column)
    picked = steps.keep("picked", Reduction("picked", column))
    return steps.keep("below", top - picked) + steps.log(total)


def below_winner(steps: RowSteps, logits: sp.Expr, ell: sp.Expr) -> tuple[sp.Symbol, sp.Expr]:
    """How far each component's score lies below that of the winner, and the winner's loss.

    Scores and losses are compared with the winner's own before they are put together: so both may
    be huge, and what lies near the winner keeps its digits.
    """
    scores, losses = steps.column(logits), steps.column(ell)
    top, _ = steps.below_largest(scores)
    _, total, _ = steps.weights(scores)
    best = steps.keep("best", Reduction("best", steps.keep("score", scores - losses)))
    score = steps.keep("score_best", Reduction("at", scores, best))
    loss = steps.keep("loss_best", Reduction("at", losses, best))
    nearer = steps.keep("nearer", scores - score)
    worse = steps.keep("worse", losses - loss)
    common = steps.keep("above", top - score) + loss
    return steps.keep("lead", nearer - worse), steps.keep("won", common) + steps.log(total)


def surprisal_of(steps: RowSteps, logits: sp.Expr, ell: sp.Expr) -> sp.Expr:
    """Minus the log of the weighted sum."""
    lead, won = below_winner(steps, logits, ell)
    _, total = steps.halves(lead)
    return won - steps.log(total)


def log_sum_exp(steps: RowSteps, body: sp.Expr, j: sp.Idx) -> sp.Expr:
    weights = [a for a in sp.Add.make_args(body) if isinstance(a, LogShare) and a.args[2] == 0]
    if weights:
        return -surprisal_of(steps, weights[0].args[0], weights[0] - body)
    column = steps.column(body)
    top, apart = steps.below_largest(column)
    _, total = steps.halves(apart)
    return top + steps.log(total)


def log_share(steps: RowSteps, logits: sp.Expr, i: sp.Idx, ell: sp.Expr) -> sp.Symbol:
    lead, _ = below_winner(steps, logits, ell)
    half, total = steps.halves(lead)
    log = steps.keep("log_share", lead - steps.log(total))
    steps.roots[log] = steps.keep("root", half * steps.keep("unit", 1 / sp.sqrt(total)))
    return log


def share_of(steps: RowSteps, root: sp.Expr, i: sp.Idx, slope: sp.Expr) -> sp.Expr:
    root = steps.column(root)
    part = steps.keep("part", root * steps.column(slope))
    return sp.Piecewise((steps.keep("product", root * part), root > 0), (0, True))


def mixed_surprisal(steps: RowSteps, logits: sp.Expr, j: sp.Idx, ell: sp.Expr) -> sp.Expr:
    column = steps.column(ell)
    far = steps.keep("far", surprisal_of(steps, logits, ell))
    least = steps.keep("least", Reduction("min", column))
    near = sp.And(sp.Abs(far) < sp.Rational(1, 2), least > -20)
    near = steps.keep("near", sp.Piecewise((1, near), (0, True)))
    lack = expm1(-column) * softmax(steps, logits, j)
    lacking = steps.keep("lacking", Reduction("sum", lack, when=near))
    return sp.Piecewise((-log1p(lacking), near > 0), (far, True))


RULES: dict[type, Callable[..., sp.Expr]] = {
    Softmax: softmax,
    Others: others,
    Surprisal: surprisal,
    LogSumExp: log_sum_exp,
    LogShare: log_share,
    ShareOf: share_of,
    MixedSurprisal: mixed_surprisal,
    Surprisals: surprisals,
    Complements: complements,
    Rest: rest_of,
    LogBeta: log_beta,
    StirlingErrors: stirling_errors,
    Forward: forward,
    Backward: backward,
    Scaled: scaled,
}
