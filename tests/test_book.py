"""The built book: every page executed, complete, and right in a browser without a network.

Each kind of check is first shown to find a planted fault.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import pytest
from bookchecks import browser as screen
from bookchecks import notebooks, pages
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from playwright.sync_api import sync_playwright

import lossderiv as ld

ROOT = Path(__file__).parents[1]
ATLAS = "book/atlas/families/*"
PAGES = pages.toc(ROOT, {ATLAS: ld.families()})
WRITTEN = [page for page in PAGES if fnmatch(page, ATLAS)]


def source(page: str) -> str:
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


CHAPTERS = [page for page in PAGES if re.search(r"/part\d+/", page)]
NOTEBOOKS = [
    page for page in PAGES if page not in WRITTEN and is_myst_markdown_notebook(source(page))
]


@pytest.fixture(scope="session")
def site() -> Path:
    """The book as `make book` leaves it; make builds it first if anything has changed."""
    environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MPLBACKEND")}
    made = subprocess.run(
        ["make", "book", f"VENV={sys.prefix}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.fail(f"make book failed:\n{made.stderr[-4000:]}", pytrace=False)
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        executable = screen.required(screen.find_browser(os.environ, own), os.environ)
        running = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield running
        running.close()


# --- every page, as files ----------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole(site, page):
    path = site / f"{page}.html"
    assert pages.broken_links(path) == []
    assert pages.pictures_without_alt(path) == []
    assert pages.duplicate_ids(path) == []
    assert pages.tracebacks(path) == []
    assert pages.stderr(path) == []


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_notebook_was_executed_and_is_complete(site, page):
    downloads = site / "_sources" / page
    executed = nbformat.read(f"{downloads}.ipynb", as_version=4)
    assert notebooks.problems(executed) == []
    assert notebooks.cells_with_output(executed) == pages.shown_outputs(site / f"{page}.html")
    to_run = nbformat.read(f"{downloads}.to-run.ipynb", as_version=4)
    assert [c.source for c in to_run.cells[1:]] == [c.source for c in executed.cells]
    assert not any(cell.get("outputs") for cell in to_run.cells)
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    assert f"{Path(page).name}.ipynb" in text
    assert f"{Path(page).name}.to-run.ipynb" in text


def test_every_chapter_is_a_notebook():
    assert CHAPTERS
    assert set(CHAPTERS) <= set(NOTEBOOKS)


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_code_fits_the_page(page):
    cells = read_myst_markdown_notebook(source(page)).cells
    lines = [line for c in cells if c.cell_type == "code" for line in c.source.splitlines()]
    assert [line for line in lines if len(line) > 79] == []


def test_api_page_names_everything_public(site):
    text = pages.article(site / "book" / "reference" / "api.html").get_text()
    assert [name for name in ld.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_the_atlas_has_a_page_for_every_family_and_for_no_other(site):
    built = {path.stem for path in (site / "book/atlas/families").glob("*.html")}
    assert built == set(ld.families())
    linked = pages.article(site / "book/atlas/index.html").find_all("a", href=True)
    assert {f"families/{name}.html" for name in ld.families()} <= {a["href"] for a in linked}


def test_start_page_of_the_site_leads_to_the_book(site):
    assert "book/index.html" in (site / "index.html").read_text(encoding="utf-8")


# --- every page, in a browser ------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, "search"])
def test_page_in_a_browser(site, browser, page):
    assert screen.visit(browser, site / f"{page}.html").found() == {}


# --- the checks find what they look for --------------------------------------

PLAIN = """<!doctype html><html lang="en"><head><title>A page</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"></head><body><main><article>{}</article></main></body></html>"""

ON_SCREEN = {
    "console": "<p>x</p><script>console.error('a planted fault')</script>",
    "requests": "<p>x</p><script>fetch('https://example.org/x').catch(() => 0)</script>",
    "formulas": r'<p>A formula <span class="math">\(x^2\)</span></p>',
    "phone": '<p style="width: 900px">wide</p>',
    "light": '<p style="color: #ccc; background: #fff">pale</p>',
    "dark": """<style>@media (prefers-color-scheme: dark) {
        p { color: #333; background: #000 } }</style><p>dim</p>""",
}


def planted(folder: Path, body: str) -> Path:
    path = folder / "page.html"
    path.write_text(PLAIN.format(body), encoding="utf-8")
    pages.parsed.cache_clear()
    return path


