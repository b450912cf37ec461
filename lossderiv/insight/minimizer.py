"""Which constant minimises a loss over a sample? Solved from the loss, not looked up.

The slope of ``-log p`` in one parameter is sorted into ``sum_k c_k(parameter) g_k(everything
else)``; over a sample each ``g_k`` becomes its average, and what remains is an equation for the
parameter. Because the averages may run over the other parameters too, the solution is the profile
optimum: for a Gaussian the width ``sqrt(mean((x - mu)^2))`` with ``mu`` the decoder's own output
for each pixel, which is the optimal width of the sigma-VAE (Rybkin, Daniilidis and Levine 2021).
Where the profile optima can be put into each other, they give the constants that fit a sample best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.errors import DerivationError
from lossderiv.insight.averages import (
    OF_A_SAMPLE,
    Average,
    Greatest,
    Least,
    Median,
    Quantile,
    over_sample,
)
from lossderiv.insight.entries import one_entry
from lossderiv.insight.evidence import spread
from lossderiv.insight.exponential import exponential_family
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.insight.separate import Separated, separate
from lossderiv.insight.solve import cleared, solved
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import Formula
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.render import plain
from lossderiv.symbolic.vectors import ENTRY

SAMPLES = 3
ZERO = mp.mpf(10) ** -40
ROUNDING = mp.mpf(10) ** -30
STEP = mp.mpf(10) ** -6  # to either side of a corner or an edge, relative to 1 and the optimum


@dataclass(frozen=True)
class Optimum:
    """The best value of one parameter, the others being what they are.

    ``formula`` is ``None`` where no closed form was found; ``equation`` is then what it makes zero.
    ``curvature`` is the second derivative of the mean loss there, ``None`` at a corner or an edge,
    and ``verdict`` says how the equation and the sign of the curvature were checked. ``why`` says
    by which argument the formula is the minimum, or why there is none; ``obstacle`` is the term
    that then stood in the way, if it was one.
    """

    parameter: str
    formula: sp.Expr | None
    why: str
    equation: sp.Expr | None = None
    curvature: sp.Expr | None = None
    verdict: str = ""
    obstacle: sp.Expr | None = None


@dataclass(frozen=True)
class Minimizer(Shown):
    """What :func:`minimizer` found.

    ``profile`` has an :class:`Optimum` for each learned parameter, given the others;
    ``constants`` maps those parameters that have one to the closed form of the constant that
    minimises the mean loss over a sample, all learned together.
    """

    derivation: Derivation
    profile: Mapping[str, Optimum]
    constants: Mapping[str, sp.Expr]

    @property
    def title(self) -> str:
        d = self.derivation
        return f"{heading(d.density.name, d.fixed)}: what minimises the loss over a sample"

    def check(self) -> tuple[str, ...]:
        """Each optimum put back once more: into the mean slope, or into the mean loss beside it.

        Returns the verdicts; raises ``DerivationError`` at one that is none.
        """
        alone = one_entry(self.derivation)
        if alone is not None:
            return minimizer(alone.derivation).check()
        if self.derivation.has_vectors:
            return exponential_family(self.derivation).check()
        problem = _Problem(self.derivation)
        return tuple(problem.again(o) for o in self.profile.values() if o.formula is not None)

    def at(self, sample: Sequence[float], **others: float) -> dict[str, float]:
        """The constants of ``sample``, or with ``others`` given, the rest at their profile optima.

        >>> import lossderiv as ld
        >>> ld.minimizer("laplace").at([1, 2, 6])
        {'mu': 2.0, 'b': 1.6666666666666667}
        >>> ld.minimizer("laplace").at([1, 2, 6], mu=0)
        {'b': 3.0}
        """
        d = self.derivation
        fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
        values = {d.density.symbols[n]: sp.sympify(v) for n, v in others.items()}
        formulas = self.constants
        if others:
            found = {n: o.formula for n, o in self.profile.items() if n not in others}
            formulas = {n: f for n, f in found.items() if f is not None}
        return {
            n: float(over_sample(f, d.density.variable, sample, {**fixed, **values}))
            for n, f in formulas.items()
        }

    def rows(self) -> list[Row]:
        symbols = self.derivation.density.symbols
        rows: list[Row] = []
        for name, optimum in self.profile.items():
            said = [optimum.why]
            if optimum.formula is not None:
                said.insert(0, (_entry(symbols[name]), optimum.formula))
                if optimum.curvature is not None:
                    said.append(("curvature", optimum.curvature))
            elif optimum.equation is not None:
                said.insert(0, (optimum.equation, sp.Integer(0)))
            if optimum.verdict:
                said.append(optimum.verdict)
            rows.append((f"best {name}, the others given", said))
        for name, formula in self.constants.items():
            rows.append((f"best constant {name}", [(_entry(symbols[name]), formula)]))
        left = [n for n in self.profile if n not in self.constants]
        if left:
            rows.append(("no closed form found for the constant", [", ".join(left)]))
        return rows


def _entry(symbol: sp.Expr) -> sp.Expr:
    return symbol[sp.Symbol("i")] if isinstance(symbol, sp.IndexedBase) else symbol


def minimizer(of: str | Density | Derivation, **options) -> Minimizer:
    """The constants that minimise a loss over a sample, and each parameter's profile optimum.

    ``options`` are those of :func:`lossderiv.derive`. What is found is put back into the slope,
    and the sign of the second derivative is looked at; where no closed form is found the record
    says so and shows the equation.

    >>> import lossderiv as ld
    >>> m = ld.minimizer("normal")
    >>> m.constants["mu"], m.profile["sigma"].formula
    (mean(x), sqrt(mean((-mu + x)**2)))
    >>> ld.minimizer("laplace", b=1).constants["mu"]
    median(x)
    >>> "mu" in ld.minimizer("cauchy").constants
    False
    """
    d = derive(of, **options)
    if d.has_vectors:
        return _of_entries(d)
    problem = _Problem(d)
    profile = {n: problem.profile(d.density.symbols[n]) for n in d.links}
    constants = problem.constants(profile)
    return Minimizer(d, MappingProxyType(profile), MappingProxyType(constants))


def _of_entries(d: Derivation) -> Minimizer:
    """For a vector of outputs: one entry by itself, or where statistics have their averages."""
    alone = one_entry(d)
    if alone is not None:
        return _translated(d, minimizer(alone.derivation), alone.of_vector)
    e = exponential_family(d)
    name = next(iter(d.links))
    if e.mean is None or len(e.mean) != 1 or len(d.links) != 1:
        why = "no closed form found: the entries are coupled"
        return Minimizer(d, MappingProxyType({n: Optimum(n, None, why) for n in d.links}), {})
    entry, average_ = d.density.symbols[name][ENTRY], Average(e.statistic[0])
    factor = cleared(e.mean[0] / entry)
    if not factor.is_number:
        optimum = Optimum(name, None, "no closed form found for the root of", e.mean[0] - average_)
        return Minimizer(d, MappingProxyType({name: optimum}), MappingProxyType({}))
    formula = average_ / factor
    why = "where the mean of the statistic is its average over the sample: the loss is convex"
    optimum = Optimum(name, formula, f"{why} in the natural parameter", verdict=e.check()[-1])
    return Minimizer(d, MappingProxyType({name: optimum}), MappingProxyType({name: formula}))


def _translated(d: Derivation, of_one: Minimizer, to: Callable) -> Minimizer:
    """What holds for one entry, in the letters of the vectors."""
    profile = {}
    for name, o in of_one.profile.items():
        there = {
            field: None if (f := getattr(o, field)) is None else to(f)
            for field in ("formula", "equation", "curvature", "obstacle")
        }
        profile[name] = replace(o, why=f"{o.why}; each entry by itself", **there)
    constants = {n: to(f) for n, f in of_one.constants.items()}
    return Minimizer(d, MappingProxyType(profile), MappingProxyType(constants))


class _Problem:
    """The mean loss over a sample as a function of each parameter in turn."""

    def __init__(self, d: Derivation):
        self.d, self.x = d, d.density.variable
        self.learned = [d.density.symbols[n] for n in d.links]
        self.nll = d.nll

    @cached_property
    def samples(self) -> list[tuple[list[float], dict]]:
        """A few samples of numbers in the domain, with values for the parameters."""
        domain = self.d.density.data.bounded(self.d.fixed)
        numbers = spread(domain, 8)
        if self.nll.has(inside):  # far enough up to lie in the support of the values below
            numbers = [abs(v) + 5 for v in numbers]
        found = []
        for k in range(SAMPLES):
            sample = [*numbers[: 2 + k], numbers[-1]]
            typical = {s: self.d.context.domains[s].typical for s in self.learned}
            point = {s: t[(k + n) % len(t)] for n, (s, t) in enumerate(typical.items())}
            found.append((sample, {s: sp.Rational(str(v)) for s, v in point.items()}))
        return found

    def profile(self, theta: sp.Symbol) -> Optimum:
        """The best ``theta`` with the others given."""
        walls = [f for f in self.nll.atoms(inside) if f.has(theta)]
        if walls:
            return self._at_an_edge(theta, walls, self.nll.xreplace({sp.log(w): 0 for w in walls}))
        score = spell_out(self.nll).diff(theta)
        signs = [f for f in score.atoms(sp.sign) if f.has(theta)]
        if signs:
            return self._at_a_corner(theta, score, signs)
        bends = [f for f in score.atoms(sp.Abs) if f.has(theta)]
        if bends or score.has(sp.Piecewise):
            return Optimum(str(theta), None, "no closed form found: the slope has several pieces")
        return self._where_the_slope_vanishes(theta, self.nll.diff(theta))

    def _where_the_slope_vanishes(self, theta: sp.Symbol, score: sp.Expr) -> Optimum:
        others = {self.x, *(s for s in self.learned if s != theta)}
        parts = separate(score, lambda e: e.has(theta), lambda e: bool(e.free_symbols & others))
        same = ""
        if parts.entangled is not None:  # then perhaps with the others the same for all data
            parts = separate(score, lambda e: e.has(theta), lambda e: e.has(self.x))
            same = "; the other parameters are the same for all data"
        if parts.entangled is not None:
            why = f"no closed form found: {parts.entangled} ties {theta} to each datum"
            return Optimum(str(theta), None, why, obstacle=parts.entangled)
        alone, pairs = _squares_completed(parts)
        terms = [(c, average(g, self.x, self.learned)) for c, g in pairs]
        terms.append((sp.Integer(1), average(parts.apart, self.x, self.learned)))
        equation = sp.Add(alone, *(c * a for c, a in terms))
        root = _root(equation, theta)
        if root is None:
            return Optimum(str(theta), None, "no closed form found for the root of", equation)
        slope = equation.diff(theta).xreplace({theta: root})
        verdict = self._checked(theta, equation, root, slope)
        why = f"the mean slope vanishes there, and its derivative is positive{same}"
        return Optimum(str(theta), root, why, equation, cleared(slope), verdict)

    def _checked(self, theta, equation, root, slope) -> str:
        """The root put back, and the sign of the curvature there."""
        left = cleared(equation.xreplace({theta: root}))
        for sample, point in self.samples:
            point = {s: v for s, v in point.items() if s != theta}
            with mp.workdps(60):
                value = over_sample(left, self.x, sample, {**self.fixed, **point})
                bent = over_sample(slope, self.x, sample, {**self.fixed, **point})
            if not abs(value) <= ZERO or not mp.im(bent) == 0 or not mp.re(bent) > 0:
                raise DerivationError(
                    f"The best {theta} of {self.d.density.name} was found to be {root}, where the "
                    f"mean slope is {mp.nstr(value, 8)} and its derivative {mp.nstr(bent, 8)} at "
                    f"the sample {sample}. Correct the solution of {equation} = 0."
                )
        zero = "proven" if left == 0 else f"checked at {SAMPLES} samples"
        sign = "proven" if cleared(slope).is_positive else f"checked at {SAMPLES} samples"
        return f"slope 0: {zero}; curvature positive: {sign}"

    def again(self, optimum: Optimum) -> str:
        """An optimum verified: its slope is zero, or no step to either side lowers the loss."""
        theta = self.d.density.symbols[optimum.parameter]
        if optimum.equation is not None:
            slope = optimum.equation.diff(theta).xreplace({theta: optimum.formula})
            return self._checked(theta, optimum.equation, optimum.formula, slope)
        for sample, point in self.samples:
            given = {s: v for s, v in point.items() if s != theta}
            with mp.workdps(60):
                best = over_sample(optimum.formula, self.x, sample, {**self.fixed, **given})
                size = 1 + abs(best)
                here = min(  # an edge is a rounding away
                    self._mean_loss(sample, {**given, theta: best + side * ROUNDING * size})
                    for side in (0, -1, 1)
                )
                others = [
                    self._mean_loss(sample, {**given, theta: best + side * STEP * size})
                    for side in (-1, 1)
                ]
            if not all(here <= other for other in others):
                raise DerivationError(
                    f"The best {theta} of {self.d.density.name} was found to be "
                    f"{optimum.formula}, but beside it the mean loss over {sample} is lower. "
                    "Correct the argument that made it."
                )
        return optimum.verdict

    def _mean_loss(self, sample, point: Mapping) -> mp.mpf:
        point = {s: sp.Float(v, 40) if isinstance(v, mp.mpf) else v for s, v in point.items()}
        loss = Formula(self.nll.xreplace({**self.fixed, **point}))
        return mp.fsum(loss.at({self.x: x}) for x in sample) / len(sample)

    @property
    def fixed(self) -> dict:
        return {self.d.density.symbols[n]: v for n, v in self.d.fixed.items()}

    def _at_a_corner(self, theta: sp.Symbol, score: sp.Expr, signs: list) -> Optimum:
        """A slope ``a sign(theta - h(x)) + b``: it turns from minus to plus at a quantile."""
        name = str(theta)
        jump = sp.Dummy("jump")
        centres = {solved(f.args[0], sp.Integer(0), theta) for f in signs}
        nothing = Optimum(name, None, "no closed form found: the slope has jumps and bends")
        if len(centres) != 1 or (centre := centres.pop()) is None or centre.has(*self.learned):
            return nothing
        ways = {f: jump if f.args[0].diff(theta).is_positive else -jump for f in signs}
        plain = sp.expand(score.xreplace(ways))
        if plain.has(sp.Piecewise, sp.Abs) or not plain.is_polynomial(jump):
            return nothing
        rise, rest = plain.coeff(jump, 1), plain.coeff(jump, 0)
        level = cleared((1 - rest / rise) / 2)
        if {theta, self.x} & (rise.free_symbols | rest.free_symbols) or not rise.is_positive:
            return nothing
        half = level == sp.Rational(1, 2)
        formula = Median(centre) if half else Quantile(centre, level)
        why = (
            "the mean slope is a step function that rises through zero there, if the other "
            "parameters are the same for all data"
        )
        return Optimum(name, formula, why, verdict="positive jumps: proven")

    def _at_an_edge(self, theta: sp.Symbol, walls: list, rest: sp.Expr) -> Optimum:
        """A loss that falls or rises all the way to where the support ends."""
        name, lower, upper = str(theta), [], []
        for wall in walls:
            condition = sp.fraction(cleared(wall.args[0]))[0]
            steepness = condition.diff(theta)
            bound = solved(condition, sp.Integer(0), theta) if steepness != 0 else None
            if steepness == 0:
                continue
            if bound is None or not (steepness.is_positive or steepness.is_negative):
                return Optimum(name, None, "no closed form found: the support ends on a curve")
            (lower if steepness.is_positive else upper).append(bound)
        slope = cleared(rest.diff(theta))
        up, down = slope.is_positive, slope.is_negative
        if up and len(lower) == 1 and not upper:
            formula, way = Greatest(lower[0]), "least"
        elif down and len(upper) == 1 and not lower:
            formula, way = Least(upper[0]), "greatest"
        elif slope == 0 and len(lower) == len(upper) == 1:
            ends = plain(Greatest(lower[0])), plain(Least(upper[0]))
            why = f"no single best value: the loss is flat from {ends[0]} to {ends[1]}"
            return Optimum(name, None, why, verdict="slope 0: proven")
        else:
            return Optimum(name, None, "no single best value: the loss bends between two edges")
        why = f"the loss favours the {way} value that keeps all data in the support"
        return Optimum(name, formula, why, verdict="sign of the slope: proven")

    def constants(self, profile: Mapping[str, Optimum]) -> dict[str, sp.Expr]:
        """Profile optima put into each other until none of them has a learned parameter left."""
        open_ones = {n: o.formula for n, o in profile.items() if o.formula is not None}
        found: dict[str, sp.Expr] = {}
        while True:
            known = {self.d.density.symbols[n]: f for n, f in found.items()}
            ready = {}
            for n, f in open_ones.items():
                g = shared_out(f.xreplace(known), self.x, self.learned)
                if n not in found and not _free(g, self.learned):
                    ready[n] = g
            if not ready:
                return {n: found[n] for n in profile if n in found}
            found |= ready


def _free(formula: sp.Expr, symbols) -> bool:
    return bool(formula.free_symbols & set(symbols))


def _squares_completed(parts: Separated) -> tuple[sp.Expr, list[tuple[sp.Expr, sp.Expr]]]:
    """Numbers that stand beside a sum of several terms join it: ``x^2 - 2 x + 1``."""
    alone, pairs = list(sp.Add.make_args(parts.alone)), []
    for c, g in parts.pairs:
        joined = {t: ratio for t in alone if (ratio := cleared(t / c)).is_number and g.is_Add}
        alone = [t for t in alone if t not in joined]
        pairs.append((c, sp.Add(g, *joined.values())))
    return sp.Add(*alone), pairs


def average(g: sp.Expr, x: sp.Symbol, learned: Sequence[sp.Symbol]) -> sp.Expr:
    """The mean of ``g`` over a sample: its number taken out, itself where nothing varies."""
    if not g.free_symbols & {x, *learned}:
        return g
    factored = sp.factor(g)
    g = factored if factored.count_ops() < g.count_ops() else g
    number, letters = g.as_coeff_Mul()
    return number * Average(letters)


def shared_out(formula: sp.Expr, x: sp.Symbol, learned: Sequence[sp.Symbol]) -> sp.Expr:
    """Averages over data alone: what is the same for all data is taken out of them."""
    changed = formula.xreplace({f: _taken_out(f.args[0], x) for f in formula.atoms(Average)})
    changed = changed.xreplace({f: _direction(f) for f in changed.atoms(sp.atan2)})
    return cleared(changed) if _free(changed, learned) else changed


def _direction(angle: sp.atan2) -> sp.Expr:
    """The angle without a positive factor that both of its coordinates share."""
    up, across = angle.args
    shared = set(sp.Mul.make_args(up)) & set(sp.Mul.make_args(across))
    length = sp.Mul(*(f for f in shared if f.is_positive))
    return sp.atan2(up / length, across / length)


def _taken_out(g: sp.Expr, x: sp.Symbol) -> sp.Expr:
    factors = sp.Mul.make_args(g)
    outer = [f for f in factors if x not in f.free_symbols]
    inner = sp.Mul(*(f for f in factors if x in f.free_symbols))
    return sp.Mul(*outer) * (Average(inner) if inner != 1 else 1)


def _root(equation: sp.Expr, theta: sp.Symbol) -> sp.Expr | None:
    """The root of an averaged slope: polynomial, two terms, or a sine and a cosine."""
    letters = {f: sp.Dummy(f"A{k}", real=True) for k, f in enumerate(_outer_averages(equation))}
    plain = sp.fraction(cleared(equation.xreplace(letters)))[0]
    root = _plain_root(sp.expand(plain), theta)
    return None if root is None else root.xreplace({a: f for f, a in letters.items()})


def _outer_averages(equation: sp.Expr) -> list[sp.Expr]:
    return sorted(equation.atoms(*OF_A_SAMPLE), key=str)


def _plain_root(plain: sp.Expr, theta: sp.Symbol) -> sp.Expr | None:
    if plain.has(sp.sin, sp.cos):
        a, b = plain.coeff(sp.sin(theta)), plain.coeff(sp.cos(theta))
        if sp.expand(plain - a * sp.sin(theta) - b * sp.cos(theta)) == 0 and not _free(
            a + b, [theta]
        ):
            return sp.atan2(-b, a)
        return None
    if plain.is_polynomial(theta):
        terms = sp.Poly(plain, theta).all_coeffs()
        while terms and terms[-1] == 0:  # a root at 0 is no inner point
            terms.pop()
        if len(terms) == 2:
            return cleared(-terms[1] / terms[0])
        if len(terms) == 3 and terms[1] == 0 and theta.is_positive:
            return sp.sqrt(cleared(-terms[2] / terms[0]))
        return None
    parts = separate(plain, lambda e: e.has(theta), lambda e: not e.has(theta))
    by_letters: dict[sp.Expr, sp.Expr] = {}
    for c, g in (*parts.pairs, (parts.alone, sp.Integer(1)), (sp.Integer(1), parts.apart)):
        if c != 0 and g != 0:
            by_letters[c] = by_letters.get(c, sp.Integer(0)) + g
    if len(by_letters) != 2:
        return None
    (c1, g1), (c2, g2) = by_letters.items()
    ratio = sp.expand(c1 / c2)
    return solved(ratio, cleared(-g2 / g1), theta)
