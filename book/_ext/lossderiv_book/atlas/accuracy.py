"""The certificates of all families added up: ours beside torch's own losses on the same cases."""

from __future__ import annotations

from collections.abc import Iterable

from lossderiv.certificates import Certificate, Figures

OURS = "lossderiv"
PEERS = {"distributions": "`torch.distributions`", "nn.functional": "`torch.nn.functional`"}
HEAD = ("", "cases", "not finite", "bad", "bad, everyday", "harm")


def totals(certificates: Iterable[Certificate], dtype: str = "float32") -> str:
    """A Markdown table: every family, then each peer with ours on the rows that it has."""
    rows = [
        {f.who: f for f in row.figures if f.dtype == dtype}
        for certificate in certificates
        for row in certificate.rows
    ]
    lines = [("**lossderiv**, every family", [row[OURS] for row in rows])]
    for who, name in PEERS.items():
        shared = [row for row in rows if who in row]
        lines.append((name, [row[who] for row in shared]))
        lines.append(("**lossderiv** on the same cases", [row[OURS] for row in shared]))
    rule = (":--", *("--:" for _ in HEAD[1:]))
    table = (HEAD, rule, *((label, *added_up(figures)) for label, figures in lines))
    return "\n".join(f"| {' | '.join(line)} |" for line in table) + "\n"


def added_up(figures: list[Figures]) -> tuple[str, ...]:
    """The counts of several rows; what is not finite are values and slopes."""

    def total(count: str) -> int:
        return sum(getattr(f, count) for f in figures)

    broken = f"{total('nonfinite_value')} / {total('nonfinite_gradient')}"
    return (
        f"{total('cases'):,}",
        broken,
        *(f"{total(count):,}" for count in ("bad", "bad_moderate", "harm")),
    )
