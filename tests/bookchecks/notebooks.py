"""Checks of a notebook as a reader downloads it."""

from __future__ import annotations

import re

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
