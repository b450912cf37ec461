"""The book's Sphinx extension: what each part does, without building the book."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from bookchecks.notebooks import raw_myst
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.core import publish_doctree
from lossderiv_book import (
    cache_key,
    chapter_numbers,
    derivations,
    docstrings,
    downloads,
    sidebar,
    times,
)
from lossderiv_book.plain_markdown import UnknownMarkup, plain
from myst_parser.parsers.docutils_ import Parser

import lossderiv as ld

EXTENSION = Path(__file__).parents[1] / "book" / "_ext"

# --- several chapters at a time ----------------------------------------------

PAGE = """---
file_format: mystnb
kernelspec: {{name: python3}}
---
# {me}

```{{code-cell}}
import pathlib, time
pathlib.Path("{me}.here").touch()
for _ in range(300):
    if pathlib.Path("{other}.here").exists():
        break
    time.sleep(0.1)
else:
    raise TimeoutError("{other} never came")
print("met {other}")
```
"""
CONF = """
from lossderiv_book import execution
extensions = ["myst_nb"]
nb_execution_mode = "cache"
nb_execution_cache_path = "cache"
nb_execution_timeout = 60
nb_execution_show_tb = True
root_doc = "left"
exclude_patterns = ["cache", "jupyter_execute", "out"]
setup = execution.setup
"""


def sphinx_build(folder: Path) -> str:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-E", ".", "out"]
    roads = os.pathsep.join([str(EXTENSION), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": roads, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core executes one page at a time")
def test_pages_are_executed_at_the_same_time_and_once(tmp_path):
    """Each page waits for the other, so one after the other they would both fail."""
    (tmp_path / "conf.py").write_text(CONF)
    for me, other in (("left", "right"), ("right", "left")):
        (tmp_path / f"{me}.md").write_text(PAGE.format(me=me, other=other))
    said = sphinx_build(tmp_path)
    assert "executed left in" in said, said
    assert "met right" in (tmp_path / "out" / "left.html").read_text(encoding="utf-8")
    assert "met left" in (tmp_path / "out" / "right.html").read_text(encoding="utf-8")
    assert "Executing notebook" not in said
    assert "executed left" not in sphinx_build(tmp_path)


def test_a_page_that_fails_is_reported(tmp_path):
    (tmp_path / "conf.py").write_text(CONF)
    page = PAGE.format(me="left", other="nobody").replace("range(300)", "range(1)")
    (tmp_path / "left.md").write_text(page)
    assert "nobody never came" in sphinx_build(tmp_path)


# --- the key of the cache ----------------------------------------------------


@pytest.fixture
def package(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "sub" / "b.py").write_text("y = 2\n")
    return tmp_path


def test_key_is_the_same_for_the_same_state(package):
    again = cache_key.cache_key(package, ["torch 2"], {"HOME": "elsewhere"})
    assert cache_key.cache_key(package, ["torch 2"], {}) == again


def test_key_changes_with_whatever_outputs_depend_on(package):
    keys = [cache_key.cache_key(package, ["torch 2"], {})]
    keys.append(cache_key.cache_key(package, ["torch 3"], {}))
    keys.append(cache_key.cache_key(package, ["torch 2"], {"LOSSDERIV_DATASET": "mnist"}))
    (package / "sub" / "b.py").write_text("y = 3\n")
    keys.append(cache_key.cache_key(package, ["torch 2"], {}))
    (package / "sub" / "figures.json").write_text("{}")
    keys.append(cache_key.cache_key(package, ["torch 2"], {}))
    (package / "sub" / "b.py").rename(package / "sub" / "c.py")
    keys.append(cache_key.cache_key(package, ["torch 2"], {}))
    assert len(set(keys)) == len(keys)


def test_versions_are_those_installed():
    import numpy

    extra = 'nobody-has-this>=1; extra == "more"'
    assert cache_key.versions(["numpy>=1.26", extra]) == [f"numpy {numpy.__version__}"]


# --- times -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "under 10 seconds"),
        (12.4, "about 10 seconds"),
        (94.0, "about 90 seconds"),
        (118.0, "about 2 minutes"),
        (601.0, "about 10 minutes"),
    ],
)
def test_a_time_as_one_says_it(seconds, said):
    assert times.spoken(seconds) == said


def test_reading_time_counts_words_and_code():
    assert times.reading_minutes("word " * 400) == 2
    head = "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n"
    code = "```{code-cell}\n" + "x = 1\n" * 100 + "```\n"
    assert times.reading_minutes(head + "word " * 200 + "\n\n" + code) == 6


# --- chapter numbers ---------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "number"),
    [("book/part2/05-likelihood", 5), ("book/part4/16-template", 16), ("book/index", None)],
)
def test_a_chapter_has_the_number_of_its_file(page, number):
    assert chapter_numbers.chapter(page) == number


# --- derivations -------------------------------------------------------------


def as_table(markdown: str) -> nodes.table:
    """A Markdown table as Sphinx reads it."""
    return next(publish_doctree(markdown, parser=Parser()).findall(nodes.table))


def marked(markdown: str) -> bool:
    table = as_table(markdown)
    derivations.mark(None, table.document)
    return "derivation" in table["classes"]


def test_a_derivations_table_is_marked():
    assert marked(ld.derive("bernoulli").markdown())


@pytest.mark.parametrize("head", ["| step | formula |", "| step | formula | seconds |"])
def test_other_tables_are_not_marked(head):
    line = "|---" * (head.count("|") - 1) + "|"
    assert not marked(f"{head}\n{line}\n{head}\n")


# --- the sidebar -------------------------------------------------------------


def test_toggles_are_called_after_their_page():
    menu = BeautifulSoup(
        "<ul><li><a>All</a><details><summary><i></i></summary><ul><li><a>One</a></li></ul>"
        "</details></li></ul>",
        "html.parser",
    )
    assert sidebar.name_toggles(menu).summary["aria-label"] == "Pages of: All"


# --- docstrings --------------------------------------------------------------


def test_an_example_after_a_section_gets_a_heading():
    lines = ["Raises", "------", "ValueError", "    Bad.", "", ">>> 1"]
    assert docstrings.head_example(lines)[5:] == [*docstrings.HEADING, ">>> 1"]


@pytest.mark.parametrize("lines", [["Text.", "", ">>> 1"], ["Text."], ["Raises", "------", "X"]])
def test_other_docstrings_are_left_alone(lines):
    assert docstrings.head_example(lines) == lines


# --- plain Markdown ----------------------------------------------------------


class Names:
    """Answers with what it was asked, so that tests see it."""

    def title(self, label):
        return f"title of {label}"

    def number(self, label):
        return f"Fig. {len(label)}"

    def equation(self, label):
        return "5.1"

    def cite(self, key):
        return key.upper()

    def page_title(self, target):
        return f"page {target}"

    def glue(self, key):
        return f"<{key}>"

    def time(self, kind, target):
        return f"{kind} of {target}"

    def image(self, path):
        return f"attachment:{path}"

    def file(self, path):
        return f"# {path}"

    def bibliography(self):
        return "- A book."


PLAIN = {
    "a box": (
        ":::{admonition} Look\n:class: tip\nAt $x$.\n:::",
        "> **Look**\n>\n> At $x$.",
    ),
    "a box without a title": ("```{note}\nSo.\n```", "> **Note**\n>\n> So."),
    "boxes in boxes": (
        "::::{admonition} Predict\n:::{dropdown} Up\nSince.\n:::\n::::",
        "> **Predict**\n>\n> <details><summary>Up</summary>\n>\n> Since.\n>\n> </details>",
    ),
    "a figure": (
        "```{figure} a.png\n:alt: A bell.\n\nIt *rings*.\n```",
        "![A bell.](attachment:a.png)\n\n*It *rings*.*",
    ),
    "a numbered formula": ("$$\nx\n$$ (eq-x)", "$$\nx\n\\tag{5.1}\n$$"),
    "a formula directive": ("```{math}\n:label: e\nx\n```", "$$\nx\n\\tag{5.1}\n$$"),
    "an exercise": ("```{exercise} Easy\n:label: e\nDo.\n```", "**Exercise (Easy).** Do."),
    "its solution": (
        "````{solution} e\nDone.\n````",
        "<details><summary>Solution</summary>\n\nDone.\n\n</details>",
    ),
    "a label": ("(there)=\n# Title", "# Title"),
    "a comment": ("% hidden\nshown", "shown"),
    "code": ("```python\n{ref}`x`\n```", "```python\n{ref}`x`\n```"),
    "references": ("```{bibliography}\n:style: plain\n```", "- A book."),
    "a toctree": ("```{tableofcontents}\n```", ""),
    "a reference": ("see {ref}`there`", "see title of there"),
    "a reference with its own text": ("see {ref}`here <there>`", "see here"),
    "a figure's number": ("{numref}`fig-a`", "Fig. 5"),
    "an equation's number": ("by {eq}`eq-x`", "by (5.1)"),
    "citations": ("{cite:p}`a,b`", "[A, B]"),
    "a glued number": ("{glue:text}`gain:.2f`", "<gain:.2f>"),
    "a time": ("{runtime}`.`", "runtime of ."),
    "a term": ("a {term}`loss <losses>`", "a loss"),
    "a name in the code": ("{py:func}`~lossderiv.derive`", "`lossderiv.derive`"),
    "a link to a page": ("[](../a.md)", "page ../a.md"),
    "a link to a place": ("[there](#there)", "there"),
    "a link into the net": ("[x](https://example.org)", "[x](https://example.org)"),
    "an image": ("![A bell.](a.png)", "![A bell.](attachment:a.png)"),
}


@pytest.mark.parametrize("what", PLAIN)
def test_plain_markdown_of(what):
    myst, expected = PLAIN[what]
    assert plain(myst, Names()) == expected
    if what != "code":
        assert raw_myst(expected) == []


@pytest.mark.parametrize("text", [":::{unheard-of}\nx\n:::", "{unheard-of}`x`"])
def test_markup_without_a_row_is_refused(text):
    with pytest.raises(UnknownMarkup, match="unheard-of"):
        plain(text, Names())


# --- downloads ---------------------------------------------------------------


def test_glued_values_are_found_in_outputs():
    data = {"application/papermill.record/text/plain": "3.5"}
    output = nbformat.v4.new_output(
        "display_data", data=data, metadata={"scrapbook": {"name": "gain"}}
    )
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    assert downloads.glued_values(nbformat.v4.new_notebook(cells=[cell])) == {"gain": "3.5"}


def test_a_downloaded_notebook_needs_nothing_of_the_book(capsys):
    code = "import os\nfrom myst_nb import glue\n\nglue('gain', 3, display=False)\nglue('loss', 4)"
    cells = [nbformat.v4.new_code_cell(code)]
    names = downloads.PageNames(None, "page", {})
    (cell,) = downloads.plain_notebook(nbformat.v4.new_notebook(cells=cells), names).cells
    assert "myst_nb" not in cell.source
    exec(compile(cell.source, "cell", "exec"), {})
    assert capsys.readouterr().out == "4\n"


def test_the_install_cell_does_nothing_when_the_package_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = run_cell(downloads.INSTALL.format(source="lossderiv-0.zip"))
    exec(compile(code, "cell", "exec"), {})


def test_the_install_cell_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code = run_cell(downloads.INSTALL.format(source="lossderiv-0.zip"))
    with pytest.raises(FileNotFoundError, match=r"Put lossderiv-0\.zip beside this notebook"):
        exec(compile(code, "cell", "exec"), {})


def run_cell(source: str) -> str:
    """A cell's source as Python: the line of `%pip` becomes a statement that must not be met."""
    assert source.count("%pip install") == 1
    return source.replace("%pip install --quiet {source}", "raise AssertionError")


