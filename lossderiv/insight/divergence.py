"""The Kullback-Leibler divergence of two densities, in closed form where the moments allow it.

``KL(q || p) = E_q[log q(x) - log p(x)]`` is a sum of coefficients times averages ``E_q[T(x)]``.
The averages come from q itself: its score has mean zero, ``E_q[d log q/d theta] = 0``, which is
one linear equation in them for each parameter. What that leaves open is integrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import mpmath as mp
import sympy as sp

from lossderiv.catalogue import FAMILIES
from lossderiv.derivations import derive, find_density
from lossderiv.domains import LINKS
from lossderiv.errors import DerivationError, ParameterError
from lossderiv.insight.claim import Claim
from lossderiv.insight.record import Shown
from lossderiv.insight.totals import (
    DIGITS,
    SECONDS,
    corners,
    exact_end,
    numeric_total,
    symbolic_total,
)
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import Formula
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.render import plain
from lossderiv.symbolic.vectors import RUNNING

AGREE = mp.mpf(10) ** -12
PROBES = 4
HERE = sp.Symbol("t", real=True)  # a place as seen from a corner


@dataclass(frozen=True, repr=False)
class Divergence(Shown):
    """``KL(q || p)`` in nats: ``expr`` is its closed form, ``None`` with the ``reason`` if none
    was found.

    ``symbols`` are the free parameters by name, those of q ending in ``_q`` and those of p in
    ``_p``. ``checks`` are the numbers by quadrature or summation at the probed parameters, and
    ``asked`` is what :func:`kl` was called with.
    """

    q: str
    p: str
    expr: sp.Expr | None
    symbols: Mapping[str, sp.Symbol]
    reason: str
    steps: tuple[Claim, ...]
    checks: tuple[tuple[Mapping[str, float], float], ...] = ()
    asked: tuple = ()

    @property
    def title(self) -> str:
        """What it is of what."""
        return f"KL({self.q} || {self.p})"

    def rows(self):
        """The steps and the result."""
        if self.expr is None:
            return [("no closed form", [self.reason]), *(s.row() for s in self.steps)]
        return [*(s.row() for s in self.steps), ("result, in nats", [self.expr])]

    def check(self) -> tuple[str, ...]:
        """Each average, and the result, once more by quadrature or summation.

        Returns the verdicts; raises ``DerivationError`` at a claim that is false.
        """
        if not self.checks:
            return tuple(step.verdict for step in self.steps)
        q, p, fixed = self.asked
        one, other = _Side(q, "_q", fixed), _Side(p, "_p", fixed)
        x = one.x
        gap = other.nll.xreplace({other.x: x}) - one.nll
        for step in self.steps[1:]:
            body = gap if step.label == "average" else step.left.args[0]
            _, wrong = _checked(step.right, body, one, other, x)
            if wrong:
                raise DerivationError(
                    f"The step '{step.label}' of {self.title} ({step.left} = {step.right}) is "
                    f"false: {wrong}. Correct the formula that made it."
                )
        _, wrong = _checked(self.expr, gap, one, other, x)
        if wrong:
            raise DerivationError(f"The closed form of {self.title} is false: {wrong}.")
        return tuple(step.verdict for step in self.steps)

    def at(self, **values: float) -> float:
        """The closed form in numbers.

        >>> import lossderiv as ld
        >>> ld.kl("exponential", "exponential").at(rate_q=1, rate_p=2)
        0.3068528194400547
        """
        if self.expr is None:
            raise ParameterError(
                f"{self.title} has no closed form here: {self.reason} lossderiv.kl_estimate "
                "samples it."
            )
        missing = sorted(set(self.symbols) ^ set(values))
        if missing:
            raise ParameterError(
                f"{self.title} is a function of {', '.join(self.symbols)}; "
                f"{missing[0]} is {'missing' if missing[0] in self.symbols else 'not among them'}."
            )
        point = {self.symbols[n]: sp.Float(v, 30) for n, v in values.items()}
        return float(spell_out(self.expr).xreplace(point).evalf(20))


def kl(q: str | Density | Derivation, p: str | Density | Derivation, **fixed: float) -> Divergence:
    """``KL(q || p) = E_q[log q - log p]``, in nats, with the steps to its closed form.

    Where no closed form is found, ``expr`` is ``None`` and ``reason`` says why; then
    :func:`lossderiv.kl_estimate` samples it. Every closed form agrees with quadrature (or
    summation) to 12 digits at four probed parameters, or it is not returned. Source of the
    definition: Kullback and Leibler (1951), equation 2.4.

    Parameters
    ----------
    q, p
        Names from :func:`lossderiv.families`, densities, or derivations with fixed values.
    **fixed
        Values for parameters, those of q with ``_q`` appended and those of p with ``_p``:
        ``kl("normal", "normal", mu_p=0, sigma_p=1)``.

    >>> import lossderiv as ld
    >>> ld.kl("normal", "normal", mu_p=0, sigma_p=1).expr
    mu_q**2/2 + sigma_q**2/2 - log(sigma_q) - 1/2
    >>> ld.kl("normal", "exponential").reason
    'it is infinite: normal reaches where exponential has no probability'
    """
    one, other = _Side(q, "_q", fixed), _Side(p, "_p", fixed)
    unknown = sorted(set(fixed) - set(one.names) - set(other.names))
    if unknown:
        raise ParameterError(
            f"Neither q = {one.name} nor p = {other.name} has a parameter {unknown[0]!r}. Theirs "
            f"are {', '.join((*one.names, *other.names))}."
        )
    symbols = {s.name: s for side in (one, other) for s in side.free}
    made = {"q": one.name, "p": other.name, "symbols": symbols, "asked": (q, p, dict(fixed))}
    if one.is_classes and other.is_classes:
        return _of_classes(one, other, made)
    if not (one.is_scalar and other.is_scalar):
        reason = "averages over vectors are taken here for classes alone, and then for both"
        return Divergence(**made, expr=None, reason=reason, steps=())
    reach = _reaches(one, other)
    if reach:
        return Divergence(**made, expr=None, reason=reach, steps=())
    x = one.x
    gap = other.nll.xreplace({other.x: x}) - one.nll
    start = Claim(
        "definition",
        sp.Symbol("KL"),
        sp.Function("E_q")(gap),
        "the average, under q, of log q - log p",
        "proven",
    )
    found, steps, reason = _averaged(gap, one, x)
    if found is None:
        return Divergence(**made, expr=None, reason=reason, steps=(start,))
    found = _by_differences(found, one, other)
    checks, wrong = _checked(found, gap, one, other, x)
    if wrong:
        return Divergence(**made, expr=None, reason=wrong, steps=(start,))
    last = Claim(
        "average",
        sp.Symbol("KL"),
        found,
        "each average in its place",
        f"checked by {'summation' if one.data.integer else 'quadrature'} at {len(checks)} points",
    )
    return Divergence(
        **made, expr=found, reason="", steps=(start, *steps, last), checks=tuple(checks)
    )


class _Side:
    """One of the two densities, its parameters renamed and some of them given."""

    def __init__(self, of, suffix: str, fixed: Mapping[str, float]):
        density = of.density if isinstance(of, Derivation) else find_density(of)
        given = dict(of.fixed) if isinstance(of, Derivation) else {}
        for n, domain in density.parameters.items():
            if n + suffix in fixed:
                given[n] = sp.Rational(str(fixed[n + suffix]))
                if not domain.contains(float(given[n])):
                    raise ParameterError(
                        f"{n + suffix} = {given[n]} lies outside {domain.describe()}. Choose a "
                        "value inside."
                    )
        self.density, self.name, self.suffix = density, density.name, suffix
        self.names = [n + suffix for n in density.parameters]
        self.data = density.data.bounded(given)
        self.x = density.variable
        domains = density.parameters
        own = {n: domains[n].symbol(n + suffix) for n in domains if n not in given}
        self.domains = {s: domains[n] for n, s in own.items()}
        self.free = list(own.values())
        self.values = {density.symbols[n]: s for n, s in {**own, **given}.items()}
        shapes = {d.shape for d in (density.data, *domains.values())}
        self.is_scalar, self.is_classes = shapes == {"scalar"}, shapes == {"category", "simplex"}
        self.nll = self._nll(given) if self.is_scalar else None

    def _nll(self, given) -> sp.Expr:
        """``-log p`` with its logs opened, as the derivation has it."""
        d, links, numbers = self.density, {}, {}
        for n, domain in d.parameters.items():
            reach = [name for name, link in LINKS.items() if link.onto == domain.name]
            if domain.link is None and reach:
                links[n] = reach[0]
            elif domain.link is None and n in given:
                numbers[n] = float(given[n])
        known = d.name if FAMILIES.get(d.name) is d else d
        return spell_out(derive(known, links=links, **numbers).nll).xreplace(self.values)

    @property
    def weight(self) -> sp.Expr:
        return self.density.formula.xreplace(self.values)


def _reaches(one: _Side, other: _Side) -> str:
    """Why the divergence is infinite or has no meaning, judged by the two supports."""
    a, b = one.data, other.data
    if a.integer != b.integer:
        return (
            f"{one.name} and {other.name} have no common measure: one is a density, the other "
            "gives probabilities to whole numbers"
        )
    if a.low < b.low or a.high > b.high:
        return f"it is infinite: {one.name} reaches where {other.name} has no probability"
    moving = [s.name for s in (one, other) if s.density.formula.has(inside)]
    return f"the support of {moving[0]} moves with its parameters" if moving else ""


def _of_classes(one: _Side, other: _Side, made) -> Divergence:
    """Over classes the average is the sum itself."""
    p, q = (s.weight.xreplace({s.x: RUNNING}) for s in (other, one))
    total = sp.Sum(q * (sp.log(q) - sp.log(p)), RUNNING)
    reason = "the average over classes is the sum, weighted with q"
    step = Claim("definition", sp.Symbol("KL"), total, reason, "proven")
    return Divergence(**made, expr=total, reason="", steps=(step,))


def _averaged(gap: sp.Expr, one: _Side, x: sp.Symbol):
    """``E_q[gap]`` as a formula, the averages it took, or the reason why there is none."""
    if one.data.integer and one.data.high < 50:
        values = range(int(one.data.low), int(one.data.high) + 1)
        both = one.weight * gap
        return sp.Add(*(both.xreplace({x: sp.Integer(v)}).doit() for v in values)), (), ""
    terms = _terms(gap, x)
    wanted = [t for t in terms if t != 1]
    known = _by_scores(wanted, one, x)
    steps = [
        Claim(
            "score",
            sp.Function("E_q")(t),
            e,
            "the score of q has mean zero",
            "checked in the result",
        )
        for t, e in known.items()
    ]
    for t in wanted:
        if t in known:
            continue
        found = _integrated(t, one, x)
        if found is None:
            reason = (
                f"averaged term by term under {one.name}, the average of {plain(t)} follows "
                f"neither from its scores nor from an integral that SymPy finds in {SECONDS:g} s"
            )
            return None, (), reason
        known[t] = found
        steps.append(
            Claim("integral", sp.Function("E_q")(t), found, "integrated", "checked in the result")
        )
    return sp.Add(*(c * known.get(t, sp.Integer(1)) for t, c in terms.items())), steps, ""


def _terms(expr: sp.Expr, x: sp.Symbol) -> dict[sp.Expr, sp.Expr]:
    """``expr`` as coefficients of functions of x, constants under 1."""
    found: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand(expr, trig=expr.has(sp.sin, sp.cos))):
        c, t = term.as_independent(x, as_Add=False)
        found[t] = found.get(t, sp.Integer(0)) + c
    return {t: c for t, c in found.items() if sp.expand(c) != 0}


def _by_scores(wanted, one: _Side, x: sp.Symbol) -> dict[sp.Expr, sp.Expr]:
    """The averages that the equations ``E_q[d log q/d theta] = 0`` settle."""
    scores = [_terms(sp.diff(one.nll, s), x) for s in one.free]
    scores = [terms for terms in scores if not any(t.has(sp.sign) for t in terms)]
    names = {t: sp.Dummy() for terms in (*scores, wanted) for t in terms if t != 1}
    equations = [sum(c * names.get(t, 1) for t, c in terms.items()) for terms in scores]
    if not equations:
        return {}
    solved = sp.solve(equations, list(names.values()), dict=True)
    values = solved[0] if solved else {}
    unknown = set(names.values())
    return {
        t: sp.expand(values[names[t]])
        for t in wanted
        if names[t] in values and not values[names[t]].free_symbols & unknown
    }


def _integrated(t: sp.Expr, one: _Side, x: sp.Symbol) -> sp.Expr | None:
    """``E_q[t]`` by integration; on the line from the place of a corner, if there is one."""
    weight = spell_out(t * one.weight)
    if one.data.name != "Real":
        ends = map(exact_end, (one.data.low, one.data.high))
        return symbolic_total((weight,), x, *ends, one.data.integer)
    bends = {sp.solve(a.args[0], x)[0] for a in weight.atoms(sp.Abs) if a.args[0].has(x)}
    centres = sorted(bends | (weight.free_symbols & set(one.free[:1])), key=str, reverse=True)
    if len(centres) > 2:
        return None
    home = next((c for c in centres if c in one.free), centres[0] if centres else sp.Integer(0))
    others = [c for c in centres if c != home and c in bends]
    d = sp.Symbol("d", positive=True)
    cases = []
    for side in (1, -1) if others else (1,):
        bent = {a: _from_home(a, x, home, d) for a in weight.atoms(sp.Abs) if a.args[0].has(x)}
        moved = weight.xreplace(bent).xreplace({x: home + side * x}).xreplace({HERE: x})
        marks = [-sp.oo, sp.Integer(0), *([d] if others else []), sp.oo]
        total = sp.Integer(0)
        for low, high in pairwise(marks):
            middle = _between(low, high, d)
            piece = moved.xreplace(
                {a: a.args[0] * _sign(a.args[0], {x: middle, d: 1}) for a in moved.atoms(sp.Abs)}
            )
            part = symbolic_total((piece.xreplace({x: _real(x)}),), _real(x), low, high)
            if part is None:
                return None
            total += part
        cases.append(sp.expand(total))
    if not others:
        return cases[0]
    if sp.expand(cases[0] - cases[1]) == 0:
        return cases[0].xreplace({d: sp.Abs(others[0] - home)})
    return None


def _from_home(bend: sp.Abs, x: sp.Symbol, home: sp.Expr, d: sp.Symbol) -> sp.Expr:
    """``|k (x - c)|`` as ``|k| |t - d|``, with t the distance from home on the side where c is."""
    (arg,) = bend.args
    centre = sp.solve(arg, x)[0]
    return sp.Abs(sp.diff(arg, x)) * sp.Abs(HERE if centre == home else HERE - d)


def _real(x: sp.Symbol) -> sp.Symbol:
    return sp.Symbol(x.name, real=True)


def _between(low, high, d) -> sp.Expr:
    if low == -sp.oo:
        return sp.Integer(-1)
    return (low + high) / 2 if high != sp.oo else low + 1


def _sign(expr: sp.Expr, point) -> int:
    value = expr.xreplace(point).xreplace(point)
    value = value.xreplace({s: sp.Rational(13, 7) for s in value.free_symbols})
    return 1 if value > 0 else -1


def _by_differences(expr: sp.Expr, one: _Side, other: _Side) -> sp.Expr:
    """``mu_q**2 - 2 mu_q mu_p + mu_p**2`` as a square, where only the difference counts."""
    expr, delta = sp.expand(expr), sp.Dummy("delta", real=True)
    for a in one.free:
        for b in other.free:
            if a.name[:-2] == b.name[:-2] and one.domains[a].name == "Real":
                moved = sp.expand(expr.xreplace({a: b + delta}))
                if not moved.has(b):
                    expr = moved.xreplace({delta: a - b})
    return expr


def _checked(found, gap, one: _Side, other: _Side, x):
    """The closed form against numbers: the checks made, and the sentence of a disagreement."""
    formula, body = Formula(found), Formula(one.weight * gap)
    domains = {**one.domains, **other.domains}
    checks = []
    for k in range(PROBES):
        point = {
            s: d.typical[(k + 2 * n) % len(d.typical)] for n, (s, d) in enumerate(domains.items())
        }
        with mp.workdps(DIGITS):
            bends = corners(one.weight * gap, x, one.data, point) if not one.data.integer else []

            def value(v, point=point):
                return _zero_times(body._once({**point, x: v}))

            number = numeric_total(value, one.data, bends)
        said = formula.at(point)
        if not abs(said - number) <= AGREE * max(1, abs(number)):
            return [], (
                f"the formula that its scores give, {mp.nstr(said, 8)}, is not the average, "
                f"{mp.nstr(number, 8)}: its support or its tails do not allow the exchange"
            )
        checks.append(({s.name: float(v) for s, v in point.items()}, float(number)))
    return checks, ""


def _zero_times(value: mp.mpf) -> mp.mpf:
    """Where q is 0, ``q log q`` is 0 however large the log."""
    return mp.mpf(0) if mp.isnan(value) else value
