"""What the combinators ask of the densities that they combine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import sympy as sp

from lossderiv.derivations import find_density
from lossderiv.errors import DensityError, ParameterError
from lossderiv.symbolic.records import Construction, Density, Domain, Move


def scalar_part(of: str | Density, combinator: str) -> Density:
    """The density of that name, if its data and its parameters are numbers, not vectors."""
    density = find_density(of)
    domains = (density.data, *density.parameters.values())
    strange = next((d for d in domains if d.shape != "scalar"), None)
    if strange is not None:
        raise DensityError(
            f"{combinator} takes a density of numbers, and {density.name} has vectors or classes "
            f"({strange.describe()}). Choose a family whose target is a number."
        )
    return density


def count_part(of: str | Density, combinator: str) -> Density:
    """The density of that name, if it is one of counts from 0."""
    density = scalar_part(of, combinator)
    if not (density.data.integer and density.data.low == 0):
        raise DensityError(
            f"{combinator} takes a density of counts, and the data of {density.name} are not "
            f"({density.data.describe()}). Choose one of counts from 0, such as 'poisson' or "
            "'negative_binomial'."
        )
    return density


def new_parameters(
    density: Density, combinator: str, added: Mapping[str, Domain]
) -> tuple[Mapping[str, Domain], Mapping[str, sp.Expr]]:
    """Domains and symbols with the ``added`` parameters first; their names must be free."""
    named = {*density.parameters, str(density.variable), *(str(s) for s, _ in density.where)}
    taken = sorted(named & set(added))
    if taken:
        raise ParameterError(
            f"{combinator} adds a parameter {taken[0]!r}, a name that {density.name} already uses. "
            "Rename it in your density."
        )
    symbols = {n: d.symbol(n) for n, d in added.items()}
    return {**added, **density.parameters}, {**symbols, **density.symbols}


def constructed(
    name: str,
    part: Density,
    moves: tuple[Move, ...],
    *,
    doc: str,
    settings: Mapping[str, object] = MappingProxyType({}),
    data: Domain | None = None,
    parameters: Mapping[str, Domain] | None = None,
    symbols: Mapping[str, sp.Expr] | None = None,
    where: tuple[tuple[sp.Symbol, sp.Expr], ...] | None = None,
) -> Density:
    """The density at which ``moves`` arrive; what is not said is as in ``part``."""
    listed = ", ".join([part.name, *(f"{v:g}" for v in settings.values() if v is not None)])
    return Density(
        name=f"{name}({listed})",
        expr=moves[-1].after,
        variable=part.variable,
        data=part.data if data is None else data,
        symbols=MappingProxyType(dict(part.symbols if symbols is None else symbols)),
        parameters=MappingProxyType(dict(part.parameters if parameters is None else parameters)),
        where=part.where if where is None else where,
        doc=doc,
        made=Construction(name, (part,), MappingProxyType(dict(settings)), moves),
    )
