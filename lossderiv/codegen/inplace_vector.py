"""Loss and gradient of a family of vectors in one function."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from lossderiv.codegen.inplace import CPU, constant_text, unused
from lossderiv.codegen.inplace_softmax import softmax_kernel_text
from lossderiv.codegen.printer import TorchPrinter, torch_text
from lossderiv.codegen.recording import FLOAT32
from lossderiv.codegen.share import Assignments, share


def vector_kernel_text(
    name: str,
    value: sp.Expr,
    gradients: Sequence[sp.Expr],
    inputs: Sequence[str],
    where: Assignments,
    reduced: bool,
    device: str = CPU,
) -> tuple[str, dict[str, str]]:
    """As :func:`lossderiv.codegen.inplace.kernel_text`, for outputs or data that are vectors."""
    found = softmax_kernel_text(name, value, gradients, inputs, reduced)
    if found is not None:
        return found
    s, zero = (unused(n, inputs) for n in ("s", "zero"))
    into = [unused(f"slope{k}", inputs) for k in range(len(gradients))]
    printer = TorchPrinter(inputs[-1], inputs[0])
    assignments, (value, *gradients) = share([value, *gradients], where)
    lines = [printer.assign(symbol, e) for symbol, e in assignments]
    loss, *slopes = (torch_text(e, printer) for e in (value, *gradients))
    if reduced:
        terms = [f"({loss}).sum()", *slopes]
        loss, *slopes = (f"torch.add({zero}, {term}, alpha={s})" for term in terms)
    arguments = ", ".join([*inputs, s, *(f"{n}=None" for n in into)])
    lines += [f"value = {loss}", f"return {', '.join(['value', *slopes])},"]
    head = [constant_text(zero, 0.0, FLOAT32, device), f"def {name}({arguments}):"]
    return "\n".join([*head, *(f"    {line}" for line in lines)]), printer.used
