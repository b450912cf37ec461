"""Each chapter as a notebook to take away, in two forms, and the package beside them.

- ``<page>.ipynb``: with outputs, as executed for the page. myst-nb writes none when the outputs
  came from the cache, so they are merged here.
- ``<page>.to-run.ipynb``: no outputs, and a first cell that installs the package when missing.
- ``_static/lossderiv-<version>.zip``: what that first cell installs.

Both are plain Jupyter notebooks: ``plain_markdown`` takes out the MyST syntax, the images of the
text travel along as attachments, and nothing of what makes the book has to be installed.
"""

from __future__ import annotations

import base64
import copy
import mimetypes
import re
import zipfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_nb.core.variables import format_plain_text
from nbformat import NotebookNode
from pybtex.backends.markdown import Backend
from sphinx.application import Sphinx
from sphinx.util import logging

from . import references, times
from .plain_markdown import UnknownMarkup, plain

LOGGER = logging.getLogger(__name__)

ARCHIVE = f"lossderiv-{metadata.version('lossderiv')}.zip"

PACKAGED = (".py", ".typed", ".json", ".html", ".mplstyle", ".ipynb", ".c")
"""What the package's files end in."""

INSTALL = """\
# Installs the package when it is missing; does nothing otherwise.
import importlib.util
from pathlib import Path

if importlib.util.find_spec("lossderiv") is None:
    source = "{source}"
    if "://" not in source and not Path(source).exists():
        raise FileNotFoundError(
            f"Put {{source}} beside this notebook: it is in the same download "
            "menu of the book's page."
        )
    %pip install --quiet {{source}}
"""


GLUE_IMPORT = "from myst_nb import glue\n"
GLUE = '''\
def glue(name, value, display=True):
    """On the book's page this puts a number into the text. Here it can only show it."""
    if display:
        print(value)


'''


@dataclass
class PageNames:
    """Looks up what labels stand for in the book that is being built."""

    app: Sphinx
    page: str
    glued: dict[str, str]
    attachments: dict[str, dict[str, str]] = field(default_factory=dict)

    def _label(self, label: str) -> tuple[str, str, str]:
        std = self.app.env.get_domain("std")
        if label in std.labels:
            return std.labels[label]
        if label in std.anonlabels:
            return (*std.anonlabels[label], "")
        return "", "", ""

    def _located(self, path: str) -> Path:
        return Path(self.app.srcdir, self.app.env.relfn2path(path, self.page)[0])

    def title(self, label: str) -> str:
        return self._label(label)[2] or self.number(label)

    def number(self, label: str) -> str:
        page, anchor, _ = self._label(label)
        for kind, numbers in self.app.env.toc_fignumbers.get(page, {}).items():
            if anchor in numbers:
                figure = ".".join(map(str, numbers[anchor]))
                return self.app.config.numfig_format.get(kind, "%s") % figure
        section = self.app.env.toc_secnumbers.get(page, {}).get(f"#{anchor}")
        return f"Section {'.'.join(map(str, section))}" if section else label.replace("-", " ")

    def equation(self, label: str) -> str:
        page, counted = self.app.env.get_domain("math").equations[label]
        within = self.app.env.toc_fignumbers.get(page, {}).get("displaymath", {})
        number = within.get(f"equation-{label}", (counted,))
        return ".".join(map(str, number))

    def cite(self, key: str) -> str:
        citations = self.app.env.get_domain("cite").citations
        return next((c.formatted_entry.label for c in citations if c.key == key), key)

    def bibliography(self) -> str:
        return "\n".join(
            f"- [{entry.label}] {one_line(entry.text.render(Backend()))}"
            for entry in references.entries(self.app.env, self.page)
        )

    def page_title(self, target: str) -> str:
        path = self.app.env.relfn2path(target, self.page)[0]
        page = self.app.env.path2doc(path) or target
        title = self.app.env.titles.get(page)
        return title.astext() if title else Path(target).stem

    def glue(self, key: str) -> str:
        name, _, spec = key.partition(":")
        if name not in self.glued:
            raise UnknownMarkup(f"{{glue}}: nothing was glued under {name!r} on this page")
        return format_plain_text(self.glued[name], spec)

    def time(self, kind: str, target: str) -> str:
        return times.TEXTS[kind](self.app.env, target, self.page)

    def file(self, path: str) -> str:
        return self._located(path).read_text(encoding="utf-8").rstrip("\n")

    def image(self, path: str) -> str:
        if "://" in path:
            return path
        located = self._located(path)
        kind = mimetypes.guess_type(located.name)[0]
        data = base64.b64encode(located.read_bytes()).decode()
        self.attachments[located.name] = {kind: data}
        return f"attachment:{located.name}"


