"""``zero_inflated``: counts whose zeros have two causes."""

from __future__ import annotations

import sympy as sp

from lossderiv.combinators.parts import constructed, count_part, new_parameters
from lossderiv.domains import Proportion
from lossderiv.symbolic.records import Density, Move


def zero_inflated(count: str | Density) -> Density:
    """Counts with more zeros than ``count`` has: with probability ``gate`` a zero whatever else.

    ``p(0) = gate + (1 - gate) q(0)`` and ``p(x) = (1 - gate) q(x)`` for the counts above, q being
    the density that is given. The new parameter comes first: the raw outputs are ``eta_gate`` (a
    logit) and those of ``count``. Source: Lambert (1992), section 2, for Poisson counts.

    Raises
    ------
    UnknownNameError, DensityError, ParameterError
        For an unknown family, one whose data are no counts, and one with a parameter ``gate``.

    >>> import lossderiv as ld
    >>> ld.loss(ld.zero_inflated("poisson")).outputs
    ('eta_gate', 'eta_rate')
    """
    q = count_part(count, "zero_inflated")
    parameters, symbols = new_parameters(q, "zero_inflated", {"gate": Proportion})
    x, gate = q.variable, symbols["gate"]
    zero = q.formula.xreplace({x: sp.Integer(0)})
    either = gate * sp.KroneckerDelta(x, 0) + (1 - gate) * q.expr
    cases = sp.Piecewise((gate + (1 - gate) * zero, sp.Eq(x, 0)), ((1 - gate) * q.expr, True))
    apart = Move(
        either,
        cases,
        "zeros apart",
        "a zero may come from the gate or from the count, any other count from the count alone",
    )
    return constructed(
        "zero_inflated",
        q,
        (apart,),
        parameters=parameters,
        symbols=symbols,
        doc=f"Zeros with probability gate, and otherwise counts with the density {q.name}.",
    )
