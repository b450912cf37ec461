"""Checks of a page's HTML, without a browser."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup


def toc(root: Path, written: Mapping[str, Iterable[str]]) -> list[str]:
    """The pages of the table of contents, the root first: ``["book/index", ...]``.

    ``written`` names the pages of each glob, which are there only once the book is built.
    """
    tree = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    parts = tree.get("parts", [tree])
    entries = [entry for part in parts for entry in part["chapters"]]
    return [tree["root"], *(page for entry in entries for page in _pages(entry, written))]


def _pages(entry: dict, written: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """The pages of one entry and of the sections below it."""
    if "glob" in entry:
        folder = entry["glob"].removesuffix("*")
        yield from (f"{folder}{name}" for name in written[entry["glob"]])
    else:
        yield entry["file"]
    for section in entry.get("sections", []):
        yield from _pages(section, written)


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def article(path: Path):
    """The part of a page that its author wrote."""
    soup = parsed(path)
    return soup.find("article") or soup.body


def broken_links(path: Path) -> list[str]:
    """Links, images and scripts of a page that lead to no file, or to no place in the file."""
    broken = []
    for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
        for element in parsed(path).find_all(tag, attrs={attribute: True}):
            url = urlsplit(element[attribute])
            if url.scheme or url.netloc:
                continue
            target = path.parent / unquote(url.path) if url.path else path
            if not target.exists():
                broken.append(f"{element[attribute]}: no such file")
            elif url.fragment and target.suffix == ".html":
                place = unquote(url.fragment)
                if not parsed(target.resolve()).find(id=place):
                    broken.append(f"{element[attribute]}: no such place in the page")
    return broken


def pictures_without_alt(path: Path) -> list[str]:
    """Images whose alternative text is missing, empty, or a file's name."""
    file_name = re.compile(r"^\S*\.(?:png|svg|jpe?g|gif)$")
    return [
        image.get("src", "an image")[-60:]
        for image in article(path).find_all("img")
        if not image.get("alt", "").strip() or file_name.match(image["alt"].strip())
    ]


def duplicate_ids(path: Path) -> list[str]:
    ids = [element["id"] for element in parsed(path).find_all(id=True)]
    return sorted({name for name in ids if ids.count(name) > 1})


def shown_outputs(path: Path) -> int:
    """How many code cells of the page show an output."""
    return len(article(path).select("div.cell > div.cell_output"))


def tracebacks(path: Path) -> list[str]:
    """Signs of a failed cell in the page's text. What a cell printed itself may name an error."""
    page = copy.copy(article(path))
    found = page.find_all(string=re.compile(r"Traceback \(most recent call last\)"))
    for printed in page.select("div.output.stream:not(.stderr)"):
        printed.decompose()
    return [str(t)[:80] for t in found] + re.findall(r"\b\w+Error: .{0,60}", page.get_text())


def raw_tables(path: Path) -> list[str]:
    """Tables in Markdown that were not typeset: lines of bars and dashes alone in the text."""
    rule = re.compile(r"^\s*\|(?:\s*:?-{3,}:?\s*\|)+\s*$", re.MULTILINE)
    return rule.findall(article(path).get_text())


def stderr(path: Path) -> list[str]:
    """Text that cells wrote to stderr: warnings, progress bars."""
    return [element.get_text()[:80] for element in article(path).select("div.output.stderr")]
