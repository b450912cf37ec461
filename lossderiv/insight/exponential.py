"""Is a likelihood an exponential family? Detected in the formula of its density.

``p(x | theta) = h(x) exp(f(theta) . T(x) - A(theta))``: everything that people love about the
Gaussian and the Bernoulli loss follows from this one form. In the natural parameter
``omega = f(theta)`` the loss is ``A(omega) - omega . T(x)``, which is convex, and its gradient is
the mean of the statistic minus the statistic.

Sources: Barndorff-Nielsen (1978), chapter 8; Bishop (2006), section 2.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy as sp

from lossderiv.derivations import derive
from lossderiv.insight.entries import one_entry
from lossderiv.insight.evidence import SIZE, rank_of_log_likelihoods, supports_move
from lossderiv.insight.record import Row, Shown, heading
from lossderiv.insight.separate import Separated, separate
from lossderiv.insight.solve import cleared, inverse, tidy
from lossderiv.special import inside
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.records import Density, Derivation, Step
from lossderiv.symbolic.vectors import ENTRY, RUNNING, sum_over

Fold = tuple[sp.Expr, ...]


@dataclass(frozen=True)
class ExponentialFamily(Shown):
    """What :func:`exponential_family` found.

    ``answer`` is ``"yes"``, ``"no"`` or ``"not found"``, with its ``reason``; the record is true
    in an ``if`` for a yes. Then ``natural`` are the natural parameters, ``statistic`` the
    sufficient statistics, ``log_partition`` and ``base_measure`` the rest of the density, all in
    the family's own parameters; ``mean`` are the means of the statistics. ``canonical_link`` maps
    each parameter to its formula in the natural parameters (``omega``), and
    ``natural_log_partition`` is the log-partition there; both are ``None`` where no closed form
    was found. ``canonical`` says whether the links in use make the raw outputs natural parameters,
    up to a constant factor. ``steps`` are the claims, each checked. For a no, ``obstacle`` is the
    term of ``-log p`` (or the condition on the data) that ties the data to what is learned, and
    ``rank`` how many statistics a table of log-likelihoods needs at least, where it was counted.
    """

    derivation: Derivation
    answer: str
    reason: str
    natural: Fold = ()
    statistic: Fold = ()
    log_partition: sp.Expr = sp.S.Zero
    base_measure: sp.Expr = sp.S.One
    mean: Fold | None = None
    canonical_link: Mapping[str, sp.Expr] | None = None
    natural_log_partition: sp.Expr | None = None
    canonical: bool = False
    steps: tuple[Step, ...] = ()
    obstacle: sp.Expr | None = None
    rank: int | None = None

    def __bool__(self) -> bool:
        return self.answer == "yes"

    @property
    def title(self) -> str:
        d = self.derivation
        found = {"yes": "an exponential family", "no": "no exponential family"}
        said = found.get(self.answer, "exponential family not found")
        return f"{heading(d.density.name, d.fixed)}: {said}"

    def check(self) -> tuple[str, ...]:
        """The verdict of each step; raises ``DerivationError`` at a false one."""
        return tuple(step.verdict for step in self.steps)

    def rows(self) -> list[Row]:
        if not self:
            return [("because", [self.reason])]
        omegas = omega_symbols(len(self.natural))
        rows: list[Row] = [
            ("natural parameter", list(zip(omegas, self.natural, strict=True))),
            ("sufficient statistic", list(self.statistic)),
            ("log-partition", [self.log_partition]),
            ("base measure", [self.base_measure]),
        ]
        if self.natural_log_partition is not None:
            rows.append(("log-partition in omega", [self.natural_log_partition]))
        if self.canonical_link is not None:
            symbols = self.derivation.density.symbols
            rows.append(
                ("canonical link", [(symbols[n], e) for n, e in self.canonical_link.items()])
            )
        rows.append(("the links in use", [self._said_of_links()]))
        if self.mean is not None:
            gradient = [m - t for m, t in zip(self.mean, self.statistic, strict=True)]
            rows += [
                ("mean of the statistic", list(self.mean)),
                ("gradient in omega: mean minus statistic", gradient),
            ]
        rows.append(("claims", [f"{s.rule}: {s.verdict}" for s in self.steps]))
        return rows

    def _said_of_links(self) -> str:
        names = ", ".join(f"{n}: {link.name}" for n, link in self.derivation.links.items())
        if self.canonical:
            return f"{names} (canonical: the raw output is the natural parameter, up to a factor)"
        return f"{names} (not canonical)"


def exponential_family(of: str | Density | Derivation, **options) -> ExponentialFamily:
    """Whether a likelihood is an exponential family, and then its parts.

    The log of the density is multiplied out and its terms are sorted into products of a function
    of the learned parameters and a function of the data: ``sum_i f_i(theta) T_i(x) - A(theta) +
    log h(x)``. A no comes with the term that ties the two together and with a rank: how many
    statistics a table of log-likelihoods would need at least. ``options`` are those of
    :func:`lossderiv.derive`; a fixed parameter counts as a number.

    >>> import lossderiv as ld
    >>> e = ld.exponential_family("bernoulli")
    >>> e.natural, e.statistic, e.mean, e.canonical
    ((log(p) - log(1 - p),), (x,), (p,), True)
    >>> e.natural_log_partition
    log(exp(omega) + 1)
    >>> bool(ld.exponential_family("cauchy"))
    False
    """
    d = derive(of, **options)
    condition = supports_move(d, inside)
    if condition is not None:
        reason = f"the support moves with its parameters: the data must keep {condition} >= 0"
        return ExponentialFamily(d, "no", reason, obstacle=condition)
    parts = _separated(d)
    if parts.entangled is not None:
        return _no(d)
    return _yes(d, parts)


def omega_symbols(count: int) -> Fold:
    """The names of natural parameters: ``omega``, or ``omega_1, omega_2, ...``."""
    if count == 1:
        return (sp.Symbol("omega", real=True),)
    return tuple(sp.Symbol(f"omega_{k + 1}", real=True) for k in range(count))


def _labels(d: Derivation) -> set[sp.Expr]:
    symbols = (d.density.symbols[n] for n in d.links)
    return {getattr(s, "label", s) for s in symbols}


def _touching(d: Derivation):
    """Two questions to ask a formula: do the parameters occur in it, does the data?"""
    learned, data = _labels(d), getattr(d.density.variable, "label", d.density.variable)
    return (lambda e: bool(e.free_symbols & learned)), (lambda e: data in e.free_symbols)


def _separated(d: Derivation) -> Separated:
    """The terms of log p, sorted; a vector parameter's are those of one entry ``i``."""
    theta, data = _touching(d)
    entries, rest = [], []
    for term in sp.Add.make_args(-d.nll):
        number, whole = term.as_coeff_Mul()
        if isinstance(whole, sp.Sum) and data(whole):
            term = sp.Sum(number * whole.function, *whole.limits)
        if (isinstance(term, sp.Sum) and data(term)) or (_picked(term, d) is not None):
            entries.append(term)
        else:
            rest.append(term)
    plain = separate(sp.Add(*rest), theta, data)
    if plain.entangled is not None or not entries:
        return plain
    pairs, alone, apart = list(plain.pairs), [plain.alone], [plain.apart]
    for term in entries:
        picked = _picked(term, d)
        if picked is not None:  # g(p[x]) = sum_i g(p[i]) [i = x]
            pairs.append((picked, sp.KroneckerDelta(d.density.variable, ENTRY)))
            continue
        j = term.variables[0]
        inner = separate(term.function, theta, data)
        if inner.entangled is not None:
            return inner
        pairs += [(c.xreplace({j: ENTRY}), g.xreplace({j: ENTRY})) for c, g in inner.pairs]
        alone.append(sum_over(inner.alone, j))
        apart.append(sum_over(inner.apart, j))
    return Separated(tuple(pairs), sp.Add(*alone), sp.Add(*apart))


