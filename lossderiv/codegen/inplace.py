"""Loss and gradient in one function that reuses its buffers.

Each operation writes into the buffer of an operand that nobody needs any more (``out=``), so a
kernel allocates little more than the gradients that it returns. The same expressions, in the same
order, as the readable source.

A number as an operand costs torch a microsecond (it is made a tensor first), as ``alpha`` or
``value`` it costs nothing: ``s * u`` is written ``torch.add(zero, u, alpha=s)``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import sympy as sp

from lossderiv.codegen.operations import (
    COMMUTATIVE,
    COMPARE,
    Body,
    Operation,
    by_sign,
    emit,
    fuse,
    needed,
)
from lossderiv.codegen.printer import (
    TORCH,
    TorchPrinter,
    in_computing_order,
    is_curved,
)
from lossderiv.codegen.recording import FLOAT32, Recorded, Recorder, play
from lossderiv.codegen.share import Assignments, fold_constants
from lossderiv.errors import SpellingError
from lossderiv.special import SPECIAL
from lossderiv.symbolic.functions import Special

# What torch calls otherwise than the table of special functions does, and other arguments of it.
PLAIN = {
    **TORCH,
    "log1p": "torch.log1p",
    "logistic": "torch.sigmoid",
    "relu": "torch.clamp_min",
}
REST = {"relu": ("0.0",)}
CPU = "cpu"

# A row's length comes in one pass that stores no squares, half the time of squares and their sum.
# In rows of some hundred numbers it is as exact as that sum; over whole tensors it would not be.
SQUARE_SUM = """
def square_sum(u):
    if u.is_cpu and u.numel() >= 16384 and u.is_contiguous():
        rows = u if u.dim() == 2 else u.view(len(u), -1)
        if not 64 <= rows.shape[1] <= 2048 and u.numel() % 1024 == 0:
            rows = u.view(-1, 1024)
        if 64 <= rows.shape[1] <= 2048:
            lengths = torch.linalg.vector_norm(rows, dim=1)
            return torch.dot(lengths, lengths)
    return torch.mul(u, u).sum()
