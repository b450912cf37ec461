"""Cards over links to terms and equations: what they say, and how they open and close."""

from __future__ import annotations

import pytest
from bookchecks import browser as screen
from docutils import nodes
from lossderiv_book import hovercards


def test_a_definition_keeps_its_formulas_and_loses_its_citations():
    paragraph = nodes.paragraph("", "the code ")
    paragraph += [nodes.math("", "z"), nodes.Text(" of an image "), nodes.citation_reference()]
    paragraph += nodes.Text(".")
    term = nodes.term("", "code", ids=["term-code"])
    item = nodes.definition_list_item("", term, nodes.definition("", paragraph))
    glossary = nodes.definition_list("", item)
    assert hovercards.definitions(glossary) == {"term-code": r"the code \(z\) of an image."}


@pytest.fixture
def glossary(site, look):
    page = look((site / "book/reference/glossary.html").as_uri())
    page.evaluate("() => MathJax.startup.promise")
    return page


LINK = "dd a[href='#term-encoder']"


def test_a_card_opens_under_the_pointer_and_stays_there(glossary):
    card = glossary.locator("#hovercard")
    assert not card.is_visible()
    glossary.locator(LINK).first.hover()
    card.wait_for()
    assert card.inner_text().startswith("A network that maps an image to its code")
    card.hover()
    glossary.wait_for_timeout(400)
    assert card.is_visible()
    glossary.keyboard.press("Escape")
    assert not card.is_visible()


def test_a_card_opens_with_the_focus_and_is_read_out(glossary):
    link, card = glossary.locator(LINK).first, glossary.locator("#hovercard")
    link.focus()
    assert card.is_visible()
    assert link.get_attribute("aria-describedby") == card.get_attribute("id")
    assert screen.accessibility(glossary) == []
    link.blur()
    assert not card.is_visible()
    assert link.get_attribute("aria-describedby") is None


def test_a_formula_in_a_card_is_typeset(glossary):
    glossary.locator("a[href='#term-code']").first.focus()
    glossary.locator("#hovercard mjx-container").first.wait_for()
    assert "\\(" not in glossary.locator("#hovercard").inner_text()
