"""A derivation as differentiable torch functions.

Three tiers compute the same expressions. *Eager* (:mod:`lossderiv.eager`): one generated kernel
computes loss and gradient in place, in the forward pass. *Transformed* (``torch.func``, forward
mode, double backward): a tower of nodes, each an expression whose derivatives are derived
symbolically when first asked for. *Traced* (``torch.compile``): the readable source, with its
gradient as the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property

import sympy as sp
import torch

from lossderiv import narrow
from lossderiv.codegen.inplace import kernel_text, special_function_text
from lossderiv.codegen.inplace_vector import vector_kernel_text
from lossderiv.codegen.printer import TorchPrinter, result_text
from lossderiv.codegen.share import share
from lossderiv.select import select
from lossderiv.special import SPECIAL
from lossderiv.symbolic.derive import slope
from lossderiv.symbolic.functions import Special
from lossderiv.symbolic.records import Derivation
from lossderiv.symbolic.stabilise import stabilise
from lossderiv.symbolic.triangular import MATRIX
from lossderiv.symbolic.vectors import EACH, ENTRY, sum_over

Tensors = tuple[torch.Tensor, ...]


def torch_function(
    arguments: list[str], exprs: tuple[sp.Expr, ...], where
) -> Callable[..., Tensors]:
    """``sympy.lambdify`` with our printer: the expressions as one torch function.

    ``inspect.getsource`` of the result shows its code.
    """
    printer = TorchPrinter(arguments[-1], like=arguments[0])
    assignments, results = share(exprs, where)
    # Text first, because a name must be known to be curved before a sum that uses it is ordered.
    written = [printer.assign(s, e).split(" = ", 1) for s, e in assignments]
    lines = [(sp.Symbol(name), sp.Symbol(text)) for name, text in written]
    texts = [sp.Symbol(result_text(e, arguments[0], printer)) for e in results]
    names = [sp.Symbol(a) for a in arguments]
    return sp.lambdify(
        names,
        texts,
        modules=[_helpers(printer.used)],
        printer=_Verbatim(),
        cse=lambda _: (lines, texts),
    )


class _Verbatim(TorchPrinter):
    """Prints the ready-made text that :func:`torch_function` hands over."""

    def doprint(self, expr, assign_to=None):
        if isinstance(expr, list | tuple):
            return "(" + ", ".join(str(e) for e in expr) + ",)"
        return str(expr)


def _helpers(texts: dict[str, str]) -> dict[str, object]:
    """The special functions' own text, executed once into a namespace."""
    space: dict[str, object] = {"torch": torch}
    for name, text in texts.items():
        exec(compile(text, f"<special function {name}>", "exec"), space)
    return space


QUICKER = {
    "torch.where(": "select(",
    "torch.softmax(": "narrow.softmax(",
    "torch.log_softmax(": "narrow.log_softmax(",
}
"""What a kernel calls instead of torch's own."""


def _helpers_of_kernel(texts: dict[str, str]) -> dict[str, object]:
    """As :func:`_helpers`, in what is quicker on a CPU."""
    for call, quicker in QUICKER.items():
        texts = {name: text.replace(call, quicker) for name, text in texts.items()}
    space = _helpers(texts)
    space |= {"select": select, "narrow": narrow}
    return space


def _in_buffers(names: Iterable[str], dtype: str, device: str) -> dict[str, object]:
    """Special functions of numbers, working in buffers."""
    found = {}
    for name in names:
        own = {"torch": torch, "select": select}  # the constants of each are named alike
        text = special_function_text(name, dtype, device)
        exec(compile(text, f"<kernel of {name}>", "exec"), own)
        found[name] = own[name]
    return found


