"""The nouns: what a density, a step and a derivation are. Frozen records, no behaviour of their own
beyond reading themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import sympy as sp

if TYPE_CHECKING:
    from lossderiv.symbolic.prove import Report, Verdict

RELATIONS = ("=", "constant", "scale", "link", "fix", "limit")


class _Picklable:
    """Read-only mappings travel as plain dicts."""

    def __reduce__(self):
        values = (getattr(self, f.name) for f in fields(self))
        return type(self), tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in values)


@dataclass(frozen=True)
class Link:
    """How a raw real output becomes a parameter.

    ``inverse(eta)`` is the formula, ``onto`` the name of the domain that it reaches, and
    ``because`` says in half a sentence why one would choose it.
    """

    name: str
    inverse: Callable[[sp.Expr], sp.Expr]
    onto: str
    because: str


@dataclass(frozen=True)
class Domain(_Picklable):
    """Where a number lives.

    ``assumptions`` are what SymPy may use, ``link`` is the default way from a raw output into the
    domain (``None``: the parameter is given, not learned), ``typical`` are probe points well
    inside, ``extreme`` ones far out. ``shape`` is ``"scalar"``, ``"vector"`` (such numbers along
    the last axis), ``"simplex"`` (a vector of probabilities), ``"category"`` (the index of one) or
    ``"increasing"`` (a given tuple of numbers).
    """

    name: str
    low: float = -math.inf
    high: float = math.inf
    integer: bool = False
    open_low: bool = False
    open_high: bool = False
    assumptions: Mapping[str, bool] = field(default_factory=dict)
    link: Link | None = None
    typical: tuple = ()
    extreme: tuple = ()
    shape: str = "scalar"
    high_is: str = ""  # the given parameter whose value, or length, bounds the data from above
    total: int | None = None  # what the entries of a vector add up to, if they must
    entry: str = ""  # of a vector: the name of the domain in which its entries live
    pairs: bool = False  # whether a vector has an entry for each pair of the data's entries
    atoms: tuple[float, ...] = ()  # points of a continuous range that have a probability
    length: int | None = None  # how many entries a vector has, where that is given
    axes: int = 1  # of a vector: how many last axes hold it; formulas take them as one

    @property
    def is_vector(self) -> bool:
        """Whether the domain holds vectors, along the last axis."""
        return self.shape in ("vector", "simplex")

    def contains(self, value: float) -> bool:
        """Whether the number ``value`` lies in the domain.

        >>> from lossderiv import Unit, Count
        >>> Unit.contains(1.0), Unit.contains(1.5), Count.contains(3), Count.contains(2.5)
        (True, False, True, False)
        """
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        whole = not self.integer or (math.isfinite(value) and value == math.floor(value))
        return bool(above and below and whole and math.isfinite(value))

    def width(self, entries: int) -> int:
        """How long a vector is, for data with so many entries."""
        return entries * (entries - 1) // 2 if self.pairs else entries

    def bounded(self, values: Mapping[str, object]) -> Domain:
        """The domain with its upper end set to the value of the parameter that names it."""
        if not self.high_is or self.high_is not in values:
            return self
        value = values[self.high_is]
        high = len(value) if isinstance(value, tuple | sp.Tuple) else int(value)
        if self.is_vector:
            a, b = high // 2, high // 3
            typical = ((b, high - 2 * b, b), (0, high, 0), (a, 0, high - a))
            return replace(self, name=f"Counts({high})", high=high, total=high, typical=typical)
        typical = tuple(dict.fromkeys(min(v, high) for v in self.typical))
        return replace(self, name=f"Integer(0, {high})", high=high, typical=typical)

    def symbol(self, name: str) -> sp.Expr:
        """The SymPy symbol for a number (or vector) called ``name`` in this domain."""
        if self.is_vector:
            return sp.IndexedBase(name, **(dict(self.assumptions) or {"real": True}))
        return sp.Symbol(name, **dict(self.assumptions))

    def describe(self) -> str:
        """The domain in words, for error messages: ``Unit: 0 <= x <= 1``."""
        if self.shape == "simplex":
            kind = "positive numbers" if self.open_low else "probabilities"
            return f"{self.name}: {kind} that add up to 1, on the last axis"
        if self.shape == "category":
            return f"{self.name}: a class index 0 .. K-1"
        if self.shape == "increasing":
            return f"{self.name}: a tuple of numbers, each larger than the one before"
        if self.total is not None:
            return f"{self.name}: counts that add up to {self.total}, on the last axis"
        if self.shape == "vector":
            entry = replace(self, shape="scalar", name="each entry").describe()
            return f"{self.name}: {entry}, on the last axis"
        low = "" if self.low == -math.inf else f"{self.low:g} {'<' if self.open_low else '<='} "
        high = "" if self.high == math.inf else f" {'<' if self.open_high else '<='} {self.high:g}"
        kind = "integer" if self.integer else "real"
        return f"{self.name}: {kind} {low}x{high}" if low or high else f"{self.name}: any {kind} x"


@dataclass(frozen=True)
class Move:
    """A rewriting of a density's formula and the reason for it: a step without its context."""

    before: sp.Expr
    after: sp.Expr
    rule: str
    reason: str


