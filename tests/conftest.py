"""Shared by all tests: figures are drawn without a screen, torch keeps to one core; the built
book, and a browser to look at it.

Compiled losses are kept beside pytest's own cache, not in the user's.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bookchecks import browser as screen
from filelock import FileLock
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]

OUTSIDE = dict(os.environ)  # what make sees: a setting of the tests' own is no switch of the book
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOSSDERIV_CACHE", str(ROOT / ".pytest_cache" / "compiled"))

# The book's Sphinx extension is no part of the installed package.
sys.path.append(str(ROOT / "book" / "_ext"))


@pytest.fixture(scope="session")
def site() -> Path:
    """The book as `make book` leaves it; make builds it first if anything has changed."""
    environ = {k: v for k, v in OUTSIDE.items() if k not in ("MAKEFLAGS", "MPLBACKEND")}
    (ROOT / "_build").mkdir(exist_ok=True)
    with FileLock(ROOT / "_build" / ".lock"):  # one process of several builds it
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


@pytest.fixture
def look(browser):
    """Opens a page without a network; the test fails if the page complains."""
    complaints, contexts = [], []

    def opened(address: str, **options):
        settings = {"offline": True, "reduced_motion": "reduce", **options}
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
