"""The special functions at random points of their domains, and where their numbers come from.

The measure is that of the certificate: the error in units of ``eps (|f| + sum |x| |df/dx|)``. The
names of a row's arguments say where it holds, see ``lossderiv/special.py``.
"""

from __future__ import annotations

import inspect
import zlib
from functools import cache

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch

from lossderiv import special
from lossderiv.autograd import _helpers, special_function
from lossderiv.codegen.printer import TorchPrinter
from lossderiv.special import SPECIAL
from lossderiv.symbolic.functions import spell_out

BOUND = 4.0
TORCH = {"normal_cdf_pull": 10.0}  # its slope takes torch's erfcx, good to 3 units, three times
POINTS = 16
DTYPES = (torch.float32, torch.float64)
SETTLED = mp.mpf(10) ** -25


def decades(rng, low: float, high: float) -> float:
    return 10.0 ** rng.uniform(low, high)


def signed(rng, low: float, high: float) -> float:
    return float(rng.choice((-1.0, 1.0))) * decades(rng, low, high)


def inside(rng) -> float:
    """In (0, 1): near 0, 1 and 1/2, and anywhere."""
    return float(
        rng.choice(
            (
                decades(rng, -30, -1),
                1 - decades(rng, -6, -1),
                0.5 + signed(rng, -6, -1),
                rng.random(),
            )
        )
    )


def above_minus_one(rng) -> float:
    return float(rng.choice((decades(rng, -8, 30), signed(rng, -3, -0.1), decades(rng, -2, 2))))


def whole(rng) -> float:
    return float(rng.choice((rng.integers(0, 6), round(decades(rng, 0, 6)))))


def positive(rng) -> float:
    return float(rng.choice((decades(rng, -18, 20), decades(rng, -1.5, 1.7))))


