"""Where the book uses a family: chapters whose code names it, exercises that ask for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from myst_nb.core.read import read_myst_markdown_notebook

from lossderiv.exercises import EXERCISES, Exercise

from ..chapter_numbers import chapter


@dataclass(frozen=True)
class Chapter:
    """A numbered chapter of the book: its page, its source, and the code of its cells."""

    page: str
    source: str

    @property
    def number(self) -> int:
        return chapter(self.page)

    @property
    def code(self) -> str:
        cells = read_myst_markdown_notebook(self.source).cells
        return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def chapters(root: Path) -> tuple[Chapter, ...]:
    """The numbered chapters of the table of contents, in order."""
    tree = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    entries = [entry for part in tree["parts"] for entry in part["chapters"]]
    pages = [e["file"] for e in entries if "file" in e and chapter(e["file"]) is not None]
    return tuple(Chapter(p, (root / f"{p}.md").read_text(encoding="utf-8")) for p in pages)


def using(family: str, found: tuple[Chapter, ...]) -> Iterator[Chapter]:
    """Chapters in whose code the family's name stands in quotes."""
    named = re.compile(rf"""(["']){re.escape(family)}\1""")
    return (c for c in found if named.search(c.code))


def name_of(exercise: Exercise) -> str:
    return exercise.of if isinstance(exercise.of, str) else exercise.of.name


def exercises(family: str, found: tuple[Chapter, ...]) -> Iterator[tuple[str, str, str]]:
    """Number, label and question of each exercise on the family that a chapter holds."""
    for number, exercise in EXERCISES.items():
        if name_of(exercise) != family:
            continue
        for c in found:
            before, asked, _ = c.source.partition(f'check_exercise("{number}"')
            labels = re.findall(r"^`+\{exercise\}.*\n:label: (\S+)$", before, re.MULTILINE)
            if asked and labels:
                yield number, labels[-1], exercise.asks
