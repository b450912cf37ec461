"""Compiled kernels whose elements are rows of entries: see :mod:`lossderiv.codegen.c_rows`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from lossderiv.autograd import Program, Tensors
from lossderiv.codegen.c_kernel import BLOCK
from lossderiv.codegen.c_rows import rows_of
from lossderiv.native import load
from lossderiv.targets import check_target

Deal = Callable[[int, int, Callable[[int, int], float]], float]


class RowKernel:
    """A function of a library on tensors ``(*outputs, x, s)``: losses of rows, and slopes.

    The outputs' last axis is that of a row's entries; a target of classes has whole numbers, which
    are looked at first, for the function reads where they point.
    """

    loop: str

    def __init__(self, program: Program, slopes, default: Callable[..., Tensors], deal: Deal):
        d = program.derivation
        self.data, self.name = d.density.data, d.density.name
        self.classes, self.vectors = self.data.shape == "category", program.takes_vectors
        self.target = torch.int64 if self.classes else torch.float32
        found = rows_of(d, program.kernel, slopes, (self.loop,))
        fixed = d.context.domains[d.context.outputs[0]].length
        library = load(found.text)
        self.function = getattr(library, self.loop)
        count = ctypes.c_ssize_t
        arrays = [ctypes.c_void_p] * (len(program.inputs) + len(slopes))
        sizes = [count] if fixed else [count, count]
        self.function.argtypes = [*sizes, ctypes.c_void_p, self.last, *arrays]
        self.function.restype = self.result
        if self.classes:
            self.refused = library.refused
            self.refused.argtypes = [count, count, ctypes.c_void_p]
            self.refused.restype = count
        self.fixed, self.arrays, self.slopes = fixed, found.work, len(slopes)
        self.default, self.deal = default, deal

    def __call__(self, *args: Tensor | float) -> Tensors:
        *outputs, x, s = args
        plain = x.is_cpu and x.numel() and x.dtype is self.target
        if not plain or not all(o.dtype is torch.float32 and o.is_cpu for o in outputs):
            return self.default(*args)
        outputs, x = [o.contiguous() for o in outputs], x.contiguous()
        entries = outputs[0].shape[-1]
        rows = outputs[0].numel() // entries
        if self.classes and self.refused(rows, entries, x.data_ptr()) < rows:
            check_target(x, self.data, self.name, entries)
        slopes = [torch.empty_like(o) for o in outputs[: self.slopes]]
        sizes = [4 * entries] * len(outputs)
        sizes += [8 if self.classes else 4 * (entries if self.vectors else 1)]
        places = [t.data_ptr() for t in (*outputs, x, *slopes)]
        steps = [*sizes, *[4 * entries] * len(slopes)]
        return (self.losses(rows, entries, s, places, steps, outputs[0]), *slopes)

    def sizes(self, rows: int, entries: int) -> tuple[int, ...]:
        """How many rows, and how many entries in each if the text does not know it."""
        return (rows,) if self.fixed else (rows, entries)

    def work(self, entries: int) -> Tensor:
        """Room for what waits between loops."""
        return torch.empty(self.arrays * max(BLOCK, entries))


class SummedRows(RowKernel):
    """``s`` times the sum of the losses, and ``s`` times the slopes."""

    loop, last, result = "summed", ctypes.c_float, ctypes.c_double

    def losses(self, rows, entries, s, places, steps, like) -> Tensor:
        def some(start: int, size: int) -> float:
            at = [p + start * step for p, step in zip(places, steps, strict=True)]
            work = self.work(entries)
            return self.function(*self.sizes(size, entries), work.data_ptr(), s, *at)

        total = self.deal(rows, entries, some)
        return torch.scalar_tensor(s * total, dtype=torch.float32)


class EachRow(RowKernel):
    """The loss of each row, and the slopes."""

    loop, last, result = "each", ctypes.c_void_p, None

    def losses(self, rows, entries, s, places, steps, like) -> Tensor:
        losses, work = like.new_empty(like.shape[:-1]), self.work(entries)
        sizes = self.sizes(rows, entries)
        self.function(*sizes, work.data_ptr(), losses.data_ptr(), *places)
        return losses
