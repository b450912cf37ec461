"""Print how accurate every loss is: ours beside torch.nn.functional and torch.distributions.

    python -m benchmarks.accuracy                     all rows, float32
    python -m benchmarks.accuracy --dtype float64 bfloat16 --family normal beta
    python -m benchmarks.accuracy --smoke             a few cases a row, for CI
    python -m benchmarks.accuracy --hessian           second derivatives as well
    python -m benchmarks.accuracy --json accuracy.json
    python -m benchmarks.accuracy --certificates      the package's certificates that are stale

The columns are those of `measure.Score`; lines with the worst inputs follow for every loss of ours
past its bound.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: let the siblings be found
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import certify
from benchmarks.measure import (
    DTYPES,
    CurvatureScore,
    Score,
    cases,
    ours,
    peer,
    score,
    score_curvature,
    twin,
)
from benchmarks.row import Row, with_softplus
from benchmarks.rows import ROWS

OURS, PEER, TWIN = "lossderiv", "nn.functional", "distributions"
FULL, SMOKE = (40, 120), (4, 8)


def our_families() -> frozenset[str]:
    """The catalogue's names."""
    import lossderiv as ld

    return frozenset(ld.families())


def contestants(row: Row, dtype: str, available: frozenset[str]):
    """Who can be asked about this row: (name, loss, what its value leaves out)."""
    if row.catalogue_name in available:
        yield OURS, ours(row), None
    if row.peer is not None:
        yield PEER, peer(row), row.peer_offset
    if row.twin is not None and dtype in row.twin_dtypes:
        yield TWIN, twin(row), None


