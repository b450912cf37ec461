"""A family's page and the index of all families, as MyST Markdown. Nothing is written by hand."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import sympy as sp

import lossderiv as ld
from lossderiv.recognise import Match
from lossderiv.sampling import SUMMARIES
from lossderiv.special import SPECIAL
from lossderiv.symbolic.functions import Special
from lossderiv.symbolic.records import Density, Derivation, Domain
from lossderiv.symbolic.render import in_pieces, lines, tex

from .curves import AtlasError
from .drawing import Picture
from .explorer import explorable
from .mentions import Chapter, exercises, using
from .words import GROUPS, assignments, graded, group, symbol, tex_name, title, with_symbols

DOCSTRING = re.compile(
    r"(?P<sentence>.*?\.) (?P<moments>.*) Source: (?P<source>.*)\. "
    r"torch: (?P<torch>.*); scipy: (?P<scipy>.*); sympy: (?P<sympy>.*)\."
)
LIBRARIES = {"torch": "torch.distributions", "scipy": "scipy.stats", "sympy": "sympy.stats"}


@dataclass(frozen=True)
class Told:
    """What a family's docstring says; ``torch``, ``scipy`` and ``sympy`` are its counterparts."""

    sentence: str
    moments: str
    source: str
    torch: str
    scipy: str
    sympy: str

    def counterpart(self, library: str) -> tuple[str, str]:
        """The call of a library's counterpart, empty if there is none, and a remark on it."""
        call, *remark = re.split(r", (?=\w+ \w)", getattr(self, library), maxsplit=1)
        return ("" if call == "none" else call), "".join(remark)


@dataclass(frozen=True)
class Family:
    """A family of the catalogue with all that its page tells."""

    density: Density

    @property
    def name(self) -> str:
        return self.density.name

    @cached_property
    def certificate(self) -> ld.Certificate:
        return ld.certificate(self.name)

    @cached_property
    def given(self) -> dict[str, object]:
        """Values for the parameters that must be given, as the certificate has them."""
        needed = [n for n, domain in self.density.parameters.items() if domain.link is None]
        known = self.certificate.rows[0].given
        return {n: known[n] for n in needed}

    @cached_property
    def derivation(self) -> Derivation:
        return ld.derive(self.name, **self.given)

    @cached_property
    def told(self) -> Told:
        """The parts of the docstring."""
        found = DOCSTRING.fullmatch(" ".join(self.density.doc.split()))
        if not found:
            raise AtlasError(
                f"The docstring of {self.name} (lossderiv/catalogue.py) must have a sentence, then "
                "mean and variance, then 'Source: ', then 'torch: ...; scipy: ...; sympy: ....', "
                "each with a call or 'none'."
            )
        return Told(**found.groupdict())

    @cached_property
    def known_as(self) -> tuple[tuple[dict[str, object], Match], ...]:
        """Named losses that the family becomes, each with the values that it needs."""
        settings = [dict(row.given) for row in self.certificate.rows] + [
            {**self.given, n: 1}
            for n, domain in self.density.parameters.items()
            if domain.link is not None
            and (domain.low, domain.high, domain.shape) == (0, math.inf, "scalar")
            and len(self.derivation.outputs) > 1
        ]
        found: dict[str, tuple[dict[str, object], Match]] = {}
        for fixed in settings:
            known = ld.known_as(self.name, **fixed)
            for match in known.matches if known else ():
                found.setdefault(match.name, (fixed, match))
        return tuple(found.values())

    @property
    def call(self) -> str:
        """``"student_t"``, and the values that must be given."""
        return ", ".join([f'"{self.name}"', *(f"{n}={v}" for n, v in self.given.items())])


def support(domain: Domain, x: str = "x") -> str:
    """Where a number called ``x`` lives, in a few words."""
    if domain.shape == "simplex":
        return "fractions that sum to 1"
    if domain.shape == "category":
        return "a class 0, 1, …, K − 1"
    if domain.shape == "increasing":
        return "rising numbers"
    if domain.shape == "vector" and domain.high_is:
        return f"counts that add up to {domain.high_is}"
    if domain.shape == "vector":
        return f"each entry: {support(replace(domain, shape='scalar'), x)}"
    if domain.shape != "scalar":
        return domain.describe().partition(": ")[2].replace("<=", "≤")
    if domain.high_is:
        return f"0, 1, …, {domain.high_is}"
    low, high = (
        f"{end:.4g}".replace("-", "−").replace("3.142", "π") for end in (domain.low, domain.high)
    )
    if domain.integer:
        if high == "inf":
            return "any integer" if low == "−inf" else f"{low}, {domain.low + 1:g}, …"
        return f"{low} or {high}" if domain.high == domain.low + 1 else f"{low}, …, {high}"
    if (low, high) == ("−inf", "inf"):
        return "any real number"
    if high == "inf":
        return f"{x} {'>' if domain.open_low else '≥'} {low}"
    below = f"{low} {'<' if domain.open_low else '≤'} "
    return f"{below}{x} {'<' if domain.open_high else '≤'} {high}"


