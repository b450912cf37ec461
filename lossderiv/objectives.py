"""A derived loss as the objective of a gradient-boosting library: slope and curvature, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy as sp
import torch

from lossderiv.autograd import torch_function
from lossderiv.derivations import derive
from lossderiv.errors import ParameterError, ShapeError, TargetError
from lossderiv.symbolic.derive import slope
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.stabilise import stabilise
from lossderiv.symbolic.vectors import ENTRY, OTHER, RUNNING, LogSumExp, Softmax, slope_in
from lossderiv.targets import check_target

LIBRARIES = ("xgboost", "lightgbm")


def objective(of: str | Density | Derivation, library: str = "xgboost", **options) -> Objective:
    """Slope and second derivative of a loss as ``xgboost.train`` and ``lightgbm.train`` ask.

    ``xgboost.train(..., obj=objective)`` and ``lightgbm.train({"objective": objective, ...})``
    call it as ``(predictions, data)`` and read targets and weights from ``data``; their
    scikit-learn classes take :meth:`Objective.scikit`. Predictions are raw outputs: of a family
    with several, one column each (``num_class`` in the library's parameters); of ``categorical``,
    one column for each class. ``options`` are those of :func:`lossderiv.derive`.

    The second derivative is exact. Where a loss is not convex in an output it is negative there,
    and these libraries' Newton step then leads uphill: choose a convex loss. Source: the custom
    objectives in the documentation of XGBoost and of LightGBM.

    >>> import numpy as np, lossderiv as ld
    >>> ld.objective("poisson").scikit(np.array([3.0]), np.array([0.0]))
    (array([-2.]), array([1.]))
    """
    if library not in LIBRARIES:
        raise ParameterError(f"There is no library {library!r} here; known are xgboost, lightgbm.")
    d = derive(of, **options)
    if d.density.data.shape == "category":
        return ClassObjective(d, library, _of_classes(d))
    if d.has_vectors:
        raise ParameterError(
            f"{d.density.name} has data that are vectors, and these libraries take one target for "
            "each row. Of the families with vector outputs, categorical has an objective."
        )
    bends = []
    for name, steps in d.gradient_steps.items():
        raw = slope(steps[-1].after, d.symbols[name], d.where)
        for rules in (d.reading, d.computing):
            done = stabilise(raw, rules, d.context, d.where)
            raw = done[-1].after if done else raw
        bends.append(raw)
    inputs = [*d.outputs, d.density.variable.name]
    compute = torch_function(inputs, (*d.gradient_kernel.values(), *bends), d.where)
    return Objective(d, library, compute)


@dataclass(frozen=True)
class Objective:
    """Called as ``(predictions, data)``; returns the gradient and the diagonal of the Hessian."""

    derivation: Derivation
    library: str
    compute: Callable

    def __call__(self, predictions: np.ndarray, data) -> tuple[np.ndarray, np.ndarray]:
        weight = data.get_weight()
        weight = None if weight is None or len(weight) == 0 else weight
        return self.scikit(data.get_label(), predictions, weight)

    def scikit(self, y_true, y_pred, weight=None) -> tuple[np.ndarray, np.ndarray]:
        """The same with the arguments of the libraries' scikit-learn classes."""
        x = torch.as_tensor(np.asarray(y_true, dtype=np.float64))
        raw = torch.as_tensor(np.asarray(y_pred, dtype=np.float64))
        count = len(self.derivation.outputs)
        if raw.numel() != count * x.numel():
            raise ShapeError(
                f"{self.derivation.density.name} needs {count} raw outputs for each of "
                f"{x.numel()} targets; the predictions have shape {tuple(raw.shape)}."
            )
        check_target(x, self.derivation.density.data, self.derivation.density.name, None)
        columns = raw.reshape(x.numel(), count).unbind(1)
        found = [torch.zeros_like(x) + v for v in self.compute(*columns, x)]
        if weight is not None:
            w = torch.as_tensor(np.asarray(weight, dtype=np.float64))
            found = [w * v for v in found]
        slopes, bends = (torch.stack(part, 1) for part in (found[:count], found[count:]))
        return slopes.reshape(raw.shape).numpy(), bends.reshape(raw.shape).numpy()


def _of_classes(d: Derivation) -> Callable:
    """Slope, and the diagonal of the second derivatives, for a vector of outputs."""
    (output,), (gradient,) = d.context.outputs, d.gradient.values()
    share = sp.Dummy("share", positive=True)
    share_of = sp.exp(output[ENTRY] - LogSumExp(output[RUNNING], RUNNING))
    bend = slope_in(gradient, output[OTHER]).xreplace({OTHER: ENTRY})
    bend = sp.factor(bend.xreplace({share_of: share, sp.KroneckerDelta(ENTRY, ENTRY): 1}))
    bend = bend.xreplace({share: Softmax(output[ENTRY], ENTRY)})
    inputs = [*d.outputs, d.density.variable.name]
    return torch_function(inputs, (*d.gradient_kernel.values(), bend), d.where)


class ClassObjective(Objective):
    """For classes: predictions have a column for each class, as both libraries have it.

    The second derivatives are a matrix for each row; the libraries take its diagonal,
    ``p (1 - p)``. Their own softmax objectives enlarge it, for a Newton step that forgets the rest
    of the matrix: XGBoost's by 2, LightGBM's by ``classes / (classes - 1)``. A learning rate
    smaller by the same factor does the same.
    """

    def scikit(self, y_true, y_pred, weight=None) -> tuple[np.ndarray, np.ndarray]:
        x = torch.as_tensor(np.asarray(y_true)).long()
        raw = torch.as_tensor(np.asarray(y_pred, dtype=np.float64))
        if raw.dim() != 2 or raw.shape[0] != x.numel():
            raise ShapeError(
                f"{self.derivation.density.name} needs a column for each class: predictions of "
                f"shape ({x.numel()}, classes), not {tuple(raw.shape)}."
            )
        if not bool(((x >= 0) & (x < raw.shape[1])).all()):
            raise TargetError(
                f"Classes are 0 .. {raw.shape[1] - 1} for predictions of shape "
                f"{tuple(raw.shape)}; met {int(x.min())} .. {int(x.max())}."
            )
        found = self.compute(raw, x)
        if weight is not None:
            w = torch.as_tensor(np.asarray(weight, dtype=np.float64))[:, None]
            found = [w * v for v in found]
        slopes, bends = (v.expand(raw.shape).numpy() for v in found)
        return slopes, bends
