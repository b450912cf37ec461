"""The README's examples give the output that stands beside them, and its links lead somewhere."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import lossderiv as ld

ROOT = Path(__file__).parents[1]


def examples(text: str) -> str:
    """The Python blocks of a Markdown text, one after the other."""
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def failures(text: str) -> int:
    test = doctest.DocTestParser().get_doctest(examples(text), {}, "README.md", None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test)
    assert runner.tries > 0
    return runner.failures


def test_examples_give_the_output_shown():
    assert failures((ROOT / "README.md").read_text(encoding="utf-8")) == 0


def test_a_wrong_output_is_noticed(capsys):
    assert failures("```python\n>>> 1 + 1\n3\n```") == 1


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff"])
def test_files_of_the_front_are_there(name):
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def targets(text: str) -> list[str]:
    """Files that links and pictures of a Markdown text point to."""
    found = re.findall(r"\]\(([^()\s]+)\)", text)
    found += re.findall(r"""\b(?:src|srcset)="([^"]+)\"""", text)
    return [target for target in found if "://" not in target]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files(name):
    found = targets((ROOT / name).read_text(encoding="utf-8"))
    assert found or name != "README.md"
    assert [target for target in found if not (ROOT / target).exists()] == []


def test_links_and_pictures_are_found():
    text = """[a](b.md) <img src="c.svg"> <source srcset="d.svg"> [e](https://example.org/f)"""
    assert targets(text) == ["b.md", "c.svg", "d.svg"]


def test_recipes_name_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"\b(?:lossderiv|benchmarks|tests|book)/[\w./-]+\.\w+", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == ["book/partN/NN-title.md"]


def test_changelog_names_every_family():
    """By name, spaces and hyphens for underscores; a family that came since is a gap."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").lower().replace("'s", "")
    plain = re.sub(r"[\s-]+", "_", text)
    spoken = {"gumbel_min": "minima"}
    assert [n for n in ld.families() if spoken.get(n, n) not in plain] == []


def test_badges_and_citation_say_what_is_true():
    """Python, licences and version as pyproject.toml, LICENSE and the package have them."""
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    texts = {
        name: re.findall(r"<text[^>]*>([^<]+)</text>", badge.read_text(encoding="utf-8"))[1]
        for name in ("python", "code", "text")
        for badge in [ROOT / "book" / "_static" / f"badge-{name}.svg"]
    }
    (needed,) = re.findall(r'requires-python = ">=([\d.]+)"', settings)
    assert texts["python"] == f"{needed}+"
    assert licence.startswith(texts["code"])
    assert f'license = "{texts["code"]}"' in settings
    assert f"({texts['text']})" in licence
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"version: {ld.__version__}\n" in citation
    assert f"license: {texts['code']}\n" in citation
    assert f"version = {{{ld.__version__}}}" in readme
    assert re.search(r'title: "(.*)"', citation)[1] in readme
