"""Loss and gradient over classes in one function, the gradient in the softmax's own buffer."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from lossderiv.codegen.inplace import CONSTANT, unused
from lossderiv.codegen.printer import TorchPrinter, torch_text
from lossderiv.codegen.recording import FLOAT32
from lossderiv.codegen.share import Assignments, share
from lossderiv.symbolic.vectors import Others, Placed, Softmax, Surprisal

# Works in the weights themselves, which lose the target's. A weight that has underflowed has no
# log any more: then the scores are asked; and a GPU, which would have to wait for the answer,
# asks them always. The class axis stays, with length 1, which spares many small operations.
LEFT_OUT = """
def left_out(u, w, at):
    picked = w.gather(-1, at)
    others = w.scatter_(-1, at, torch.zeros_like(picked)).sum(-1, keepdim=True)
    if w.is_cpu and picked.numel() and picked.amin().item() >= torch.finfo(w.dtype).tiny:
        return torch.log(picked, out=picked).neg_(), others
    return torch.logsumexp(u, -1, keepdim=True) - u.gather(-1, at), others
""".strip("\n")

# torch's own takes five times as long where a vector does not fill a register of the processor.
WEIGHTS = """
def softmax(u, out=None):
    if u.shape[-1] >= 16 or u.shape[-1] == 0 or not u.is_cpu:
        return torch.softmax(u, -1, out=out)
    w = torch.sub(u, u.amax(-1, keepdim=True), out=out).exp_()
    return w.div_(w.sum(-1, keepdim=True))
""".strip("\n")


class _InPlace(TorchPrinter):
    """Prints :class:`Placed` as what writes into its vector; its numbers keep the class axis."""

    def __init__(self, at: str):
        super().__init__()
        self.at = at

    def _print_Placed(self, expr):
        weights, i, _, value = expr.args
        return f"{self.vector(weights, i)}.scatter_(-1, {self.at}, {self._print(value)})"


def vector_kernel_text(
    name: str,
    value: sp.Expr,
    gradients: Sequence[sp.Expr],
    inputs: Sequence[str],
    where: Assignments,
    reduced: bool,
) -> tuple[str, dict[str, str]]:
    """As :func:`lossderiv.codegen.inplace.kernel_text`, for a loss over classes; and the special
    functions that it calls."""
    s, zero, w, q, r, at = (unused(n, inputs) for n in ("s", "zero", "w", "q", "r", "at"))
    into = [unused(f"slope{k}", inputs) for k in range(len(gradients))]
    found = _leaves_target_out(value, gradients)
    printer, lines = TorchPrinter(inputs[-1], inputs[0]) if found is None else _InPlace(at), []
    if found is not None:
        surprisal, others = found
        weights, i, x = others.args
        scores = printer.vector(*weights.args)
        lines = [
            f"{w} = softmax({scores}{f', out={into[0]}' if into else ''})",
            f"{at} = {x}.unsqueeze(-1)",
            f"{q}, {r} = left_out({scores}, {w}, {at})",
        ]
        printer.used |= {"softmax": WEIGHTS, "left_out": LEFT_OUT}
        short = {
            surprisal: sp.Symbol(q, real=True),
            others: sp.Symbol(r, real=True),
            weights: sp.IndexedBase(w, real=True)[i],
        }
        value, *gradients = (e.xreplace(short) for e in (value, *gradients))
    assignments, (value, *gradients) = share([value, *gradients], where)
    lines += [printer.assign(symbol, e) for symbol, e in assignments]
    loss, *slopes = (torch_text(e, printer) for e in (value, *gradients))
    if reduced:
        out = f", out={w}" if found else ""
        terms = [f"({loss}).sum(), alpha={s}", *(f"{g}, alpha={s}{out}" for g in slopes)]
        loss, *slopes = (f"torch.add({zero}, {term})" for term in terms)
    elif found:
        loss = f"({loss}).squeeze(-1)"
    arguments = ", ".join([*inputs, s, *(f"{n}=None" for n in into)])
    lines += [f"value = {loss}", f"return {', '.join(['value', *slopes])},"]
    head = [f"{zero} = {CONSTANT.format(0.0, FLOAT32)}", f"def {name}({arguments}):"]
    return "\n".join([*head, *(f"    {line}" for line in lines)]), printer.used


def _leaves_target_out(
    value: sp.Expr, gradients: Sequence[sp.Expr]
) -> tuple[Surprisal, Others] | None:
    """The two numbers that a loss takes from its only softmax, whose buffer may then be used.

    The loss must be made of those two numbers, and the gradient, if asked for, of the weights with
    the target's entry replaced by something made of them.
    """
    surprisals, rests = value.atoms(Surprisal), value.atoms(Others)
    if not (len(surprisals) == len(rests) == 1 and len(gradients) <= 1):
        return None
    (surprisal,), (others,) = surprisals, rests
    weights = others.args[0]
    if not isinstance(weights, Softmax) or surprisal.args[1:] != others.args:
        return None
    numbers = {surprisal: sp.Integer(1), others: sp.Integer(1)}
    made_of_them = [value]
    for g in gradients:
        if not (isinstance(g, Placed) and g.args[:3] == others.args):
            return None
        made_of_them.append(g.args[3])
    if any(e.xreplace(numbers).free_symbols for e in made_of_them):
        return None
    return surprisal, others