class Node:
    """An expression in the raw outputs and the target, differentiable to any order.

    The derivative in an input is another node, derived symbolically and stabilised by the same
    rules. Where an expression has no better derivative than its spelling's own, ``direct`` is
    true and torch differentiates the spelling.
    """

    def __init__(self, expr: sp.Expr, derivation: Derivation):
        self.expr = expr
        self.derivation = derivation
        self._partials: dict[int, Node | None] = {}

    @cached_property
    def inputs(self) -> list[str]:
        d = self.derivation
        return [*d.outputs, str(d.density.variable)]

    @cached_property
    def function(self) -> Callable[..., Tensors]:
        d = self.derivation
        steps = stabilise(self.expr, d.computing, d.context, d.where)
        kernel = steps[-1].after if steps else self.expr
        return torch_function(self.inputs, (kernel,), d.where)

    def partial(self, k: int) -> Node | None:
        """The derivative in input ``k``; ``None`` where it is zero."""
        if k not in self._partials:
            d = self.derivation
            by = [*d.context.outputs, d.density.variable][k]
            raw = slope(self.expr, by, d.where)
            steps = stabilise(raw, d.reading, d.context, d.where)
            expr = steps[-1].after if steps else raw
            self._partials[k] = None if expr == 0 else Node(expr, d)
        return self._partials[k]

    @cached_property
    def direct(self) -> bool:
        """Whether torch must differentiate the spelling: some function has no slope of its own."""
        return any(slope is None for f in self.expr.atoms(Special) for slope in type(f).slopes)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        if self.expr.is_number:
            return float(self.expr.evalf(30)) + 0.0 * inputs[0]  # with a graph, as any other
        if self.direct:
            return self.function(*inputs)[0]
        return _Smooth.apply(self, *inputs)


class _Smooth(torch.autograd.Function):
    """A node under torch's transforms: backward, forward mode and vmap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(node: Node, *inputs: torch.Tensor) -> torch.Tensor:
        return node.function(*inputs)[0]

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.node = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        inputs, slopes = ctx.saved_tensors, []
        for k, wanted in enumerate(ctx.needs_input_grad[1:]):
            part = ctx.node.partial(k) if wanted else None
            flat = torch.zeros_like(inputs[k]) if wanted else None
            slopes.append(flat if part is None else grad * part(*inputs))
        return (None, *slopes)

    @staticmethod
    def jvp(ctx, _, *tangents: torch.Tensor | None) -> torch.Tensor:
        inputs = ctx.saved_tensors
        total = torch.zeros_like(inputs[0])
        for k, tangent in enumerate(tangents):
            part = None if tangent is None else ctx.node.partial(k)
            if part is not None:
                total = total + tangent * part(*inputs)
        return total


class _SmoothVector(torch.autograd.Function):
    """A loss of vectors under torch's transforms: its own gradient, further ones by torch."""

    generate_vmap_rule = True

    @staticmethod
    def forward(program: Program, x: torch.Tensor, *outputs: torch.Tensor) -> torch.Tensor:
        return program.value(*outputs, x)[0]

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.program = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        x, *outputs = ctx.saved_tensors
        slopes = ctx.program.gradient(*outputs, x)
        in_x = None
        if ctx.needs_input_grad[1]:
            weight = grad[..., None] if ctx.program.takes_vectors else grad
            in_x = weight * ctx.program.in_target(*outputs, x)[0]
        return (None, in_x, *(grad[..., None] * g for g in slopes))

    @staticmethod
    def jvp(ctx, _, along_x, *tangents: torch.Tensor | None) -> torch.Tensor:
        x, *outputs = ctx.saved_tensors
        slopes = ctx.program.gradient(*outputs, x)
        parts = [(t * g).sum(-1) for t, g in zip(tangents, slopes, strict=True) if t is not None]
        if along_x is not None:
            part = along_x * ctx.program.in_target(*outputs, x)[0]
            parts.append(part.sum(-1) if ctx.program.takes_vectors else part)
        return sum(parts[1:], parts[0])


