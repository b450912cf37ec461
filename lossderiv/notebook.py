"""A notebook template for an experiment, and a checker that says what a notebook still lacks.

The checker reads; it executes nothing. What it can judge is form: whether the file shows one run
from top to bottom, and whether each part that a report needs is there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from lossderiv.errors import LossDerivError

TEMPLATE = "template.ipynb"

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Question": ("question",),
        "Setup": ("setup", "set-up", "method", "methods"),
        "Results": ("results", "result"),
        "Discussion": ("discussion",),
        "Sources": ("sources", "references", "bibliography"),
        "Help and AI used": ("help",),
    }
)
"""The parts of a report, and the words in a heading that announce them."""

PLACEHOLDER = "TODO"
ENOUGH_WORDS = 3

HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*)$")
CAPTION = re.compile(r"^[*_]*Figure (\d+)[.:]?[*_]*[.:]?\s*(.*)", re.DOTALL)
ENTRY = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+(.*)$", re.MULTILINE)
TRACEABLE = re.compile(r"https?://|\bdoi\b|\b(?:1[5-9]|20)\d\d\b", re.IGNORECASE)


@dataclass(frozen=True)
class NotebookReport:
    """What a notebook lacks: ``missing`` has a sentence for each thing, and none if it is whole."""

    path: str
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def __str__(self) -> str:
        return "\n".join(self.missing) if self.missing else f"{self.path}: complete."

    __repr__ = __str__


def check_notebook(path: str | Path) -> NotebookReport:
    """Say whether a notebook is complete, and if not, what it lacks.

    Complete means:

    - every code cell was executed, once, from top to bottom: the counts are 1, 2, 3, ... (empty
      cells do not count);
    - no cell ended in an error;
    - what prints or ends in a name has an output;
    - each figure (an output that is an image) has a caption: the next cell is Markdown, begins
      with ``Figure N.``, numbered from 1, and goes on in words; or the cell's metadata hold
      ``mystnb.figure.caption``;
    - no ``TODO`` is left in any cell;
    - there are parts, each under a heading and with words of its own: question, setup, results
      (with an output), discussion, sources, help and AI used;
    - each source is an item of a list and can be traced: it has a year, a link or a DOI.

    Cells are numbered from 1, Markdown included. Nothing is executed. Raises ``LossDerivError``
    for a file that is no notebook.

    >>> import tempfile, lossderiv as ld
    >>> fresh = ld.new_notebook(tempfile.mkdtemp() + "/mine.ipynb")
    >>> ld.check_notebook(fresh).complete
    False
    """
    cells = _read(Path(path)).cells
    return NotebookReport(str(path), tuple(line for rule in RULES for line in rule(cells)))


def new_notebook(path: str | Path) -> Path:
    """Write the template of an experiment to ``path``, and return it.

    The template runs as it is, on the digits; its prose waits to be replaced. Raises
    ``LossDerivError`` for a file that is there already, or a folder that is not.

    >>> import tempfile, lossderiv as ld
    >>> ld.new_notebook(tempfile.mkdtemp() + "/mine.ipynb").name
    'mine.ipynb'
    """
    target = Path(path)
    text = resources.files("lossderiv").joinpath(TEMPLATE).read_text(encoding="utf-8")
    try:
        with open(target, "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as problem:
        raise LossDerivError(
            f"{target} is there already, and is not overwritten: choose another name."
        ) from problem
    except OSError as problem:
        raise LossDerivError(f"{target} cannot be written: {problem.strerror}.") from problem
    return target


def _read(path: Path):
    """The notebook in a file, in nbformat's current version."""
    try:
        import nbformat
    except ModuleNotFoundError as problem:
        raise LossDerivError(
            "Reading a notebook needs nbformat, which comes with Jupyter: pip install nbformat."
        ) from problem
    try:
        invalid: dict[str, Exception] = {}  # else nbformat writes it to stderr, and goes on
        notebook = nbformat.read(path, as_version=4, capture_validation_error=invalid)
        for problem in invalid.values():
            raise problem
    except OSError as problem:
        raise LossDerivError(f"{path} cannot be read: {problem.strerror}.") from problem
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as problem:
        raise LossDerivError(
            f"{path} is no notebook: {str(problem).splitlines()[0][:100]}. Save it from Jupyter as "
            ".ipynb."
        ) from problem
    return notebook


# --- the rules: each takes the cells and names what is missing ---------------


def _code(cells) -> Iterator[tuple[int, object]]:
    """The code cells that are not empty, with their numbers."""
    for number, cell in enumerate(cells, 1):
        if cell.cell_type == "code" and cell.source.strip():
            yield number, cell


def executed_in_order(cells) -> Iterator[str]:
    for due, (number, cell) in enumerate(_code(cells), 1):
        if cell.execution_count is None:
            yield f"cell {number} was not executed: restart the kernel and run all cells."
            return
        if cell.execution_count != due:
            yield (
                f"cell {number} was executed as number {cell.execution_count} and should be number "
                f"{due}: restart the kernel and run all cells."
            )
            return


