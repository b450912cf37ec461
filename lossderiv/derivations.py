"""The front door to a derivation: a name, a function or a Density goes in."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import sympy as sp

from lossderiv.catalogue import FAMILIES
from lossderiv.domains import LINKS, Logits, Real
from lossderiv.errors import DensityError, ParameterError, UnknownNameError
from lossderiv.mixing import mix
from lossderiv.rules import COMPUTING, READING
from lossderiv.symbolic.derive import derive_nll
from lossderiv.symbolic.records import Density, Derivation, Link
from lossderiv.symbolic.trace import density_of


def families() -> tuple[str, ...]:
    """Names of the catalogue's densities, in teaching order.

    >>> import lossderiv as ld
    >>> ld.families()[:2]
    ('normal', 'bernoulli')
    """
    return tuple(FAMILIES)


def density(function: Callable) -> Density:
    """Decorator: a function whose annotations are domains becomes a :class:`Density`.

    The density goes the same road as the catalogue's: :func:`derive` integrates it first and
    refuses one whose integral is not 1.

    >>> import lossderiv as ld
    >>> from sympy import exp
    >>> @ld.density
    ... def exponential(x: ld.NonNegative, rate: ld.Positive):
    ...     "Waiting time until an event that comes at a constant rate."
    ...     return rate * exp(-rate * x)
    >>> ld.derive(exponential).loss
    -eta_rate + x*exp(eta_rate)
    """
    return density_of(function)


def derive(
    of: str | Density | Derivation, *, links: Mapping[str, str] | None = None, **fixed: float
) -> Derivation:
    """Derive the loss of a density: the checked steps from ``p(x | theta)`` to the loss.

    Parameters
    ----------
    of
        A name from :func:`families`, or a :class:`Density` of your own, which is integrated first.
    links
        Parameter name -> link name, where the default link is not wanted, as in
        ``{"sigma": "softplus"}``.
    **fixed
        Values for parameters that are given instead of learned: ``sigma=1``.

    Raises
    ------
    UnknownNameError, ParameterError, DensityError
        For an unknown family or link, a parameter that does not exist, is missing or lies outside
        its domain, and a density that does not integrate to one.

    >>> import lossderiv as ld
    >>> ld.derive("bernoulli").loss
    -eta_p*x + softplus(eta_p)
    """
    if isinstance(of, Derivation):
        if fixed or links:
            raise ParameterError(
                f"The derivation of {of.density.name} is finished: fix parameters and choose links "
                "when deriving, as in derive('normal', sigma=1)."
            )
        return of
    known = find_density(of)
    values = {name: _value(known, name, value) for name, value in fixed.items()}
    known = replace(known, data=known.data.bounded(values))
    if isinstance(of, Density):
        _check_normalised(known, values)
    if known.made is not None and known.made.name == "mixture":
        return _mixed(known, links or {})
    chosen = _links(known, values, links or {})
    outputs = {
        n: replace(Logits, pairs=known.parameters[n].pairs)
        if known.parameters[n].is_vector
        else Real
        for n in known.parameters
        if n not in values
    }
    return derive_nll(known, values, chosen, outputs, READING, COMPUTING)


def _check_normalised(known: Density, values: Mapping[str, sp.Expr]) -> None:
    """Integrate a user's formula; what a combinator makes integrates to one if its parts do."""
    if known.made is None:
        if FAMILIES.get(known.name) is not known:
            known.check(**values)
        return
    for part in known.made.parts:
        _check_normalised(part, {n: v for n, v in values.items() if n in part.parameters})


def _mixed(known: Density, links: Mapping[str, str]) -> Derivation:
    """The derivation of a mixture: that of its component, mixed."""
    (part,) = known.made.parts
    if not links:
        return mix(known, known.made.settings["derivation"])
    own = {n: link for n, link in links.items() if n != "logits"}
    return mix(known, derive(part, links=own, **known.made.settings["fixed"]))


