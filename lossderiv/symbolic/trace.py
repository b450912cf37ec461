"""From a Python function to a Density: the signature declares, the body is the formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from types import MappingProxyType

import sympy as sp

from lossderiv.errors import DensityError
from lossderiv.symbolic.records import Density, Domain
from lossderiv.symbolic.vectors import CLASSES, ENTRY

_names: ContextVar[list[tuple[sp.Symbol, sp.Expr]] | None] = ContextVar("names", default=None)


def let(name: str, expr: sp.Expr, **assumptions: bool) -> sp.Symbol:
    """Name an intermediate inside a density, so that it stays closed all the way to the code.

    ``z = let("z", (x - mu) / sigma)`` keeps the residual in one piece: expanded, a squared
    residual loses every digit when ``x`` and ``mu`` are close and large. An expression in an entry
    of a vector names the entry: ``z = let("z", x[k] - mu[k])`` stands for a vector.
    ``assumptions`` say what SymPy cannot see: ``let("y", n - x, integer=True, nonnegative=True)``
    for a count x of at most n.

    >>> import lossderiv as ld
    >>> from sympy import exp, pi, sqrt
    >>> @ld.density
    ... def unit_normal(x: ld.Real, mu: ld.Real):
    ...     z = ld.let("z", x - mu)
    ...     return exp(-(z**2) / 2) / sqrt(2 * pi)
    >>> ld.derive(unit_normal).open_loss
    z**2/2
    """
    names = _names.get()
    if names is None:
        raise DensityError(
            f"let({name!r}, ...) was called outside a density. Use it only inside the function "
            "that @density turns into a Density."
        )
    if any(str(getattr(s, "base", s)) == name for s, _ in names):
        raise DensityError(f"The name {name!r} is given twice by let; choose another.")
    expr = sp.sympify(expr)
    running = [s for s in expr.free_symbols if isinstance(s, sp.Idx)]
    if running:  # one name for each entry
        (k,) = running
        vector = sp.IndexedBase(name, **(assumptions or {"real": True}))
        names.append((vector[ENTRY], expr.xreplace({k: ENTRY})))
        return vector[k]
    symbol = sp.Symbol(name, **(assumptions or {"real": True}))
    names.append((symbol, expr))
    return symbol


def density_of(function: Callable) -> Density:
    """Read a density from a function whose annotations are domains.

    The first argument is the data, the others are the parameters; the docstring comes along.
    """
    name = function.__name__
    arguments = _declared_domains(function)
    (variable_name, data), *declared = arguments.items()
    variable = data.symbol(variable_name)
    symbols = {n: domain.symbol(n) for n, domain in declared}
    token = _names.set([])
    try:
        expr = function(variable, *symbols.values())
        where = tuple(_names.get())
    except TypeError as problem:
        raise DensityError(
            f"The density {name} could not be read: {problem}. Its body must be a formula in "
            "SymPy's functions (from sympy import exp, log, ...), not in math, numpy or torch."
        ) from problem
    finally:
        _names.reset(token)
    return _checked(name, expr, variable, data, symbols, dict(declared), where, function)


def _declared_domains(function: Callable) -> dict[str, Domain]:
    signature = inspect.signature(function, eval_str=True)
    found = {n: p.annotation for n, p in signature.parameters.items()}
    if not found:
        raise DensityError(f"The density {function.__name__} takes no argument: name the data.")
    for name, domain in found.items():
        if not isinstance(domain, Domain):
            raise DensityError(
                f"Argument {name!r} of the density {function.__name__} has no domain. Annotate it, "
                f"as in `{name}: Real` (Real, Positive, NonNegative, Unit, Count, Binary, "
                "Integer(lo, hi), Interval(lo, hi), Angle, Simplex, Category)."
            )
    return found


def _checked(name, expr, variable, data, symbols, declared, where, function) -> Density:
    try:
        expr = sp.sympify(expr, strict=True)
    except sp.SympifyError as problem:
        raise DensityError(
            f"The density {name} returned {type(expr).__name__}, not a formula. Return p(x) as a "
            "SymPy expression."
        ) from problem
    expr = expr.replace(sp.binomial, _ways)
    known = {variable, *symbols.values(), *(getattr(s, "base", s) for s, _ in where), CLASSES}
    known |= {s.label for s in known if isinstance(s, sp.IndexedBase)}
    free = expr.free_symbols.union(*(e.free_symbols for _, e in where))
    strange = {s for s in free if s not in known and not isinstance(s, sp.Indexed | sp.Idx)}
    if strange:
        raise DensityError(
            f"The density {name} uses {', '.join(sorted(map(str, strange)))}, which is neither its "
            "data nor one of its parameters. Add it to the signature with a domain."
        )
    return Density(
        name=name,
        expr=expr,
        variable=variable,
        data=data,
        symbols=MappingProxyType(symbols),
        parameters=MappingProxyType(declared),
        where=where,
        doc=inspect.getdoc(function) or "",
    )


def _ways(n: sp.Expr, k: sp.Expr) -> sp.Expr:
    """SymPy's binomial as the catalogue writes it, so that the rules for factorials see it."""
    return sp.factorial(n) / (sp.factorial(k) * sp.factorial(n - k))
