"""Negative log densities as a textbook prints them, one function per family, in nats.

Arguments are the parameters in the catalogue's order and then the target; fixed numbers come last,
by name. They run on the jets of `judge`, know nothing of the package, and are written for the eye:
at the judge's precision a formula need not be stable. Unless another source is named they follow
Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed., 1994-1995), and
Johnson, Kemp and Kotz, *Univariate Discrete Distributions* (3rd ed., 2005).
"""

from __future__ import annotations

from mpmath import mp, mpf

from benchmarks.judge import (
    Jet,
    absolute,
    atan,
    cos,
    cosh,
    erfc,
    exp,
    lgamma,
    log,
    log_bessel_i,
    sigmoid,
    softmax,
    value_of,
)


def log_beta(a, b):
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def log_choose(n, k):
    return lgamma(mpf(n) + 1) - lgamma(mpf(k) + 1) - lgamma(mpf(n) - mpf(k) + 1)


# --- the real line ------------------------------------------------------------------------------


def normal(mu, sigma, x):
    return ((x - mu) / sigma) ** 2 / 2 + log(sigma) + mp.log(2 * mp.pi) / 2


def laplace(mu, b, x):
    return absolute(x - mu) / b + log(b * 2)


def logistic(mu, s, x):
    z = (x - mu) / s
    return z + 2 * log(1 + exp(-z)) + log(s)


def cauchy(mu, gamma, x):
    return log(gamma * mp.pi * (1 + ((x - mu) / gamma) ** 2))


def student_t(mu, sigma, nu, x):
    nu = nu if isinstance(nu, Jet) else mpf(nu)
    z = (x - mu) / sigma
    norm = lgamma(nu / 2) - lgamma((nu + 1) / 2) + log(nu * mp.pi) / 2 + log(sigma)
    return norm + (nu + 1) / 2 * log(1 + z**2 / nu)


def gumbel(mu, beta, x):
    z = (x - mu) / beta
    return z + exp(-z) + log(beta)


def gumbel_min(mu, beta, x):
    z = (x - mu) / beta
    return -z + exp(z) + log(beta)


def asymmetric_laplace(mu, b, x, tau):
    """Koenker and Machado (1999): the pinball loss as a density, tau its quantile."""
    u = (x - mu) / b
    pinball = u * tau if value_of(u) >= 0 else u * (tau - 1)
    return pinball - mp.log(tau * (1 - tau)) + log(b)


def generalized_normal(mu, alpha, x, beta):
    """Subbotin (1923): exponent beta of the absolute residual."""
    beta = mpf(beta)
    power = exp(log(absolute((x - mu) / alpha)) * beta)
    return power + log(alpha * 2 / beta) + lgamma(1 / beta)


def huber(mu, sigma, x, delta):
    """Huber (1964): normal in the middle, Laplace in the tails, divided by its integral."""
    z, delta = (x - mu) / sigma, mpf(delta)
    inside = abs(value_of(z)) <= delta
    rho = z**2 / 2 if inside else (absolute(z) - delta / 2) * delta
    total = mp.sqrt(2 * mp.pi) * mp.erf(delta / mp.sqrt(2)) + 2 / delta * mp.exp(-(delta**2) / 2)
    return rho + log(sigma * total)


def hyperbolic_secant(mu, s, x):
    """Density sech(z) / (pi s): the log-cosh loss, as in scipy.stats.hypsecant."""
    return log(cosh((x - mu) / s) * mp.pi * s)


def uniform(low, width, x):
    return log(width)


# --- the positive half-line ---------------------------------------------------------------------


def half_normal(sigma, x):
    return (x / sigma) ** 2 / 2 + log(sigma) + mp.log(mp.pi / 2) / 2


def half_cauchy(gamma, x):
    return log(gamma * mp.pi / 2 * (1 + (x / gamma) ** 2))


def log_normal(mu, sigma, x):
    return normal(mu, sigma, log(x)) + log(x)


def exponential(rate, x):
    return rate * x - log(rate)


def gamma(concentration, rate, x):
    a = concentration
    return lgamma(a) - a * log(rate) - (a - 1) * log(x) + rate * x


def inverse_gamma(concentration, rate, x):
    a = concentration
    return lgamma(a) - a * log(rate) + (a + 1) * log(x) + rate / x