@pytest.mark.parametrize("kind", ON_SCREEN)
def test_browser_finds(browser, tmp_path, kind):
    assert kind in screen.visit(browser, planted(tmp_path, ON_SCREEN[kind])).found()


@pytest.mark.parametrize(
    "body",
    [
        r"<p>the density $\mu^2$ of</p>",
        r"<p>\[ x \]</p>",
        r"<p>so \frac{1}{2} remains</p>",
        '<mjx-container><g data-mml-node="merror" data-mjx-error="Missing }"></g></mjx-container>',
        "<mjx-container><mjx-assistive-mml><math><mtext>\\unknown</mtext></math>"
        "</mjx-assistive-mml></mjx-container>",
    ],
)
def test_browser_finds_a_formula_that_is_not_typeset(browser, tmp_path, body):
    assert "formulas" in screen.visit(browser, planted(tmp_path, body)).found()


def test_browser_is_content_with_a_sound_page(browser, tmp_path):
    body = "<h1>Sound</h1><p>It costs $5, not more. <code>\\frac</code></p>"
    assert screen.visit(browser, planted(tmp_path, body)).found() == {}


@pytest.mark.parametrize(
    ("check", "body"),
    [
        (pages.broken_links, '<a href="gone.html">x</a>'),
        (pages.broken_links, '<a href="#nowhere">x</a>'),
        (pages.broken_links, '<a href="page.html#nowhere">x</a>'),
        (pages.broken_links, '<img alt="a picture" src="gone.svg">'),
        (pages.pictures_without_alt, '<img src="x.png">'),
        (pages.pictures_without_alt, '<img src="x.png" alt="">'),
        (pages.pictures_without_alt, '<img src="x.png" alt="../_images/f3a9.png">'),
        (pages.duplicate_ids, '<p id="a">x</p><p id="a">y</p>'),
        (pages.tracebacks, "<pre>Traceback (most recent call last):\n</pre>"),
        (pages.tracebacks, "<pre>ValueError: no</pre>"),
        (pages.stderr, '<div class="output stderr">UserWarning</div>'),
    ],
)
def test_page_check_finds(tmp_path, check, body):
    assert check(planted(tmp_path, body))


def test_page_checks_are_content_with_a_sound_page(tmp_path):
    body = '<p id="a">x</p><a href="#a">x</a><img alt="A digit." src="data:image/png;base64,AA">'
    path = planted(tmp_path, body)
    for check in (
        pages.broken_links,
        pages.pictures_without_alt,
        pages.duplicate_ids,
        pages.tracebacks,
        pages.stderr,
    ):
        assert check(path) == []


def executed(text: str = "", *outputs, count: int | None = 1):
    cell = nbformat.v4.new_code_cell("1", execution_count=count, outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), cell])


@pytest.mark.parametrize(
    "notebook",
    [
        executed(count=None),
        executed("", nbformat.v4.new_output("error", ename="ValueError", evalue="no")),
        executed("", nbformat.v4.new_output("stream", name="stderr", text="Warning")),
        executed(":::{note}\nx\n:::"),
        executed("```{figure} x.png\n```"),
        executed("see {ref}`there`"),
        executed("(label)=\n# Title"),
    ],
)
def test_notebook_check_finds(notebook):
    assert notebooks.problems(notebook)


def test_notebook_check_is_content_with_a_sound_notebook():
    text = "# Title\n\n$x$ `{not a role}`\n\n```python\nx = {1}\n```"
    shown = nbformat.v4.new_output("stream", name="stdout", text="1")
    sound = executed(text, shown)
    assert notebooks.problems(sound) == []
    assert notebooks.cells_with_output(sound) == 1


def test_glued_values_are_no_visible_output():
    glued = {"application/papermill.record/text/plain": "3"}
    output = nbformat.v4.new_output("display_data", data=glued)
    assert notebooks.cells_with_output(executed("", output)) == 0


def test_missing_browser_skips_with_advice_and_fails_in_ci(tmp_path):
    nowhere = {"PATH": str(tmp_path)}
    assert screen.find_browser(nowhere, str(tmp_path / "none")) is None
    with pytest.raises(pytest.skip.Exception, match="apt install chromium"):
        screen.required(None, {})
    with pytest.raises(pytest.fail.Exception, match="apt install chromium"):
        screen.required(None, {"CI": "true"})
