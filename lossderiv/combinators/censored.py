"""``censored``: a density whose tails are heaped at two bounds."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from lossderiv.combinators.bounds import bounded
from lossderiv.combinators.parts import constructed
from lossderiv.symbolic.records import Density, Move

HEAPED = (
    "a number beyond a bound is recorded as the bound, which so has the probability of the whole "
    "tail; between the bounds nothing changes"
)


def censored(
    density: str | Density, low: float | None = None, high: float | None = None
) -> Density:
    """``density`` seen through a gauge that stops at ``low`` and ``high`` (a Tobit likelihood).

    A number beyond a bound is recorded as the bound: ``p(low) = F(low)`` and
    ``p(high) = 1 - F(high)`` are probabilities, and between them ``p(x)`` is the given density.
    ``None`` is no bound. Source: Tobin (1958), section 2, for the normal.

    Raises
    ------
    UnknownNameError, DensityError, ParameterError
        For an unknown family, one without a distribution function, and bounds that are missing, out
        of order or outside the support.

    >>> import lossderiv as ld
    >>> ld.derive(ld.censored("normal", low=0)).outputs
    ('eta_mu', 'eta_sigma')
    """
    b = bounded(density, low, high, "censored")
    q, x = b.density, b.data.symbol(str(b.density.variable))
    body = q.expr.xreplace({q.variable: x})
    lo, hi = sp.symbols("lo hi", real=True)
    where, cases, plain = [(s, e.xreplace({q.variable: x})) for s, e in q.where], [], []
    if b.low is not None:
        where.append((lo, b.standard(b.low)))
        cases.append((b.function.below(lo), x <= b.low))
        plain.append((b.function.below(b.standard(b.low)), x <= b.low))
    if b.high is not None:
        where.append((hi, b.standard(b.high)))
        cases.append((b.function.above(hi), x >= b.high))
        plain.append((b.function.above(b.standard(b.high)), x >= b.high))
    heaped = Move(
        sp.Piecewise(*plain, (body, True)),
        sp.Piecewise(*cases, (body, True)),
        "tails heaped at the bounds",
        HEAPED,
    )
    ends = {n: float(v) for n, v in (("low", b.low), ("high", b.high)) if v is not None}
    typical = (*b.data.typical[:2], *ends.values(), *b.data.typical[2:])
    made = constructed(
        "censored",
        q,
        (heaped,),
        settings=b.settings,
        data=replace(b.data, atoms=tuple(ends.values()), typical=typical),
        where=tuple(where),
        doc=f"Numbers {b.words} with the density {q.name}; what lies beyond is recorded there.",
    )
    return replace(made, variable=x)