def _picked(term: sp.Expr, d: Derivation) -> sp.Expr | None:
    """``g(p[i])`` for a term ``g(p[x])`` in which the data are only the index of an entry."""
    x = d.density.variable
    at = [e for e in term.atoms(sp.Indexed) if e.indices[0] == x]
    moved = term.xreplace({e: e.base[ENTRY] for e in at})
    return moved if at and x not in moved.free_symbols else None


def _no(d: Derivation) -> ExponentialFamily:
    theta, data = _touching(d)
    tangled = next(
        (t for t in sp.Add.make_args(d.nll) if separate(t, theta, data).entangled is not None),
        d.nll,
    )
    where = f"the term {tangled} of -log p ties the data to what is learned"
    rank = rank_of_log_likelihoods(d)
    answer, why = _judged(d, rank)
    return ExponentialFamily(d, answer, f"{where}; {why}", obstacle=tangled, rank=rank)


def _judged(d: Derivation, rank: int | None) -> tuple[str, str]:
    """What the rank of a table of log-likelihoods says about a density that cannot be sorted."""
    if rank is None:
        return "not found", "no other way was found to sort it"
    data = d.density.data.bounded(d.fixed)
    outcomes = data.high - data.low + 1 if data.integer else math.inf
    if rank == SIZE:
        return "no", (
            f"a table of log p at {SIZE + 1} data and {SIZE + 1} parameters, its means taken out, "
            f"has rank {rank}: fewer than {rank} statistics cannot be sufficient"
        )
    if rank == outcomes - 1 > len(d.links):
        return "no", (
            f"with {outcomes} outcomes no likelihood needs more than {rank} statistics, and this "
            f"one needs all {rank}: it has no form shorter than the list of its probabilities"
        )
    return "not found", f"although {rank} statistics seem to be enough"