def one_line(markdown: str) -> str:
    """Without the line breaks and the needless backslashes of pybtex's Markdown."""
    return re.sub(r"\\([.\-(){}])", r"\1", " ".join(markdown.split()))


def glued_values(notebook: NotebookNode) -> dict[str, str]:
    """The text of everything that the page's cells glued, by name."""
    values = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name:
                data = output["data"]
                key = "text/plain"
                values[name] = data.get(f"application/papermill.record/{key}") or data.get(key, "")
    return values


def plain_notebook(notebook: NotebookNode, names: PageNames) -> NotebookNode:
    """The same notebook in ordinary Markdown, with the images of its text attached."""
    out = copy.deepcopy(notebook)
    out.metadata = {
        key: value
        for key, value in notebook.metadata.items()
        if key in ("kernelspec", "language_info")
    }
    for cell in out.cells:
        if GLUE_IMPORT in cell.source:
            cell.source = GLUE + cell.source.replace(GLUE_IMPORT, "")
        if cell.cell_type == "markdown":
            names.attachments.clear()
            cell.source = plain(cell.source, names)
            if names.attachments:
                cell.attachments = dict(names.attachments)
    return out


def to_run(notebook: NotebookNode, source: str) -> NotebookNode:
    """Without outputs, and with a first cell that installs the package when it is missing."""
    out = copy.deepcopy(notebook)
    for cell in out.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    install = nbformat.v4.new_code_cell(INSTALL.format(source=source), id="install")
    out.cells.insert(0, install)
    return out


def write_notebooks(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    if doctree is None or times.seconds(app.env, pagename) is None:
        return
    path = Path(app.env.doc2path(pagename))
    source = path.read_text(encoding="utf-8")
    assert is_myst_markdown_notebook(source), f"{path} was executed but is no MyST notebook"
    read = read_myst_markdown_notebook(source, config=app.env.myst_config, path=path)
    cache = get_cache(app.env.mystnb_config.execution_cache_path)
    _, executed = cache.merge_match_into_notebook(read)
    try:
        shown = plain_notebook(executed, PageNames(app, pagename, glued_values(executed)))
    except UnknownMarkup as error:
        LOGGER.warning("notebook download: %s", error, location=pagename)
        return
    base = app.config.html_baseurl
    archive = f"{base.rstrip('/')}/_static/{ARCHIVE}" if base else ARCHIVE
    target = Path(app.outdir, "_sources", pagename)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(shown, f"{target}.ipynb")
    nbformat.write(to_run(shown, archive), f"{target}.to-run.ipynb")
    context["ipynb_source"] = f"{pagename}.ipynb"


def extend_menu(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Name the theme's notebook entry for what it is, and add the two it does not know."""
    if "ipynb_source" not in context:
        return
    menus = {button.get("label"): button for button in context["header_buttons"]}
    buttons = menus["download-buttons"]["buttons"]
    executed = next(b for b in buttons if b["label"] == "download-notebook-button")
    executed["text"] = "notebook with results"
    root = context["pathto"]("_sources", 1)
    static = context["pathto"]("_static", 1)
    extra = [
        ("notebook to run", f"{root}/{pagename}.to-run.ipynb", "Notebook without outputs", "play"),
        ("package", f"{static}/{ARCHIVE}", "The package that the notebook needs", "box"),
    ]
    at = buttons.index(executed) + 1
    buttons[at:at] = [
        {
            "type": "link",
            "url": url,
            "text": text,
            "tooltip": tooltip,
            "icon": f"fas fa-{icon}",
            "label": f"download-{text.replace(' ', '-')}-button",
        }
        for text, url, tooltip, icon in extra
    ]


def write_archive(app: Sphinx, exception: Exception | None) -> None:
    """A source archive that pip installs: fixed dates, so equal content gives equal bytes."""
    if exception is not None or app.builder.format != "html":
        return
    root = Path(app.srcdir)
    files = [root / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    files += sorted(p for p in (root / "lossderiv").rglob("*") if p.suffix in PACKAGED)
    folder = Path(ARCHIVE).stem
    with zipfile.ZipFile(Path(app.outdir, "_static", ARCHIVE), "w") as archive:
        for path in files:
            entry = zipfile.ZipInfo(f"{folder}/{path.relative_to(root).as_posix()}")
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def setup(app: Sphinx) -> None:
    # The theme builds its download menu at priority 501.
    app.connect("html-page-context", write_notebooks, priority=499)
    app.connect("html-page-context", extend_menu, priority=502)
    app.connect("build-finished", write_archive)
