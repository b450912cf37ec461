"""Is this target one that the likelihood could have produced? Clear errors when it is not."""

from __future__ import annotations

import math

import torch

from lossderiv.errors import DtypeError, ShapeError, TargetError
from lossderiv.symbolic.records import Domain

ADVICE = {
    "Binary": "Grey values in [0, 1] are not coin flips: use 'continuous_bernoulli', or a count "
    "family for levels; validate=False computes the formula all the same.",
    "Unit": "Divide the data by its largest level first.",
    "Count": "Counts are whole numbers from 0; for real data use a continuous family.",
}


def check_target(x: torch.Tensor, domain: Domain, family: str, classes: int | None) -> None:
    """Raise :class:`TargetError` naming the first entry of ``x`` outside ``domain``."""
    if x.is_complex():
        raise DtypeError(f"The target of {family} is complex; it must be real.")
    if domain.shape == "category":
        _check_classes(x, family, classes)
        return
    if x.is_floating_point():
        _refuse(x, torch.isnan(x), family, "is NaN", "Remove it, or give it weight 0.")
    low = x <= domain.low if domain.open_low else x < domain.low
    high = x >= domain.high if domain.open_high else x > domain.high
    bad = low | high
    if x.is_floating_point():
        bad = bad | torch.isinf(x)
        if domain.integer:
            bad = bad | (x != torch.floor(x))
    advice = ADVICE.get(
        domain.name, "Rescale or clean the data, or choose a family that allows it."
    )
    _refuse(x, bad, family, f"lies outside the support ({domain.describe()})", advice)


def _check_classes(x: torch.Tensor, family: str, classes: int | None) -> None:
    if x.is_floating_point() or x.dtype == torch.bool:
        raise DtypeError(
            f"The target of {family} holds class indices and must be an integer tensor, not "
            f"{x.dtype}. Convert it with target.long()."
        )
    top = math.inf if classes is None else classes
    words = f"is not a class index between 0 and {top - 1}"
    _refuse(x, (x < 0) | (x >= top), family, words, "Outputs have their classes on the last axis.")


def _refuse(x: torch.Tensor, bad: torch.Tensor, family: str, what: str, advice: str) -> None:
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
) -> None:
    """Raise :class:`ShapeError` unless outputs, target and weight broadcast (vectors: but for the
    last axis)."""
    for name, given in (("target", x), ("weight", weight)):
        if not (isinstance(given, torch.Tensor) or (name == "weight" and given is None)):
            raise DtypeError(
                f"The {name} is {type(given).__name__}, not a torch tensor. Convert it with "
                "torch.as_tensor."
            )
    if vector and any(o.dim() == 0 or o.shape[-1] < 2 for o in outputs):
        raise ShapeError(
            f"Output {names[0]} has shape {tuple(outputs[0].shape)}; its last axis is the class "
            "axis and needs at least 2 classes. Move the classes last (loss.split does)."
        )
    shapes = [tuple(o.shape[:-1]) if vector else tuple(o.shape) for o in outputs]
    weighted = () if weight is None else (tuple(weight.shape),)
    try:
        torch.broadcast_shapes(*shapes, tuple(x.shape), *weighted)
    except RuntimeError as problem:
        listed = ", ".join(f"{n} {tuple(o.shape)}" for n, o in zip(names, outputs, strict=True))
        axis = "".join(f"; weight {w}" for w in weighted)
        axis += " (classes are the last axis of the outputs)" if vector else ""
        raise ShapeError(
            f"Outputs and target do not broadcast: {listed}; target {tuple(x.shape)}{axis}. "
            "Reshape the decoder's output or the target; loss.split cuts one tensor into outputs."
        ) from problem


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
