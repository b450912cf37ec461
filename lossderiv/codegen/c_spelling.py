"""The torch text of a special function, read as C.

A spelling is Python that computes with numbers, ``torch`` and other special functions. It is run
once on names in place of tensors: every assignment writes a line of C, every loop unrolls itself,
and what depends on the float type is decided for float32. So a row of the table needs one spelling
for both languages, and both compute the same numbers in the same order.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from lossderiv.errors import SpellingError
from lossderiv.symbolic.functions import Special

# Functions of torch, and rows of the table that have a quicker C than their spelling read as C.
WRITTEN = tuple(
    Path(__file__).with_name(f"{name}.c") for name in ("elementary", "circular", "special")
)

# torch functions and what they are called in elementary.c.
IN_C = {
    "exp": "exp_f",
    "expm1": "expm1_f",
    "log": "log_f",
    "log1p": "log1p_f",
    "abs": "abs_f",
    "sign": "sign_f",
    "sqrt": "sqrt_f",
    "relu": "relu_f",
    "sigmoid": "sigmoid_f",
    "minimum": "min_f",
    "maximum": "max_f",
    "clamp_min": "clamp_min_f",
    "clamp_max": "clamp_max_f",
    "clamp": "clamp_f",
    "sinh": "sinh_f",
    "cosh": "cosh_f",
    "tanh": "tanh_f",
    "asinh": "asinh_f",
    "atanh": "atanh_f",
    "sin": "sin_f",
    "cos": "cos_f",
    "tan": "tan_f",
    "atan": "atan_f",
    "lgamma": "lgamma_f",
    "i0e": "i0e_f",
    "logaddexp": "logaddexp_f",
    "digamma": "digamma_f",
    "erfcx": "erfcx_f",
    "erf": "erf_f",
    "erfc": "erfc_f",
    "floor": "floor_f",
    "ceil": "ceil_f",
}

# How tightly a text of C holds together.
CHOICE, EITHER, BOTH, COMPARED, SUM, PRODUCT, SIGN, WHOLE = range(8)


def number(value: float) -> str:
    """A float literal."""
    value = float(value)
    if value in (float("inf"), float("-inf")):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{value!r}f"


@dataclass(frozen=True, eq=False)
class Text:
    """A C expression, used as a spelling uses a tensor."""

    text: str
    tight: int = WHOLE
    dtype = "float32"
    device = ""

    def at(self, tight: int) -> str:
        return self.text if self.tight >= tight else f"({self.text})"

    def __neg__(self):
        return Text(f"-{self.at(WHOLE)}", SIGN)

    def __pow__(self, other):
        if not isinstance(other, Text) and other == 2:
            return Text(f"square_f({self.text})")
        return Text(f"pow_f({self.text}, {_text(other).text})")

    def to(self, dtype: str) -> Text:
        return where(self, 1.0, 0.0)

    def new_full(self, size: tuple, value: float) -> Text:
        return _text(value)


def _text(value: Text | float) -> Text:
    if isinstance(value, Text):
        return value
    written = number(value)
    return Text(written, SIGN if written.startswith("-") else WHOLE)


def _operator(sign: str, tight: int, swapped: bool = False):
    def method(self: Text, other: Text | float) -> Text:
        left, right = (_text(other), self) if swapped else (self, _text(other))
        inner = WHOLE if tight in (EITHER, BOTH) else tight
        return Text(f"{left.at(inner)} {sign} {right.at(max(inner, tight + 1))}", tight)

    return method


for _sign, _tight, _name in (
    ("+", SUM, "add"),
    ("-", SUM, "sub"),
    ("*", PRODUCT, "mul"),
    ("/", PRODUCT, "truediv"),
    ("<", COMPARED, "lt"),
    (">", COMPARED, "gt"),
    ("<=", COMPARED, "le"),
    (">=", COMPARED, "ge"),
    ("==", COMPARED, "eq"),
    ("!=", COMPARED, "ne"),
    ("&", BOTH, "and"),
    ("|", EITHER, "or"),
):
    setattr(Text, f"__{_name}__", _operator(_sign, _tight))
    if _tight in (SUM, PRODUCT):
        setattr(Text, f"__r{_name}__", _operator(_sign, _tight, swapped=True))


def where(condition: Text, yes: Text | float, no: Text | float) -> Text:
    parts = (condition.at(EITHER), _text(yes).at(EITHER), _text(no).at(EITHER))
    return Text("{} ? {} : {}".format(*parts), CHOICE)


def _call(name: str):
    def write(*args: Text | float) -> Text:
        return Text(f"{name}({', '.join(_text(a).text for a in args)})")

    return write


class _Torch(SimpleNamespace):
    """What a spelling may ask of torch."""

    def __getattr__(self, name: str):
        if name not in IN_C:
            raise SpellingError(
                f"torch.{name} has no C spelling. Add a function {name}_f to "
                "lossderiv/codegen/elementary.c and its name to IN_C in "
                "lossderiv/codegen/c_spelling.py."
            )
        return _call(IN_C[name])


TORCH = _Torch(
    where=where,
    zeros_like=lambda u: Text(number(0.0)),
    full_like=lambda u, value: _text(value),
    finfo=lambda dtype: SimpleNamespace(eps=2.0**-23),
    special=_Torch(),
    float64="float64",
    inf=float("inf"),
)


class _Lines:
    """The assignments of a spelling as C declarations, each name used once."""

    def __init__(self, taken: list[str]):
        self.taken = dict.fromkeys(taken, 0)
        self.lines: list[str] = []

    def keep(self, names: tuple[str, ...], value):
        """What an assignment to ``names`` is worth: names in C for texts, all else as it is."""
        if isinstance(value, tuple) and len(names) == len(value) > 1:
            return tuple(self.keep((n,), v) for n, v in zip(names, value, strict=True))
        if not isinstance(value, Text) or re.fullmatch(r"[\w.]+", value.text):
            return value
        again = self.taken.get(names[0], -1) + 1
        self.taken[names[0]] = again
        name = f"{names[0]}_{again}" if again else names[0]
        kind = "int" if value.tight in (EITHER, BOTH, COMPARED) else "float"
        self.lines.append(f"const {kind} {name} = {value.text};")
        return Text(name)


class _Keep(ast.NodeTransformer):
    """``a = b`` becomes ``a = keep(("a",), b)``."""

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        target = node.targets[0]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        names = ast.Tuple(
            [ast.Constant(t.id) for t in targets if isinstance(t, ast.Name)], ast.Load()
        )
        node.value = ast.Call(ast.Name("keep", ast.Load()), [names, node.value], [])
        return node


@cache
def elementary() -> dict[str, str]:
    """Name -> text of the functions written in C, in their order."""
    texts = [file.read_text(encoding="utf-8").strip() for file in WRITTEN]
    paragraphs = [p for text in texts for p in text.split("\n\n")]
    named = ((re.search(r"INLINE \w+ (\w+)\(", p), p) for p in paragraphs)
    return {found[1]: text for found, text in named if found}


@cache
def c_function(row: type[Special]) -> str:
    """The text of a special function in C."""
    from lossderiv.special import SPECIAL

    name = row.__name__
    module = ast.parse(row.spelling)
    arguments = [a.arg for a in module.body[0].args.args]
    lines = _Lines(arguments)
    space = {n: _call(f"{n}_f") for n in SPECIAL} | {"torch": TORCH, "keep": lines.keep}
    tree = ast.fix_missing_locations(_Keep().visit(module))
    exec(compile(tree, f"<C of {name}>", "exec"), space)
    result = _text(space[name](*(Text(a) for a in arguments)))
    said = [x.strip()[1:].strip() for x in row.spelling.splitlines() if x.strip().startswith("#")]
    return "\n".join(
        [
            *(["/* " + "\n   ".join(said) + " */"] if said else []),
            f"INLINE float {name}_f({', '.join(f'float {a}' for a in arguments)})",
            "{",
            *(f"    {line}" for line in lines.lines),
            f"    return {result.text};",
            "}",
        ]
    )


def needed(text: str) -> list[str]:
    """The functions that a text of C calls, directly or through one another, callees first."""
    from lossderiv.special import SPECIAL

    known: dict[str, str] = {}

    def visit(body: str) -> None:
        for name in re.findall(r"\b(\w+_f)\(", body):
            if name in known:
                continue
            own = elementary().get(name)
            if own is None:
                if name[:-2] not in SPECIAL:
                    raise SpellingError(f"The function {name} is not known in C.")
                own = c_function(SPECIAL[name[:-2]])
            inside = re.sub(rf"INLINE \w+ {name}\(", "", own)
            visit(inside)
            known[name] = own

    visit(text)
    return list(known.values())
