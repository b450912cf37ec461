"""The built book: every page executed, complete, and right in a browser without a network.

Each kind of check is first shown to find a planted fault.
"""

from __future__ import annotations

import inspect
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import pytest
from bookchecks import browser as screen
from bookchecks import notebooks, pages
from lossderiv_book.atlas import made
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook

import lossderiv as ld

ROOT = Path(__file__).parents[1]
ATLAS, MADE = "book/atlas/families/*", "book/atlas/made/*"
PAGES = pages.toc(ROOT, {ATLAS: ld.families(), MADE: made.PAGES})
WRITTEN = [page for page in PAGES if fnmatch(page, ATLAS) or fnmatch(page, MADE)]


def source(page: str) -> str:
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


CHAPTERS = [page for page in PAGES if re.search(r"/part\d+/", page)]
NOTEBOOKS = [
    page for page in PAGES if page not in WRITTEN and is_myst_markdown_notebook(source(page))
]


# --- every page, as files ----------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole(site, page):
    path = site / f"{page}.html"
    assert pages.broken_links(path) == []
    assert pages.pictures_without_alt(path) == []
    assert pages.duplicate_ids(path) == []
    assert pages.tracebacks(path) == []
    assert pages.raw_tables(path) == []
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


@pytest.fixture(scope="session")
def taken_home(site, tmp_path_factory):
    """An empty folder with the package's archive from the site, unpacked for kernels to import."""
    folder = tmp_path_factory.mktemp("taken-home")
    (archive,) = (site / "_static").glob("lossderiv-*.zip")
    shutil.unpack_archive(archive, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / archive.stem))
        yield folder


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_notebook_runs_in_a_plain_kernel(site, taken_home, page):
    to_run = nbformat.read(site / "_sources" / f"{page}.to-run.ipynb", as_version=4)
    assert notebooks.run(to_run, taken_home) == []


def test_notebooks_run_with_the_package_of_the_site(taken_home):
    cell = nbformat.v4.new_code_cell("import lossderiv; raise ValueError(lossderiv.__file__)")
    (found,) = notebooks.run(nbformat.v4.new_notebook(cells=[cell]), taken_home)
    assert str(taken_home) in found


def test_every_chapter_is_a_notebook():
    assert CHAPTERS
    assert set(CHAPTERS) <= set(NOTEBOOKS)


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_code_fits_the_page(page):
    cells = read_myst_markdown_notebook(source(page)).cells
    lines = [line for c in cells if c.cell_type == "code" for line in c.source.splitlines()]
    assert [line for line in lines if len(line) > 79] == []


def test_api_page_names_everything_public(site):
    """Functions and classes have an entry with their docstring; domains are rows of a table."""
    article = pages.article(site / "book" / "reference" / "api.html")
    entries = {entry["id"].rpartition(".")[2] for entry in article.select("dt.sig[id]")}
    public = {name: getattr(ld, name) for name in ld.__all__}
    described = {n for n, x in public.items() if inspect.isfunction(x) or inspect.isclass(x)}
    assert described - entries == set()
    text = article.get_text()
    assert [n for n in set(public) - described if not re.search(rf"\b{n}\b", text)] == []


def test_every_public_function_has_an_example_that_runs():
    """Doctests run with all tests; here they must exist."""
    functions = [x for x in (getattr(ld, n) for n in ld.__all__) if inspect.isfunction(x)]
    assert len(functions) > 15
    assert [f.__name__ for f in functions if ">>> " not in inspect.getdoc(f)] == []


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


@pytest.mark.parametrize(("words", "expected"), [("laplace", True), ("quetzalcoatl", False)])
def test_search_works_from_the_file_system(site, look, words, expected):
    page = look(f"{(site / 'search.html').as_uri()}?q={words}")
    done = re.compile("Search finished|did not match")
    page.locator("#search-results .search-summary", has_text=done).wait_for()
    found = page.locator("#search-results ul.search a").evaluate_all("all => all.map(a => a.href)")
    assert any("families/laplace.html" in link for link in found) == expected
    assert bool(found) == expected


def test_a_page_with_many_formulas_is_ready_soon(site, look):
    """From the file system, best of three: other work on the machine is not the page's fault."""
    address = (site / "book/atlas/families/student_t.html").as_uri()
    times = []
    for _ in range(3):
        page = look(address)
        assert page.locator(".math").count() > 20
        ready = "async () => { await MathJax.startup.promise; return performance.now(); }"
        times.append(page.evaluate(ready))
    assert min(times) < 2000


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
        (pages.tracebacks, '<div class="output traceback">KeyError: x</div>'),
        (pages.raw_tables, "<p>| a || b | |\n|---|---|\n| c | d |</p>"),
        (pages.stderr, '<div class="output stderr">UserWarning</div>'),
    ],
)
def test_page_check_finds(tmp_path, check, body):
    assert check(planted(tmp_path, body))


def test_page_checks_are_content_with_a_sound_page(tmp_path):
    body = '<p id="a">x</p><a href="#a">x</a><img alt="A digit." src="data:image/png;base64,AA">'
    body += '<div class="output stream">ValueError: printed</div><table><tr><td>-</td></tr></table>'
    path = planted(tmp_path, body)
    for check in (
        pages.broken_links,
        pages.pictures_without_alt,
        pages.duplicate_ids,
        pages.tracebacks,
        pages.raw_tables,
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
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell("from myst_nb import glue", execution_count=1)]
        ),
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


def test_cells_that_do_not_run_are_found(taken_home):
    lines = {
        "import myst_nb": "ModuleNotFoundError",
        "1 / 0": "ZeroDivisionError",
        "1 + 1": None,
        "x": "NameError",
    }
    cells = [nbformat.v4.new_code_cell(line) for line in lines]
    found = notebooks.run(nbformat.v4.new_notebook(cells=cells), taken_home)
    assert [line.split(": ")[1] for line in found] == [p for p in lines.values() if p]


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