def test_the_archive_is_what_pip_needs_and_the_same_each_time(tmp_path):
    root = Path(__file__).parents[1]
    app = SimpleNamespace(srcdir=root, outdir=tmp_path, builder=SimpleNamespace(format="html"))
    (tmp_path / "_static").mkdir()
    archive = tmp_path / "_static" / downloads.ARCHIVE
    downloads.write_archive(app, None)
    first = archive.read_bytes()
    downloads.write_archive(app, None)
    assert archive.read_bytes() == first
    folder = Path(downloads.ARCHIVE).stem
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
    assert {f"{folder}/pyproject.toml", f"{folder}/lossderiv/__init__.py"} <= names
    assert f"{folder}/lossderiv/py.typed" in names
    assert f"{folder}/lossderiv/measured/normal.json" in names
    assert f"{folder}/lossderiv/autoencoder/explorer.html" in names
    assert f"{folder}/lossderiv/autoencoder/book.mplstyle" in names
    written = ("elementary", "circular", "special")
    assert {f"{folder}/lossderiv/codegen/{n}.c" for n in written} <= names
    assert f"{folder}/lossderiv/template.ipynb" in names


def test_images_of_the_text_travel_with_the_notebook(tmp_path):
    (tmp_path / "dot.png").write_bytes(b"not really a picture")
    env = SimpleNamespace(relfn2path=lambda path, page: (path, path))
    app = SimpleNamespace(srcdir=tmp_path, env=env)
    names = downloads.PageNames(app, "page", {})
    cells = [nbformat.v4.new_markdown_cell("![A dot.](dot.png)")]
    out = downloads.plain_notebook(nbformat.v4.new_notebook(cells=cells), names)
    assert out.cells[0].source == "![A dot.](attachment:dot.png)"
    data = out.cells[0].attachments["dot.png"]["image/png"]
    assert base64.b64decode(data) == b"not really a picture"