def weibull(scale, concentration, x):
    k, z = concentration, x / scale
    return log(scale) - log(k) - (k - 1) * log(z) + exp(k * log(z))


def rayleigh(sigma, x):
    return (x / sigma) ** 2 / 2 + log(sigma) * 2 - log(x)


def log_logistic(alpha, beta, x):
    """The logistic density of the logarithm, spread over x."""
    return logistic(log(alpha), 1 / beta, log(x)) + log(x)


def half_logistic(s, x):
    return logistic(mpf(0), s, x) - mp.log(2)


def pareto(scale, alpha, x):
    return (alpha + 1) * log(x) - log(alpha) - alpha * log(scale)


def generalized_pareto(sigma, xi, x):
    return log(sigma) + (1 + 1 / xi) * log(1 + xi * x / sigma)


def inverse_gaussian(mu, lam, x):
    misfit = (x - mu) ** 2 / (mu**2 * x)
    return (log(x**2 * x * 2 * mp.pi) - log(lam)) / 2 + lam * misfit / 2


# --- the unit interval and the circle -----------------------------------------------------------


def logit_normal(mu, sigma, x):
    return normal(mu, sigma, log(x / (1 - x))) + log(x) + log(1 - x)


def beta(alpha, beta, x):
    return log_beta(alpha, beta) - (alpha - 1) * log(x) - (beta - 1) * log(1 - x)


def beta_mean(mu, phi, x):
    """Ferrari and Cribari-Neto (2004): mean and precision."""
    return beta(mu * phi, (1 - mu) * phi, x)


def kumaraswamy(a, b, x):
    """Kumaraswamy (1980)."""
    power = exp(a * log(x))
    return -log(a) - log(b) - (a - 1) * log(x) - (b - 1) * log(1 - power)


def continuous_bernoulli(lam, x):
    """Loaiza-Ganem and Cunningham (2019); the normaliser at 1/2 is its limit, 2."""
    u = 1 - 2 * lam
    if value_of(u) == 0:
        at_half = (mp.log(2), mpf(0), mpf(2) / 3)
        log_normaliser = u.through(*at_half) if isinstance(u, Jet) else at_half[0]
    else:
        log_normaliser = log((log(1 - lam) - log(lam)) / u)
    return -x * log(lam) - (1 - x) * log(1 - lam) - log_normaliser


def von_mises(mu, kappa, x):
    return mp.log(2 * mp.pi) + log_bessel_i(0, kappa) - kappa * cos(x - mu)


# --- counts and classes -------------------------------------------------------------------------


def bernoulli(p, x):
    return -x * log(p) - (1 - x) * log(1 - p)


def binomial(p, x, n):
    return -log_choose(n, x) - x * log(p) - (n - x) * log(1 - p)


def beta_binomial(alpha, beta, x, n):
    return log_beta(alpha, beta) - log_choose(n, x) - log_beta(alpha + x, beta + (n - x))


def geometric(p, x):
    return -x * log(1 - p) - log(p)


def poisson(rate, x):
    return rate - x * log(rate) + lgamma(x + 1)


def negative_binomial_logits(r, p, x):
    choose = lgamma(r + x) - lgamma(x + 1) - lgamma(r)
    return -choose - r * log(1 - p) - x * log(p)


def negative_binomial(mu, alpha, x):
    r = 1 / alpha
    return negative_binomial_logits(r, mu / (mu + r), x)


def ordered_logistic(mu, x, cutpoints):
    """McCullagh (1980): P(x <= k) = logistic(c_k - mu)."""
    k, last = int(x), len(cutpoints)
    below = sigmoid(mpf(cutpoints[k - 1]) - mu) if k > 0 else 0
    up_to = sigmoid(mpf(cutpoints[k]) - mu) if k < last else 1
    return -log(up_to - below)


def categorical(p, x):
    return -log(p[int(x)])


# --- vectors ------------------------------------------------------------------------------------


def dirichlet(alpha, x):
    norm = sum(lgamma(a) for a in alpha) - lgamma(sum(alpha))
    return norm - sum((a - 1) * log(t) for a, t in zip(alpha, x, strict=True))


def multinomial(p, x):
    n = sum(x)
    return (
        sum(lgamma(t + 1) for t in x)
        - lgamma(n + 1)
        - sum(t * log(q) for q, t in zip(p, x, strict=True))
    )


