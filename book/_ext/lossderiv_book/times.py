"""Times in the text are measured, never typed.

Roles (the target is a page below ``book/`` without suffix, or ``.`` for the page itself):

- ``{runtime}`part1/01-workflow``` -> "under 10 seconds", "about 40 seconds", "about 3 minutes":
  what executing the page's cells took when its outputs were made.
- ``{readtime}`.``` -> "9 minutes": 200 words a minute, and 3 seconds for a line of code.

Directive: ``{runtimes}`` draws the table of all executed pages with the exact seconds.
"""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path

from docutils import nodes
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

LOGGER = logging.getLogger(__name__)

WORDS_PER_MINUTE = 200
SECONDS_PER_CODE_LINE = 3


def spoken(seconds: float) -> str:
    """A measured time as one says it.

    Coarse on purpose: the text should not change from build to build.
    """
    if seconds < 10:
        return "under 10 seconds"
    if seconds < 95:
        return f"about {round(seconds, -1):.0f} seconds"
    return f"about {seconds / 60:.0f} minutes"


def reading_minutes(source: str) -> int:
    """Minutes to read a page, given its MyST source."""
    prose, code = [source], []
    if is_myst_markdown_notebook(source):
        cells = read_myst_markdown_notebook(source).cells
        prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
        code = [cell.source for cell in cells if cell.cell_type == "code"]
    words = sum(len(re.findall(r"\w+(?:[-'’]\w+)*", text)) for text in prose)
    lines = sum(1 for text in code for line in text.splitlines() if line.strip())
    return math.ceil(words / WORDS_PER_MINUTE + lines * SECONDS_PER_CODE_LINE / 60)


def docname(env: BuildEnvironment, target: str, current: str) -> str:
    """The page that a role's target means; targets are relative to the book's folder."""
    return current if target == "." else str(Path(env.config.root_doc).parent / target)


def seconds(env: BuildEnvironment, page: str) -> float | None:
    """What executing the page took, or None for a page without executed cells."""
    data = NbMetadataCollector.get_exec_data(env, page)
    return None if data is None else data["runtime"]


def runtime_text(env: BuildEnvironment, target: str, current: str) -> str:
    page = docname(env, target, current)
    measured = seconds(env, page)
    if measured is None:
        LOGGER.warning("{runtime}: page %r has no executed cells", page, location=current)
        return "an unknown time"
    return spoken(measured)


def readtime_text(env: BuildEnvironment, target: str, current: str) -> str:
    page = docname(env, target, current)
    if page not in env.found_docs:
        LOGGER.warning("{readtime}: there is no page %r", page, location=current)
        return "an unknown time"
    minutes = reading_minutes(Path(env.doc2path(page)).read_text(encoding="utf-8"))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


TEXTS = {"runtime": runtime_text, "readtime": readtime_text}


class pending_time(nodes.Inline, nodes.Element):
    """Stands for a time until every page has been executed."""


class pending_runtimes(nodes.General, nodes.Element):
    """Stands for the table of run times until every page has been executed."""


class TimeRole(SphinxRole):
    def run(self):
        return [pending_time(kind=self.name.lower(), target=self.text)], []


class RuntimesDirective(SphinxDirective):
    def run(self):
        return [pending_runtimes()]


def reading_order(env: BuildEnvironment) -> list[str]:
    """All pages in the order of the table of contents."""
    order, todo = [], [env.config.root_doc]
    while todo:
        page = todo.pop(0)
        if page not in order:
            order.append(page)
            todo[:0] = env.toctree_includes.get(page, [])
    return order


def table(app: Sphinx, current: str) -> list[nodes.Node]:
    env = app.env
    pages = [page for page in reading_order(env) if seconds(env, page) is not None]
    rows = [(page, seconds(env, page)) for page in pages]
    tgroup = nodes.tgroup(cols=2)
    tgroup += [nodes.colspec(colwidth=4), nodes.colspec(colwidth=1)]
    head, body = nodes.thead(), nodes.tbody()
    head += row([nodes.Text("page")], [nodes.Text("seconds")])
    for page, measured in rows:
        link = nodes.reference(
            "", "", internal=True, refuri=app.builder.get_relative_uri(current, page)
        )
        link += nodes.Text(env.titles[page].astext())
        body += row([link], [nodes.Text(f"{measured:.1f}")])
    total = nodes.Text(f"{sum(measured for _, measured in rows):.1f}")
    body += row([nodes.strong("", "all pages")], [nodes.strong("", "", total)])
    tgroup += [head, body]
    out = nodes.table("", tgroup)
    machine = (
        f"Measured when the outputs in these pages were made: {platform.system()} on "
        f"{platform.machine()}, {os.cpu_count()} cores, as many pages at a time, "
        f"Python {platform.python_version()}."
    )
    return [out, nodes.paragraph("", machine)]


def row(*cells: list[nodes.Node]) -> nodes.row:
    out = nodes.row()
    for children in cells:
        entry, paragraph = nodes.entry(), nodes.paragraph()
        paragraph += children
        entry += paragraph
        out += entry
    return out


def resolve(app: Sphinx, doctree: nodes.document, current: str) -> None:
    for node in list(doctree.findall(pending_time)):
        text = TEXTS[node["kind"]](app.env, node["target"], current)
        node.replace_self(nodes.Text(text))
    for node in list(doctree.findall(pending_runtimes)):
        node.replace_self(table(app, current))


def pages_with_times(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Pages that show a time are written anew in every build: another page may have been run."""
    mark = re.compile(r"\{(?:runtime|readtime|runtimes)\}")
    return [
        page
        for page in sorted(env.found_docs)
        if mark.search(Path(env.doc2path(page)).read_text(encoding="utf-8"))
    ]


def setup(app: Sphinx) -> None:
    for name in TEXTS:
        app.add_role(name, TimeRole())
    app.add_directive("runtimes", RuntimesDirective)
    app.connect("env-updated", pages_with_times)
    app.connect("doctree-resolved", resolve)
