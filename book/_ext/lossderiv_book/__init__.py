"""What this book needs beyond Jupyter Book, one idea per file.

========================= ====================================================
``cache_key``             an edit of the package executes the chapters again
``execution``             chapters are executed several at a time
``chapter_numbers``       a chapter's number is the one in its file's name
``mathjax``               formulas are typeset offline, from the file system
``times``                 ``{runtime}`` and ``{readtime}``: measured, not typed
``references``            a chapter's own list of the works that it cites
``atlas``                 a page for each family of the catalogue
``exercises``             no two places of a page share an id
``derivations``           a derivation's table is marked as one
``hovercards``            a term's meaning opens over its links
``sidebar``               the toggles of the menu have names
``docstrings``            examples in docstrings get a heading
``downloads``             each chapter as a notebook, with and without outputs
``plain_markdown``        MyST Markdown -> the Markdown every notebook reads
========================= ====================================================
"""

from __future__ import annotations

from sphinx.application import Sphinx

from . import (
    atlas,
    cache_key,
    chapter_numbers,
    derivations,
    docstrings,
    downloads,
    execution,
    exercises,
    hovercards,
    mathjax,
    references,
    sidebar,
    times,
)

PARTS = (
    cache_key,
    atlas,
    execution,
    chapter_numbers,
    mathjax,
    references,
    exercises,
    times,
    derivations,
    hovercards,
    sidebar,
    docstrings,
    downloads,
)


def setup(app: Sphinx) -> dict[str, bool]:
    for part in PARTS:
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
