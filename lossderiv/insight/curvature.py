"""Second derivatives of a loss, and whether it is convex: proven, or refuted at a point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice, product

import mpmath as mp
import sympy as sp

from lossderiv.derivations import derive
from lossderiv.insight.again import Again
from lossderiv.insight.entries import (
    entries_in,
    letter_of,
    letters_of,
    one_entry,
    written_out,
)
from lossderiv.insight.evidence import supports_move
from lossderiv.insight.exponential import exponential_family
from lossderiv.insight.positive import nonnegative
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.insight.solve import cleared
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import Formula, points
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.vectors import ENTRY, OTHER, Unrolled, slope_in, with_classes

Matrix = tuple[tuple[sp.Expr, ...], ...]
PROBES = 36
FEW = 9  # outcomes that are looked at one by one


@dataclass(frozen=True)
class Convexity:
    """``answer`` is ``"convex"``, ``"not convex"`` or ``"not decided"``; ``why`` is the evidence.

    For a no, ``point`` is where the Hessian has the negative eigenvalue ``eigenvalue``, or, without
    one, where the loss is infinite although it is finite on both sides.
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
    raw outputs, both for one datum. Of vectors they hold the entry of row ``i`` and column ``l``,
    or, where the entries are independent, those of an entry ``i``; ``None`` where a matrix couples
    them. ``in_theta`` and ``in_eta`` say whether the loss is convex in each.
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

    def check(self) -> tuple[str, ...]:
        """The matrices and the convexity once more, by differences and chords of the loss.

        Returns what was compared; raises ``DerivationError`` where a statement is false.
        """
        d = self.derivation
        if d.has_vectors:
            alone = one_entry(d)
            if alone is not None:
                return hessian(alone.derivation).check()
            return _checked_vectors(self)
        fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
        allowed = _inside_support(d)
        some = ({s: fixed.get(s, v) for s, v in p.items()} for p in points(d.context, PROBES))
        settings = [p for p in some if allowed(p) and _apart(p, d.density.variable)]
        done = []
        for by, loss, matrix, said in zip(
            axes(d),
            (d.nll, d.loss),
            (self.theta, self.eta),
            (self.in_theta, self.in_eta),
            strict=True,
        ):
            again = Again(d.density.name, Formula(loss), by)
            entries = [[Formula(e) for e in row] for row in matrix]
            again.compare(entries, settings)
            done += again.convexity(said, settings)
        return (*done, "second derivatives compared with differences at 2 settings")

    def rows(self) -> list[Row]:
        rows: list[Row] = []
        for matrix, by in zip((self.theta, self.eta), axes(self.derivation), strict=True):
            for i, row in enumerate(matrix or ()):
                for j, entry in enumerate(row[i:], i):
                    rows.append((f"second derivative in {label(by, i, j)}", [entry]))
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
    if d.has_vectors:
        return of_vectors(d)
    thetas = tuple(d.density.symbols[n] for n in d.links)
    in_theta, in_eta = matrix_of(d.nll, thetas), matrix_of(d.loss, d.context.outputs)
    by_parameters, by_outputs = by_theory(d)
    by_outputs = by_outputs or _convexity(d, in_eta, d.loss, d.context.outputs)
    if all(link.name == "identity" for link in d.links.values()) and by_outputs:
        by_parameters = by_outputs  # they are the same numbers
    by_parameters = by_parameters or _convexity(d, in_theta, d.nll, thetas)
    return Hessian(d, in_theta, in_eta, by_parameters, by_outputs)


def axes(d: Derivation) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """The parameters and the raw outputs that rows and columns of matrices stand for."""
    return [d.density.symbols[n] for n in d.links], list(d.context.outputs)


def label(by: Sequence[sp.Expr], i: int, j: int) -> str:
    """What the entry ``i, j`` of a matrix is about."""
    if not isinstance(by[i], sp.IndexedBase):
        return f"{by[i]}, {by[j]}"
    return f"{by[i]}[i], {by[j]}[{'i' if len(by) > 1 else 'l'}]"


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


NATURAL = (
    "{} natural parameters, or straight in them, and there the Hessian is the variance of the "
    "statistics"
)


