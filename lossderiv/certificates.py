"""How accurate a family's loss was measured to be, beside torch's own.

The figures are data: one file a family in ``measured/``, written by ``make certificates`` and
never by hand. Each row keeps a fingerprint of the code that was measured, so that a certificate
of other code than runs here is known to be stale.
"""

from __future__ import annotations

import hashlib
import json
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lossderiv.codegen.printer import TorchPrinter
from lossderiv.codegen.standalone import source
from lossderiv.derivations import derive, find_density
from lossderiv.errors import UnknownNameError
from lossderiv.symbolic.records import Derivation

MEASURED = Path(__file__).parent / "measured"
REFRESH = "make certificates"

LABELS = {
    "lossderiv": "lossderiv",
    "nn.functional": "torch.nn.functional",
    "distributions": "torch.distributions",
}
MEANING = (
    "Errors are in nat: 1 nat is the error that rounding the inputs alone would cause. A case is "
    "bad when its value or a slope is off by more than 16 nat or is not finite; everyday counts "
    "the bad ones among everyday inputs, harm those that are off by another 16 roundings of 1. "
    "Not finite are values / slopes."
)


@dataclass(frozen=True)
class Figures:
    """What one loss scored on the cases of one row, in one float type.

    ``who`` is ``"lossderiv"``, ``"nn.functional"`` or ``"distributions"``. Counts are of cases;
    maxima and 99th percentiles are in nat, infinite where a result was not finite.
    """

    who: str
    dtype: str
    cases: int
    nonfinite_value: int
    nonfinite_gradient: int
    bad: int
    bad_moderate: int
    harm: int
    value_max: float
    value_p99: float
    gradient_max: float
    gradient_p99: float


@dataclass(frozen=True)
class MeasuredRow:
    """One setting of a family: which parameters were given, which links chosen, the scores.

    ``code`` is the :func:`fingerprint` of the code that was measured.
    """

    name: str
    given: Mapping[str, object]
    links: Mapping[str, str]
    code: str
    figures: tuple[Figures, ...]


@dataclass(frozen=True)
class Certificate:
    """The measured accuracy of one family's loss, and what it was measured with.

    ``rows`` are the settings that were measured, each with its figures for every float type and
    for torch's own losses where they exist. ``moderate`` and ``extreme`` count the cases of a row.
    """

    family: str
    torch: str
    sympy: str
    seed: int
    moderate: int
    extreme: int
    rows: tuple[MeasuredRow, ...]

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Float types in which the family was measured."""
        return tuple(dict.fromkeys(f.dtype for row in self.rows for f in row.figures))

    @cached_property
    def stale(self) -> tuple[str, ...]:
        """Names of the rows whose code is no longer the code that was measured."""
        return tuple(
            row.name
            for row in self.rows
            if row.code != fingerprint(derive(self.family, links=row.links, **row.given))
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the columns mean, how it was measured and, if so, that it is stale; Markdown."""
        how = (
            f"Each row has {self.moderate} everyday and {self.extreme} extreme cases (seed "
            f"{self.seed}), measured against an independent judge with torch {self.torch} and "
            f"SymPy {self.sympy}: `python -m benchmarks.accuracy --family {self.family}`."
        )
        warning = (
            f"STALE: the code of {'; '.join(self.stale)} has changed since it was measured. Run "
            f"`{REFRESH}`."
        )
        return (MEANING, how, warning) if self.stale else (MEANING, how)

    def table(self, dtype: str) -> str:
        """The figures in one float type as a Markdown table."""
        head = (dtype, *(heading for heading, _ in COLUMNS))
        rule = (":--", *("--:" for _ in COLUMNS))
        lines = (line if line[1] else (f"**{line[0]}**", *line[1:]) for line in self._lines(dtype))
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *lines))

    def markdown(self) -> str:
        """A Markdown table for each float type, and what the columns mean."""
        return "\n\n".join([*(self.table(dtype) for dtype in self.dtypes), *self.remarks])

    def text(self) -> str:
        """All figures for a terminal of 80 columns."""
        widths = [w for _, w in COLUMNS]
        out = [f"Certificate of {self.family}"]
        for dtype in self.dtypes:
            out.append("")
            for label, *cells in ((dtype, *(h for h, _ in COLUMNS)), *self._lines(dtype)):
                padded = (f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
                out.append(f"{label:19}{''.join(padded)}".rstrip())
        remarks = (textwrap.fill(r.replace("`", ""), 78) for r in self.remarks)
        return "\n\n".join(["\n".join(out), *remarks])

    def _lines(self, dtype: str) -> Iterator[tuple[str, ...]]:
        """The cells of a table in one float type: a line for each loss, under its row's name."""
        for row in self.rows:
            if len(self.rows) > 1:
                yield (row.name, *("" for _ in COLUMNS))
            for f in row.figures:
                if f.dtype == dtype:
                    yield (LABELS[f.who], *_cells(f))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/markdown": self.markdown(), "text/plain": self.text()}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        rows = "; ".join(row.name for row in self.rows)
        return f"<Certificate of {self.family}: {rows}>"


COLUMNS = (  # with their widths on a terminal
    ("not finite", 11),
    ("bad", 4),
    ("everyday", 9),
    ("harm", 5),
    ("value max", 10),
    ("99\u00a0%", 6),
    ("slope max", 10),
    ("99\u00a0%", 6),
)


def _cells(f: Figures) -> tuple[str, ...]:
    numbers = (f.value_max, f.value_p99, f.gradient_max, f.gradient_p99)
    lost = f"{f.nonfinite_value} / {f.nonfinite_gradient}"
    return (lost, str(f.bad), str(f.bad_moderate), str(f.harm), *(_nat(n) for n in numbers))


def _nat(number: float) -> str:
    if math.isinf(number):
        return "∞"
    if number >= 1e3:
        return f"{number:.0e}"
    return f"{number:.2f}" if number < 100 else f"{number:.0f}"


def fingerprint(derivation: Derivation) -> str:
    """A digest of the code that computes a loss, exact value included; reasons do not count."""
    code = source(derivation).partition('\n"""\n')[2]
    printer = TorchPrinter()
    exact = printer.doprint(derivation.exact_kernel)
    helpers = (printer.used[name] for name in sorted(printer.used))
    return hashlib.sha256("\n".join([code, exact, *helpers]).encode()).hexdigest()[:16]


def certificate(family: str) -> Certificate:
    """The measured accuracy of a family's loss, beside torch's own losses of that family.

    Value and gradient were compared with an independent judge of high precision, on everyday and
    on extreme inputs, in float32, float64 and bfloat16. Errors are in *nat*: 1 nat is the error
    that rounding the inputs alone would cause.

    Raises ``UnknownNameError`` for a family that is not in the catalogue, or not measured yet.

    >>> import lossderiv as ld
    >>> c = ld.certificate("student_t")
    >>> max(f.bad for row in c.rows for f in row.figures if f.who == "lossderiv")
    0
    >>> c.stale
    ()
    """
    name = find_density(family).name
    path = MEASURED / f"{name}.json"
    if not path.exists():
        raise UnknownNameError(
            f"{name} has no certificate: its accuracy has not been measured. In a checkout of the "
            f"project, `{REFRESH}` measures every family of the catalogue that lacks one."
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(_row(row) for row in record.pop("rows"))
    return Certificate(family=name, rows=rows, **record)


def _row(record: dict) -> MeasuredRow:
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in record["given"].items()}
    figures = tuple(
        Figures(**{k: math.inf if v is None else v for k, v in f.items()})
        for f in record["figures"]
    )
    return MeasuredRow(**{**record, "given": given, "figures": figures})
