"""TABLE of densities, in teaching order. A row is the density as a textbook prints it.

The signature is the declaration: the data first, then the parameters with their domains. The
docstring's first sentence is the family's sentence in the book. No row says anything about losses,
gradients or stability: those are derived.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Abs, atanh, exp, pi, sqrt

from lossderiv.domains import Binary, Category, Positive, Real, Simplex, Unit
from lossderiv.symbolic.records import Density
from lossderiv.symbolic.trace import density_of, let

FAMILIES: dict[str, Density] = {}


def family(torch: str | None = None) -> Callable[[Callable], Density]:
    """Enter a density into the table. ``torch`` spells its ``torch.distributions`` twin."""

    def enter(function: Callable) -> Density:
        FAMILIES[function.__name__] = density_of(function, twin=torch)
        return FAMILIES[function.__name__]

    return enter


@family(torch="Normal(mu, sigma)")
def normal(x: Real, mu: Real, sigma: Positive):
    """Errors that add up from many small causes: squared error, in units of a width.

    Mean and mode mu, variance sigma². Source: Bishop (2006), equation 1.46.
    """
    z = let("z", (x - mu) / sigma)
    return exp(-(z**2) / 2) / (sigma * sqrt(2 * pi))


@family(torch="Bernoulli(p)")
def bernoulli(x: Binary, p: Unit):
    """One coin flip: x is 1 with probability p and 0 otherwise.

    Mean p, variance p (1 - p). Source: Bishop (2006), equation 2.2.
    """
    return p**x * (1 - p) ** (1 - x)


@family(torch="ContinuousBernoulli(lam)")
def continuous_bernoulli(x: Unit, lam: Unit):
    """The coin flip's formula on grey values in [0, 1], with the normaliser that it then needs.

    Mean 1/(1 - e^-eta) - 1/eta with eta the logit of lam. Source: Loaiza-Ganem and Cunningham
    (2019), equation 1, with log(lam / (1 - lam)) written as -2 atanh(1 - 2 lam).
    """
    return 2 * atanh(1 - 2 * lam) / (1 - 2 * lam) * lam**x * (1 - lam) ** (1 - x)


@family(torch="Laplace(mu, b)")
def laplace(x: Real, mu: Real, b: Positive):
    """Double exponential: absolute error with a learned width.

    Mean, median and mode mu, variance 2 b². Source: Johnson, Kotz and Balakrishnan (1995),
    chapter 24.
    """
    z = let("z", (x - mu) / b)
    return exp(-Abs(z)) / (2 * b)


@family(torch="Categorical(p)")
def categorical(x: Category, p: Simplex):
    """One of K classes: x is class k with probability p[k]; classes are the last axis.

    Mode the largest p. Source: Bishop (2006), equation 2.26, with x as a class index.
    """
    return p[x]
