"""How an insight is shown: labelled rows, as plain text of 80 columns and as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from lossderiv.symbolic.render import _in_cell, _wrapped, plain, tex

Piece = str | sp.Expr | tuple  # prose, a formula, or (left, right) for an equation
Row = tuple[str, Sequence[Piece]]


class Shown:
    """A record with a ``title`` and ``rows()`` prints itself and typesets itself in notebooks."""

    title: str

    def rows(self) -> list[Row]:
        """What to show, in order: a label, and its pieces of prose and formulas."""
        raise NotImplementedError

    def text(self) -> str:
        """The record as plain text for a terminal of 80 columns."""
        out = [self.title, "=" * len(self.title), ""]
        for label, pieces in self.rows():
            out += [label, *(line for p in pieces for line in _wrapped(_as_text(p), 4))]
        return "\n".join(out)

    def markdown(self) -> str:
        """The record as a Markdown table."""
        rows = [f"| **{_prose_in_cell(self.title)}** | |", "|---|---|"]
        for label, pieces in self.rows():
            rows.append(f"| {_prose_in_cell(label)} | {'<br>'.join(map(_as_markdown, pieces))} |")
        return "\n".join(rows)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/markdown": self.markdown(), "text/plain": self.text()}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.title}>"


def _as_text(piece: Piece) -> str:
    if isinstance(piece, tuple):
        return " = ".join(map(_as_text, piece))
    return piece if isinstance(piece, str) else plain(piece)


def _as_markdown(piece: Piece) -> str:
    if isinstance(piece, tuple):
        return f"${' = '.join(_in_cell(tex(p)) for p in piece)}$"
    return _prose_in_cell(piece) if isinstance(piece, str) else f"${_in_cell(tex(piece))}$"


def _prose_in_cell(text: str) -> str:
    """Prose whose bars do not end a table cell: formulas between dollars keep theirs as TeX."""
    parts = text.split("$")
    return "$".join(
        _in_cell(part) if k % 2 else part.replace("|", r"\|") for k, part in enumerate(parts)
    )


def heading(density_name: str, fixed) -> str:
    """The family's name with what is given: ``normal with sigma = 1``."""
    given = ", ".join(f"{n} = {v}" for n, v in fixed.items())
    return density_name + (f" with {given}" if given else "")
