"""``independent``: a vector whose entries are drawn one by one."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import sympy as sp

from lossderiv.combinators.parts import scalar_part
from lossderiv.domains import Vector
from lossderiv.errors import DensityError, ParameterError
from lossderiv.special import inside
from lossderiv.symbolic.records import Construction, Density
from lossderiv.symbolic.vectors import EACH, ENTRY


def independent(density: str | Density, event_dims: int = 1) -> Density:
    """A vector of independent numbers, each with ``density`` and parameters of its own.

    ``p(x) = prod_k q(x[k])``: the loss is the sum over the last axis, so that an element is a whole
    vector. ``event_dims`` is how many axes make one event: 3 for images with channels. The outputs
    then have the target's last three axes; the source, a function of vectors, takes them flattened
    (``x.flatten(-3)``). Given parameters, such as Huber's delta, are shared by all entries.
    Source: Bishop (2006), equation 1.11.

    Raises
    ------
    UnknownNameError, DensityError, ParameterError
        For an unknown family, one of vectors or classes, and a number of axes below 1.

    >>> import torch, lossderiv as ld
    >>> rows = ld.loss(ld.independent("laplace"), constants="keep", reduction="none")
    >>> rows((torch.zeros(4, 3), torch.zeros(4, 3)), torch.zeros(4, 3)).shape
    torch.Size([4])
    """
    q = scalar_part(density, "independent")
    if not isinstance(event_dims, int) or event_dims < 1:
        raise ParameterError(
            f"independent was given event_dims={event_dims}; it takes how many of the last axes "
            "make one event, a whole number of at least 1: 3 for images with channels."
        )
    if q.data.high_is or q.formula.has(sp.Piecewise, inside):
        raise DensityError(
            f"independent cannot take {q.name}: its support, or its formula, has cases that hang "
            "on one number. Sum the loss of the entries instead: "
            'loss(q, reduction="none")(outputs, x).sum(-1).'
        )
    learned = {n: d for n, d in q.parameters.items() if d.link is not None}
    domains = {n: Vector(d) if n in learned else d for n, d in q.parameters.items()}
    data = Vector(q.data, axes=event_dims)
    x = data.symbol(str(q.variable))
    symbols = {n: d.symbol(n) if n in learned else q.symbols[n] for n, d in domains.items()}
    vectors = {q.variable: x} | {q.symbols[n]: symbols[n] for n in learned}
    where = []
    for name, meaning in q.where:
        vectors[name] = sp.IndexedBase(name.name, **name._assumptions_orig)
        where.append((vectors[name][ENTRY], _entry(meaning, vectors, ENTRY)))
    whole = sp.Product(_entry(q.expr, vectors, EACH), EACH)
    made = Construction("independent", (q,), MappingProxyType({}), product=True)
    return replace(
        q,
        name=f"independent({q.name}{f', {event_dims}' if event_dims > 1 else ''})",
        expr=whole,
        variable=x,
        data=data,
        symbols=MappingProxyType(symbols),
        parameters=MappingProxyType(domains),
        where=tuple(where),
        doc=f"A vector whose entries have the density {q.name}, independent of each other.",
        made=made,
    )


def _entry(formula: sp.Expr, vectors: dict, index: sp.Idx) -> sp.Expr:
    """A formula of numbers as one of the entries of vectors."""
    return formula.xreplace({s: v[index] for s, v in vectors.items()})