class Program:
    """Everything that one derivation compiles to; built when first needed.

    ``exact`` takes the negative log-likelihood itself, constants kept, in place of the loss.
    """

    is_compiled = False  # whether its kernels go through memory once, however large it is

    def __init__(self, derivation: Derivation, exact: bool = False):
        d = derivation
        self.derivation = d
        self.root = d.open_exact if exact else d.open_loss
        self.kernel = d.exact_kernel if exact else d.kernel
        by = d.scale if exact else 1
        self.slopes = tuple(by * g for g in d.gradient_kernel.values())
        self.inputs = [*derivation.outputs, str(derivation.density.variable)]
        self.is_vector = derivation.has_vectors
        self.takes_vectors = derivation.density.data.is_vector
        self.takes_classes = derivation.density.data.shape == "category"

    @cached_property
    def node(self) -> Node:
        """The loss as the root of the tower."""
        return Node(self.root, self.derivation)

    def transformed(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The loss of each element, for torch's transforms; inputs are outputs and target."""
        if self.is_vector:
            *outputs, x = inputs
            return _SmoothVector.apply(self, x, *outputs)
        return self.node(*inputs)

    @cached_property
    def value(self) -> Callable[..., Tensors]:
        """``(*outputs, x) -> (loss of each element,)``."""
        return torch_function(self.inputs, (self.kernel,), self.derivation.where)

    @cached_property
    def gradient(self) -> Callable[..., Tensors]:
        """``(*outputs, x) -> slopes``."""
        return torch_function(self.inputs, self.slopes, self.derivation.where)

    @cached_property
    def in_target(self) -> Callable[..., Tensors]:
        """``(*outputs, x) -> (slope in the target,)``: for each entry of one that is a vector."""
        d, x = self.derivation, self.derivation.density.variable
        raw = slope(self.root, x[ENTRY] if self.takes_vectors else x, d.where)
        steps = stabilise(raw, (*d.reading, *d.computing), d.context, d.where)
        expr = steps[-1].after if steps else raw
        if not self.takes_vectors:  # it moves every component
            expr = sum_over(expr.xreplace({ENTRY: EACH}), EACH)
        return torch_function(self.inputs, (expr,), d.where)

    @cached_property
    def each(self) -> Callable[..., Tensors]:
        """In-place kernel: loss of each element, and the slopes."""
        return self._build(reduced=False, gradients=True)

    @cached_property
    def each_value(self) -> Callable[..., Tensors]:
        """In-place kernel: loss of each element alone."""
        return self._build(reduced=False, gradients=False)

    @cached_property
    def summed(self) -> Callable[..., Tensors]:
        """In-place kernel: ``s`` times the sum of the losses, and its slopes."""
        return self._build(reduced=True, gradients=True)

    @cached_property
    def summed_value(self) -> Callable[..., Tensors]:
        """In-place kernel: ``s`` times the sum of the losses alone."""
        return self._build(reduced=True, gradients=False)

    def _build(self, reduced: bool, gradients: bool) -> Callable[..., Tensors]:
        """See :func:`lossderiv.codegen.inplace.kernel_text`: one kernel for each type of number
        and device."""

        @cache
        def built(dtype: torch.dtype, device: torch.device) -> Callable[..., Tensors]:
            return self._kernel(reduced, gradients, str(dtype), str(device))

        def kernel(first, *rest):
            return built(first.dtype, first.device)(first, *rest)

        return kernel

    def _kernel(
        self, reduced: bool, gradients: bool, dtype: str, device: str
    ) -> Callable[..., Tensors]:
        d = self.derivation
        slopes = self.slopes if gradients else ()
        given = ("kernel", self.kernel, slopes, self.inputs, d.where, reduced)
        if self.is_vector:
            text, used = vector_kernel_text(*given, device)
            quick = _in_buffers(used.keys() & SPECIAL.keys(), dtype, device)
        else:
            text, used = kernel_text(*given, dtype, device)
            quick = {}
        space = _helpers_of_kernel(used)
        space |= quick
        exec(compile(text, f"<kernel of {d.density.name}>", "exec"), space)
        kernel = space["kernel"]
        kernel.source = text
        return kernel

    @cached_property
    def traced(self) -> type[torch.autograd.Function]:
        """A function of its own for each program, so that dynamo's caches stay apart."""
        value, gradient = self.value, self.gradient
        vector = self.is_vector

        class Traced(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, *outputs):
                ctx.save_for_backward(x, *outputs)
                return value(*outputs, x)[0]

            @staticmethod
            def backward(ctx, grad):
                x, *outputs = ctx.saved_tensors
                weight = grad[..., None] if vector else grad
                return (None, *(weight * g for g in gradient(*outputs, x)))

        return Traced


def special_function(name: str) -> Callable[..., torch.Tensor]:
    """The torch function of a row of the table of special functions."""
    printer = TorchPrinter()
    arguments = sp.symbols(f"u:{len(SPECIAL[name].slopes)}", real=True)
    printer.doprint(SPECIAL[name](*arguments))
    return _helpers(printer.used)[name]


def triangular_matrix(diagonal: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """The lower-triangular matrix of a diagonal and the entries below it, row by row."""
    return _helpers({"triangular": MATRIX})["triangular"](diagonal, lower)


def inverse_links() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Link name -> the torch function from a raw output to the parameter."""
    return {
        "identity": lambda eta: eta,
        "exp": torch.exp,
        "softplus": special_function("softplus"),
        "logistic": torch.sigmoid,
        "softmax": lambda eta: torch.softmax(eta, -1),
    }
