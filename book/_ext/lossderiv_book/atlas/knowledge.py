"""What each loss knows, side by side: the records of ``lossderiv.insight``, one row a family.

Nothing here is written by hand for a family. What no closed form was found for, and what is not
decided, is said as such, with the reason that the record gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import sympy as sp

import lossderiv as ld
from lossderiv.insight.exponential import omega_symbols
from lossderiv.symbolic.render import _in_cell, in_reading_order, tex

from .pages import Family
from .words import GROUPS, assignments, group, tex_name, title

COLUMNS = (
    "family",
    "known as",
    "exponential family",
    "minimised by",
    "Fisher information",
    "pull of far targets",
    "convex",
)
WIDE = 70  # characters of TeX from which on a sum is set in pieces
LONG = 60  # operations from which on a formula is not printed in a table


class Known:
    """A family and its records, each made once."""

    def __init__(self, family: Family):
        self.family, self.d = family, family.derivation

    @cached_property
    def exponential(self) -> ld.ExponentialFamily:
        return ld.exponential_family(self.d)

    @cached_property
    def minimizer(self) -> ld.Minimizer:
        return ld.minimizer(self.d)

    @cached_property
    def fisher(self) -> ld.Fisher:
        return ld.fisher(self.d)

    @cached_property
    def hessian(self) -> ld.Hessian:
        return ld.hessian(self.d)

    @cached_property
    def tail(self) -> ld.Tail:
        return ld.tail(self.d)


def tables(all_known: tuple[Known, ...]) -> str:
    """All that is known of all families of the catalogue, in their order."""
    return by_group(all_known, COLUMNS, row)


def by_group(
    all_known: tuple[Known, ...], columns: Sequence[str], row: Callable[[Known], str]
) -> str:
    """One table for each kind of data, with a heading; ``row`` makes one family's."""
    head, parts = f"| {' | '.join(columns)} |\n|{':--|' * len(columns)}", []
    for name, _ in GROUPS:
        rows = [row(known) for known in all_known if group(known.family.density) == name]
        if rows:
            table = "\n".join([head, *rows])
            parts.append(f"## {name}\n\n:::{{div}} knowledge\n{table}\n:::")
    return "\n\n".join(parts) + "\n"


def row(known: Known) -> str:
    """All that is known of one family, a cell for each of :data:`COLUMNS`."""
    family = known.family
    link = f"[{title(family.name)}](../atlas/families/{family.name}.md)"
    given = f"<br>{assignments(family.given)}" if family.given else ""
    makers = (names, exponential, minimised, fisher, tail, convex)
    cells = ["<br>".join(make(known)) for make in makers]
    return f"| {link}{given} | {' | '.join(cells)} |"


def math_of(formula: str) -> str:
    """Inline TeX that a table cell can hold."""
    return f"${_in_cell(formula)}$"


def typeset(left: str, right: sp.Expr) -> str:
    """An equation; a long sum in pieces, so that a browser can wrap it."""
    whole = tex(right)
    if not right.is_Add or len(whole) < WIDE:
        return math_of(f"{left} = {whole}")
    first, *others = (tex(t) for t in in_reading_order(right))
    signed = (t if t.startswith("-") else f"+ {t}" for t in others)
    return " ".join([math_of(f"{left} = {first}"), *map(math_of, signed)])


def names(known: Known) -> Iterator[str]:
    """The field's names for the loss, with the values that they need."""
    found = known.family.known_as
    if not found:
        yield "no named loss matches"
    for fixed, match in found:
        in_torch = match.name.startswith("torch.nn.")
        name = f"`{match.name.removeprefix('torch.nn.')}`" if in_torch else match.name
        factor = "" if match.factor == 1 else f" times {math_of(tex(match.factor))}"
        yield f"{name}{factor}" + (f", {assignments(fixed)}" if fixed else "")


def exponential(known: Known) -> Iterator[str]:
    """Natural parameters and statistics, or the term that stands in the way."""
    e = known.exponential
    if not e:
        yield from _no(e)
        return
    yield "yes, and the links are canonical" if e.canonical else "yes"
    vector = any(f.has(sp.Indexed) for f in (*e.natural, *e.statistic))
    several = len(e.natural) > 1
    for k, (f, t) in enumerate(zip(e.natural, e.statistic, strict=True), 1):
        index = ", ".join(([str(k)] if several else []) + (["i"] if vector else []))
        low = f"_{{{index}}}" if index else ""
        left = rf"\omega{low}" if vector else tex(omega_symbols(len(e.natural))[k - 1])
        yield f"{typeset(left, f)}, {math_of(f'T{low} = {tex(t)}')}"


def _no(e: ld.ExponentialFamily) -> Iterator[str]:
    yield "no" if e.answer == "no" else "not found"
    if e.obstacle is not None and e.reason.startswith("the support"):
        condition = math_of(rf"{tex(e.obstacle)} \ge 0")
        yield f"the support moves: the data must keep {condition}"
    elif e.obstacle is not None and len(tex(e.obstacle)) < 2 * WIDE:
        yield f"{math_of(tex(e.obstacle))} ties $x$ to the parameters"
    else:
        yield "a term ties $x$ to the parameters"
    if e.rank is not None:
        yield f"at least {e.rank} statistics"


