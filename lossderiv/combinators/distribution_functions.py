"""TABLE of distribution functions: for each family, what lies below a value, and what above.

Both come in a form of their own, because ``1 - F`` has no digits left where ``F`` is nearly 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, atan, erf, exp, log, pi, sqrt, tanh

from lossderiv.special import expm1, logit
from lossderiv.special import logistic as sigmoid
from lossderiv.special_normal import normal_cdf
from lossderiv.special_tails import cauchy_cdf, laplace_cdf


@dataclass(frozen=True)
class DistributionFunction:
    """``P(X <= x)`` and ``P(X > x)`` as functions of one number ``z = standard(x, *theta)``.

    ``symmetric`` says that ``above(z)`` is ``below(-z)``.
    """

    standard: Callable[..., Expr]
    below: Callable[[Expr], Expr]
    above: Callable[[Expr], Expr]
    symmetric: bool = False


def _located(x: Expr, location: Expr, scale: Expr) -> Expr:
    return (x - location) / scale


def _in_logs(x: Expr, location: Expr, scale: Expr) -> Expr:
    return (log(x) - location) / scale


def _scaled(x: Expr, scale: Expr) -> Expr:
    return x / scale


def _even(standard: Callable[..., Expr], below: Callable[[Expr], Expr]) -> DistributionFunction:
    return DistributionFunction(standard, below, lambda z: below(-z), symmetric=True)


DISTRIBUTION_FUNCTIONS: dict[str, DistributionFunction] = {
    "normal": _even(_located, normal_cdf),
    "logistic": _even(_located, sigmoid),
    "laplace": _even(_located, laplace_cdf),
    "cauchy": _even(_located, cauchy_cdf),
    "hyperbolic_secant": _even(_located, lambda z: 2 * atan(exp(z)) / pi),
    "log_normal": _even(_in_logs, normal_cdf),
    "logit_normal": _even(lambda x, mu, sigma: (logit(x) - mu) / sigma, normal_cdf),
    "log_logistic": _even(lambda x, alpha, beta: beta * (log(x) - log(alpha)), sigmoid),
    "gumbel": DistributionFunction(_located, lambda z: exp(-exp(-z)), lambda z: -expm1(-exp(-z))),
    "gumbel_min": DistributionFunction(_located, lambda z: -expm1(-exp(z)), lambda z: exp(-exp(z))),
    "exponential": DistributionFunction(
        lambda x, rate: rate * x, lambda z: -expm1(-z), lambda z: exp(-z)
    ),
    "weibull": DistributionFunction(
        lambda x, scale, concentration: concentration * (log(x) - log(scale)),
        lambda z: -expm1(-exp(z)),
        lambda z: exp(-exp(z)),
    ),
    "rayleigh": DistributionFunction(
        _scaled, lambda z: -expm1(-(z**2) / 2), lambda z: exp(-(z**2) / 2)
    ),
    "half_normal": DistributionFunction(
        _scaled, lambda z: erf(z / sqrt(2)), lambda z: 2 * normal_cdf(-z)
    ),
    "half_logistic": DistributionFunction(
        _scaled, lambda z: tanh(z / 2), lambda z: 2 * sigmoid(-z)
    ),
    "half_cauchy": DistributionFunction(
        _scaled, lambda z: 2 * atan(z) / pi, lambda z: 2 * cauchy_cdf(-z)
    ),
    "kumaraswamy": DistributionFunction(
        lambda x, a, b: b * log(1 - x**a), lambda z: -expm1(z), lambda z: exp(z)
    ),
}
