"""Loss and gradient of rows of entries in one pass, in C: losses over classes, and mixtures.

A block of rows is worked through loop by loop: over all its entries at once, whatever row they
belong to, then over its rows, where a row's largest entry or its sum is taken, then over the
entries again. What a later loop needs waits in a small array, which stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sympy as sp

from lossderiv.codegen.c_kernel import BLOCK, HEAD, fitted, slope_names, softplus_again
from lossderiv.codegen.c_printer import CPrinter
from lossderiv.codegen.c_spelling import needed
from lossderiv.codegen.row_steps import (
    AlongRow,
    Products,
    Reduction,
    Result,
    RowSteps,
    Solution,
    results_of,
)
from lossderiv.codegen.share import Assignments, share
from lossderiv.symbolic.records import Derivation
from lossderiv.symbolic.vectors import CLASSES

REDUCE = {
    "max": ("-INFINITY", "max", "{v} = {u} > {v} ? {u} : {v}", "{v} > -INFINITY ? {v} : 0.0f"),
    "min": ("INFINITY", "min", "{v} = {u} < {v} ? {u} : {v}", "{v}"),
    "sum": ("0.0f", "+", "{v} += {u}", "{v}"),
    "tail": ("0.0f", "+", "{v} += k == 0 ? 0.0f : {u}", "{v}"),
    "others": ("0.0f", "+", "{v} += k == {v}_not ? 0.0f : {u}", "{v}"),
}
"""Reduction -> its start, its operator, its step, and what it is worth in the end: the largest of
entries that are all minus infinity is taken out as 0."""

SHORT = 32
"""Rows of fewer components are added up one by one, which no processor's vectors make faster."""

CHECK = """
/* The first row whose class is none of 0 ... K-1; the number of rows if there is none. The loops
   below read where the class points, so it comes first. */
ptrdiff_t refused(ptrdiff_t rows, ptrdiff_t K, const int64_t *restrict CLASS)
{
    for (ptrdiff_t r = 0; r < rows; r++)
        if (CLASS[r] < 0 || CLASS[r] >= K)
            return r;
    return rows;
}
""".strip()

SUMMED = """
/* s times the slopes; returns the sum of the losses, float32 within a block, double beyond. There
   is work for WORK * max(BLOCK, K) numbers. */
double summed(
    ptrdiff_t rows,
WIDTH    float *restrict work,
    float s,
    ARRAYS)
{
    const ptrdiff_t most = K < BLOCK ? BLOCK / K : 1;
    float *losses = work + BEFORE * (K < BLOCK ? BLOCK : K);
    double total = 0.0;
    for (ptrdiff_t first = 0; first < rows; first += most) {
        const ptrdiff_t count = rows - first < most ? rows - first : most;
        block(count, GIVENwork, s, losses, PLACES);
        float sum = 0.0f;
        #pragma omp simd reduction(+ : sum)
        for (ptrdiff_t r = 0; r < count; r++)
            sum += losses[r];
        total += (double)sum;
    }
    return total;
}
""".strip()

EACH = """
/* The losses, and the slopes beside them. There is work for WORK * max(BLOCK, K) numbers. */
void each(
    ptrdiff_t rows,
WIDTH    float *restrict work,
    float *restrict losses,
    ARRAYS)
{
    const ptrdiff_t most = K < BLOCK ? BLOCK / K : 1;
    for (ptrdiff_t first = 0; first < rows; first += most) {
        const ptrdiff_t count = rows - first < most ? rows - first : most;
        block(count, GIVENwork, 1.0f, losses + first, PLACES);
    }
}
""".strip()

LOOPS = {"summed": SUMMED, "each": EACH}


@dataclass
class Loop:
    """One loop of a block: over ``entries``, over ``rows``, or over rows with loops inside."""

    over: str
    steps: list[sp.Symbol] = field(default_factory=list)


@dataclass(frozen=True)
class RowsText:
    """The text of a library for rows, and how many arrays its work needs."""

    text: str
    work: int


def rows_of(
    d: Derivation,
    value: sp.Expr,
    slopes: Sequence[sp.Expr],
    loops: Sequence[str] = ("summed", "each"),
) -> RowsText:
    """The text for a derivation whose outputs have an axis of entries: see :func:`rows_c`."""
    domains = [d.context.domains[o] for o in d.context.outputs]
    return rows_c(
        value,
        slopes,
        [*d.outputs, str(d.density.variable)],
        d.where,
        loops,
        classes=d.density.data.shape == "category",
        vectors=d.density.data.is_vector,
        components=domains[0].length,
        pairs=[name for name, domain in zip(d.outputs, domains, strict=True) if domain.pairs],
    )


