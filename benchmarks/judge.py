"""The judge: exact values and slopes of a textbook formula, independent of the package.

A formula is evaluated once on *jets*: numbers that carry their gradient and Hessian along, in
mpmath arithmetic. Precision starts at 80 digits (more where a row says so) and doubles until two
runs agree to 40 digits. Nothing here is clever about cancellation, but for the logistic, whose
complement and logarithm would need thousands of digits: brute precision is the point, so that a
formula can be written down as a textbook prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf

START_DIGITS = 80
AGREED_DIGITS = 40
BELOW_EVERY_FLOAT = mpf(10) ** -400
CERTAIN_DIGITS = 400
GIVE_UP_DIGITS = 8_000


class Jet:
    """A number with its gradient and Hessian with respect to the inputs of the formula."""

    __slots__ = ("gradient", "hessian", "value")
    __array_priority__ = 1_000

    def __init__(self, value, gradient, hessian):
        self.value, self.gradient, self.hessian = value, gradient, hessian

    def through(self, f0, f1, f2) -> Jet:
        """Chain rule: f(self), given f, f' and f'' at the value."""
        slopes = self.gradient
        return Jet(f0, slopes * f1, self.hessian * f1 + np.outer(slopes, slopes) * f2)

    def __add__(self, other):
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.gradient, self.hessian)
        return Jet(
            self.value + other.value, self.gradient + other.gradient, self.hessian + other.hessian
        )

    def __mul__(self, other):
        if not isinstance(other, Jet):
            other = mp.convert(other)
            return Jet(self.value * other, self.gradient * other, self.hessian * other)
        cross = np.outer(self.gradient, other.gradient)
        return Jet(
            self.value * other.value,
            self.gradient * other.value + other.gradient * self.value,
            self.hessian * other.value + other.hessian * self.value + cross + cross.T,
        )

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * reciprocal(other)

    def __rtruediv__(self, other):
        return reciprocal(self) * other

    def __pow__(self, other):
        if other == 2:
            return self * self
        return exp(log(self) * other)

    __radd__, __rmul__ = __add__, __mul__


class Probability(Jet):
    """A logistic of a jet: 1 - p and log p keep all their digits however close p is to 0 or 1."""

    __slots__ = ("raw",)

    def __init__(self, raw: Jet):
        p, q = 1 / (1 + mp.exp(-raw.value)), 1 / (1 + mp.exp(raw.value))
        jet = raw.through(p, p * q, p * q * (q - p))
        super().__init__(jet.value, jet.gradient, jet.hessian)
        self.raw = raw

    def __rsub__(self, other):
        return Probability(-self.raw) if other == 1 else super().__rsub__(other)

    def log(self) -> Jet:
        v = self.raw.value
        p, q = self.value, 1 / (1 + mp.exp(v))
        return self.raw.through(-mp.log1p(mp.exp(-v)), q, -p * q)


def value_of(u):
    """The plain number inside a jet, or the number itself."""
    return u.value if isinstance(u, Jet) else u


def _lift(u, value: Callable, slopes: Callable):
    """Apply a function to a jet or to a plain number; `slopes(v, f(v))` gives f' and f''."""
    if not isinstance(u, Jet):
        return value(mp.convert(u))
    f0 = value(u.value)
    return u.through(f0, *slopes(u.value, f0))


def reciprocal(u):
    return _lift(u, lambda v: 1 / v, lambda v, f: (-f * f, 2 * f**3))


def exp(u):
    return _lift(u, mp.exp, lambda v, f: (f, f))


def log(u):
    if isinstance(u, Probability):
        return u.log()
    return _lift(u, mp.log, lambda v, f: (1 / v, -1 / v**2))


def sqrt(u):
    return _lift(u, mp.sqrt, lambda v, f: (1 / (2 * f), -1 / (4 * f * v)))


def cos(u):
    return _lift(u, mp.cos, lambda v, f: (-mp.sin(v), -f))


def sinh(u):
    return _lift(u, mp.sinh, lambda v, f: (mp.cosh(v), f))


def cosh(u):
    return _lift(u, mp.cosh, lambda v, f: (mp.sinh(v), f))


def absolute(u):
    return _lift(u, abs, lambda v, f: (mp.sign(v), mpf(0)))


def sigmoid(u):
    return Probability(u) if isinstance(u, Jet) else 1 / (1 + mp.exp(-mp.convert(u)))


def erfc(u):
    """The complementary error function, whose slope is a bell."""

    def slopes(v, f):
        slope = -2 * mp.exp(-v * v) / mp.sqrt(mp.pi)
        return slope, -2 * v * slope

    return _lift(u, mp.erfc, slopes)


def atan(u):
    return _lift(u, mp.atan, lambda v, f: (1 / (1 + v * v), -2 * v / (1 + v * v) ** 2))