@dataclass(frozen=True)
class Construction(_Picklable):
    """How a density was made of others: by which combinator, of which parts, with which settings.

    ``moves`` lead from the construction's own formula to that of the density; a derivation begins
    with them. ``product`` says that the density is the product of its part's over the entries.
    """

    name: str
    parts: tuple[Density, ...]
    settings: Mapping[str, object]
    moves: tuple[Move, ...] = ()
    product: bool = False


@dataclass(frozen=True)
class Density(_Picklable):
    """A formula ``p(x | theta)`` with named intermediates.

    ``expr`` may use the names of ``where``; ``formula`` is the same with the names written out.
    ``parameters`` maps each parameter's name to its domain, in the order of the raw outputs.
    ``made`` says of which other densities a combinator made it, if one did.
    """

    name: str
    expr: sp.Expr
    variable: sp.Expr
    data: Domain
    symbols: Mapping[str, sp.Expr]
    parameters: Mapping[str, Domain]
    where: tuple[tuple[sp.Symbol, sp.Expr], ...]
    doc: str
    made: Construction | None = None

    @property
    def opening(self) -> sp.Expr:
        """The formula with which a derivation begins: that of the construction, where one is."""
        return self.made.moves[0].before if self.made and self.made.moves else self.expr

    @property
    def formula(self) -> sp.Expr:
        """The density with every named intermediate written out."""
        return close(self.expr, self.where)

    def check(self, **fixed) -> Mapping[str, float]:
        """Integrate (or sum) the density over its support at several probed parameters.

        Returns the integral Z for each probed point; raises
        :class:`~lossderiv.errors.DensityError` with those numbers when one is not 1 to 1e-6, and
        for a density of numbers that is negative where the integral looks.
        ``fixed`` are values for parameters, as in :func:`lossderiv.derive`.
        """
        from lossderiv.symbolic.normalise import check_density

        return check_density(self, fixed)


@dataclass(frozen=True)
class Step:
    """One move: ``before`` becomes ``after``; they stand in ``relation``; ``reason`` says why.

    ``where`` holds the named intermediates that both sides may use (``where_before`` those of the
    left side where the move changes them). ``verdict`` is computed when it is first read.
    """

    before: sp.Expr
    after: sp.Expr
    relation: str
    rule: str
    reason: str
    context: Context
    where: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    where_before: tuple[tuple[sp.Symbol, sp.Expr], ...] | None = None
    substitution: tuple[tuple[sp.Expr, sp.Expr], ...] = ()

    @cached_property
    def verdict(self) -> Verdict:
        """``"proven"`` or ``"checked"``; raises ``DerivationError`` when the step is false."""
        from lossderiv.symbolic.prove import verify

        return verify(self)


@dataclass(frozen=True)
class Context(_Picklable):
    """What the symbols of a derivation are: the domain of each, and which are raw outputs."""

    domains: Mapping[sp.Expr, Domain]
    outputs: tuple[sp.Expr, ...]


@dataclass(frozen=True)
class Rejected:
    """An identity that looks true and is not, and the point that kills it."""

    name: str
    find: sp.Expr
    give: sp.Expr
    because: str
    point: Mapping[sp.Symbol, object]


@dataclass(frozen=True)
class Rule:
    """A stabilising identity as data, with its own evidence.

    ``find`` becomes ``give``; the free symbols of ``find`` are wildcards. ``anchor`` is a point
    where both sides are computed exactly, ``witness`` one where the old form is useless in
    float32 (``None`` for a rule that only tidies), ``spares`` are neighbours that it must leave
    alone.
    """

    name: str
    find: sp.Expr
    give: sp.Expr
    because: str
    anchor: Mapping[sp.Symbol, float]
    witness: Mapping[sp.Symbol, float] | None
    spares: tuple[sp.Expr, ...] = ()


