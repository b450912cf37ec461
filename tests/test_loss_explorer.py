"""The loss explorer on its built page: right in every number, by mouse and by keyboard."""

from __future__ import annotations

import re

import pytest
import torch
from bookchecks import browser as screen
from lossderiv_book.atlas import explorer, javascript, pages

import lossderiv as ld
from lossderiv.catalogue import FAMILIES

EXPLORABLE = [f.name for f in explorer.explorable(map(pages.Family, FAMILIES.values()))]
POINTS = 24


@pytest.fixture(scope="module")
def explorer_at(site) -> str:
    return (site / "book/atlas/explorer.html").as_uri()


COMPUTE = """
([name, rows]) => rows.map(([etas, x]) => {
  const found = document.getElementById("loss-explorer").compute(name, etas, x);
  return [found.loss, found.exact, ...found.gradient, ...found.theta].map(String);
})
"""
RANGES = """
(name) => {
  const { x, outputs, integer } = document.getElementById("loss-explorer").families[name];
  return { x, outputs, integer };
}
"""


def furthest(page, name: str) -> float:
    """How far the page's numbers are from the package's, relative to 1 or to their size."""
    told = page.evaluate(RANGES, name)
    spans = [*told["outputs"], told["x"]]
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(len(spans), POINTS, generator=generator, dtype=torch.float64)
    *etas, x = (s["low"] + (s["high"] - s["low"]) * u for s, u in zip(spans, share, strict=True))
    x = x.round() if told["integer"] else x
    rows = [[[float(e[i]) for e in etas], float(x[i])] for i in range(POINTS)]
    shown = [[float(v) for v in row] for row in page.evaluate(COMPUTE, [name, rows])]

    options = {"reduction": "none", "validate": False, **pages.Family(FAMILIES[name]).given}
    raw = tuple(e.requires_grad_() for e in etas)
    loss = ld.loss(name, **options)(raw, x)
    slopes = torch.autograd.grad(loss.sum(), raw)
    keeping = ld.loss(name, constants="keep", **options)
    theta = [v for n, v in keeping.theta(raw).items() if f"eta_{n}" in keeping.outputs]
    ours = torch.stack([loss, keeping(raw, x), *slopes, *theta], 1).detach()
    theirs = torch.tensor(shown, dtype=torch.float64)
    assert torch.equal(torch.isfinite(ours), torch.isfinite(theirs))
    known = torch.isfinite(ours)
    return float(((ours - theirs).abs() / (1 + ours.abs()))[known].max())


def test_the_explorer_computes_what_the_package_computes(explorer_at, look):
    page = look(explorer_at)
    assert page.evaluate("Object.keys(document.getElementById('loss-explorer').families)") == (
        EXPLORABLE
    )
    assert {name: e for name in EXPLORABLE if (e := furthest(page, name)) > 1e-11} == {}


def test_a_wrong_formula_is_found(site, look, tmp_path):
    right = (site / "book/atlas/explorer.html").read_text(encoding="utf-8")
    start, end = right.index("<script>\n(() => {"), right.index("const root =")
    wrong = right[:start] + right[start:end].replace("0.5 *", "0.4999 *") + right[end:]
    body = wrong[wrong.index('<div id="loss-explorer"') : wrong.index("</article>")]
    copy = tmp_path / "page.html"
    copy.write_text(f"<!doctype html><body>{body}</body>", encoding="utf-8")
    assert furthest(look(copy.as_uri()), "normal") > 1e-6


def drag(page, selector: str, share: float) -> None:
    """Press in the middle of a drawing and let go further right, at a share of its width."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.4 * box["height"], steps=4)
    page.mouse.up()


def state(page) -> dict[str, str]:
    pictures = {k: page.locator(f".{k} svg") for k in ("density", "loss", "slope")}
    found = {k: svg.get_attribute("aria-label") for k, svg in pictures.items()}
    return {**found, "status": page.locator(".loss-explorer .status").inner_text()}


def sliders(page) -> list[float]:
    return [
        float(v) for v in page.locator(".sliders input").evaluate_all("s => s.map(i => i.value)")
    ]


def test_density_loss_and_slope_move_together_under_the_mouse(explorer_at, look):
    page = look(explorer_at)
    before, (x, *raw) = state(page), sliders(page)
    drag(page, ".density svg", 0.8)
    after = state(page)
    assert all(before[k] != after[k] for k in before)
    assert sliders(page)[0] > x
    assert sliders(page)[1:] == raw
    drag(page, ".loss svg", 0.8)
    assert all(after[k] != state(page)[k] for k in before)
    assert sliders(page)[1] > raw[0]
    drag(page, ".slope svg", 0.3)
    assert sliders(page)[1] < raw[0]


def test_the_explorer_obeys_the_keyboard_alone(explorer_at, look):
    page = look(explorer_at)
    page.locator("#le-family").focus()
    for key in ("l", "a", "p"):
        page.keyboard.press(key)
    assert "ℓ" in page.locator(".formula mjx-assistive-mml").first.inner_text()
    assert page.locator(".family-page").get_attribute("href") == "families/laplace.html"
    page.locator(".sliders input").first.focus()
    start = sliders(page)
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    (x, mu, _), status = sliders(page), state(page)["status"]
    assert x > start[0]
    assert mu < start[1]
    assert "moves it up" in status
    page.locator("#le-constants").focus()
    page.keyboard.press("Space")
    assert page.locator(".loss figcaption").inner_text() == "The loss, constants kept"
    assert state(page)["status"] == status
    page.locator("#le-axis").focus()
    page.keyboard.press("ArrowDown")
    assert "η_b" in state(page)["slope"]


def test_every_family_draws_and_says_a_true_sum(explorer_at, look):
    page = look(explorer_at)
    for name in EXPLORABLE:
        page.locator("#le-family").select_option(name)
        paths = page.locator(".loss-explorer figure path:not(.x)").evaluate_all(
            "paths => paths.map(p => p.getAttribute('d'))"
        )
        assert all(len(path) > 40 and "NaN" not in path for path in paths), name
        said = state(page)["status"]
        assert said.startswith("p(x) = "), name
        assert re.search("NaN|undefined|impossible", said) is None, f"{name}: {said}"


def test_a_link_can_name_the_family(explorer_at, look):
    page = look(f"{explorer_at}#student_t")
    assert page.locator("#le-family").input_value() == "student_t"
    assert page.locator(".sliders input").count() == 4


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_explorer_is_accessible_after_use(explorer_at, look, colours):
    page = look(f"{explorer_at}#poisson", color_scheme=colours)
    page.locator("#le-constants").check()
    assert screen.accessibility(page) == []


def test_a_question_about_the_float_type_is_answered_for_double_precision():
    """Either way round, and whatever else the branch not taken contains."""
    text = "def f(x):\n    if x.dtype {} torch.float64:\n        return x\n    return -x"
    assert "return x;" in javascript.functions(text.format("=="))["f"]
    assert javascript.functions(text.format("!="))["f"] == "function f(x) {\nreturn (-x);\n}"


@pytest.mark.parametrize("name", EXPLORABLE)
def test_every_number_of_a_family_has_a_javascript_form(name):
    written = explorer.formulas(pages.Family(FAMILIES[name]).derivation)
    assert {"loss", "gradient", "theta"} <= set(written)


def test_python_without_a_javascript_form_is_refused():
    with pytest.raises(javascript.JavaScriptError, match="While"):
        javascript.functions("def f(x):\n    while x > 1:\n        x = x / 2\n    return x")
    with pytest.raises(javascript.JavaScriptError, match="Lambda"):
        javascript.functions("def f(x):\n    return lambda y: x")
