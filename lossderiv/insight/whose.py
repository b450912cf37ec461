"""Which density of the catalogue has a given negative log-likelihood?

The likelihood arrives as numbers, a function of the target and the raw outputs. A family answers
if some of its parameters, through their default links, can be the outputs, and some values of the
others make the two agree everywhere: the values are solved for at a few points and must then hold
at all the others. :func:`owner` asks for equality, :func:`tempered` for equality up to a factor
and whatever no output moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product

import mpmath as mp
import sympy as sp

from lossderiv.catalogue import FAMILIES
from lossderiv.derivations import derive
from lossderiv.domains import LINKS
from lossderiv.insight.totals import DIGITS
from lossderiv.symbolic.probe import Formula
from lossderiv.symbolic.records import Density, Domain

AGREE = mp.mpf(10) ** -18
STARTS = (0.1, -0.7, 1.1)  # where the search for a number begins, on the scale of its link
FARTHEST = 30  # on that scale: beyond it, formulas such as gamma(exp(50)) take for ever
MOST_UNKNOWN = 2

Likelihood = Callable[[mp.mpf, Sequence[float]], mp.mpf]
"""``(target, outputs) -> -log p`` in numbers."""


@dataclass(frozen=True)
class Owner:
    """A family, the values ``given`` to some parameters, and the others in terms of the outputs.

    ``nll`` is the family's negative log-likelihood in the outputs;
    ``loss = temperature * nll + offset``, the offset free of the outputs.
    """

    family: str
    given: Mapping[str, sp.Expr]
    learned: Mapping[str, sp.Expr]
    nll: sp.Expr
    temperature: sp.Expr = sp.S.One


def owner(
    nll: Likelihood, x: sp.Symbol, data: Domain, outputs: Sequence[sp.Symbol], probes: Sequence
) -> Owner | None:
    """The first family of the catalogue whose negative log-likelihood ``nll`` is."""
    for density, learned in _candidates(data, outputs, signs=(1,)):
        found = _fill(density, nll, x, outputs, learned, probes)
        if found is not None:
            return found
    return None


def tempered(
    energy: Likelihood, x: sp.Symbol, data: Domain, outputs: Sequence[sp.Symbol], probes: Sequence
) -> Owner | None:
    """The family whose nll, times a positive factor and plus what no output moves, is ``energy``.

    Only families whose parameters are all learned are asked.
    """
    for density, learned in _candidates(data, outputs):
        if len(learned) < len(density.parameters):
            continue
        closed = _nll(density, x, learned)
        formula = Formula(closed)

        def theirs(value, at, formula=formula):
            return formula._once(_point(x, value, outputs, at))

        with mp.workdps(DIGITS):
            first = probes[0][1]
            ratios = [
                (energy(value, at) - energy(value, first), theirs(value, at) - theirs(value, first))
                for value, at in probes
                if at != first
            ]
            factor = ratios[0][0] / ratios[0][1] if ratios[0][1] else mp.nan
            if factor > 0 and all(abs(a - factor * b) < AGREE for a, b in ratios):
                number = sp.nsimplify(sp.Float(mp.nstr(factor, 25), 25), tolerance=1e-16)
                return Owner(density.name, {}, learned, closed, number)
    return None


def _point(x, value, outputs, at) -> dict:
    return {x: value, **dict(zip(outputs, at, strict=False))}


def _nll(density: Density, x: sp.Symbol, theta: Mapping[str, sp.Expr]) -> sp.Expr:
    """``-log p`` as its derivation has it, with formulas in place of its parameters."""
    given = {n: _onto(d) for n, d in density.parameters.items() if d.link is None}
    values = {density.symbols[n]: e for n, e in theta.items()}
    return derive(density.name, links=given).nll.xreplace({**values, density.variable: x})


def _candidates(
    data: Domain, outputs, signs=(1, -1)
) -> Iterator[tuple[Density, dict[str, sp.Expr]]]:
    """Families on that support, and which parameters the outputs may be, as they are or negated."""
    for chosen in product(signs, repeat=len(outputs)):
        signed = [sign * o for sign, o in zip(chosen, outputs, strict=True)]
        for density in FAMILIES.values():
            if _same_support(density.data, data) and _shapes(density) == {"scalar"}:
                yield from ((density, learned) for learned in _assignments(density, signed))


def _same_support(a: Domain, b: Domain) -> bool:
    return (a.low, a.high, a.integer, a.shape) == (b.low, b.high, b.integer, b.shape)


def _shapes(density: Density) -> set[str]:
    return {"integer" if d.integer else d.shape for d in density.parameters.values()}


def _assignments(density: Density, signed) -> Iterator[dict[str, sp.Expr]]:
    """Which parameter each output might be, in the order of the signature first."""
    can = [n for n, d in density.parameters.items() if d.link is not None]
    for names in combinations(can, len(signed)):
        if len(density.parameters) - len(names) <= MOST_UNKNOWN:
            for order in permutations(signed):
                pairs = zip(names, order, strict=True)
                yield {n: density.parameters[n].link.inverse(o) for n, o in pairs}


def _fill(density: Density, nll, x, outputs, learned, probes) -> Owner | None:
    unknown = [n for n in density.parameters if n not in learned]
    free = {n: sp.Dummy(n, real=True) for n in unknown}
    scales = {n: _scale(density.parameters[n]) for n in unknown}
    theta = {**learned, **{n: scales[n](s) for n, s in free.items()}}
    values = {density.symbols[n]: e for n, e in theta.items()}
    formula = Formula(-sp.log(density.formula.xreplace({**values, density.variable: x})))

    def gap(point, numbers: Sequence) -> mp.mpf:
        value, at = point
        known = dict(zip(free.values(), numbers, strict=True))
        return formula._once({**known, **_point(x, value, outputs, at)}) - nll(value, at)

    with mp.workdps(DIGITS):
        for numbers in _solutions(gap, probes, len(unknown)):
            if all(abs(gap(p, numbers)) < AGREE for p in probes):
                exact = {n: _exact(scales[n], v) for n, v in zip(unknown, numbers, strict=True)}
                return Owner(density.name, exact, learned, _nll(density, x, {**learned, **exact}))
    return None


def _scale(domain: Domain) -> Callable[[sp.Expr], sp.Expr]:
    """From any real number to a value of the parameter, so that a search cannot leave it."""
    return domain.link.inverse if domain.link is not None else LINKS[_onto(domain)].inverse


def _onto(domain: Domain) -> str:
    """The link that reaches a domain whose parameter is usually given."""
    return next(name for name, link in LINKS.items() if link.onto == domain.name)


def _solutions(gap, probes, count: int) -> Iterator[tuple]:
    """Numbers that close the gap at the first ``count`` probes, from several starts."""
    if count == 0:
        yield ()
        return

    def gaps(*numbers):
        if any(abs(n) > FARTHEST for n in numbers):
            raise ValueError("the search has left for infinity")
        found = [gap(p, numbers) for p in probes[:count]]
        return found if count > 1 else found[0]

    for start in STARTS:
        try:
            found = mp.findroot(
                gaps,
                (start,) * count if count > 1 else start,
                tol=mp.mpf(10) ** (4 - 2 * DIGITS),
                maxsteps=15,
            )
        except (ValueError, ZeroDivisionError, TypeError):  # mpmath's words for: no root near here
            continue
        yield tuple(found) if count > 1 else (found,)


def _exact(scale, number: mp.mpf) -> sp.Expr:
    """A number with a short name, such as sqrt(2)/2, where it has one."""
    value = scale(sp.Float(mp.nstr(number, 25), 25)).evalf(20)
    return sp.nsimplify(value, tolerance=1e-16)
