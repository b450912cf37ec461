"""How a SymPy expression is written in C: SymPy's own C printer, for float32.

The same operations, in the same order, as the kernel of :mod:`lossderiv.codegen.inplace`: how a
sum or a product is ordered decides whether it keeps its digits.
"""

from __future__ import annotations

from collections.abc import Set
from functools import cmp_to_key

import sympy as sp
from sympy.printing.c import C99CodePrinter
from sympy.printing.precedence import PRECEDENCE

from lossderiv.codegen.c_spelling import IN_C, number
from lossderiv.codegen.printer import TORCH, in_computing_order, is_curved
from lossderiv.errors import SpellingError
from lossderiv.symbolic.functions import Special

POWERS = {
    sp.Integer(2): "square_f({})",
    sp.Rational(1, 2): "sqrt_f({})",
    -sp.Rational(1, 2): "1.0f/sqrt_f({})",
}
PLAIN = {
    "log1p",
    "expm1",
    "lgamma",
    "digamma",
    "relu",
}  # special functions that are one function of torch
DOWN = {f"{n}_f": f"{n}_down_f" for n in ("exp", "softplus", "sigmoid")}  # for what is never > 0
OF_EXP = {"rising_stirling_f": "rising_stirling_of_exp_f"}  # of (x, exp(v)), by x and v itself
CALLED = {"logistic": "sigmoid_f"} | {n: f"{n}_f" for n in PLAIN}
CALLED |= {name: IN_C[text.removeprefix("torch.")] for name, text in TORCH.items()}


class CPrinter(C99CodePrinter):
    """Prints C; every number is a float literal, every function one of elementary.c or special."""

    def __init__(self, named: Set[sp.Symbol] = frozenset()):
        super().__init__()
        self.named = named
        self.curved: set[sp.Symbol] = set()
        self.meanings: dict[sp.Symbol, sp.Expr] = {}
        self.tables: set[sp.Basic] = set()  # names of what numbers are looked up in

    def declare(self, symbol: sp.Symbol, expr: sp.Expr) -> str:
        """A declaration; remembers what a name of ours means, and which of others is curved."""
        if symbol not in self.named:
            self.meanings[symbol] = self.opened(expr)
        elif is_curved(expr, self.curved):
            self.curved.add(symbol)
        return f"const float {self._print(symbol)} = {self._print(expr)};"

    def opened(self, expr: sp.Expr) -> sp.Expr:
        """``expr`` without the names that only shared subexpressions have."""
        return expr.xreplace(self.meanings)

    def _print(self, expr, **kwargs):
        if isinstance(expr, sp.Expr) and expr.is_number:
            return number(float(expr.evalf(30)))
        return super()._print(expr, **kwargs)

    def _print_Add(self, expr, order=None):
        text = ""
        terms = {self.opened(t): t for t in expr.args}
        for opened in in_computing_order(sp.Add(*terms, evaluate=False), self.curved):
            term = terms[opened]
            minus = term.could_extract_minus_sign()
            part = self.parenthesize(-term if minus else term, PRECEDENCE["Add"])
            text += (" - " if minus else " + ") + part if text else ("-" if minus else "") + part
        return text

    def _print_Mul(self, expr):
        """A number, the factors in the order of their meanings, then one division each."""
        factor, rest = expr.as_coeff_Mul()
        above, below = [], []
        order = cmp_to_key(lambda a, b: sp.Basic.compare(self.opened(a), self.opened(b)))
        for f in sorted(sp.Mul.make_args(rest), key=order):
            base, exponent = f.as_base_exp() if f.is_Pow and not isinstance(f, sp.exp) else (f, 1)
            under = exponent != 1 and exponent.could_extract_minus_sign()
            (below if under else above).append(base**-exponent if under else f)
        minus = "-" if factor.could_extract_minus_sign() else ""
        lead = [] if abs(factor) == 1 and above else [self._print(abs(factor))]
        tight = PRECEDENCE["Mul"]
        product = "*".join([*lead, *(self.parenthesize(f, tight) for f in above)])
        return minus + "/".join([product, *(self.parenthesize(f, tight + 1) for f in below)])

    def _print_Pow(self, expr):
        base, exponent = expr.args
        if exponent == -1:
            return f"1.0f/{self.parenthesize(base, PRECEDENCE['Pow'])}"
        form = POWERS.get(exponent, "pow_f({}, {})")
        return form.format(self._print(base), self._print(exponent))

    def _print_Function(self, expr):
        name = type(expr).__name__
        called = CALLED.get(name) or (f"{name}_f" if isinstance(expr, Special) else None)
        if called is None or not all(isinstance(a, sp.Expr) for a in expr.args):
            raise SpellingError(f"The function {name} in {expr} has no C spelling.")
        args = [*expr.args]
        if called in DOWN and args[0].is_nonpositive:
            called = DOWN[called]
        if called in OF_EXP and isinstance(power := self.opened(args[-1]), sp.exp):
            called, args[-1] = OF_EXP[called], power.args[0]
        return f"{called}({', '.join(self._print(a) for a in args)})"

    _print_exp = _print_log = _print_Abs = _print_sign = _print_loggamma = _print_Function
    _print_sin = _print_cos = _print_tan = _print_atan = _print_sinh = _print_cosh = _print_Function
    _print_tanh = _print_asinh = _print_atanh = _print_erf = _print_erfc = _print_Function
    _print_floor = _print_ceiling = _print_log1p = _print_expm1 = _print_Function

    def _print_Min(self, expr):
        if len(expr.args) != 2:
            raise SpellingError(f"{expr} has no C spelling: only Min of a number and a term has.")
        return f"min_f({', '.join(self._print(a) for a in expr.args)})"

    def _print_Piecewise(self, expr):
        *cases, (last, always) = expr.args
        if always != sp.true:
            raise SpellingError(f"{expr} has no C spelling: its last case is not for all the rest.")
        chosen = [f"{self._print(c)} ? {self._print(e)} : " for e, c in cases]
        return f"({''.join(chosen)}{self._print(last)})"

    def emptyPrinter(self, expr):  # SymPy's hook for whatever it has no method for
        raise SpellingError(f"{expr} has no C spelling.")

    def _print_Tuple(self, expr):
        raise SpellingError(
            f"The numbers {expr} have no C spelling: only cuts that are looked up have."
        )

    def _print_edge(self, expr):
        cuts, k = expr.args
        if cuts not in self.tables:
            raise SpellingError(f"{expr} has no C spelling: its cuts are no parameter.")
        return f"{self._print(cuts)}_at({self._print(k)})"

    def table(self, cuts: sp.Symbol, numbers: sp.Tuple) -> str:
        """The function that looks one of the cuts up, infinite ends beside them: by choices, since
        they take less time than reading from memory does, and can read nothing else there."""
        self.tables.add(cuts)
        ends = enumerate((-sp.oo, *numbers, sp.oo), start=-1)
        choices = "".join(f"k == {number(k)} ? {self._print(c)}\n        : " for k, c in ends)
        return f"INLINE float {self._print(cuts)}_at(float k)\n{{\n    return {choices}NAN;\n}}"

    _print_not_supported = _print_Indexed = _print_Sum = emptyPrinter
