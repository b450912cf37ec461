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
        self.domains = [d.context.domains[o] for o in d.context.outputs]
        fixed = self.domains[0].length
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
        if x.dtype is not self.target or not x.is_cpu or not x.numel():
            return self.default(*args)
        places = []
        for o in outputs:
            if o.dtype is not torch.float32 or not o.is_cpu:
                return self.default(*args)
            if not (o.is_contiguous() and x.is_contiguous()):
                return self(*(t.contiguous() for t in (*outputs, x)), s)
            places.append(o.data_ptr())
        places.append(x.data_ptr())
        like = outputs[0]
        entries = like.shape[-1]
        rows = like.numel() // entries
        if self.classes and self.refused(rows, entries, places[-1]) < rows:
            check_target(x, self.data, self.name, entries)
        slopes = [torch.empty_like(o) for o in outputs[: self.slopes]]
        places += [slope.data_ptr() for slope in slopes]
        return (self.losses(rows, entries, s, places, like), *slopes)

    def steps(self, entries: int) -> list[int]:
        """How many bytes a row takes in each array."""
        target = 8 if self.classes else 4 * (entries if self.vectors else 1)
        outputs = [4 * domain.width(entries) for domain in self.domains]
        return [*outputs, target, *outputs[: self.slopes]]

    def sizes(self, rows: int, entries: int) -> tuple[int, ...]:
        """How many rows, and how many entries in each if the text does not know it."""
        return (rows,) if self.fixed else (rows, entries)

    def work(self, entries: int) -> Tensor:
        """Room for what waits between loops."""
        return torch.empty(self.arrays * max(BLOCK, entries))


class SummedRows(RowKernel):
    """``s`` times the sum of the losses, and ``s`` times the slopes."""

    loop, last, result = "summed", ctypes.c_float, ctypes.c_double

    def losses(self, rows, entries, s, places, like) -> Tensor:
        steps = self.steps(entries)

        def some(start: int, size: int) -> float:
            at = [p + start * step for p, step in zip(places, steps, strict=True)]
            work = self.work(entries)
            return self.function(*self.sizes(size, entries), work.data_ptr(), s, *at)

        total = self.deal(rows, entries, some)
        return torch.scalar_tensor(s * total, dtype=torch.float32)


class EachRow(RowKernel):
    """The loss of each row, and the slopes."""

    loop, last, result = "each", ctypes.c_void_p, None

    def losses(self, rows, entries, s, places, like) -> Tensor:
        losses, work = like.new_empty(like.shape[:-1]), self.work(entries)
        sizes = self.sizes(rows, entries)
        self.function(*sizes, work.data_ptr(), losses.data_ptr(), *places)
        return losses
