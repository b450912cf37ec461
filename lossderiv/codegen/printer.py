"""How a SymPy expression is written in torch."""

from __future__ import annotations

import re
from collections.abc import Set

import sympy as sp
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.pycode import AbstractPythonCodePrinter

from lossderiv.errors import SpellingError
from lossderiv.symbolic.functions import Special
from lossderiv.symbolic.vectors import (
    CLASSES,
    ENTRY,
    Bound,
    Entries,
    Others,
    Placed,
    Surprisal,
    Unrolled,
)

# SymPy functions that torch spells directly; everything else belongs in special.py.
TORCH = {
    "exp": "torch.exp",
    "log": "torch.log",
    "Abs": "torch.abs",
    "sign": "torch.sign",
    "sin": "torch.sin",
    "cos": "torch.cos",
    "tan": "torch.tan",
    "atan": "torch.atan",
    "sinh": "torch.sinh",
    "cosh": "torch.cosh",
    "tanh": "torch.tanh",
    "asinh": "torch.asinh",
    "atanh": "torch.atanh",
    "erf": "torch.erf",
    "erfc": "torch.erfc",
    "loggamma": "torch.lgamma",
    "floor": "torch.floor",
    "ceiling": "torch.ceil",
}

PICK = """
def pick(u, x):
    return u.gather(-1, x[..., None]).squeeze(-1)
""".strip("\n")

POW = PRECEDENCE["Pow"]
STRAIGHT = ("relu", "step", "Abs", "sign")


class TorchPrinter(AbstractPythonCodePrinter):
    """Prints torch code; constants are folded to Python floats.

    ``used`` collects the special functions whose text the code needs. ``like`` names a tensor of
    the code: a number among the arguments of a special function becomes a tensor of its type.
    ``data`` is what the target is called.
    """

    def __init__(self, data: str = "x", like: str = ""):
        super().__init__({"fully_qualified_modules": True, "strict": True})
        self.data, self.like = data, like
        self.used: dict[str, str] = {}
        self.curved: set[sp.Symbol] = set()
        self.constants: set[sp.Symbol] = set()

    def assign(self, symbol: sp.Symbol, expr: sp.Expr) -> str:
        """An assignment; remembers whether the name stands for something curved, or a number."""
        name = symbol.base.label if isinstance(symbol, sp.Indexed) else symbol
        if expr.is_number:
            self.constants.add(symbol)
        if is_curved(expr, self.curved):
            self.curved |= {symbol, sp.Symbol(str(name))}
        return f"{name} = {torch_text(expr, self)}"

    def doprint(self, expr, assign_to=None):
        if isinstance(expr, list | tuple):
            return "(" + ", ".join(self._print(e) for e in expr) + ",)"
        return self._print(expr)

    def _print(self, expr, **kwargs):
        if isinstance(expr, sp.Expr) and expr.is_number and not expr.atoms(sp.Idx):
            return _number(expr)
        return super()._print(expr, **kwargs)

    def _print_Tuple(self, expr):
        return repr(tuple(float(v) for v in expr))

    def _print_Add(self, expr, order=None):
        text = ""
        for term in in_computing_order(expr, self.curved):
            minus = term.could_extract_minus_sign()
            part = self.parenthesize(-term if minus else term, PRECEDENCE["Add"])
            text += (" - " if minus else " + ") + part if text else ("-" if minus else "") + part
        return text

    def _print_Mul(self, expr):
        """A rational factor leads as a plain decimal: ``0.5*z**2``."""
        factor, rest = expr.as_coeff_Mul()
        if factor in (1, -1) or rest.is_number:
            return super()._print_Mul(expr)
        return f"{self._print(factor)}*{self.parenthesize(rest, PRECEDENCE['Mul'])}"

    def _print_Pow(self, expr, rational=False):
        base, exponent = expr.args
        if exponent == sp.Rational(1, 2):
            return f"torch.sqrt({self._print(base)})"
        if exponent == -sp.Rational(1, 2):
            return f"torch.rsqrt({self._print(base)})"
        if exponent == -1:
            return f"1.0/{self.parenthesize(base, POW)}"
        return f"{self.parenthesize(base, POW)}**{self.parenthesize(exponent, POW)}"

    def _print_Function(self, expr):
        name = type(expr).__name__
        if isinstance(expr, Unrolled):
            return self._unrolled(expr)
        if isinstance(expr, Bound | Entries):
            return self._over_entries(expr)
        if isinstance(expr, Special):
            self._use(expr)
            return f"{name}({', '.join(self._argument(a) for a in expr.args)})"
        arguments = ", ".join(self._print(a) for a in expr.args)
        if name not in TORCH:
            raise SpellingError(
                f"The function {name} in {expr} has no torch spelling. Add a row for it to "
                "lossderiv/special.py (meaning, slope, torch text), or do without it."
            )
        return f"{TORCH[name]}({arguments})"

    def _argument(self, expr: sp.Expr) -> str:
        text = self._print(expr)
        number = expr.is_number or expr in self.constants
        return filled(text, self.like) if number and self.like else text

    _print_exp = _print_log = _print_Abs = _print_sign = _print_Function

    def _print_Piecewise(self, expr):
        """Both sides are computed, and each element takes the one that its condition names."""
        *cases, (last, _) = expr.args
        text = self._print(last)
        if all(value.is_number for value, _ in expr.args):  # a tensor has the right type
            text = filled(text, self.like or self.data)
        for value, condition in reversed(cases):
            text = f"torch.where({self._print(condition)}, {self._print(value)}, {text})"
        return text

    def _print_Relational(self, expr):
        left, right = (self._print(a) for a in expr.args)
        return f"{left} {expr.rel_op} {right}"

    def _print_And(self, expr):
        return " & ".join(f"({self._print(a)})" for a in expr.args)

    def _print_Or(self, expr):
        return " | ".join(f"({self._print(a)})" for a in expr.args)

    def _print_Min(self, expr):
        cap, *rest = sorted(expr.args, key=lambda a: not a.is_number)
        if len(rest) != 1 or not cap.is_number:
            raise SpellingError(
                f"{expr} has no torch spelling: only Min of a number and a term has."
            )
        return f"torch.clamp_max({self._print(rest[0])}, {self._print(cap)})"

    def _use(self, expr: Special, name: str = "") -> None:
        """Keep the text of a special function, and of those that its text calls."""
        from lossderiv.special import SPECIAL

        waiting = [(name or type(expr).__name__, type(expr))]
        while waiting:
            name, row = waiting.pop()
            if name not in self.used:
                self.used[name] = row.spelling
                called = re.findall(r"(?<![\w.])(\w+)\(", row.spelling)
                waiting += [(name, SPECIAL[name]) for name in called if name in SPECIAL]

    # Vectors: the class axis is the last one.

    def _unrolled(self, expr: Unrolled) -> str:
        name = type(expr).__name__.lower()
        self.used[name] = expr.spelling
        self.used |= dict(expr.helpers)
        return f"{name}({', '.join(self.vector(v, j) for v, j in expr.vectors)})"

    def _over_entries(self, expr: Bound | Entries) -> str:
        body, j, *numbers = expr.args
        name = type(expr).__name__.lower()
        self._use(expr, name)
        others = [self.vector(n, j) if j in n.free_symbols else self._print(n) for n in numbers]
        return f"{name}({', '.join([self.vector(body, j), *others])})"

    def _print_Sum(self, expr):
        body, j = expr.function, expr.variables[0]
        if j not in body.free_symbols:
            return f"{self._print(CLASSES)}*{self.parenthesize(body, PRECEDENCE['Mul'])}"
        text = self.vector(body, j)
        return f"{text if text.isidentifier() else f'({text})'}.sum(-1)"

    def _print_Symbol(self, expr):
        return f"{self.data}.shape[-1]" if expr == CLASSES else expr.name

    def _print_Indexed(self, expr):
        self.used["pick"] = PICK
        return f"pick({expr.base.label}, {self._print(expr.indices[0])})"

    def _print_Others(self, expr):
        self.used["others"] = Others.spelling
        weights, i, x = expr.args
        return f"others({self.vector(weights, i)}, {self._print(x)})"

    def _print_Surprisal(self, expr):
        self.used["surprisal"] = Surprisal.spelling
        body, weights, i, x = expr.args
        return f"surprisal({self.vector(body, i)}, {self.vector(weights, i)}, {self._print(x)})"

    def _print_Placed(self, expr):
        self.used["placed"] = Placed.spelling
        body, i, x, value = expr.args
        return f"placed({self.vector(body, i)}, {self._print(x)}, {self._print(value)})"

    def vector(self, expr: sp.Expr, j: sp.Idx) -> str:
        """``expr`` for all values of the index ``j`` at once, along the last axis."""
        entries = {
            e: sp.Symbol(str(e.base.label)) for e in expr.atoms(sp.Indexed) if e.indices == (j,)
        }
        stand_ins: dict[sp.Expr, sp.Symbol] = {}

        def widen(node):
            if node in entries:
                return entries[node]
            if isinstance(node, Entries | Unrolled) and j in node.free_symbols:
                return sp.Symbol(self._print(node))
            if j not in node.free_symbols:
                if node.is_number or node in self.constants:
                    return node
                text = self._print(node)
                tight = node.is_Atom or node.is_Function or isinstance(node, sp.Sum)
                text = text if tight else f"({text})"
                return stand_ins.setdefault(node, sp.Symbol(f"{text}[..., None]"))
            return node.func(*(widen(a) for a in node.args))

        return self._print(widen(expr))