def rows_c(
    value: sp.Expr,
    slopes: Sequence[sp.Expr],
    inputs: Sequence[str],
    where: Assignments,
    loops: Sequence[str] = ("summed", "each"),
    *,
    classes: bool = False,
    vectors: bool = False,
    components: int | None = None,
    pairs: Sequence[str] = (),
) -> RowsText:
    """The text of a library: loops over rows, and all that they call.

    Every output has K entries in a row; so has the target if ``vectors``, else it is one number, or
    with ``classes`` the index of one entry. K is an argument, unless there are so many
    ``components``: the compiler then writes short loops out. Outputs named in ``pairs`` have a
    number for each pair of entries instead.
    """
    value, *slopes = map(softplus_again, (value, *slopes))
    assignments, (value, *slopes) = share((value, *slopes), where)
    steps = RowSteps(inputs, where, [s for s, _ in assignments], classes, vectors, pairs)
    for symbol, expr in assignments:
        steps.define(symbol, expr)
    results = results_of(steps, value, slopes, slope_names(inputs, len(slopes)))
    block = _Block(steps, results, components)
    text = block.text()
    body = [CHECK.replace("CLASS", steps.data.name)] if classes else []
    body += [text, *(_loop(LOOPS[name], steps, results, block) for name in loops)]
    fixed = [f"enum {{ K = {components} }};"] if components else []
    whole = "\n\n".join([HEAD, *fixed, *needed(text), *body])
    return RowsText("\n".join(map(fitted, whole.splitlines())) + "\n", block.work + 1)


def _loop(loop: str, steps: RowSteps, results: Sequence[Result], block: _Block) -> str:
    width, given = ("", "") if block.components else ("    ptrdiff_t K,\n", "K, ")
    loop = loop.replace("WIDTH", width).replace("GIVEN", given)
    places = [f"{s.name} + first{_times_width(s, steps)}" for s in steps.inputs]
    slopes = zip(steps.inputs, results[1:], strict=False)
    places += [f"{r.array} + first{_times_width(s, steps)}" for s, r in slopes]
    loop = loop.replace("ARRAYS", ",\n    ".join(_arrays(steps, results)))
    loop = loop.replace("PLACES", ", ".join(places)).replace("BLOCK", str(BLOCK))
    return loop.replace("WORK", str(block.work + 1)).replace("BEFORE", str(block.work))


PAIRS = "(K * (K - 1) / 2)"


def _times_width(s: sp.Symbol, steps: RowSteps) -> str:
    """How many numbers an input has in a row, as a factor."""
    if s in steps.rows:
        return ""
    return f" * {PAIRS if s in steps.pairs else 'K'}"


def _arrays(steps: RowSteps, results: Sequence[Result]) -> list[str]:
    kinds = {s: "int64_t" if s is steps.data and steps.classes else "float" for s in steps.inputs}
    arrays = [f"const {kind} *restrict {s.name}" for s, kind in kinds.items()]
    return arrays + [f"float *restrict {r.array}" for r in results[1:]]


