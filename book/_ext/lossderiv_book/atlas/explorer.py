"""The loss explorer: every family of single numbers as JavaScript, with where to start.

The formulas are the package's own: what ``lossderiv.source`` writes goes through ``javascript``.
``explorer.html`` and ``explorer.js`` are the page's controls and drawings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lossderiv as ld
from lossderiv.codegen.printer import TorchPrinter
from lossderiv.symbolic.records import Derivation, Link
from lossderiv.symbolic.render import tex

from . import curves
from .javascript import functions
from .words import GROUPS, assignments, group, symbol, tex_name, title

if TYPE_CHECKING:
    from .pages import Family

HERE = Path(__file__).parent
FIRST = "normal"
OWN = ("loss", "gradient", "dropped", "theta")


def explorable(families: Iterable[Family]) -> tuple[Family, ...]:
    """The families whose data and parameters are single numbers."""
    return tuple(
        f
        for f in families
        if {f.density.data.shape, *(p.shape for p in f.density.parameters.values())} == {"scalar"}
    )


def page(families: Iterable[Family]) -> str:
    """The explorer as a piece of HTML that needs nothing but MathJax."""
    shown = explorable(families)
    helpers: dict[str, str] = {}
    made = {}
    for family in shown:
        written = formulas(family.derivation)
        helpers |= {name: text for name, text in written.items() if name not in OWN}
        made[family.name] = facts(family), written
    script = [
        (HERE / "torch.js").read_text(encoding="utf-8"),
        *helpers.values(),
        "const families = {",
    ]
    for name, (told, written) in made.items():
        own = "\n".join(written[n] for n in OWN)
        data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        script.append(
            f"{name}: (() => {{\n{own}\nreturn {{ {', '.join(OWN)}, ...{data} }};\n}})(),"
        )
    script += ["};", (HERE / "explorer.js").read_text(encoding="utf-8")]
    return (
        (HERE / "explorer.html")
        .read_text(encoding="utf-8")
        .replace("<!-- families -->", options(shown))
        .replace("/* script */", "\n".join(script))
    )


def options(families: Iterable[Family]) -> str:
    """The choice of families, grouped as in the Atlas; each has an id, so that links reach it."""
    parts = []
    for name, _ in GROUPS:
        inside = [
            f'<option id="{f.name}" value="{f.name}"{" selected" * (f.name == FIRST)}>'
            f"{escape(title(f.name))}</option>"
            for f in families
            if group(f.density) == name
        ]
        if inside:
            parts += [f'<optgroup label="{escape(name)}">', *inside, "</optgroup>"]
    return "\n".join(parts)


def formulas(d: Derivation) -> dict[str, str]:
    """Loss, gradient, constant and parameters as JavaScript, and the functions they call."""
    written = functions(ld.source(d))
    if d.dropped.is_number:
        written |= functions(f"def dropped(x):\n    return {float(d.dropped.evalf(30))!r}")
    printer = TorchPrinter(like=d.outputs[0])
    values = ", ".join(printer.doprint(d.theta[n.removeprefix("eta_")]) for n in d.outputs)
    linked = f"def theta({', '.join(d.outputs)}):\n    return [{values}]"
    for text in (*printer.used.values(), linked):
        written |= functions(text)
    return written


def facts(family: Family) -> dict[str, Any]:
    """What the page shows and where it starts; numbers rounded to what a slider can set."""
    d, data = family.derivation, family.density.data
    found = curves.settings(family.density, family.given)
    low, high = curves.window(found)
    step = 1.0 if data.integer else _step(high - low)
    if not data.integer:  # the ends of an open domain are no data
        low += step * (data.open_low and low == data.low)
        high -= step * (data.open_high and high == data.high)
    x = min(max(_start(found), low), high)
    return {
        "title": title(family.name),
        "given": assignments(family.given, "plain"),
        "integer": data.integer,
        "x": {"low": low, "high": high, "step": step, "start": round(x / step) * step},
        "outputs": [
            _output(name, found, d.links[name.removeprefix("eta_")], (low, high))
            for name in d.outputs
        ],
        "tex": _tex(d),
        "constant": "0" if d.dropped == 0 else tex(d.dropped),
    }


def _start(found: tuple[curves.Setting, ...]) -> float:
    """An observation that is neither the likeliest nor unlikely: the upper quartile."""
    return float(found[0].draws.quantile(0.8))


def _output(
    name: str, found: tuple[curves.Setting, ...], link: Link, window: tuple[float, float]
) -> dict[str, Any]:
    """A raw output: how far it can be moved, and where it starts."""
    at = [float(setting.raw[name]) for setting in found]
    if found[0].domain(name).name == "Angle":
        low, high = -3.14, 3.14
    elif link.name == "identity":
        low, high = window
    else:
        low, high = min(at) - 2.0, max(at) + 2.0
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    parameter = name.removeprefix("eta_")
    return {
        "name": symbol(name),
        "tex": tex_name(name),
        "parameter": symbol(parameter),
        "low": low,
        "high": high,
        "step": step,
        "start": round(at[0] / step) * step,
    }


def _step(width: float) -> float:
    """A power of ten, a few hundred of which fill the width."""
    return 10.0 ** math.floor(math.log10(width / 200))


def _tex(d: Derivation) -> dict[str, Any]:
    used = set().union(
        d.open_loss.free_symbols, *(e.free_symbols for e in d.open_gradient.values())
    )
    where = [rf"{tex(s)} = {tex(e)}" for s, e in d.where if s in used]
    return {
        "loss": tex(d.open_loss),
        "slopes": [tex(e) for e in d.open_gradient.values()],
        "where": r",\quad ".join(where),
    }
