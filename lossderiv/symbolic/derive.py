"""The opening moves: from a density to its negative log-likelihood in the raw outputs.

Knows no family and no rule: the rules that stabilise are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import sympy as sp

from lossderiv.errors import ParameterError
from lossderiv.symbolic.logs import open_log
from lossderiv.symbolic.records import (
    Context,
    Density,
    Derivation,
    Domain,
    Link,
    Rule,
    Step,
    close,
    output_name,
)
from lossderiv.symbolic.stabilise import stabilise
from lossderiv.symbolic.vectors import ENTRY, Unrolled, inward, slope_in, sum_of

Where = tuple[tuple[sp.Symbol, sp.Expr], ...]


def derive_nll(
    density: Density,
    fixed: Mapping[str, sp.Expr],
    links: Mapping[str, Link],
    output_domains: Mapping[str, Domain],
    reading: Sequence[Rule],
    computing: Sequence[Rule],
) -> Derivation:
    """The derivation of ``density``'s loss: every step from ``p`` to the loss, and its gradient.

    ``fixed`` gives values to some parameters; the others are learned, each through its link, from
    a raw output whose domain (what to probe) is in ``output_domains``.
    """
    learned = [n for n in density.parameters if n not in fixed]
    if not learned:
        raise ParameterError(
            f"Every parameter of {density.name} is fixed, so nothing is left to learn. Leave at "
            f"least one of {', '.join(density.parameters)} out."
        )
    outputs = {n: output_domains[n].symbol(f"eta_{n}") for n in learned}
    context = _context(density, outputs, output_domains)

    steps = _construct(density, context)
    p, where = density.expr, density.where
    if fixed:
        p, where = _fix(density, fixed, context, steps)
    nll = _take_log(p, where, context, steps)
    nll_where = where
    steps += stabilise(nll, reading, context, where)
    nll_short = steps[-1].after
    theta = {n: links[n].inverse(_scalar_view(outputs[n])) for n in learned}
    expr, where = _link(density, nll_short, where, theta, links, outputs, context, steps)
    expr = _reopen_logs(expr, where, context, steps)
    steps += stabilise(expr, reading, context, where)
    exact = _count_up(density, steps[-1].after, where, context, steps)
    loss, dropped = _drop_constants(exact, where, context, steps)
    moves = dropped.has(density.variable)  # then the sum is worth its own form
    return Derivation(
        density=density,
        fixed=MappingProxyType(dict(fixed)),
        links=MappingProxyType({n: links[n] for n in learned}),
        context=context,
        where=where,
        steps=tuple(steps),
        **_computed_forms(loss, where, context, reading, computing),
        reading=tuple(reading),
        computing=tuple(computing),
        exact_steps=stabilise(exact, computing, context, where) if moves else (),
        open_exact=exact,
        open_nll=nll,
        nll_where=nll_where,
        theta=MappingProxyType(theta),
        dropped=dropped,
    )


def rescaled(derivation: Derivation, factor: sp.Expr) -> Derivation:
    """The same loss divided by a positive ``factor``, with the ``scale`` step that says so.

    >>> import lossderiv as ld
    >>> d = ld.derive("normal", sigma=1)
    >>> d.rescaled("1/2").loss
    (-eta_mu + x)**2
    """
    factor = sp.nsimplify(factor, rational=True)
    if not factor.is_positive:
        raise ParameterError(f"A loss can be divided by a positive factor only, not by {factor}.")
    loss = derivation.open_loss
    step = Step(
        loss,
        loss / factor,
        "scale",
        "rescale",
        f"divide by {factor}: the minimiser stays, gradients shrink by that factor",
        derivation.context,
        derivation.where,
    )
    d = derivation
    return replace(
        d,
        steps=(*d.steps, step),
        scale=d.scale * factor,
        **_computed_forms(step.after, d.where, d.context, d.reading, d.computing),
    )


def _computed_forms(loss, where, context, reading, computing) -> dict[str, object]:
    """What follows from a loss: its computed form, its gradient, and the gradient's."""
    slopes = {output_name(o): _gradient(loss, o, where, context, reading) for o in context.outputs}
    kernels = {n: stabilise(s[-1].after, computing, context, where) for n, s in slopes.items()}
    return {
        "evaluation": stabilise(loss, computing, context, where),
        "gradient_steps": MappingProxyType(slopes),
        "gradient_evaluation": MappingProxyType(kernels),
    }


