"""Every family against the counterparts that its docstring names, called as they are spelled there.

Each call is evaluated with the family's own parameters, in double precision (SymPy: 30 digits), and
its log-density compared with our exact loss, in the settings that the Atlas draws and at random
outputs. So a docstring that leaves out another library's convention fails, and so does silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import scipy.stats
import sympy as sp
import sympy.stats
import torch
from drawing import density, given, inputs
from lossderiv_book.atlas import curves, pages

import lossderiv as ld

DIGITS = 30
Theta = Mapping[str, object]


@dataclass(frozen=True)
class Case:
    """One setting of the parameters, a few targets there, and our log-density of them."""

    theta: Theta
    x: torch.Tensor
    log_density: np.ndarray


@cache
def cases(family: str) -> tuple[Case, ...]:
    return (*drawn(family), *random(family))


def drawn(family: str) -> Iterator[Case]:
    """The settings of the Atlas, at places all over its picture: outside the support too."""
    found = curves.settings(density(family), pages.Family(density(family)).given)
    for setting in found:
        if density(family).data.shape == "scalar":
            axis = curves.axis(found, *curves.window(found))
            x = axis[:: max(1, len(axis) // 9)][1:-1] if len(axis) > 9 else axis
        else:
            x = setting.draws[:5]
        shape = x.shape[: x.dim() - (density(family).data.shape in ("vector", "simplex"))]
        outputs = tuple(r.expand(*shape, *r.shape) for r in setting.raw.values())
        yield Case(setting.theta, x, -setting.exact(outputs, x).numpy())


def random(family: str) -> Iterator[Case]:
    """Random outputs, whose parameters are no round numbers."""
    d = ld.derive(family, **given(family))
    outputs, x = inputs(d, (6,))
    theta = ld.loss(d).theta(outputs)
    value = ld.loss(d, reduction="none", constants="keep")(outputs, x)
    learned = set(d.links)
    for i in range(6):
        here = {n: (t[i] if n in learned else t).numpy() for n, t in theta.items()}
        yield Case(here, x[i : i + 1], -value[i : i + 1].numpy())


def factor(diag, off) -> np.ndarray:
    """The lower-triangular matrix with this diagonal and, below it, ``off`` row by row."""
    rows, columns = np.tril_indices(len(diag), -1)
    whole = np.diag(diag)
    whole[rows, columns] = off
    return whole


def named(theta: Theta) -> dict[str, np.ndarray]:
    """The parameters as arrays, with the factor that stands for two of them."""
    arrays = {n: np.float64(v) for n, v in theta.items()}
    return arrays | ({"L": factor(arrays["diag"], arrays["off"])} if "off" in arrays else {})


# How each library is called --------------------------------------------------------------------


def in_scipy(call: str, case: Case, family: str) -> np.ndarray:
    name, opening, arguments = call.partition("(")  # a parameter may be called as the law is
    space = {"exp": np.exp, "sqrt": np.sqrt, "diag": np.diag}
    law = getattr(scipy.stats, name)
    frozen = eval(f"law{opening}{arguments}", {**space, **named(case.theta), "law": law})
    log_p = getattr(frozen, "logpmf", None) or frozen.logpdf
    return np.array([log_p(x) for x in case.x.numpy()])


def in_torch(call: str, case: Case, family: str) -> np.ndarray:
    whole = {n for n, domain in density(family).parameters.items() if domain.integer}
    theta = {n: int(v) if n in whole else torch.as_tensor(v) for n, v in named(case.theta).items()}
    law = eval(call, {**vars(torch.distributions), "sqrt": lambda v: v**0.5, **theta})
    log_p = torch.full(case.x.shape[: case.x.dim() - len(law.event_shape)], -torch.inf).double()
    inside = law.support.check(case.x)
    assert inside.any()
    log_p[inside] = law.log_prob(case.x[inside]).double()
    return log_p.numpy()


@dataclass(frozen=True)
class Law:
    """A random variable of sympy.stats, stretched and then shifted."""

    variable: sp.Expr
    by: object = 1
    at: object = 0

    def __sub__(self, shift: object) -> Law:
        return replace(self, at=self.at - shift)

    def __radd__(self, shift: object) -> Law:
        return replace(self, at=self.at + shift)

    def __rmul__(self, factor: object) -> Law:
        return replace(self, by=self.by * factor, at=self.at * factor)

    def log_density(self, x: tuple[sp.Number, ...]) -> float:
        domain = self.variable.pspace.domain
        place = tuple((number - self.at) / self.by for number in x)
        if len(place) == 1 and domain.set == sp.Interval(0, 2 * sp.pi):
            place = (place[0] % (2 * sp.pi),)
        if len(place) == 1 and place[0] not in domain.set:
            return -np.inf
        p = sympy.stats.density(self.variable)(*place)
        p = p(*place) if isinstance(p, sp.Lambda) else p  # a FiniteRV answers with its table
        return float(sp.log(p / self.by).evalf(DIGITS))


def exactly(number: float, integer: bool) -> sp.Number:
    return sp.Integer(int(number)) if integer else sp.Float(float(number), DIGITS)


def as_sympy(value: np.ndarray, integer: bool, simplex: bool) -> object:
    if np.ndim(value) == 0:
        return exactly(value, integer)
    if np.ndim(value) == 2:
        return sp.Matrix(*value.shape, [exactly(v, False) for v in value.flat])
    if simplex:  # fractions that add up to 1 with no rounding
        shares = [sp.Rational(float(v)) for v in value]
        return np.array([share / sum(shares) for share in shares], dtype=object)
    return np.array([exactly(v, False) for v in value], dtype=object)


def in_sympy(call: str, case: Case, family: str) -> np.ndarray:
    domains = density(family).parameters
    whole = {n for n, domain in domains.items() if domain.integer}
    shares = {n for n, domain in domains.items() if domain.shape == "simplex"}
    theta = {n: as_sympy(v, n in whole, n in shares) for n, v in named(case.theta).items()}

    def law(name: str):
        def made(*values, **options) -> Law:
            plain = (list(v) if isinstance(v, np.ndarray) else v for v in values)
            return Law(getattr(sympy.stats, name)("X", *plain, **options))

        return made

    laws = {n: law(n) for n in dir(sympy.stats) if n[0].isupper()}
    space = {"diag": lambda entries: sp.diag(*entries), **laws}
    found = eval(call, {**space, **theta})
    integer = density(family).data.integer or density(family).data.shape == "category"
    return np.array(
        [
            found.log_density(tuple(exactly(v, integer) for v in np.atleast_1d(x)))
            for x in case.x.numpy()
        ]
    )


# The tests -------------------------------------------------------------------------------------


def call_of(family: str, library: str) -> str:
    call, _ = pages.Family(density(family)).told.counterpart(library)
    return call


def named_in(library: str) -> list[str]:
    return [family for family in ld.families() if call_of(family, library)]


def agree(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


IN_TORCH = {  # where torch itself rounds more coarsely than its number type
    "von_mises": 1e-7,  # polynomials for log I0
}


@pytest.mark.parametrize("family", named_in("scipy"))
def test_scipy_has_the_same_density(family):
    for case in cases(family):
        agree(case.log_density, in_scipy(call_of(family, "scipy"), case, family))


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for the numbers that a call spells out
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("family", named_in("torch"))
def test_torch_has_the_same_density(family):
    for case in cases(family):
        agree(
            case.log_density,
            in_torch(call_of(family, "torch"), case, family),
            IN_TORCH.get(family, 1e-9),
        )


@pytest.mark.parametrize("family", named_in("sympy"))
def test_sympy_has_the_same_density(family):
    for case in cases(family):
        agree(case.log_density, in_sympy(call_of(family, "sympy"), case, family))


@pytest.mark.parametrize("family", ld.families())
def test_a_family_names_a_counterpart_or_says_that_there_is_none(family):
    told = pages.Family(density(family)).told
    for library in pages.LIBRARIES:
        call, _ = told.counterpart(library)
        assert call.endswith((")", "- 1")) or getattr(told, library) == "none"


@pytest.mark.parametrize(
    ("family", "call", "compare"),
    [
        ("exponential", "expon(scale=rate)", in_scipy),
        ("geometric", "geom(p)", in_scipy),
        ("gamma", "Gamma(concentration, 1/rate)", in_torch),
    ],
)
def test_another_convention_is_found(family, call, compare):
    case = cases(family)[-1]
    theirs = compare(call, case, family)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        agree(case.log_density, theirs)
