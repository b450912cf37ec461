"""Inputs for the measure: what a decoder puts out on an ordinary day, and on a bad one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Draw:
    """Random numbers by their role; `extreme` switches every role to the limits."""

    rng: np.random.Generator
    extreme: bool

    def pick(self, *choices):
        """One of the choices; callables are called."""
        choice = choices[self.rng.integers(len(choices))]
        return choice() if callable(choice) else choice

    def sign(self) -> float:
        return float(self.rng.choice((-1.0, 1.0)))

    def decades(self, low: float, high: float) -> float:
        """10**U(low, high)."""
        return 10.0 ** self.rng.uniform(low, high)

    def normal(self, spread: float = 1.0) -> float:
        return float(self.rng.normal(0.0, spread))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def location(self) -> float:
        if not self.extreme:
            return self.normal()
        return self.pick(0.0, 0.0, self.normal, lambda: self.sign() * self.decades(-8, 8))

    def log_scale(self, reach: float = 50.0) -> float:
        if not self.extreme:
            return self.normal(2.0)
        return self.pick(
            self.normal,
            lambda: self.between(-reach, reach),
            lambda: self.between(-reach, reach),
            lambda: self.sign() * reach,
        )

    def logit(self, reach: float = 1e4) -> float:
        if not self.extreme:
            return self.normal(4.0)
        return self.pick(
            0.0,
            lambda: self.normal(4.0),
            lambda: self.sign() * self.decades(-8, -2),
            lambda: self.sign() * self.decades(-2, 2),
            lambda: self.sign() * self.decades(1, math.log10(reach)),
            lambda: self.sign() * reach,
        )

    def residual(self) -> float:
        if not self.extreme:
            return self.normal(1.5)
        return self.sign() * self.pick(lambda: self.decades(-8, 8), lambda: self.decades(-1, 1))

    def around(self, location: float, scale: float) -> float:
        """A real target: a residual away, in units of the scale or absolutely."""
        if not self.extreme:
            return location + scale * self.residual()
        return location + self.residual() * self.pick(scale, scale, 1.0)

    def positive(self, scale: float) -> float:
        """A positive target: near the scale, or anywhere."""
        if not self.extreme:
            return scale * math.exp(self.normal())
        return self.pick(
            lambda: scale * math.exp(self.normal()),
            lambda: scale * self.decades(-8, 8),
            lambda: self.decades(-8, 8),
        )

    def unit(self) -> float:
        """A target strictly inside (0, 1), such as a grey level."""
        if not self.extreme:
            return self.between(0.01, 0.99)
        return self.pick(
            0.5,
            lambda: self.between(0.01, 0.99),
            lambda: self.decades(-8, 0),
            lambda: 1.0 - self.decades(-7, 0),
        )

    def closed_unit(self) -> float:
        """A target in [0, 1], edges included."""
        return self.pick(0.0, 1.0, self.unit, self.unit)

    def count(self, mean: float, top: float = 1e6) -> float:
        """A count: near the mean, or anywhere from 0 to `top`."""
        near = float(self.rng.poisson(min(max(mean, 0.0), top)))
        if not self.extreme:
            return near
        return self.pick(
            0.0, 1.0, near, lambda: float(round(self.decades(0, math.log10(top)))), top
        )

    def trials(self, n: int) -> float:
        """Successes among n: anywhere, edges included."""
        return self.pick(0.0, float(n), lambda: float(self.rng.integers(0, n + 1)))

    def simplex(self, size: int) -> tuple[float, ...]:
        spread = 3.0 if self.extreme else 1.0
        weights = np.exp(self.rng.normal(0.0, spread, size))
        return tuple(float(w) for w in weights / weights.sum())


# --- how cases are drawn ------------------------------------------------------------------------


def location_scale(draw: Draw):
    mu, s = draw.location(), draw.log_scale()
    return (mu, s), (draw.around(mu, math.exp(s)),)


def location(draw: Draw):
    mu = draw.location()
    return (mu,), (draw.around(mu, 1.0),)


def heavy(draw: Draw):
    """Location, scale and degrees of freedom."""
    eta, x = location_scale(draw)
    return (*eta, draw.log_scale()), x


def log_location_scale(draw: Draw):
    mu, s = draw.normal(), draw.log_scale(8.0)
    return (mu, s), (math.exp(min(max(mu + math.exp(s) * draw.normal(), -18.0), 18.0)),)


def scale(draw: Draw):
    s = draw.log_scale()
    return (s,), (draw.positive(math.exp(s)),)


def rate(draw: Draw):
    s = draw.log_scale()
    return (s,), (draw.positive(math.exp(-s)),)


def shape_rate(draw: Draw):
    a, r = draw.log_scale(), draw.log_scale()
    return (a, r), (draw.positive(math.exp(min(max(a - r, -60.0), 60.0))),)


def shape_rate_inverse(draw: Draw):
    a, r = draw.log_scale(), draw.log_scale()
    return (a, r), (draw.positive(math.exp(min(max(r - a, -60.0), 60.0))),)


def scale_shape(draw: Draw):
    s, k = draw.log_scale(), draw.log_scale()
    return (s, k), (draw.positive(math.exp(s)),)


def pareto(draw: Draw):
    s, a = draw.log_scale(), draw.log_scale()
    return (s, a), (math.exp(s) * (1.0 + draw.positive(math.exp(-a))),)


def generalized_pareto(draw: Draw):
    s = draw.log_scale()
    xi = draw.normal(0.5) if not draw.extreme else draw.sign() * draw.decades(-20, 3)
    return (s, xi), (draw.positive(math.exp(s)),)


def two_shapes(draw: Draw):
    return (draw.log_scale(), draw.log_scale()), (draw.unit(),)


def mean_precision(draw: Draw):
    return (draw.logit(50.0), draw.log_scale()), (draw.unit(),)


def logit_grey(draw: Draw):
    return (draw.logit(),), (draw.closed_unit(),)


def logit_binary(draw: Draw):
    return (draw.logit(),), (draw.pick(0.0, 1.0),)


def logit_normal(draw: Draw):
    return (draw.location(), draw.log_scale()), (draw.unit(),)


def trials(n: int):
    return lambda draw: ((draw.logit(),), (draw.trials(n),))


def two_shapes_trials(n: int):
    return lambda draw: ((draw.log_scale(), draw.log_scale()), (draw.trials(n),))


def geometric(draw: Draw):
    eta = draw.logit()
    return (eta,), (draw.count(math.exp(min(-eta, 14.0))),)


def poisson(draw: Draw):
    eta = draw.normal(1.5) if not draw.extreme else draw.log_scale()
    return (eta,), (draw.count(math.exp(min(eta, 14.0))),)


def mean_dispersion(draw: Draw):
    eta = draw.normal(1.5) if not draw.extreme else draw.log_scale()
    return (eta, draw.log_scale()), (draw.count(math.exp(min(eta, 14.0))),)


def count_logits(draw: Draw):
    r, eta = draw.log_scale(), draw.logit(1e3)
    return (r, eta), (draw.count(math.exp(min(r + eta, 14.0))),)


def angle(draw: Draw):
    mu = draw.between(-math.pi, math.pi)
    kappa = draw.log_scale()
    away = draw.between(-math.pi, math.pi)
    near = draw.normal() * math.exp(-max(kappa, 0.0) / 2)
    return (mu, kappa), (mu + draw.pick(away, near),)


def between(draw: Draw):
    low, s = draw.location(), draw.log_scale(15.0)
    return (low, s), (draw.between(low, low + math.exp(s)),)


def label(size: int):
    def case(draw: Draw):
        eta = tuple(draw.logit() for _ in range(size))
        return eta, (float(draw.rng.integers(size)),)

    return case


def level(levels: int):
    return lambda draw: ((draw.logit(1e3),), (float(draw.rng.integers(levels)),))


def dirichlet(size: int):
    return lambda draw: (tuple(draw.log_scale() for _ in range(size)), draw.simplex(size))


def multinomial(size: int, n: int):
    def case(draw: Draw):
        x = draw.rng.multinomial(n, draw.simplex(size))
        return tuple(draw.logit() for _ in range(size)), tuple(float(v) for v in x)

    return case


def vector(size: int, *, full: bool):
    def case(draw: Draw):
        reach = 15.0
        mu = [draw.location() for _ in range(size)]
        logs = [draw.log_scale(reach) for _ in range(size)]
        off = [draw.normal() for _ in range(size * (size - 1) // 2)] if full else []
        x = [draw.around(m, math.exp(s)) for m, s in zip(mu, logs, strict=True)]
        return (*mu, *logs, *off), tuple(x)

    return case


# --- made of other densities --------------------------------------------------------------------


def binned(levels: int):
    """A location, a scale and one of the levels between -1 and 1; scales from 1e-3 to 1e3 bins."""
    width = 2 / (levels - 1)

    def case(draw: Draw):
        if not draw.extreme:
            mu, s = draw.normal(0.6), draw.normal(1.2) - 3.0
        else:
            centre = draw.between(-1, 1)
            mu = draw.pick(centre, draw.location, lambda: draw.sign() * draw.decades(-8, 1))
            in_bins = math.log(width) + draw.between(-7, 7)
            s = draw.pick(in_bins, in_bins, draw.log_scale)
        away = mu + math.exp(s) * draw.pick(draw.residual, lambda: draw.normal(1.5))
        away = draw.pick(away, mu + 100 * math.exp(s), mu - width / 2) if draw.extreme else away
        near = round((min(max(away, -1.0), 1.0) + 1.0) / width)
        anywhere = draw.rng.integers(levels) if draw.extreme else near
        return (mu, s), (float(draw.pick(near, near, anywhere, 0, levels - 1)),)

    return case


def mixed(count: int, one: Callable):
    """Scores, and the outputs of each component; the target is that of one of them."""

    def case(draw: Draw):
        parts = [one(draw) for _ in range(count)]
        scores = [draw.logit() for _ in range(count)]
        if draw.extreme and draw.pick(True, False):
            scores[draw.rng.integers(count)] = draw.sign() * 1e4
        columns = zip(*(eta for eta, _ in parts), strict=True)
        eta = (*scores, *(v for column in columns for v in column))
        return eta, parts[draw.rng.integers(count)][1]

    return case


def gated(one: Callable):
    """A gate's logit before the outputs of a count, and zeros more often than by the count."""

    def case(draw: Draw):
        eta, x = one(draw)
        return (draw.logit(), *eta), draw.pick(x, (0.0,), (0.0,), (1.0,))

    return case


