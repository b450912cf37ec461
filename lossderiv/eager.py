"""The default tier: one generated kernel computes loss and gradient together, in forward.

Backward gives the slopes away and keeps no reference: so torch takes one as a leaf's ``.grad``
without a copy, and who changes it changes nothing here. A second backward computes them again.

Large tensors are worked through in blocks that stay in the processor's cache, each gradient
written into its place; a sum adds float32 block sums in double precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossderiv.autograd import Program

BLOCK = 262_144
"""Elements of a block for each thread: a megabyte in float32."""
OF_CLASSES = 1_048_576
"""As many scores of classes: what takes one number for each row costs by the number of blocks."""


class Summed(torch.autograd.Function):
    """``s`` times the sum of the losses; backward hands out what forward has computed."""

    @staticmethod
    def forward(ctx, program: Program, s: float, x: Tensor, *outputs: Tensor) -> Tensor:
        if True not in ctx.needs_input_grad:
            return run(program, outputs, x, s, slopes=False)[0]
        value, *ctx.slopes = run(program, outputs, x, s, slopes=True)
        ctx.program, ctx.s = program, s
        ctx.save_for_backward(x, *outputs)
        return value

    @staticmethod
    def backward(ctx, grad: Tensor):
        if torch.is_grad_enabled():  # a graph of the gradient is wanted: derive it, do not reuse
            slopes = slopes_with_graph(ctx.program, grad * ctx.s, *ctx.saved_tensors)
            return (None, None, None, *slopes)
        slopes, ctx.slopes = ctx.slopes, None
        if slopes is None:  # given away before
            x, *outputs = ctx.saved_tensors
            _, *slopes = run(ctx.program, outputs, x, ctx.s, slopes=True)
        if grad.is_cpu and grad.item() == 1.0:
            return (None, None, None, *slopes)
        return (None, None, None, *(grad * g for g in slopes))


class Each(torch.autograd.Function):
    """The loss of each element."""

    @staticmethod
    def forward(ctx, program: Program, x: Tensor, *outputs: Tensor) -> Tensor:
        if True not in ctx.needs_input_grad:
            return program.each_value(*outputs, x, 1.0)[0]
        value, *ctx.slopes = program.each(*outputs, x, 1.0)
        ctx.program = program
        ctx.save_for_backward(x, *outputs)
        return value

    @staticmethod
    def backward(ctx, grad: Tensor):
        weight = grad[..., None] if ctx.program.is_vector else grad
        if torch.is_grad_enabled():
            return (None, None, *slopes_with_graph(ctx.program, weight, *ctx.saved_tensors))
        slopes, ctx.slopes = ctx.slopes, None
        if slopes is None:
            x, *outputs = ctx.saved_tensors
            _, *slopes = ctx.program.each(*outputs, x, 1.0)
        return (None, None, *(weight * g for g in slopes))


def slopes_with_graph(
    program: Program, weight: Tensor, x: Tensor, *outputs: Tensor
) -> list[Tensor]:
    """The slopes times ``weight``, differentiable once more."""
    if program.is_vector:
        return [weight * g for g in program.gradient(*outputs, x)]
    parts = [program.node.partial(k) for k in range(len(outputs))]
    slopes = [0.0 * o if p is None else p(*outputs, x) for p, o in zip(parts, outputs, strict=True)]
    return [weight * g for g in slopes]


def run(program: Program, outputs: tuple[Tensor, ...], x: Tensor, s: float, slopes: bool):
    """The program's summed kernel on ``(*outputs, x, s)``, block by block where that is faster."""
    kernel, like = program.summed if slopes else program.summed_value, outputs[0]
    block = OF_CLASSES if program.takes_classes else BLOCK
    if program.is_compiled or like.numel() <= block or not like.is_cpu:
        return kernel(*outputs, x, s)
    batch = x.dim() - program.takes_vectors  # axes that tell one event from another
    if batch == 0:
        return kernel(*outputs, x, s)
    into = [torch.empty_like(o, memory_format=torch.contiguous_format) for o in outputs if slopes]
    tensors = (*outputs, x, *into)
    if all(t.is_contiguous() for t in tensors):  # then a block need not be whole rows
        tensors = tuple(t.view(-1, *t.shape[batch:]) for t in tensors)  # but whole events
    rows = max(1, block * torch.get_num_threads() * len(tensors[0]) // like.numel())
    inputs, total = len(outputs) + 1, 0.0
    for pieces in zip(*(t.split(rows) for t in tensors), strict=True):
        value, *found = kernel(*pieces[:inputs], s, *pieces[inputs:])
        for slope, place in zip(found, pieces[inputs:], strict=True):
            if slope is not place:  # torch could not write there
                place.copy_(slope)
        total += value.item()
    return (like.new_tensor(total), *into)
