"""``hurdle``: zeros by one law, positive counts by another."""

from __future__ import annotations

import sympy as sp

from lossderiv.combinators.parts import constructed, count_part, new_parameters
from lossderiv.domains import Proportion
from lossderiv.symbolic.records import Density, Move


def hurdle(count: str | Density) -> Density:
    """Counts whose zeros have a law of their own: zero with probability ``gate``, else positive.

    ``p(0) = gate`` and ``p(x) = (1 - gate) q(x)/(1 - q(0))`` for the counts above, q being the
    density that is given, which thus never explains a zero. The new parameter comes first: the raw
    outputs are ``eta_gate`` (a logit) and those of ``count``. Source: Mullahy (1986), section 2.

    Raises
    ------
    UnknownNameError, DensityError, ParameterError
        For an unknown family, one whose data are no counts, and one with a parameter ``gate``.

    >>> import lossderiv as ld
    >>> ld.loss(ld.hurdle("poisson")).outputs
    ('eta_gate', 'eta_rate')
    """
    q = count_part(count, "hurdle")
    parameters, symbols = new_parameters(q, "hurdle", {"gate": Proportion})
    x, gate = q.variable, symbols["gate"]
    zero = q.formula.xreplace({x: sp.Integer(0)})
    nothing = sp.KroneckerDelta(x, 0)
    either = gate * nothing + (1 - gate) * (1 - nothing) * q.expr / (1 - zero)
    cases = sp.Piecewise((gate, sp.Eq(x, 0)), ((1 - gate) * q.expr / (1 - zero), True))
    apart = Move(
        either,
        cases,
        "zeros apart",
        "a zero has the gate's probability; the other counts share the rest in the proportions "
        "that they have among themselves",
    )
    return constructed(
        "hurdle",
        q,
        (apart,),
        parameters=parameters,
        symbols=symbols,
        doc=f"Zero with probability gate, and otherwise a positive count in proportion to "
        f"{q.name}.",
    )