def lgamma(u):
    return _lift(u, lambda v: mp.loggamma(v).real, lambda v, f: (mp.psi(0, v), mp.psi(1, v)))


def log_bessel_i(order: int, u):
    """log I_order(u): slope I_{n+1}/I_n + n/u, curvature by Bessel's equation."""

    def slopes(v, f):
        ratio = mp.besseli(order + 1, v) / mp.besseli(order, v) + order / v
        return ratio, 1 + (mpf(order) / v) ** 2 - ratio / v - ratio**2

    return _lift(u, lambda v: mp.log(mp.besseli(order, v)), slopes)


def softmax(us: Sequence) -> list:
    weights = [exp(u) for u in us]
    total = sum(weights)
    return [w / total for w in weights]


@dataclass(frozen=True)
class Truth:
    """Exact value and gradient of one case, and the sizes of their errors."""

    value: mpf
    gradient: tuple[mpf, ...]
    value_size: mpf
    gradient_sizes: tuple[mpf, ...]

    @property
    def numbers(self) -> tuple[mpf, ...]:
        return (self.value, *self.gradient)


@dataclass(frozen=True)
class Curvature:
    """The exact diagonal of the Hessian in the raw outputs, and the sizes of its errors."""

    numbers: tuple[mpf, ...]
    sizes: tuple[mpf, ...]


Formula = Callable[[list], tuple]


def _run(formula: Formula, inputs: Sequence[mpf]) -> tuple[Jet, list[mpf]]:
    """The formula's jet at the present precision, and how far each input reaches: max(|x|, u)."""
    n = len(inputs)
    seeds = np.full((n, n), mpf(0), dtype=object)
    np.fill_diagonal(seeds, mpf(1))
    flat = np.full((n, n), mpf(0), dtype=object)
    jet, units = formula([Jet(v, seeds[i], flat) for i, v in enumerate(inputs)])
    return jet, [max(abs(v), unit) for v, unit in zip(inputs, units, strict=True)]


def _size(number: mpf, slopes: Sequence[mpf], reach: Sequence[mpf]) -> mpf:
    return abs(number) + sum(r * abs(s) for r, s in zip(reach, slopes, strict=True))


def _agree(a: mpf, b: mpf) -> bool:
    size = max(abs(a), abs(b))
    return size < BELOW_EVERY_FLOAT or abs(a - b) <= size * mpf(10) ** -AGREED_DIGITS


def _until_agreed(find: Callable, inputs: Sequence[float], extra_digits: int):
    """Run `find(inputs)` with ever more digits until two runs give the same numbers."""
    digits, previous = START_DIGITS + extra_digits, None
    while digits <= GIVE_UP_DIGITS:
        with mp.workdps(digits):
            found = find([mpf(v) for v in inputs])
            agreed = previous is not None and all(map(_agree, found.numbers, previous.numbers))
        # A small number lost in a sum looks like 0 twice; no float lies below 1e-400.
        certain = digits > CERTAIN_DIGITS or all(number != 0 for number in found.numbers)
        if agreed and certain:
            return found
        previous, digits = found, 2 * digits
    raise ArithmeticError(f"no agreement to {AGREED_DIGITS} digits at {inputs}")


def judge(formula: Formula, inputs: Sequence[float], outputs: int, extra_digits: int = 0) -> Truth:
    """The truth at exactly these inputs; the first `outputs` of them are the raw outputs.

    `formula` maps jets of the inputs to (negative log density, unit of each input). The size of a
    value is |f| + sum_j max(|x_j|, u_j) |df/dx_j|, that of a slope the same with its own slopes.
    """

    def find(point: Sequence[mpf]) -> Truth:
        jet, reach = _run(formula, point)
        return Truth(
            jet.value,
            tuple(jet.gradient[:outputs]),
            _size(jet.value, jet.gradient, reach),
            tuple(_size(jet.gradient[i], jet.hessian[i], reach) for i in range(outputs)),
        )

    return _until_agreed(find, inputs, extra_digits)


def judge_curvature(
    formula: Formula, inputs: Sequence[float], outputs: int, extra_digits: int = 0
) -> Curvature:
    """The Hessian's diagonal; its own slopes, wanted to a few digits only, are differences."""

    def find(point: Sequence[mpf]) -> Curvature:
        jet, reach = _run(formula, point)
        here = [jet.hessian[i, i] for i in range(outputs)]
        spread = [abs(number) for number in here]
        for j, r in enumerate(reach):
            if r == 0:
                continue
            step = r * mpf(10) ** -30
            near, _ = _run(formula, [v + step * (i == j) for i, v in enumerate(point)])
            for i in range(outputs):
                spread[i] += r * abs(near.hessian[i, i] - here[i]) / step
        return Curvature(tuple(here), tuple(spread))

    return _until_agreed(find, inputs, extra_digits)