@dataclass(frozen=True)
class Derivation(_Picklable):
    """A density and the checked steps from it to the loss that a decoder's outputs minimise.

    ``nll`` is exact and in the parameters; ``loss`` is in the raw outputs, and
    ``nll(theta(eta)) == scale * loss + dropped``. ``evaluation`` are the further identities that
    lead from ``loss`` to ``kernel``, the form that a machine computes; ``gradient`` maps each
    output to the derivative of ``loss``.
    """

    density: Density
    fixed: Mapping[str, sp.Expr]
    links: Mapping[str, Link]
    context: Context
    where: tuple[tuple[sp.Symbol, sp.Expr], ...]
    steps: tuple[Step, ...]
    evaluation: tuple[Step, ...]
    gradient_steps: Mapping[str, tuple[Step, ...]]
    gradient_evaluation: Mapping[str, tuple[Step, ...]]
    reading: tuple[Rule, ...]
    computing: tuple[Rule, ...]
    exact_steps: tuple[Step, ...]
    open_exact: sp.Expr
    open_nll: sp.Expr
    nll_where: tuple[tuple[sp.Symbol, sp.Expr], ...]
    theta: Mapping[str, sp.Expr]
    dropped: sp.Expr
    scale: sp.Expr = sp.S.One

    @property
    def symbols(self) -> Mapping[str, sp.Expr]:
        """Output name -> the SymPy symbol that stands for it."""
        return MappingProxyType({output_name(s): s for s in self.context.outputs})

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the raw outputs, in the order in which a loss takes them."""
        return tuple(self.symbols)

    @property
    def has_vectors(self) -> bool:
        """Whether a raw output is a vector, along the last axis."""
        return any(isinstance(o, sp.IndexedBase) for o in self.context.outputs)

    @property
    def nll(self) -> sp.Expr:
        """The exact negative log-likelihood, in the parameters."""
        return close(self.open_nll, self.nll_where)

    @property
    def open_loss(self) -> sp.Expr:
        """The loss with its named intermediates (``where``) kept as names."""
        return self.steps[-1].after

    @property
    def loss(self) -> sp.Expr:
        """What is minimised, in the raw outputs."""
        return close(self.open_loss, self.where)

    @property
    def kernel(self) -> sp.Expr:
        """The loss in the form that is computed, named intermediates kept."""
        return self.evaluation[-1].after if self.evaluation else self.open_loss

    @property
    def exact_kernel(self) -> sp.Expr:
        """The exact negative log-likelihood in the outputs, in the form that is computed."""
        if not self.dropped.has(self.density.variable):
            return self.scale * self.kernel + self.dropped
        return self.exact_steps[-1].after if self.exact_steps else self.open_exact

    @property
    def gradient_kernel(self) -> Mapping[str, sp.Expr]:
        """Output -> slope in the form that is computed, named intermediates kept."""
        ends = {n: (s or self.gradient_steps[n]) for n, s in self.gradient_evaluation.items()}
        return MappingProxyType({n: s[-1].after for n, s in ends.items()})

    @property
    def open_gradient(self) -> Mapping[str, sp.Expr]:
        """Output -> slope of the loss in that output, named intermediates kept."""
        return MappingProxyType({n: s[-1].after for n, s in self.gradient_steps.items()})

    @property
    def gradient(self) -> Mapping[str, sp.Expr]:
        """Output -> slope of the loss in that output, names written out."""
        return MappingProxyType({n: close(e, self.where) for n, e in self.open_gradient.items()})

    def rescaled(self, factor: sp.Expr) -> Derivation:
        """The same derivation with its loss divided by a positive number: a ``scale`` step."""
        from lossderiv.symbolic.derive import rescaled

        return rescaled(self, factor)

    def check(self) -> Report:
        """Check every step again; raises ``DerivationError`` naming the first false one."""
        from lossderiv.symbolic.prove import check_derivation

        return check_derivation(self)

    def latex(self) -> str:
        """The derivation as one aligned LaTeX block."""
        from lossderiv.symbolic.render import latex

        return latex(self)

    def markdown(self) -> str:
        """The derivation as a Markdown table: step, formula, reason."""
        from lossderiv.symbolic.render import markdown

        return markdown(self)

    def text(self) -> str:
        """The derivation as plain text for a terminal of 80 columns."""
        from lossderiv.symbolic.render import text

        return text(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/markdown": self.markdown(), "text/plain": self.text()}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        given = "".join(f", {n}={v}" for n, v in self.fixed.items())
        return f"<Derivation of {self.density.name}{given}: {self.loss}>"


def output_name(symbol: sp.Expr) -> str:
    """The name of an output, scalar or vector."""
    return str(symbol.label) if isinstance(symbol, sp.IndexedBase) else symbol.name


def close(expr: sp.Expr, where: tuple[tuple[sp.Symbol, sp.Expr], ...]) -> sp.Expr:
    """``expr`` with every name of ``where`` replaced by what it stands for, last first."""
    for name, meaning in reversed(where):
        if isinstance(name, sp.Indexed):
            expr = expr.xreplace(_entries(name, meaning, expr))
        else:
            expr = expr.xreplace({name: meaning})
    return expr


def _entries(name: sp.Indexed, meaning: sp.Expr, expr: sp.Expr) -> dict[sp.Expr, sp.Expr]:
    """What each entry of a named vector in ``expr`` stands for, given the one at one index."""
    (i,) = name.indices
    found = {e for e in expr.atoms(sp.Indexed) if e.base == name.base}
    return {e: meaning.xreplace({i: e.indices[0]}) for e in found}
