"""Chapters are executed ahead of being read, as many at a time as there are cores.

myst-nb executes a page when Sphinx reads it, one after the other. Here every page that is to be
read and that the cache does not hold is executed before, and put where myst-nb then finds it. A
page that fails is left to myst-nb, which executes it once more and says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


class Page(NamedTuple):
    """A page to execute."""

    name: str
    path: Path
    notebook: NotebookNode
    read_fmt: dict | None


def pages_to_run(
    env: BuildEnvironment, cache: JupyterCacheAbstract, names: Sequence[str]
) -> Iterator[Page]:
    """The pages with cells, and without settings of their own, that the cache does not hold."""
    for name in names:
        path = Path(env.doc2path(name))
        text = path.read_text(encoding="utf-8")
        reader = create_nb_reader(str(path), env.myst_config, env.mystnb_config, text)
        if reader is None:
            continue
        notebook = reader.read(text)
        if env.mystnb_config.metadata_key in notebook.metadata:
            continue
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            yield Page(name, path, notebook, reader.read_fmt)


def run(page: Page, timeout: int) -> ExecutionResult:
    """The page's cells, top to bottom in a kernel of their own, in the page's folder."""
    folder = str(page.path.parent)
    return single_nb_execution(page.notebook, cwd=folder, timeout=timeout, allow_errors=False)


def keep(page: Page, result: ExecutionResult, cache: JupyterCacheAbstract) -> None:
    record = cache.add_nb_to_project(str(page.path), read_data=page.read_fmt or {})
    data = {"execution_seconds": result.time}
    bundle = CacheBundleIn(page.notebook, record.uri, data=data)
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def execute_ahead(app: Sphinx, env: BuildEnvironment, names: Sequence[str]) -> None:
    config = env.mystnb_config
    if config.execution_mode != "cache":
        return
    cache = get_cache(config.execution_cache_path)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pages = pages_to_run(env, cache, names)
        running = {pool.submit(run, page, config.execution_timeout): page for page in pages}
        for done in as_completed(running):
            page, result = running[done], done.result()
            if result.err is None:
                keep(page, result, cache)
                LOGGER.info("executed %s in %.0f seconds", page.name, result.time)
            else:
                LOGGER.info("%s failed; it will be executed again to report it", page.name)


def setup(app: Sphinx) -> None:
    app.connect("env-before-read-docs", execute_ahead)
