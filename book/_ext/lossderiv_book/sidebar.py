"""The sidebar's toggles get a name, which the theme leaves to a decorative arrow."""

from __future__ import annotations

from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx


def name_toggles(menu: BeautifulSoup) -> BeautifulSoup:
    """The same menu; each toggle is called after the page whose subpages it shows.

    >>> menu = '<li><a>All losses</a><details><summary></summary></details></li>'
    >>> print(name_toggles(BeautifulSoup(menu, "html.parser")).summary)
    <summary aria-label="Pages of: All losses"></summary>
    """
    for toggle in menu.find_all("summary"):
        page = toggle.find_parent("li").find("a")
        toggle["aria-label"] = f"Pages of: {page.get_text(strip=True)}"
    return menu


def setup_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    draw = context["generate_toctree_html"]

    def named(*args: Any, **options: Any) -> BeautifulSoup | str:
        menu = draw(*args, **options)
        return name_toggles(menu) if isinstance(menu, BeautifulSoup) else menu

    context["generate_toctree_html"] = named


def setup(app: Sphinx) -> None:
    # The theme makes its menu at the default priority of 500.
    app.connect("html-page-context", setup_page, priority=600)
