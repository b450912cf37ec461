"""``truncated``: a density of which only a part is ever seen."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from lossderiv.combinators.bounds import Bounded, bounded
from lossderiv.combinators.parts import constructed
from lossderiv.special import expm1, log1p, log_exprel, logistic
from lossderiv.special_bell import bell_level, mills, normal_level
from lossderiv.symbolic.records import Density, Move

Where = tuple[tuple[sp.Symbol, sp.Expr], ...]

WITHIN = (
    "what lies between the bounds is divided by its probability, a difference of the distribution "
    "function"
)
BEYOND = (
    "what lies within is divided by its probability. For a mean beyond the bound, the square in "
    "the exponent cancels that of the tail's probability but for the distance from the bound"
)
NEARER = (
    "the mass of an interval is that of its mirror image: count from the bound nearer to the "
    "mean. It is written as the interval's length times a mean height of the bell, which for a "
    "mean outside is taken from the bound: the squares of the distance to the mean cancel"
)

TAIL = (
    "what lies within is divided by its probability. A tail falls like an exponential, whose part "
    "beyond a bound is its own image: for a location outside, the distance to it cancels but for "
    "the distance from the bound"
)


def _laplace_tail(distance: sp.Expr, rest: sp.Expr, z: sp.Expr, bound: sp.Expr) -> sp.Expr:
    return sp.exp(-distance)


def _logistic_tail(distance: sp.Expr, rest: sp.Expr, z: sp.Expr, bound: sp.Expr) -> sp.Expr:
    """By what the logistic at ``z`` is above that at the bound, and below that at the other one."""
    nearer = log1p(logistic(-bound) * expm1(-distance))
    if rest is None:
        return sp.exp(-distance - nearer) * logistic(z)
    return sp.exp(-distance - nearer + log1p(logistic(-z) * expm1(-rest)))


# Families whose right tail is all but exp(-z), and its height there over that at the bound: by the
# distances from the bound and to the other one, and both places.
TAILS = {"laplace": _laplace_tail, "logistic": _logistic_tail}


def truncated(
    density: str | Density, low: float | None = None, high: float | None = None
) -> Density:
    """``density`` given that its number lies from ``low`` to ``high``: none outside is ever seen.

    ``p(x) = q(x)/(F(high) - F(low))`` with the distribution function F of the density q. ``None``
    is no bound. The parameters are those of ``density``, so ``mu`` is the mean before truncation;
    for the normal density it may lie many widths outside. Data *on* a bound, such as black pixels,
    make the likelihood unbounded: it grows as the scale goes to 0 and the mean leaves the interval,
    until float32 is left (for the normal at a log-scale of about -44). Give each level a place
    inside its bin first, or take ``censored`` or ``discretized``, whose bounds have a probability.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 13, section 10.1, for the normal.

    Raises
    ------
    UnknownNameError, DensityError, ParameterError
        For an unknown family, one without a distribution function, and bounds that are missing, out
        of order or outside the support.

    >>> import lossderiv as ld
    >>> grey = ld.loss(ld.truncated("normal", 0, 1), constants="keep")
    >>> grey.outputs
    ('eta_mu', 'eta_sigma')
    """
    b = bounded(density, low, high, "truncated")
    q, x = b.density, b.data.symbol(str(b.density.variable))
    body = q.expr
    own = tuple((s, e.xreplace({q.variable: x})) for s, e in q.where)
    body = body.xreplace({q.variable: x})
    if q.name == "normal" and None not in (b.low, b.high):
        moves, where = _normal(b, x, body, own)
    elif q.name == "normal":
        moves, where = _half_normal(b, x, body, own)
    elif q.name in TAILS:
        moves, where = _exponential(b, x, body, own)
    else:
        moves, where = _within(b, body, own)
    made = constructed(
        "truncated",
        q,
        moves,
        settings=b.settings,
        data=b.data,
        where=where,
        doc=f"Numbers {b.words} with the density {q.name} there, and no others.",
    )
    return replace(made, variable=x)


def _within(b: Bounded, body: sp.Expr, own: Where) -> tuple[tuple[Move, ...], Where]:
    """Divide by the probability between the bounds, in the form that holds in both tails."""
    mass, plain, where = _mass(b)
    return (Move(body / plain, body / mass, "only the part within", WITHIN),), (*own, *where)


def _mass(b: Bounded) -> tuple[sp.Expr, sp.Expr, Where]:
    """The probability between the bounds, by names and spelled out, and those names."""
    below, above = b.function.below, b.function.above
    start, end = sp.symbols("lo hi", real=True)
    if b.low is None:
        where, mass = ((end, b.standard(b.high)),), below(end)
    elif b.high is None:
        where, mass = ((start, b.standard(b.low)),), above(start)
    elif b.function.symmetric:
        k = sp.Symbol("k", positive=True)
        where = ((start, b.standard(b.low)), (k, b.length))
        mass = below(start + k) - below(start)
        return mass, below(b.standard(b.high)) - below(b.standard(b.low)), where
    else:
        where = ((start, b.standard(b.low)), (end, b.standard(b.high)))
        by_parts = isinstance(below(start), sp.exp)  # a difference of two exponentials, if one is
        first, last, of = (end, start, below) if by_parts else (start, end, above)
        mass = of(first) - of(last)
    return mass, mass.xreplace(dict(where)), where


def _exponential(
    b: Bounded, x: sp.Symbol, body: sp.Expr, own: Where
) -> tuple[tuple[Move, ...], Where]:
    """Tails that fall like an exponential, by whether the location lies inside."""
    location, scale = b.density.symbols.values()
    z, tail = own[0][0], TAILS[b.density.name]
    mass, plain, where = _mass(b)
    v, w = sp.symbols("v w", nonnegative=True)
    ends = {"lo": b.low, "hi": b.high}
    names = {n: sp.Symbol(n, real=True) for n, end in ends.items() if end is not None}
    where = tuple(dict([*where, *((s, b.standard(ends[n])) for n, s in names.items())]).items())
    unit, far = scale, {"v": None, "w": None}
    if len(names) == 2:  # the mass of a tail is the interval's length times its mean height
        unit = (b.high - b.low) * sp.exp(log_exprel(-sp.Symbol("k", positive=True)))
        far = {"v": w, "w": v}
    if len(names) == 2 or b.high is None:
        where += ((v, (x - b.low) / scale),)
    if len(names) == 2 or b.low is None:
        where += ((w, (b.high - x) / scale),)
    cases = []
    if b.low is not None:
        cases.append((tail(v, far["v"], z, names["lo"]) / unit, location < b.low))
    if b.high is not None:
        cases.append((tail(w, far["w"], -z, -names["hi"]) / unit, location > b.high))
    after = sp.Piecewise(*cases, (body / mass, True))
    move = Move(body / plain, after, "only the part within, from the nearer bound", TAIL)
    return (move,), (*own, *where)


def _normal(b: Bounded, x: sp.Symbol, body: sp.Expr, own: Where) -> tuple[tuple[Move, ...], Where]:
    """By where the mean lies: below the interval, above it, or inside."""
    mu, sigma = b.density.symbols.values()
    low, high = b.low, b.high
    start, end = sp.symbols("lo hi", real=True)
    first, last = sp.symbols("v w", nonnegative=True)
    k = sp.Symbol("k", positive=True)
    below = b.function.below
    plain = body / (below((high - mu) / sigma) - below((low - mu) / sigma))

    bell = sp.exp(-(own[0][0] ** 2) / 2) / (high - low)

    def from_bound(distance, bound):
        return sp.exp(-distance * (bound + distance / 2)) / ((high - low) * bell_level(bound, k))

    cases = sp.Piecewise(
        (from_bound(first, start), mu < low),
        (from_bound(last, -end), mu > high),
        (bell / normal_level(start, k), mu < (low + high) / 2),
        (bell / normal_level(-end, k), True),
    )
    where = (
        (start, (low - mu) / sigma),
        (end, (high - mu) / sigma),
        (k, (high - low) / sigma),
        (first, (x - low) / sigma),
        (last, (high - x) / sigma),
    )
    return (Move(plain, cases, "only the part within, from the nearer bound", NEARER),), (
        *own,
        *where,
    )


def _half_normal(
    b: Bounded, x: sp.Symbol, body: sp.Expr, own: Where
) -> tuple[tuple[Move, ...], Where]:
    """One bound, by whether the mean lies beyond it."""
    mu, sigma = b.density.symbols.values()
    end, far = sp.Symbol("lo", real=True), sp.Symbol("v", nonnegative=True)
    below = b.function.below
    bound, beyond = (b.high, mu > b.high) if b.low is None else (b.low, mu < b.low)
    turn = -1 if b.low is None else 1
    tail = sp.exp(-far * (end + far / 2)) / (sigma * mills(end))
    where = ((end, turn * (bound - mu) / sigma), (far, turn * (x - bound) / sigma))
    plain = body / below(-where[0][1])
    cases = sp.Piecewise((tail, beyond), (body / below(-end), True))
    move = Move(plain, cases, "only the part within, from the bound", BEYOND)
    return (move,), (*own, *where)
