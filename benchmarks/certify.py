"""Write the package's certificates: one file a family, measured where its code is new.

    python -m benchmarks.accuracy --certificates                   (or: make certificates)
    python -m benchmarks.accuracy --certificates --family beta

A family is measured when it has no file, when the code of one of its rows has changed since, or
when its rows, its cases or the float types are others than here. To have one measured again all
the same, delete its file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import sympy
import torch

from benchmarks.measure import DTYPES, SEED, Score
from benchmarks.row import Row
from benchmarks.rows import rows_of
from lossderiv.certificates import MEASURED, Figures, fingerprint
from lossderiv.derivations import derive

DIGITS = 4


def links_of(row: Row) -> Mapping[str, str]:
    return row.settings.get("links", {})


def code_of(row: Row) -> str:
    """The fingerprint of the code that is measured for a row."""
    return fingerprint(derive(row.catalogue_name, links=links_of(row), **row.fixed))


def setting(counts: tuple[int, int]) -> dict:
    """What a certificate says about how it was measured."""
    moderate, extreme = counts
    return {
        "torch": torch.__version__.partition("+")[0],
        "sympy": sympy.__version__,
        "seed": SEED,
        "moderate": moderate,
        "extreme": extreme,
    }


def why_stale(family: str, counts: tuple[int, int], folder: Path = MEASURED) -> str:
    """Why a family must be measured (again); empty when its certificate stands."""
    path = folder / f"{family}.json"
    if not path.exists():
        return "never measured"
    record = json.loads(path.read_text(encoding="utf-8"))
    here = setting(counts)
    for name in ("seed", "moderate", "extreme"):
        if record[name] != here[name]:
            return f"measured with {name} {record[name]}, here {here[name]}"
    measured = {row["name"]: row for row in record["rows"]}
    rows = rows_of(family)
    if set(measured) != {row.name for row in rows}:
        return f"measured rows: {', '.join(measured)}; here: {', '.join(r.name for r in rows)}"
    for row in rows:
        if measured[row.name]["code"] != code_of(row):
            return f"the code of {row.name} has changed"
        if {f["dtype"] for f in measured[row.name]["figures"]} != set(DTYPES):
            return f"{row.name} was not measured in every float type"
    return ""


def figures(score: Score) -> dict:
    """The figures of a score that a certificate keeps; what is infinite is null in JSON."""
    kept = {field.name: getattr(score, field.name) for field in fields(Figures)}
    return {
        name: (float(f"{v:.{DIGITS}g}") if math.isfinite(v) else None) if type(v) is float else v
        for name, v in kept.items()
    }


def write(
    family: str, scores: Sequence[Score], counts: tuple[int, int], folder: Path = MEASURED
) -> Path:
    """The family's file: a line for each set of figures, so that changes are easy to read."""
    head = json.dumps(setting(counts), indent=1)[:-2]
    rows = []
    for row in rows_of(family):
        about = {
            "name": row.name,
            "given": dict(row.fixed),
            "links": dict(links_of(row)),
            "code": code_of(row),
        }
        lines = (f"   {json.dumps(figures(s))}" for s in scores if s.row == row.name)
        body = ",\n".join(lines)
        rows.append(f'  {json.dumps(about)[:-1]}, "figures": [\n{body}\n  ]}}')
    folder.mkdir(exist_ok=True)
    path = folder / f"{family}.json"
    listed = ",\n".join(rows)
    path.write_text(f'{head},\n "rows": [\n{listed}\n ]\n}}\n', encoding="utf-8")
    return path


def refresh(families: Iterable[str], counts: tuple[int, int], measure, folder: Path = MEASURED):
    """Measure the families whose certificate does not stand, and say why.

    ``measure(rows, dtypes)`` returns their scores.
    """
    for family in families:
        reason = why_stale(family, counts, folder)
        if reason:
            print(f"{family}: {reason}", flush=True)
            path = write(family, measure(rows_of(family), tuple(DTYPES)), counts, folder)
            print(f"{family}: written to {path.parent.name}/{path.name}", flush=True)
