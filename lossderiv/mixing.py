"""From the derivation of one component to that of a mixture of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import sympy as sp

from lossderiv.domains import Logits, Real, Vector, identity
from lossderiv.special_mixtures import LogShare, MixedSurprisal, ShareOf
from lossderiv.symbolic.records import Context, Density, Derivation, Step, close
from lossderiv.symbolic.vectors import CLASSES, EACH, ENTRY, RUNNING, LogSumExp, Softmax

Where = tuple[tuple[sp.Expr, sp.Expr], ...]

LOGITS = sp.IndexedBase("logits", real=True)
SCORES = sp.IndexedBase("eta_logits", real=True)
INDICES = {CLASSES, *(i.label for i in (EACH, ENTRY, RUNNING))}


class Lift:
    """Gives every number of one component that moves an index of its component."""

    def __init__(self, moving: set[sp.Symbol], where: Where):
        self.to: dict[sp.Symbol, sp.Expr] = {s: _vector(s) for s in moving}
        for name, meaning in where:
            if meaning.free_symbols & set(self.to):
                self.to[name] = _vector(name)

    def __call__(self, expr: sp.Expr) -> sp.Expr:
        return expr.xreplace(self.to)

    def names(self, where: Where) -> Where:
        """The named intermediates, each with one value for each component where it moves."""
        return tuple((self.to.get(s, s), self(e)) for s, e in where)


def _vector(symbol: sp.Symbol) -> sp.Indexed:
    return sp.IndexedBase(symbol.name, **symbol._assumptions_orig)[ENTRY]


def mixed_density(component: Derivation, count: int) -> tuple[sp.Expr, Where, dict, dict]:
    """The formula of a mixture: expression, names, symbols and domains of its parameters."""
    c = component.density
    fixing = next((s for s in component.steps if s.relation == "fix"), None)
    p, where = (fixing.after, fixing.where) if fixing else (c.expr, c.where)
    learned = [n for n in c.parameters if n not in component.fixed]
    lift = Lift({c.symbols[n] for n in learned}, where)
    part = _named("f", lift, positive=True)
    names = (*lift.names(where), (part, lift(p)))
    body = Softmax(LOGITS[EACH], EACH) * part.xreplace({ENTRY: EACH})
    expr = sp.Sum(body, (EACH, 0, CLASSES - 1))
    symbols = {"logits": LOGITS, **{n: lift.to[c.symbols[n]].base for n in learned}}
    domains = {"logits": Vector(Real), **{n: Vector(c.parameters[n]) for n in learned}}
    return expr, names, symbols, {n: replace(d, length=count) for n, d in domains.items()}


def mix(density: Density, component: Derivation) -> Derivation:
    """The derivation of a mixture's loss, from that of its component.

    The log of the weighted sum becomes a logsumexp of log-weights and log-densities; the latter
    are those of the component's own derivation, and so are the slopes, each times the share that
    its component has in the datum.
    """
    c = component
    lift = Lift(set(c.context.outputs), c.where)
    etas = [lift.to[o].base for o in c.context.outputs]
    outputs = (SCORES, *etas)
    count = density.parameters["logits"].length
    domains = {density.variable: density.data}
    domains |= {density.symbols[n]: d for n, d in density.parameters.items()}
    domains |= dict.fromkeys(outputs, replace(Logits, length=count))
    context = Context(MappingProxyType(domains), outputs)
    theta = {"logits": SCORES[ENTRY], **{n: lift(f) for n, f in c.theta.items()}}
    said = _Said(context)

    part = next(s for s, _ in density.where if str(getattr(s, "base", s)) == "f")
    part_k = part.xreplace({ENTRY: EACH})
    weight, score = LOGITS[EACH], SCORES[EACH]

    # To one logsumexp in the parameters.
    p, names = density.expr, density.where
    whole = LogSumExp(LOGITS[RUNNING], RUNNING)
    together = -LogSumExp(weight - whole + sp.log(part_k), EACH)
    nll = whole - LogSumExp(weight + sp.log(part_k), EACH)
    steps = [
        said("log of a weighted sum", -sp.log(p, evaluate=False), together, names),
        said("the weights' common factor", together, nll, names),
    ]

    # In the raw outputs, and by the component's own derivation.
    substitution = tuple((density.symbols[n][ENTRY], f) for n, f in theta.items())
    linked_names = tuple((s, close(e, substitution)) for s, e in names)
    linked = close(nll, substitution)
    steps.append(_link(nll, linked, c, context, linked_names, names, substitution))
    kept = _named("ell", lift, real=True)
    where = (*_without_repeats((*linked_names, *lift.names(c.where))), (kept, lift(c.open_loss)))
    exact = kept
    if c.dropped != 0:
        exact = _named("nll", lift, real=True)
        where += ((exact, lift(c.open_exact)),)
    by_parts = linked.xreplace({sp.log(part_k): -exact.xreplace({ENTRY: EACH})})
    steps.append(said("each component by its own derivation", linked, by_parts, where))
    loss = by_parts.xreplace({exact.xreplace({ENTRY: EACH}): kept.xreplace({ENTRY: EACH})})
    if c.dropped != 0:
        dropping = "drop what no output moves"
        used = _used(where, by_parts, loss)
        steps.append(Step(by_parts, loss, "constant", dropping, SHARED, context, used))

    # As it is computed.
    computed = kept if c.kernel == c.open_loss else _named("ellhat", lift, real=True)
    where += () if computed == kept else ((computed, lift(c.kernel)),)
    whole_numbers = density.data.integer
    kernel = _surprisal(computed, whole_numbers)
    exact_steps: tuple[Step, ...] = ()
    if c.dropped.has(density.variable):
        own = _named("nllhat", lift, real=True)
        where += ((own, lift(c.exact_kernel)),)
        surprisal = _surprisal(own, whole_numbers)
        exact_steps = (said("a mixture's surprisal", by_parts, surprisal, where),)

    share = SCORES[ENTRY] - kept - LogSumExp(score - kept.xreplace({ENTRY: EACH}), EACH)
    log_share = LogShare(SCORES[ENTRY], ENTRY, computed)
    slopes = {"eta_logits": (Softmax(SCORES[ENTRY], ENTRY) - sp.exp(share), None)}
    computing = {"eta_logits": Softmax(SCORES[ENTRY], ENTRY) - sp.exp(log_share)}
    for output, slope in c.open_gradient.items():
        fine = c.gradient_kernel[output]
        own = _named(f"slope_{output.removeprefix('eta_')}", lift, real=True)
        where += ((own, lift(slope)),)
        if fine != slope:
            hat = _named(f"slope_{output.removeprefix('eta_')}hat", lift, real=True)
            where += ((hat, lift(fine)),)
        root = sp.exp(log_share / 2)
        slopes[output] = (sp.exp(share) * own, own)
        computing[output] = ShareOf(root, ENTRY, own if fine == slope else hat)
    names_of = dict(zip(slopes, outputs, strict=True))
    differentiated = {
        n: (
            said(
                "differentiate a mixture",
                sp.Derivative(close(loss, where), names_of[n][ENTRY]),
                slope,
                where,
            ),
        )
        for n, (slope, _) in slopes.items()
    }
    return Derivation(
        density=density,
        fixed=MappingProxyType({}),
        links=MappingProxyType({"logits": identity, **c.links}),
        context=context,
        where=where,
        steps=tuple(steps),
        evaluation=(said("a mixture's surprisal", loss, kernel, where),),
        gradient_steps=MappingProxyType(differentiated),
        gradient_evaluation=MappingProxyType(
            {
                n: (said("shares by their logs", slope, computing[n], where),)
                for n, (slope, _) in slopes.items()
            }
        ),
        reading=c.reading,
        computing=c.computing,
        exact_steps=exact_steps,
        open_exact=by_parts,
        open_nll=nll,
        nll_where=names,
        theta=MappingProxyType(theta),
        dropped=c.dropped,
    )


def _surprisal(ell: sp.Expr, near_one: bool) -> sp.Expr:
    """The loss with the weights' logs taken first; a sum ``near_one`` asks for more."""
    if near_one:
        return MixedSurprisal(SCORES[EACH], EACH, ell.xreplace({ENTRY: EACH}))
    log_weight = LogShare(SCORES[EACH], EACH, sp.S.Zero)
    return -LogSumExp(log_weight - ell.xreplace({ENTRY: EACH}), EACH)


