"""A chapter's number is the number in its file's name: ``part2/05-….md`` is chapter 5.

Sphinx counts numbered pages from 1 in each part. Here the number belongs to the chapter, so it
survives while other chapters are still to come, and "chapter 5" in a text stays true.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.util import logging
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

LOGGER = logging.getLogger(__name__)


def chapter(page: str) -> int | None:
    """``book/part2/05-likelihood-to-loss`` -> 5; None when the file's name has no number."""
    number = re.match(r"(\d+)-", PurePosixPath(page).name)
    return int(number[1]) if number else None


def number_by_name(collector: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    """Take Sphinx's section numbers and exchange their first component."""
    before = env.toc_secnumbers
    TocTreeCollector.assign_section_numbers(collector, env)
    for page, counted in env.toc_secnumbers.items():
        first = chapter(page)
        if first is None:
            LOGGER.warning("a numbered page needs a file name such as 05-title.md", location=page)
            continue
        numbers = {anchor: n and (first, *n[1:]) for anchor, n in counted.items()}
        env.toc_secnumbers[page] = numbers
        env.titles[page]["secnumber"] = [first]
        for link in env.tocs[page].findall(nodes.reference):
            if link.get("secnumber"):
                link["secnumber"] = list(numbers[link["anchorname"]])
    return [page for page, n in env.toc_secnumbers.items() if n != before.get(page)]


def setup(app: Sphinx) -> None:
    # The collector in use is that of sphinx-external-toc, whose numbering has styles
    # (roman, alphabetic) but no way to say where a count begins.
    TocTreeCollectorWithStyles.assign_section_numbers = number_by_name