def by_theory(d: Derivation) -> tuple[Convexity | None, Convexity | None]:
    """Convex in the parameters, in the raw outputs: where the natural parameters are straight."""
    e = exponential_family(d)
    if not e:
        return None, None
    in_theta = Convexity("convex", NATURAL.format("the parameters are"))
    in_eta = Convexity("convex", NATURAL.format("the raw outputs are"))
    if d.has_vectors:
        axis = [d.density.symbols[n][ENTRY] for n in d.links]
        return in_theta if _straight(e.natural, axis) else None, in_eta if e.canonical else None
    thetas, etas = axes(d)
    theta = dict(zip(thetas, d.theta.values(), strict=True))
    through = [spell_out(f.xreplace(theta)) for f in e.natural]
    straight = e.canonical or _straight(through, etas)
    return in_theta if _straight(e.natural, thetas) else None, in_eta if straight else None


def _straight(formulas, by: Sequence[sp.Expr]) -> bool:
    return all(cleared(f.diff(a).diff(b)) == 0 for f in formulas for a in by for b in by)


def few_outcomes(d: Derivation) -> Mapping[int, sp.Expr] | None:
    """The probability of each outcome as a formula, if there are few."""
    data = d.density.data.bounded(d.fixed)
    if data.shape != "scalar" or not (data.integer and data.high - data.low < FEW):
        return None
    values = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    whole = d.density.formula.xreplace(values)
    outcomes = range(int(data.low), int(data.high) + 1)
    return {k: spell_out(whole.xreplace({d.density.variable: sp.Integer(k)})) for k in outcomes}


def _convexity(d: Derivation, matrix: Matrix, loss: sp.Expr, by: Sequence[sp.Expr]) -> Convexity:
    found = _counter_example(d, matrix)
    if found is not None:
        return refuted(*found)
    if supports_move(d, inside) is not None:
        why = "the support moves with the parameters"
        found = _chord_below(d, by)
        return Convexity("not decided", why) if found is None else found
    if outcomes := few_outcomes(d):
        if all(_bends_up(d, _at_outcome(d, loss, k), by) for k in outcomes):
            why = (
                f"no principal minor of the Hessian is negative at any of {len(outcomes)} outcomes"
            )
            return Convexity("convex", why)
    else:
        plain = spell_out(loss)
        pieces = _pieces(plain, d.density.variable, by)
        if pieces and all(_bends_up_everywhere(d, matrix_of(p, by), p) for p in pieces):
            return Convexity("convex", _bending(plain, d.density.variable, len(pieces)))
    return Convexity("not decided", f"no counter-example at {PROBES} points, and no proof found")


def _bending(loss: sp.Expr, x: sp.Symbol, pieces: int) -> str:
    """Why a loss is convex, with its corners and its joints."""
    where = "in either piece, and they join with equal slopes" if pieces > 1 else ""
    corner = "and its corner bends upwards" if any(a.has(x) for a in loss.atoms(sp.Abs)) else ""
    why = "no principal minor of the Hessian can be negative"
    return f"{why} {where}" if where else ", ".join(filter(None, (why, corner)))


def _pieces(loss: sp.Expr, x: sp.Symbol, by: Sequence[sp.Expr]) -> list[sp.Expr]:
    """The formulas of a loss in two pieces that join smoothly; ``[]`` if they are not shown to.

    If each is convex, so is the whole: along any line its slope only grows, also at a joint.
    """
    chosen = list(loss.atoms(sp.Piecewise))
    if not chosen:
        return [loss]
    if len(chosen) > 1 or len(chosen[0].args) != 2:
        return []
    (one, where), (other, _) = chosen[0].args
    places = _joints(where, x)
    gap = one - other
    level = [cleared(g.xreplace({x: at})) for at in places for g in (gap, *map(gap.diff, by))]
    joined = bool(places) and all(g == 0 for g in level)
    return [loss.xreplace({chosen[0]: piece}) for piece in (one, other)] if joined else []