def _context(density, outputs, output_domains) -> Context:
    domains = {density.variable: density.data}
    domains |= {density.symbols[n]: d for n, d in density.parameters.items()}
    domains |= {o: output_domains[n] for n, o in outputs.items()}
    return Context(MappingProxyType(domains), tuple(outputs.values()))


def _scalar_view(output: sp.Expr) -> sp.Expr:
    """A vector output is read entry by entry."""
    return output[ENTRY] if isinstance(output, sp.IndexedBase) else output


def _construct(density: Density, context: Context) -> list[Step]:
    """The steps by which a combinator made the formula."""
    moves = density.made.moves if density.made else ()
    return [Step(m.before, m.after, "=", m.rule, m.reason, context, density.where) for m in moves]


def _fix(density: Density, fixed, context, steps) -> tuple[sp.Expr, Where]:
    """Give parameters their values: ones at once, others as named constants.

    A named constant keeps a residual in one piece: SymPy would write (x - mu)/(1/10) as
    10 x - 10 mu.
    """
    values = {density.symbols[n]: v for n, v in fixed.items()}
    shares = {density.symbols[n] for n, d in density.parameters.items() if d.open_high}
    plain = {s: v for s, v in values.items() if v == 1 or s in shares}  # 1 - 0.2 is positive
    named = tuple((s, v) for s, v in values.items() if s not in plain)
    where = named + tuple((s, e.xreplace(plain)) for s, e in density.where)
    p = density.expr.xreplace(plain)
    said = ", ".join(f"{n} = {v}" for n, v in fixed.items())
    steps.append(
        Step(
            density.expr,
            p,
            "fix",
            "fix " + ", ".join(fixed),
            f"given, not learned: {said}",
            context,
            where,
            density.where,
            tuple(values.items()),
        )
    )
    return p, where


def _take_log(p, where, context, steps) -> sp.Expr:
    nll = inward(-open_log(p, context, where))
    steps.append(
        Step(
            -sp.log(p, evaluate=False),
            nll,
            "=",
            "negative log-likelihood",
            "the log of a product is the sum of the logs, and log and exp cancel",
            context,
            where,
        )
    )
    return nll


def _link(density, nll, where, theta, links, outputs, context, steps) -> tuple[sp.Expr, Where]:
    substitution = parameter_substitution(density, theta)
    after = close(nll, substitution)
    after_where = tuple((s, close(e, substitution)) for s, e in where)
    names = {n: links[n].name for n in theta}
    reasons = dict.fromkeys(links[n].because for n in theta)
    if len(reasons) > 1:
        reasons.pop("any real number is allowed", None)
    steps.append(
        Step(
            nll,
            after,
            "link",
            ", ".join(f"{n}: {link}" for n, link in names.items()),
            "the decoder outputs any real number: " + "; ".join(reasons),
            context,
            after_where,
            where,
            substitution,
        )
    )
    return after, after_where


def _reopen_logs(expr, where, context, steps) -> sp.Expr:
    """A link may have put a product under a log: open it again."""
    opened = expr.xreplace(
        {
            f: open_log(f.args[0], context, where)
            for f in expr.atoms(sp.log)
            if isinstance(f.args[0], sp.Mul | sp.Pow | sp.exp)
        }
    )
    if opened != expr:
        steps.append(
            Step(
                expr,
                opened,
                "=",
                "log of a product",
                "the log of a product is the sum of the logs",
                context,
                where,
            )
        )
    return opened


def parameter_substitution(density: Density, theta: Mapping[str, sp.Expr]) -> Where:
    """What replaces each parameter, or each entry of a vector parameter."""
    return tuple((_scalar_view(density.symbols[name]), f) for name, f in theta.items())


def _count_up(density, expr, where, context, steps) -> sp.Expr:
    """Where counts add up to a given number, that number is their sum."""
    if density.data.total is None:
        return expr
    number, total = density.symbols[density.data.high_is], sum_of(density.variable)
    after = expr.xreplace({number: total})
    if after != expr:
        reason = f"every datum adds up to {number}"
        steps.append(Step(expr, after, "=", "the counts add up", reason, context, where))
    return after


