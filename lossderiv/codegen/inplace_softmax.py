"""Cross-entropy and its gradient in one function, the gradient in the softmax's own buffer."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from lossderiv.codegen.inplace import unused
from lossderiv.codegen.printer import TorchPrinter
from lossderiv.special_vectors import against_all
from lossderiv.symbolic.vectors import Others, Placed, Softmax, Surprisal

# Of few classes and ordinary scores, the scores' exponentials are the weights but for a factor,
# and those beside the target's give value and gradient without a difference: log1p(others / own).
# (They are added by mv, in half the time of sum; autocast, which would round @, leaves it alone.)
# Else 1 - p loses digits only where p is above one half, and there alone -log p is small: of those
# rows the other weights are added up; of all where those are many, or looking takes longer. A
# weight that has underflowed has no log any more: then the scores are asked; and a GPU, which
# would have to wait for the answer, asks them always. The class axis stays, with length 1, which
# spares many small operations.
LARGE, WIDE = 65_536, 32
"""From so many scores, of so many classes, on it pays to look."""
ORDINARY = 40.0
"""Scores up to here have exponentials whose quotients neither overflow nor underflow."""

WEIGHED = f"""
def weighed(u, at, out):
    if u.is_cpu and u.numel() > 0 and u.shape[-1] < {WIDE}:
        least, most = torch.aminmax(u)
        if -{ORDINARY} <= least.item() and most.item() <= {ORDINARY}:
            w = torch.exp(u, out=out)
            own = w.gather(-1, at)
            rows = w.scatter_(-1, at, torch.zeros_like(own)).reshape(-1, w.shape[-1])
            others = torch.mv(rows, w.new_ones(w.shape[-1])).reshape(own.shape)
            log_p = torch.div(others, own).log1p_().neg_()
            share = own.add_(others).reciprocal_()
            return log_p, w, share, others.mul_(share).neg_()
    w = narrow.softmax(u, out=out)
    log_p, rest = picked(u, w, at)
    return log_p, w, None, rest


def placed(w, at, share, rest, s):
    if share is None:
        return w.scatter_(-1, at, rest).mul_(s)
    return w.mul_(share.mul_(s)).scatter_(-1, at, rest.mul_(s))


def picked(u, w, at):
    p = w.gather(-1, at)
    asked = p.is_cpu and p.numel() > 0
    least, most = (b.item() for b in torch.aminmax(p)) if asked else (0.0, 1.0)
    if least >= torch.finfo(p.dtype).tiny:
        log_p = torch.log(p)
    else:
        log_p = u.gather(-1, at) - torch.logsumexp(u, -1, keepdim=True)
    large = asked and w.numel() >= {LARGE} and w.shape[-1] >= {WIDE}
    if large and most <= 0.5:
        return log_p, p.sub_(1.0)
    if not large or p.mean().item() > 0.25:
        others = w.scatter_(-1, at, torch.zeros_like(p)).sum(-1, keepdim=True)
        above = torch.clamp_max(log_p + 0.6931471805599453, 0.0)
        return above + torch.log1p(-torch.clamp_max(others, 0.5)), others.neg_()
    lead = (p > 0.5).flatten().nonzero().squeeze(-1)
    few, at = (t.reshape(p.numel(), -1).index_select(0, lead) for t in (w, at))
    others = few.scatter_(-1, at, 0.0).sum(-1, keepdim=True)
    log_p.view(-1, 1).index_copy_(0, lead, torch.log1p(-others))
    p.sub_(1.0).view(-1, 1).index_copy_(0, lead, others.neg_())
    return log_p, p
""".strip("\n")


def softmax_kernel_text(
    name: str,
    value: sp.Expr,
    gradients: Sequence[sp.Expr],
    inputs: Sequence[str],
    reduced: bool,
) -> tuple[str, dict[str, str]] | None:
    """As :func:`lossderiv.codegen.inplace.kernel_text`, if the loss is ``-log p`` of the target's
    softmax weight ``p`` and the gradient, if asked for, the weights less 1 at the target; else
    ``None``."""
    found = next(iter(value.atoms(Surprisal)), None)
    if found is None:
        return None
    body, weights, i, x = found.args
    others = Others(weights, i, x)
    if not isinstance(weights, Softmax) or weights.args[0] != body:
        return None
    if value != against_all(found, others):
        return None
    if any(g != Placed(weights, i, x, -others) for g in gradients):
        return None
    printer = TorchPrinter()
    scores = printer.vector(body, i)
    names = (unused(n, inputs) for n in ("s", "w", "at", "log_p", "share", "rest"))
    s, w, at, log_p, share, rest = names
    into = [unused(f"slope{k}", inputs) for k in range(len(gradients))]
    loss = f"torch.mul({log_p}.sum(), -{s})" if reduced else f"{log_p}.neg().squeeze(-1)"
    by = s if reduced else "1.0"
    slopes = [f"placed({w}, {at}, {share}, {rest}, {by})" for _ in gradients]
    lines = [
        f"def {name}({', '.join([*inputs, s, *(f'{n}=None' for n in into)])}):",
        f"    {at} = {x}.unsqueeze(-1)",
        f"    {log_p}, {w}, {share}, {rest} = weighed({scores}, {at}, {next(iter(into), None)})",
        f"    return {', '.join([loss, *slopes])},",
    ]
    return "\n".join(lines), printer.used | {"weighed": WEIGHED}
