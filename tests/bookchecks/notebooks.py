"""Checks of a notebook as a reader downloads it."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

DIRECTIVE = re.compile(r"^\s*(?:`{3,}|:{3,}|~{3,})\s*\{[\w:.-]+\}.*$", re.MULTILINE)
COLONS = re.compile(r"^\s*:{3,}.*$", re.MULTILINE)
ROLE = re.compile(r"\{[\w:.-]+\}`[^`]+`")
TARGET = re.compile(r"^\([\w:.-]+\)=\s*$", re.MULTILINE)
CODE = re.compile(
    r"^(`{3,})(?![`{]).*?^\1`*\s*$|(?<!`)``(?!`)[^\n]+?``(?!`)", re.MULTILINE | re.DOTALL
)


def raw_myst(text: str) -> list[str]:
    """MyST syntax that a plain notebook program would show as it is."""
    outside = CODE.sub("", text)
    return [m[0].strip() for p in (DIRECTIVE, COLONS, ROLE, TARGET) for m in p.finditer(outside)]


def problems(notebook: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook; an empty list when nothing is."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            found += [f"cell {number}: raw MyST: {text}" for text in raw_myst(cell.source)]
        if cell.cell_type != "code":
            continue
        if "myst_nb" in cell.source:
            found.append(f"cell {number}: needs what only the book's build has, myst_nb")
        if cell.execution_count is None:
            found.append(f"cell {number}: not executed")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number}: {output.ename}: {output.evalue[:80]}")
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"cell {number}: stderr: {output.text[:80]}")
    return found


def cells_with_output(notebook: NotebookNode) -> int:
    """How many cells have something to show: glued values and removed outputs do not count."""
    return sum(
        any(_visible(output) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
        and not {"remove-output", "remove-cell"} & set(cell.metadata.get("tags", []))
    )


def _visible(output: NotebookNode) -> bool:
    kinds = output.get("data", {"stream": ""})
    return any(not kind.startswith("application/papermill.record/") for kind in kinds)


QUICKLY = """
import ast, dataclasses, sys
from lossderiv import autoencoder
from lossderiv.autoencoder.data import Data

class WithoutClaims(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)

def few(name=None, root=None, *, on=None, load=autoencoder.load):
    data = load(name, root, on=on)
    sizes = {"train": 1200, "val": 200, "test": 600}
    fewer = {f"{part}{what}": getattr(data, f"{part}{what}")[:size]
             for part, size in sizes.items() for what in ("", "_labels")}
    return dataclasses.replace(data, **fewer)

get_ipython().ast_transformers.append(WithoutClaims())
sys.modules["myst_nb"] = None
autoencoder.load = few
Data.epochs_for = lambda self, steps, batch=128: 1
"""


def run(notebook: NotebookNode, folder: Path) -> list[str]:
    """What goes wrong when a notebook runs top to bottom in a kernel of its own, in ``folder``.

    Each training is one epoch of a few images, so that it takes seconds; what a chapter then
    asserts about results is not asked, for the build has asked it. What is left is whether every
    cell runs.
    """
    out = copy.deepcopy(notebook)
    out.cells.insert(0, nbformat.v4.new_code_cell(QUICKLY))
    client = NotebookClient(
        out,
        timeout=300,
        allow_errors=True,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return [
        f"cell {number}: {output.ename}: {output.evalue[:200]}"
        for number, cell in enumerate(out.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