def _drop_constants(expr, where, context, steps) -> tuple[sp.Expr, sp.Expr]:
    """Terms free of every output do not move the minimum; their sum is kept as ``dropped``."""
    kept, dropped = _split(expr, where, context)
    if dropped != 0:
        steps.append(
            Step(
                expr,
                kept,
                "constant",
                "drop what no output moves",
                "the minimum and the gradient stay where they are",
                context,
                where,
            )
        )
    return kept, close(dropped, where)


def _split(expr, where, context) -> tuple[sp.Expr, sp.Expr]:
    """The terms that an output moves and the others; sums over entries and cases split inside."""
    kept, gone = [], []
    for term in sp.Add.make_args(expr):
        if isinstance(term, sp.Sum):
            parts = _split(term.function, where, context)
            stay, go = (p if p == 0 else sp.Sum(p, *term.limits) for p in parts)
            kept, gone = [*kept, stay], [*gone, go]
        elif isinstance(term, sp.Piecewise) and not _moved(
            sp.And(*(c for _, c in term.args)), where, context
        ):
            cases = [(*_split(e, where, context), c) for e, c in term.args]
            kept.append(sp.Piecewise(*((stay, c) for stay, _, c in cases)))
            gone.append(sp.Piecewise(*((go, c) for _, go, c in cases)))
        else:
            (kept if _moved(term, where, context) else gone).append(term)
    return sp.Add(*kept), sp.Add(*gone)


def _moved(expr: sp.Basic, where, context) -> bool:
    """Whether an output moves ``expr``."""
    closed = close(expr, where)
    return any(closed.has(o) for o in context.outputs)


def slope(expr: sp.Expr, by: sp.Expr, where: Where) -> sp.Expr:
    """Total derivative of ``expr``, through its named intermediates, which stay closed.

    Derivatives of jumps are left out (they are zero almost everywhere).
    """
    if expr.has(sp.Piecewise) and isinstance(expr, sp.Add):
        return sp.Add(*(slope(t, by, where) for t in expr.args))
    if isinstance(expr, sp.Piecewise):  # case by case; at the border of two, the slope of one
        return sp.Piecewise(*((slope(e, by, where), c) for e, c in expr.args))
    total = _partial(expr, by)
    for k, (name, meaning) in enumerate(where):
        # A named constant has no slope, and a vector's entries each depend on their own.
        if meaning.free_symbols and expr.has(getattr(name, "base", name)):
            if isinstance(meaning, Unrolled):
                total += meaning.pulled_back(_partial(expr, name), name, by)
                continue
            inner = slope(meaning, by, where[:k])
            if inner != 0:
                total += _partial(expr, name) * _refold(inner, meaning, name)
    return total


def _refold(expr: sp.Expr, meaning: sp.Expr, name: sp.Symbol) -> sp.Expr:
    """Put the name back where its meaning (or the negative of it) reappears in a derivative.

    As a part of it, or as a factor: ``sqrt(b)`` in ``1/(2 sqrt(b))``, which is ``sqrt(b)/(2 b)``.
    """
    expr, meaning = _signs_out(expr), _signs_out(meaning)
    for sign in (1, -1):
        folded = expr.subs(sign * meaning, sign * name)
        if folded != expr:
            return folded
    factor = expr / meaning
    under = sp.denom(factor)  # nothing that may be 0
    shorter = factor.count_ops() < expr.count_ops() and under.is_positive and not under.has(sp.Add)
    return factor * name if shorter else expr


def _signs_out(product: sp.Expr) -> sp.Expr:
    """``(b - a) c`` as ``-(a - b) c``: every sum in a product written with the same sign."""
    flipped = [
        sp.Mul(-1, -f, evaluate=False) if f.is_Add and f.could_extract_minus_sign() else f
        for f in sp.Mul.make_args(product)
    ]
    return sp.Mul(*(g for f in flipped for g in sp.Mul.make_args(f)))


def _partial(expr: sp.Expr, by: sp.Expr) -> sp.Expr:
    raw = slope_in(expr, by)
    return raw.xreplace({d: sp.Integer(0) for d in raw.atoms(sp.DiracDelta)})


def _gradient(loss, output, where, context, reading) -> tuple[Step, ...]:
    by = _scalar_view(output)
    raw = slope(loss, by, where)
    first = Step(
        sp.Derivative(close(loss, where), by),
        raw,
        "=",
        "differentiate",
        "by the chain rule, through the named intermediates",
        context,
        where,
    )
    return (first, *stabilise(raw, reading, context, where))
