"""What part I of the book claims: asked of the run, chapter by chapter, and of other images."""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from myst_nb.core.read import read_myst_markdown_notebook

import lossderiv as ld
from lossderiv import autoencoder as ae

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "book" / "part1").glob("*.md"))


def cells(chapter):
    return read_myst_markdown_notebook(chapter.read_text()).cells


def code(chapter):
    return [cell.source for cell in cells(chapter) if cell.cell_type == "code"]


def verdict(chapter):
    """The end of the cell that asks a chapter's claims: it prints them and asserts."""
    (cell,) = [source for source in code(chapter) if re.search(r"^claims = \{$", source, re.M)]
    return cell[cell.index("\nfor claim, holds in claims.items():") :]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.stem)
def test_a_claim_that_fails_fails_the_build(chapter):
    """With one false claim the digits stop; other data print it and go on."""
    for name, claims, stops in (
        ("digits", {"a": True, "b": True}, False),
        ("digits", {"a": True, "b": False}, True),
        ("mnist", {"a": True, "b": False}, False),
    ):
        here = {"claims": claims, "data": SimpleNamespace(name=name)}
        if stops:
            with pytest.raises(AssertionError):
                exec(verdict(chapter), here)
        else:
            exec(verdict(chapter), here)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.stem)
def test_a_chapter_has_many_claims_and_says_what_holds_for_other_data(chapter):
    (asked,) = [source for source in code(chapter) if "\nclaims = {" in f"\n{source}"]
    assert len(re.findall(r'^    "[^"]+":', asked, re.M)) >= 10
    assert any('if data.name != "digits":\n    print(' in source for source in code(chapter))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.stem)
def test_numbers_in_the_text_are_glued_from_the_run(chapter):
    """No decimal number is typed into the prose; percentages and counts of the set-up may be."""
    text = "\n".join(cell.source for cell in cells(chapter) if cell.cell_type == "markdown")
    plain = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`|\{[^}\n]*\}", "", text, flags=re.S)
    assert re.findall(r"(?<![\w.])\d*\.\d+", plain) == []


def test_the_check_of_the_text_finds_a_typed_number():
    text = "the error is {glue:text}`mse:.4f`, half of 0.0244"
    plain = re.sub(r"`[^`\n]*`|\{[^}\n]*\}", "", text)
    assert re.findall(r"(?<![\w.])\d*\.\d+", plain) == ["0.0244"]


def ladder(data, judge, seed):
    """Fréchet distances of one default autoencoder's drawings, and its test error."""
    gauss = ld.loss("normal", sigma=1)
    model = ae.build("mlp", data.shape, latent=8, seed=seed)
    ae.train(model, data, gauss, epochs=data.epochs_for(1000), seed=seed, label=None)
    model.requires_grad_(False)
    real = judge.features(judge.reference(seed))
    out = {"error": 2 * ae.evaluate(model, data.test, gauss)}
    for kind in ("standard", "gaussian", "mixture"):
        sampler = ae.sample.fit(kind, model.encode(data.train), model.encode(data.val), seed=seed)
        drawn = model.decode(sampler.sample(judge.count, seed))
        out[kind] = ae.score.frechet(real, judge.features(drawn))
    out["floor"] = ae.score.frechet(real, judge.features(judge.real(seed)))
    return out


@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_the_story_of_part_one(name):
    """The same decoder with codes from N(0, I) and from a mixture: 50 times, in every seed."""
    if name != "digits" and not os.environ.get("LOSSDERIV_DATA"):
        pytest.skip(
            "set LOSSDERIV_DATA to the folder of torchvision's data sets to test Fashion-MNIST"
        )
    data = ae.load(name, on=torch.device("cpu"))
    judge = ae.score.judge(data)
    seeds = [ladder(data, judge, seed) for seed in range(3)]
    assert min(s["standard"] / s["mixture"] for s in seeds) >= 50
    if name == "digits":
        assert min(s["gaussian"] / s["mixture"] for s in seeds) >= 5
        assert sum(s["mixture"] for s in seeds) <= 1.5 * sum(s["floor"] for s in seeds)
        assert max(s["error"] for s in seeds) <= 0.012
    else:
        assert max(s["mixture"] for s in seeds) <= 6