ROLES = {
    "u": lambda rng: signed(rng, -8, 2),
    "z": lambda rng: signed(rng, -8, 18) if rng.random() < 0.5 else signed(rng, -2, 1),
    "d": lambda rng: signed(rng, -8, 1.9),
    "v": lambda rng: signed(rng, -6, 1.6),
    "q": above_minus_one,
    "p": inside,
    "x": whole,
    "y": whole,
    **dict.fromkeys(("k", "nu", "kappa", "a", "b"), positive),
}
OWN_ROLES = {
    ("log1mexp", "u"): lambda rng: decades(rng, -17, 2),
    ("inverse_expm1", "u"): lambda rng: decades(rng, -17, 2),
    ("exprel_inverse", "u"): lambda rng: decades(rng, -17, 2),
    ("share_stirling", "u"): lambda rng: signed(rng, -6, 1.6),
    ("poisson_deviance", "b"): lambda rng: signed(rng, -6, 1.9),
    ("overdispersed_deviance", "u"): lambda rng: signed(rng, -6, 1.6),
    ("overdispersed_score", "u"): lambda rng: signed(rng, -6, 1.6),
    ("overdispersed_pull", "u"): lambda rng: signed(rng, -6, 1.6),
    ("overdispersed_lean", "u"): lambda rng: signed(rng, -6, 1.6),
    ("normal_cdf", "u"): lambda rng: signed(rng, -8, 1.1),
    ("log_normal_cdf", "u"): lambda rng: signed(rng, -8, 1.5),
    ("normal_cdf_pull", "u"): lambda rng: signed(rng, -8, 1.1),
    **{
        (name, "u"): lambda rng: decades(rng, -8, 8)
        for name in (
            "bell_area",
            "log_bell_area",
            "bell_level",
            "log_bell_level",
            "bell_mean",
            "bell_edge",
            "bell_spread",
        )
    },
    **{
        (name, "u"): lambda rng: signed(rng, -8, 1.5)
        for name in ("log_normal_mass", "normal_mass_pull")
    },
    **{
        (name, "u"): lambda rng: signed(rng, -8, 0.9)
        for name in ("normal_mass_edge", "normal_mass_square")
    },
    ("overdispersed_lean", "x"): lambda rng: 1 + whole(rng),
    ("overdispersed_balance", "u"): lambda rng: signed(rng, -6, 1.6),
}
ROWS = (
    "expm1_minus",
    "log1p_square",
    "cauchy_score",
    "cauchy_curvature",
    "log1p_bend",
    "log1p_minus",
    "log1p_pull",
    "log1p_pull_slope",
    "log1mexp",
    "inverse_expm1",
    "exprel_inverse",
    "logit",
    "artanh",
    "log_cosh",
    "log_sinhc",
    "langevin",
    "binet",
    "lgamma_stirling",
    "digamma_less_log",
    "trigamma_less_inverse",
    "student_constant",
    "student_constant_slope",
    "lbeta",
    "lbeta_stirling",
    "share_stirling",
    "digamma_pull",
    "digamma_gap_pull",
    "digamma_gap",
    "trigamma_gap",
    "rising_log",
    "rising_log_slope",
    "stirling_error",
    "poisson_deviance",
    "rising_stirling",
    "rising_stirling_slope",
    "overdispersed_deviance",
    "overdispersed_lean",
    "overdispersed_score",
    "overdispersed_pull",
    "overdispersed_balance",
    "binomial_deviance",
    "binomial_pull",
    "gamma_deviance",
    "log_i0e",
    "bessel_lag",
    "bessel_gap",
    "bessel_gap_slope",
    "larger",
    "huber_error",
    "clip",
    "log1p_share",
    "log1p_share_pull",
    "signed_power",
    "power_log",
    "normal_cdf",
    "log_normal_cdf",
    "normal_cdf_pull",
    "laplace_cdf_pull",
    "bell_area",
    "log_laplace_mass",
    "laplace_mass_pull",
    "laplace_mass_edge",
    "log_cauchy_mass",
    "cauchy_mass_pull",
    "cauchy_mass_edge",
    "log_bell_area",
    "bell_level",
    "log_bell_level",
    "bell_mean",
    "bell_edge",
    "bell_spread",
    "log_normal_mass",
    "normal_mass_pull",
    "normal_mass_edge",
    "normal_mass_square",
    "binet_gap",
    "stirling_bend",
    "digamma_bend",
    "polya_deviance",
    "count_entropy",
)

each = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))


def arguments(name: str) -> list[str]:
    return list(inspect.signature(SPECIAL[name].meaning).parameters)


@cache
def drawn(name: str, dtype: torch.dtype) -> torch.Tensor:
    """Random points of the row's domain, rounded to the type: (points, arguments)."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    roles = [OWN_ROLES.get((name, a), ROLES[a]) for a in arguments(name)]
    points = [[role(rng) for role in roles] for _ in range(POINTS)]
    return torch.tensor(points, dtype=torch.float64).to(dtype)


@cache
def formula(name: str, order: tuple[int, ...]):
    """The meaning, or a derivative of it by the arguments in ``order``, for mpmath."""
    symbols = sp.symbols(arguments(name), real=True)
    expr = spell_out(SPECIAL[name](*symbols))
    for k in order:
        expr = expr.diff(symbols[k]).replace(sp.DiracDelta, lambda *_: sp.Integer(0))
    return sp.lambdify(symbols, expr.doit(), "mpmath")


@cache
def truth(name: str, order: tuple[int, ...], point: tuple[float, ...]):
    """Doubling the digits until two runs agree; what is below 1e-300 then is 0."""
    last = None
    for digits in (50, 100, 200, 400):
        with mp.workdps(digits):
            value = mp.mpmathify(formula(name, order)(*[mp.mpf(u) for u in point]))
        if last is not None and abs(value - last) <= SETTLED * abs(value):
            return mp.re(value)
        last = value
    return mp.mpf(0) if abs(last) < mp.mpf(10) ** -300 else None


def size(name: str, order: tuple[int, ...], point: tuple[float, ...]):
    """What rounding the arguments alone would do, over eps."""
    reach = sum(abs(u) * abs(truth(name, (*order, k), point)) for k, u in enumerate(point) if u)
    return abs(truth(name, order, point)) + reach


def in_torch(name: str, expr: sp.Expr):
    """An expression in the row's arguments as a torch function."""
    printer = TorchPrinter()
    text = printer.doprint(expr)
    space = _helpers(printer.used)
    return lambda *u: eval(text, {**space, **dict(zip(arguments(name), u, strict=True))})


