"""The README's examples give the output that stands beside them, and its links lead somewhere."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "LICENSE"])
def test_files_of_the_front_are_there(name):
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def test_links_lead_to_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [x for x in re.findall(r"\]\(([^()\s]+)\)", text) if "://" not in x]
    assert links
    assert [x for x in links if not (ROOT / x).exists()] == []
