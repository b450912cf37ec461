"""Rules applied structurally to a fixed point, one Step per firing.

A rule's ``find`` is a formula whose free symbols are wildcards. Matching is structural: sums and
products match in any order, the outermost one may have further terms, and a wildcard binds a whole
subexpression whose sign and kind fit the wildcard's assumptions. Nothing is guessed: a rule fires
where its pattern literally stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import permutations

import sympy as sp

from lossderiv.symbolic.records import Context, Rule, Step

Bindings = dict[sp.Symbol, sp.Expr]
MOST_FIRINGS = 60

_ASSUMPTIONS = ("positive", "negative", "nonnegative", "integer")


def stabilise(expr: sp.Expr, rules: Iterable[Rule], context: Context, where) -> tuple[Step, ...]:
    """The steps by which ``rules``, tried in order, take ``expr`` to its fixed point.

    Where a formula has cases, a rule that fires in one after the other makes one step.
    """
    rules, steps = tuple(rules), []
    for _ in range(MOST_FIRINGS):
        fired = next((s for r in rules if (s := fire(r, expr)) is not None and s[1] != expr), None)
        if fired is None:
            return tuple(steps)
        rule, after = fired
        if steps and steps[-1].rule == rule.name and isinstance(expr, sp.Piecewise):
            steps[-1] = replace(steps[-1], after=after)
        else:
            steps.append(Step(expr, after, "=", rule.name, rule.because, context, where))
        expr = after
    raise RecursionError(f"rules do not come to rest on {expr}: {[s.rule for s in steps[-6:]]}")


def fire(rule: Rule, expr: sp.Expr) -> tuple[Rule, sp.Expr] | None:
    """``rule`` applied once inside ``expr``, outermost place first; ``None`` if it fits nowhere."""
    after = rewrite_once(expr, lambda node: _apply(rule, node))
    return None if after is None else (rule, after)


def rewrite_once(expr: sp.Expr, change: Callable[[sp.Expr], sp.Expr | None]) -> sp.Expr | None:
    """Replace every copy of the first node (outermost first) that ``change`` does not refuse."""
    for node in sp.preorder_traversal(expr):
        if isinstance(node, sp.Expr) and (new := change(node)) is not None and new != node:
            return expr.xreplace({node: new})
    return None


def _apply(rule: Rule, node: sp.Expr) -> sp.Expr | None:
    found = sorted(_root_matches(rule.find, node), key=lambda match: _leading_signs(match[0]))
    for bindings, rest in found:
        new = rule.give.xreplace(bindings)
        if rest:
            new = node.func(new, *rest)
        return new
    return None


def _leading_signs(bindings: Bindings) -> int:
    """Prefer the binding whose parts do not begin with a minus: softplus(u), not softplus(-u)."""
    return sum(b.could_extract_minus_sign() for b in bindings.values())


def _root_matches(pattern: sp.Expr, node: sp.Expr) -> Iterator[tuple[Bindings, list[sp.Expr]]]:
    """Matches of ``pattern`` with ``node``, where an outermost sum or product may have a rest."""
    if isinstance(pattern, sp.Add | sp.Mul):
        kind = type(pattern)
        if not isinstance(node, kind):
            return
        yield from _match_some(_by_shape(pattern.args), list(kind.make_args(node)), {}, kind)
    else:
        for bindings in match(pattern, node, {}):
            yield bindings, []


@cache  # the patterns are those of the rules, met again at every node of every derivation
def _by_shape(patterns: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
    """Functions and numbers first: they bind the wildcards that products and bare ones reuse."""

    def key(p):
        return (_is_wild(p), isinstance(p, sp.Add | sp.Mul), -len(p.atoms(sp.Function)))

    return tuple(sorted(patterns, key=key))


def _match_some(patterns, terms, bindings, kind) -> Iterator[tuple[Bindings, list[sp.Expr]]]:
    """Match each of ``patterns`` with one of ``terms``; yield the bindings and unmatched terms."""
    if not patterns:
        yield bindings, terms
        return
    first, *later = patterns
    for k, term in enumerate(terms):
        for found in match(first, term, bindings):
            yield from _match_some(later, terms[:k] + terms[k + 1 :], found, kind)


def match(pattern: sp.Expr, node: sp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    """Every way to bind the wildcards of ``pattern`` so that it is ``node``."""
    if _is_wild(pattern):
        if pattern in bindings:
            if bindings[pattern] == node:
                yield bindings
        elif _fits(pattern, node):
            yield {**bindings, pattern: node}
    elif isinstance(pattern, sp.Add | sp.Mul):
        yield from _match_all(pattern, node, bindings)
    elif not pattern.args:
        if pattern == node:
            yield bindings
    elif pattern.func == node.func and len(pattern.args) == len(node.args):
        yield from _match_args(pattern.args, node.args, bindings)


def _match_args(patterns, nodes, bindings) -> Iterator[Bindings]:
    if not patterns:
        yield bindings
        return
    for found in match(patterns[0], nodes[0], bindings):
        yield from _match_args(patterns[1:], nodes[1:], found)


def _match_all(pattern: sp.Expr, node: sp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    """An inner sum or product must match whole; one wildcard in it may stand for several terms.

    Where several are free, each stands for one term, in every order.
    """
    kind = type(pattern)
    terms = list(kind.make_args(node))
    wild = [a for a in pattern.args if _is_wild(a)]
    solid = _by_shape(tuple(a for a in pattern.args if not _is_wild(a)))
    for found, rest in _match_some(solid, terms, bindings, kind):
        free = [w for w in wild if w not in found]
        for w in wild:
            parts = [p for p in kind.make_args(found.get(w, kind.identity)) if p != kind.identity]
            if w in found and (rest := _without(rest, parts)) is None:
                break
        else:
            if not free and not rest:
                yield found
            elif len(free) == 1:
                whole = kind(*rest)  # the empty product is 1, the empty sum 0
                if _fits(free[0], whole):
                    yield {**found, free[0]: whole}
            elif len(free) == len(rest):
                for order in permutations(rest):
                    if all(map(_fits, free, order)):
                        yield {**found, **dict(zip(free, order, strict=True))}


def _without(terms: list[sp.Expr], gone: Iterable[sp.Expr]) -> list[sp.Expr] | None:
    """``terms`` less those of ``gone``; ``None`` if one of them is not there."""
    terms = list(terms)
    for term in gone:
        if term not in terms:
            return None
        terms.remove(term)
    return terms


def _is_wild(pattern: sp.Expr) -> bool:
    return isinstance(pattern, sp.Symbol)


def _fits(wild: sp.Symbol, node: sp.Expr) -> bool:
    """Whether ``node`` satisfies every assumption that the wildcard was declared with."""
    declared = wild._assumptions_orig
    return all(
        getattr(node, f"is_{a}") == declared[a] for a in _ASSUMPTIONS if declared.get(a) is not None
    )
