"""Fisher's information: how sharply a datum tells one parameter from its neighbours.

``I_jk = E [ d_j log p  d_k log p ]``. For an exponential family it follows from the means of the
statistics, ``I = (d omega / d theta) (d E T / d theta)``. For a location and a scale it is a matrix
of numbers over the scale squared; the numbers are integrals, recognised among small combinations of
1, pi squared and Euler's constant when 28 digits agree (PSLQ; Ferguson, Bailey and Arno 1999).
Otherwise there is the integral itself, at given parameters.

Source for the definition: Lehmann and Casella (1998), section 2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.errors import DerivationError, ParameterError
from lossderiv.insight.curvature import Matrix, axes, bent_vectors, few_outcomes, label
from lossderiv.insight.entries import one_entry
from lossderiv.insight.evidence import supports_move
from lossderiv.insight.expectation import expectation
from lossderiv.insight.exponential import exponential_family
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.insight.solve import cleared
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.prove import prove
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.vectors import ENTRY, OTHER, RUNNING, LogSumExp, Softmax, slope_in

DIGITS = 34
AGREE = 28
CONSTANTS = (sp.Integer(1), sp.pi**2, sp.EulerGamma, sp.EulerGamma**2)


@dataclass(frozen=True)
class Fisher(Shown):
    """What :func:`fisher` found: the information of one datum about ``theta`` and ``eta``.

    The matrices are ``None`` where no closed form was found; ``why`` says how they were, or were
    not. Those of vectors have entries for row ``i`` and column ``l`` of one vector, or, where the
    entries are independent, for an entry ``i`` alone. :meth:`at` integrates at given parameters in
    any case where the information exists and the parameters are numbers.
    """

    derivation: Derivation
    theta: Matrix | None
    eta: Matrix | None
    why: str
    exists: bool = True

    @property
    def title(self) -> str:
        d = self.derivation
        return f"{heading(d.density.name, d.fixed)}: Fisher information of one datum"

    def rows(self) -> list[Row]:
        rows = []
        for matrix, by in zip((self.theta, self.eta), axes(self.derivation), strict=True):
            for i, row in enumerate(matrix or ()):
                rows += [(label(by, i, j), [row[j]]) for j in range(i, len(row))]
        return [*rows, ("how", [self.why])]

    def check(self) -> tuple[str, ...]:
        """The closed form against its integral at two settings, to 12 digits.

        For vectors it is compared with the second derivatives of the loss, where those are free of
        the data. Returns what was done; raises ``DerivationError`` where the two differ.
        """
        d = self.derivation
        if self.theta is None and self.eta is None:
            return ()
        if d.has_vectors:
            return _checked_vectors(self)
        for k in range(2):
            domains = {n: d.density.parameters[n] for n in d.links}
            values = {
                n: v.typical[(k + j) % len(v.typical)] for j, (n, v) in enumerate(domains.items())
            }
            point = {d.density.symbols[n]: sp.Float(v, 30) for n, v in values.items()}
            for i, row in enumerate(_integrated(d, values)):
                for j, number in enumerate(row):
                    said = float(spell_out(self.theta[i][j]).xreplace(point))
                    if not abs(said - number) <= 1e-11 * max(1, abs(number)):
                        raise DerivationError(
                            f"The Fisher information of {d.density.name} was found to be "
                            f"{self.theta[i][j]}, {said} at {values}, where the integral is "
                            f"{number}. Correct the formula that made it."
                        )
        return ("checked by quadrature at 2 settings",)

    def at(self, **theta: float) -> tuple[tuple[float, ...], ...]:
        """The information about the learned parameters at given values, by quadrature.

        >>> import lossderiv as ld
        >>> ld.fisher("poisson").at(rate=4.0)
        ((0.25,),)
        """
        d = self.derivation
        if set(theta) != set(d.links) or not self.exists or d.has_vectors:
            raise ParameterError(
                f"The Fisher information of {d.density.name} cannot be integrated at "
                f"{theta or 'no parameters'}: give a value for each of {', '.join(d.links)} "
                f"({self.why})."
            )
        return _integrated(d, theta)


def _integrated(d: Derivation, theta: Mapping[str, float]) -> tuple[tuple[float, ...], ...]:
    """The means of products of slopes, by quadrature or summation."""
    point = {d.density.symbols[n]: sp.Rational(str(v)) for n, v in theta.items()}
    if not _is_scalar(d):  # given cuts: the outcomes are few
        outcomes = [p.xreplace(point).evalf(30) for p in few_outcomes(d).values()]
        slopes = [
            [p.diff(d.density.symbols[n]).xreplace(point).evalf(30) for n in d.links]
            for p in few_outcomes(d).values()
        ]
        size = range(len(d.links))
        return tuple(
            tuple(
                float(sum(s[i] * s[j] / p for s, p in zip(slopes, outcomes, strict=True)))
                for j in size
            )
            for i in size
        )
    scores = _scores(d)
    return tuple(
        tuple(float(expectation(d, a * b, point, digits=15)) for b in scores) for a in scores
    )


def _checked_vectors(f: Fisher) -> tuple[str, ...]:
    d = f.derivation
    alone = one_entry(d)
    if alone is not None:
        return fisher(alone.derivation).check()
    data = d.density.variable
    found = []
    for ours, bent in zip((f.theta, f.eta), bent_vectors(d), strict=True):
        if ours is None or bent is None:
            continue
        second = _total_known(d, bent[0][0])
        if getattr(data, "label", data) in second.free_symbols:
            continue
        found.append(prove(second, ours[0][0], d.context))
    return tuple(found)


def fisher(of: str | Density | Derivation, **options) -> Fisher:
    """Fisher's information of one datum about the parameters and about the raw outputs.

    ``options`` are those of :func:`lossderiv.derive`.

    >>> import lossderiv as ld
    >>> ld.fisher("normal").theta
    ((sigma**(-2), 0), (0, 2/sigma**2))
    >>> ld.fisher("cauchy").theta
    ((1/(2*gamma**2), 0), (0, 1/(2*gamma**2)))
    """
    d = derive(of, **options)
    if supports_move(d, inside) is not None:
        why = "the support moves with the parameters, so the slopes do not hold the information"
        return Fisher(d, None, None, why, exists=False)
    if d.has_vectors:
        return _of_vectors(d)
    if (outcomes := few_outcomes(d)) is not None and not _is_scalar(d):
        return _of_outcomes(d, outcomes)
    return _of_exponential_family(d) or _of_location_and_scale(d) or _not_found(d)


def _not_found(d: Derivation) -> Fisher:
    return Fisher(d, None, None, "no closed form found; .at(...) integrates at given parameters")


def _is_scalar(d: Derivation) -> bool:
    symbols = (d.density.variable, *d.context.outputs)
    given = not any(isinstance(v, sp.Tuple) for v in d.fixed.values())
    return given and all(d.context.domains[s].shape == "scalar" for s in symbols)


def _of_vectors(d: Derivation) -> Fisher:
    """One entry tells it all, or the slopes of the means in another entry ``l`` do."""
    alone = one_entry(d)
    if alone is not None:
        f = fisher(alone.derivation)
        theta, eta = (_translated(m, alone.of_vector) for m in (f.theta, f.eta))
        return Fisher(d, theta, eta, f"{f.why}; different entries share no information")
    e = exponential_family(d)
    if not e or e.mean is None:
        why = "no closed form found for vectors whose entries are coupled"
        return Fisher(d, None, None, f"{why}; E of the squared slopes can be sampled")
    (output,), (gradient,) = d.context.outputs, d.gradient.values()
    (omega,), (mean,), (statistic,) = e.natural, e.mean, e.statistic
    if e.canonical:
        slope = _total_known(d, slope_in(gradient + statistic, output[OTHER]))
        total = LogSumExp(output[RUNNING], RUNNING)
        shares = {sp.exp(output[n] - total): Softmax(output[n], n) for n in (ENTRY, OTHER)}
        why = "the raw outputs are natural parameters: the slope of a mean in another entry"
        return Fisher(d, None, ((slope.xreplace(shares),),), why)
    ((name, link),) = d.theta.items()
    vector = d.density.symbols[name]
    theta = omega.diff(vector[ENTRY]) * slope_in(mean, vector[OTHER])
    theta = sp.expand(theta)
    step = link.diff(output[ENTRY])
    turned = theta.xreplace({e: link.xreplace({ENTRY: e.indices[0]}) for e in _entries(theta)})
    eta = sp.expand(step * turned * step.xreplace({ENTRY: OTHER}))
    why = "an exponential family: the slopes of the natural parameters times those of the means"
    return Fisher(d, ((theta,),), ((eta,),), why)


def _entries(formula: sp.Expr) -> list[sp.Indexed]:
    return list(formula.atoms(sp.Indexed))


def _total_known(d: Derivation, formula: sp.Expr) -> sp.Expr:
    """The sum of the data written as the number that it must be."""
    total, x = d.density.data.total, d.density.variable
    sums = [s for s in formula.atoms(sp.Sum) if s.function.has(x)]
    return formula.xreplace(dict.fromkeys(sums, sp.sympify(total))) if sums else formula


def _translated(matrix: Matrix | None, to: Callable) -> Matrix | None:
    return None if matrix is None else tuple(tuple(map(to, row)) for row in matrix)


def _of_outcomes(d: Derivation, outcomes: Mapping[int, sp.Expr]) -> Fisher:
    """The sum over all outcomes of ``(dp/da) (dp/db)/p``."""
    thetas = [d.density.symbols[n] for n in d.links]
    matrix = tuple(
        tuple(sp.Add(*(p.diff(a) * p.diff(b) / p for p in outcomes.values())) for b in thetas)
        for a in thetas
    )
    theta = dict(zip(thetas, d.theta.values(), strict=True))
    turns = [e.diff(o) for e, o in zip(d.theta.values(), d.context.outputs, strict=True)]
    in_outputs = tuple(
        tuple(a * b * entry.xreplace(theta) for b, entry in zip(turns, row, strict=True))
        for a, row in zip(turns, matrix, strict=True)
    )  # as they are: one fraction over all outcomes is no shorter, and takes a minute
    return Fisher(d, matrix, in_outputs, f"a sum over the {len(outcomes)} outcomes")


def _scores(d: Derivation) -> list[sp.Expr]:
    plain = spell_out(d.nll)
    raw = [plain.diff(d.density.symbols[n]) for n in d.links]
    return [s.xreplace({f: sp.Integer(0) for f in s.atoms(sp.DiracDelta)}) for s in raw]


def _of_exponential_family(d: Derivation) -> Fisher | None:
    e = exponential_family(d)
    if not e or e.mean is None:
        return None
    thetas = [d.density.symbols[n] for n in d.links]
    matrix = tuple(
        tuple(
            _short(sp.Add(*(f.diff(a) * m.diff(b) for f, m in zip(e.natural, e.mean, strict=True))))
            for b in thetas
        )
        for a in thetas
    )
    why = "an exponential family: the slopes of the natural parameters times those of the means"
    return Fisher(d, matrix, _in_outputs(d, matrix), why)


def _in_outputs(d: Derivation, matrix: Matrix) -> Matrix:
    """``(d theta / d eta) I (d theta / d eta)``, the links being one output each."""
    theta = {d.density.symbols[n]: e for n, e in d.theta.items()}
    steps = [e.diff(o) for e, o in zip(d.theta.values(), d.context.outputs, strict=True)]
    return tuple(
        tuple(_short(a * b * entry.xreplace(theta)) for b, entry in zip(steps, row, strict=True))
        for a, row in zip(steps, matrix, strict=True)
    )


def _short(entry: sp.Expr) -> sp.Expr:
    whole = cleared(entry)
    return min((whole, _factored(whole), sp.expand(whole), entry), key=sp.count_ops)


def _factored(entry: sp.Expr) -> sp.Expr:
    """A product, with ``1 - p`` in it rather than ``p - 1``."""
    factors, sign = [], 1
    for factor in sp.Mul.make_args(sp.factor(entry)):
        base, power = factor.as_base_exp()
        if base.is_Add and power.is_Integer and any(t.is_Integer and t < 0 for t in base.args):
            base, sign = -base, -sign if power % 2 else sign
        factors.append(base**power)
    return sign * sp.Mul(*factors)


def _of_location_and_scale(d: Derivation) -> Fisher | None:
    """``C / s^2`` with a matrix of numbers, where ``x = m + s z`` frees the slopes of m and s."""
    z, x = sp.Symbol("z", real=True), d.density.variable
    found = _standardised(d, z)
    if found is None:
        return None
    location, scale, scores = found
    standard = {s: sp.Integer(1 if s == scale else 0) for s in (location, scale)}
    at = {s: v for s, v in standard.items() if isinstance(s, sp.Symbol)}
    thetas = [d.density.symbols[n] for n in d.links]
    fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    m0, s0 = (sp.sympify(v).xreplace(at).xreplace(fixed) for v in (location, scale))
    size, numbers = len(thetas), {}
    for i in range(size):
        for j in range(i, size):
            product = (scores[i] * scores[j]).xreplace({z: (x - m0) / s0})
            value = expectation(d, product, {t: at.get(t, sp.Integer(1)) for t in thetas}, DIGITS)
            numbers[i, j] = numbers[j, i] = recognised(value)
    if any(n is None for n in numbers.values()):
        return None
    matrix = tuple(tuple(numbers[i, j] / scale**2 for j in range(size)) for i in range(size))
    why = (
        "a location and a scale: numbers over the scale squared, each an integral that agrees "
        f"with its closed form to {AGREE} digits"
    )
    return Fisher(d, matrix, _in_outputs(d, matrix), why)


def _standardised(d: Derivation, z: sp.Symbol):
    """Location, scale and ``scale * score`` as functions of ``z`` alone, if there are such."""
    x, thetas = d.density.variable, [d.density.symbols[n] for n in d.links]
    fixed = [d.density.symbols[n] for n in d.fixed]
    values = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    everything = [*thetas, *fixed]
    for scale in (s for s in everything if s.is_positive):
        for location in (*(s for s in everything if not s.is_positive), sp.Integer(0)):
            if not set(thetas) <= {location, scale}:
                continue
            m, s = (sp.sympify(v).xreplace(values) for v in (location, scale))
            raw = [(s * score).xreplace({x: m + s * z}) for score in _scores(d)]
            plain = [sp.expand(r) if r.has(sp.Piecewise) else cleared(sp.expand(r)) for r in raw]
            if all(p.free_symbols <= {z} for p in plain):
                return m, s, plain
    return None


def recognised(value: mp.mpf) -> sp.Expr | None:
    """The number as a small combination of :data:`CONSTANTS`, if 28 digits agree."""
    with mp.workdps(AGREE):
        if not mp.isfinite(value):
            return None
        if abs(value) < mp.mpf(10) ** (2 - AGREE):
            return sp.Integer(0)
        for basis in (CONSTANTS[:1], CONSTANTS[:2], CONSTANTS):
            numbers = [mp.mpmathify(c.evalf(AGREE + 5)) for c in basis]
            relation = mp.pslq([value, *numbers], maxcoeff=1000, maxsteps=10000)
            if relation and relation[0]:
                whole = sp.Add(*(-k * c for k, c in zip(relation[1:], basis, strict=True)))
                return sp.expand(whole / relation[0])
    return None
