"""From a loss back to its likelihood: is ``exp(-loss)`` a density, and whose?

``-log p = loss`` for some density ``p`` exactly when ``Z = integral of exp(-loss) over x`` does not
depend on the raw outputs. Where it does, the missing term is ``log Z``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import mpmath as mp
import sympy as sp

from lossderiv import special
from lossderiv.domains import Binary, Unit
from lossderiv.errors import DensityError, DerivationError, ParameterError
from lossderiv.insight import classes
from lossderiv.insight.claim import Claim
from lossderiv.insight.record import Shown, heading
from lossderiv.insight.totals import (
    DIGITS,
    LOOSE,
    branches,
    corners,
    divergence,
    exact_end,
    numeric_total,
    symbolic_total,
)
from lossderiv.insight.whose import Owner, owner, tempered
from lossderiv.symbolic.functions import Special
from lossderiv.symbolic.logs import log_of_number
from lossderiv.symbolic.probe import Formula
from lossderiv.symbolic.records import Domain
from lossderiv.symbolic.render import plain
from lossderiv.symbolic.vectors import EACH, LogSumExp

OUTPUTS = ((0.3, -0.8, 0.45), (-1.25, 0.6, -0.2), (2.1, 0.15, 1.1), (0.7, -0.35, 0.9))


@dataclass(frozen=True, repr=False)
class Likelihood(Shown):
    """What :func:`likelihood_of` found.

    ``values`` are the integral Z of ``exp(-loss)`` at the probed outputs, ``log_normaliser`` is
    log Z as a formula (``None`` where SymPy finds none) and ``missing`` the same where it moves
    with the outputs. ``family`` names the density of the catalogue with
    ``temperature * -log p = loss + missing``, up to what no output moves; its parameters are
    ``learned``, formulas in the outputs, or ``given``.
    """

    loss: sp.Expr
    variable: sp.Symbol
    data: Domain
    outputs: tuple[sp.Symbol, ...]
    answer: str
    log_normaliser: sp.Expr | None = None
    values: tuple[float, ...] = ()
    missing: sp.Expr | None = None
    family: str | None = None
    given: Mapping[str, sp.Expr] = field(default_factory=lambda: MappingProxyType({}))
    learned: Mapping[str, sp.Expr] = field(default_factory=lambda: MappingProxyType({}))
    temperature: sp.Expr = sp.S.One
    steps: tuple[Claim, ...] = ()

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss itself is a negative log-likelihood, up to a constant."""
        return bool(self.values) and self.missing is None and self.temperature == 1

    def check(self) -> tuple[str, ...]:
        """The normaliser by quadrature and the name at twelve points, once more.

        Returns the verdicts; raises ``DerivationError`` at a claim that is false.
        """
        x, outputs = self.variable, self.outputs
        for step in self.steps:
            if step.label == "sum over classes":
                gaps = classes.gaps(step.right, self.loss, x, outputs[0])
                if not all(abs(gap) <= classes.AGREE for gap in gaps):
                    raise DerivationError(
                        f"The normaliser {step.right} of {self.loss} is false: its log is off by "
                        f"{mp.nstr(max(map(abs, gaps)), 6)} from the sum over the classes."
                    )
                continue
            sides = Formula(step.left), Formula(step.right)
            if step.label == "normalise":
                total = _Total(Formula(self.loss), x, self.data, outputs)
                pairs = [
                    (mp.log(total.at(at)), sides[1].at(_at(x, 0, outputs, at)), at)
                    for at in OUTPUTS
                ]
            elif step.label == "name" and not step.left.has(sp.Symbol("log(Z)")):
                probes = [_at(x, v, outputs, at) for at in OUTPUTS for v in _values(self.data)]
                pairs = [(sides[0].at(p), sides[1].at(p), p) for p in probes]
            else:
                continue
            for a, b, point in pairs:
                if not abs(a - b) <= LOOSE * max(1, abs(a)):
                    raise DerivationError(
                        f"The step '{step.label}' of the likelihood of {self.loss} is false: "
                        f"{mp.nstr(a, 12)} against {mp.nstr(b, 12)} at {point}. Correct the "
                        "formula that made it."
                    )
        return tuple(step.verdict for step in self.steps)

    @property
    def title(self) -> str:
        """The question."""
        return f"Whose negative log-likelihood is {plain(self.loss)}?"

    def rows(self):
        """The answer, and the steps to it."""
        domain = self.data.describe().replace("x", str(self.variable))
        return [
            ("target", [domain]),
            *(s.row() for s in self.steps),
            ("answer", [self.answer]),
        ]