def _joints(where: sp.Basic, x: sp.Symbol) -> list[sp.Expr]:
    """The data at which ``|u| <= c`` turns false, ``u`` being straight in them."""
    if not (isinstance(where, sp.Le | sp.Lt) and isinstance(where.lhs, sp.Abs)):
        return []
    u = where.lhs.args[0]
    slope = u.diff(x)
    if slope == 0 or slope.has(x) or where.rhs.has(x):
        return []
    return [sp.expand((side * where.rhs - u.xreplace({x: sp.S.Zero})) / slope) for side in (1, -1)]


def _bends_up_everywhere(d: Derivation, matrix: Matrix, loss: sp.Expr) -> bool:
    """Whether no principal minor can be negative, and every corner, if any, bends upwards."""
    corners = [a for a in loss.atoms(sp.Abs) if a.has(d.density.variable)]
    kinks = any(e.has(sp.sign, sp.Abs) for row in matrix for e in row)
    if corners and (kinks or not _corners_bend_up(loss, corners)):
        return False
    return all(nonnegative(m, d.context.domains) for m in principal_minors(matrix))


def _at_outcome(d: Derivation, loss: sp.Expr, k: int) -> sp.Expr:
    values = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    return spell_out(loss.xreplace(values).xreplace({d.density.variable: sp.Integer(k)}))


def _bends_up(d: Derivation, loss: sp.Expr, by: Sequence[sp.Expr]) -> bool:
    """Whether the loss of one outcome has no negative principal minor."""
    minors = principal_minors(matrix_of(loss, tuple(by)))
    return all(nonnegative(m, d.context.domains) for m in minors)


def refuted(point: Mapping[sp.Symbol, object], value: float) -> Convexity:
    """A no, with its evidence."""
    at = ", ".join(f"{s} = {float(v):.4g}" for s, v in point.items())
    why = f"the Hessian has the eigenvalue {value:.4g} at {at}"
    return Convexity("not convex", why, point, value)


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


def _counter_example(d: Derivation, matrix: Matrix):
    """The first probe at which the Hessian has an eigenvalue clearly below zero."""
    fixed = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    allowed = _inside_support(d)
    candidates = (
        {s: fixed.get(s, v) for s, v in point.items()} for point in points(d.context, PROBES)
    )
    return lowest_eigenvalue(matrix, (p for p in islice(candidates, PROBES) if allowed(p)))


def lowest_eigenvalue(matrix: Matrix, candidates: Iterable[Mapping]):
    """The first point at which the matrix has a negative eigenvalue, and that eigenvalue."""
    symbols = sorted(set().union(*(e.free_symbols for row in matrix for e in row)), key=str)
    values_of = sp.lambdify(symbols, [list(row) for row in matrix], "mpmath")
    for point in candidates:
        here = {s: point[s] for s in symbols}
        try:
            with mp.workdps(40):
                numbers = mp.matrix(values_of(*(mp.mpmathify(v) for v in here.values())))
                lowest = min(mp.eigsy(numbers, eigvals_only=True))
                size = max(1, mp.mnorm(numbers, "f"))
        except (ZeroDivisionError, TypeError):  # a pole, or a logarithm outside its domain
            continue
        if lowest < -(mp.mpf(10) ** -20) * size:
            return here, float(lowest)
    return None


def _inside_support(d: Derivation) -> Callable[[Mapping], bool]:
    """Whether a point's datum lies in the support that its parameters (or raw outputs) give."""
    walls = [w.args[0] for w in d.nll.atoms(inside)]
    theta = {d.density.symbols[n]: e for n, e in d.theta.items()}
    both = [Formula(w) for w in walls], [Formula(w.xreplace(theta)) for w in walls]
    return lambda point: all(f.at(point) > 0 for side in both for f in side)


