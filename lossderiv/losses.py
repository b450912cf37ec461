"""``loss``: a derivation as a torch module. The first file on the road that imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import sympy as sp
import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active as functorch_is_active
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from lossderiv.autograd import Program, inverse_links
from lossderiv.codegen import source
from lossderiv.compiled import CompiledProgram
from lossderiv.composed import State
from lossderiv.derivations import derive
from lossderiv.eager import Each, Summed, run
from lossderiv.errors import ParameterError, ShapeError
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.targets import check_components, check_outputs, check_shapes, check_target

REDUCTIONS = ("mean", "sum", "none")
CONSTANTS = ("drop", "keep")
VALIDATE = ("first", True, False)
KERNEL_TYPES = (torch.float32, torch.float64)

Outputs = Tensor | Sequence[Tensor]


def loss(
    of: str | Density | Derivation,
    *,
    reduction: str = "mean",
    constants: str = "drop",
    validate: bool | str = "first",
    compiled: bool = False,
    links: Mapping[str, str] | None = None,
    **fixed: float,
) -> Loss:
    """The torch loss of a density: its negative log-likelihood in the decoder's raw outputs.

    Parameters
    ----------
    of
        A name from :func:`lossderiv.families`, a :class:`Density` or a :class:`Derivation`.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``, as in ``torch.nn``; in nats for each element.
    constants
        ``"drop"`` leaves out terms that no output moves, ``"keep"`` gives the exact negative
        log-likelihood.
    validate
        ``"first"`` checks the first batch in full and later ones for shapes, ``True`` checks
        every batch, ``False`` none.
    compiled
        ``True`` computes float32 on the CPU in one pass of C (``source(..., language="c")``),
        within the same bounds of accuracy, and on CUDA by ``torch.compile``. The C is compiled when
        first used and kept in ``$LOSSDERIV_CACHE``, or ``~/.cache/lossderiv``. Other float types,
        higher derivatives and ``torch.func`` take the default way; without a C compiler everything
        does, after one warning.
    links, **fixed
        As in :func:`lossderiv.derive`.

    >>> import torch, lossderiv as ld
    >>> loss = ld.loss("bernoulli")
    >>> loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor(0.4100)
    """
    return Loss(
        derive(of, links=links, **fixed),
        reduction=reduction,
        constants=constants,
        validate=validate,
        compiled=compiled,
    )


def _choice(name: str, value: object, allowed: tuple) -> None:
    if not any(value is a or (isinstance(a, str) and value == a) for a in allowed):
        listed = ", ".join(repr(a) for a in allowed)
        raise ParameterError(f"{name}={value!r} is not possible; choose one of {listed}.")


class Loss(nn.Module):
    """A derived loss, called as ``loss(outputs, target)`` like those of ``torch.nn``.

    ``outputs`` is one tensor, or a tuple in the order of :attr:`outputs`. It keeps the
    :attr:`derivation` that it is, and its source text.
    """

    def __init__(
        self,
        derivation: Derivation,
        *,
        reduction: str = "mean",
        constants: str = "drop",
        validate: bool | str = "first",
        compiled: bool = False,
    ):
        super().__init__()
        _choice("reduction", reduction, REDUCTIONS)
        _choice("constants", constants, CONSTANTS)
        _choice("validate", validate, VALIDATE)
        _choice("compiled", compiled, (True, False))
        self.derivation = derivation
        self.reduction, self.constants, self.validate = reduction, constants, validate
        self.compiled, self._seen_first = compiled, False
        self._compile()

    def _compile(self) -> None:
        """Plain attributes, so that torch.compile can trace ``forward``."""
        data = self.derivation.density.data
        kind = CompiledProgram if self.compiled else Program
        self._program = kind(self.derivation, exact=self.constants == "keep")
        self._parts: dict[str, Program] = {}  # of a density that a combinator made
        self._traced = self._program.traced
        self._is_vector = self._program.is_vector
        self._takes_classes = data.shape == "category"
        self._takes_vectors = data.is_vector
        self._event_dims = data.axes
        self._components = self.derivation.context.domains[
            self.derivation.context.outputs[0]
        ].length
        self._harmless = data.typical[0][0] if data.is_vector else data.typical[0]
        self._count = len(self.outputs)
        self._is_mean = self.reduction == "mean"
        self._is_summed = self.reduction != "none"
        self._has_short_way = self._is_summed and self._event_dims <= 1
        self._short_way = self._has_short_way and (
            self.validate is False or (self.validate == "first" and self._seen_first)
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the raw outputs, in order."""
        return self.derivation.outputs

    @property
    def source(self) -> str:
        """Standalone torch source of this loss: see :func:`lossderiv.source`."""
        return source(self.derivation)

    @property
    def dropped(self) -> float | None:
        """The constant left out of each element, in nats.

        ``None`` if it depends on the target, or on how long the target's vectors are.
        """
        constant = self.derivation.dropped
        return float(constant.evalf(30)) if constant.is_number else None

    def extra_repr(self) -> str:
        d = self.derivation
        given = "".join(f", {n}={v}" for n, v in d.fixed.items())
        return f"{d.density.name}{given}, outputs={self.outputs}, reduction={self.reduction!r}"

    def forward(self, input: Outputs, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of ``input`` (raw outputs) for ``target``.

        ``weight`` broadcasts to the target; ``"mean"`` then divides by its sum. An element of
        weight 0 is ignored in value and gradient, whatever its target. Where data are vectors,
        along the last axis, an element is a vector, and weights and losses lack that axis.
        """
        outputs = tuple(input) if isinstance(input, (tuple, list)) else (input,)
        compiling = is_compiling()
        short = self._short_way and weight is None and not compiling
        if short and (n := self._plain_events(outputs, target)):
            s = 1.0 / n if self._is_mean else 1.0
            return Summed.apply(self._program, s, target, *outputs)
        if self._event_dims > 1:
            outputs, target = self._as_one_axis(outputs, target)
        if not compiling:
            self._check(outputs, target, weight)
        if weight is not None:
            target, outputs = self._mask(outputs, target, weight)
        outputs, x, dtype = self._prepare(outputs, target)
        if compiling:
            value = self._traced.apply(x, *outputs)
        elif _transforming(x):
            value = self._program.transformed(*outputs, x)
        elif weight is None and self._is_summed and x.numel():
            s = 1.0 / self._events(x) if self._is_mean else 1.0
            return Summed.apply(self._program, s, x, *outputs).to(dtype)
        else:
            value = Each.apply(self._program, x, *outputs)
        return self._reduce(value, weight).to(dtype)

    def value_and_grad(
        self, input: Outputs, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss and its slope in each raw output, in one pass and without a graph.

        Arguments are those of a call; what they require of autograd is ignored. A slope has its
        output's shape and type.
        """
        given = self._as_tuple(input)
        shapes = [o.shape for o in given]
        if self._event_dims > 1:
            given, target = self._as_one_axis(given, target)
        self._check(given, target, weight)
        outputs, x = tuple(o.detach() for o in given), target.detach()
        if weight is not None:
            x, outputs = self._mask(outputs, x, weight)
        outputs, x, dtype = self._prepare(outputs, x)
        if weight is None and self._is_summed and x.numel():
            s = 1.0 / self._events(x) if self._is_mean else 1.0
            value, *slopes = run(self._program, outputs, x, s, slopes=True)
        else:
            each, *slopes = self._program.each(*outputs, x, 1.0)
            value = self._reduce(each, weight)
            share = torch.ones_like(each) if weight is None else weight.to(each).expand_as(each)
            share = share / share.sum() if self._is_mean else share
            share = share[..., None] if self._is_vector else share
            slopes = [share * g for g in slopes]
        summed = (g.sum_to_size(o.shape).to(o.dtype) for g, o in zip(slopes, given, strict=True))
        shaped = (g.reshape(shape) for g, shape in zip(summed, shapes, strict=True))
        return value.to(dtype), tuple(shaped)

    # What the decoder says -------------------------------------------------------------------

    def split(self, decoder_output: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
        """Cut one tensor with ``len(outputs) * C`` channels along ``dim`` into the outputs.

        For a family of vectors the axis ``dim`` is the one along which they lie; it is moved last.
        A mixture of K takes ``len(outputs) * C * K`` channels: the C channels stay where they are,
        the K components become the last axis.
        """
        count = len(self.outputs)
        if not -decoder_output.dim() <= dim < decoder_output.dim():
            raise ShapeError(
                f"There is no axis {dim} in an output of shape {tuple(decoder_output.shape)}. Say "
                "with dim=... which axis holds the channels."
            )
        if self._event_dims > 1:  # images stay images
            if decoder_output.shape[dim] % count:
                raise self._uncuttable(decoder_output, dim, count)
            return decoder_output.chunk(count, dim)
        axis = dim if dim >= 0 else dim - 1  # where channels stay beside an axis of components
        if self._is_vector:
            decoder_output, dim = decoder_output.movedim(dim, -1), -1
        size = decoder_output.shape[dim]
        if self._takes_vectors:
            return decoder_output.split(self._widths_of(size), dim)
        if self._components and size % (count * self._components) == 0:
            parts = decoder_output.unflatten(-1, (count, -1, self._components)).unbind(-3)
            return tuple(p.movedim(-2, axis) for p in parts)
        unit = count * (self._components or 1)
        if size % unit:
            raise self._uncuttable(decoder_output, dim, unit)
        return decoder_output.chunk(count, dim)

    def theta(self, outputs: Outputs) -> dict[str, Tensor]:
        """The constrained parameters, learned and fixed, by name."""
        outputs = self._as_tuple(outputs)
        check_outputs(outputs, self.outputs)
        given = dict(zip(self.outputs, outputs, strict=True))
        like = next(iter(given.values()))
        learned = {
            n: inverse_links()[link.name](given[f"eta_{n}"])
            for n, link in self.derivation.links.items()
        }
        return {
            n: learned[n]
            if n in learned
            else torch.as_tensor(
                _plain(self.derivation.fixed[n]), dtype=like.dtype, device=like.device
            )
            for n in self.derivation.density.parameters
        }

    def mean(self, outputs: Outputs) -> Tensor:
        """The mean of each pixel's distribution."""
        return self._summary("mean", outputs)

    def mode(self, outputs: Outputs) -> Tensor:
        """The most likely value of each pixel."""
        return self._summary("mode", outputs)

    def sample(self, outputs: Outputs, generator: torch.Generator | None = None) -> Tensor:
        """One draw for each pixel, independent given the outputs."""
        with torch.no_grad():
            return self._summary("sample", outputs, generator=generator)

    def bits_per_dim(self, outputs: Outputs, x: Tensor) -> Tensor:
        """The exact negative log-likelihood, constants kept, in bits for each element of ``x``.

        For a continuous family this is a density's and can be negative; compare it only with
        others on the same scale of ``x``.
        """
        outputs = self._as_tuple(outputs)
        if self._event_dims > 1:
            outputs, x = self._as_one_axis(outputs, x)
        self._check(outputs, x, None)
        outputs, x, _ = self._prepare(outputs, x)
        exact = Program(self.derivation, exact=True)
        numbers = x.shape[-1] if self._takes_vectors else 1
        return Each.apply(exact, x, *outputs).mean() / (numbers * math.log(2))

    # How it is done --------------------------------------------------------------------------

    def _uncuttable(self, decoder_output: Tensor, dim: int, unit: int) -> ShapeError:
        shape = tuple(decoder_output.shape)
        return ShapeError(
            f"Cannot cut {shape[dim]} channels (axis {dim} of {shape}) into {self._count} outputs "
            f"({', '.join(self.outputs)}): the decoder needs a multiple of {unit} channels."
        )

    def _as_one_axis(self, outputs, target) -> tuple[tuple[Tensor, ...], Tensor]:
        """The axes of an event, several, as the last one."""
        check_outputs(outputs, self.outputs)
        n = self._event_dims
        event = target.shape[-n:]
        for name, t in zip((*self.outputs, "the target"), (*outputs, target), strict=True):
            if t.dim() < n or t.shape[-n:] != event:
                raise ShapeError(
                    f"An event of {self.derivation.density.name} is the last {n} axes of the "
                    f"target, {tuple(event)}; {name} has shape {tuple(t.shape)}. Give every output "
                    "the target's last axes."
                )
        return tuple(o.flatten(-n) for o in outputs), target.flatten(-n)

    def _widths_of(self, channels: int) -> list[int]:
        """How many channels each output takes of so many."""
        for entries in range(1, channels + 1):
            widths = self._widths(entries)
            if sum(widths) == channels:
                return widths
        raise ShapeError(
            f"Cannot cut {channels} channels into the outputs {', '.join(self.outputs)}: vectors "
            f"of 2 entries need {sum(self._widths(2))}, of 3 entries {sum(self._widths(3))}."
        )

    def _widths(self, entries: int) -> list[int]:
        """How long each output's vectors are, for a target with so many entries."""
        context = self.derivation.context
        return [context.domains[o].width(entries) for o in context.outputs]

    def _events(self, target: Tensor) -> int:
        """How many data the target holds: numbers, or vectors along the last axis."""
        return target.numel() // target.shape[-1] if self._takes_vectors else target.numel()

    def _as_tuple(self, given: Outputs) -> tuple[Tensor, ...]:
        return tuple(given) if isinstance(given, (tuple, list)) else (given,)

    def _plain_events(self, outputs: tuple[Tensor, ...], target: Tensor) -> int:
        """How many data there are, if the kernel can take these tensors as they are; else 0.

        The common case, told in half a microsecond. Autocast needs no look, since it leaves these
        types alone.
        """
        try:
            if (
                len(outputs) != self._count
                or target.requires_grad
                or functorch_is_active()  # this and the next: _transforming, without the call
                or forward_ad._current_level >= 0
            ):
                return 0
            if self._is_vector:
                return self._plain_rows(outputs, target)
            dtype, shape = target.dtype, target.shape
            for o in outputs:
                if o.dtype is not dtype or o.shape != shape:
                    return 0
            return shape.numel() if dtype in KERNEL_TYPES else 0
        except AttributeError:  # no tensor: the long way says so
            return 0

    def _plain_rows(self, outputs: tuple[Tensor, ...], target: Tensor) -> int:
        """The same where outputs are vectors."""
        dtype, shape = outputs[0].dtype, target.shape
        if target.dtype is not (torch.int64 if self._takes_classes else dtype):
            return 0
        if self._takes_vectors:
            if [o.shape[-1] for o in outputs] != self._widths(shape[-1]):
                return 0
            shape = shape[:-1]
        for o in outputs:
            if o.shape[:-1] != shape or o.dtype is not dtype:
                return 0
            if self._components and o.shape[-1] != self._components:
                return 0
        return shape.numel() if dtype in KERNEL_TYPES else 0

    def _check(self, outputs, target, weight) -> None:
        if self.validate is False:
            return
        vector = self._is_vector
        check_outputs(outputs, self.outputs)
        widths = self._widths if self._takes_vectors else None
        check_shapes(outputs, target, self.outputs, vector, weight, widths)
        if self._components:
            check_components(outputs, self.outputs, self._components)
        if (self.validate == "first" and self._seen_first) or _transforming(target):
            return
        ignored = None if weight is None else weight == 0
        classes = outputs[0].shape[-1] if vector else None
        d = self.derivation.density
        check_target(target, d.data, d.name, classes, ignored)
        self._seen_first = True
        self._short_way = self._has_short_way and self.validate == "first"

    def _mask(self, outputs, target, weight):
        """Where the weight is 0, a harmless target and outputs cut from the graph."""
        ignored = weight == 0
        mask = ignored[..., None] if self._is_vector else ignored
        in_x = mask if self._takes_vectors else ignored
        target = torch.where(in_x, torch.full_like(target, self._harmless), target)
        return target, tuple(torch.where(mask, torch.zeros_like(o), o) for o in outputs)

    def _prepare(self, outputs, target):
        """Everything in one shape and one computing type (at least float32)."""
        dtype = outputs[0].dtype
        for o in outputs[1:]:
            dtype = torch.promote_types(dtype, o.dtype)
        if target.is_floating_point() and not self._takes_classes:
            dtype = torch.promote_types(dtype, target.dtype)
        if torch.is_autocast_enabled(outputs[0].device.type):
            dtype = torch.promote_types(dtype, torch.float32)
        inside = torch.promote_types(dtype, torch.float32)
        outputs = tuple(o if o.dtype == inside else o.to(inside) for o in outputs)
        if self._is_vector:
            event = target.shape[-1:] if self._takes_vectors else ()
            batch = target.shape[: target.dim() - len(event)]
            shape = torch.broadcast_shapes(batch, *(o.shape[:-1] for o in outputs))
            outputs = tuple(o.expand(*shape, o.shape[-1]) for o in outputs)
            x = target.to(torch.int64 if self._takes_classes else inside).expand((*shape, *event))
            return outputs, x, dtype
        x = target if target.dtype == inside else target.to(inside)
        if any(o.shape != x.shape for o in outputs):
            *outputs, x = torch.broadcast_tensors(*outputs, x)
        return tuple(outputs), x, dtype

    def _reduce(self, value: Tensor, weight: Tensor | None) -> Tensor:
        if weight is not None:
            weight = weight.to(value.dtype)
            value = value * weight
            if self.reduction == "mean":
                return value.sum() / weight.expand_as(value).sum()
        if self.reduction == "mean":
            return value.mean()
        return value.sum() if self.reduction == "sum" else value

    def _summary(self, kind: str, outputs: Outputs, **options) -> Tensor:
        d = self.derivation
        raw = dict(zip(self.outputs, self._as_tuple(outputs), strict=False))
        state = State(d.density, self.theta(outputs), raw, d, self._parts)
        return getattr(state, kind)(**options)

    def __getstate__(self) -> dict:
        """What is compiled is left out: it is made again from the derivation."""
        compiled = ("_program", "_traced", "_parts")
        return {k: v for k, v in self.__dict__.items() if k not in compiled}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._compile()


def _plain(value: sp.Expr) -> float | list[float]:
    return [float(v) for v in value] if isinstance(value, sp.Tuple) else float(value)


def _transforming(x: Tensor) -> bool:
    """Whether a torch.func transform or forward mode is at work, or the target wants a slope."""
    return functorch_is_active() or forward_ad._current_level >= 0 or x.requires_grad
