"""Derivations for people: LaTeX, a Markdown table, plain text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from lossderiv.symbolic.records import Density, Derivation, Step

# TeX for names that SymPy would set as plain letters.
SPELLINGS = {
    "lam": r"\lambda",
    "rate": r"\lambda",
    "concentration": r"\alpha",
    "scale": r"\beta",
    "cutpoints": "c",
    "diag": "d",
    "off": "o",
    "low": r"\mathrm{low}",
    "width": r"\mathrm{width}",
    "logits": r"\mathrm{logits}",
    "nll": r"\mathrm{nll}",
    "left": r"\mathrm{left}",
    "right": r"\mathrm{right}",
    "lo": r"\mathrm{lo}",
    "hi": r"\mathrm{hi}",
    "gap": r"\mathrm{gap}",
    "near": r"\mathrm{near}",
    "reach": r"\mathrm{reach}",
}


class _Tex(LatexPrinter):
    """SymPy's LaTeX with logs written log, and the terms of a sum in reading order."""

    def __init__(self):
        super().__init__({"ln_notation": False, "fold_short_frac": False})

    def _print_Symbol(self, expr, style="plain"):
        head, _, tail = expr.name.partition("_")
        if head == "eta" and tail:
            return rf"\eta_{{{SPELLINGS.get(tail) or self._deal_with_super_sub(tail)}}}"
        return SPELLINGS.get(expr.name) or super()._print_Symbol(expr)

    def _print_Mul(self, expr):
        """Roots of numbers gathered under one root, the exponential last."""
        number = sp.Mul(*(f for f in expr.args if f.is_number))
        rooted = any(p.exp.is_Rational and not p.exp.is_Integer for p in number.atoms(sp.Pow))
        if expr.is_number or not (rooted and number.is_positive):
            return super()._print_Mul(expr)
        top, bottom = sp.fraction(number**2)
        waves = [f for f in expr.args if isinstance(f, sp.exp)]
        others = sp.Mul(*(f for f in expr.args if not f.is_number and f not in waves))
        above, below = sp.fraction(others)
        fraction = rf"\frac{{{self._root(top, above)}}}{{{self._root(bottom, below)}}}"
        return " ".join([fraction, *(self._print(w) for w in waves)])

    def _root(self, square: sp.Expr, rest: sp.Expr) -> str:
        """The root of a number times the rest, without factors of 1."""
        root = sp.sqrt(square) if sp.sqrt(square).is_rational else None
        front = self._print(root) if root else rf"\sqrt{{{self._print(square)}}}"
        if front == "1":
            return self._print(rest)
        body = rf"\left({self._print(rest)}\right)" if rest.is_Add else self._print(rest)
        return front if rest == 1 else rf"{front} \, {body}"

    def _print_loggamma(self, expr, exp=None):
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\log{power}\Gamma\left({self._print(expr.args[0])}\right)"

    def _print_polygamma(self, expr, exp=None):
        order, at = expr.args
        name = {0: r"\psi", 1: r"\psi'"}.get(order, rf"\psi^{{({order})}}")
        body = rf"{name}\left({self._print(at)}\right)"
        return body if exp is None else rf"\left[{body}\right]^{{{exp}}}"

    def _print_Indexed(self, expr):
        base = self._print_Symbol(expr.base.label)
        index = ", ".join(self._print(i) for i in expr.indices)
        return f"{base}[{index}]" if "_" in base else f"{base}_{{{index}}}"

    def _print_Idx(self, expr):
        return str(expr.label)

    def _print_Sum(self, expr):
        j, body = expr.variables[0], self._print(expr.function)
        body = rf"\left({body}\right)" if expr.function.is_Add else body
        return rf"\sum_{{{self._print(j)}}} {body}"

    def _print_Product(self, expr):
        k = expr.variables[0]
        return rf"\prod_{{{self._print(k)}}} {self._print(expr.function)}"

    def _print_KroneckerDelta(self, expr, exp=None):
        i, j = (self._print(a) for a in expr.args)
        return rf"[{i} = {j}]"

    def _print_beta(self, expr, exp=None):
        power = "" if exp is None else f"^{{{exp}}}"
        inside = ", ".join(self._print(a) for a in expr.args)
        return rf"\operatorname{{B}}{power}\left({inside}\right)"

    def _print_atan2(self, expr):
        up, across = (self._print(a) for a in expr.args)
        return rf"\operatorname{{atan2}}\left({up}, {across}\right)"

    def _print_Add(self, expr, order=None):
        terms = in_reading_order(expr)
        parts = [self._print(t) for t in terms]
        joined = parts[0]
        for part in parts[1:]:
            joined += f" - {part[1:].lstrip()}" if part.startswith("-") else f" + {part}"
        return joined


