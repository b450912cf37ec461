"""Mean and variance as the docstrings state them, against sums and integrals of the densities.

The prose is read as formulas: ``2 b²`` is a product, ``mean`` the mean that was just stated, and
``E with a = B`` says what a is. ``E for C`` holds where C does; elsewhere the integral must grow
without end.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.special
import sympy as sp
import torch
from drawing import density
from lossderiv_book.atlas import curves, pages
from sympy.parsing import sympy_parser

import lossderiv as ld

PARSED = (
    *sympy_parser.standard_transformations,
    sympy_parser.implicit_multiplication,
    sympy_parser.convert_xor,
)
FUNCTIONS = {
    "Γ": scipy.special.gamma,
    "B": scipy.special.beta,
    "I0": scipy.special.i0,
    "I1": scipy.special.i1,
    "logistic": scipy.special.expit,
    "sum": np.sum,
}
CLAUSE = re.compile(
    r"(?P<what>mean direction|circular variance|mean|variance) (?P<formula>.+?)"
    r"(?: with (?P<name>\w+) = (?P<value>.+?))?"
    r"(?: for (?P<condition>.+?))?"
    r"(?:, (?:[a-z']+ )+.*)?",  # a remark
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Stated:
    """A moment: its formula, where it holds, and an abbreviation with its meaning."""

    formula: str
    condition: str | None
    name: str | None
    value: str | None

    def at(self, theta: dict[str, object]) -> tuple[object, bool]:
        """The number (or vector), and whether the moment is there."""
        if self.name and not self.value.endswith("…"):
            theta = {**theta, self.name: number(self.value, theta)}
        there = self.condition is None or bool(number(self.condition, theta))
        return number(self.formula, theta) if there else math.nan, there


def stated(family: str) -> dict[str, Stated]:
    """The moments that a docstring gives by a formula."""
    found, said = {}, (None, None)
    for clause in pages.Family(density(family)).told.moments.rstrip(".").split("; "):
        if match := CLAUSE.fullmatch(clause):
            said = match.group("name", "value") if match["name"] else said
            found[match["what"].lower()] = Stated(*match.group("formula", "condition"), *said)
    return found


def number(text: str, theta: dict[str, object]) -> object:
    """What a formula in prose is at ``theta``; vectors entry by entry."""
    text = text.replace("²", "**2").replace("³", "**3")
    names = {n: sp.Symbol(n) for n in theta}
    space = {**{n: sp.Function(n) for n in FUNCTIONS}, **names}
    expr = sympy_parser.parse_expr(text, local_dict=space, transformations=PARSED)
    assert expr.free_symbols <= set(names.values()), text
    computed = sp.lambdify(list(names.values()), expr, modules=[FUNCTIONS, "scipy", "numpy"])
    with np.errstate(all="ignore"):
        return computed(*theta.values())


# The other side: sums and integrals --------------------------------------------------------------

# Nodes and weights of the double exponential rules (Takahasi and Mori, 1974).
T = torch.arange(-576, 577, dtype=torch.float64) / 128
BEND = math.pi / 2 * torch.sinh(T)
STEP = math.pi / 2 * torch.cosh(T) / 128

BREAKS = {  # where a density has a kink or an edge inside its support, beside mu
    "huber": lambda mu, sigma, delta: (mu - delta * sigma, mu + delta * sigma),
    "pareto": lambda scale, alpha: (scale,),
    "generalized_pareto": lambda sigma, xi: (-sigma / xi,) if xi < 0 else (),
    "uniform": lambda low, width: (low, low + width),
}


def half_line(start: float, sign: int) -> tuple[torch.Tensor, torch.Tensor]:
    away = torch.exp(BEND)
    return start + sign * away, away * STEP


def between(low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
    share = torch.sigmoid(2 * BEND)
    x = torch.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))
    weight = (high - low) * share * torch.sigmoid(-2 * BEND) * 2 * STEP
    inside = (x > low) & (x < high)  # what rounds to an end weighs nothing
    return x[inside], weight[inside]


def line(family: str, theta: dict[str, object]) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes on the support of a density of one number, dense at its kinks and ends."""
    data = density(family).data
    more = BREAKS[family](**theta) if family in BREAKS else ()
    inner = {float(b) for b in (*more, theta.get("mu", 1.0)) if data.low < b < data.high}
    ends = sorted({data.low, data.high, *inner})
    pieces = []
    for low, high in itertools.pairwise(ends):
        if math.isinf(low):
            pieces.append(half_line(high, -1))
        else:
            pieces.append(half_line(low, 1) if math.isinf(high) else between(low, high))
    return torch.cat([x for x, _ in pieces]), torch.cat([w for _, w in pieces])