""".strip("\n")


class Tape:
    """Expressions as a list of single operations, each value computed once."""

    def __init__(
        self,
        inputs: Sequence[str],
        where: Assignments,
        dtype: str = FLOAT32,
        device: str = CPU,
    ):
        self.inputs = tuple(inputs)
        self.dtype, self.device = dtype, device
        self.stem = unused("v", inputs)
        self.constants: dict[float, str] = {}
        self.definitions = dict(where)
        self.operations: list[Operation] = []
        self.used: dict[str, str] = {}
        self.lone: set[str] = set()  # tensors without axes
        self.recorder = Recorder(self._new, self.constant, self.inputs[0], dtype)
        self._made: dict[tuple, str] = {}
        self._known: dict[sp.Expr, str | float] = {}
        self._sums: dict[frozenset[sp.Expr], str | float] = {}
        self._curved: set[sp.Symbol] = set()

    def value(self, expr: sp.Expr) -> str | float | tuple[float, ...]:
        """Name of the tensor that holds ``expr``, or a Python number or tuple of them."""
        if isinstance(expr, sp.Tuple):
            return tuple(float(v) for v in expr)
        if expr.is_number:
            return float(expr.evalf(30))
        if expr not in self._known:
            self._known[expr] = self._compute(expr)
        return self._known[expr]

    def scaled(self, expr: sp.Expr, scale: str) -> str:
        """Name of a tensor that holds ``scale * expr``, the factor folded into the last steps."""
        if not scale:
            return self.value(expr)
        if expr.is_Add and self._terms(expr)[1] is None:
            return self._sum(expr, scale)
        return self._scaled_term(1.0, expr, scale)

    def square_sum(self, expr: sp.Expr) -> str:
        """Name of the sum of the squares of ``expr`` over all elements."""
        self.used["square_sum"] = SQUARE_SUM
        total = self._new("square_sum", self.value(expr))
        self.lone.add(total)
        return total

    def _scaled_term(self, number: float, expr: sp.Expr, scale: str) -> str:
        """``number * scale * expr``; the factor joins a product's last step if that is to come."""
        factor, rest = expr.as_coeff_Mul()
        number *= float(factor)
        if rest in self._known:
            return self._times(self._known[rest], number, scale)
        if rest.is_Mul:
            return self._product(rest, number, scale)
        if _is_square(rest):
            zero, base = self.constant(0.0), self.value(rest.base)
            return self._plus_product(zero, (base, base), _factor(number, scale))
        return self._times(self.value(rest), number, scale)

    def _compute(self, expr: sp.Expr) -> str | float:
        if expr.is_Symbol:
            if expr not in self.definitions:
                return expr.name
            meaning = self.definitions[expr]
            if is_curved(meaning, self._curved):
                self._curved.add(expr)
            return self.value(meaning)
        if expr.is_Add:
            return self._sum(expr)
        if expr.is_Mul:
            return self._product(expr)
        if expr.is_Pow and not isinstance(expr, sp.exp):
            return self._power(*expr.args)
        return self._function(expr)

    def _new(self, call: str, *operands: str | float, option: str = "") -> str:
        """Name of the result of an operation, which is written once however often it is asked."""
        texts = tuple(a if isinstance(a, str) else _written(a) for a in operands)
        known = tuple(sorted(texts)) if call in COMMUTATIVE and not option else texts
        key = (call, known, option)
        if key not in self._made:
            name = self._made[key] = f"{self.stem}{len(self.operations)}"
            self.operations.append(Operation(name, call, texts, option))
            if call.endswith(".new_full") or not self._has_axes(operands):
                self.lone.add(name)
        return self._made[key]

    def _has_axes(self, operands: Sequence[str | float]) -> bool:
        without = self.lone | set(self.constants.values())
        return any(isinstance(a, str) and a not in without for a in operands)

    def _function(self, expr: sp.Expr) -> str:
        if isinstance(expr, sp.Piecewise):
            return self._cases(expr)
        name = type(expr).__name__
        if name == "step":  # (1 + sign)/2, so that the sign can be shared
            return self.value((1 + sp.sign(expr.args[0])) / 2)
        args = [self.value(a) for a in expr.args]
        if name in PLAIN:
            return self._new(PLAIN[name], *args, *REST.get(name, ()))
        if isinstance(expr, Special):
            printer = TorchPrinter()
            printer.doprint(expr)
            if any(isinstance(a, tuple) for a in args):  # a table: it picks by its target
                self.used |= printer.used
                return self._new(name, *(self._tensor(a) for a in args))
            arguments = tuple(Recorded(self.recorder, self._tensor(a)) for a in args)
            return play(printer.used, name, self.recorder, arguments).name
        raise SpellingError(
            f"The function {name} in {expr} has no torch spelling. Add a row for it to "
            "lossderiv/special.py (meaning, slope, torch text)."
        )

    def _tensor(self, arg: str | float | tuple[float, ...]) -> str:
        """An argument of a function that takes no plain number."""
        if isinstance(arg, float):
            return self._new(f"{self.inputs[0]}.new_full", "()", arg)
        return arg if isinstance(arg, str) else repr(arg)

    def _cases(self, expr: sp.Piecewise) -> str:
        """One case after the other, the last one first."""
        *cases, (last, _) = expr.args
        whole = self.value(last)
        for value, condition in reversed(cases):
            test, this = self._condition(condition), self.value(value)
            if isinstance(this, float):
                whole = self._tensor(whole)  # one of the two must have a type
            whole = self._new("select", test, this, whole)
        return whole

    def _condition(self, condition: sp.Basic) -> str:
        """Name of the tensor that holds where ``condition`` is true."""
        if isinstance(condition, sp.And | sp.Or):
            joined = "torch.logical_and" if isinstance(condition, sp.And) else "torch.logical_or"
            first, *others = (self._condition(a) for a in condition.args)
            for other in others:
                first = self._new(joined, first, other)
            return first
        if condition.lhs.is_number:
            condition = condition.reversed
        if condition not in self._known:
            sides = [self.value(condition.lhs), self.value(condition.rhs)]
            self._known[condition] = self._new(COMPARE[condition.rel_op], *sides)
        return self._known[condition]

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> str | float:
        b = self.value(base)
        if exponent == 2:
            return self._new("torch.mul", b, b)
        if exponent == -1:
            return self._new("torch.reciprocal", b)
        if exponent == sp.Rational(1, 2):
            return self._new("torch.sqrt", b)
        return self._new("torch.pow", b, self.value(exponent))

    def _product(self, expr: sp.Expr, number: float = 1.0, scale: str = "") -> str | float:
        """Factors in turn, then divisors; ``number * scale`` joins the last of them."""
        factor, rest = expr.as_coeff_Mul()
        number, above, below = number * float(factor), [], []
        for f in sp.Mul.make_args(rest):
            base, exponent = f.as_base_exp() if f.is_Pow and not isinstance(f, sp.exp) else (f, 1)
            under = exponent.could_extract_minus_sign() if exponent != 1 else False
            v = self.value(base**-exponent if under else f)
            if isinstance(v, float):
                number = number / v if under else number * v
            else:
                (below if under else above).append(v)
        if not above:
            above = [self._new("torch.reciprocal", below.pop(0))] if below else []
        if not above:
            return number
        steps = [("mul", v) for v in above[1:]] + [("div", v) for v in below]
        plain = not scale and number == 1.0
        *first, last = steps if steps and not plain else (*steps, None)
        tensor = above[0]
        for name, v in first:
            tensor = self._new(f"torch.{name}", tensor, v)
        if last is None:
            return self._times(tensor, number, scale)
        name, v = last
        zero, by = self.constant(0.0), f"value={_factor(number, scale)}"
        return self._new(f"torch.addc{name}", zero, tensor, v, option=by)

    def _times(self, tensor: str | float, number: float, scale: str = "") -> str | float:
        if isinstance(tensor, float):
            return tensor * number
        if number == 1.0 and not scale:
            return tensor
        if number == -1.0 and not scale:
            return self._new("torch.neg", tensor)
        return self._linear(0.0, tensor, _factor(number, scale))

    def _sum(self, expr: sp.Expr, scale: str = "") -> str | float:
        """Terms in computing order, each added into the running total."""
        terms, total = self._terms(expr)
        number = 0.0
        for term in terms:
            factor, rest = term.as_coeff_Mul()
            c = float(factor)
            if total is None and number and scale:  # before there are axes it costs next to nothing
                total, number = self._plus_number(self.constant(0.0), number, scale), 0.0
            if rest.is_number:
                number += c * float(rest)
            elif total is not None and (pair := self._pair(rest)) is not None:
                total = self._plus_product(total, pair, _factor(c, scale))
            elif total is None and scale:
                total = self._scaled_term(c, rest, scale)
            elif isinstance(v := self.value(rest), float):
                number += c * v
            elif total is not None:
                total = self._plus(total, v, c, scale)
            elif number and not scale and _is_single(number):
                total, number = self._linear(number, v, repr(c)), 0.0
            else:
                total = self._times(v, c, scale)
            if number and total is not None:
                total, number = self._plus_number(total, number, scale), 0.0
        result = number if total is None else total
        if not scale:
            self._sums[self._flat_terms(expr)] = result
        return result

    def _terms(self, expr: sp.Expr) -> tuple[list[sp.Expr], str | None]:
        """The terms in computing order, less those of a known sum that they start with; that sum.

        A number comes first and a product second: then one operation multiplies and adds.
        """
        self._mark_curved(expr)
        terms = in_computing_order(sp.Add(*self._flat_terms(expr), evaluate=False), self._curved)
        for k in range(len(terms), 1, -1):
            if (known := self._sums.get(frozenset(terms[:k]))) is not None:
                return terms[k:], known
        first, second = terms[:2]
        if second.is_number or (_is_pair(first) and not _is_pair(second)):
            terms[:2] = second, first
        return terms, None

    def _flat_terms(self, expr: sp.Expr) -> frozenset[sp.Expr]:
        return frozenset(sp.Add.make_args(sp.Add(*(self._flat(t) for t in expr.args))))

    def _flat(self, term: sp.Expr) -> sp.Expr:
        """``step`` as the sum that it is, so that its sign is shared and its half is folded."""
        steps = {f: (1 + sp.sign(f.args[0])) / 2 for f in term.atoms(Special) if _is(f, "step")}
        return term.xreplace(steps) if term in steps else term

    def _mark_curved(self, expr: sp.Expr) -> None:
        for symbol in expr.free_symbols & set(self.definitions):
            self.value(symbol)

    def _pair(self, product: sp.Expr) -> tuple[str, str] | None:
        """The two tensors of a product of two, for one fused multiply and add."""
        if not _is_pair(product):
            return None
        a, b = (self.value(f) for f in _factors(product))
        return None if isinstance(a, float) or isinstance(b, float) else (a, b)

    def _plus_product(self, total: str, pair: tuple[str, str], by: str) -> str:
        option = "" if by == "1.0" else f"value={by}"
        return self._new("torch.addcmul", total, *pair, option=option)

    def _plus(self, total: str, v: str, c: float, scale: str) -> str:
        if not scale and c in (1.0, -1.0):
            return self._new("torch.add" if c > 0 else "torch.sub", total, v)
        return self._new("torch.add", total, v, option=f"alpha={_factor(c, scale)}")

    def _plus_number(self, total: str, number: float, scale: str) -> str:
        return self._plus(total, self.constant(1.0), number, scale)

    def _linear(self, number: float, tensor: str, factor: str) -> str:
        """``number + factor * tensor``; float32 must hold ``number`` exactly."""
        option = "" if factor == "1.0" else f"alpha={factor}"
        return self._new("torch.add", self.constant(number), tensor, option=option)

    def body(self, results: Sequence[object], into: Mapping[object, str]) -> Body:
        """What computes the ``results``, numbers aside; some of them in tensors that are given."""
        wanted = {r for r in results if isinstance(r, str)}
        zero = self.constant(0.0)  # a product is written as what is added to it
        operations = by_sign(needed(self.operations, wanted), zero, wanted)
        operations = fuse(operations, self.recorder.multiples, self.constants, wanted)
        return emit(operations, self.lone, results, into)

    def function(
        self, name: str, arguments: Sequence[str], lines: Sequence[str], results: str
    ) -> str:
        """The whole text, the constants above."""
        where = (self.dtype, self.device)
        above = (constant_text(c, n, *where) for n, c in self.constants.items())
        head = f"def {name}({', '.join(arguments)}):"
        return "\n".join([*above, head, *(f"    {t}" for t in (*lines, f"return {results}"))])

    def constant(self, number: float) -> str:
        """Name of the 0-dimensional tensor that holds ``number``."""
        name = {0.0: "zero", 0.5: "half", 1.0: "one"}.get(number, f"c{len(self.constants)}")
        return self.constants.setdefault(number, unused(name, self.inputs))


