"""Second derivatives of a loss, and whether it is convex: proven, or refuted at a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.insight.evidence import supports_move
from lossderiv.insight.exponential import exponential_family
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.insight.solve import cleared
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import points
from lossderiv.symbolic.records import Density, Derivation

Matrix = tuple[tuple[sp.Expr, ...], ...]
PROBES = 36


@dataclass(frozen=True)
class Convexity:
    """``answer`` is ``"convex"``, ``"not convex"`` or ``"not decided"``; ``why`` is the evidence.

    For a no, ``point`` is where the Hessian has the negative eigenvalue ``eigenvalue``.
    """

    answer: str
    why: str
    point: Mapping[sp.Symbol, object] | None = None
    eigenvalue: float | None = None

    def __bool__(self) -> bool:
        return self.answer == "convex"

    def __str__(self) -> str:
        return f"{self.answer}: {self.why}"


@dataclass(frozen=True)
class Hessian(Shown):
    """What :func:`hessian` found: ``theta`` and ``eta`` are the matrices of second derivatives.

    ``theta`` is that of the exact NLL in the learned parameters, ``eta`` that of the loss in the
    raw outputs, both for one datum; ``None`` for outputs that are vectors. ``in_theta`` and
    ``in_eta`` say whether the loss is convex in each.
    """

    derivation: Derivation
    theta: Matrix | None
    eta: Matrix | None
    in_theta: Convexity
    in_eta: Convexity

    @property
    def title(self) -> str:
        d = self.derivation
        return f"{heading(d.density.name, d.fixed)}: second derivatives and convexity"

    def rows(self) -> list[Row]:
        rows: list[Row] = []
        letters = self.derivation.density.symbols
        names = [letters[n] for n in self.derivation.links]
        for matrix, by in ((self.theta, names), (self.eta, self.derivation.context.outputs)):
            for i, row in enumerate(matrix or ()):
                for j, entry in enumerate(row[i:], i):
                    rows.append((f"second derivative in {by[i]}, {by[j]}", [entry]))
        rows.append(("in the parameters", [str(self.in_theta)]))
        rows.append(("in the raw outputs", [str(self.in_eta)]))
        return rows


def hessian(of: str | Density | Derivation, **options) -> Hessian:
    """The second derivatives of a loss in its parameters and in its raw outputs; convexity.

    A proof of convexity is that all principal minors are positive or zero by the signs of what
    occurs in them, or that the raw outputs are the natural parameters of an exponential family,
    where the Hessian is the variance of the statistics. A counter-example is a point at which the
    Hessian has a negative eigenvalue. ``options`` are those of :func:`lossderiv.derive`.

    >>> import lossderiv as ld
    >>> h = ld.hessian("poisson")
    >>> h.eta, h.in_eta.answer
    (((exp(eta_rate),),), 'convex')
    >>> ld.hessian("cauchy", gamma=1).in_eta.answer
    'not convex'
    """
    d = derive(of, **options)
    if any(isinstance(o, sp.IndexedBase) for o in d.context.outputs):
        undecided = Convexity("not decided", "the parameters are vectors")
        return Hessian(d, None, None, undecided, _by_theory(d) or undecided)
    thetas = tuple(d.density.symbols[n] for n in d.links)
    in_theta, in_eta = matrix_of(d.nll, thetas), matrix_of(d.loss, d.context.outputs)
    if supports_move(d, inside) is not None:
        undecided = Convexity("not decided", "the support moves with the parameters")
        return Hessian(d, in_theta, in_eta, undecided, undecided)
    theta = _convexity(d, in_theta)
    return Hessian(d, in_theta, in_eta, theta, _by_theory(d) or _convexity(d, in_eta))


def matrix_of(formula: sp.Expr, by: tuple[sp.Symbol, ...]) -> Matrix:
    """Second derivatives; those of jumps (Dirac deltas) are left out: they are 0 nearly always."""
    plain = spell_out(formula)
    entries = {(i, j): plain.diff(a).diff(b) for i, a in enumerate(by) for j, b in enumerate(by)}
    return tuple(tuple(_shorter(entries[i, j]) for j in range(len(by))) for i in range(len(by)))


def _shorter(entry: sp.Expr) -> sp.Expr:
    entry = entry.xreplace({f: sp.Integer(0) for f in entry.atoms(sp.DiracDelta)})
    if entry.has(sp.Piecewise):
        return entry
    return min((entry, cleared(entry)), key=sp.count_ops)


def _by_theory(d: Derivation) -> Convexity | None:
    e = exponential_family(d)
    if not (e and e.canonical):
        return None
    return Convexity(
        "convex",
        "the raw outputs are natural parameters, and there the Hessian is the variance of the "
        "statistics",
    )


def _convexity(d: Derivation, matrix: Matrix) -> Convexity:
    found = _counter_example(d, matrix)
    if found is not None:
        point, value = found
        at = ", ".join(f"{s} = {sp.N(sp.sympify(v), 4)}" for s, v in point.items())
        why = f"the Hessian has the eigenvalue {value:.4g} at {at}"
        return Convexity("not convex", why, point, value)
    kinks = [f for row in matrix for e in row for f in e.atoms(sp.sign, sp.Abs)]
    nll = spell_out(d.nll)
    corners = [a for a in nll.atoms(sp.Abs) if a.free_symbols & {d.density.variable}]
    if corners and not _corners_bend_up(nll, corners):
        kinks = kinks or corners
    if all(nonnegative(m) for m in principal_minors(matrix)) and not (kinks and corners):
        corner = ", and every corner bends upwards" if corners else ""
        return Convexity("convex", f"no principal minor of the Hessian can be negative{corner}")
    return Convexity("not decided", f"no counter-example at {PROBES} points, and no proof found")


def _corners_bend_up(formula: sp.Expr, corners: list[sp.Expr]) -> bool:
    """Absolute values of what is straight in the data, added with positive factors."""
    for corner in corners:
        letter = sp.Dummy("corner", nonnegative=True)
        replaced = formula.xreplace({corner: letter})
        if not replaced.is_polynomial(letter) or not nonnegative(replaced.diff(letter)):
            return False
    return True


def principal_minors(matrix: Matrix) -> list[sp.Expr]:
    """Determinants of all square blocks on the diagonal: none negative means no bend downwards."""
    whole, size = sp.Matrix(matrix), len(matrix)
    return [
        whole.extract(list(rows), list(rows)).det()
        for k in range(1, size + 1)
        for rows in combinations(range(size), k)
    ]


def nonnegative(formula: sp.Expr) -> bool:
    """Whether SymPy's assumptions show that a formula cannot be negative, in one of its forms."""
    if isinstance(formula, sp.Piecewise):
        return all(nonnegative(branch) for branch, _ in formula.args)
    if formula.has(sp.Piecewise):
        return False
    whole = cleared(formula)
    forms = [formula, whole, sp.factor(whole), sp.factor(cleared(formula.rewrite(sp.exp)))]
    return any(form.is_nonnegative for form in forms)


def _counter_example(d: Derivation, matrix: Matrix):
    """The first probe at which the Hessian has an eigenvalue clearly below zero."""
    symbols = sorted(set().union(*(e.free_symbols for row in matrix for e in row)), key=str)
    values_of = sp.lambdify(symbols, [list(row) for row in matrix], "mpmath")
    fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    for point in points(d.context, PROBES)[:PROBES]:
        here = {s: fixed.get(s, point.get(s)) for s in symbols}
        try:
            with mp.workdps(40):
                numbers = mp.matrix(values_of(*(mp.mpmathify(here[s]) for s in symbols)))
                lowest = min(mp.eigsy(numbers, eigvals_only=True))
                size = max(1, mp.mnorm(numbers, "f"))
        except (ZeroDivisionError, TypeError):  # a pole, or a logarithm outside its domain
            continue
        if lowest < -(mp.mpf(10) ** -20) * size:
            return here, float(lowest)
    return None