class _Plain(StrPrinter):
    """SymPy's plain text with the terms of a sum in reading order."""

    def _print_Add(self, expr, order=None):
        joined = ""
        for term in in_reading_order(expr):
            part = self._print(term)
            if part.startswith("-"):
                joined += f" - {part[1:]}" if joined else part
            else:
                joined += f" + {part}" if joined else part
        return joined

    def _print_Idx(self, expr):
        return str(expr.label)

    def _print_Sum(self, expr):
        return f"sum_{expr.variables[0].label}({self._print(expr.function)})"

    def _print_Product(self, expr):
        return f"prod_{expr.variables[0].label}({self._print(expr.function)})"

    def _print_KroneckerDelta(self, expr):
        i, j = (self._print(a) for a in expr.args)
        return f"[{i} = {j}]"


def in_reading_order(total: sp.Add) -> list[sp.Expr]:
    """Terms of a sum as a person writes them: what is added before what is taken away."""

    def key(term):
        return (
            term.could_extract_minus_sign(),
            term.is_number and term != 1,
            -_weight(term),
            str(term),
        )

    return sorted(total.args, key=key)


def _weight(term: sp.Expr) -> float:
    """A bare 1 leads (1 - p); other terms go by size."""
    return math.inf if term == 1 else term.count_ops()


def tex(expr: sp.Expr) -> str:
    """``expr`` as LaTeX."""
    return _Tex().doprint(expr)


def plain(expr: sp.Expr) -> str:
    """``expr`` as plain text."""
    return _Plain().doprint(expr)


@dataclass(frozen=True)
class Line:
    """One row of a printed derivation."""

    label: str
    relation: str
    left: sp.Expr | None
    expr: sp.Expr
    where: tuple[tuple[sp.Symbol, sp.Expr], ...]
    reason: str
    of_density: bool = False  # still the density itself, its log not yet taken
    takes_log: bool = False


SIGNS = {"=": "=", "constant": r"\overset{+c}{=}", "scale": r"\propto", "link": "=", "fix": "="}
PLAIN_SIGNS = {"=": "=", "constant": "=+c", "scale": "~", "link": "=", "fix": "="}


def lines(d: Derivation) -> Iterator[Line]:
    """The rows of a derivation: density, each step, then the slope in each output."""
    sentence = first_sentence(d.density)
    yield Line("density", "=", None, d.density.opening, d.density.where, sentence, of_density=True)
    shown, of_density = d.density.where, True
    for step in d.steps:
        takes_log = of_density and isinstance(-step.before, sp.log)
        of_density &= not takes_log
        line = _line(step, shown)
        yield replace(line, of_density=of_density, takes_log=takes_log)
        shown = step.where
    if d.evaluation:
        for step in d.evaluation:
            yield _line(step, shown, "to compute: ")
    for name, steps in d.gradient_steps.items():
        for step in steps:
            yield _line(step, shown, f"slope in {name}: ")


def _line(step: Step, shown, prefix: str = "") -> Line:
    where = () if step.where == shown else step.where
    label = prefix + step.rule
    return Line(label, step.relation, step.before, step.after, where, step.reason)


def first_sentence(density: Density) -> str:
    """The first sentence of the density's docstring, or its domain in words."""
    text = " ".join(density.doc.split())
    return text.split(". ")[0].rstrip(".") if text else density.data.describe()


def _head(line: Line, d: Derivation) -> str:
    """The left-hand side that a line continues."""
    if line.of_density:
        return rf"p({tex(d.density.variable)} \mid {_parameters(d)})"
    if line.label.startswith("slope in "):
        name = line.label.removeprefix("slope in ").split(":")[0]
        symbol = d.symbols[name]
        if isinstance(symbol, sp.IndexedBase):
            symbol = symbol[sp.Symbol("i")]
        return rf"\frac{{\partial \ell}}{{\partial {tex(symbol)}}}"
    return r"-\log p" if line.takes_log else r"\ell"


def _parameters(d: Derivation) -> str:
    names = [s.label if isinstance(s, sp.IndexedBase) else s for s in d.density.symbols.values()]
    return ", ".join(tex(n) for n in names)


def _where_tex(where) -> str:
    return r",\; ".join(rf"{tex(s)} = {tex(e)}" for s, e in where)