def misses(
    name: str, dtype: torch.dtype, computed, order: tuple[int, ...], bound: float = BOUND
) -> list[str]:
    """Points where ``computed`` is off by more than the bound, or not finite."""
    points, info, found = drawn(name, dtype), torch.finfo(dtype), []
    values = torch.as_tensor(computed(*points.unbind(-1)), dtype=dtype).expand(len(points))
    judged = 0
    for point, got in zip(points.double().tolist(), values.double().tolist(), strict=True):
        point = tuple(point)
        if order and arguments(name)[order[0]] == "x" and point[order[0]] == 0:
            continue  # a count's slope at the end of its range
        true = truth(name, order, point)
        assert true is not None, f"{name}{order} is not settled at {point}"
        if abs(true) > info.max:
            continue
        judged += 1
        allowed = bound * info.eps * size(name, order, point) + info.tiny
        if not abs(got - true) <= allowed:
            found.append(f"{name}{order} at {point}: {got!r} for {mp.nstr(true, 17)}")
    assert judged >= POINTS // 2
    return found


@each_dtype
@each
def test_value_at_random_points(name, dtype):
    symbols = sp.symbols(arguments(name), real=True)
    assert misses(name, dtype, in_torch(name, SPECIAL[name](*symbols)), ()) == []


@each_dtype
@each
def test_slope_at_random_points(name, dtype):
    symbols = sp.symbols(arguments(name), real=True)
    bad = []
    for k, slope in enumerate(SPECIAL[name].slopes):
        if slope is not None:
            computed = in_torch(name, sp.sympify(slope(*symbols)))
            bad += misses(name, dtype, computed, (k,), TORCH.get(name, BOUND))
    assert bad == []


@each
def test_plain_autograd_gives_no_nan(name):
    symbols = sp.symbols(arguments(name), real=True)
    compute = in_torch(name, SPECIAL[name](*symbols))
    for dtype in DTYPES:
        u = [v.clone().requires_grad_() for v in drawn(name, dtype).unbind(-1)]
        for slope in torch.autograd.grad(compute(*u).sum(), u):
            assert not slope.isnan().any()


@pytest.mark.parametrize(
    ("name", "poor"),
    [
        ("expm1_minus", lambda d: torch.expm1(d) - d),
        ("log1p_square", lambda z: torch.log(1 + z * z)),
        ("log1p_pull", lambda q: torch.log1p(q) - q / (1 + q)),
        ("lgamma_stirling", lambda k: torch.lgamma(k) - k * torch.log(k) + k),
        ("trigamma_less_inverse", lambda k: torch.polygamma(1, k) - 1 / k),
        ("student_constant", lambda v: torch.lgamma(v / 2) - torch.lgamma(v / 2 + 0.5)),
        ("lbeta", lambda a, b: torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)),
        ("digamma_gap", lambda a, b: torch.digamma(a) - torch.digamma(a + b)),
        ("log_i0e", lambda k: torch.log(torch.special.i0e(k))),
        ("bessel_gap", lambda k: torch.special.i1e(k) / torch.special.i0e(k) - 1),
        ("log_cosh", lambda z: torch.log(torch.cosh(z))),
        (
            "rising_log",
            lambda x, a: torch.lgamma(x + 1 / a) - torch.lgamma(1 / a) + x * torch.log(a),
        ),
    ],
)
def test_the_plain_formula_is_found_wanting(name, poor):
    assert misses(name, torch.float64, poor, ()) != []


# Where the fractions' numbers come from ----------------------------------------------------------