def within(draw: Draw):
    """A mean inside [0, 1] or far outside, widths that make it narrow or wide, data on the ends."""
    if not draw.extreme:
        mu, s = draw.normal(1.0) + 0.5, draw.normal(1.0) - 1.0
        return (mu, s), (draw.pick(draw.between(0.01, 0.99), 0.0, 1.0),)
    mu = draw.pick(
        lambda: draw.between(0, 1),
        lambda: draw.sign() * draw.decades(-6, 2),
        lambda: 1 + draw.sign() * draw.decades(-6, 2),
        0.5,
    )
    s = draw.pick(lambda: draw.between(-8, 8), lambda: draw.normal(1.0) - 2.0, draw.log_scale)
    near = mu + math.exp(s) * draw.normal()
    inner = min(max(near, 1e-6), 1 - 1e-6)
    return (mu, s), (draw.pick(inner, draw.unit(), draw.between(0, 1), 0.0, 1.0),)


def beyond(draw: Draw):
    """As :func:`within`, with the location outside [0, 1]."""
    (mu, s), x = within(draw)
    if 0 <= mu <= 1:
        mu = draw.pick(-1e-3 - mu, 1.001 + mu)
    return (mu, s), x


def heaped(draw: Draw):
    """As :func:`within`, with the target at a bound as often as between."""
    eta, x = within(draw)
    return eta, draw.pick(x, (0.0,), (1.0,))


def squashed(draw: Draw):
    """Targets in (-1, 1), up to the number next to an end."""
    eta = (draw.location(), draw.log_scale())
    near = math.tanh(eta[0] + math.exp(min(eta[1], 9.0)) * draw.normal())
    x = draw.pick(near, 2 * draw.unit() - 1, draw.sign() * (1 - 2.0**-20)) if draw.extreme else near
    return eta, (min(max(x, -1 + 2.0**-23), 1 - 2.0**-23),)
