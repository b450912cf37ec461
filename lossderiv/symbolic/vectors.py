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
OTHER = sp.Idx("l", CLASSES)  # of a second derivative: the column
EACH = sp.Idx("k", CLASSES)  # of a product over entries, and of the sum that is its log
INWARD, OUTWARD = sp.Idx("m", CLASSES), sp.Idx("n", CLASSES)  # bound in equations of vectors


class edge(Special):
    """One of increasing numbers, arguments ``(cuts, k)``: beyond their ends lie -oo and oo."""

    nargs = 2
    slopes = (lambda cuts, k: sp.Integer(0), lambda cuts, k: sp.Integer(0))
    spelling = """
def edge(cuts, k):
    # cuts[k]; below the first cut lies -inf, above the last one inf
    ends = torch.tensor((-torch.inf, *cuts, torch.inf), dtype=k.dtype, device=k.device)
    return ends[k.to(torch.int64) + 1]
""".strip("\n")

    @staticmethod
    def meaning(cuts: sp.Tuple, k: sp.Expr) -> sp.Expr:
        inside = ((c, sp.Eq(k, n)) for n, c in enumerate(cuts))
        return sp.Piecewise((-sp.oo, k < 0), *inside, (sp.oo, True))

    def _eval_is_finite(self) -> None:
        """It may be infinite."""

    def _latex(self, printer, exp=None) -> str:
        cuts, k = (printer._print(a) for a in self.args)
        return f"{cuts}_{{{k}}}"

    def _sympystr(self, printer) -> str:
        cuts, k = (printer._print(a) for a in self.args)
        return f"{cuts}[{k}]"


class Bound(Special):
    """A number made of a vector: the second argument is the index over which it runs."""

    @property
    def free_symbols(self) -> set:
        return super().free_symbols - self.args[1].free_symbols


class Entries(Special):
    """A function that makes a vector of a vector, by its entry: the last argument is the index."""


class Unrolled(sp.Function):
    """A vector that has no formula for every size, by its entry: the last argument is the index.

    ``vectors`` are what it is made of, each with the index that it binds; ``written(count)`` is the
    formula of an entry with a number for its index.
    """

    helpers: tuple[tuple[str, str], ...] = ()
    spelling = ""
    tex = ""

    @classmethod
    def eval(cls, *args: sp.Expr) -> None:
        """Stay as it is."""

    @property
    def free_symbols(self) -> set:
        inside = (v.free_symbols - j.free_symbols for v, j in self.vectors)
        return set().union(*inside) | self.args[-1].free_symbols

    def _eval_is_extended_real(self) -> bool:
        return True

    def _latex(self, printer, exp=None) -> str:
        text = rf"\left({self.whole(printer)}\right)_{{{printer._print(self.args[-1])}}}"
        return text if exp is None else f"{text}^{{{exp}}}"

    def whole(self, printer) -> str:
        """The vector itself in TeX, without its index."""
        text = self.tex
        for n, (v, j) in enumerate(self.vectors, 1):
            names = {e: e.base.label for e in v.atoms(sp.Indexed) if e.indices == (j,)}
            inner = {u: sp.Symbol(u.whole(printer)) for u in v.atoms(Unrolled)}
            text = text.replace(f"#{n}", printer._print(v.xreplace({**inner, **names})))
        return text

    def _sympystr(self, printer) -> str:
        plain = [v.xreplace({j: self.args[-1]}) for v, j in self.vectors]
        inside = ", ".join(printer._print(v) for v in plain)
        return f"{type(self).__name__.lower()}({inside})"


class LogSumExp(Bound):
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

    def _eval_derivative(self, s: sp.Expr) -> sp.Expr:
        body, j = self.args
        whole = sp.Dummy("whole", real=True)  # its own j is bound: keep it out of the sum's reach
        return sum_over(sp.exp(body - whole) * body.diff(s), j).xreplace({whole: self})

    def _latex(self, printer, exp=None) -> str:
        body, j = self.args
        return rf"\log\sum_{{{printer._print(j)}}} e^{{{printer._print(body)}}}"

    def _sympystr(self, printer) -> str:
        return f"logsumexp({printer._print(self.args[0])})"


class Softmax(Entries):
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


class Placed(Entries):
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
    picked = sp.Integer(0)
    for delta in body.atoms(sp.KroneckerDelta):
        if j in delta.args:
            other = next(a for a in delta.args if a != j)
            on = sp.Dummy("on", real=True)
            body = body.xreplace({delta: on})
            picked += body.diff(on).xreplace({j: other})  # a slope is linear in its deltas
            body = body.xreplace({on: sp.Integer(0)})
    outside, inside = body.as_independent(j, as_Add=False)
    return picked + (sp.Integer(0) if body == 0 else outside * _sum(inside, j))


def _sum(body: sp.Expr, j: sp.Idx) -> sp.Expr:
    return sp.Sum(body, (j, 0, CLASSES - 1))


def sum_of(vector: sp.IndexedBase) -> sp.Expr:
    """The entries of a vector, added up."""
    return _sum(vector[EACH], EACH)


def slope_in(expr: sp.Expr, entry: sp.Expr) -> sp.Expr:
    """The derivative of ``expr`` in a number or in one entry of a vector, sums carried out."""
    raw = expr.diff(entry)
    return raw.xreplace(
        {
            s: sum_over(s.function, s.variables[0])
            for s in raw.atoms(sp.Sum)
            if s.function == 0 or any(d.has(s.variables[0]) for d in s.atoms(sp.KroneckerDelta))
        }
    )


def inward(expr: sp.Expr) -> sp.Expr:
    """``expr`` with the numbers before its sums over entries, and its cases, taken inside."""
    terms = []
    for term in sp.Add.make_args(expr):
        factor, rest = term.as_coeff_Mul()
        if isinstance(rest, sp.Sum):
            body = _spread(factor, rest.function)
            term = sp.Sum(body, *rest.limits)
        elif isinstance(rest, sp.Piecewise):
            term = sp.Piecewise(*((inward(_spread(factor, e)), c) for e, c in rest.args))
        terms.append(term)
    return sp.Add(*terms)


def _spread(factor: sp.Expr, total: sp.Expr) -> sp.Expr:
    """Every term of ``total`` times ``factor``."""
    return sp.Add(*(factor * t for t in sp.Add.make_args(total)))


def with_classes(expr: sp.Expr, count: int, index: dict[sp.Expr, int]) -> sp.Expr:
    """``expr`` written out for ``count`` classes, with each free index given a number."""
    if isinstance(expr, sp.Derivative):
        by = expr.variables[0].xreplace({k: sp.Integer(v) for k, v in index.items()})
        return with_classes(expr.expr, count, index).diff(by)
    expr = spell_out(expr)
    many = (sp.Sum, sp.Product)
    while found := [s for s in expr.atoms(*many) if not s.function.has(*many)]:
        expr = expr.xreplace({s: _written_out(s, count) for s in found})
    numbers = {CLASSES: sp.Integer(count), **{k: sp.Integer(v) for k, v in index.items()}}
    expr = expr.xreplace(numbers)
    while found := [f for f in expr.atoms(Unrolled) if f.args[-1].is_Integer]:
        expr = expr.xreplace({f: f.written(count) for f in found})
    return expr


def _written_out(total: sp.Sum | sp.Product, count: int) -> sp.Expr:
    j, join = total.variables[0], sp.Add if isinstance(total, sp.Sum) else sp.Mul
    return join(*(total.function.xreplace({j: sp.Integer(n)}) for n in range(count)))
