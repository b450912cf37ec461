"""Docstrings as the package writes them: an example ends the docstring, without a heading.

In the NumPy style, the ``>>>`` lines would belong to the section before them ("Raises"), so they
get a heading of their own before napoleon reads the sections.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docstrings import prepare_docstring

HEADING = ["Example", "-------", ""]


def head_example(lines: list[str]) -> list[str]:
    """The same lines, with a heading above a first example that follows another section.

    >>> head_example(["Raises", "------", "ValueError", "    Bad.", "", ">>> 1"])[5:]
    ['Example', '-------', '', '>>> 1']
    """
    first = next((i for i, line in enumerate(lines) if line.startswith(">>>")), None)
    sections = any(line and set(line) == {"-"} for line in lines[:first])
    if first is None or not sections or "Example" in lines[max(0, first - 3) : first]:
        return lines
    return [*lines[:first], *HEADING, *lines[first:]]


def before_napoleon(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = head_example(lines)


def after_napoleon(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """A property's docstring is prose: napoleon took what stands before a colon for a type."""
    if what == "property":
        lines[:] = prepare_docstring(obj.__doc__ or "")


def setup(app: Sphinx) -> None:
    # napoleon listens at the default priority of 500.
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