def _yes(d: Derivation, parts: Separated) -> ExponentialFamily:
    natural = tuple(tidy(c) for c, _ in parts.pairs)
    statistic = tuple(g for _, g in parts.pairs)
    base, partition = parts.apart, -parts.alone
    numbers = sp.Add(*(t for t in sp.Add.make_args(partition) if not t.free_symbols))
    base, partition = base - numbers, partition - numbers
    if not d.has_vectors:
        return _scalar(d, natural, statistic, tidy(partition), base)
    return _vector(d, natural, statistic, partition, base)


def _scalar(d, natural, statistic, partition, base) -> ExponentialFamily:
    thetas = tuple(d.density.symbols[n] for n in d.links)
    log_p = sp.Add(*(f * t for f, t in zip(natural, statistic, strict=True))) - partition + base
    steps = [_sorted_step(d, log_p)]
    mean = _means(natural, partition, thetas)
    if mean is not None:
        for by in thetas:
            pull = sp.Add(
                *(f.diff(by) * (m - t) for f, m, t in zip(natural, mean, statistic, strict=True))
            )
            reason = "the slope of the log-partition is the mean: differentiate 1 = integral of p"
            steps.append(
                Step(
                    sp.Derivative(-log_p, by),
                    pull,
                    "=",
                    f"slope in {by} = mean minus statistic",
                    reason,
                    d.context,
                )
            )
    omegas = omega_symbols(len(natural))
    links = inverse(natural, omegas, thetas)
    in_omega = None
    if links is not None:
        back = tuple(zip(omegas, natural, strict=True))
        for s, e in zip(thetas, links, strict=True):
            steps.append(_substituted(d, e, s, back, f"canonical link of {s}"))
        there = tidy(partition.xreplace(dict(zip(thetas, links, strict=True))))
        in_omega = there
        steps.append(_substituted(d, there, partition, back, "log-partition in omega"))
        links = MappingProxyType(dict(zip(d.links, links, strict=True)))
    return ExponentialFamily(
        d,
        "yes",
        "every term of log p is a function of the parameters times a function of the data",
        natural,
        statistic,
        partition,
        tidy(sp.exp(base)),
        mean,
        links,
        in_omega,
        _is_canonical(d, natural),
        tuple(steps),
    )


def _sorted_step(d: Derivation, log_p: sp.Expr) -> Step:
    return Step(
        -d.nll,
        log_p,
        "=",
        "log p = omega T - A + log h",
        "each term is a function of the parameters times a function of the data",
        d.context,
    )


def _substituted(d, before, after, substitution, rule) -> Step:
    return Step(
        before,
        after,
        "=",
        rule,
        "the natural parameter is put back",
        d.context,
        where_before=(),
        substitution=substitution,
    )


def _means(natural: Fold, partition: sp.Expr, thetas: Fold) -> Fold | None:
    """``E T`` from ``sum_i df_i/dtheta_j E T_i = dA/dtheta_j``, if there are equally many."""
    if len(natural) != len(thetas):
        return None
    jacobian = sp.Matrix([[f.diff(t) for f in natural] for t in thetas])
    slopes = sp.Matrix([partition.diff(t) for t in thetas])
    determinant = cleared(jacobian.det())
    if determinant == 0:
        return None
    return tuple(cleared(m) for m in jacobian.adjugate() * slopes / determinant)