def likelihood_of(loss: sp.Expr | str, domain: Domain, target: str = "x") -> Likelihood:
    """The density whose negative log-likelihood a loss is, or why there is none.

    The answer is found by integrating ``exp(-loss)`` over the target. If the integral Z does not
    depend on the outputs, ``exp(-loss)/Z`` is a density, and the catalogue is searched for it. If
    it does, ``loss + log Z`` would be a likelihood: ``missing`` is the term that is not there.
    Every Z is verified by quadrature, every name at twelve points to 18 digits.

    Parameters
    ----------
    loss
        A formula in the symbol ``target`` and the raw outputs (every other symbol), as a SymPy
        expression or as text, one element's loss.
    domain
        Where the target lives: ``ld.Real``, ``ld.Unit``, ``ld.Binary``, ``ld.Count``, ... For
        ``ld.Category`` the outputs are one vector: ``"logsumexp(eta) - eta[x]"``.

    >>> import lossderiv as ld
    >>> ld.likelihood_of("(x - eta)**2 / 2", ld.Real).answer
    'normal with sigma = 1 (mu = eta): the loss is its negative log-likelihood, less log(2*pi)/2.'
    >>> bce = ld.likelihood_of("softplus(eta) - x*eta", ld.Unit)
    >>> bce.is_likelihood, bce.family
    (False, 'continuous_bernoulli')
    >>> ld.likelihood_of("logsumexp(eta) - eta[x]", ld.Category).answer
    'categorical with logits eta: the loss is its negative log-likelihood.'
    """
    if domain.shape == "category":
        return _over_classes(loss, domain, target)
    expr, x, outputs = _read(loss, domain, target)
    question = {"loss": expr, "variable": x, "data": domain, "outputs": outputs}
    energy = Formula(expr)
    probes = [(value, at) for at in OUTPUTS for value in _values(domain)]
    for value, at in probes:
        _real(energy.at(_at(x, value, outputs, at)), x, value)
    heat = tempered(lambda v, at: energy._once(_at(x, v, outputs, at)), x, domain, outputs, probes)
    why = _diverges(energy, x, domain, outputs)
    if why is not None:
        return Likelihood(**question, answer=why + _but(heat), **_fields(heat))
    total = _Total(energy, x, domain, outputs)
    log_z, steps = _log_normaliser(expr, x, domain, outputs, total)
    moves = any(abs(z - total.values[0]) > LOOSE * total.values[0] for z in total.values)

    exact = None if log_z is None else Formula(log_z)

    def nll(value, at):
        beyond = mp.log(total.at(at)) if exact is None else exact._once(_at(x, value, outputs, at))
        return energy._once(_at(x, value, outputs, at)) + beyond

    found = owner(nll, x, domain, outputs, probes)
    if not moves:
        log_z = _constant(log_z, total.values[0])
        if found is None and heat is not None and heat.temperature == 1:
            found = heat
    record = {**question, "log_normaliser": log_z, "values": tuple(map(float, total.values))}
    if found is not None:
        steps = (*steps, _name_step(expr, log_z, found))
    if not moves:
        answer = _constant_answer(found, log_z)
        return Likelihood(**record, answer=answer, steps=steps, **_fields(found))
    missing = sp.Function("log_Z")(*outputs) if log_z is None else log_z
    answer = _moving_answer(found, missing, outputs, total) + _but(heat)
    if found is None and heat is None:
        answer += _elsewhere(expr, domain, target)
    return Likelihood(
        **record, answer=answer, missing=missing, steps=steps, **_fields(found or heat)
    )


def _over_classes(loss, domain: Domain, target: str) -> Likelihood:
    """The same question for a loss over classes, where the total is a sum over the outputs."""
    expr, x, vector = classes.read(loss, domain, target)
    totals = classes.sums(expr, x, vector)
    log_z, logits = classes.log_total(expr, x, vector)
    step = Claim(
        "sum over classes",
        sp.Symbol("log(Z)"),
        log_z,
        "the log of the sum of exp(-loss) over the classes",
        f"checked by adding up at {len(totals)} points",
    )
    moves = any(abs(z - totals[0]) > LOOSE * totals[0] for z in totals)
    learned = {} if logits == 0 else {"p": sp.exp(logits - LogSumExp(logits, EACH))}
    record = Likelihood(
        expr,
        x,
        domain,
        (vector,),
        classes.answer_of(logits, log_z, totals, vector),
        log_z if moves else _constant(None, totals[0]),
        tuple(map(float, totals)),
        log_z if moves else None,
        "categorical" if logits != 0 else None,
        learned=MappingProxyType(learned),
        steps=(step,),
    )
    record.check()
    return record


