"""Vectors for the insights: an entry that is a density by itself, and vectors of two or three.

Where the entries of a vector are independent, given the parameters, one of them tells it all. Where
they are not, the formulas can be written out for a few entries: enough for a counter-example, and
for following one entry far out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy as sp

from lossderiv.derivations import derive
from lossderiv.symbolic.probe import CLASS_COUNT
from lossderiv.symbolic.records import Density, Derivation, Domain
from lossderiv.symbolic.vectors import ENTRY, with_classes


@dataclass(frozen=True)
class OneEntry:
    """The derivation of one entry, and what its letters are in the vectors: ``mu -> mu[i]``."""

    derivation: Derivation
    back: Mapping[sp.Expr, sp.Expr]

    def of_vector(self, formula: sp.Expr) -> sp.Expr:
        """A formula of one entry in the letters of the vectors, at their entry ``i``."""
        return formula.xreplace(dict(self.back))


def one_entry(d: Derivation) -> OneEntry | None:
    """One entry as a density of its own, where the density is a product of such, else ``None``."""
    whole = d.density.formula
    named = {d.density.variable: d.density.data}
    named |= {d.density.symbols[n]: domain for n, domain in d.density.parameters.items()}
    free = all(v.shape == "vector" and v.total is None and not v.pairs for v in named.values())
    if d.fixed or not free or not isinstance(whole, sp.Product):
        return None
    k = whole.variables[0]
    letters = {v[k]: _alone(domain).symbol(str(v.label)) for v, domain in named.items()}
    formula = whole.function.xreplace(letters)
    if formula.atoms(sp.IndexedBase):
        return None
    parameters = {n: _alone(domain) for n, domain in d.density.parameters.items()}
    symbols = {n: letters[d.density.symbols[n][k]] for n in parameters}
    x = letters[d.density.variable[k]]
    data = _alone(d.density.data)
    density = Density(d.density.name, formula, x, data, symbols, parameters, (), d.density.doc)
    entry = derive(density, links={n: link.name for n, link in d.links.items()})
    back = {letter: v.xreplace({k: ENTRY}) for v, letter in letters.items()}
    back |= {entry.symbols[n]: output[ENTRY] for n, output in d.symbols.items()}
    return OneEntry(entry, back)


def _alone(vector: Domain) -> Domain:
    """The domain of one entry."""
    typical = tuple(dict.fromkeys(v for row in vector.typical for v in row))
    return replace(vector, name=vector.entry, entry="", shape="scalar", typical=typical)


def entries_in(d: Derivation) -> int:
    """How many entries a vector is written out with: two, or three that have a fixed total."""
    shapes = {domain.shape for domain in d.density.parameters.values()}
    return CLASS_COUNT if "simplex" in (*shapes, d.density.data.shape) else 2


def written_out(d: Derivation, formula: sp.Expr, x: object = None) -> sp.Expr:
    """``formula`` for :func:`entries_in` entries, entries as letters; ``x`` is a class, if any."""
    index = {} if x is None else {d.density.variable: x}
    plain = with_classes(formula, entries_in(d), index)
    return plain.xreplace({e: letter_of(d, e) for e in plain.atoms(sp.Indexed)})


def letter_of(d: Derivation, entry: sp.Indexed) -> sp.Symbol:
    """A symbol for an entry of a vector, with the entry's assumptions."""
    known = {"positive": True} if entry.is_positive else {"real": True}
    return sp.Symbol(str(entry), **known)


def letters_of(d: Derivation, vector: sp.IndexedBase) -> list[sp.Symbol]:
    """The letters of all entries of a vector."""
    size = d.context.domains[vector].width(entries_in(d))
    return [letter_of(d, vector[n]) for n in range(size)]
