"""The template of an experiment runs, and the checker finds each thing that a notebook lacks."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import lossderiv as ld
from lossderiv.__main__ import main
from lossderiv.autoencoder.data import Data
from lossderiv.notebook import RULES, shows_something

TEMPLATE = Path(ld.__file__).parent / "template.ipynb"


def printed(text="1"):
    return new_output("stream", name="stdout", text=text)


def picture(kind="image/png"):
    return new_output("display_data", data={kind: "AAAA", "text/plain": "<Figure>"})


def sound():
    """A complete notebook, as small as it can be. Cell 5 prints, cells 6 and 8 draw."""
    return new_notebook(
        cells=[
            new_markdown_cell("# Twice as large"),
            new_markdown_cell("## Question\n\nDoes doubling a number double it?"),
            new_markdown_cell("## 1. Set-up\n\nWe double one number."),
            new_markdown_cell("### The Results\n\nThey are clear at once."),
            new_code_cell("print(2)", execution_count=1, outputs=[printed("2")]),
            new_code_cell("ax.figure", execution_count=2, outputs=[picture()]),
            new_markdown_cell("**Figure 1.** The double of one is two."),
            new_code_cell("draw()", execution_count=3, outputs=[picture("image/svg+xml")]),
            new_markdown_cell("*Figure 2: the double of two, seen from afar.*"),
            new_code_cell(""),
            new_markdown_cell("## Discussion\n\nIt does, three times of three."),
            new_markdown_cell("## References\n\n1. A. Writer, *On doubling*, 1999."),
            new_markdown_cell("## Statement of help\n\nNobody and nothing helped."),
        ]
    )


def saved(notebook, folder) -> str:
    path = folder / "n.ipynb"
    nbformat.write(notebook, path)
    return str(path)


def test_a_complete_notebook_passes(tmp_path):
    report = ld.check_notebook(saved(sound(), tmp_path))
    assert report.missing == ()
    assert report.complete
    assert repr(report).endswith("n.ipynb: complete.")


def change(number, **entries):
    """Entries of the cell with that number, counted from 1, replaced."""

    def plant(notebook):
        notebook.cells[number - 1].update(entries)

    return plant


def without(number):
    def plant(notebook):
        del notebook.cells[number - 1]

    return plant


def swap(notebook):
    first, second = notebook.cells[4], notebook.cells[5]
    first.execution_count, second.execution_count = 2, 1


FAULTS = {
    "not executed": (change(6, execution_count=None), "cell 6 was not executed"),
    "out of order": (swap, "cell 5 was executed as number 2 and should be number 1"),
    "run twice": (change(8, execution_count=9), "cell 8 was executed as number 9"),
    "an error": (
        change(8, outputs=[picture(), new_output("error", ename="ValueError", evalue="no")]),
        "cell 8 ended in an error, ValueError: no",
    ),
    "outputs cleared": (change(5, outputs=[]), "cell 5 has no output"),
    "figure cleared": (change(6, outputs=[]), "cell 6 has no output"),
    "no caption": (without(7), 'cell 6 shows a figure without a caption.*"Figure 1."'),
    "caption not below": (change(7, source="So here it is."), "cell 6 shows a figure without"),
    "wrong number": (
        change(9, source="Figure 3. The double of two, again."),
        "cell 9 says Figure 3, and it is figure 2",
    ),
    "empty caption": (change(7, source="**Figure 1.**"), "caption in cell 7 says nothing"),
    "placeholder": (change(11, source="## Discussion\n\nTODO: say it"), "cell 11 .*'TODO: say it'"),
    "placeholder in code": (change(5, source="print(2)  # TODO"), "cell 5 .*'TODO'"),
    "no discussion": (without(11), "there is no part 'Discussion'"),
    "no question": (without(2), "there is no part 'Question'"),
    "no set-up": (without(3), "there is no part 'Setup'"),
    "empty part": (change(11, source="## Discussion"), "'Discussion' says nothing yet"),
    "results without output": (
        lambda n: [change(k, outputs=[], source="x = 1")(n) for k in (5, 6, 8)],
        "'Results' shows no output",
    ),
    "no results": (without(4), "there is no part 'Results'"),
    "no sources": (without(12), "there is no part 'Sources'"),
    "sources not listed": (
        change(12, source="## Sources\n\nA book of 1999, and others."),
        "'Sources' lists none",
    ),
    "source not traceable": (
        change(12, source="## Sources\n\n- the internet, mostly\n- https://example.org"),
        "no year, link or DOI, 'the internet, mostly'",
    ),
    "no statement of help": (without(13), "there is no part 'Help and AI used'"),
}


@pytest.mark.parametrize(("plant", "says"), FAULTS.values(), ids=FAULTS)
def test_planted_fault_is_found(tmp_path, plant, says):
    notebook = sound()
    plant(notebook)
    missing = ld.check_notebook(saved(notebook, tmp_path)).missing
    assert [line for line in missing if re.search(says, line)], missing


def test_every_rule_has_a_planted_fault(tmp_path):
    """Without one of the rules, some fault would go unseen."""
    for rule in RULES:
        found = 0
        for plant, _ in FAULTS.values():
            notebook = sound()
            plant(notebook)
            found += bool(list(rule(notebook.cells)))
        assert found, rule.__name__


def test_a_caption_in_the_metadata_counts(tmp_path):
    notebook = sound()
    change(7, source="Two, then.")(notebook)
    notebook.cells[5].metadata["mystnb"] = {"figure": {"caption": "The double of one."}}
    assert ld.check_notebook(saved(notebook, tmp_path)).complete


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        ("print(1)", True),
        ("x = 1\nx", True),
        ("for k in range(3):\n    print(k)", True),
        ("with style():\n    display(x)", True),
        ("Markdown('x')", True),
        ("pd.DataFrame(x)", True),
        ("ax.figure;", False),
        ("x = 1", False),
        ("model.train()", False),
        ("def f():\n    print(1)", False),
        ("%matplotlib inline", False),
        ("# nothing", False),
        ("%%bash\nls -l | head", False),
    ],
)
def test_what_must_show_something(source, shows):
    assert shows_something(source) is shows


# --- the template ------------------------------------------------------------


def test_the_template_has_every_part_and_waits_to_be_filled(tmp_path):
    path = ld.new_notebook(tmp_path / "mine.ipynb")
    assert path.read_text("utf-8") == TEMPLATE.read_text("utf-8")
    missing = ld.check_notebook(path).missing
    assert any("was not executed" in line for line in missing)
    assert any("placeholder" in line for line in missing)
    assert not any("there is no part" in line for line in missing)
    assert not any(c.get("outputs") for c in nbformat.read(path, as_version=4).cells)


def test_the_template_is_complete_once_it_is_run_and_filled(tmp_path, monkeypatch, capsys):
    """Its cells run in order in an empty folder; here with short trainings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Data, "epochs_for", lambda self, steps, batch=128: 1)
    notebook, space, count = nbformat.read(TEMPLATE, as_version=4), {}, 0
    for cell in notebook.cells:
        cell.source = cell.source.replace("TODO:", "We found in 1999 that this is so:")
        if cell.cell_type == "code":
            exec(cell.source, space)
            count += 1
            out = picture() if "ax.figure" in cell.source else printed()
            cell.update(execution_count=count, outputs=[out])
    assert {len(row) for row in space["shares"].values()} == {3}
    assert "absolute error less squared error" in capsys.readouterr().out
    assert ld.check_notebook(saved(notebook, tmp_path)).missing == ()
    assert sorted(p.name for p in (tmp_path / "runs").iterdir())[0].startswith(
        "digits-mlp8-laplace"
    )