def _read(loss, domain: Domain, target: str):
    """The loss with symbols that know their domains."""
    if domain.shape != "scalar":
        raise ParameterError(
            f"likelihood_of integrates over one number, and {domain.name} holds none. Give the "
            "domain of a single target, such as ld.Real or ld.Unit."
        )
    names = {
        n: f for n, f in vars(special).items() if isinstance(f, type) and issubclass(f, Special)
    }
    if isinstance(loss, str):
        words = {s: sp.Symbol(s) for s in ("beta", "gamma", "zeta", "lambda", "S", "N", "E", "I")}
        try:
            loss = sp.sympify(loss, locals={**words, **names})
        except (sp.SympifyError, SyntaxError, TypeError, AttributeError) as problem:
            raise DensityError(
                f"The loss {loss!r} cannot be read as a formula: {problem}. Write it as Python "
                "would, with exp, log, Abs, Max, softplus, relu, ..."
            ) from problem
    if not isinstance(loss, sp.Expr):
        raise DensityError(
            f"Expected a loss as a SymPy expression or as text, not {type(loss).__name__}."
        )
    free = sorted(loss.free_symbols, key=str)
    if target not in map(str, free):
        raise DensityError(
            f"The loss {loss} has no target {target!r}; its symbols are "
            f"{', '.join(map(str, free)) or 'none'}. Say which one it is with target=..."
        )
    x = domain.symbol(target)
    outputs = tuple(sp.Symbol(s.name, real=True) for s in free if s.name != target)
    if not 1 <= len(outputs) <= 3:
        raise DensityError(
            f"The loss {loss} has {len(outputs)} raw outputs beside the target {target}; one to "
            "three are possible."
        )
    known = {s: x if s.name == target else sp.Symbol(s.name, real=True) for s in free}
    return loss.xreplace(known), x, outputs


def _values(domain: Domain) -> tuple:
    """Three targets; on a line far from each other, to meet the tails as well as the middle."""
    return (1.9, -5.5, 0.45) if domain.name == "Real" else domain.typical[:3]


def _at(x, value, outputs, at: Sequence[float]) -> dict:
    return {x: value, **dict(zip(outputs, at, strict=False))}


def _diverges(energy: Formula, x, domain: Domain, outputs) -> str | None:
    """The sentence that says why there is no finite Z, if there is none."""
    for at in OUTPUTS:

        def log_weight(value, at=at):
            return -_real(energy.at(_at(x, value, outputs, at)), x, value)

        why = divergence(log_weight, domain)
        if why is not None:
            where = ", ".join(f"{o} = {v:g}" for o, v in zip(outputs, at, strict=False))
            kind = "sum" if domain.integer else "integral"
            return f"None: exp(-loss) has no finite {kind}; at {where}, {why}."
    return None


def _real(value, x, at):
    if mp.isnan(value) or mp.im(value) != 0:
        raise DensityError(
            f"The loss is {mp.nstr(value, 6)} at {x} = {mp.nstr(at, 6)}, not a real number. Give "
            "a loss that is finite for every raw output, and the domain of its target."
        )
    return value


class _Total:
    """Z in numbers, each computed once."""

    def __init__(self, energy: Formula, x, domain: Domain, outputs):
        self._energy, self._x, self._domain, self._outputs = energy, x, domain, outputs
        self._known: dict[tuple, mp.mpf] = {}

    def at(self, at: Sequence[float]) -> mp.mpf:
        if at not in self._known:
            self._known[at] = numeric_total(
                lambda v: _weight(self._energy._once(_at(self._x, v, self._outputs, at))),
                self._domain,
                self._corners(at),
            )
        return self._known[at]

    def _corners(self, at) -> list:
        outputs = dict(zip(self._outputs, at, strict=False))
        with mp.workdps(DIGITS):
            return [*outputs.values(), *corners(self._energy.expr, self._x, self._domain, outputs)]

    @cached_property
    def values(self) -> tuple[mp.mpf, ...]:
        return tuple(self.at(at) for at in OUTPUTS)


def _weight(energy: mp.mpf) -> mp.mpf:
    """``exp(-energy)``, without the bits of a number such as exp(exp(100))."""
    return mp.mpf(0) if energy > 10**6 else mp.exp(-energy)


def _log_normaliser(expr, x, domain: Domain, outputs, total: _Total):
    """log Z as a formula, with the steps to it, if SymPy finds one that numbers confirm."""
    steps = []
    shift = _shift(expr, x, domain, outputs)
    if shift is not None:
        origin, moved = shift
        steps.append(
            Claim(
                "shift",
                _total_symbol(sp.exp(-expr), x, domain),
                _total_symbol(sp.exp(-moved), x, domain),
                f"{x} enters through {x} - {origin} alone, and the line has no origin",
                "proven",
            )
        )
        expr = moved
    outside, inside = sp.expand(-expr).as_independent(x, as_Add=True)
    found = _integrated(sp.exp(inside), x, domain)
    for z in branches(found) if found is not None else []:
        log_z = outside + (log_of_number(z).doit() if z.is_number else sp.log(sp.together(z)))
        formula = Formula(log_z)
        pairs = [(formula.at(_at(x, 0, outputs, at)), mp.log(total.at(at))) for at in OUTPUTS]
        if all(abs(a - b) <= LOOSE * max(1, abs(b)) for a, b in pairs):
            method = "summation" if domain.integer else "quadrature"
            kind = "sum" if domain.integer else "integral"
            steps.append(
                Claim(
                    "normalise",
                    sp.Symbol("log(Z)"),
                    log_z,
                    f"the log of the {kind} of exp(-loss) over {x}",
                    f"checked by {method} at {len(pairs)} points",
                )
            )
            return log_z, tuple(steps)
    return None, tuple(steps)