def _chord_below(d: Derivation, by: Sequence[sp.Expr]) -> Convexity | None:
    """Two settings whose supports hold a datum that the setting halfway between excludes.

    There the loss is infinite, above the mean of two finite losses.
    """
    theta = {d.density.symbols[n]: e for n, e in d.theta.items()}
    walls = [w.args[0].xreplace({} if by[0] in theta else theta) for w in d.nll.atoms(inside)]
    slacks = [Formula(w) for w in walls]
    x = d.density.variable
    given = {d.density.symbols[n]: v for n, v in d.fixed.items()}
    typical = product(*(d.context.domains[s].typical for s in by))
    settings = [{**given, **dict(zip(by, values, strict=True))} for values in typical]
    for a, b in combinations(settings, 2):
        middle = {**a, **{s: (a[s] + b[s]) / 2 for s in by}}
        for value in d.density.data.typical:
            ends = [{**p, x: value} for p in (a, b)]
            if all(f.at(p) >= 0 for f in slacks for p in ends) and any(
                f.at({**middle, x: value}) < 0 for f in slacks
            ):
                here = {s: middle[s] for s in by} | {x: value}
                at = ", ".join(f"{s} = {float(v):.4g}" for s, v in here.items())
                pair = " and ".join(
                    f"({', '.join(f'{float(p[s]):.4g}' for s in by)})" for p in ends
                )
                why = f"the loss is infinite at {at}, halfway between {pair}, where it is finite"
                return Convexity("not convex", why, here)
    return None


def of_vectors(d: Derivation) -> Hessian:
    """Second derivatives in the entries ``i`` and ``l`` of vectors, or in one entry's numbers."""
    alone = one_entry(d)
    if alone is not None:
        h = hessian(alone.derivation)
        there = [
            tuple(tuple(map(alone.of_vector, row)) for row in matrix) for matrix in (h.theta, h.eta)
        ]
        both = (_of_entry(c, alone.back) for c in (h.in_theta, h.in_eta))
        return Hessian(d, *there, *both)
    theory = by_theory(d)
    theta, eta = bent_vectors(d)
    thetas, etas = axes(d)
    in_theta = theory[0] or _of_written_out(d, theta, d.nll, thetas)
    return Hessian(d, theta, eta, in_theta, theory[1] or _of_written_out(d, eta, d.loss, etas))


def bent_vectors(d: Derivation) -> tuple[Matrix | None, Matrix | None]:
    """Second derivatives in the entries ``i`` and ``l`` of one vector, in both its forms."""
    if d.nll.atoms(Unrolled):
        return None, None
    theta = _bent(d.nll, axes(d)[0][0])
    return ((theta,),), ((_bent_in_output(d, theta),),)


def _bent_in_output(d: Derivation, bent: sp.Expr) -> sp.Expr:
    """The second derivative in the raw outputs, from that in the parameters if the link is one's
    own: ``t'_i t'_l H_il + [i = l] g_i t''_i``."""
    (output,), ((name, link),) = d.context.outputs, d.theta.items()
    if link.has(sp.Sum):  # a softmax
        return slope_in(next(iter(d.gradient.values())), output[OTHER])
    theta = d.density.symbols[name]
    once, twice = link.diff(output[ENTRY]), link.diff(output[ENTRY], 2)
    own = slope_in(d.nll, theta[ENTRY]) * twice * sp.KroneckerDelta(ENTRY, OTHER)
    bent = bent * once * once.xreplace({ENTRY: OTHER}) + own
    entries = [e for e in bent.atoms(sp.Indexed) if e.base == theta]
    return bent.xreplace({e: link.xreplace({ENTRY: e.indices[0]}) for e in entries})


def _bent(formula: sp.Expr, vector: sp.IndexedBase) -> sp.Expr:
    return slope_in(slope_in(formula, vector[ENTRY]), vector[OTHER])


def _of_entry(found: Convexity, back: Mapping[sp.Expr, sp.Expr]) -> Convexity:
    if found.point is None:
        return replace(found, why=f"{found.why}; the entries are independent")
    return refuted({back[s]: v for s, v in found.point.items()}, found.eigenvalue)


def _of_written_out(d: Derivation, matrix, loss: sp.Expr, by: Sequence[sp.Expr]) -> Convexity:
    """A diagonal that cannot be negative, or a counter-example with two or three entries."""
    if matrix is not None and _diagonal_bends_up(d, matrix[0][0]):
        return Convexity("convex", "the Hessian is diagonal, and no entry can be negative")
    letters = [s for v in by for s in letters_of(d, v)]
    classes = d.density.data.shape == "category"
    for x in range(entries_in(d)) if classes else (None,):
        plain = written_out(d, loss, x)
        plain = spell_out(plain)
        square = tuple(tuple(plain.diff(a).diff(b) for b in letters) for a in letters)
        data = [] if classes else letters_of(d, d.density.variable)
        found = lowest_eigenvalue(square, _vector_points(d, [*letters, *data]))
        if found is not None:
            names = {letter_of(d, e): e for v in (*by, d.density.variable) for e in _shown(d, v)}
            return refuted({names.get(s, s): v for s, v in found[0].items()}, found[1])
    return Convexity("not decided", f"no counter-example at {PROBES} points, and no proof found")


