"""MyST Markdown -> the Markdown that every notebook program renders.

Two tables carry it: ``DIRECTIVES`` (``:::{note}``, fenced or with colons) and ``ROLES``
(``{ref}`label` ``). What a label, a citation or a glued number stands for is asked of a ``Names``
object, so that this file knows no Sphinx. A directive or role without a row raises
``UnknownMarkup``: add the row here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol


class UnknownMarkup(ValueError):
    """A directive or role that has no row in the tables below."""


class Names(Protocol):
    """What the page's labels stand for."""

    def title(self, label: str) -> str: ...
    def number(self, label: str) -> str: ...
    def equation(self, label: str) -> str: ...
    def cite(self, key: str) -> str: ...
    def page_title(self, target: str) -> str: ...
    def glue(self, key: str) -> str: ...
    def time(self, kind: str, target: str) -> str: ...
    def image(self, path: str) -> str: ...
    def file(self, path: str) -> str: ...
    def bibliography(self) -> str: ...


@dataclass(frozen=True)
class Directive:
    """``:::{name} argument`` with its ``:key: value`` options and its body."""

    name: str
    argument: str
    options: dict[str, str]
    body: str


def plain(text: str, names: Names) -> str:
    """The text with every directive and role replaced by ordinary Markdown."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_blocks(text.splitlines(), names))).strip("\n")


# --- blocks ------------------------------------------------------------------

FENCE = re.compile(r"^(\s*)(`{3,}|:{3,}|~{3,})\s*(?:\{([\w:.+-]+)\})?(.*)$")
OPTION = re.compile(r"^:([\w-]+):\s*(.*)$")
TARGET = re.compile(r"^\([\w:. -]+\)=\s*$")
MATH_LABEL = re.compile(r"^(\s*)\$\$\s*\(([\w:.-]+)\)\s*$")


def _blocks(lines: list[str], names: Names) -> Iterator[str]:
    prose: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        fence = FENCE.match(line)
        if not fence:
            i += 1
            if not TARGET.match(line) and not line.startswith("% "):
                prose.append(line)
            continue
        indent, ticks, name, rest = fence.groups()
        end = _closing(lines, i + 1, ticks)
        inside = [x.removeprefix(indent) for x in lines[i + 1 : end]]
        yield from _prose(prose, names)
        prose = []
        block = "\n".join(lines[i : end + 1])
        if name:
            block = _directive(_read(name, rest.strip(), inside), names)
            block = "\n".join(indent + x if x else x for x in block.splitlines())
        elif ticks[0] == ":":
            block = "\n".join(_blocks(inside, names))
        yield f"{block}\n"
        i = end + 1
    yield from _prose(prose, names)


def _closing(lines: list[str], start: int, ticks: str) -> int:
    """The line that closes a fence: the same character, at least as often, nothing else."""
    close = re.compile(rf"^\s*{re.escape(ticks[0])}{{{len(ticks)},}}\s*$")
    return next((i for i in range(start, len(lines)) if close.match(lines[i])), len(lines))


def _read(name: str, argument: str, lines: list[str]) -> Directive:
    options: dict[str, str] = {}
    while lines and (option := OPTION.match(lines[0])):
        options[option[1]] = option[2]
        lines = lines[1:]
    return Directive(name, argument, options, "\n".join(lines).strip("\n"))


def _prose(lines: list[str], names: Names) -> Iterator[str]:
    if lines:
        text = "\n".join(_tagged(line, names) for line in lines)
        yield _inline(text, names)


def _tagged(line: str, names: Names) -> str:
    r"""``$$ (label)`` closes a numbered formula: the number goes inside as a ``\tag``."""
    label = MATH_LABEL.match(line)
    return rf"{label[1]}\tag{{{names.equation(label[2])}}}" + f"\n{label[1]}$$" if label else line


def _directive(d: Directive, names: Names) -> str:
    if d.name not in DIRECTIVES:
        raise UnknownMarkup(
            f"the directive {{{d.name}}} has no plain-Markdown form: add a row to DIRECTIVES in "
            "book/_ext/lossderiv_book/plain_markdown.py"
        )
    return DIRECTIVES[d.name](d, names)


def _body(d: Directive, names: Names) -> str:
    return plain(d.body, names)


def _title(d: Directive, names: Names, otherwise: str = "") -> str:
    return _inline(d.argument, names) if d.argument else otherwise


def _quoted(title: str) -> Callable[[Directive, Names], str]:
    """A box: a block quote under its title in bold."""

    def render(d: Directive, names: Names) -> str:
        text = f"**{_title(d, names, title)}**\n\n{_body(d, names)}"
        return "\n".join(f"> {line}".rstrip() for line in text.splitlines())

    return render


def _folded(title: str) -> Callable[[Directive, Names], str]:
    """Something to open: HTML that Jupyter draws as such."""

    def render(d: Directive, names: Names) -> str:
        summary = _title(d, names, title)
        return f"<details><summary>{summary}</summary>\n\n{_body(d, names)}\n\n</details>"

    return render


def _solution(d: Directive, names: Names) -> str:
    """Its argument is the label of the exercise, not a title."""
    return _folded("Solution")(replace(d, argument=""), names)


def _statement(kind: str) -> Callable[[Directive, Names], str]:
    """A theorem, definition or exercise: its kind and title in bold, then the text."""

    def render(d: Directive, names: Names) -> str:
        title = f" ({_title(d, names)})" if d.argument else ""
        return f"**{kind}{title}.** {_body(d, names)}"

    return render


def _contents(d: Directive, names: Names) -> str:
    return "\n\n".join(
        x for x in (f"**{_title(d, names)}**" * bool(d.argument), _body(d, names)) if x
    )


def _only_body(d: Directive, names: Names) -> str:
    return _body(d, names)


def _dropped(d: Directive, names: Names) -> str:
    return ""


def _figure(d: Directive, names: Names) -> str:
    image = f"![{d.options.get('alt', '')}]({names.image(d.argument)})"
    caption = _body(d, names)
    return f"{image}\n\n*{caption}*" if caption else image


def _math(d: Directive, names: Names) -> str:
    label = d.options.get("label")
    tag = rf"\tag{{{names.equation(label)}}}" + "\n" if label else ""
    body = "\n".join(x for x in (d.argument, d.body) if x)
    return f"$$\n{body}\n{tag}$$"


def _code(d: Directive, names: Names) -> str:
    return f"```{d.argument}\n{d.body}\n```"


def _literalinclude(d: Directive, names: Names) -> str:
    return f"```{d.options.get('language', 'python')}\n{names.file(d.argument)}\n```"


def _autodoc(d: Directive, names: Names) -> str:
    """Documentation drawn from docstrings: their names, for `help` to show the rest."""
    found = re.findall(r"^\.\. auto\w+:: ([\w.]+)", d.body, re.MULTILINE)
    return "\n".join(f"- `{name}`" for name in found)


DIRECTIVES: dict[str, Callable[[Directive, Names], str]] = {
    "admonition": _quoted("Note"),
    "attention": _quoted("Attention"),
    "caution": _quoted("Caution"),
    "danger": _quoted("Danger"),
    "error": _quoted("Error"),
    "hint": _quoted("Hint"),
    "important": _quoted("Important"),
    "note": _quoted("Note"),
    "seealso": _quoted("See also"),
    "tip": _quoted("Tip"),
    "warning": _quoted("Warning"),
    "margin": _quoted("Aside"),
    "sidebar": _quoted("Aside"),
    "topic": _quoted("Topic"),
    "epigraph": _quoted("Quotation"),
    "dropdown": _folded("Open"),
    "toggle": _folded("Open"),
    "solution": _solution,
    "solution-start": lambda d, names: "**Solution.**",
    "solution-end": _dropped,
    "exercise": _statement("Exercise"),
    "exercise-start": _statement("Exercise"),
    "exercise-end": _dropped,
    "prf:axiom": _statement("Axiom"),
    "prf:corollary": _statement("Corollary"),
    "prf:definition": _statement("Definition"),
    "prf:example": _statement("Example"),
    "prf:lemma": _statement("Lemma"),
    "prf:observation": _statement("Observation"),
    "prf:proof": _statement("Proof"),
    "prf:property": _statement("Property"),
    "prf:proposition": _statement("Proposition"),
    "prf:remark": _statement("Remark"),
    "prf:theorem": _statement("Theorem"),
    "prf:algorithm": _statement("Algorithm"),
    "figure": _figure,
    "image": _figure,
    "math": _math,
    "code": _code,
    "code-block": _code,
    "literalinclude": _literalinclude,
    "table": _contents,
    "list-table": _contents,
    "card": _contents,
    "grid": _only_body,
    "grid-item": _only_body,
    "grid-item-card": _contents,
    "tab-set": _only_body,
    "tab-item": _contents,
    "container": _only_body,
    "div": _only_body,
    "glossary": _only_body,
    "bibliography": lambda d, names: names.bibliography(),
    "contents": _dropped,
    "tableofcontents": _dropped,
    "toctree": _dropped,
    "index": _dropped,
    "raw": _dropped,
    "eval-rst": _autodoc,
}


# --- inline ------------------------------------------------------------------

ROLE = re.compile(r"\{([\w:.-]+)\}(`+)(.+?)\2(?!`)", re.DOTALL)
EXPLICIT = re.compile(r"^(.*?)\s*<([^<>]+)>$", re.DOTALL)
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\((#[^()\s]+|[^()\s:]+\.(?:md|ipynb)(?:#[^()\s]*)?)\)")
IMAGE = re.compile(r"!\[([^\[\]]*)\]\(([^()\s]+)\)(?:\{[^{}]*\})?")


def _inline(text: str, names: Names) -> str:
    text = ROLE.sub(lambda m: _role(m[1], m[3], names), text)
    text = IMAGE.sub(lambda m: f"![{m[1]}]({names.image(m[2])})", text)
    return LINK.sub(lambda m: m[1] or _target(m[2], names), text)


def _target(link: str, names: Names) -> str:
    return names.title(link[1:]) if link.startswith("#") else names.page_title(link.split("#")[0])


def _role(name: str, content: str, names: Names) -> str:
    if name not in ROLES:
        raise UnknownMarkup(
            f"the role {{{name}}} has no plain-Markdown form: add a row to ROLES in "
            "book/_ext/lossderiv_book/plain_markdown.py"
        )
    explicit = EXPLICIT.match(content)
    text, target = explicit.groups() if explicit else ("", content)
    return ROLES[name](text, target.strip(), names)


def _reference(text: str, target: str, names: Names) -> str:
    return text or names.title(target)


def _numbered(text: str, target: str, names: Names) -> str:
    number = names.number(target)
    if not text:
        return number
    return text.replace("%s", number.split()[-1]).replace("{number}", number.split()[-1])


def _citation(text: str, target: str, names: Names) -> str:
    return "[" + ", ".join(names.cite(key.strip()) for key in target.split(",")) + "]"


def _as_code(text: str, target: str, names: Names) -> str:
    return f"`{text or target.lstrip('~').removeprefix('!')}`"


def _as_text(text: str, target: str, names: Names) -> str:
    return text or target


ROLES: dict[str, Callable[[str, str, Names], str]] = {
    "ref": _reference,
    "numref": _numbered,
    "prf:ref": _numbered,
    "eq": lambda text, target, names: f"({names.equation(target)})",
    "doc": lambda text, target, names: text or names.page_title(target),
    "term": _as_text,
    "abbr": lambda text, target, names: f"{text} ({target})" if text else target,
    "math": lambda text, target, names: f"${target}$",
    "code": _as_code,
    "file": _as_code,
    "kbd": _as_code,
    "download": _as_text,
    "sub": lambda text, target, names: f"<sub>{target}</sub>",
    "sup": lambda text, target, names: f"<sup>{target}</sup>",
    "glue": lambda text, target, names: names.glue(target),
    "glue:": lambda text, target, names: names.glue(target),
    "glue:text": lambda text, target, names: names.glue(target),
    "runtime": lambda text, target, names: names.time("runtime", target),
    "readtime": lambda text, target, names: names.time("readtime", target),
    **dict.fromkeys(("cite", "cite:p", "cite:t", "cite:ps", "cite:ts"), _citation),
    **{
        f"{domain}{kind}": _as_code
        for domain in ("", "py:")
        for kind in ("func", "class", "meth", "mod", "attr", "obj", "data", "exc", "any")
    },
}