def _is_canonical(d: Derivation, natural: Fold) -> bool:
    """Whether each natural parameter, through the links, is a line in one output of its own."""
    theta = {d.density.symbols[n]: e for n, e in d.theta.items()}
    used = []
    for f in natural:
        through = spell_out(f.xreplace(theta))
        slopes = {o: cleared(through.diff(o)) for o in d.context.outputs}
        moved = {o: slope for o, slope in slopes.items() if slope != 0}
        if len(moved) != 1 or not all(slope.is_number for slope in moved.values()):
            return False
        used += moved
    return len(set(used)) == len(natural) == len(d.context.outputs)


def _vector(d, natural, statistic, partition, base) -> ExponentialFamily:
    """One natural parameter (or several) for each entry ``i`` of the vectors."""
    products = [f * t for f, t in zip(natural, statistic, strict=True)]
    total = sp.Add(*(sum_over(p.xreplace({ENTRY: RUNNING}), RUNNING) for p in products))
    steps = [_sorted_step(d, total - partition + base)]
    found, canonical = None, False
    if len(natural) == len(d.links) == 1 and d.scale == 1:
        found, canonical = _mean_of_entry(d, natural[0], statistic[0])
    mean = _means_of_one_entry(d, statistic)
    if found is not None:
        in_outputs, mean = found[0], (found[1],)
        steps.append(
            Step(
                next(iter(d.gradient.values())),
                in_outputs,
                "=",
                "slope of the loss = (mean minus statistic) times slope of omega",
                "what is left of the slope, the statistic taken out, is free of the data",
                d.context,
            )
        )
    return ExponentialFamily(
        d,
        "yes",
        "log p is a sum over entries i of parameters times data",
        natural,
        statistic,
        partition,
        sp.exp(base),
        mean,
        canonical=canonical,
        steps=tuple(steps),
    )


def _means_of_one_entry(d: Derivation, statistic: Fold) -> Fold | None:
    """The means where each entry is a density by itself, found from that density."""
    alone = one_entry(d)
    if alone is None:
        return None
    e = exponential_family(alone.derivation)
    pairs = zip(e.statistic, e.mean or (), strict=False)
    known = {alone.of_vector(t): alone.of_vector(m) for t, m in pairs}
    return tuple(known[t] for t in statistic) if set(statistic) <= set(known) else None


def _mean_of_entry(d: Derivation, natural: sp.Expr, statistic: sp.Expr):
    """``E T_i`` read off the loss's slope in output ``i``: ``(E T_i - T_i) domega_i/deta_i``.

    Returns the slope so written with the mean in the parameters, and whether the link is canonical;
    ``None`` for the first where the link or the slope has another form. Natural parameters of a
    simplex are known up to a common constant: terms free of ``i`` do not count.
    """
    ((name, theta),) = d.theta.items()
    (output,), symbol = d.context.outputs, d.density.symbols[name]
    through = tidy(natural.xreplace({symbol[ENTRY]: theta}))
    own = sp.Add(*(t for t in sp.Add.make_args(through) if ENTRY in t.free_symbols))
    slope = own.diff(output[ENTRY])
    if slope == 0 or any(e.indices[0] != ENTRY for e in own.atoms(sp.Indexed)):
        return None, False
    (gradient,) = d.gradient.values()
    mean = sp.expand(gradient / slope + statistic)
    total, x = d.density.data.total, d.density.variable
    if total is not None:  # the counts of the data add up to it
        whole = {s: sp.Integer(total) for s in mean.atoms(sp.Sum) if s.function.has(x)}
        mean = mean.xreplace(whole)
    _, data = _touching(d)
    undo = UNDONE.get(d.links[name].name)
    if data(mean) or undo is None:
        return None, slope.is_number
    in_theta = spell_out(mean)
    in_theta = in_theta.xreplace(
        {e: undo(symbol[e.indices[0]]) for e in in_theta.atoms(sp.Indexed)}
    )
    if d.density.parameters[name].shape == "simplex":
        ones = [t for t in in_theta.atoms(sp.Sum) if t.function == symbol[t.variables[0]]]
        in_theta = in_theta.xreplace(dict.fromkeys(ones, sp.Integer(1)))
    in_theta = cleared(sp.expand(in_theta))
    return ((mean - statistic) * slope, in_theta), slope.is_number


UNDONE = {"identity": lambda t: t, "exp": sp.log, "softmax": sp.log}
"""What brings a parameter back to its raw output (for a softmax, to one that leads to it)."""