SHARED = "it is the same in every component, so it leaves the sum"
REASONS: Mapping[str, str] = {
    "log of a weighted sum": "each term is the exp of its log: the densities underflow where "
    "their logs are modest numbers",
    "the weights' common factor": "what all terms share leaves the sum",
    "each component by its own derivation": "minus the log of one density is the loss that its "
    "own derivation arrives at",
    "a mixture's surprisal": "with one leading weight, or a sum near 1, the two logsumexps cancel",
    "differentiate a mixture": "each component's slope counts by the share that it has in the "
    "datum, its responsibility",
    "shares by their logs": "a share underflows while its product with a steep slope does not",
}


class _Said:
    """Steps with the reason that the table gives for their rule."""

    def __init__(self, context: Context):
        self.context = context

    def __call__(self, rule: str, before: sp.Expr, after: sp.Expr, where: Where) -> Step:
        used = _used(where, before, after)
        return Step(before, after, "=", rule, REASONS[rule], self.context, used)


def _link(before, after, c: Derivation, context, where, where_before, substitution) -> Step:
    names = ", ".join(f"{n}: {link.name}" for n, link in c.links.items())
    reason = "the decoder outputs any real number, for each component"
    return Step(
        before,
        after,
        "link",
        f"logits: identity, {names}",
        reason,
        context,
        where,
        where_before,
        substitution,
    )


def _used(where: Where, *exprs: sp.Expr) -> Where:
    """Those names that the expressions need, directly or through one another."""
    needed = set().union(*(_bases(e) for e in exprs))
    kept = []
    for name, meaning in reversed(where):
        if _bases(name) & needed:
            needed |= _bases(meaning)
            kept.append((name, meaning))
    return tuple(reversed(kept))


def _bases(expr: sp.Expr) -> set[sp.Expr]:
    """The names in an expression, those of vectors without their index."""
    return expr.atoms(sp.IndexedBase, sp.Symbol) - INDICES


def _named(name: str, lift: Lift, **assumptions) -> sp.Indexed:
    taken = {str(s) for s in lift.to}
    while name in taken:
        name += "_"
    return sp.IndexedBase(name, **assumptions)[ENTRY]


def _without_repeats(where: Where) -> Where:
    return tuple(dict(where).items())
