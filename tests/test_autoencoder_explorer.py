"""The code plane in a browser: right numbers, mouse, keyboard, file system, dark mode."""

import pytest
import torch

from lossderiv import autoencoder as ae
from lossderiv.errors import LossDerivError

SHAPE = (1, 8, 8)
DARK = "<style>body { background: #14181e; color: #ced6dd }</style>"


@pytest.fixture(scope="module")
def model():
    return ae.build("mlp", SHAPE, latent=2, seed=3).requires_grad_(False)


@pytest.fixture(scope="module")
def explorer(model):
    codes = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    return ae.explore(model, codes, torch.arange(60) % 10, SHAPE)


@pytest.fixture
def page(browser, explorer, tmp_path):
    """The explorer alone on a dark page, opened from the file system; no error is tolerated."""
    file = tmp_path / "page.html"
    file.write_text(f'<!doctype html><meta charset="utf-8">{DARK}{explorer.html}')
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith("file:") else errors.append(r.url))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert errors == []


def status(page):
    return page.text_content(".status")


def test_decoder_computes_what_torch_does(page, model):
    """Sixteen-bit weights have 11 significant bits: 0.002 of outputs near 1 is their rounding."""
    for code in ([0.0, 0.0], [1.5, -0.7], [-2.0, 3.0]):
        script = "code => Array.from(document.querySelector('.code-explorer').decode(code))"
        there = torch.tensor(page.evaluate(script, code))
        here = model.decode(torch.tensor([code])).flatten()
        assert torch.allclose(there, here, atol=2e-3)
        assert not torch.allclose(
            there, model.decode(torch.tensor([code]) + 1).flatten(), atol=2e-3
        )


def colours(page, canvas):
    """The distinct colours of a canvas (red, green, blue, opacity), in order of appearance."""
    return page.evaluate(
        """name => {
          const canvas = document.querySelector(name);
          const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const seen = new Set();
          for (let i = 0; i < all.length; i += 4) seen.add(all.slice(i, i + 4).join());
          return [...seen];
        }""",
        canvas,
    )


def test_mouse(page):
    box = page.locator(".plane").bounding_box()
    before, drawn = status(page), colours(page, ".drawing")
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    assert status(page) == before
    page.mouse.down()
    pressed = status(page)
    assert pressed != before
    assert colours(page, ".drawing") != drawn
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    dragged = status(page)
    assert dragged != pressed
    page.mouse.up()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert status(page) == dragged


def code(page):
    inside = status(page).split("(")[1].split(")")[0]
    return [float(number) for number in inside.split(", ")]


def test_keyboard(page):
    page.locator(".plane").focus()
    across, up = code(page)
    page.keyboard.press("ArrowRight")
    assert code(page)[0] > across
    page.keyboard.press("ArrowUp")
    small = code(page)[1] - up
    assert small > 0
    page.keyboard.press("Shift+ArrowDown")
    assert code(page)[1] < up
    for _ in range(30):
        page.keyboard.press("Shift+ArrowLeft")
    edge = code(page)
    page.keyboard.press("ArrowLeft")
    assert code(page) == edge
    page.keyboard.press("a")
    assert code(page) == edge


def test_dots_are_drawn_where_the_codes_are(page):
    seen = colours(page, ".plane")
    assert "31,119,180,255" in seen  # the first of the ten colours of the digits
    assert "23,190,207,255" in seen  # and the last


def test_readable_in_the_dark(page):
    """The text takes the page's colour; the canvases keep their white paper."""
    style = "name => getComputedStyle(document.querySelector(name))"
    assert page.evaluate(f"({style})('.status').color") == "rgb(206, 214, 221)"
    assert page.evaluate(f"({style})('.plane').backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("kind", "latent", "heads", "met"),
    [("conv", 2, 1, "Conv2d"), ("mlp", 3, 1, "3 numbers"), ("mlp", 2, 2, r"2 head\(s\)")],
)
def test_other_decoders_are_refused(kind, latent, heads, met):
    other = ae.build(kind, SHAPE, latent, heads)
    with pytest.raises(LossDerivError, match=met):
        ae.explore(other, torch.zeros(5, 2), torch.zeros(5, dtype=int), SHAPE)