def plain(record):
    """Numbers that JSON can hold: an infinite error, from a result that is not finite, as null."""
    if isinstance(record, dict):
        return {key: plain(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [plain(value) for value in record]
    return None if isinstance(record, float) and not math.isfinite(record) else record


def measure_curvatures(
    rows: Iterable[Row], dtypes: Sequence[str], counts: tuple[int, int], available: frozenset[str]
) -> list[CurvatureScore]:
    return [
        score_curvature(row, who, evaluate, dtype, cases(row, dtype, *counts))
        for row in rows
        for dtype in dtypes
        for who, evaluate, _ in contestants(row, dtype, available)
    ]


def measure_rows(
    rows: Iterable[Row], dtypes: Sequence[str], counts: tuple[int, int], available: frozenset[str]
) -> list[Score]:
    scores = []
    for row in rows:
        for dtype in dtypes:
            batch = cases(row, dtype, *counts)
            for who, evaluate, offset in contestants(row, dtype, available):
                given = {} if offset is None else {"offset": offset}
                scores.append(score(row, who, evaluate, dtype, batch, **given))
    return scores


def _nat(value: float) -> str:
    if value == float("inf"):
        return "inf"
    return f"{value:.2f}" if value < 1e3 else f"{value:.0e}"


HEADER = (
    f"{'family':34} {'loss':14} {'cases':>5} {'nonfin v/g':>10} {'bad':>4} {'harm':>4} {'mod':>4}"
    f" {'value max':>9} {'p99':>7} {'grad max':>9} {'p99':>7}"
)


def line(s: Score) -> str:
    return (
        f"{s.row:34} {s.who:14} {s.cases:5} {f'{s.nonfinite_value}/{s.nonfinite_gradient}':>10}"
        f" {s.bad:4} {s.harm:4} {s.bad_moderate:4} {_nat(s.value_max):>9} {_nat(s.value_p99):>7}"
        f" {_nat(s.gradient_max):>9} {_nat(s.gradient_p99):>7}"
    )


CURVATURE_HEADER = (
    f"{'family':34} {'loss':14} {'numbers':>7} {'nonfin':>6} {'bad':>4} {'harm':>4}"
    f" {'max':>9} {'p99':>7}"
)


def curvature_line(s: CurvatureScore) -> str:
    return (
        f"{s.row:34} {s.who:14} {s.numbers:7} {s.nonfinite:6} {s.bad:4} {s.harm:4}"
        f" {_nat(s.maximum):>9} {_nat(s.p99):>7}"
    )


def totals(scores: Sequence[Score], dtype: str) -> Iterable[str]:
    """One line per loss: counts over all its rows."""
    for who in (OURS, PEER, TWIN):
        mine = [s for s in scores if s.who == who and s.dtype == dtype]
        if not mine:
            continue
        count = {
            name: sum(getattr(s, name) for s in mine)
            for name in (
                "cases",
                "cases_moderate",
                "nonfinite_value",
                "nonfinite_gradient",
                "bad",
                "harm",
                "bad_moderate",
            )
        }
        yield (
            f"{who:14} {len(mine)} rows, {count['cases']} cases: non-finite value"
            f" {count['nonfinite_value']}, gradient {count['nonfinite_gradient']};"
            f" bad {count['bad']}, harm {count['harm']};"
            f" bad in the moderate block {count['bad_moderate']} of {count['cases_moderate']}"
        )


def past_bounds(s: Score, row: Row) -> bool:
    """Does one of our scores miss its row's bound?"""
    return not (s.value_max <= row.value_bound and s.gradient_max <= row.gradient_bound)


def report(scores: Sequence[Score], rows: Sequence[Row], dtypes: Sequence[str]) -> None:
    bounds = {row.name: row for row in rows}
    for dtype in dtypes:
        here = [s for s in scores if s.dtype == dtype]
        print(f"\n{dtype}: errors in nat, see benchmarks/measure.py\n{HEADER}")
        for s in here:
            print(line(s))
        print(*totals(here, dtype), sep="\n")
        for s in here:
            if s.who == OURS and past_bounds(s, bounds[s.row]):
                print(f"\npast its bound: {s.row}")
                for w in s.worst:
                    print(
                        f"  {w.quantity} at eta={w.eta} x={w.x}:"
                        f" {w.got!r} for {w.truth!r} ({_nat(w.nat)} nat, {_nat(w.soft)} soft)"
                    )


def report_curvatures(scores: Sequence[CurvatureScore], dtypes: Sequence[str]) -> None:
    for dtype in dtypes:
        print(f"\n{dtype}: Hessian diagonal by double backward\n{CURVATURE_HEADER}")
        for s in scores:
            if s.dtype == dtype:
                print(curvature_line(s))


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dtype", nargs="+", choices=tuple(DTYPES), default=["float32"])
    parser.add_argument("--family", nargs="+", metavar="NAME", help="catalogue names; default: all")
    parser.add_argument("--softplus", action="store_true", help="softplus links for exp links")
    parser.add_argument("--smoke", action="store_true", help="a dozen cases a row")
    parser.add_argument("--hessian", action="store_true", help="second derivatives as well")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the scores there too")
    parser.add_argument(
        "--certificates",
        action="store_true",
        help="measure the families whose certificate is missing or stale, in every float type",
    )
    return parser.parse_args(argv)


def write_certificates(rows: Sequence[Row]) -> None:
    """Bring the certificates of these rows' families up to date."""
    available = our_families()
    families = dict.fromkeys(r.catalogue_name for r in rows if r.catalogue_name in available)
    certify.refresh(
        families, FULL, lambda rows, dtypes: measure_rows(rows, dtypes, FULL, available)
    )


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    torch.set_num_threads(1)
    started = time.perf_counter()
    rows = [r for r in ROWS if not options.family or r.catalogue_name in options.family]
    if not rows:
        print(f"no row for {', '.join(options.family)}; see benchmarks/rows.py", file=sys.stderr)
        return 2
    if options.certificates:
        write_certificates(rows)
        return 0
    if options.softplus:
        rows = [with_softplus(row) for row in rows if with_softplus(row).settings["links"]]
    counts = SMOKE if options.smoke else FULL
    scores = measure_rows(rows, options.dtype, counts, our_families())
    report(scores, rows, options.dtype)
    curvatures = []
    if options.hessian:
        curvatures = measure_curvatures(rows, options.dtype, counts, our_families())
        report_curvatures(curvatures, options.dtype)
    print(f"\n{len(scores)} scores in {time.perf_counter() - started:.0f} s")
    if options.json:
        record = {
            "torch": torch.__version__,
            "cases_per_row": {"moderate": counts[0], "extreme": counts[1]},
            "scores": [s.record() for s in scores],
            "curvatures": [s.record() for s in curvatures],
        }
        text = json.dumps(plain(record), indent=1, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
