"""``transformed``: the density of a function of a number whose density is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import mpmath as mp
import sympy as sp

from lossderiv.combinators.parts import constructed, scalar_part
from lossderiv.domains import Interior, Positive, Real
from lossderiv.errors import DensityError, ParameterError, UnknownNameError
from lossderiv.special import artanh, log_cosh, logistic, logit, softplus
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Density, Domain, Move

Between = Domain(
    "Between(-1, 1)",
    low=-1.0,
    high=1.0,
    open_low=True,
    open_high=True,
    assumptions={"real": True},
    typical=(0.3, -0.85, 0.6, -0.05),
)


@dataclass(frozen=True)
class Bijection:
    """``y = forward(x)``, its inverse, and where ``y`` lives if x is any real number.

    ``log_slope`` is the log of the size of the slope of ``forward``.
    """

    name: str
    forward: Callable[[sp.Expr], sp.Expr]
    inverse: Callable[[sp.Expr], sp.Expr]
    onto: Domain
    log_slope: Callable[[sp.Expr], sp.Expr]


BIJECTIONS: dict[str, Bijection] = {
    b.name: b
    for b in (
        Bijection("exp", sp.exp, sp.log, Positive, lambda x: x),
        Bijection("logistic", logistic, logit, Interior, lambda x: -softplus(x) - softplus(-x)),
        Bijection("tanh", sp.tanh, artanh, Between, lambda x: -2 * log_cosh(x)),
        Bijection("sinh", sp.sinh, sp.asinh, Real, log_cosh),
    )
}
SLOPE = (
    "the probability of a short interval stays what it is, so the density is divided by how much "
    "the interval is stretched: it is multiplied by the slope of the inverse"
)


def transformed(density: str | Density, bijection: str | Callable[[sp.Expr], sp.Expr]) -> Density:
    """The density of ``y = f(x)`` when ``x`` has the given ``density`` on the real line.

    ``p(y) = q(f^-1(y)) |d f^-1(y)/dy|``: a change of variables. ``bijection`` is ``"exp"``,
    ``"logistic"``, ``"tanh"`` or ``"sinh"``, or a function of your own from a SymPy expression to
    one, increasing or decreasing on the whole line and solvable by SymPy: ``lambda x: 3 + 2*x``.
    The parameters are those of ``density``. Source: Bishop (2006), equation 1.27.

    Raises
    ------
    UnknownNameError, DensityError, ParameterError
        For an unknown family or bijection, a density that does not live on the whole line, and a
        function that is not one-to-one or that SymPy cannot invert.

    >>> import lossderiv as ld
    >>> ld.derive(ld.transformed("normal", "exp"), sigma=1).loss  # the log-normal's
    (-eta_mu + log(x))**2/2
    """
    q = scalar_part(density, "transformed")
    if q.data.integer or math.isfinite(q.data.low) or math.isfinite(q.data.high):
        raise DensityError(
            f"transformed takes a density on the whole line, and the data of {q.name} are not "
            f"({q.data.describe()}). Choose one such as 'normal' or 'logistic'."
        )
    f = _named(bijection) if isinstance(bijection, str) else _own(bijection)
    x, y = q.variable, f.onto.symbol(str(q.variable))
    back = f.inverse(y)
    size = _positive(back.diff(y))
    where = tuple((s, e.xreplace({x: back})) for s, e in q.where)
    body = q.expr.xreplace({x: back})
    stretched = Move(
        body * sp.Abs(sp.Derivative(back, y)), body * size, "change of variables", SLOPE
    )
    made = constructed(
        "transformed",
        q,
        (stretched,),
        data=f.onto,
        where=where,
        doc=f"What {f.name} makes of a number with the density {q.name}.",
    )
    settings = {"bijection": f.name, "forward": f.forward(x), "inverse": back}
    record = replace(made.made, settings={**settings, "log_slope": f.log_slope(x)})
    return replace(made, name=f"transformed({q.name}, {f.name})", variable=y, made=record)


def _positive(slope: sp.Expr) -> sp.Expr:
    """The size of a slope that has one sign."""
    return slope if slope.is_positive or not slope.is_negative else -slope


def _named(name: str) -> Bijection:
    if name not in BIJECTIONS:
        raise UnknownNameError(
            f"There is no bijection called {name!r}. Known: {', '.join(BIJECTIONS)}; or give a "
            "function of your own, such as lambda x: 3 + 2*x."
        )
    return BIJECTIONS[name]


PLACES = (-30.0, -3.0, -1.0, -0.1, 0.0, 0.1, 0.5, 1.0, 2.0, 30.0)


def _own(function: Callable[[sp.Expr], sp.Expr]) -> Bijection:
    """A function of the reader's: one-to-one on the line, and solved for its argument."""
    x, y = sp.Symbol("x", real=True), sp.Dummy("y", real=True)
    formula = sp.sympify(function(x))
    text = f"the function {formula}"
    slope = formula.diff(x)
    signs = {mp.sign(_at(slope, x, p)) for p in PLACES}
    if formula.free_symbols != {x} or len(signs) != 1 or 0 in signs:
        raise ParameterError(
            f"transformed was given {text}, which is not increasing or decreasing on the whole "
            "line, so a value of it does not tell its argument. Give a bijection."
        )
    try:
        solutions = sp.solve(sp.Eq(formula, y), x)
    except NotImplementedError:  # SymPy's word for an equation that it cannot solve
        solutions = []
    if len(solutions) != 1:
        raise ParameterError(
            f"transformed was given {text}, which SymPy cannot solve for its argument in one way. "
            f"Give one of {', '.join(BIJECTIONS)}, or a simpler function."
        )
    (inverse,) = solutions
    return Bijection(
        str(formula),
        function,
        lambda v: inverse.xreplace({y: v}),
        _range(formula, x),
        lambda v: sp.log(sp.Abs(slope)).xreplace({x: v}),
    )


def _at(formula: sp.Expr, x: sp.Symbol, place: float) -> mp.mpf:
    value = spell_out(formula).subs(x, sp.Rational(repr(place))).evalf(30)
    return mp.mpmathify(value) if value.is_number and value.is_real else mp.mpf(0)


def _range(formula: sp.Expr, x: sp.Symbol) -> Domain:
    """Where the function's values lie: its limits at both ends of the line."""
    ends = sorted((sp.limit(formula, x, sp.oo), sp.limit(formula, x, -sp.oo)), key=float)
    low, high = map(float, ends)
    if math.isinf(low) and math.isinf(high):
        return Real
    typical = tuple(float(_at(formula, x, p)) for p in (0.3, -1.25, 2.1, 0.05))
    signs = {"positive": True} if low >= 0 else {"real": True}
    return Domain(
        f"Between({low:g}, {high:g})",
        low=low,
        high=high,
        open_low=math.isfinite(low),
        open_high=math.isfinite(high),
        assumptions=signs,
        typical=typical,
    )
