"""The Atlas of losses: a page for each family of the catalogue, written before Sphinx reads.

================ ==============================================================
``words``        titles, symbols, numbers, groups
``settings``     in which three settings a family is drawn
``curves``       densities, losses and slopes as numbers
``drawing``      the two pictures, with caption and alternative text
``planes``       densities of vectors, over a plane or a triangle
``mentions``     chapters and exercises that use a family
``knowledge``    what each loss knows, side by side
``one_page``     every loss in one row: shape, data, outputs, pull, when it fails
``choose``       from the kind of data and noise to a family
``pages``        the Markdown of a page and of the index
``made``         pages on densities made of others: mixtures, levels, bounds, zeros, functions
``made_drawing`` their pictures, and usual ways of computing measured beside ours
``poster``       all families in one picture
``explorer``     the page on which every loss can be moved: densities, losses, slopes
``javascript``   generated Python -> the JavaScript of that page
================ ==============================================================

Pages lie in ``book/atlas/families`` and ``book/atlas/made``, which are not under version control;
the table of contents takes whatever is there. They are written again when the package, the chapters
or this folder have changed, and a file is touched only when its content differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)

FOLDER = Path("book/atlas/families")
MADE = Path("book/atlas/made")
STAMP = ".made-of"


def made_of(root: Path, key: str) -> str:
    """A digest of all that the pages depend on; ``key`` stands for the package and libraries."""
    digest = hashlib.sha256(key.encode())
    own = (p for p in Path(__file__).parent.iterdir() if p.suffix in (".py", ".js", ".html"))
    for path in (root / "_toc.yml", *sorted(own)):
        digest.update(path.read_bytes())
    for path in sorted((root / "book").glob("part*/*.md")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write(root: Path, tell: Callable[[str], None] = print) -> Path:
    """Write every family's page, its pictures and the tables of the index; return the folder."""
    from lossderiv.catalogue import FAMILIES

    from . import (
        accuracy,
        choose,
        drawing,
        explorer,
        knowledge,
        made,
        mentions,
        one_page,
        pages,
        poster,
    )

    folder = root / FOLDER
    found = mentions.chapters(root)
    families = tuple(pages.Family(density) for density in FAMILIES.values())
    known = tuple(knowledge.Known(family) for family in families)
    whole = poster.draw(families)
    files = {
        "poster.txt": pages.figure("families/pictures/all.svg", whole),
        "pictures/all.svg": whole.svg,
        "index.txt": pages.index(families),
        "accuracy.txt": accuracy.totals(family.certificate for family in families),
        "explorer.html": explorer.page(families),
        "knowledge.txt": knowledge.tables(known),
        "one-page.txt": one_page.tables(known),
        "choose.txt": choose.boxes(),
        "left-out.txt": choose.left_out(),
    }
    for family in families:
        tell(family.name)
        pictures = drawing.pictures(family.density, family.given)
        files[f"{family.name}.md"] = pages.page(family, pictures, found)
        for kind, picture in zip(("density", "loss"), pictures, strict=True):
            files[f"pictures/{family.name}-{kind}.svg"] = picture.svg
        files[f"pictures/{family.name}-small.svg"] = one_page.small(family)
    fill(folder, files)
    tell("mixtures and their kin")
    texts, drawn = made.pages()
    others = {f"{name}.md": text for name, text in texts.items()}
    others |= {f"pictures/{name}.svg": picture.svg for name, picture in drawn.items()}
    fill(root / MADE, {"index.txt": made.index(), **others})
    return folder


def fill(folder: Path, files: Mapping[str, str]) -> None:
    """Put these files into a folder and no others; what is already as it should be stays."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for path in folder.rglob("*.*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def refresh(app: Sphinx, config: Config) -> None:
    root = Path(app.srcdir)
    state = made_of(root, Path(config.nb_execution_cache_path).name)
    stamp = root / FOLDER / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return
    LOGGER.info("writing the Atlas")
    write(root, tell=LOGGER.info)
    stamp.write_text(state, encoding="utf-8")


def setup(app: Sphinx) -> None:
    # After the cache's key is known (500), before the table of contents is read (900).
    app.connect("config-inited", refresh, priority=600)