def log_gamma_rest(z):
    return mp.loggamma(z) - (z - 0.5) * mp.log(z) + z - mp.log(2 * mp.pi) / 2


FRACTIONS = {
    "BINET": (12, 2, log_gamma_rest),
    "DIGAMMA": (12, 2, lambda z: z * (mp.log(z) - 1 / (2 * z) - mp.psi(0, z))),
    "TRIGAMMA": (6, 3, lambda z: z * z * (mp.psi(1, z) - 1 / z - 1 / (2 * z * z))),
    "HALF_STEP": (
        8,
        2,
        lambda h: mp.loggamma(h) - mp.loggamma(h + 0.5) + mp.log(h) / 2,
    ),
    "HALF_STEP_SLOPE": (
        8,
        2,
        lambda h: -h * (mp.psi(0, h) - mp.psi(0, h + 0.5) + 1 / (2 * h)),
    ),
}


def fitted(inverse: int, start: float, function, count: int) -> list:
    """The numbers of ``c0/(z + c1/(z + ...))`` that meets ``function`` at ``count - 1`` points.

    ``z function(z)`` is P(s)/Q(s) in s = 1/z^2, exact at s = 0 (``1/inverse``) and at Chebyshev
    points of (0, 1/start^2); the numbers are the quotients of the division of Q by P.
    """
    first, points, above = mp.mpf(1) / inverse, count - 1, (count - 1) // 2
    rows, right = mp.matrix(points, points), mp.matrix(points, 1)
    for i in range(points):
        s = (1 - mp.cos(mp.pi * (2 * i + 1) / (2 * points))) / 2 / mp.mpf(start) ** 2
        value = function(1 / mp.sqrt(s)) / mp.sqrt(s)
        for j in range(points):
            rows[i, j] = s ** (j + 1) if j < above else -value * s ** (j - above + 1)
        right[i] = value - first
    solved = list(mp.lu_solve(rows, right))
    p, q, numbers = [first, *solved[:above]], [mp.mpf(1), *solved[above:]], []
    while len(numbers) < count:
        numbers.append(p[0] / q[0])
        width = max(len(p), len(q))
        p, q = p + [0] * (width - len(p)), q + [0] * (width - len(q))
        rest = [numbers[-1] * b - a for a, b in zip(p, q, strict=True)][1:]
        while rest and abs(rest[-1]) < mp.mpf(10) ** -40 * abs(p[0]):
            rest.pop()
        p, q = rest, p
    return numbers


POLYNOMIALS = {
    "BINET_FAR": ((0, 1), lambda s: log_gamma_rest(1 / mp.sqrt(s)) / mp.sqrt(s)),
    "BINET_NEAR": ((-1, 0), lambda s: (mp.loggamma(2 + s) + s) / s if s else 1 + mp.psi(0, 2)),
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials_numbers_computed_anew(name):
    """Where they meet the function: at as many Chebyshev points as there are numbers."""
    numbers, (ends, function) = getattr(special, name), POLYNOMIALS[name]
    with mp.workdps(60):
        anew = mp.chebyfit(function, ends, len(numbers))[::-1]
    assert [float(c) for c in anew] == pytest.approx(list(numbers), rel=1e-12)


@each_dtype
def test_log_beta_where_an_argument_has_underflowed(dtype):
    """It has no bound there, and is not undefined."""
    zero, one = torch.zeros(1, dtype=dtype), torch.ones(1, dtype=dtype)
    lbeta = special_function("lbeta")
    assert lbeta(zero, one) == lbeta(one, zero) == torch.inf


@pytest.mark.parametrize("name", FRACTIONS)
def test_fractions_numbers_computed_anew(name):
    for numbers in getattr(special, name):
        with mp.workdps(60):
            anew = fitted(*FRACTIONS[name], len(numbers))
        assert [float(c) for c in anew] == pytest.approx(list(numbers), rel=1e-12)
        assert min(numbers) > 0  # nothing cancels
