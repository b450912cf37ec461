"""``mixture``: several densities of one kind, each with a weight."""

from __future__ import annotations

from types import MappingProxyType

from lossderiv.combinators.parts import scalar_part
from lossderiv.derivations import derive
from lossderiv.errors import ParameterError
from lossderiv.mixing import mixed_density
from lossderiv.symbolic.records import Construction, Density


def mixture(component: str | Density, count: int, **fixed: float) -> Density:
    r"""A weighted mean of ``count`` densities of one family, each with its own parameters.

    .. math:: p(x) = \sum_{k=1}^{K} w_k \, p(x \mid \theta_k), \qquad w = softmax(logits).

    The loss takes ``logits`` first and then the component's outputs, each with the K components
    along the last axis; the target has no such axis. In the loss the log of the sum is a logsumexp
    of log-weights and log-densities, and each component's slope counts by its share in the datum.

    Source: Bishop (2006), section 2.3.9; of discretised logistics: Salimans, Karpathy, Chen and
    Kingma (2017), section 2.1.

    Parameters
    ----------
    component
        An elementwise family by name, or such a density: ``discretized("logistic", 256)`` as well.
    count
        How many components there are, at least 2.
    **fixed
        Values for parameters of the component that are given instead of learned.

    Raises
    ------
    ParameterError
        For fewer than two components, or a component whose parameters are all given.
    DensityError
        For a component of vectors, of classes, or a mixture.

    >>> import torch, lossderiv as ld
    >>> loss = ld.loss(ld.mixture("normal", 2), constants="keep")
    >>> loss.outputs
    ('eta_logits', 'eta_mu', 'eta_sigma')
    >>> two = torch.tensor([[-1.0, 1.0]])
    >>> loss((torch.zeros(1, 2), two, torch.zeros(1, 2)), torch.tensor([0.0]))
    tensor(1.4189)
    """
    part = scalar_part(component, "mixture")
    if not isinstance(count, int) or count < 2:
        raise ParameterError(
            f"mixture was given {count} components of {part.name}; it takes a whole number of at "
            "least 2. One component alone is the family itself."
        )
    one = derive(part, **fixed)
    expr, where, symbols, parameters = mixed_density(one, count)
    settings = {"count": count, "fixed": fixed, "derivation": one}
    return Density(
        name=f"mixture({part.name}, {count})",
        expr=expr,
        variable=part.variable,
        data=part.data.bounded(fixed),
        symbols=MappingProxyType(symbols),
        parameters=MappingProxyType(parameters),
        where=where,
        doc=f"A weighted mean of {count} densities, each of them {part.name}.",
        made=Construction("mixture", (part,), MappingProxyType(settings)),
    )
