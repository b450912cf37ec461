"""Is this target one that the likelihood could have produced? Clear errors when it is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from lossderiv.errors import DtypeError, ShapeError, TargetError
from lossderiv.symbolic.records import Domain

ADVICE = {
    "Binary": "Grey values in [0, 1] are not coin flips: use 'continuous_bernoulli', or a count "
    "family for levels; validate=False computes the formula all the same.",
    "Unit": "Divide the data by its largest level first.",
    "Count": "Counts are whole numbers from 0; for real data use a continuous family.",
}


def check_target(
    x: torch.Tensor,
    domain: Domain,
    family: str,
    classes: int | None,
    ignored: torch.Tensor | None = None,
) -> None:
    """Raise :class:`TargetError` naming the first entry of ``x`` outside ``domain``.

    Where ``ignored``, anything is allowed.
    """
    if x.is_complex():
        raise DtypeError(f"The target of {family} is complex; it must be real.")
    if ignored is not None:
        ignored = ignored[..., None] if domain.is_vector else ignored
        x, ignored = torch.broadcast_tensors(x, ignored)
    if domain.shape == "category":
        _check_classes(x, family, classes, ignored)
        return
    if x.is_floating_point():
        _refuse(x, torch.isnan(x), family, "is NaN", "Remove it, or give it weight 0.", ignored)
    low = x <= domain.low if domain.open_low else x < domain.low
    high = x >= domain.high if domain.open_high else x > domain.high
    bad = low | high
    if x.is_floating_point():
        bad = bad | torch.isinf(x)
        if domain.integer:
            bad = bad | (x != torch.floor(x))
    whole = 1 if domain.shape == "simplex" else domain.total
    advice = ADVICE.get(
        domain.name, "Rescale or clean the data, or choose a family that allows it."
    )
    _refuse(x, bad, family, f"lies outside the support ({domain.describe()})", advice, ignored)
    if whole is not None:
        _check_total(x, whole, domain, family, ignored)


def _check_total(
    x: torch.Tensor, whole: int, domain: Domain, family: str, ignored: torch.Tensor | None
) -> None:
    """Whether counts add up exactly, and shares but for what rounding them to bfloat16 does."""
    sums = x.to(torch.float64).sum(-1)
    bad = (sums - whole).abs() > (0 if domain.integer else 2**-8)
    if ignored is not None:
        bad = bad & ~ignored[..., 0]
    if bool(bad.any()):
        index = tuple(int(i) for i in bad.nonzero()[0])
        raise TargetError(
            f"The target of {family} at index {index} adds up to {sums[index].item():g}, not to "
            f"{whole} ({domain.describe()}). The entries of a vector lie along the last axis."
        )


def _check_classes(
    x: torch.Tensor, family: str, classes: int | None, ignored: torch.Tensor | None
) -> None:
    if x.is_floating_point() or x.dtype == torch.bool:
        raise DtypeError(
            f"The target of {family} holds class indices and must be an integer tensor, not "
            f"{x.dtype}. Convert it with target.long()."
        )
    top = math.inf if classes is None else classes
    words = f"is not a class index between 0 and {top - 1}"
    bad = (x < 0) | (x >= top)
    _refuse(x, bad, family, words, "Outputs have their classes on the last axis.", ignored)


def _refuse(
    x: torch.Tensor,
    bad: torch.Tensor,
    family: str,
    what: str,
    advice: str,
    ignored: torch.Tensor | None,
) -> None:
    if ignored is not None:
        bad = bad & ~ignored
    if not bool(bad.any()):
        return
    index = tuple(int(i) for i in bad.nonzero()[0])
    count = int(bad.sum())
    more = f" ({count} such values in all)" if count > 1 else ""
    raise TargetError(
        f"The target of {family} at index {index} is {x[index].item()}, which {what}{more}. "
        f"{advice}"
    )


def check_shapes(
    outputs: tuple[torch.Tensor, ...],
    x: torch.Tensor,
    names: tuple[str, ...],
    vector: bool,
    weight: torch.Tensor | None = None,
    widths: Callable[[int], list[int]] | None = None,
) -> None:
    """Raise :class:`ShapeError` unless outputs, target and weight broadcast (vectors: but for the
    last axis). ``widths`` tells how long each output's vectors are for a target of some length."""
    for name, given in (("target", x), ("weight", weight)):
        if not (isinstance(given, torch.Tensor) or (name == "weight" and given is None)):
            raise DtypeError(
                f"The {name} is {type(given).__name__}, not a torch tensor. Convert it with "
                "torch.as_tensor."
            )
    if widths is None and vector and any(o.dim() == 0 or o.shape[-1] < 2 for o in outputs):
        raise ShapeError(
            f"Output {names[0]} has shape {tuple(outputs[0].shape)}; its last axis is the class "
            "axis and needs at least 2 classes. Move the classes last (loss.split does)."
        )
    if widths and not _fit(outputs, x, widths):
        listed = ", ".join(f"{n} {tuple(o.shape)}" for n, o in zip(names, outputs, strict=True))
        raise ShapeError(
            f"Vectors lie along the last axis, and those of outputs and target do not fit: "
            f"{listed}; target {tuple(x.shape)}. Move that axis last (loss.split does)."
        )
    shapes = [tuple(o.shape[:-1]) if vector else tuple(o.shape) for o in outputs]
    weighted = () if weight is None else (tuple(weight.shape),)
    try:
        batch = x.shape[:-1] if widths else x.shape
        torch.broadcast_shapes(*shapes, tuple(batch), *weighted)
    except RuntimeError as problem:
        listed = ", ".join(f"{n} {tuple(o.shape)}" for n, o in zip(names, outputs, strict=True))
        axis = "".join(f"; weight {w}" for w in weighted)
        if vector:
            axis += " (the last axis is that of the vectors' entries, or classes)"
        raise ShapeError(
            f"Outputs and target do not broadcast: {listed}; target {tuple(x.shape)}{axis}. "
            "Reshape the decoder's output or the target; loss.split cuts one tensor into outputs."
        ) from problem


def check_components(outputs: tuple[torch.Tensor, ...], names: tuple[str, ...], count: int) -> None:
    """Raise :class:`ShapeError` unless every output has so many components on its last axis."""
    for name, o in zip(names, outputs, strict=True):
        if o.shape[-1] != count:
            raise ShapeError(
                f"Output {name} has shape {tuple(o.shape)}; the {count} components of this mixture "
                "lie along the last axis. Move them there (loss.split does)."
            )


def _fit(outputs: tuple[torch.Tensor, ...], x: torch.Tensor, widths) -> bool:
    if x.dim() == 0 or any(o.dim() == 0 for o in outputs):
        return False
    return [o.shape[-1] for o in outputs] == widths(x.shape[-1])


def check_outputs(outputs: tuple[torch.Tensor, ...], names: tuple[str, ...]) -> None:
    """Raise unless there is one floating-point tensor for each name."""
    if len(outputs) != len(names):
        raise ShapeError(
            f"This loss takes {len(names)} output{'s' if len(names) > 1 else ''} "
            f"({', '.join(names)}), got {len(outputs)}. Give the decoder one head for each, or cut "
            "one tensor with loss.split."
        )
    for name, o in zip(names, outputs, strict=True):
        if not isinstance(o, torch.Tensor):
            raise DtypeError(
                f"Output {name} is {type(o).__name__}, not a torch tensor. Give the decoder's raw "
                "output, or a tuple of them."
            )
        if not o.is_floating_point():
            raise DtypeError(
                f"Output {name} has dtype {o.dtype}; a loss needs floating-point outputs. Convert "
                "them with .float()."
            )
