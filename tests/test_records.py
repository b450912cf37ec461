"""Records of insights: what they print and typeset."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import sympy as sp
from markdown_it import MarkdownIt

import lossderiv as ld
from lossderiv.insight.record import Shown

RECORDS = {
    "kl": lambda: ld.kl("normal", "normal", mu_p=0, sigma_p=1),
    "exponential_family": lambda: ld.exponential_family("bernoulli"),
    "minimizer": lambda: ld.minimizer("laplace"),
    "fisher": lambda: ld.fisher("normal"),
    "hessian": lambda: ld.hessian("cauchy"),
    "tail": lambda: ld.tail("student_t"),
}


@dataclass(frozen=True, repr=False)
class Bars(Shown):
    """Bars wherever a record can have them."""

    title: str = "KL(q || p)"

    def rows(self):
        x = sp.Symbol("x", real=True)
        return [("of |x|", ["the corner |x| = 0, in $|x|$", abs(x), (abs(x), x * sp.sign(x))])]


def table(record: Shown) -> list[list[str]]:
    """The cells of the table as a Markdown reader sees them; no table, no cells."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(record.markdown())
    if [t.type for t in tokens if t.level == 0] != ["table_open", "table_close"]:
        return []
    kinds = ("tr_open", "inline")
    rows: list[list[str]] = []
    for token in (t for t in tokens if t.type in kinds):
        rows.append([]) if token.type == "tr_open" else rows[-1].append(token.content)
    return rows


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_typeset_as_one_table(name):
    record = RECORDS[name]()
    rows = table(record)
    assert len(rows) == 1 + len(record.rows())
    assert all(len(row) == 2 and row[0] for row in rows)


def test_bars_do_not_end_a_cell():
    (title, _), (label, pieces) = table(Bars())
    assert title == "**KL(q || p)**"
    assert label == "of |x|"
    assert pieces.startswith(r"the corner |x| = 0, in $\vert x\vert $<br>$\left\vert")
    assert pieces.count("$") == 6
