"""Cards that open over a link: the meaning of a term of the glossary, an equation of the page.

A page from the file system may not read another one, so the definitions that a page's links need
travel with the page; ``hovercards.js`` shows them. Without scripts the links are just links.
"""

from __future__ import annotations

import json
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

SCRIPT = "hovercards.js"


def spoken(node: nodes.Node) -> str:
    """The text of a definition, its formulas in TeX between ``\\(`` and ``\\)``, nothing cited."""
    if isinstance(node, nodes.math):
        return rf"\({node.astext()}\)"
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, (nodes.citation_reference, nodes.footnote_reference)):
        return ""
    if isinstance(node, addnodes.pending_xref) and node.get("refdomain") == "cite":
        return ""
    return "".join(spoken(child) for child in node.children)


def definitions(glossary: nodes.document) -> dict[str, str]:
    """The first paragraph of each term of a glossary, by the id of the term."""
    found = {}
    for item in glossary.findall(nodes.definition_list_item):
        text = spoken(next(item.findall(nodes.paragraph)))
        text = re.sub(r"\s+([.,;])", r"\1", " ".join(text.split()))
        for term in item.findall(nodes.term):
            found |= dict.fromkeys(term["ids"], text)
    return found


def all_definitions(env: BuildEnvironment) -> dict[str, str]:
    """The definitions of all terms of the book."""
    objects = env.get_domain("std").get_objects()
    pages = sorted({page for _, _, kind, page, _, _ in objects if kind == "term"})
    return {k: v for page in pages for k, v in definitions(env.get_doctree(page)).items()}


def add_cards(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    body = context.get("body", "")
    terms = set(re.findall(r'href="[^"#]*#(term-[^"]+)"', body))
    if not terms and 'href="#equation-' not in body:
        return
    known = app.lossderiv_definitions
    cards = {term: known[term] for term in sorted(terms) if term in known}
    data = json.dumps(cards, ensure_ascii=False).replace("<", "\\u003c")
    context["body"] = f'{body}<script type="application/json" id="hovercards">{data}</script>'
    app.add_js_file(SCRIPT)


def read_glossary(app: Sphinx, env: BuildEnvironment) -> list[str]:
    app.lossderiv_definitions = all_definitions(env)
    return []


def setup(app: Sphinx) -> None:
    app.connect("env-updated", read_glossary)
    app.connect("html-page-context", add_cards)
