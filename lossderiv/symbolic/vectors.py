"""Expressions over a class axis: the few functions that join the entries of a vector.

A vector output is a SymPy ``IndexedBase``; ``eta[j]`` with a bound index ``j`` runs over its
entries, ``eta[x]`` picks the one that the target names. ``j`` is an ``Idx`` that carries its
range ``0 .. K-1``, so each function below knows over what it sums.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.functions import Special, spell_out

CLASSES = sp.Symbol("K", integer=True, positive=True)
RUNNING = sp.Idx("j", CLASSES)
ENTRY = sp.Idx("i", CLASSES)


class LogSumExp(Special):
    r"""``log sum_j exp(body_j)``, arguments ``(body, j)``.

    Spelled ``torch.logsumexp``: the largest term is taken out, so nothing overflows.
    """

    nargs = 2
    spelling = """
def logsumexp(u):
    return torch.logsumexp(u, -1)
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, j: sp.Idx) -> sp.Expr:
        return sp.log(sp.Sum(sp.exp(body), (j, 0, CLASSES - 1)))

    @property
    def free_symbols(self) -> set:
        return self.args[0].free_symbols - self.args[1].free_symbols

    def _eval_derivative(self, s: sp.Expr) -> sp.Expr:
        body, j = self.args
        whole = sp.Dummy("whole", real=True)  # its own j is bound: keep it out of the sum's reach
        return sum_over(sp.exp(body - whole) * body.diff(s), j).xreplace({whole: self})

    def _latex(self, printer, exp=None) -> str:
        body, j = self.args
        return rf"\log\sum_{{{printer._print(j)}}} e^{{{printer._print(body)}}}"

    def _sympystr(self, printer) -> str:
        return f"logsumexp({printer._print(self.args[0])})"


class Softmax(Special):
    r"""``exp(body_i) / sum_j exp(body_j)``, arguments ``(body, i)``: a vector of weights."""

    nargs = 2
    spelling = """
def softmax(u):
    return torch.softmax(u, -1)
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, i: sp.Idx) -> sp.Expr:
        return sp.exp(body - LogSumExp(body.xreplace({i: RUNNING}), RUNNING))

    def _latex(self, printer, exp=None) -> str:
        body, i = (printer._print(a) for a in self.args)
        return rf"\operatorname{{softmax}}_{{{i}}}\left({body}\right)"

    def _sympystr(self, printer) -> str:
        return f"softmax({printer._print(self.args[0])})"


class Others(Special):
    r"""The weights of all classes but the target's, added up: ``(weights_i, i, x)``.

    That is 1 less the target's weight, without the subtraction.
    """

    nargs = 3
    spelling = """
def others(w, x):
    return w.scatter(-1, x[..., None], 0.0).sum(-1)
""".strip("\n")

    @staticmethod
    def meaning(weights: sp.Expr, i: sp.Idx, x: sp.Expr) -> sp.Expr:
        return sp.Sum(sp.Piecewise((0, sp.Eq(i, x)), (weights, True)), (i, 0, CLASSES - 1))

    @property
    def free_symbols(self) -> set:
        return super().free_symbols - self.args[1].free_symbols

    def _latex(self, printer, exp=None) -> str:
        weights, i, x = (printer._print(a) for a in self.args)
        return rf"\sum_{{{i} \neq {x}}} {weights}"

    def _sympystr(self, printer) -> str:
        weights, i, x = (printer._print(a) for a in self.args)
        return f"sum({weights}, {i} != {x})"


class Surprisal(Special):
    r"""``-log`` of the target's softmax weight, arguments ``(body_i, weights_i, i, x)``.

    The weights stand by for a kernel that has them at hand.
    """

    nargs = 4
    spelling = """
def surprisal(u, w, x):
    return torch.logsumexp(u, -1) - u.gather(-1, x[..., None]).squeeze(-1)
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, weights: sp.Expr, i: sp.Idx, x: sp.Expr) -> sp.Expr:
        return LogSumExp(body.xreplace({i: RUNNING}), RUNNING) - body.xreplace({i: x})

    @property
    def free_symbols(self) -> set:
        return super().free_symbols - self.args[2].free_symbols

    def _latex(self, printer, exp=None) -> str:
        _, weights, i, x = self.args
        return rf"-\log {printer._print(weights.xreplace({i: x}))}"

    def _sympystr(self, printer) -> str:
        _, weights, _, x = self.args
        return f"-log({printer._print(weights)}[{x}])"


class Placed(Special):
    """A vector with one entry replaced, arguments ``(entry_i, i, x, value)``."""

    nargs = 4
    spelling = """
def placed(u, x, value):
    return u.scatter(-1, x[..., None], value[..., None])
""".strip("\n")

    @staticmethod
    def meaning(body: sp.Expr, i: sp.Idx, x: sp.Expr, value: sp.Expr) -> sp.Expr:
        return sp.Piecewise((value, sp.Eq(i, x)), (body, True))

    def _latex(self, printer, exp=None) -> str:
        body, i, x, value = (printer._print(a) for a in self.args)
        return rf"\begin{{cases}} {value} & {i} = {x} \\ {body} & {i} \neq {x} \end{{cases}}"

    def _sympystr(self, printer) -> str:
        body, i, x, value = (printer._print(a) for a in self.args)
        return f"[{value} if {i} = {x} else {body}]"


def sum_over(body: sp.Expr, j: sp.Idx) -> sp.Expr:
    """``sum_j body``, where Kronecker deltas in ``j`` pick their term and a zero body is zero."""
    for delta in body.atoms(sp.KroneckerDelta):
        if j in delta.args:
            other = next(a for a in delta.args if a != j)
            return body.xreplace({delta: sp.Integer(1)}).xreplace({j: other})
    return body if body == 0 else sp.Sum(body, (j, 0, CLASSES - 1))


def with_classes(expr: sp.Expr, count: int, index: dict[sp.Expr, int]) -> sp.Expr:
    """``expr`` written out for ``count`` classes, with each free index given a number."""
    expr = spell_out(expr)
    while sums := [s for s in expr.atoms(sp.Sum) if not s.function.has(sp.Sum)]:
        expr = expr.xreplace({s: _written_out(s, count) for s in sums})
    return expr.xreplace(
        {CLASSES: sp.Integer(count), **{k: sp.Integer(v) for k, v in index.items()}}
    )


def _written_out(total: sp.Sum, count: int) -> sp.Expr:
    j = total.variables[0]
    return sp.Add(*(total.function.xreplace({j: sp.Integer(n)}) for n in range(count)))