class _Block:
    """The function that works through a block: the steps dealt out to loops."""

    def __init__(self, steps: RowSteps, results: Sequence[Result], components: int | None):
        self.steps, self.results, self.components = steps, results, components
        wanted = [s for r in results for s in (r.value, r.placed) if s is not None]
        self.meant = {s: steps.meanings[s] for s in steps.needed(wanted)}
        self.uses = {s: steps.uses(s) for s in self.meant}
        self.loops = self._deal()
        self.home = {s: loop for loop in self.loops for s in loop.steps}
        self.kept: list[str] = []  # arrays that one loop fills and another reads
        self.spread: list[sp.Symbol] = []  # numbers of a row, written beside each of its entries

    @property
    def work(self) -> int:
        return len(self.kept)

    def _deal(self) -> list[Loop]:
        """Every step in the first loop that can have it."""
        waiting = [s for s in self.meant if not self.steps.is_light(s)]
        done, loops = set(self.steps.inputs), []
        while waiting:
            found = len(waiting)
            for over in ("reductions", "rows", "entries"):
                loop = Loop(over)
                for s in list(waiting):
                    if self._kind(s) == over and self.uses[s] <= done | set(loop.steps):
                        loop.steps.append(s)
                        waiting.remove(s)
                if loop.steps:
                    loops.append(loop)
                    done |= set(loop.steps)
            assert len(waiting) < found, waiting
        return loops

    def _kind(self, s: sp.Symbol) -> str:
        if isinstance(self.meant[s], AlongRow):
            return "reductions"
        return "rows" if s in self.steps.rows else "entries"

    def text(self) -> str:
        written = [line for loop in self.loops for line in self._written(loop)]
        placed = [r for r in self.results if r.placed is not None]
        for r in placed:
            at = f"{r.array}[r * K + {self.steps.data.name}[r]]"
            found = f"s * {self._kept(r.placed, 'row')}[r]"
            written += ["for (ptrdiff_t r = 0; r < rows; r++)", f"    {at} = {found};"]
        given = ["ptrdiff_t rows", *([] if self.components else ["ptrdiff_t K"])]
        given += ["float *restrict work", "float s"]
        given += ["float *restrict losses", *_arrays(self.steps, self.results)]
        room = f"const ptrdiff_t room = K < {BLOCK} ? {BLOCK} : K;"
        head = [
            "const ptrdiff_t entries = rows * K;",
            *([room] if self.kept else []),
            *(f"float *restrict {n} = work + {k} * room;" for k, n in enumerate(self.kept)),
        ]
        body = "\n".join(f"    {line}" for line in [*head, *written])
        return (
            "/* Some rows: their losses, and s times the slopes. Entry e belongs to row e / K. */\n"
            f"static void block({', '.join(given)})\n{{\n{body}\n}}"
        )

    # One loop ----------------------------------------------------------------------------------

    def _written(self, loop: Loop) -> list[str]:
        if loop.over == "reductions":
            inner = [line for s in loop.steps for line in self._reduced(s)]
            return ["for (ptrdiff_t r = 0; r < rows; r++) {", *_deeper(inner), "}"]
        index, at = ("e", "each") if loop.over == "entries" else ("r", "row")
        printer = RowPrinter(self.steps.named, self.steps.curved)
        lines: list[str] = []
        before: list[str] = []
        local: set[sp.Symbol] = set()

        def bring(s: sp.Symbol) -> None:
            """Make the value of ``s`` known inside this loop."""
            if s in local or s in printer.places:
                return
            if self.steps.is_light(s):
                declare(s)
            elif s in self.steps.rows and loop.over == "entries":
                before.extend(self._spread(s))
                printer.places[s] = f"{self._kept(s, 'each')}[e]"
            elif s in self.steps.inputs:
                printer.places[s] = f"{s.name}[{index}]"
            else:
                printer.places[s] = f"{self._kept(s, at)}[{index}]"

        def declare(s: sp.Symbol) -> None:
            for used in self.steps.names_in(s):
                bring(used)
            local.add(s)
            lines.append(printer.declare(s, self.meant[s]))

        for s in loop.steps:
            declare(s)
        for s in loop.steps:
            lines += [f"{r} = {by}{s.name};" for r, by in self._goes(s)]
            if self._is_used_elsewhere(s, loop):
                lines.append(f"{self._kept(s, at)}[{index}] = {s.name};")
        head = f"for (ptrdiff_t {index} = 0; {index} < {loop.over}; {index}++) {{"
        return [*before, "#pragma omp simd", head, *_deeper(lines), "}"]

    def _goes(self, s: sp.Symbol) -> list[tuple[str, str]]:
        """The arrays of results that a step fills, and what is written before its name."""
        first, *slopes = self.results
        found = [("losses[r]", "")] if s == first.value else []
        return found + [(f"{r.array}[e]", "s * ") for r in slopes if r.value == s]

    def _is_used_elsewhere(self, s: sp.Symbol, here: Loop) -> bool:
        """Whether another loop, or what is placed at last, reads a step."""
        if any(r.placed == s for r in self.results):
            return True
        return any(s in self.uses[t] for t, home in self.home.items() if home is not here)

    def _reduced(self, s: sp.Symbol) -> list[str]:
        found: AlongRow = self.meant[s]
        if isinstance(found, Solution):
            return self._solved(s, found)
        if isinstance(found, Products):
            return self._multiplied(s, found)
        if found.when is not None:
            return self._sum_when(s, found)
        row = f"{self._array(found.body)}[r * K + "
        if found.runs:
            onward = "k = 0; k < K; k++" if found.by == "before" else "k = K - 1; k >= 0; k--"
            return [
                f"float {s.name} = 0.0f;",
                f"for (ptrdiff_t {onward}) {{",
                f"    {self._kept(s, 'each')}[r * K + k] = {s.name};",
                f"    {s.name} += {row}k];",
                "}",
            ]
        into, data = f"{self._kept(s, 'row')}[r]", self.steps.data.name
        if found.by == "picked":
            return [f"{into} = {row}{data}[r]];"]
        if found.by == "at":
            place = f"{row}(ptrdiff_t){self._kept(found.at, 'row')}[r]]"
            return [f"{into} = {place} < INFINITY ? {place} : 0.0f;"]
        if found.by == "best":
            most = f"largest_{s.name}"
            return [
                f"float {most} = {row}0];",
                f"int {s.name} = 0;",
                "for (int k = 1; k < (int)K; k++) {",
                f"    {s.name} = {row}k] > {most} ? k : {s.name};",
                f"    {most} = {row}k] > {most} ? {row}k] : {most};",
                "}",
                f"{into} = (float){s.name};",
            ]
        start, sign, step, end = REDUCE[found.by]
        step = step.format(v=s.name, u=f"{row}k]")
        wide = [f"#pragma omp simd reduction({sign} : {s.name})"]
        index, width, spared = "ptrdiff_t", "K", []
        if found.by == "others":  # compared in as many lanes as are added
            at = f"{data}[r]" if found.at is None else f"{self._kept(found.at, 'row')}[r]"
            index, width, spared = "int", "(int)K", [f"const int {s.name}_not = (int){at};"]
        return [
            f"float {s.name} = {start};",
            *spared,
            *(wide if (self.components or SHORT) >= SHORT else []),
            f"for ({index} k = 0; k < {width}; k++)",
            f"    {step};",
            f"{into} = {end.format(v=s.name)};",
        ]

    def _array(self, s: sp.Symbol) -> str:
        """Where the entries of a step or an input lie."""
        return s.name if s in self.steps.inputs else self._kept(s, "each")

    def _solved(self, s: sp.Symbol, found: Solution) -> list[str]:
        """By substitution. From below, an entry that is known is taken from all those above it, so
        that the numbers below the diagonal are read as they lie."""
        into, below = self._kept(s, "each"), f"{s.name}_below"
        z, right, d = (
            f"{name}[r * K + " for name in (into, *map(self._array, (found.body, found.diagonal)))
        )
        head = f"const float *restrict {below} = {found.lower.name} + r * {PAIRS};"
        if found.turned:
            return [
                head,
                "for (ptrdiff_t k = 0; k < K; k++)",
                f"    {z}k] = {right}k];",
                "for (ptrdiff_t k = K - 1; k >= 0; k--) {",
                f"    {z}k] /= {d}k];",
                "    for (ptrdiff_t j = 0; j < k; j++)",
                f"        {z}j] -= {below}[k * (k - 1) / 2 + j] * {z}k];",
                "}",
            ]
        return [
            head,
            "for (ptrdiff_t k = 0; k < K; k++) {",
            f"    float {s.name} = {right}k];",
            "    for (ptrdiff_t j = 0; j < k; j++)",
            f"        {s.name} -= {below}[k * (k - 1) / 2 + j] * {z}j];",
            f"    {z}k] = {s.name} / {d}k];",
            "}",
        ]

    def _multiplied(self, s: sp.Symbol, found: Products) -> list[str]:
        (into,) = (r.array for r in self.results if r.value == s)
        printer, (left, right) = RowPrinter(set(), set()), sp.symbols("left right", real=True)
        printer.places[left] = f"{self._array(found.left)}[r * K + k]"
        printer.places[right] = f"{self._array(found.right)}[r * K + j]"
        return [
            "for (ptrdiff_t k = 0; k < K; k++)",
            "    for (ptrdiff_t j = 0; j < k; j++)",
            f"        {into}[r * {PAIRS} + k * (k - 1) / 2 + j] =",
            f"            s * ({printer.doprint(found.factor * left * right)});",
        ]

    def _sum_when(self, s: sp.Symbol, found: Reduction) -> list[str]:
        printer = RowPrinter(self.steps.named, self.steps.curved)
        for used in found.body.free_symbols:
            printer.places[used] = f"{self._array(used)}[r * K + k]"
        return [
            f"float {s.name} = 0.0f;",
            f"if ({self._kept(found.when, 'row')}[r] > 0.0f) {{",
            f"    #pragma omp simd reduction(+ : {s.name})",
            "    for (ptrdiff_t k = 0; k < K; k++)",
            f"        {s.name} += {printer.doprint(found.body)};",
            "}",
            f"{self._kept(s, 'row')}[r] = {s.name};",
        ]

    def _spread(self, s: sp.Symbol) -> list[str]:
        if s in self.spread:
            return []
        self.spread.append(s)
        number = s.name if s in self.steps.inputs else self._kept(s, "row")
        return [
            "for (ptrdiff_t r = 0; r < rows; r++)",
            "    for (ptrdiff_t k = 0; k < K; k++)",
            f"        {self._kept(s, 'each')}[r * K + k] = {number}[r];",
        ]

    def _kept(self, s: sp.Symbol, of: str) -> str:
        """The name of the array that holds a step."""
        name = f"{s.name}_{of}"
        if name not in self.kept:
            self.kept.append(name)
        return name


class RowPrinter(CPrinter):
    """Prints an array's element for a name from another loop."""

    def __init__(self, named: set[sp.Symbol], curved: set[sp.Symbol]):
        super().__init__(named)
        self.curved = curved
        self.places: dict[sp.Symbol, str] = {CLASSES: "(float)K"}

    def _print_Symbol(self, expr: sp.Symbol) -> str:
        return self.places.get(expr) or super()._print_Symbol(expr)


def _deeper(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