def _checked_vectors(h: Hessian) -> tuple[str, ...]:
    """The same with the vectors written out, and classes one by one."""
    d, done = h.derivation, []
    data = [] if d.density.data.shape == "category" else letters_of(d, d.density.variable)
    for by, loss, matrix, said in zip(
        axes(d), (d.nll, d.loss), (h.theta, h.eta), (h.in_theta, h.in_eta), strict=True
    ):
        letters = [s for v in by for s in letters_of(d, v)]
        settings = list(_vector_points(d, [*letters, *data]))
        for x in (None,) if data else range(entries_in(d)):
            again = Again(d.density.name, Formula(written_out(d, loss, x)), letters)
            if matrix is not None:
                size = range(len(letters))
                entries = [
                    [Formula(_entry_at(d, matrix[0][0], i, k, x)) for k in size] for i in size
                ]
                again.compare(entries, settings)
            if said or x in (None, 0):
                done += again.convexity(_in_letters(d, said), settings)
    return (*done, "vectors written out for a few entries")


def _entry_at(d: Derivation, entry: sp.Expr, i: int, k: int, x: int | None) -> sp.Expr:
    index = {ENTRY: i, OTHER: k, **({} if x is None else {d.density.variable: x})}
    plain = with_classes(entry, entries_in(d), index)
    return plain.xreplace({e: letter_of(d, e) for e in plain.atoms(sp.Indexed)})


def _in_letters(d: Derivation, said: Convexity) -> Convexity:
    point = {
        letter_of(d, s) if isinstance(s, sp.Indexed) else s: v
        for s, v in (said.point or {}).items()
    }
    return replace(said, point=point)


def _apart(point: Mapping, x: sp.Symbol) -> bool:
    """Whether the datum is at no parameter's place, where a loss may have its corner."""
    return all(v != point[x] for s, v in point.items() if s != x)


def _shown(d: Derivation, vector: sp.Expr) -> list[sp.Indexed]:
    """The entries of a vector, by their numbers; none of what is no vector."""
    if not isinstance(vector, sp.IndexedBase):
        return []
    return [vector[n] for n in range(len(letters_of(d, vector)))]


def _diagonal_bends_up(d: Derivation, entry: sp.Expr) -> bool:
    """Whether an entry ``i, l`` is ``[i = l]``, or ``[x = i] [x = l]``, times what is positive."""
    x = d.density.variable
    pairs = ((ENTRY, OTHER), (ENTRY, x), (OTHER, x))
    same, here, there = (sp.KroneckerDelta(*pair) for pair in pairs)
    for factor in (same, here * there):
        rest = entry / factor
        if not rest.has(sp.KroneckerDelta):
            signs = {e: _signed(d, e) for e in rest.atoms(sp.Indexed)}
            return bool(rest.xreplace(signs).is_nonnegative)
    return False


def _signed(d: Derivation, entry: sp.Indexed) -> sp.Dummy:
    """A letter with the sign that an entry of data, or of a parameter inside its domain, has."""
    if d.context.domains[entry.base].low < 0:
        return sp.Dummy("any", real=True)
    data = entry.base == d.density.variable
    return sp.Dummy("entry", **{"nonnegative" if data else "positive": True})


def _vector_points(d: Derivation, letters: Sequence[sp.Symbol]) -> Iterable[Mapping]:
    """Probe points of vectors, by the letters of their entries."""
    named = {str(v.label): v for v in d.context.domains if isinstance(v, sp.IndexedBase)}
    for point in points(d.context, PROBES)[:PROBES]:
        places = ((s, str(s).rstrip("]").partition("[")) for s in letters)
        yield {s: sp.sympify(point[named[v]][int(n)]) for s, (v, _, n) in places}