def in_computing_order(total: sp.Add, curved: Set[sp.Symbol] = frozenset()) -> list[sp.Expr]:
    """Straight terms first, so that they cancel exactly before a small curved term is added."""

    def key(term):
        minus = term.could_extract_minus_sign()
        return (is_curved(term, curved), minus, -term.count_ops(), str(term))

    return sorted(total.args, key=key)


def is_curved(expr: sp.Expr, curved: Set[sp.Symbol]) -> bool:
    """Whether ``expr`` contains more than sums, products, corners and signs."""
    functions = (type(f).__name__ for f in expr.atoms(sp.Function))
    return any(f not in STRAIGHT for f in functions) or not curved.isdisjoint(expr.free_symbols)


def torch_text(expr: sp.Expr, printer: TorchPrinter) -> str:
    """The text of ``expr``; one that depends on the entry index is a vector."""
    if ENTRY in expr.free_symbols:
        return printer.vector(expr, ENTRY)
    return printer.doprint(expr)


def filled(number: str, like: str) -> str:
    """A number as a tensor without axes, of the type and on the device of the tensor ``like``."""
    return f"{like}.new_full((), {number})"


def result_text(expr: sp.Expr, like: str, printer: TorchPrinter) -> str:
    """The text of a result, which is a tensor even where the formula is a number."""
    if expr.is_number:
        return f"torch.full_like({like}, {_number(expr)})"
    return torch_text(expr, printer)


def _number(expr: sp.Expr) -> str:
    if expr.is_Integer and abs(int(expr)) < 2**53:
        return str(int(expr))
    return repr(float(expr.evalf(30)))