def multivariate_normal(mu, diagonal, off, x):
    """Full covariance L L^T; `off` holds the strictly lower entries of L, row by row."""
    z, entry = [], iter(off)
    for i, (m, t) in enumerate(zip(mu, x, strict=True)):
        rest = t - m
        for j in range(i):
            rest = rest - next(entry) * z[j]
        z.append(rest / diagonal[i])
    constant = mp.log(2 * mp.pi) / 2 * len(mu)
    return sum(t**2 for t in z) / 2 + sum(log(s) for s in diagonal) + constant


def independent_normal(mu, sigma, x):
    return sum(normal(m, s, t) for m, s, t in zip(mu, sigma, x, strict=True))


# --- made of other densities --------------------------------------------------------------------


def below_normal(z):
    return erfc(-z / mp.sqrt(2)) / 2


def below_laplace(z):
    return exp(z) / 2 if value_of(z) < 0 else 1 - exp(-z) / 2


def below_cauchy(z):
    """Left of -1 by the angle of -1/z, which the sum would lose."""
    return -atan(1 / z) / mp.pi if value_of(z) < -1 else atan(z) / mp.pi + mpf(1) / 2


def bin_of(below, levels: int):
    """Salimans et al. (2017), equation 2: F(upper end) - F(lower end), open at both sides.

    `below` is the distribution function of a symmetric density; the bin is mirrored to the left
    tail, where that is small rather than nearly 1.
    """

    def probability(location, scale, x):
        k, half = int(x), mpf(1) / (levels - 1)
        centre = 2 * k * half - 1
        low = (centre - half - location) / scale
        high = (centre + half - location) / scale
        if k == 0:
            return below(high)
        if k == levels - 1:
            return below(-low)
        if value_of(low) + value_of(high) > 0:
            low, high = -high, -low
        return below(high) - below(low)

    return probability


def discretised(below, levels: int):
    probability = bin_of(below, levels)
    return lambda mu, s, x: -log(probability(mu, s, x))


def mixed(probability):
    """-log sum_k w_k p(x; location_k, scale_k), the weights a softmax of scores."""

    def nll(scores, locations, scales, x):
        weights = softmax(scores)
        parts = zip(weights, locations, scales, strict=True)
        return -log(sum(w * probability(mu, s, x) for w, mu, s in parts))

    return nll


def density_of(nll):
    return lambda *given: exp(-nll(*given))


def zero_inflated(nll, zero):
    """Lambert (1992): a gate's zero or a count of density exp(-nll), whose zero costs zero(...)."""

    def total(gate, *given):
        *theta, x = given
        if value_of(x) == 0:
            return -log(gate + (1 - gate) * exp(-zero(*theta)))
        return -log(1 - gate) + nll(*theta, x)

    return total


def hurdle(nll, zero):
    """Mullahy (1986): a zero by the gate's law, or a positive count."""

    def total(gate, *given):
        *theta, x = given
        if value_of(x) == 0:
            return -log(gate)
        return -log(1 - gate) + nll(*theta, x) + log(1 - exp(-zero(*theta)))

    return total


def truncated_normal(mu, sigma, x):
    """A normal density on [0, 1]; the mass is taken in the tail where the interval lies."""
    low, high = -mu / sigma, (1 - mu) / sigma
    if value_of(low) + value_of(high) > 0:
        low, high = -high, -low
    return normal(mu, sigma, x) + log(below_normal(high) - below_normal(low))


def truncated_laplace(mu, b, x):
    """A Laplace density on [0, 1]; the mass is taken in the tail where the interval lies."""
    low, high = -mu / b, (1 - mu) / b
    if value_of(low) + value_of(high) > 0:
        low, high = -high, -low
    return laplace(mu, b, x) + log(below_laplace(high) - below_laplace(low))


def censored_normal(mu, sigma, x):
    """Tobin (1958), with a bound at 0 and another at 1."""
    if value_of(x) <= 0:
        return -log(below_normal(-mu / sigma))
    if value_of(x) >= 1:
        return -log(below_normal((mu - 1) / sigma))
    return normal(mu, sigma, x)


def tanh_normal(mu, sigma, x):
    z = log((1 + x) / (1 - x)) / 2
    return normal(mu, sigma, z) + log(1 - x * x)
