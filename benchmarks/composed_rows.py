"""The table of densities made of others: mixtures, discretised ones and their kin.

Rows as in `rows`, each with the density that it measures; the catalogue's certificates do not
count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import draws, textbook
from benchmarks.judge import log, sigmoid
from benchmarks.row import (
    CONTINUOUS,
    CONTINUOUS_REAL,
    DISCRETE,
    Row,
    location,
    log_of,
    logit_of,
    real,
)

LEVELS = 256


def discretised(family: str, scale: str, below: Callable) -> Row:
    """A family with location and scale, on levels between -1 and 1."""

    def made():
        import lossderiv as ld

        return ld.discretized(family, levels=LEVELS)

    return Row(
        f"discretised {family}",
        (location(), log_of(scale)),
        textbook.discretised(below, LEVELS),
        draws.binned(LEVELS),
        target=DISCRETE,
        scale=lambda mu, s: s,
        made=made,
    )


def mixture(name: str, count: int, scale: str, probability: Callable, one: Callable, made) -> Row:
    """A mixture of a family with location and scale; the scores are held to soft units."""
    return Row(
        f"mixture of {count}: {name}",
        (real("logits", count), location("mu", count), log_of(scale, count)),
        textbook.mixed(probability),
        one,
        target=DISCRETE if "discretised" in name else CONTINUOUS_REAL,
        scale=lambda scores, mu, s: s,
        soft_outputs=count,
        made=made,
    )


def plain(family: str, count: int):
    def made():
        import lossderiv as ld

        return ld.mixture(family, count)

    return made


def pixels(count: int):
    def made():
        import lossderiv as ld

        return ld.mixture(ld.discretized("logistic", levels=LEVELS), count)

    return made


def of_normals(count: int) -> Row:
    p = textbook.density_of(textbook.normal)
    case = draws.mixed(count, draws.location_scale)
    return mixture("normal", count, "sigma", p, case, plain("normal", count))


def of_logistics(count: int) -> Row:
    p = textbook.density_of(textbook.logistic)
    case = draws.mixed(count, draws.location_scale)
    return mixture("logistic", count, "s", p, case, plain("logistic", count))


def of_levels(count: int) -> Row:
    p = textbook.bin_of(sigmoid, LEVELS)
    case = draws.mixed(count, draws.binned(LEVELS))
    return mixture("discretised logistic", count, "s", p, case, pixels(count))


def counts(name: str, outputs: tuple, truth: Callable, one: Callable, bound: float, made) -> Row:
    """Counts whose zeros have a gate."""
    return Row(
        name,
        (logit_of("gate"), *outputs),
        truth,
        draws.gated(one),
        target=DISCRETE,
        value_bound=bound,
        gradient_bound=bound,
        made=made,
    )


def of_counts(combinator: str, family: str):
    def made():
        import lossderiv as ld

        return getattr(ld, combinator)(family)

    return made


def within_unit(
    combinator: str, truth: Callable, case: Callable, family: str = "normal", scale: str = "sigma"
) -> Row:
    """A density with location and scale, and bounds at 0 and 1."""

    def made():
        import lossderiv as ld

        return getattr(ld, combinator)(family, 0, 1)

    return Row(
        f"{combinator} {family}{', location outside' if case is draws.beyond else ''}",
        (location(), log_of(scale)),
        truth,
        case,
        target=CONTINUOUS_REAL,
        scale=lambda mu, s: s,
        inside=lambda theta, x: 0 <= x <= 1,
        smooth=lambda theta, x: theta[0] not in (0, 1),
        made=made,
    )


def tanh_normal():
    import lossderiv as ld

    return ld.transformed("normal", "tanh")


COUNT, MEAN = (log_of("rate"),), (log_of("mu"), log_of("alpha"))


def no_event(rate):
    return rate


def no_count(mu, alpha):
    return log(1 + alpha * mu) / alpha


def poisson_zeros(combinator: str, bound: float) -> Row:
    truth = getattr(textbook, combinator)(textbook.poisson, no_event)
    made = of_counts(combinator, "poisson")
    return counts(f"{combinator} poisson", COUNT, truth, draws.poisson, bound, made)


def overdispersed_zeros(combinator: str, bound: float) -> Row:
    truth = getattr(textbook, combinator)(textbook.negative_binomial, no_count)
    made = of_counts(combinator, "negative_binomial")
    return counts(
        f"{combinator} negative_binomial", MEAN, truth, draws.mean_dispersion, bound, made
    )


COMPOSED: tuple[Row, ...] = (
    discretised("logistic", "s", sigmoid),
    discretised("normal", "sigma", textbook.below_normal),
    discretised("laplace", "b", textbook.below_laplace),
    discretised("cauchy", "gamma", textbook.below_cauchy),
    of_normals(3),
    of_logistics(3),
    of_levels(3),
    of_normals(10),
    of_logistics(10),
    of_levels(10),
    poisson_zeros("zero_inflated", 64.0),
    overdispersed_zeros("zero_inflated", 64.0),
    poisson_zeros("hurdle", 8.0),
    within_unit("truncated", textbook.truncated_normal, draws.within),
    # Inside the interval, at scales far beyond it, this one holds in soft units only.
    within_unit("truncated", textbook.truncated_laplace, draws.beyond, "laplace", "b"),
    within_unit("censored", textbook.censored_normal, draws.heaped),
    Row(
        "tanh-normal",
        (location(), log_of("sigma")),
        textbook.tanh_normal,
        draws.squashed,
        target=CONTINUOUS,
        scale=lambda mu, s: s,
        inside=lambda theta, x: -1 < x < 1,
        made=tanh_normal,
    ),
)

BY_NAME: Mapping[str, Row] = {row.name: row for row in COMPOSED}