def _written(number: float) -> str:
    return repr(number).replace("inf", "torch.inf")


def _is(f: sp.Expr, name: str) -> bool:
    return type(f).__name__ == name


def _is_square(expr: sp.Expr) -> bool:
    """Whether ``expr`` is the square of one thing."""
    return expr.is_Pow and expr.exp == 2


def _is_pair(term: sp.Expr) -> bool:
    """Whether one operation adds ``term`` to another: a product of two, or a square."""
    return _is_product(term) or _is_square(term.as_coeff_Mul()[1])


def _factors(pair: sp.Expr) -> tuple[sp.Expr, ...]:
    return (pair.base, pair.base) if _is_square(pair) else pair.args


def _is_product(term: sp.Expr) -> bool:
    """Whether ``term`` is, but for a number, a product of two that divides by nothing."""
    _, rest = term.as_coeff_Mul()
    return (
        rest.is_Mul
        and len(rest.args) == 2
        and not any(a.is_Pow and a.exp.could_extract_minus_sign() for a in rest.args)
    )


def _is_single(number: float) -> bool:
    return struct.unpack("f", struct.pack("f", number))[0] == number


def _factor(number: float, scale: str) -> str:
    if not scale:
        return repr(number)
    return {1.0: scale, -1.0: f"-{scale}"}.get(number, f"{number!r} * {scale}")


