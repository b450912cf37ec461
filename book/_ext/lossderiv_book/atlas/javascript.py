"""The package's generated Python, rewritten as JavaScript for pages that compute.

``lossderiv.source`` writes small Python: arithmetic, calls, ``torch.where``, loops over tables of
coefficients. Its syntax tree is rewritten node by node for single numbers of double precision, so
what a page computes is what the package computes. Nothing is guessed: syntax without a row here is
an error. The functions called ``torch.…`` are those of ``torch.js``.
"""

from __future__ import annotations

import ast

from lossderiv.errors import LossDerivError

OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.BitAnd: "&&",
    ast.BitOr: "||",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "===",
    ast.NotEq: "!==",
    ast.USub: "-",
    ast.Invert: "!",
}


class JavaScriptError(LossDerivError):
    """Generated Python that has no JavaScript form here."""


def functions(source: str) -> dict[str, str]:
    """The JavaScript of every function of a Python file, by name.

    >>> functions("def square(u):\\n    return u * u")["square"]
    'function square(u) {\\nreturn (u * u);\\n}'
    """
    found = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return {node.name: _function(node) for node in found}


def _function(node: ast.FunctionDef) -> str:
    arguments = [a.arg for a in node.args.args]
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _is_stored(n)}
    names = ", ".join(sorted(stored - set(arguments)))
    lines = [f"let {names};"] if names else []
    for statement in node.body:
        lines += _statement(statement)
    body = "\n".join(lines)
    return f"function {node.name}({', '.join(arguments)}) {{\n{body}\n}}"


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _statement(node: ast.stmt) -> list[str]:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return []  # a docstring
        case ast.Return(value=value):
            return [f"return {_text(value)};"]
        case ast.Assign(targets=targets, value=value):
            return [f"{' = '.join(map(_text, [*targets, value]))};"]
        case ast.If(test=test, body=body, orelse=others) if _asks_for_double(test):
            chosen = body if _is_double(test) else others
            return [line for s in chosen for line in _statement(s)]
        case ast.For(target=target, iter=things, body=body):
            inside = [line for s in body for line in _statement(s)]
            return [f"for ({_text(target)} of {_text(things)}) {{", *inside, "}"]
    raise _unknown(node)


def _is_double(node: ast.expr) -> bool:
    """Whether the question is ``….dtype == torch.float64``, which here is always answered yes."""
    return ast.unparse(node).endswith(".dtype == torch.float64")


def _asks_for_double(node: ast.expr) -> bool:
    """Whether the question is that one or its opposite."""
    return _is_double(node) or ast.unparse(node).endswith(".dtype != torch.float64")


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return repr(number)
        case ast.Name(id=name):
            return name
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return f"Math.pow({_text(left)}, {_text(right)})"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return f"({_text(left)} {OPERATORS[type(op)]} {_text(right)})"
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
            return f"({_text(left)} {OPERATORS[type(op)]} {_text(right)})"
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return f"({OPERATORS[type(op)]}{_text(operand)})"
        case ast.IfExp(test=test, body=body, orelse=other) if _asks_for_double(test):
            return _text(body if _is_double(test) else other)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return f"[{', '.join(map(_text, parts))}]"
        case ast.Starred(value=value):
            return f"...{_text(value)}"
        case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=upper, step=None)):
            return f"{_text(value)}.slice(0, {_text(upper)})"
        case ast.Subscript(value=value, slice=index):
            return f"{_text(value)}[{_text(index)}]"
        case ast.Attribute(value=ast.Name(id="torch"), attr="inf"):
            return "Infinity"
        case ast.Attribute(value=ast.Call(func=finfo), attr="eps") if _is(finfo, "torch.finfo"):
            return "Number.EPSILON"
        case ast.Call(func=function, args=arguments, keywords=[]):
            return _call(function, arguments)
    raise _unknown(node)


def _is(node: ast.expr, name: str) -> bool:
    return ast.unparse(node) == name


def _call(function: ast.expr, arguments: list[ast.expr]) -> str:
    given = [_text(a) for a in arguments if not _is(a, "()")]
    match ast.unparse(function):
        case "len":
            return f"{given[0]}.length"
        case "reversed":
            return f"[...{given[0]}].reverse()"
        case "torch.where":
            return f"({given[0]} ? {given[1]} : {given[2]})"
        case "torch.full_like":
            return given[1]
        case "torch.zeros_like":
            return "0"
        case name if name.endswith(".new_full"):
            return given[0]
        case name if name.isidentifier() or name.startswith("torch."):
            return f"{name}({', '.join(given)})"
    raise _unknown(function)


def _unknown(node: ast.AST) -> JavaScriptError:
    return JavaScriptError(
        f"The generated line `{ast.unparse(node)}` has no JavaScript form: add a case for "
        f"{type(node).__name__} to book/_ext/lossderiv_book/atlas/javascript.py."
    )
