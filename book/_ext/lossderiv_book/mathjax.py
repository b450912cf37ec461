"""Formulas without a network: MathJax is copied out of a PyPI package at build time.

``tex-svg-full.js`` is one file with every TeX extension inside, so nothing is loaded later, and
SVG output needs no font files. It works from ``file://``.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

SCRIPT = "tex-svg-full.js"


def set_path(app: Sphinx, config: Config) -> None:
    config.mathjax_path = SCRIPT


def copy_script(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    files = metadata.files("sphinx-mathjax-offline")
    source = next(f for f in files if f.name == SCRIPT).locate()
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, static / SCRIPT)


def setup(app: Sphinx) -> None:
    app.connect("config-inited", set_path)
    app.connect("builder-inited", copy_script)