def kernel_text(
    name: str,
    value: sp.Expr,
    gradients: Sequence[sp.Expr],
    inputs: Sequence[str],
    where: Assignments,
    reduced: bool,
    dtype: str = FLOAT32,
    device: str = CPU,
) -> tuple[str, dict[str, str]]:
    """Text of ``name(*inputs, s, *into)`` for tensors of a type on a device, and of functions that
    it calls.

    It returns ``s`` times the summed loss (or, not ``reduced``, the loss of each element) and then
    each gradient, times ``s`` when reduced. A gradient is written into its tensor of ``into`` where
    one is given and torch can; else it is a new tensor.
    """
    s = unused("s", inputs)
    (value, *gradients), where = fold_constants((value, *gradients), where)
    tape, by = Tape(inputs, where, dtype, device), s if reduced else ""
    factor, rest = _front(value) if reduced else (1, value)
    alone = reduced and _is_square(rest) and not any(g.has(rest) for g in gradients)
    front = tape.square_sum(rest.base) if alone else tape.value(rest)
    slopes = [g if g.is_number else tape.scaled(g, by) for g in gradients]
    into = [unused(f"slope{k}", inputs) for k in range(len(slopes))]
    given = dict(zip(reversed(slopes), reversed(into), strict=True))
    body = tape.body([front, *slopes], given)
    texts = [
        body.names.get(r, r) if isinstance(r, str) else _constant(r, inputs[0], by)
        for r in (front, *slopes)
    ]
    for k, text in enumerate(texts):  # who changes one gradient must not change another
        if text.isidentifier() and text in texts[1:k]:
            texts[k] = f"{text}.clone()"
    if reduced:
        total, by = texts[0] if alone else f"{texts[0]}.sum()", _factor(float(factor), s)
        texts[0] = f"torch.add({tape.constant(0.0)}, {total}, alpha={by})"
    given = [*inputs, s, *(f"{i}=None" for i in into)]
    results = f"{', '.join(texts)}{',' if len(texts) == 1 else ''}"
    return tape.function(name, given, body.lines, results), tape.used


