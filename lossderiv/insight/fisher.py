"""Fisher's information: how sharply a datum tells one parameter from its neighbours.

``I_jk = E [ d_j log p  d_k log p ]``. For an exponential family it follows from the means of the
statistics, ``I = (d omega / d theta) (d E T / d theta)``. For a location and a scale it is a matrix
of numbers over the scale squared; the numbers are integrals, recognised among small combinations of
1, pi squared and Euler's constant when 28 digits agree (PSLQ; Ferguson, Bailey and Arno 1999).
Otherwise there is the integral itself, at given parameters.

Source for the definition: Lehmann and Casella (1998), section 2.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.errors import ParameterError
from lossderiv.insight.curvature import Matrix
from lossderiv.insight.evidence import supports_move
from lossderiv.insight.expectation import expectation
from lossderiv.insight.exponential import exponential_family
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.insight.solve import cleared
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Density, Derivation

DIGITS = 34
AGREE = 28
CONSTANTS = (sp.Integer(1), sp.pi**2, sp.EulerGamma, sp.EulerGamma**2)


@dataclass(frozen=True)
class Fisher(Shown):
    """What :func:`fisher` found: the information of one datum about ``theta`` and ``eta``.

    The matrices are ``None`` where no closed form was found; ``why`` says how they were, or were
    not. :meth:`at` integrates at given parameters in any case where the information exists.
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
        letters, rows = self.derivation.density.symbols, []
        names = [letters[n] for n in self.derivation.links]
        for matrix, by in ((self.theta, names), (self.eta, self.derivation.context.outputs)):
            for i, row in enumerate(matrix or ()):
                rows += [(f"{by[i]}, {by[j]}", [row[j]]) for j in range(i, len(row))]
        return [*rows, ("how", [self.why])]

    def at(self, **theta: float) -> tuple[tuple[float, ...], ...]:
        """The information about the learned parameters at given values, by quadrature.

        >>> import lossderiv as ld
        >>> ld.fisher("poisson").at(rate=4.0)
        ((0.25,),)
        """
        d = self.derivation
        if set(theta) != set(d.links) or not self.exists or not _is_scalar(d):
            raise ParameterError(
                f"The Fisher information of {d.density.name} cannot be integrated at "
                f"{theta or 'no parameters'}: give a value for each of {', '.join(d.links)} "
                f"({self.why})."
            )
        point = {d.density.symbols[n]: sp.Rational(str(v)) for n, v in theta.items()}
        scores = _scores(d)
        return tuple(
            tuple(float(expectation(d, a * b, point, digits=15)) for b in scores) for a in scores
        )


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
    if not _is_scalar(d):
        return Fisher(d, None, None, "no closed form found: data or outputs are vectors")
    return _of_exponential_family(d) or _of_location_and_scale(d) or _not_found(d)


def _not_found(d: Derivation) -> Fisher:
    return Fisher(d, None, None, "no closed form found; .at(...) integrates at given parameters")


def _is_scalar(d: Derivation) -> bool:
    symbols = (d.density.variable, *d.context.outputs)
    given = not any(isinstance(v, sp.Tuple) for v in d.fixed.values())
    return given and all(d.context.domains[s].shape == "scalar" for s in symbols)


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
            cleared(
                sp.Add(*(f.diff(a) * m.diff(b) for f, m in zip(e.natural, e.mean, strict=True)))
            )
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
    return min((entry, sp.expand(entry), cleared(entry)), key=sp.count_ops)


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
