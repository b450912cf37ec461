"""Executed chapters are kept under a key made of all that their outputs depend on.

jupyter-cache looks at a chapter's own code only. A chapter's outputs also depend on the package,
on the versions of the libraries underneath and on the data set chosen, so the cache gets
a folder per state of these.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

READ = (".py", ".c", ".json", ".html", ".mplstyle")
"""What the package's files end in."""

KEPT = 4
"""Folders kept, newest first: switching a data set to and fro stays cheap."""


def versions(requirements: Iterable[str]) -> list[str]:
    """``["numpy 2.4.6", ...]``: the installed version of each requirement, sorted; no extras."""
    needed = (line for line in requirements if "extra ==" not in line)
    names = {re.match(r"[\w.-]+", line).group() for line in needed}
    return sorted(f"{name} {metadata.version(name)}" for name in names)


def cache_key(package: Path, installed: Iterable[str], environ: Mapping[str, str]) -> str:
    """A digest of the package's files, the installed versions and the data set chosen."""
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in READ):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    for line in installed:
        digest.update(line.encode())
    for name in sorted(environ):
        if name.startswith("LOSSDERIV_DATA"):  # and LOSSDERIV_DATASET
            digest.update(f"{name}={environ[name]}".encode())
    return digest.hexdigest()[:16]


def set_cache_path(app: Sphinx, config: Config) -> None:
    requirements = [*metadata.requires("lossderiv"), "ipykernel"]
    installed = [sys.version.split()[0], *versions(requirements)]
    key = cache_key(Path(app.srcdir, "lossderiv"), installed, os.environ)
    config.nb_execution_cache_path = str(Path(app.outdir).parent / ".jupyter_cache" / key)


def prune(app: Sphinx, exception: Exception | None) -> None:
    current = Path(app.config.nb_execution_cache_path)
    if exception is None and current.is_dir():
        current.touch()
        by_age = sorted(current.parent.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in by_age[KEPT:]:
            shutil.rmtree(old)


def setup(app: Sphinx) -> None:
    app.connect("config-inited", set_cache_path)
    app.connect("build-finished", prune)