def special_function_text(name: str, dtype: str, device: str = CPU) -> str:
    """Text of a special function of numbers, its operations in buffers; to be executed by itself,
    with :func:`lossderiv.select.select`, since its constants have names of their own."""
    row = SPECIAL[name]
    arguments = sp.symbols(f"u:{len(row.slopes)}", real=True)
    names = [a.name for a in arguments]
    tape = Tape(names, (), dtype, device)
    result = tape.value(row(*arguments))
    body = tape.body([result], {})
    lines = body.lines
    if len(names) > 1:  # what has fewer axes has no room for the result
        joined = ", ".join(names)
        differ = " or ".join(f"{n}.shape != {names[0]}.shape" for n in names[1:])
        lines = (f"if {differ}:", f"    {joined} = torch.broadcast_tensors({joined})", *lines)
    return tape.function(name, names, lines, body.names.get(result, result))


def constant_text(name: str, number: float, dtype: str, device: str) -> str:
    """A number as a tensor without axes. On the device of the others: a GPU takes one of the CPU
    as an operand in some operations, but not as what ``addcmul`` adds to."""
    return f'{name} = torch.tensor({number}, dtype={dtype}, device="{device}")'


def _front(value: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """A factor and the rest; ``product - term`` turns into ``term - product``, one operation."""
    factor, rest = value.as_coeff_Mul()
    terms = in_computing_order(rest) if rest.is_Add else []
    if len(terms) == 2 and _is_product(terms[0]) and terms[1].could_extract_minus_sign():
        return -factor, sp.Add(*(-t for t in terms))
    return factor, rest


def unused(name: str, inputs: Sequence[str]) -> str:
    """``name``, lengthened until no input begins with it: a user may call the data ``s``."""
    while any(i.startswith(name) for i in inputs):
        name += "_"
    return name


def _constant(number, like: str, scale: str) -> str:
    return f"torch.full_like({like}, {_factor(float(number), scale)})"