def without_errors(cells) -> Iterator[str]:
    for number, cell in _code(cells):
        for output in cell.outputs:
            if output.output_type == "error":
                said = f"{output.ename}: {output.evalue}".splitlines()[0]
                yield f"cell {number} ended in an error, {said[:100]}"


def with_outputs(cells) -> Iterator[str]:
    for number, cell in _code(cells):
        if not cell.outputs and shows_something(cell.source):
            yield f"cell {number} has no output, but its code shows something: run it, and save."


def shows_something(source: str) -> bool:
    """Whether a cell must have an output: it prints, or ends in something that is no call.

    A call in the last line may return nothing, unless it makes an object (a name that begins with
    a capital), and code that is not plain Python is given the benefit of the doubt.
    """
    if source.lstrip().startswith("%%"):  # a cell in another language
        return False
    plain = "\n".join(x for x in source.splitlines() if not x.lstrip().startswith(("%", "!")))
    try:
        statements = ast.parse(plain).body
    except SyntaxError:
        return False
    if not statements:
        return False
    ends = isinstance(statements[-1], ast.Expr) and not plain.rstrip().endswith(";")
    called = _called(statements[-1])
    return any(map(_prints, statements)) or (ends and (not called or called[0].isupper()))


def _prints(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.For, ast.With)):
        return any(map(_prints, statement.body))
    return _called(statement) in ("print", "display")


def _called(statement: ast.stmt) -> str:
    """The last part of the name of what a statement calls; empty if it is no call."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return ast.unparse(call.func).rpartition(".")[2] if isinstance(call, ast.Call) else ""


def figures_with_captions(cells) -> Iterator[str]:
    due = 0
    for number, cell in _code(cells):
        if not any(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {})):
            continue
        due += 1
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "").strip():
            continue
        below = cells[number] if number < len(cells) else None  # numbers count from 1
        text = below.source.strip() if below and below.cell_type == "markdown" else ""
        found = CAPTION.match(text)
        if not found:
            yield (
                f"cell {number} shows a figure without a caption: put a Markdown cell below it "
                f'that begins with "Figure {due}."'
            )
        elif int(found[1]) != due:
            yield (
                f"the caption in cell {number + 1} says Figure {found[1]}, and it is figure {due}."
            )
        elif len(_words(found[2])) < ENOUGH_WORDS:
            yield f"the caption in cell {number + 1} says nothing: write what one should see."


def without_placeholders(cells) -> Iterator[str]:
    for number, cell in enumerate(cells, 1):
        for line in cell.source.splitlines():
            if re.search(rf"\b{PLACEHOLDER}\b", line):
                rest = line[line.index(PLACEHOLDER) :].strip("*_ ")
                yield f"cell {number} still has a placeholder, {rest[:60]!r}"


def with_all_parts(cells) -> Iterator[str]:
    found = _parts(cells)
    for part in PARTS:
        if part not in found:
            yield f"there is no part {part!r}: no heading has a word such as {PARTS[part][0]!r}."
        elif len(_words(found[part].text)) < ENOUGH_WORDS:
            yield f"the part {part!r} says nothing yet."
    if "Results" in found and not found["Results"].has_outputs:
        yield "the part 'Results' shows no output: let its cells print, tabulate or draw."


def with_traceable_sources(cells) -> Iterator[str]:
    part = _parts(cells).get("Sources")
    if part is None:
        return
    entries = [e for e in ENTRY.findall(part.text) if PLACEHOLDER not in e]
    if not entries:
        yield "the part 'Sources' lists none: one item of a list for each."
    for entry in entries:
        if not TRACEABLE.search(entry):
            yield f"a source has no year, link or DOI, {entry[:60]!r}"


RULES: tuple[Callable[..., Iterator[str]], ...] = (
    executed_in_order,
    without_errors,
    with_outputs,
    figures_with_captions,
    without_placeholders,
    with_all_parts,
    with_traceable_sources,
)


@dataclass
class _Part:
    """What stands below a heading, up to the heading of another part."""

    text: str = ""
    has_outputs: bool = False


def _parts(cells) -> dict[str, _Part]:
    found: dict[str, _Part] = {}
    here = None
    for cell in cells:
        if cell.cell_type == "code" and here:
            here.has_outputs |= bool(cell.outputs)
        if cell.cell_type != "markdown":
            continue
        for line in cell.source.splitlines():
            heading = HEADING.match(line)
            name = _announced(heading[1]) if heading else None
            if name:
                here = found.setdefault(name, _Part())
            elif here and not heading:
                here.text += line + "\n"
    return found


def _announced(heading: str) -> str | None:
    words = set(re.findall(r"[\w-]+", heading.lower()))
    return next((part for part, names in PARTS.items() if words & set(names)), None)


def _words(text: str) -> list[str]:
    """The words of a text, its placeholders not counted."""
    kept = (line for line in text.splitlines() if PLACEHOLDER not in line)
    return re.findall(r"\w+", " ".join(kept))
