"""Is a step true? Symbolic proof where SymPy finds one, 60-digit probes always.

A false step raises :class:`~lossderiv.errors.DerivationError` that names it and shows where the
two sides part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mpmath as mp
import sympy as sp

from lossderiv.errors import DerivationError
from lossderiv.symbolic.derive import parameter_substitution
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import Formula, indexed_points
from lossderiv.symbolic.records import Context, Derivation, Step, close
from lossderiv.symbolic.vectors import Unrolled

TOLERANCE = mp.mpf(10) ** -50
MOST_OPERATIONS = 300  # beyond this size a symbolic proof is not attempted: probes decide

Where = Sequence[tuple[sp.Symbol, sp.Expr]]


@dataclass(frozen=True)
class Report:
    """What :meth:`Derivation.check` found: one line for each step."""

    name: str
    lines: tuple[tuple[str, str, str], ...]  # (where, rule, verdict)

    @property
    def proven(self) -> int:
        """How many steps SymPy proved."""
        return sum(v == "proven" for _, _, v in self.lines)

    @property
    def checked(self) -> int:
        """How many steps rest on 60-digit probes alone."""
        return len(self.lines) - self.proven

    def __str__(self) -> str:
        columns = list(zip(*self.lines, strict=True))[:2]
        wide, width = (max(map(len, column)) for column in columns)
        rows = [f"  {p:<{wide}}  {rule:<{width}}  {verdict}" for p, rule, verdict in self.lines]
        head = f"{self.name}: {self.proven} steps proven, {self.checked} checked at 60 digits"
        return "\n".join([head, *rows])

    __repr__ = __str__


def verify(step: Step) -> str:
    """``"proven"`` or ``"checked"``; raises ``DerivationError`` when the step is false."""
    before_where = step.where if step.where_before is None else step.where_before
    before = close(close(step.before, before_where), step.substitution)
    after = close(step.after, step.where)
    if isinstance(before, sp.Derivative) and not before.expr.has(Unrolled):
        before = before.doit()
    compare = {"constant": _check_constant, "scale": _check_scale}.get(step.relation, _check_equal)
    return compare(before, after, step)


def prove(
    before: sp.Expr, after: sp.Expr, context: Context, relation: str = "=", where: Where = ()
) -> str:
    """Check a bare claim: ``before`` and ``after`` stand in ``relation`` for every probe."""
    return verify(Step(before, after, relation, "claim", "", context, tuple(where)))


def _check_equal(before: sp.Expr, after: sp.Expr, step: Step) -> str:
    """Equal wherever the left side is a finite real number, at three probe points or more."""
    left, right = Formula(before), Formula(after)
    for count in (6, 48):  # more where most points lie outside the support
        met = 0
        for point in indexed_points((before, after), step.context, count):
            a = left.at(point)
            if not mp.isfinite(a) or mp.im(a) != 0:
                continue  # such as log C(n, k) with k > n, or log(-1): nothing is claimed there
            met += 1
            b = right.at(point)
            if not _same(a, b):
                raise _false(step, f"{mp.nstr(a, 12)} against {mp.nstr(b, 12)}", point)
        if met >= 3:
            return "proven" if _vanishes(before - after) else "checked"
    raise _false(step, "its left side is finite and real at fewer than three probe points", {})


def _check_constant(before: sp.Expr, after: sp.Expr, step: Step) -> str:
    difference = _difference(before, after)
    _check_free_of_outputs(difference, step, "difference")
    rest = sp.expand(difference)
    return "proven" if not _touches(rest, step.context) else "checked"


def _difference(before: sp.Expr, after: sp.Expr) -> sp.Expr:
    """``before - after``, case by case where both have the same cases."""
    pair = (before, after)
    if all(isinstance(e, sp.Piecewise) for e in pair):
        cases = [[c for _, c in e.args] for e in pair]
        if cases[0] == cases[1]:
            both = zip(before.args, after.args, strict=True)
            return sp.Piecewise(*((a - b, c) for (a, c), (b, _) in both))
    return before - after


def _check_scale(before: sp.Expr, after: sp.Expr, step: Step) -> str:
    _check_free_of_outputs(before / after, step, "ratio")
    rest = sp.cancel(before / after)
    return "proven" if rest.is_positive and not _touches(rest, step.context) else "checked"


def _check_free_of_outputs(quantity: sp.Expr, step: Step, word: str) -> None:
    """The ``word`` of both sides must stay put while only the outputs move.

    It is one formula, so that equal terms cancel before they are evaluated: beside
    ``exp(exp(30))`` no number of digits would show a constant.
    """
    formula = Formula(quantity)
    pts = list(indexed_points((quantity, step.before, step.after), step.context))
    rest = [s for s in step.context.domains if s not in step.context.outputs]
    for base in pts[:3]:
        values = []
        for other in pts:
            point = {**other, **{s: base[s] for s in rest}}
            value = formula.at(point)
            if mp.isfinite(value):
                values.append((value, point))
        first = values[0][0]
        if word == "ratio" and not first > 0:
            raise _false(step, f"a factor of {mp.nstr(first, 12)}, not positive", values[0][1])
        for value, point in values[1:]:
            if not _same(value, first):
                text = f"the {word} moves with the outputs, from {mp.nstr(first, 12)} "
                raise _false(step, text + f"to {mp.nstr(value, 12)}", point)


def _touches(expr: sp.Expr, context: Context) -> bool:
    return any(expr.has(o) for o in context.outputs)


def _same(a, b) -> bool:
    if mp.isnan(a) or mp.isnan(b):
        return False
    if mp.isinf(a) or mp.isinf(b):
        return a == b
    with mp.workdps(70):
        return abs(a - b) <= TOLERANCE * max(1, abs(a), abs(b))


def _vanishes(difference: sp.Expr) -> bool:
    """Whether SymPy reduces the difference to 0, or every slope of it (the probes anchor it)."""
    if difference.atoms(sp.IndexedBase):
        return False  # probes at three classes are evidence, not a proof for all K
    difference = spell_out(difference)
    if sp.expand(difference) == 0:
        return True
    if difference.count_ops() > MOST_OPERATIONS or difference.atoms(sp.Piecewise):
        return False
    return all(_is_zero(difference.diff(s)) for s in difference.free_symbols)


def _is_zero(expr: sp.Expr) -> bool:
    if expr == 0:
        return True
    if expr.count_ops() > MOST_OPERATIONS or expr.atoms(sp.Derivative, sp.DiracDelta):
        return False
    try:
        return sp.cancel(sp.together(_exps_as_symbols(expr))) == 0
    except sp.PolynomialError:  # not a rational function of its parts: the probes decide
        return False


def _exps_as_symbols(expr: sp.Expr) -> sp.Expr:
    """``exp(k u)`` as a power of one symbol for ``exp(u)``, so that cancellation can see it."""
    expr = sp.expand_power_exp(expr)
    found = {}
    for e in expr.atoms(sp.exp):
        k, u = e.args[0].as_coeff_Mul()
        if k.is_Integer:
            found[e] = sp.Symbol(f"exp({u})", positive=True) ** k
    return expr.xreplace(found)


def _false(step: Step, what: str, point) -> DerivationError:
    at = ", ".join(f"{s} = {v}" for s, v in point.items() if str(s) != "K")
    return DerivationError(
        f"The step '{step.rule}' ({step.before}  ->  {step.after}) claims '{step.relation}' "
        f"but is false: {what} at {at}. Correct the rule or the formula that made this step."
    )


def check_derivation(derivation: Derivation) -> Report:
    """Check every step of a derivation afresh, the gradients and the bookkeeping included."""
    lines = [
        *(("to the loss", s.rule, verify(s)) for s in derivation.steps),
        *(("to compute", s.rule, verify(s)) for s in derivation.evaluation),
        *(
            (f"d/d {name}", s.rule, verify(s))
            for name, steps in derivation.gradient_steps.items()
            for s in (*steps, *derivation.gradient_evaluation[name])
        ),
        *(("exact", s.rule, verify(s)) for s in derivation.exact_steps),
        ("the whole", "nll = scale loss + dropped", _check_whole(derivation)),
    ]
    return Report(derivation.density.name, tuple(lines))


def _check_whole(d: Derivation) -> str:
    """``nll(theta(eta)) == scale * loss + dropped``, independent of the steps in between."""
    step = Step(
        before=d.open_nll,
        after=d.scale * d.open_loss + d.dropped,
        relation="link",
        rule="nll = scale loss + dropped",
        reason="the bookkeeping of the whole derivation",
        context=d.context,
        where=d.where,
        where_before=d.nll_where,
        substitution=parameter_substitution(d.density, d.theta),
    )
    return verify(step)