def latex(d: Derivation) -> str:
    """One ``aligned`` block, a row a step, without the reasons (which would not fit a page)."""
    rows = []
    for line in lines(d):
        extra = rf",\quad {_where_tex(line.where)}" if line.where else ""
        rows.append(f"{_head(line, d)} &{SIGNS[line.relation]} {tex(line.expr)}{extra}")
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def markdown(d: Derivation) -> str:
    """A table *step, formula, reason*; each row says whether it was proven or checked."""
    rows = ["| step | formula | reason |", "|---|---|---|"]
    verdicts = ["", *_verdicts(d)]
    for k, (line, verdict) in enumerate(zip(lines(d), verdicts, strict=True)):
        formula = f"${_head(line, d)} {SIGNS[line.relation]} {in_pieces(line.expr)}$"
        if line.where:
            # one formula for each name, so that a browser can wrap the list
            named = (rf"${_in_cell(f'{tex(s)} = {tex(e)}')}$" for s, e in line.where)
            formula += f"<br>where {', '.join(named)}"
        label = f"{k}. {line.label}" if k else line.label
        mark = f" *({verdict})*" if verdict else ""
        rows.append(f"| {label} | {formula} | {line.reason}{mark} |")
    return "\n".join(rows)


WIDE = 90
"""Characters of TeX from which on a sum is set in pieces, so that a browser can wrap it."""


def in_pieces(expr: sp.Expr) -> str:
    """The formula; a long sum as several formulas in a row, one for each term."""
    whole = _in_cell(tex(expr))
    if not expr.is_Add or len(whole) < WIDE:
        return whole
    first, *others = (_in_cell(tex(t)) for t in in_reading_order(expr))
    signed = (t if t.startswith("-") else f"+ {t}" for t in others)
    return "$ $".join([first, *signed])


def _in_cell(formula: str) -> str:
    """Bars that do not end a table cell."""
    return formula.replace(r"\|", r"\Vert ").replace("|", r"\vert ")


def _verdicts(d: Derivation) -> list[str]:
    slopes = [s for steps in d.gradient_steps.values() for s in steps]
    return [s.verdict for s in (*d.steps, *d.evaluation, *slopes)]


def text(d: Derivation) -> str:
    """Numbered steps for a terminal, 80 columns wide."""
    given = ", ".join(f"{n} = {v}" for n, v in d.fixed.items())
    title = f"{d.density.name}" + (f" with {given}" if given else "")
    out = [title, "=" * len(title), ""]
    for k, line in enumerate(lines(d)):
        out.append(f"{k:>2}. {line.label}")
        out += _by_cases(f"{PLAIN_SIGNS[line.relation]} ", line.expr, 6)
        out += _listed([f"{s} = {plain(e)}" for s, e in line.where], "where ", 6)
        out += _wrapped(f"({line.reason})", 4)
    out += ["", *_by_cases("loss    ", d.open_loss, 0), *_by_cases("dropped ", d.dropped, 0)]
    return "\n".join(out)


def _by_cases(head: str, expr: sp.Expr, indent: int) -> list[str]:
    """A formula after a head; each case of one with cases on lines of its own."""
    if not isinstance(expr, sp.Piecewise):
        return _wrapped(f"{head}{plain(expr)}", indent)
    out, before = [], " " * len(head)
    for k, (part, condition) in enumerate(expr.args):
        when = "otherwise" if condition is sp.true else f"if {_condition(condition)}"
        formula = _wrapped((before if k else head) + plain(part), indent, indent + len(head) + 2)
        fits = len(formula[-1]) + len(when) < 78
        out += (
            [*formula[:-1], f"{formula[-1]}  {when}"]
            if fits
            else [*formula, f"{' ' * indent}{before}  {when}"]
        )
    return out


def _condition(condition: sp.Basic) -> str:
    """What holds in a case, as a person writes it."""
    if isinstance(condition, sp.Eq):
        return f"{plain(condition.lhs)} = {plain(condition.rhs)}"
    if isinstance(condition, (sp.Or, sp.And)):
        word = " or " if isinstance(condition, sp.Or) else " and "
        return word.join(sorted(map(_condition, condition.args)))
    return plain(condition)


def _listed(items: list[str], head: str, indent: int) -> list[str]:
    """Items with commas between, as many to a line as fit; none is broken that fits on one."""
    out: list[str] = []
    for k, item in enumerate(items):
        item += "," if k + 1 < len(items) else ""
        if out and len(out[-1]) + 1 + len(item) <= 80:
            out[-1] += f" {item}"
        else:
            start = head if not out else " " * len(head)
            out += _wrapped(start + item, indent, indent + len(head) + 2)
    return out


def _wrapped(content: str, indent: int, later: int | None = None) -> list[str]:
    """Lines of 80 columns, the first with one indent and the others with a ``later`` one."""
    pad = " " * indent
    rest = " " * (indent + 2 if later is None else later)
    return textwrap.wrap(
        content, 80, initial_indent=pad, subsequent_indent=rest, break_long_words=False
    )
