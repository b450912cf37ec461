"""A derived loss and its gradient in one pass, without a graph: for NumPy and for boosting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossderiv.losses import Loss, loss
from lossderiv.symbolic.records import Density, Derivation

Array = np.ndarray | Tensor


def value_and_grad(of: str | Density | Derivation, **options) -> ValueAndGrad:
    """A function of raw outputs and target that returns the loss and its gradient, as arrays.

    One pass computes both, and no graph is built: for NumPy, ``scipy.optimize`` (which wants the
    sum or the mean) and boosting (which wants each element: ``reduction="none"``). NumPy arrays
    give NumPy arrays, torch tensors give tensors without a graph. ``options`` are those of
    :func:`lossderiv.loss`, whose errors it raises.

    >>> import numpy as np, lossderiv as ld
    >>> cost = ld.value_and_grad("poisson", reduction="sum")
    >>> value, slope = cost(np.array([0.0, 0.0]), np.array([3.0, 1.0]))
    >>> float(value), slope
    (2.0, array([-2.,  0.]))
    """
    return ValueAndGrad(loss(of, **options))


@dataclass(frozen=True)
class ValueAndGrad:
    """Called as ``(outputs, target, weight=None)``, as its ``loss`` is; returns value and gradient.

    Where the outputs are a tuple, so is the gradient.
    """

    loss: Loss

    def __call__(
        self, outputs: Array | Sequence[Array], target: Array, weight: Array | None = None
    ) -> tuple[Array, Array | tuple[Array, ...]]:
        several = isinstance(outputs, (tuple, list))
        given = (*(outputs if several else (outputs,)), target)
        in_torch = any(isinstance(v, Tensor) for v in given)
        *raw, x = (_tensor(v) for v in given)
        w = None if weight is None else _tensor(weight)
        value, slopes = self.loss.value_and_grad(tuple(raw), x, w)
        if not in_torch:
            value, slopes = value.numpy()[()], tuple(g.numpy() for g in slopes)
        return value, slopes if several else slopes[0]


def _tensor(given: Array) -> Tensor:
    """The same memory where torch can use it: in order, and writable."""
    if isinstance(given, Tensor):
        return given
    return torch.from_numpy(np.require(given, requirements=("C", "W")))