def plane(theta: dict[str, object]) -> tuple[torch.Tensor, torch.Tensor]:
    """A grid that sees all of a normal density of two numbers."""
    axis = torch.arange(-14, 14, 0.1, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    return x, torch.full((len(x),), 0.01, dtype=torch.float64)


def triangle(theta: dict[str, object]) -> tuple[torch.Tensor, torch.Tensor]:
    """Three shares: one by itself, the second as a part of the rest."""
    nodes, weights = (torch.from_numpy(a) / 2 for a in np.polynomial.legendre.leggauss(40))
    first, part = torch.cartesian_prod(nodes + 0.5, nodes + 0.5).T
    weight = torch.cartesian_prod(weights, weights).prod(-1) * (1 - first)
    second = (1 - first) * part
    return torch.stack([first, second, 1 - first - second], -1), weight


def whole(family: str, theta: dict[str, object]) -> tuple[torch.Tensor, torch.Tensor]:
    """Every outcome of a count, or enough of them."""
    data = density(family).data
    if data.shape == "category":
        x = torch.arange(len(theta["p"]))
    elif data.shape == "vector":
        n = int(theta["n"])
        x = torch.tensor([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    else:
        top = theta.get("n", data.high)
        top = len(theta["cutpoints"]) if "cutpoints" in theta else top
        x = torch.arange(int(min(top, 4000)) + 1).double()
    return x, torch.ones(len(x), dtype=torch.float64)


def places(family: str, theta: dict[str, object]) -> tuple[torch.Tensor, torch.Tensor]:
    data = density(family).data
    if data.integer or data.shape == "category":
        return whole(family, theta)
    if data.shape == "scalar":
        return line(family, theta)
    return plane(theta) if data.shape == "vector" else triangle(theta)


@dataclass(frozen=True)
class Measured:
    """Outcomes as numbers, on the last axis if several, each with its probability."""

    x: np.ndarray
    p: np.ndarray

    def average(self, of: np.ndarray) -> np.ndarray:
        return np.tensordot(self.p, of, 1)

    @property
    def moments(self) -> dict[str, np.ndarray]:
        mean = self.average(self.x)
        found = {"mean": mean, "variance": self.average((self.x - mean) ** 2)}
        if self.x.ndim == 1:
            resultant = self.average(np.exp(1j * self.x))
            found["mean direction"] = np.angle(resultant)
            found["circular variance"] = 1 - np.abs(resultant)
        return found

    def endless(self, power: int) -> bool:
        """Whether the integral of |x|^power keeps growing with the range."""
        near, far = (
            (self.p * np.abs(self.x) ** power)[np.abs(self.x) < reach].sum()
            for reach in (1e8, 1e16)
        )
        return bool(far > 1.5 * near)


def measured(setting: curves.Setting) -> Measured:
    theta = {n: np.float64(v) for n, v in setting.theta.items()}
    x, weight = places(setting.derivation.density.name, theta)
    shape = x.shape[:1]
    outputs = tuple(r.expand(*shape, *r.shape) for r in setting.raw.values())
    p = (torch.exp(-setting.exact(outputs, x)) * weight).numpy()
    assert abs(p.sum() - 1) < 1e-8
    category = setting.derivation.density.data.shape == "category"
    return Measured(np.eye(len(x)) if category else x.double().numpy(), p)


def settings(family: str) -> tuple[curves.Setting, ...]:
    """Those of the Atlas, with the parameters that it keeps as they are moved."""
    found = curves.settings(density(family), pages.Family(density(family)).given)
    return tuple(moved(setting, found, k) for k, setting in enumerate(found))


def moved(setting: curves.Setting, among: tuple[curves.Setting, ...], k: int) -> curves.Setting:
    links = setting.derivation.links
    theta = dict(setting.theta)
    for name, link in links.items():
        kept = len({str(other.theta[name]) for other in among}) == 1
        if kept and link.onto == "Positive" and np.ndim(theta[name]) == 0:
            theta[name] *= (1, 1.7, 0.6)[k]
        elif kept and link.name == "identity" and np.ndim(theta[name]) == 0:
            theta[name] += (0, 0.4, -1.3)[k]
    raw = {f"eta_{n}": curves.raw_output(links[n], theta[n]) for n in links}
    return replace(setting, theta=theta, raw=raw)


# The tests ---------------------------------------------------------------------------------------

WITHOUT = {  # in these words
    "cauchy": "No mean; no variance",
    "half_cauchy": "No mean; no variance",
    "logit_normal": "Mean and variance without closed form",
}
KINDS = ({"mean", "variance"}, {"mean direction", "circular variance"})


@pytest.mark.parametrize("family", ld.families())
def test_every_docstring_states_mean_and_variance(family):
    told = pages.Family(density(family)).told.moments
    if family in WITHOUT:
        assert told.startswith(WITHOUT[family])
    elif family == "multivariate_normal":
        assert set(stated(family)) == {"mean"}
        assert "; covariance L Lᵀ, where L is lower-triangular" in told
    else:
        assert set(stated(family)) in KINDS


def check(family: str, moments: dict[str, Stated]) -> None:
    compared = 0
    for setting in settings(family):
        found = measured(setting)
        theta = {n: np.float64(v) for n, v in setting.theta.items()}
        theta |= {"γ": np.euler_gamma}
        theta |= {"k": np.arange(len(theta["cutpoints"]))} if "cutpoints" in theta else {}
        for power, (what, moment) in enumerate(moments.items(), 1):
            value, there = moment.at(theta)
            if what == "mean":
                theta["mean"] = value
            if found.x.ndim == 1:
                assert found.endless(power) is not there, what
            if there and np.isfinite(value).all():  # where not, a limit fills a gap
                np.testing.assert_allclose(found.moments[what], value, rtol=1e-7, atol=1e-9)
                compared += 1
    assert compared >= 2 * len(moments) - 1


@pytest.mark.parametrize("family", [f for f in ld.families() if f not in WITHOUT])
def test_moments_are_those_of_the_density(family):
    check(family, stated(family))


@pytest.mark.parametrize("family", ["cauchy", "half_cauchy"])
def test_what_has_no_mean_has_an_endless_integral(family):
    for setting in settings(family):
        assert all(measured(setting).endless(power) for power in (1, 2))


def test_the_covariance_of_a_normal_vector_is_that_of_its_factor():
    for setting in settings("multivariate_normal"):
        (first, second), (below,) = setting.theta["diag"], setting.theta["off"]
        factor = np.array([[first, 0], [below, second]])
        found = measured(setting)
        from_mean = found.x - found.moments["mean"]
        products = from_mean[:, :, None] * from_mean[:, None, :]
        np.testing.assert_allclose(found.average(products), factor @ factor.T, atol=1e-9)


def test_a_grey_value_without_a_lean_is_uniform():
    """The gap of the continuous Bernoulli's formulas at 1/2 is filled by the limits stated."""
    moments = stated("continuous_bernoulli")
    assert "1/2 and 1/12 in the limit" in density("continuous_bernoulli").doc
    assert moments["mean"].at({"lam": 0.5001})[0] == pytest.approx(1 / 2, abs=1e-3)
    assert moments["variance"].at({"lam": 0.5001})[0] == pytest.approx(1 / 12, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        ("laplace", {"variance": Stated("b²", None, None, None)}),
        ("gamma", {"mean": Stated("concentration rate", None, None, None)}),
        ("student_t", {"mean": Stated("mu", "nu > 0", None, None)}),
        ("normal", {"mean": Stated("mu", "mu > 0", None, None)}),
    ],
)
def test_a_wrong_moment_is_found(family, wrong):
    with pytest.raises(AssertionError):
        check(family, wrong)
