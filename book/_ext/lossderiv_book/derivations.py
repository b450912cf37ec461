"""A derivation's table is marked, so that it can be set as a list of steps.

Three columns do not fit a page whose formulas are long: the reasons would be squeezed to a word a
line. With the class, the style sheet puts each reason below its formula, and ``stepper.js``, which
is loaded on pages with a derivation alone, shows one step after the other.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

HEADER = ["step", "formula", "reason"]  # as Derivation.markdown() writes it


def header(table: nodes.table) -> list[str]:
    """The texts of a table's head, empty for a table without one."""
    return [entry.astext() for head in table.findall(nodes.thead) for entry in head[0]]


def mark(app: Sphinx, doctree: nodes.document) -> None:
    for table in doctree.findall(nodes.table):
        if header(table) == HEADER:
            table["classes"].append("derivation")


def add_stepper(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    tables = doctree.findall(nodes.table) if doctree else ()
    if any("derivation" in table["classes"] for table in tables):
        app.add_js_file("stepper.js")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", mark)
    app.connect("html-page-context", add_stepper)