def data_of(density: Density) -> str:
    """Where a family's data live."""
    if graded(density):
        return "a grade 0, 1, …"
    return support(density.data)


def page(family: Family, pictures: tuple[Picture, Picture], found: tuple[Chapter, ...]) -> str:
    """The whole page of one family."""
    sections = (
        heading(family),
        plates(family, pictures),
        use(family),
        parameters(family),
        derivation(family),
        certificate(family),
        counterparts(family),
        mentions(family, found),
        source(family),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def heading(family: Family) -> str:
    return f"# {title(family.name)}\n\n{sentence(family)}"


def sentence(family: Family) -> str:
    """What the family is, with Greek letters for its parameters."""
    named = [n for n in family.density.parameters if n != family.name]
    return with_symbols(family.told.sentence, named)


def plates(family: Family, pictures: tuple[Picture, Picture]) -> str:
    items = [
        f":::{{grid-item}}\n```{{figure}} pictures/{family.name}-{kind}.svg\n:alt: {picture.alt}\n"
        f":figclass: plate\n\n{picture.caption}\n```\n:::"
        for kind, picture in zip(("density", "loss"), pictures, strict=True)
    ]
    return "\n\n".join(["::::{grid} 1 1 2 2\n:gutter: 3", *items, "::::"])


def figure(path: str, picture: Picture) -> str:
    """A picture with its caption and its alternative text."""
    return f"```{{figure}} {path}\n:alt: {picture.alt}\n:width: 100%\n\n{picture.caption}\n```\n"


def use(family: Family) -> str:
    parts = ["## Use it", f"```python\n{example(family)}\n```"]
    if explorable([family]):
        link = f'<a href="../explorer.html#{family.name}">the loss explorer</a>'
        parts.append(f"To move its outputs and its target by hand, open it in {link}.")
    return "\n\n".join(parts)


def example(family: Family) -> str:
    """Lines that make the loss and call it; they are executed before they are printed."""
    outputs = family.derivation.context.outputs
    shapes = ["(4, 3)" if hasattr(o, "label") else "4" for o in outputs]
    made = ", ".join(f"torch.zeros({shape.strip('()')})" for shape in shapes)
    names = ", ".join(family.derivation.outputs)
    lines = (
        "import torch",
        "import lossderiv as ld",
        "",
        f"loss = ld.loss({family.call})",
        f"# {names}",
        f"outputs = ({made}{',' if len(outputs) == 1 else ''})",
        "x = loss.sample(outputs)",
        "loss(outputs, x)",
    )
    text = "\n".join(lines)
    exec(compile(text, f"<example of {family.name}>", "exec"), {})
    return text


def parameters(family: Family) -> str:
    d = family.derivation
    rows = ["| parameter | lives in | from the raw output |", "|:--|:--|:--|"]
    for name, domain in family.density.parameters.items():
        how = "given" if name in family.given else _linked(d, name)
        rows.append(
            f"| ${tex_name(name)}$ &nbsp; `{name}` | {support(domain, symbol(name))} | {how} |"
        )
    summary = SUMMARIES.get(family.name)
    absent = [k for k in ("mean", "mode") if getattr(summary, k, None) is None]
    without = f" `loss.{'` and `loss.'.join(absent)}` say so." if absent else ""
    data = f"**Data** {data_of(family.density)}."
    said = with_symbols(family.told.moments, family.density.parameters)
    return "\n\n".join(["## Parameters", "\n".join(rows), data, f"**Moments** {said}{without}"])


def _linked(d: Derivation, name: str) -> str:
    link = d.links[name]
    if link.name == "softmax":
        return f"softmax of ${tex_name('eta_' + name)}$"
    inverse = tex(d.theta[name])
    return f"${tex_name(name)} = {inverse}$ &nbsp; ({link.name})"


def derivation(family: Family) -> str:
    d = family.derivation
    said = assignments(family.given)
    intro = f"With {said}. " if said else ""
    dropped = (
        "Nothing is dropped: the loss is the exact negative log-likelihood."
        if d.dropped == 0
        else f"The loss leaves out what no output moves: ${tex(d.dropped)}$ for each element."
    )
    lead = f"{intro}Every step is proven or checked by `ld.derive({family.call}).check()`."
    parts = ("## Derivation", lead, d.markdown(), dropped, abbreviations(d))
    return "\n\n".join(part for part in parts if part)


def abbreviations(d: Derivation) -> str:
    """The special functions that the derivation calls by a name of our own, with their formulas."""
    rows = ["| name | stands for |", "|:--|:--|"]
    for f in named(line.expr for line in lines(d)):
        arguments = [sp.Symbol(n, real=True) for n in inspect.signature(f.meaning).parameters]
        meaning = in_pieces(without_gaps(f.meaning(*arguments)))
        rows.append(f"| ${tex(f(*arguments))}$ | ${meaning}$ |")
    lead = (
        "**Names used here** for formulas that lose digits or overflow where they are computed as "
        "they stand; the source below has a function for each that does not. At a gap, such as "
        "$0 \\log 0$, the limit is meant."
    )
    return "\n\n".join([lead, "\n".join(rows)]) if rows[2:] else ""


def without_gaps(formula: sp.Expr) -> sp.Expr:
    """The formula without cases for single points, which its limits fill."""

    def at_points(case: sp.Basic) -> bool:
        return isinstance(case, sp.Piecewise) and all(
            isinstance(c, sp.Eq) for _, c in case.args[:-1]
        )

    return formula.replace(at_points, lambda case: case.args[-1].expr)


def named(formulas: Iterable[sp.Expr]) -> list[type[Special]]:
    """The special functions in some formulas, and in what those mean, that have no usual sign."""
    found: dict[type[Special], None] = {}
    waiting = list(formulas)
    while waiting:
        atoms = sorted(waiting.pop(0).atoms(Special), key=str)
        for f in atoms:
            if f.func not in found and f.func.__name__ in SPECIAL:
                found[f.func] = None
                waiting.append(f.meaning(*f.args))
    return [f for f in found if not f.tex]


def source(family: Family) -> str:
    return f"## Source\n\n{code_block(family.derivation, family.call)}"


def code_block(d: Derivation, call: str) -> str:
    """The code of a loss, with the call that prints it."""
    code = ld.source(d).partition('\n"""\n')[2].strip()
    code = re.sub(r"\n{3,}", "\n\n", code)
    lead = (
        f"`print(ld.source({call}))` writes this, with the derivation as its docstring. It "
        "needs nothing but torch."
    )
    return f"{lead}\n\n```{{code-block}} python\n:class: package\n{code}\n```"


def certificate(family: Family) -> str:
    c = family.certificate
    first, *others = c.dtypes
    table = f":::{{div}} certificate\n{c.table(first)}\n:::"
    folded = "\n\n".join(c.table(dtype) for dtype in others)
    fold = f":::{{dropdown}} {' and '.join(others)}\n:class-body: certificate\n\n{folded}\n:::"
    lead = f'What `ld.certificate("{family.name}")` holds: measured, not promised.'
    return "\n\n".join(
        x for x in ("## Certificate", lead, table, fold if others else "", *c.remarks) if x
    )


def spelled(family: Family) -> Iterator[tuple[str, str]]:
    """Where else the family can be had: a library, and how it is spelled there."""
    for fixed, match in family.known_as:
        in_torch = match.name.startswith("torch.nn.")
        name = f"`{match.name.removeprefix('torch.nn.')}`" if in_torch else match.name
        factor = "" if match.factor == 1 else f", times {match.factor}"
        when = f" with {assignments(fixed)}" if fixed else ""
        says = f", where {match.says}" if match.says else ""
        yield "torch.nn" if in_torch else "by name", f"{name}{factor}{when}{says}"
    for short, library in LIBRARIES.items():
        call, remark = family.told.counterpart(short)
        yield library, ", ".join(filter(None, (f"`{call}`" if call else "none", remark)))


def counterparts(family: Family) -> str:
    rows = [f"| {library} | {how} |" for library, how in spelled(family)]
    table = "\n".join(["| library | spelled, in the parameters above |", "|:--|:--|", *rows])
    return "\n\n".join(["## Elsewhere", table, f"**Source** {family.told.source}."])


def mentions(family: Family, found: tuple[Chapter, ...]) -> str:
    lines = [f"- Chapter {c.number}: [](../../../{c.page}.md)" for c in using(family.name, found)]
    lines += [
        f"- {{ref}}`Exercise {number} <{label}>`: {asks}."
        for number, label, asks in exercises(family.name, found)
    ]
    lines.append(
        "- [What the losses know](../../reference/what-losses-know.md): beside all others."
    )
    return "\n".join(["## In this book", "", *lines])


def index(families: tuple[Family, ...]) -> str:
    """Tables of all families, by the kind of their data."""
    parts = []
    for name, about in GROUPS:
        rows = [row(f) for f in families if group(f.density) == name]
        if rows:
            head = "| family | data | parameters | known as, in torch |\n|:--|:--|:--|:--|"
            parts.append("\n\n".join([f"## {name}", about, "\n".join([head, *rows])]))
    return "\n\n".join(parts) + "\n"


def row(family: Family) -> str:
    names = ", ".join(symbol(n) for n in family.density.parameters)
    known = [
        (f"`{m.name.removeprefix('torch.')}`" if m.name.startswith("torch.") else m.name)
        + (f" ({assignments(fixed, 'plain')})" if fixed else "")
        for fixed, m in family.known_as
    ]
    call, _ = family.told.counterpart("torch")
    known += [f"`distributions.{call.partition('(')[0]}`"] if call else []
    link = f"[{title(family.name)}](families/{family.name}.md)"
    cells = (f"{link}<br>{sentence(family)}", data_of(family.density), names, ", ".join(known))
    return f"| {' | '.join(cell or '–' for cell in cells)} |"
