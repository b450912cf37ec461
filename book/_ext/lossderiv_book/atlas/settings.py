"""TABLE of the three settings in which a family is drawn, where the default shows too little.

A row gives the parameters that matter; the others keep the first default of their domain (or, if
they must be given, the value with which the family's certificate was measured). A family without
a row is drawn with defaults for all its parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from lossderiv.symbolic.records import Density, Domain

Theta = dict[str, object]


def three(name: str, *values: object, **others: object) -> tuple[Theta, ...]:
    """Three values of one parameter, beside the same others."""
    return tuple({**others, name: v} for v in values)


LOOKS: Mapping[str, tuple[Theta, ...]] = {
    "student_t": three("nu", 1, 4, 30),
    "log_normal": three("sigma", 0.25, 0.5, 1),
    "logit_normal": ({"mu": 0, "sigma": 1}, {"mu": -1, "sigma": 0.5}, {"mu": 0, "sigma": 2.5}),
    "gamma": three("concentration", 0.8, 2, 5),
    "inverse_gamma": three("concentration", 1, 2, 4),
    "weibull": three("concentration", 0.8, 1.5, 4),
    "log_logistic": three("beta", 1, 2, 5),
    "beta": ({"alpha": 2, "beta": 2}, {"alpha": 0.6, "beta": 0.6}, {"alpha": 2, "beta": 6}),
    "kumaraswamy": ({"a": 2, "b": 2}, {"a": 0.6, "b": 0.6}, {"a": 2, "b": 6}),
    "beta_mean": ({"mu": 0.5, "phi": 4}, {"mu": 0.5, "phi": 1}, {"mu": 0.25, "phi": 10}),
    "asymmetric_laplace": three("tau", 0.5, 0.25, 0.75),
    "generalized_normal": three("beta", 1, 2, 8),
    "huber": three("delta", 0.5, 1, 3),
    "von_mises": three("kappa", 0.5, 2, 8),
    "pareto": three("alpha", 1, 2, 4),
    "generalized_pareto": three("xi", 0.2, 1, -0.4),
    "inverse_gaussian": three("lam", 0.5, 2, 8),
    "uniform": ({"low": -1, "width": 2}, {"low": -2, "width": 4}, {"low": 0, "width": 1}),
    "poisson": three("rate", 1, 4, 10),
    "negative_binomial": three("alpha", 0.05, 0.3, 1, mu=6),
    "negative_binomial_logits": three("r", 1, 3, 10, p=0.5),
    "beta_binomial": tuple({"alpha": a, "beta": b, "n": 20} for a, b in ((6, 6), (1, 1), (1.5, 6))),
    "dirichlet": three("alpha", (2, 2, 2), (9, 4, 3), (3, 6, 12)),
    "multivariate_normal_diagonal": (
        {"mu": (0, 0), "sigma": (1, 1)},
        {"mu": (-2, 1), "sigma": (0.5, 1.5)},
        {"mu": (2, 1), "sigma": (1, 0.5)},
    ),
    "multivariate_normal": (
        {"mu": (0, 0), "diag": (1, 1), "off": (0,)},
        {"mu": (-2, 1), "diag": (1, 0.5), "off": (1,)},
        {"mu": (2, 1), "diag": (0.5, 1), "off": (-0.5,)},
    ),
}


def defaults(domain: Domain) -> tuple[object, ...]:
    """Three numbers (or vectors) of a parameter's domain that look well together."""
    if domain.shape == "simplex":
        return ((1 / 3, 1 / 3, 1 / 3), (0.6, 0.3, 0.1), (0.1, 0.2, 0.7))
    if domain.name == "Angle":
        return (0, -2, 1.5)
    if domain.shape == "scalar" and not domain.integer:
        if (domain.low, domain.high) == (-math.inf, math.inf):
            return (0, -1.5, 2)
        if (domain.low, domain.high) == (0, math.inf):
            return (1, 0.5, 2)
        if (domain.low, domain.high) == (0, 1):
            return (0.5, 0.2, 0.8)
    return tuple(domain.typical[:3])


def looks(density: Density, given: Mapping[str, object]) -> tuple[Theta, ...]:
    """All parameters of a family, three times. ``given`` has a value where one must be given.

    By default the first setting is plain, and in the others each parameter takes another of its
    values, so that no two are drawn alike.
    """
    choices = {n: (v,) for n, v in given.items()}
    learned = [n for n in density.parameters if n not in given]
    choices |= {n: defaults(density.parameters[n]) for n in learned}
    plain = {n: choices[n][0] for n in density.parameters}
    if density.name in LOOKS:
        return tuple({**plain, **row} for row in LOOKS[density.name])
    places = {n: learned.index(n) if n in learned else 0 for n in plain}
    return tuple(
        {n: choices[n][k * (1 + places[n]) % len(choices[n])] for n in plain} for k in range(3)
    )