def find_density(of: str | Density) -> Density:
    """The Density itself, or the one of that name in the catalogue."""
    if isinstance(of, Density):
        return of
    if not isinstance(of, str):
        raise DensityError(
            f"Expected a family's name or a Density, not {type(of).__name__}. Decorate a function "
            "with @lossderiv.density to make one."
        )
    if of not in FAMILIES:
        near = difflib.get_close_matches(of, FAMILIES, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(FAMILIES)}."
        raise UnknownNameError(
            f"There is no family called {of!r}. {hint} lossderiv.families() lists them all; "
            "@lossderiv.density makes one of your own."
        )
    return FAMILIES[of]


def _value(known: Density, name: str, value: float) -> sp.Expr:
    """A fixed value as an exact number: 0.1 means one tenth."""
    if name not in known.parameters:
        raise ParameterError(
            f"{known.name} has no parameter {name!r}; its parameters are "
            f"{', '.join(known.parameters)}. Links are given as links={{...}}."
        )
    domain = known.parameters[name]
    if domain.shape == "increasing":
        return _increasing(known, name, value)
    if domain.is_vector:
        raise ParameterError(
            f"{name} of {known.name} is a vector and is learned, so it cannot be given as "
            f"{value!r}. Leave it out; to keep it where it is, give the loss a constant output."
        )
    try:
        number = float(value)
    except (TypeError, ValueError) as problem:
        raise ParameterError(
            f"The value of {name} in {known.name} must be a number, not {value!r}. To learn "
            f"{name}, leave it out."
        ) from problem
    if not (math.isfinite(number) and domain.contains(number)):
        raise ParameterError(
            f"{known.name} was given {name} = {value}, outside its domain "
            f"({domain.describe().replace('x', name)}). Choose a value inside."
        )
    return _exact(number)


def _exact(number: float) -> sp.Rational:
    return sp.Integer(int(number)) if number == int(number) else sp.Rational(repr(number))


def _increasing(known: Density, name: str, value: object) -> sp.Tuple:
    """Given numbers in increasing order."""
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError) as problem:
        raise ParameterError(
            f"The value of {name} in {known.name} must be a sequence of numbers, not {value!r}."
        ) from problem
    ordered = all(a < b for a, b in pairwise(numbers))
    if not (numbers and all(map(math.isfinite, numbers)) and ordered):
        raise ParameterError(
            f"{known.name} was given {name} = {value}, which is not in its domain "
            f"({known.parameters[name].describe()}). Give at least one finite number, in order."
        )
    return sp.Tuple(*map(_exact, numbers))


def _links(known: Density, values: Mapping, chosen: Mapping[str, str]) -> dict[str, Link]:
    for name in chosen:
        if name not in known.parameters or name in values:
            learned = [n for n in known.parameters if n not in values]
            raise ParameterError(
                f"A link was given for {name!r}, which is not a learned parameter of {known.name}; "
                f"learned are {', '.join(learned)}."
            )
    found = {}
    for name, domain in known.parameters.items():
        if name in values:
            continue
        if name in chosen:
            found[name] = _link(known, name, chosen[name])
        elif domain.link is None:
            raise ParameterError(
                f"{known.name} needs a value for {name} ({domain.describe()}), which cannot be "
                f"learned. Give it when deriving: derive({known.name!r}, {name}=...)."
            )
        else:
            found[name] = domain.link
    return found


def _link(known: Density, name: str, chosen: str) -> Link:
    if chosen not in LINKS:
        near = difflib.get_close_matches(str(chosen), LINKS, n=2, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(LINKS)}."
        raise UnknownNameError(f"There is no link called {chosen!r} (for {name}). {hint}")
    link, domain = LINKS[chosen], known.parameters[name]
    into = domain.entry or domain.name
    if link.onto != into and domain.link is not link:
        raise ParameterError(
            f"The link {chosen!r} reaches {link.onto}, but {name} of {known.name} lives in "
            f"{domain.describe()}. Choose one that stays inside: "
            f"{', '.join(k for k, v in LINKS.items() if v.onto == into) or 'none known'}."
        )
    return link
