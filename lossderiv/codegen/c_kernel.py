"""Loss and gradient of every element in one pass, in C; for vectors see ``c_rows``."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import sympy as sp

from lossderiv.codegen.c_printer import CPrinter
from lossderiv.codegen.c_spelling import needed
from lossderiv.codegen.share import Assignments, share

BLOCK = 1024
"""Elements whose losses are added in float32 before double precision takes over."""

OWN = {"n", "s", "i", "start", "stop", "sum", "total", "losses", "element", "summed", "each"}
"""Names of the loop."""

HEAD = """
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
""".strip()

SUMMED = """
/* s times the slopes; returns the sum of the losses, float32 within a block, double beyond. */
double summed(
    ptrdiff_t n,
    float s,
    ARRAYS)
{
    double total = 0.0;
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t stop = n - start < BLOCK ? n : start + BLOCK;
        float sum = 0.0f;
        #pragma omp simd reduction(+ : sum)
        for (ptrdiff_t i = start; i < stop; i++) {
LOCALS
            sum += CALL;
STORES
        }
        total += (double)sum;
    }
    return total;
}
""".strip()

EACH = """
/* The losses, and the slopes beside them. */
void each(
    ptrdiff_t n,
    float *restrict losses,
    ARRAYS)
{
    #pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++) {
LOCALS
        losses[i] = CALL;
STORES
    }
}
""".strip()

LOOPS = {"summed": SUMMED, "each": EACH}
WIDTH = 100


def element_text(
    value: sp.Expr, slopes: Sequence[sp.Expr], inputs: Sequence[str], where: Assignments
) -> str:
    """``element(*inputs, *slopes)``: the loss of one element, its slopes through pointers."""
    printer = CPrinter({symbol for symbol, _ in where})
    value, *slopes = map(softplus_again, (value, *slopes))
    assignments, (value, *slopes) = share((value, *slopes), where)
    tables = [printer.table(name, e) for name, e in assignments if isinstance(e, sp.Tuple)]
    numbers = [(name, e) for name, e in assignments if not isinstance(e, sp.Tuple)]
    lines = [printer.declare(name, e) for name, e in numbers]
    into = slope_names(inputs, len(slopes))
    lines += [f"*{i} = {printer.doprint(g)};" for i, g in zip(into, slopes, strict=True)]
    arguments = [*(f"float {safe(i)}" for i in inputs), *(f"float *{i}" for i in into)]
    body = "\n".join(f"    {line}" for line in [*lines, f"return {printer.doprint(value)};"])
    above = "".join(f"{table}\n\n" for table in tables)
    return (
        f"{above}/* The loss of one element, and its slopes. */\n"
        f"INLINE float element({', '.join(arguments)})\n{{\n{body}\n}}"
    )


def softplus_again(expr: sp.Expr) -> sp.Expr:
    """``log1p(-logistic(a))`` as ``-softplus(a)``.

    The default tier has the former, which costs it one pass less; C shares exp(-|a|) between
    softplus and logistic, and has a logarithm of its own for it.
    """
    from lossderiv.special import log1p, logistic, softplus

    def is_one(e: sp.Basic) -> bool:
        return isinstance(e, log1p) and isinstance(-e.args[0], logistic)

    return expr.replace(is_one, lambda e: -softplus(*(-e.args[0]).args))


def safe(name: str) -> str:
    """``name``, lengthened where C keeps it for itself."""
    return CPrinter().doprint(sp.Symbol(name, real=True))


def array(name: str) -> str:
    """What the array of an input is called."""
    return f"{name}_" if name in OWN else safe(name)


def slope_names(inputs: Sequence[str], count: int) -> list[str]:
    return [f"slope_{name.removeprefix('eta_')}" for name in inputs[:count]]


def kernel_c(
    value: sp.Expr,
    slopes: Sequence[sp.Expr],
    inputs: Sequence[str],
    where: Assignments,
    loops: Sequence[str] = ("summed", "each"),
) -> str:
    """The text of a library: loops over elements, and all that they call.

    The arguments of a loop are the number of elements, the factor ``s`` (``each``: where the losses
    go), then one array for each input and each slope.
    """
    element = element_text(value, slopes, inputs, where)
    written = [_loop(LOOPS[name], inputs, slope_names(inputs, len(slopes))) for name in loops]
    text = "\n\n".join([HEAD, *needed(element), element, *written])
    return "\n".join(map(fitted, text.splitlines())) + "\n"


def _loop(loop: str, inputs: Sequence[str], into: Sequence[str]) -> str:
    """The text of a loop: its arrays, its call of ``element`` and where its slopes go."""
    arrays = [f"const float *restrict {array(i)}" for i in inputs]
    arrays += [f"float *restrict {i}" for i in into]
    parts = [f"{array(i)}[i]" for i in inputs] + [f"&d{k}" for k in range(len(into))]
    deep = "            " if "sum" in loop else "        "
    by = "s * " if "sum" in loop else ""
    lines = {
        "LOCALS": [f"float {', '.join(f'd{k}' for k in range(len(into)))};"] if into else [],
        "STORES": [f"{i}[i] = {by}d{k};" for k, i in enumerate(into)],
    }
    for mark, found in lines.items():
        loop = loop.replace(f"{mark}\n", "".join(f"{deep}{line}\n" for line in found))
    loop = loop.replace("ARRAYS", ",\n    ".join(arrays)).replace("BLOCK", str(BLOCK))
    return loop.replace("CALL", f"element({', '.join(parts)})")


def fitted(line: str) -> str:
    """A line of C, broken where it is too long."""
    if len(line) <= WIDTH or line.lstrip().startswith("#"):
        return line
    start = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line,
        WIDTH,
        subsequent_indent=f"{start}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
