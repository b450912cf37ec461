"""A chapter's own list of references, beside the one bibliography of the book.

A chapter ends with::

    ```{bibliography}
    :filter: docname in docnames
    ```

sphinxcontrib-bibtex would make every entry a second target of its citations, and warn. Here the
list is for reading: the entries that the page cites, with their labels. Citations lead to the
bibliography's page.
"""

from __future__ import annotations

from docutils import nodes
from pybtex_docutils import Backend
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinxcontrib.bibtex.citation_target import CitationTarget
from sphinxcontrib.bibtex.directives import BibliographyDirective


class pending_references(nodes.General, nodes.Element):
    """Stands for a chapter's list until all citations are known."""


class ChapterBibliography(BibliographyDirective):
    """The directive of sphinxcontrib-bibtex; with a filter, the list of the page itself."""

    def run(self):
        return [pending_references()] if "filter" in self.options else super().run()


def entries(env: BuildEnvironment, page: str) -> list:
    """The formatted entries that a page cites, in the order of their labels."""
    domain = env.get_domain("cite")
    targets: list[CitationTarget] = [
        target for ref in domain.citation_refs if ref.docname == page for target in ref.targets
    ]
    cited = {target.key for target in targets}
    found = {c.key: c.formatted_entry for c in domain.citations if c.key in cited}
    return sorted(found.values(), key=lambda entry: entry.label)


def resolve(app: Sphinx, doctree: nodes.document, page: str) -> None:
    for node in list(doctree.findall(pending_references)):
        out = nodes.bullet_list(classes=["references"])
        for entry in entries(app.env, page):
            text = nodes.paragraph("", f"[{entry.label}] ")
            text += entry.text.render(Backend())
            out += nodes.list_item("", text)
        node.replace_self(out)


def setup(app: Sphinx) -> None:
    app.add_directive("bibliography", ChapterBibliography, override=True)
    app.connect("doctree-resolved", resolve)
