"""The compiled tier: loss and gradient in one pass over memory, in C.

Where it does not apply (other float types than float32, functions without a C spelling, torch's
transforms, higher derivatives) the default tier computes the same within the same bounds. On CUDA
torch.compile fuses the same expressions.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from functools import cache, cached_property
from threading import Thread

import torch
from torch import Tensor

from lossderiv.autograd import Program, Tensors, torch_function
from lossderiv.codegen.c_kernel import kernel_c
from lossderiv.compiled_rows import EachRow, SummedRows
from lossderiv.eager import run
from lossderiv.errors import SpellingError
from lossderiv.native import load
from lossderiv.native.compiler import CompilerError
from lossderiv.symbolic.records import Derivation

PIECE = 262_144
"""Elements that one call works on. It does not depend on the number of threads: so neither does
the sum, which adds the pieces in their order."""


class CompiledProgram(Program):
    """A :class:`Program` whose kernels are compiled where that is possible."""

    is_compiled = True

    def __init__(self, derivation: Derivation, exact: bool = False):
        super().__init__(derivation, exact)
        self.plain = Program(derivation, exact)

    def _build(self, reduced: bool, gradients: bool) -> Callable[..., Tensors]:
        slopes = self.slopes if gradients else ()
        default = self._default(reduced, gradients)
        try:
            if self.is_vector:
                return (SummedRows if reduced else EachRow)(self, slopes, default, in_pieces)
            loop = "summed" if reduced else "each"
            text = kernel_c(self.kernel, slopes, self.inputs, self.derivation.where, (loop,))
            library = load(text)
        except CompilerError as error:
            _warn(f"compiled=True: the default tier computes the same loss, because {error}.")
            return default
        except SpellingError as error:
            name = self.derivation.density.name
            _warn(f"compiled=True: the default tier computes {name}. {error}")
            return default
        kind = SummedKernel if reduced else EachKernel
        return kind(library, len(self.inputs), len(slopes), default)

    @cached_property
    def fused(self) -> Callable[..., Tensors]:
        """``(*outputs, x) -> (loss of each element, *slopes)`` by torch.compile, for CUDA."""
        exprs = (self.kernel, *self.slopes)
        return torch.compile(torch_function(self.inputs, exprs, self.derivation.where))

    def _on_cuda(self, reduced: bool, gradients: bool, *args: Tensor | float) -> Tensors:
        """The fused function's results as a kernel returns them."""
        *inputs, s = args
        losses, *slopes = self.fused(*inputs)
        slopes = slopes if gradients else []
        return (s * losses.sum(), *(s * g for g in slopes)) if reduced else (losses, *slopes)

    def _default(self, reduced: bool, gradients: bool) -> Callable[..., Tensors]:
        """The kernel of the default tier, called in the same way; on CUDA the fused function."""

        def kernel(*args: Tensor | float) -> Tensors:
            if args[0].is_cuda:
                return self._on_cuda(reduced, gradients, *args)
            if reduced:
                return run(self.plain, args[:-2], args[-2], args[-1], gradients)
            return (self.plain.each if gradients else self.plain.each_value)(*args)

        return kernel


@cache
def _warn(message: str) -> None:
    """Once for each message."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


class _Kernel:
    """A function of a library on tensors ``(*inputs, s)``: it returns losses and slopes.

    Written for small batches, on which Python's own time counts: one loop over the inputs.
    """

    second: type

    def __init__(self, function, inputs: int, slopes: int, default: Callable[..., Tensors]):
        arrays = [ctypes.c_void_p] * (inputs + slopes)
        self.function = function
        self.function.argtypes = [ctypes.c_ssize_t, self.second, *arrays]
        self.slopes, self.default = slopes, default

    def __call__(self, *args: Tensor | float) -> Tensors:
        *inputs, s = args
        pointers = []
        for t in inputs:
            if t.dtype is not torch.float32 or not t.is_cpu:
                return self.default(*args)
            if not t.is_contiguous():
                return self(*(t.contiguous() for t in inputs), s)
            pointers.append(t.data_ptr())
        like, slopes = inputs[0], []
        for _ in range(self.slopes):
            slope = torch.empty_like(like)
            slopes.append(slope)
            pointers.append(slope.data_ptr())
        return (self.losses(like, s, pointers), *slopes)

    def losses(self, like: Tensor, s: float, pointers: list[int]) -> Tensor:
        """Run the function."""
        raise NotImplementedError


class SummedKernel(_Kernel):
    """``s`` times the sum of the losses, and ``s`` times the slopes."""

    second = ctypes.c_float

    def __init__(self, library: ctypes.CDLL, *rest):
        super().__init__(library.summed, *rest)
        self.function.restype = ctypes.c_double

    def losses(self, like: Tensor, s: float, pointers: list[int]) -> Tensor:
        n = like.numel()
        total = self.function(n, s, *pointers) if n <= PIECE else self._in_pieces(n, s, pointers)
        return torch.scalar_tensor(s * total, dtype=torch.float32)

    def _in_pieces(self, n: int, s: float, pointers: list[int]) -> float:
        return in_pieces(
            n, 1, lambda start, size: self.function(size, s, *(p + 4 * start for p in pointers))
        )


class EachKernel(_Kernel):
    """The loss of each element, and the slopes."""

    second = ctypes.c_void_p

    def __init__(self, library: ctypes.CDLL, *rest):
        super().__init__(library.each, *rest)
        self.function.restype = None

    def losses(self, like: Tensor, s: float, pointers: list[int]) -> Tensor:
        losses = torch.empty_like(like)
        self.function(like.numel(), losses.data_ptr(), *pointers)
        return losses


def in_pieces(n: int, entries: int, work: Callable[[int, int], float]) -> float:
    """The sum of ``work(start, size)`` over pieces of ``n`` rows with so many entries each.

    The pieces are dealt out to torch's number of threads.
    """
    piece = max(1, PIECE // entries)
    if n <= piece:
        return work(0, n)
    starts = range(0, n, piece)
    totals = [0.0] * len(starts)

    def share(first: int, step: int) -> None:
        for k in range(first, len(starts), step):
            totals[k] = work(starts[k], min(piece, n - starts[k]))

    _on_threads(share, len(starts) // 2)
    return sum(totals)


def _on_threads(work: Callable[[int, int], None], most: int) -> None:
    """``work(k, count)`` on each of ``count`` threads; C does not hold the interpreter's lock."""
    count = max(1, min(torch.get_num_threads(), most))
    others = [Thread(target=work, args=(k, count)) for k in range(1, count)]
    for thread in others:
        thread.start()
    work(0, count)
    for thread in others:
        thread.join()
