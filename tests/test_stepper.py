"""The derivation stepper, by mouse and by keyboard, on the built pages, from the file system."""

from __future__ import annotations

import pytest
from bookchecks import browser as screen


@pytest.fixture(scope="module")
def normal_at(site) -> str:
    return (site / "book/atlas/families/normal.html").as_uri()


MARKED = """
(kind) => [...document.querySelectorAll(`.stepper-mark.${kind}`)].map(mark =>
  [...mark.parentNode.querySelectorAll("[data-c]")]
    .map(glyph => String.fromCodePoint(parseInt(glyph.dataset.c, 16))).join("")
).join(" ").normalize("NFKC")
"""


def lines(page) -> list[str]:
    """The labels of the lines that can be seen."""
    rows = page.locator("table.derivation tbody tr").all()
    return [row.locator("td").first.inner_text() for row in rows if row.is_visible()]


def test_the_stepper_goes_forth_and_back_by_mouse(normal_at, look):
    page = look(normal_at)
    bar = page.locator(".stepper")
    whole = lines(page)
    bar.get_by_role("button", name="Step through it").click()
    assert lines(page) == whole[:1]
    for k in range(1, len(whole)):
        bar.get_by_role("button", name="Next").click()
        *above, now = lines(page)
        assert now == whole[k]
        loss = [line for line in whole[:k] if "slope" not in line][-1]
        first = now.partition(":")[0][2:] not in whole[k - 1]
        assert above == [loss if "slope" in now and first else whole[k - 1]]
        assert bar.get_by_role("status").inner_text() == f"Line {k + 1} of {len(whole)}"
    bar.get_by_role("button", name="Next").click(force=True)  # at the end it does nothing
    assert lines(page)[-1] == whole[-1]
    bar.get_by_role("button", name="Back").click()
    assert lines(page)[-1] == whole[-2]
    bar.get_by_role("button", name="Show all").click()
    assert lines(page) == whole
    assert page.locator(".stepper-mark").count() == 0


def test_the_stepper_obeys_the_keyboard(normal_at, look):
    page = look(normal_at)
    whole = lines(page)
    page.get_by_role("button", name="Step through it").focus()
    page.keyboard.press("Enter")
    for key, k in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", -1),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert lines(page)[-1] == whole[k]
    page.keyboard.press("Escape")
    assert lines(page) == whole


def test_what_changed_is_marked(normal_at, look):
    """Dropping the constant marks log 2 pi / 2 as gone; linking sigma marks eta as new."""
    page = look(normal_at)
    page.get_by_role("button", name="Step through it").click()
    marks = {}
    for row in page.locator("table.derivation tbody tr").all():
        label = row.locator("td").first.inner_text()
        marks[label.split(". ")[-1]] = page.evaluate(MARKED, "gone"), page.evaluate(MARKED, "fresh")
        page.keyboard.press("ArrowRight")
    gone, fresh = marks["drop what no output moves"]
    assert "log" in gone
    assert "π" in gone
    assert "z" not in gone
    assert fresh.split() == ["+", "c"]  # above the equals sign
    gone, fresh = marks["mu: identity, sigma: exp"]
    assert "σ" in gone
    assert "η" in fresh
    assert "π" not in gone + fresh
    assert marks["density"] == marks["slope in eta_mu: differentiate"] == ("", "")


def test_without_scripts_a_derivation_is_whole(normal_at, look):
    page = look(normal_at, java_script_enabled=False)
    assert page.locator(".stepper").count() == 0
    rows = page.locator("table.derivation tbody tr")
    assert all(row.is_visible() for row in rows.all())
    assert rows.count() > 4


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_stepper_is_accessible_in_use(normal_at, look, colours):
    page = look(normal_at, color_scheme=colours)
    page.get_by_role("button", name="Step through it").click()
    page.keyboard.press("End")
    assert screen.accessibility(page) == []


def test_every_derivation_of_the_book_can_be_stepped_through(site, look):
    """In a chapter the table comes out of a cell; the script does not care."""
    page = look((site / "book/index.html").as_uri())
    assert page.locator(".stepper").count() == page.locator("table.derivation").count() > 0
