"""Special functions of the real line against their meaning, on a grid that reaches far out.

Value and slope, in round-off units; the functions with a narrower domain are tested at random
points in ``test_special_numerics.py``.

The measure is the condition number's: an error of one unit is what rounding the argument alone
would do. Truth is the meaning at 60 digits on the float-rounded argument.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import mpmath as mp
import pytest
import sympy as sp
import torch
from test_special_numerics import ROWS

from lossderiv.autograd import _helpers, special_function
from lossderiv.codegen.printer import TorchPrinter
from lossderiv.special import SPECIAL
from lossderiv.symbolic.functions import Special, spell_out
from lossderiv.symbolic.probe import Formula

BOUND = 8  # round-off units, float32 and float64 alike
TRIGAMMA = 4e6  # torch's own in float64: good to 5e-10, and it enters Hessians only
DTYPES = (torch.float32, torch.float64)
MAGNITUDES = (
    [10.0**k for k in range(-8, 9)]
    + [0.03, 0.3, 0.7, 1.4999, 1.5, 1.5001, 2.0, 2.7, 5.0, 12.0, 17.0, 20.0, 25.0, 36.9]
    + [37.1, 50.0, 80.0, 88.5, 104.0, 300.0, 700.0, 745.0]
)
NUMBERS = [0.0, *MAGNITUDES, *(-m for m in MAGNITUDES)]

ON_THE_LINE = [n for n, row in SPECIAL.items() if len(row.slopes) == 1 and n not in ROWS]
# Left of 0 these have poles, and no density goes there.
POSITIVE = {"lgamma", "digamma", "student_constant_pull"}

each = pytest.mark.parametrize("name", ON_THE_LINE)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))


def symbols(name: str) -> list[sp.Symbol]:
    count = len(SPECIAL[name].slopes)
    return list(sp.symbols(f"u:{count}", real=True))


@cache
def meaning(name: str, order: tuple[int, ...] = ()) -> Formula:
    """The formula that a row stands for, or a derivative of it by the arguments in ``order``."""
    args = symbols(name)
    expr = spell_out(SPECIAL[name](*args))
    for k in order:
        expr = expr.diff(args[k]).replace(sp.DiracDelta, lambda *_: sp.Integer(0))
    return Formula(expr)


def at_digits(formula: Formula, point: tuple, digits: int):
    """The formula in one precision; ``None`` where it is not a finite real number."""
    with mp.workdps(digits):
        try:
            value = formula._function(*[mp.mpf(u) for u in point[: len(formula.symbols)]])
        except (ZeroDivisionError, ValueError, OverflowError):  # mpmath's words for a pole
            return None
        return value if mp.isfinite(value) and mp.im(value) == 0 else None


@cache
def truth(name: str, point: tuple[float, ...], order: tuple[int, ...] = ()):
    """The meaning at a point; ``None`` where it has no value, or none that 9000 digits can tell.

    ``exp(-u)`` beside 1 needs ``u/2.3`` digits to be seen at all. A formula that is 0/0 at 0 has
    the value that it tends to from both sides.
    """
    formula = meaning(name, order)
    if len(formula.symbols) not in (0, len(point)):
        raise NotImplementedError(f"{name}: a derivative free of one argument only")
    if not formula.expr.has(sp.exp, sp.sinh):
        return at_digits(formula, point, 60)
    size = max(abs(u) for u in point)
    exact = size <= 2e4
    digits = 200 + (int(size) if exact else 0)
    value = at_digits(formula, point, digits)
    if value is None and 0.0 in point:
        near = [tuple(mp.mpf(d) if u == 0 else u for u in point) for d in ("1e-40", "-1e-40")]
        one, other = (at_digits(formula, p, 400) for p in near)
        apart = one is None or other is None or abs(one - other) > mp.mpf(10) ** -30
        if apart:
            return None
        middle = (one + other) / 2
        return middle if abs(middle) > mp.mpf(10) ** -30 else mp.mpf(0)
    if value is None or exact:
        return value
    twice = at_digits(formula, point, 2 * digits)
    return value if value != 0 and twice is not None and mp.almosteq(value, twice) else None


def rounded(dtype: torch.dtype, count: int) -> list[tuple[float, ...]]:
    numbers = NUMBERS if count == 1 else NUMBERS[:: 2 * count - 1]
    exact = sorted({torch.tensor(u, dtype=dtype).item() for u in numbers})
    return list(itertools.product(exact, repeat=count))


def within(name: str, points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """The points at which a row is asked for."""
    low = 0.0 if name in POSITIVE else -math.inf
    return [p for p in points if min(p) > low]


def judged(
    name: str, dtype: torch.dtype, computed, order=(), soft: bool = False, bound: float = BOUND
) -> list[str]:
    """Points where ``computed`` (a function of tensors) is off by more than the bound.

    ``soft`` adds 1 to the size that the error is compared with.
    """
    count = len(symbols(name))
    wanted = within(name, rounded(dtype, count))
    wanted = [(p, truth(name, p, order)) for p in wanted]
    top = torch.finfo(dtype).max
    wanted = [(p, t) for p, t in wanted if t is not None and abs(t) < top]
    assert len(wanted) > 20
    points = torch.tensor([p for p, _ in wanted], dtype=dtype)
    found = computed(*points.unbind(-1))
    assert found.dtype == dtype
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    bad = []
    for (point, true), got in zip(wanted, found.tolist(), strict=True):
        reach = sum(
            abs(u) * abs(truth(name, point, (*order, k)) or 0) for k, u in enumerate(point) if u
        )
        size = abs(true) + reach + (1 if soft else 0)
        allowed = bound * eps * size + tiny  # below the smallest normal number torch may say 0
        if not abs(got - true) <= allowed:
            bad.append(f"{name}{order} at {point}: {got!r} for {mp.nstr(true, 17)}")
    return bad


def slope_in_torch(name: str, k: int):
    """The slope that the table gives, as torch computes it; autograd where it gives none."""
    row, args = SPECIAL[name], symbols(name)
    if row.slopes[k] is None:
        return lambda *u: by_autograd(name, k, *u)
    printer = TorchPrinter()
    text = printer.doprint(row.slopes[k](*args))

    def compute(*u):
        names = {str(a): v for a, v in zip(args, u, strict=True)}
        value = eval(text, {**_helpers(printer.used), **names})
        return value if isinstance(value, torch.Tensor) else torch.full_like(u[0], value)

    return compute


def by_autograd(name: str, k: int, *u: torch.Tensor) -> torch.Tensor:
    u = [v.clone().requires_grad_() for v in u]
    (slope,) = torch.autograd.grad(function(name)(*u).sum(), u[k])
    return slope


def function(name: str):
    return special_function(name)


@cache
def slopes() -> set[str]:
    """Functions that occur in the slope of another."""
    found = set()
    for name, row in SPECIAL.items():
        for slope in filter(None, row.slopes):
            atoms = sp.sympify(slope(*symbols(name))).atoms(Special)
            found |= {type(f).__name__ for f in atoms} - {name}
    return found


@each_dtype
@each
def test_value_is_its_meaning(name, dtype):
    assert judged(name, dtype, function(name)) == []


@each_dtype
@each
def test_slope_is_its_meanings(name, dtype):
    """The slope of a function that is a slope itself enters Hessians only: held to soft units."""
    bad = []
    for k in range(len(symbols(name))):
        rough = name == "digamma" and dtype == torch.float64
        bound = TRIGAMMA if rough else BOUND
        bad += judged(name, dtype, slope_in_torch(name, k), (k,), name in slopes(), bound)
    assert bad == []


@each
def test_slope_is_exact(name):
    """The table's slope and the formula's derivative, at 60 digits."""
    args = symbols(name)
    for k, slope in enumerate(SPECIAL[name].slopes):
        if slope is None:
            continue
        ours = Formula(sp.sympify(slope(*args)))
        for point in within(name, rounded(torch.float32, len(args))):
            if 0.0 in point or max(map(abs, point)) > 800:
                continue
            got, true = (at_digits(f, point, 900) for f in (ours, meaning(name, (k,))))
            if true is not None:
                assert abs(got - true) <= mp.mpf(10) ** -50 * max(1, abs(true)), point


@each
def test_far_out_nothing_is_nan(name):
    """At the largest numbers there is a value or an infinity, and no NaN."""
    count = len(symbols(name))
    for dtype in DTYPES:
        for u in (torch.finfo(dtype).max, -torch.finfo(dtype).max, 1e30, -1e30):
            if within(name, [(u,) * count]) and truth(name, (u,) * count) is not None:
                value = function(name)(*[torch.tensor(u, dtype=dtype)] * count)
                assert not value.isnan()


@each
def test_sign_and_shape_are_as_declared(name):
    row, count = SPECIAL[name], len(symbols(name))
    points = rounded(torch.float64, count)
    wanted = [p for p in within(name, points) if truth(name, p) is not None]
    stacked = torch.tensor(wanted, dtype=torch.float64).reshape(-1, 1, count)
    value = function(name)(*stacked.unbind(-1))
    assert value.shape == (len(wanted), 1)
    if row.positive:
        assert (value >= 0).all()
        assert all(truth(name, p) > 0 for p in wanted)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("softplus", lambda u: torch.log1p(torch.exp(u))),
        ("softplus", lambda u: torch.nn.functional.softplus(u)),
        ("logistic", lambda u: torch.sigmoid(u) * (1 + 2e-5)),
        ("exprel_mean", lambda u: 1 / (1 - torch.exp(-u)) - 1 / u),
        ("log_exprel", lambda u: torch.log(torch.expm1(u) / u)),
        ("log1p", lambda u: torch.log(1 + u)),
        ("relu", lambda u: u.clamp(min=1e-12)),
    ],
)
def test_a_poor_spelling_is_found(name, wrong):
    assert judged(name, torch.float64, wrong) != []


def test_a_corner_without_its_middle_slope_is_found():
    """The slope of |x| and relu forms at exactly 0 is 1/2, not 0 or 1."""

    def cornered(u):
        u = u.clone().requires_grad_()
        value = torch.relu(u) + torch.log1p(torch.exp(-u.abs()))
        return torch.autograd.grad(value.sum(), u)[0]

    (bad,) = judged("softplus", torch.float64, cornered, (0,))
    assert "(0.0,)" in bad
