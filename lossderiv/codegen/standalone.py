"""``source``: a derivation as a Python file that needs torch alone, or as C that needs nothing."""

from __future__ import annotations

import textwrap

from lossderiv.codegen.c_kernel import kernel_c
from lossderiv.codegen.c_rows import rows_of
from lossderiv.codegen.printer import TorchPrinter, result_text
from lossderiv.codegen.share import share
from lossderiv.derivations import derive
from lossderiv.errors import ParameterError
from lossderiv.symbolic.records import Density, Derivation

WIDTH = 88


def source(of: str | Density | Derivation, *, language: str = "python", **options) -> str:
    """Standalone code: the loss and its gradient, with the derivation as docstring or comment.

    Python, which imports torch only: ``loss`` returns one value for each element (dropped constant:
    ``DROPPED``), ``gradient`` the slopes in the raw outputs, in the order of the arguments; both
    are computed by the same formulas as :class:`lossderiv.Loss`. ``language="c"`` is what
    ``ld.loss(..., compiled=True)`` compiles: float32, loss and slopes of many elements in one pass,
    as a sum (``summed``) or one by one (``each``); of classes and mixtures, of many rows.
    ``options`` are those of :func:`lossderiv.derive`.

    >>> import lossderiv as ld
    >>> print(ld.source("normal", sigma=1)[-98:].strip())
    def gradient(eta_mu, x):
        \"\"\"Slope of the loss in eta_mu.\"\"\"
        z = x - eta_mu
        return -z
    """
    d = derive(of, **options)
    if language not in LANGUAGES:
        raise ParameterError(f"language={language!r} is not possible; choose 'python' or 'c'.")
    return LANGUAGES[language](d)


def _c(d: Derivation) -> str:
    said = d.text().replace("*/", "* /")
    slopes = tuple(d.gradient_kernel.values())
    if d.has_vectors:
        kernel = rows_of(d, d.kernel, slopes).text
    else:
        kernel = kernel_c(d.kernel, slopes, [*d.outputs, str(d.density.variable)], d.where)
    return f"/*\n{said}\n*/\n\n{kernel}"


def _python(d: Derivation) -> str:
    printer = TorchPrinter(str(d.density.variable), like=d.outputs[0])
    arguments = ", ".join([*d.outputs, str(d.density.variable)])
    value = _function(
        "loss", arguments, (d.kernel,), d, printer, "Negative log-likelihood less DROPPED, in nats."
    )
    slopes = tuple(d.gradient_kernel.values())
    names = ", ".join(d.outputs)
    gradient = _function(
        "gradient", arguments, slopes, d, printer, f"Slope of the loss in {names}."
    )
    constant = _constant(d, printer)
    helpers = [_fitted(text) for _, text in sorted(printer.used.items())]
    parts = [_docstring(d), "import torch", constant, *helpers, value, gradient]
    return "\n\n\n".join(p for p in parts if p) + "\n"


def _constant(d: Derivation, printer: TorchPrinter) -> str:
    """The dropped constant, as a number or as a function of the target."""
    if d.dropped.is_number:
        return f"DROPPED = {float(d.dropped.evalf(30))!r}"
    line = _wrap(f"return {printer.doprint(d.dropped)}")
    return f"def dropped({d.density.variable}):\n{line}"


def _docstring(d: Derivation) -> str:
    text = d.text().replace("\\", "\\\\")
    return f'"""{text}\n"""'


def _function(name, arguments, exprs, d: Derivation, printer: TorchPrinter, doc: str) -> str:
    assignments, results = share(exprs, d.where)
    lines = [printer.assign(symbol, e) for symbol, e in assignments]
    texts = [result_text(e, d.outputs[0], printer) for e in results]
    lines.append("return " + ", ".join(texts))
    body = "\n".join(_wrap(line) for line in lines)
    return f'def {name}({arguments}):\n    """{doc}"""\n{body}'


def _fitted(text: str) -> str:
    """The text of a special function, its comments broken to the width of the file."""
    lines = []
    for line in text.splitlines():
        if len(line) > WIDTH and line.lstrip().startswith("#"):
            start = line[: len(line) - len(line.lstrip())] + "# "
            lines += textwrap.wrap(
                line.strip()[1:], WIDTH, initial_indent=start, subsequent_indent=start
            )
        else:
            lines.append(line)
    return "\n".join(lines)


def _wrap(line: str) -> str:
    """Indent a statement; break one that is too long inside parentheses of its own."""
    if len(line) + 4 <= WIDTH:
        return "    " + line
    head, _, tail = (
        line.partition("= ") if not line.startswith("return") else ("return ", "", line[7:])
    )
    start = head + ("= " if not line.startswith("return") else "")
    broken = textwrap.wrap(tail, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    return "    " + start + "(\n" + "\n".join("        " + b for b in broken) + "\n    )"


LANGUAGES = {"python": _python, "c": _c}