def minimised(known: Known) -> Iterator[str]:
    """For each parameter the constant that is best, its best value given the others, or neither."""
    m = known.minimizer
    symbols = known.d.density.symbols
    for name, optimum in m.profile.items():
        symbol = symbols[name]
        left = tex(symbol[sp.Symbol("i")] if isinstance(symbol, sp.IndexedBase) else symbol)
        if name in m.constants:
            yield typeset(left, m.constants[name])
        elif optimum.formula is not None:
            yield f"{typeset(left, optimum.formula)}, the others given"
        else:
            yield _without(left, optimum)


def _without(left: str, optimum: ld.Optimum) -> str:
    """Why there is no best value in closed form."""
    none = f"no closed form for {math_of(left)}"
    if optimum.obstacle is not None and len(tex(optimum.obstacle)) < 2 * WIDE:
        return f"{none}: {math_of(tex(optimum.obstacle))} ties it to each datum"
    if optimum.equation is not None and len(tex(optimum.equation)) < 3 * WIDE:
        return f"{none}: it solves {typeset('0', optimum.equation)}"
    if optimum.equation is not None:
        return f"{none}: its mean slope has no root that was found"
    return f"{math_of(left)}: {optimum.why}"


def fisher(known: Known) -> Iterator[str]:
    """The entries on and above the diagonal, or why there is no formula."""
    f = known.fisher
    matrix, names = f.theta, list(f.derivation.links)
    if matrix is None:
        matrix, names = f.eta, list(f.derivation.outputs)
    if matrix is None:
        yield f.why.replace(".at(...)", "`.at(...)`")
        return
    letters = [tex_name(n) for n in names]
    vector = len(letters) == 1 and any(e.has(sp.Indexed) for row in matrix for e in row)
    for i, entries in enumerate(matrix):
        for j, entry in enumerate(entries[i:], i):
            if entry == 0 and i != j:
                continue
            both = letters[i] if len(letters) == 1 else f"{letters[i]} {letters[j]}"
            left = f"I_{{{letters[0]}[i], {letters[0]}[l]}}" if vector else f"I_{{{both}}}"
            if entry.count_ops() > LONG:
                yield f"{math_of(left)}: a formula too long for a table; {f.why}"
            else:
                yield typeset(left, entry)


def tail(known: Known) -> Iterator[str]:
    """What the gradient in each output does as the target moves to the ends of its domain."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for output, ends in known.tail.ends.items():
        alike.setdefault(tuple(_pulls(ends)), []).append(math_of(tex_name(output)))
    for said, letters in alike.items():
        yield f"{', '.join(letters)}: {'; '.join(said)}"


def _pulls(ends: tuple[ld.End, ...]) -> Iterator[str]:
    if not ends:
        yield "bounded, the data being finitely many"
        return
    said: dict[str, list[float]] = {}
    for end in ends:
        said.setdefault(_pull(end), []).append(end.end)
    for how, places in said.items():
        where = " and ".join(math_of(rf"x \to {_limit(p)}") for p in places)
        yield how if len(said) == 1 else f"{how} for {where}"


def _pull(end: ld.End) -> str:
    if end.kind == "bounded":
        return "bounded"
    if end.power is None:
        return f"{end.kind}, {with_symbols_of_distance(end.how)}"
    distance = math_of(r"\lvert x\rvert" + _power(end.power)) if math.isinf(end.end) else ""
    return f"{end.kind}, like {distance or math_of('u' + _power(end.power)) + ' at a distance $u$'}"


def with_symbols_of_distance(how: str) -> str:
    """The words of a rate with ``|x|`` typeset."""
    return how.replace("|x|", math_of(r"\lvert x\rvert"))


def _power(power: float) -> str:
    return "" if power == 1 else f"^{{{power:g}}}"


def _limit(place: float) -> str:
    if math.isinf(place):
        return r"\infty" if place > 0 else r"-\infty"
    return r"\pi" if place == math.pi else r"-\pi" if place == -math.pi else f"{place:g}"


def convex(known: Known) -> Iterator[str]:
    """In the parameters and in the raw outputs: the answer and its evidence."""
    h = known.hessian
    if h.in_theta == h.in_eta:
        yield f"in both: {_evidence(h.in_eta)}"
        return
    for letter, found in ((r"\theta", h.in_theta), (r"\eta", h.in_eta)):
        yield f"in {math_of(letter)}: {_evidence(found)}"


def _evidence(found: ld.Convexity) -> str:
    if found.point is None:
        answer = "yes" if found else found.answer
        return f"{answer} ({found.why.partition(', and there')[0]})"
    at = ", ".join(math_of(f"{tex(s)} = {float(v):.3g}") for s, v in found.point.items())
    if found.eigenvalue is None:
        return f"no, infinite between finite values at {at}"
    return f"no, an eigenvalue is {math_of(f'{found.eigenvalue:.2g}')} at {at}"
