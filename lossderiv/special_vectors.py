"""TABLE of special functions of vectors: what each means, its slope, how torch computes it well.

Their argument is a vector's entry ``body`` and the index of that entry. A :class:`Bound` one makes
a number of the vector, one of :class:`Entries` another vector.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.special import digamma_gap, lgamma, log1p, relu, stirling_error
from lossderiv.symbolic.vectors import (
    CLASSES,
    RUNNING,
    Bound,
    Entries,
    LogSumExp,
    Softmax,
    sum_over,
)


def _sum(body: sp.Expr, i: sp.Idx) -> sp.Expr:
    return sp.Sum(body, (i, 0, CLASSES - 1))


def against_all(surprisal: sp.Expr, others: sp.Expr) -> sp.Expr:
    """``-log p`` from itself, where it is above log 2, and else from ``1 - p``, whose digits are
    all good even where ``p`` is nearly 1."""
    return relu(surprisal - sp.log(2)) - log1p(-sp.Min(others, sp.Rational(1, 2)))


class Surprisals(Entries):
    r"""``-log`` of every softmax weight, arguments ``(body_i, i)``.

    Two positive parts: the distance to the largest score, and the log of what the others weigh.
    """

    nargs = 2
    spelling = """
def surprisals(u):
    top, at = u.max(-1, keepdim=True)
    others = torch.exp(u - top).scatter(-1, at, 0.0).sum(-1, keepdim=True)
    return (top - u) + torch.log1p(others)
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, i: sp.Idx) -> sp.Expr:
        return LogSumExp(body.xreplace({i: RUNNING}), RUNNING) - body

    def _latex(self, printer, exp=None) -> str:
        return rf"-\log {printer._print(Softmax(*self.args))}"

    def _sympystr(self, printer) -> str:
        return f"-log({printer._print(Softmax(*self.args))})"


class Complements(Entries):
    """1 less each of some weights that add up to 1, arguments ``(weights_i, i)``.

    The largest weight may be all but 1: there the others are added up instead.
    """

    nargs = 2
    spelling = """
def complements(w):
    at = w.argmax(-1, keepdim=True)
    others = w.scatter(-1, at, 0.0).sum(-1, keepdim=True)
    return (1.0 - w).scatter(-1, at, others)
""".strip("\n")

    @staticmethod
    def meaning(weights: sp.Expr, i: sp.Idx) -> sp.Expr:
        return 1 - weights

    def _latex(self, printer, exp=None) -> str:
        return rf"\left(1 - {printer._print(self.args[0])}\right)"

    def _sympystr(self, printer) -> str:
        return f"(1 - {printer._print(self.args[0])})"


class StirlingErrors(Bound):
    """What Stirling's formula leaves of ``log(prod x_i! / n!)``, n the sum: ``(x_i, i)``.

    Exactly 0 where one class has all.
    """

    nargs = 2
    tex = r"\operatorname{stirling}"
    spelling = """
def stirlingerrors(x):
    n = x.sum(-1)
    gap = stirling_error(x).sum(-1) - stirling_error(n)
    return torch.where(x.amax(-1) == n, 0.0, gap)
""".strip("\n")

    @staticmethod
    def meaning(x: sp.Expr, i: sp.Idx) -> sp.Expr:
        return _sum(stirling_error(x), i) - stirling_error(_sum(x, i))


class Rest(Entries):
    """The sum of all entries but one, arguments ``(a_i, i)``: those before and those after it."""

    nargs = 2
    spelling = """
def rest(a):
    none = torch.zeros_like(a[..., :1])
    before = torch.cat((none, a[..., :-1]), -1).cumsum(-1)
    after = torch.cat((none, a.flip(-1)[..., :-1]), -1).cumsum(-1).flip(-1)
    return before + after
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, i: sp.Idx) -> sp.Expr:
        return _sum(body.xreplace({i: RUNNING}), RUNNING) - body

    def _latex(self, printer, exp=None) -> str:
        body, i = self.args
        j, i, other = (printer._print(a) for a in (RUNNING, i, body.xreplace({i: RUNNING})))
        return rf"\sum_{{{j} \neq {i}}} {other}"

    def _sympystr(self, printer) -> str:
        return f"others({printer._print(self.args[0])})"


class LogBeta(Bound):
    """Log of the beta function of a vector, arguments ``(a_j, j)``: ``prod Γ(a_j) / Γ(sum a_j)``.

    Entry after entry joins those before it by the beta function of two numbers.
    """

    nargs = 2
    tex = r"\log\operatorname{B}"
    spelling = """
def logbeta(a):
    return lbeta(a.cumsum(-1)[..., :-1], a[..., 1:]).sum(-1)
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, j: sp.Idx) -> sp.Expr:
        return _sum(lgamma(body), j) - lgamma(_sum(body, j))

    def _eval_derivative(self, s: sp.Expr) -> sp.Expr:
        body, j = self.args
        return sum_over(digamma_gap(body, Rest(body, j)) * body.diff(s), j)

    def _latex(self, printer, exp=None) -> str:
        return rf"\log\operatorname{{B}}\left({printer._print(self.args[0])}\right)"

    def _sympystr(self, printer) -> str:
        return f"log B({printer._print(self.args[0])})"