def _total_symbol(body, x, domain: Domain) -> sp.Expr:
    low, high = map(exact_end, (domain.low, domain.high))
    return (sp.Sum if domain.integer else sp.Integral)(body, (x, low, high))


def _constant(log_z: sp.Expr | None, value: mp.mpf) -> sp.Expr:
    """log Z, known to be the same everywhere, without the outputs that cancel in it."""
    if log_z is not None and not log_z.free_symbols:
        return log_z
    number = mp.log(value)
    return sp.Integer(0) if abs(number) < LOOSE else sp.Float(mp.nstr(number, 15), 15)


def _shift(expr, x, domain: Domain, outputs):
    """An output that the target is measured from, and the loss with that output taken to 0."""
    if domain.name == "Real":
        for o in outputs:
            for moved in (expr.xreplace({x: x + o}), sp.expand(expr.xreplace({x: x + o}))):
                if not moved.has(o):
                    return o, moved
    return None


def _integrated(weight, x, domain: Domain) -> sp.Expr | None:
    """The total of a weight over the domain, by SymPy; the line is cut at 0, where corners sit."""
    low, high = exact_end(domain.low), exact_end(domain.high)
    if domain.integer and (high - low).is_finite:
        return sp.Add(*(weight.xreplace({x: low + k}) for k in range(int(high - low) + 1)))
    if domain.name != "Real":
        return symbolic_total((weight,), x, low, high, domain.integer)
    t = sp.Symbol("t", positive=True)
    return symbolic_total(
        tuple(weight.xreplace({x: s * t}) for s in (1, -1)), t, sp.Integer(0), sp.oo
    )


def _fields(found: Owner | None) -> dict:
    if found is None:
        return {}
    return {
        "family": found.family,
        "given": MappingProxyType(dict(found.given)),
        "learned": MappingProxyType(dict(found.learned)),
        "temperature": found.temperature,
    }


def _name_step(expr, log_z, found: Owner) -> Claim:
    log_z = sp.Symbol("log(Z)") if log_z is None else log_z
    return Claim(
        "name",
        expr + log_z,
        found.nll,
        f"the negative log-likelihood of {_called(found)}",
        "checked at twelve points to 18 digits",
    )


def _called(found: Owner) -> str:
    """``normal with sigma = 1``, and how its parameters come from the outputs where they do not
    simply equal them."""
    links = ", ".join(f"{n} = {plain(e)}" for n, e in found.learned.items())
    return f"{heading(found.family, found.given)} ({links})"


def _constant_answer(found: Owner | None, log_z) -> str:
    name = "A density without a name in the catalogue" if found is None else _called(found)
    less = "" if log_z == 0 else f", less {plain(log_z)}"
    return f"{name}: the loss is its negative log-likelihood{less}."


def _moving_answer(found: Owner | None, log_z, outputs, total) -> str:
    names = ", ".join(map(str, outputs))
    (a, b), (p, q) = total.values[:2], OUTPUTS[:2]
    text = (
        f"None: the normaliser Z of exp(-loss) depends on the output, Z = {mp.nstr(a, 5)} at "
        f"{names} = {_numbers(p, outputs)} and {mp.nstr(b, 5)} at {_numbers(q, outputs)}. The "
        f"missing term is log Z = {plain(log_z)}"
    )
    return text + (f"; loss + log Z is that of {_called(found)}." if found is not None else ".")


def _numbers(at, outputs) -> str:
    return ", ".join(f"{v:g}" for v in at[: len(outputs)])


def _but(heat: Owner | None) -> str:
    """What the loss still is, up to a factor and what no output moves."""
    if heat is None:
        return ""
    times = "" if heat.temperature == 1 else f"{heat.temperature} times "
    return (
        f" Yet up to a term that no output moves it is {times}the negative log-likelihood of "
        f"{_called(heat)}: its minimiser is that likelihood's."
    )


def _elsewhere(expr, domain: Domain, target: str) -> str:
    """The same loss on the corners of the domain."""
    if domain is not Unit:
        return ""
    found = likelihood_of(expr, Binary, target)
    return f" On {{0, 1}} it is that of {found.family}." if found.is_likelihood else ""
