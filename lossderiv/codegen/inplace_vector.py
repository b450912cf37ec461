"""Loss and gradient over classes in one function, the gradient in the softmax's own buffer."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from lossderiv.codegen.inplace import unused
from lossderiv.codegen.printer import TorchPrinter, torch_text
from lossderiv.codegen.share import Assignments, share


class _IntoBuffer(TorchPrinter):
    """Prints a gradient ``scalar * weights`` with one entry replaced into the weights' buffer.

    Sound because the gradient is the last thing that is computed, after the loss itself.
    """

    def __init__(self, scale: str):
        super().__init__()
        self.scale = scale

    def _print_Placed(self, expr):
        body, i, x, value = expr.args
        buffers = [f for f in sp.Mul.make_args(body) if _is_buffer(f, i)]
        if len(buffers) != 1:
            return f"({super()._print_Placed(expr)}){self.scale}"
        name = buffers[0].base.label
        factor = self._print(sp.Mul(*(f for f in sp.Mul.make_args(body) if f != buffers[0])))
        index = f"{self._print(x)}[..., None]"
        return (
            f"torch.mul({name}, (({factor}){self.scale})[..., None], out={name})"
            f".scatter_(-1, {index}, (({self._print(value)}){self.scale})[..., None])"
        )


def _is_buffer(factor: sp.Expr, i: sp.Idx) -> bool:
    """Whether ``factor`` is a vector that the kernel itself has made (a shared name)."""
    named = isinstance(factor, sp.Indexed) and factor.indices == (i,)
    return named and str(factor.base.label).startswith("t")


def vector_kernel_text(
    name: str,
    value: sp.Expr,
    gradients: Sequence[sp.Expr],
    inputs: Sequence[str],
    where: Assignments,
    reduced: bool,
) -> tuple[str, dict[str, str]]:
    """As :func:`lossderiv.codegen.inplace.kernel_text`, for a loss over classes."""
    s = unused("s", inputs)
    printer = _IntoBuffer(f" * {s}" if reduced else "")
    assignments, results = share([value, *gradients], where)
    lines = [printer.assign(symbol, e) for symbol, e in assignments]
    texts = [torch_text(e, printer) for e in results]
    if reduced:
        texts[0] = f"({texts[0]}).sum() * {s}"
    body = [*lines, f"value = {texts[0]}", f"return {', '.join(['value', *texts[1:]])},"]
    into = [f"{unused(f'slope{k}', inputs)}=None" for k in range(len(gradients))]
    head = f"def {name}({', '.join([*inputs, s, *into])}):"
    return "\n".join([head, *(f"    {line}" for line in body)]), printer.used