def test_the_template_is_part_of_the_installed_package():
    text = (Path(ld.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert TEMPLATE.name in text


def test_an_existing_file_is_not_overwritten(tmp_path):
    ld.new_notebook(tmp_path / "mine.ipynb")
    with pytest.raises(ld.LossDerivError, match="is there already"):
        ld.new_notebook(tmp_path / "mine.ipynb")
    with pytest.raises(ld.LossDerivError, match="cannot be written: No such file"):
        ld.new_notebook(tmp_path / "nowhere" / "mine.ipynb")


# --- files that are no notebooks, and the command line -----------------------


@pytest.mark.parametrize(
    "text",
    ["", "# A page", "[1, 2]", "{}", '{"nbformat": 4}', '{"nbformat": 4, "cells": 3}'],
)
def test_what_is_no_notebook_is_said(tmp_path, text):
    path = tmp_path / "page.ipynb"
    path.write_text(text)
    with pytest.raises(ld.LossDerivError, match=r"page\.ipynb is no notebook"):
        ld.check_notebook(path)


def test_a_cell_of_no_known_kind_makes_no_notebook(tmp_path):
    raw = json.loads(nbformat.writes(sound()))
    raw["cells"][0]["cell_type"] = "picture"
    path = tmp_path / "odd.ipynb"
    path.write_text(json.dumps(raw))
    with pytest.raises(ld.LossDerivError, match="is no notebook"):
        ld.check_notebook(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ld.LossDerivError, match="cannot be read: No such file"):
        ld.check_notebook(tmp_path / "gone.ipynb")


def test_without_nbformat_it_says_what_to_install(tmp_path, monkeypatch):
    path = ld.new_notebook(tmp_path / "mine.ipynb")
    monkeypatch.setitem(sys.modules, "nbformat", None)
    with pytest.raises(ld.LossDerivError, match="pip install nbformat"):
        ld.check_notebook(path)


def test_exit_codes_and_one_line_for_each_thing(tmp_path, capsys):
    assert main(["notebook", saved(sound(), tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("n.ipynb: complete.\n")
    notebook = sound()
    without(13)(notebook)
    change(5, outputs=[])(notebook)
    assert main(["notebook", saved(notebook, tmp_path)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["notebook", str(tmp_path / "gone.ipynb")]) == 2
    assert capsys.readouterr().err.startswith("lossderiv: ")
    assert main(["new-notebook", str(tmp_path / "new.ipynb")]) == 0
    assert main(["notebook", str(tmp_path / "new.ipynb")]) == 1
