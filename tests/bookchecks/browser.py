"""Checks of a page as a browser shows it, from the file system, without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = (
    "no Chromium was found. Install one (Debian, Ubuntu: apt install chromium; elsewhere: "
    "playwright install chromium) or name it in the environment variable CHROMIUM"
)


def find_browser(environ: Mapping[str, str], own: str) -> str | None:
    """The browser to drive: CHROMIUM, one on the path, or the one playwright installed itself."""
    on_path = (shutil.which(name, path=environ.get("PATH", "")) for name in NAMES)
    candidates = (environ.get("CHROMIUM"), *on_path, own)
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


def required(found: str | None, environ: Mapping[str, str]) -> str:
    """The browser, or a skip that says how to install one; in CI its absence is a failure."""
    if found is None and environ.get("CI"):
        pytest.fail(f"in CI, {INSTALL}")
    if found is None:
        pytest.skip(INSTALL)
    return found


# Formulas: MathJax replaces each by an <mjx-container>. What it cannot read becomes an merror, and
# a macro that it does not know is written out in the assistive MathML.
FORMULAS = r"""
async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  const found = [];
  for (const node of document.querySelectorAll(".math")) {
    if (!node.querySelector("mjx-container")) found.push("not typeset: " + node.textContent);
  }
  for (const node of document.querySelectorAll('[data-mml-node="merror"], merror')) {
    found.push("error: " + (node.getAttribute("data-mjx-error") ?? node.textContent));
  }
  for (const node of document.querySelectorAll("mjx-assistive-mml mtext")) {
    if (node.textContent.startsWith("\\")) found.push("unknown macro: " + node.textContent);
  }
  const skip = "script, style, code, pre, mjx-container, .math";
  const body = document.querySelector("article") ?? document.body;
  const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent;
    if (walker.currentNode.parentElement.closest(skip)) continue;
    if (/\\[([]|\$\$|\$[^$\s][^$]*\$|\\[a-zA-Z]{2,}/.test(text)) {
      found.push("raw TeX: " + text.trim());
    }
  }
  return [...new Set(found)].map(text => text.slice(0, 120));
}
"""

WIDER_THAN_SCREEN = """
() => document.documentElement.scrollWidth > window.innerWidth + 1
  ? [`${document.documentElement.scrollWidth} pixels on a screen of ${window.innerWidth}`] : []
"""

OPEN_ALL = "() => document.querySelectorAll('details').forEach(d => d.open = true)"

# The theme's list of citations is a <dl> with roles that axe rejects; it is not ours to mend.
CONTEXT = {"exclude": [[".citation-list"]]}
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]},
    "resultTypes": ["violations"],
    "preload": False,  # axe would fetch the style sheets, which file:// forbids
}


@dataclass(frozen=True)
class Visit:
    """What one look at a page found, by kind; nothing is well."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)
    phone: list[str] = field(default_factory=list)
    light: list[str] = field(default_factory=list)
    dark: list[str] = field(default_factory=list)

    def found(self) -> dict[str, list[str]]:
        return {kind: list(items) for kind, items in vars(self).items() if items}


def accessibility(page: Page) -> list[str]:
    """Violations of WCAG 2 A and AA that axe finds in the page as it stands."""
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(400)  # colours fade when the theme changes
    violations = Axe().run(page, context=CONTEXT, options=RULES).response["violations"]
    return [f"{v['id']}: {node['html'][:120]}" for v in violations for node in v["nodes"][:5]]


def visit(browser: Browser, path: Path) -> Visit:
    """Open a page from the file system, without a network, and look at it in every way."""
    context = browser.new_context(
        offline=True,
        color_scheme="light",
        reduced_motion="reduce",
        viewport={"width": 1280, "height": 900},
    )
    page = context.new_page()
    console, requests = [], []
    page.on("console", lambda m: m.type in ("error", "warning") and console.append(m.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on(
        "request",
        lambda r: r.url.startswith(("file:", "data:", "blob:")) or requests.append(r.url),
    )
    page.goto(path.resolve().as_uri())
    formulas = page.evaluate(FORMULAS)
    light = accessibility(page)
    page.emulate_media(color_scheme="dark")
    dark = accessibility(page)
    page.set_viewport_size({"width": 390, "height": 800})
    phone = page.evaluate(WIDER_THAN_SCREEN)
    context.close()
    return Visit(console, requests, formulas, phone, light, dark)
