"""TABLE: for each family, its mean, its mode and a sampler, as functions of the parameters.

Each row takes the constrained parameters as keywords and returns a tensor of the target's shape;
samplers take a ``torch.Generator`` (or ``None``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossderiv.autograd import special_function, triangular_matrix
from lossderiv.between import mean_by_tails
from lossderiv.peaks import highest

EULER = 0.5772156649015329  # minus the mean of the log of a standard exponential


@dataclass(frozen=True)
class Summary:
    """What image to show: the mean, the mode, or a draw.

    ``of`` says what the three are functions of: the constrained parameters (``"theta"``) or, where
    rounding those would lose the answer, the raw outputs (``"outputs"``).
    """

    mean: Callable[..., Tensor] | None
    mode: Callable[..., Tensor] | None
    sample: Callable[..., Tensor]
    of: str = "theta"


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers strictly inside (0, 1), shaped like ``like``."""
    u = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    tiny = torch.finfo(like.dtype).eps / 2
    return u + tiny * (1 - 2 * u)  # from [0, 1) to the open interval, evenly


def gauss(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers shaped like ``like``."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def waiting(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard exponential numbers (rate 1) shaped like ``like``."""
    return -torch.log(uniform(like, generator))


def ratio(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard Cauchy numbers: the tangent of a uniform angle."""
    return torch.tan(math.pi * (uniform(like, generator) - 0.5))


def gammas(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard gamma numbers (rate 1) with the given concentrations."""
    return torch._standard_gamma(shape, generator=generator)


def mode_weibull(scale: Tensor, concentration: Tensor) -> Tensor:
    """``scale ((k - 1)/k)^(1/k)`` for a concentration k above 1, else 0."""
    inner = torch.where(concentration > 1, concentration, 2.0)
    above = scale * ((inner - 1) / inner) ** (1 / inner)
    return torch.where(concentration > 1, above, torch.zeros_like(above))


def end_of_unit(upper: Tensor, like: Tensor) -> Tensor:
    """The number next to 1 where ``upper`` holds, next to 0 elsewhere: the ends lie outside."""
    info = torch.finfo(like.dtype)
    return torch.where(upper, torch.full_like(like, 1 - info.eps / 2), info.tiny)


def mean_kumaraswamy(a: Tensor, b: Tensor) -> Tensor:
    """``b B(1 + 1/a, b)``, by log-gammas."""
    k = 1 + 1 / a
    return torch.exp(torch.lgamma(k) + torch.lgamma(b + 1) - torch.lgamma(k + b))


def mode_kumaraswamy(a: Tensor, b: Tensor) -> Tensor:
    """``((a - 1)/(a b - 1))^(1/a)`` for a and b above 1, the likelier end for one of them below."""
    peaked = (a > 1) & (b > 1)
    k, n = torch.where(peaked, a, 2.0), torch.where(peaked, b, 2.0)
    inside = ((k - 1) / (k * n - 1)) ** (1 / k)
    return torch.where(peaked, inside, end_of_unit((a >= 1) & (b < 1), a))


def mode_beta(a: Tensor, b: Tensor) -> Tensor:
    """``(a - 1)/(a + b - 2)`` for a and b above 1, the likelier end for one of them below."""
    peaked = (a > 1) & (b > 1)
    k, n = torch.where(peaked, a, 2.0), torch.where(peaked, b, 2.0)
    return torch.where(peaked, (k - 1) / (k + n - 2), end_of_unit(a > b, a))


def draw_beta(a: Tensor, b: Tensor, generator) -> Tensor:
    """The share of one of two gamma numbers in their sum."""
    one, other = gammas(a + 0 * b, generator), gammas(b + 0 * a, generator)
    return one / (one + other)


def mode_ordered(mu: Tensor, cutpoints: Tensor) -> Tensor:
    """The grade whose interval has the highest probability."""
    below = torch.sigmoid(cutpoints - mu[..., None])
    ends = (torch.zeros_like(below[..., :1]), below, torch.ones_like(below[..., :1]))
    return torch.cat(ends, -1).diff(dim=-1).argmax(-1).to(mu.dtype)


def draw_laplace(mu: Tensor, b: Tensor, generator) -> Tensor:
    """Inverse CDF: ``mu - b sign(v) log(1 - 2|v|)`` with v uniform on (-1/2, 1/2)."""
    v = uniform(mu + b, generator) - 0.5
    return mu - b * torch.sign(v) * torch.log1p(-2 * torch.abs(v))


def draw_continuous_bernoulli(eta_lam: Tensor, generator) -> Tensor:
    """Inverse CDF in the logit: ``log(1 + u (e^eta - 1)) / eta``, and ``u`` itself at eta = 0.

    For positive eta the mirror image is drawn, so that the exponential never overflows.
    """
    a = -torch.abs(eta_lam)
    u = uniform(eta_lam, generator)
    flat = a == 0
    safe = torch.where(flat, -1.0, a)
    y = torch.where(flat, u, torch.log1p(u * torch.expm1(safe)) / safe)
    return torch.where(eta_lam > 0, 1 - y, y)


def mean_continuous_bernoulli(eta_lam: Tensor) -> Tensor:
    """``1/(1 - e^-eta) - 1/eta`` with eta the logit of lam, which lam itself rounds away."""
    return special_function("exprel_mean")(eta_lam)


def draw_categorical(p: Tensor, generator) -> Tensor:
    """Class indices, one for each vector on the last axis."""
    flat = p.reshape(-1, p.shape[-1])
    return torch.multinomial(flat, 1, generator=generator).reshape(p.shape[:-1])


def draw_inverse_gaussian(mu: Tensor, lam: Tensor, generator) -> Tensor:
    """Two roots of one quadratic, chosen by a coin (Michael, Schucany and Haas, 1976)."""
    w = mu / (2 * lam) * gauss(mu + lam, generator) ** 2
    root = 1 / (1 + w + torch.sqrt(w * (2 + w)))
    first = uniform(root, generator) <= 1 / (1 + root)
    return mu * torch.where(first, root, 1 / root)


def wrap(angle: Tensor) -> Tensor:
    """The same direction, from -pi to pi."""
    return torch.atan2(torch.sin(angle), torch.cos(angle))


def draw_von_mises(mu: Tensor, kappa: Tensor, generator) -> Tensor:
    """Rejection from a wrapped Cauchy density (Best and Fisher, 1979), in double precision.

    With half angles and ``above`` for their r - 1, nothing cancels for a large kappa.
    """
    k = (kappa + 0 * mu).double()
    root = torch.sqrt(1 + 4 * k**2)
    tau = 1 + root
    total = tau + torch.sqrt(2 * tau)
    above = (1 + 1 / (root + 2 * k) + torch.sqrt(2 * tau)) ** 2 / (4 * k * total)
    turn, waits = torch.zeros_like(k), torch.ones_like(k, dtype=torch.bool)
    while bool(waits.any()):
        half = math.pi / 2 * uniform(k, generator)
        sine, cosine = torch.sin(half), torch.cos(half)
        c = k * above * (2 + above) / (above + 2 * cosine**2)
        taken = torch.log(c) + 1 - c >= torch.log(uniform(k, generator))
        angle = 2 * torch.atan2(torch.sqrt(above) * sine, torch.sqrt(2 + above) * cosine)
        turn = torch.where(waits & taken, angle, turn)
        waits = waits & ~taken
    side = torch.where(uniform(k, generator) < 0.5, -1.0, 1.0)
    return wrap(mu + (side * turn).to(mu.dtype))


def draw_huber(mu: Tensor, sigma: Tensor, delta: Tensor, generator) -> Tensor:
    """A normal cut at delta, or an exponential tail beyond it, each with its share."""
    like = mu + sigma + 0 * delta
    half = torch.erf(delta / math.sqrt(2))
    middle = math.sqrt(2 * math.pi) * half
    tails = 2 * torch.exp(-(delta**2) / 2) / delta
    v = 2 * uniform(like, generator) - 1
    inner = math.sqrt(2) * torch.erfinv(v * half)
    outer = torch.sign(v) * (delta + waiting(like, generator) / delta)
    in_the_middle = uniform(like, generator) * (middle + tails) < middle
    return mu + sigma * torch.where(in_the_middle, inner, outer)


def draw_generalized_pareto(sigma: Tensor, xi: Tensor, generator) -> Tensor:
    """Inverse CDF: ``sigma expm1(xi e)/xi`` with e exponential, and ``sigma e`` at xi = 0."""
    e = waiting(sigma + xi, generator)
    some = xi != 0
    safe = torch.where(some, xi, 1.0)
    return sigma * torch.where(some, torch.expm1(safe * e) / safe, e)


def draw_multivariate_normal(mu: Tensor, diag: Tensor, off: Tensor, generator) -> Tensor:
    """``mu + L e`` with e standard normal."""
    noise = gauss(mu + diag, generator)
    return mu + (triangular_matrix(diag, off) @ noise[..., None])[..., 0]


def mode_dirichlet(alpha: Tensor) -> Tensor:
    """``alpha - 1``, as shares, where that is positive; nothing elsewhere.

    Where no alpha is above 1 the density is highest in the corners: that of the largest alpha.
    """
    above = torch.relu(alpha - 1)
    total = above.sum(-1, keepdim=True)
    corner = torch.nn.functional.one_hot(alpha.argmax(-1), alpha.shape[-1]).to(alpha.dtype)
    return torch.where(total > 0, above / torch.where(total > 0, total, 1.0), corner)


def draw_multinomial(p: Tensor, n: Tensor, generator) -> Tensor:
    """How often each class comes up in n draws."""
    flat = p.reshape(-1, p.shape[-1])
    drawn = torch.multinomial(flat, int(n), replacement=True, generator=generator)
    return (
        torch.zeros_like(flat)
        .scatter_add_(-1, drawn, torch.ones_like(drawn, dtype=p.dtype))
        .reshape(p.shape)
    )


def mode_multinomial(p: Tensor, n: Tensor) -> Tensor:
    """Each count is floor of some (n + c) p (Finucan, 1964): from floor(n p), one by one.

    A class gains its next count where p over that count is the largest.
    """
    x = torch.floor(n * p)
    for _ in range(p.shape[-1]):
        short = x.sum(-1, keepdim=True) < n
        best = torch.nn.functional.one_hot((p / (x + 1)).argmax(-1), p.shape[-1])
        x = x + best * short
    return x


def mode_beta_binomial(alpha: Tensor, beta: Tensor, n: Tensor) -> Tensor:
    """Where the ratio of neighbouring probabilities falls below 1; an end for two small shapes."""
    inner = alpha + beta > 2
    width = torch.where(inner, alpha + beta - 2, 1.0)
    peak = torch.floor((n + 1) * (alpha - 1) / width)
    peak = torch.minimum(torch.relu(peak), n + 0 * peak)
    return torch.where(inner, peak, torch.where(alpha > beta, n + 0 * peak, 0 * peak))


def mean_logit_normal(mu: Tensor, sigma: Tensor) -> Tensor:
    """By quadrature of what lies above and below the median: there is no closed form."""
    below, m, s = special_function("normal_cdf"), mu.double(), sigma.double()

    def z(t: Tensor) -> Tensor:
        return (torch.logit(t) - m) / s

    middle = torch.sigmoid(m + 0 * s)
    return mean_by_tails(lambda t: below(z(t)), lambda t: below(-z(t)), middle, 0.0, 1.0).to(
        mu.dtype
    )


def mode_logit_normal(mu: Tensor, sigma: Tensor) -> Tensor:
    """By search on the line of logits: for a large sigma there are two peaks."""
    m, s = mu.double() + 0 * sigma, sigma.double() + 0 * mu

    def height(u: Tensor) -> Tensor:
        return -0.5 * ((u - m) / s) ** 2 - 2 * torch.nn.functional.logsigmoid(u) + u

    peak = torch.sigmoid(highest(height, m, s)[0]).to(mu.dtype)
    return torch.where((peak == 0) | (peak == 1), end_of_unit(peak == 1, peak), peak)


SUMMARIES: dict[str, Summary] = {
    "normal": Summary(
        mean=lambda mu, sigma: mu + 0 * sigma,
        mode=lambda mu, sigma: mu + 0 * sigma,
        sample=lambda mu, sigma, generator: mu + sigma * gauss(mu + sigma, generator),
    ),
    "bernoulli": Summary(
        mean=lambda p: p,
        mode=lambda p: (p > 0.5).to(p.dtype),
        sample=lambda p, generator: torch.bernoulli(p, generator=generator),
    ),
    "continuous_bernoulli": Summary(
        mean=mean_continuous_bernoulli,
        mode=lambda eta_lam: (eta_lam > 0).to(eta_lam.dtype),
        sample=draw_continuous_bernoulli,
        of="outputs",
    ),
    "laplace": Summary(
        mean=lambda mu, b: mu + 0 * b,
        mode=lambda mu, b: mu + 0 * b,
        sample=draw_laplace,
    ),
    "logistic": Summary(
        mean=lambda mu, s: mu + 0 * s,
        mode=lambda mu, s: mu + 0 * s,
        sample=lambda mu, s, generator: mu + s * torch.logit(uniform(mu + s, generator)),
    ),
    "gumbel": Summary(
        mean=lambda mu, beta: mu + EULER * beta,
        mode=lambda mu, beta: mu + 0 * beta,
        sample=lambda mu, beta, generator: mu - beta * torch.log(waiting(mu + beta, generator)),
    ),
    "gumbel_min": Summary(
        mean=lambda mu, beta: mu - EULER * beta,
        mode=lambda mu, beta: mu + 0 * beta,
        sample=lambda mu, beta, generator: mu + beta * torch.log(waiting(mu + beta, generator)),
    ),
    "log_normal": Summary(
        mean=lambda mu, sigma: torch.exp(mu + sigma**2 / 2),
        mode=lambda mu, sigma: torch.exp(mu - sigma**2),
        sample=lambda mu, sigma, generator: torch.exp(mu + sigma * gauss(mu + sigma, generator)),
    ),
    "half_normal": Summary(
        mean=lambda sigma: sigma * math.sqrt(2 / math.pi),
        mode=lambda sigma: torch.zeros_like(sigma),
        sample=lambda sigma, generator: sigma * torch.abs(gauss(sigma, generator)),
    ),
    "exponential": Summary(
        mean=lambda rate: 1 / rate,
        mode=lambda rate: torch.zeros_like(rate),
        sample=lambda rate, generator: waiting(rate, generator) / rate,
    ),
    "weibull": Summary(
        mean=lambda scale, concentration: scale * torch.exp(torch.lgamma(1 + 1 / concentration)),
        mode=mode_weibull,
        sample=lambda scale, concentration, generator: (
            scale * waiting(scale + concentration, generator) ** (1 / concentration)
        ),
    ),
    "rayleigh": Summary(
        mean=lambda sigma: sigma * math.sqrt(math.pi / 2),
        mode=lambda sigma: sigma,
        sample=lambda sigma, generator: sigma * torch.sqrt(2 * waiting(sigma, generator)),
    ),
    "log_logistic": Summary(
        mean=lambda alpha, beta: torch.where(
            beta > 1, alpha / torch.sinc(1 / torch.where(beta > 1, beta, 2.0)), torch.inf
        ),
        mode=lambda alpha, beta: alpha * (torch.relu(beta - 1) / (beta + 1)) ** (1 / beta),
        sample=lambda alpha, beta, generator: (
            alpha * torch.exp(torch.logit(uniform(alpha + beta, generator)) / beta)
        ),
    ),
    "half_logistic": Summary(
        mean=lambda s: s * (2 * math.log(2)),
        mode=lambda s: torch.zeros_like(s),
        sample=lambda s, generator: s * torch.abs(torch.logit(uniform(s, generator))),
    ),
    "asymmetric_laplace": Summary(
        mean=lambda mu, b, tau: mu + b * (1 - 2 * tau) / (tau * (1 - tau)),
        mode=lambda mu, b, tau: mu + 0 * b,
        sample=lambda mu, b, tau, generator: (
            mu + b * (waiting(mu + b, generator) / tau - waiting(mu + b, generator) / (1 - tau))
        ),
    ),
    "binomial": Summary(
        mean=lambda p, n: n * p,
        mode=lambda p, n: torch.minimum(torch.floor((n + 1) * p), n + 0 * p),
        sample=lambda p, n, generator: torch.binomial(n + 0 * p, p, generator=generator),
    ),
    "beta_binomial": Summary(
        mean=lambda alpha, beta, n: n * alpha / (alpha + beta),
        mode=mode_beta_binomial,
        sample=lambda alpha, beta, n, generator: torch.binomial(
            n + 0 * (alpha + beta), draw_beta(alpha, beta, generator), generator=generator
        ),
    ),
    "geometric": Summary(
        mean=lambda p: (1 - p) / p,
        mode=lambda p: torch.zeros_like(p),
        sample=lambda p, generator: torch.floor(waiting(p, generator) / -torch.log1p(-p)),
    ),
    "poisson": Summary(
        mean=lambda rate: rate,
        mode=lambda rate: torch.floor(rate),
        sample=lambda rate, generator: torch.poisson(rate, generator=generator),
    ),
    "negative_binomial": Summary(
        mean=lambda mu, alpha: mu + 0 * alpha,
        mode=lambda mu, alpha: torch.floor(mu * torch.relu(1 - alpha)),
        sample=lambda mu, alpha, generator: torch.poisson(
            mu * alpha * gammas(0 * mu + 1 / alpha, generator), generator=generator
        ),
    ),
    "negative_binomial_logits": Summary(
        mean=lambda r, p: r * p / (1 - p),
        mode=lambda r, p: torch.floor(torch.relu(r - 1) * p / (1 - p)),
        sample=lambda r, p, generator: torch.poisson(
            p / (1 - p) * gammas(r + 0 * p, generator), generator=generator
        ),
    ),
    "cauchy": Summary(
        mean=None,  # its tails are too heavy for a mean
        mode=lambda mu, gamma: mu + 0 * gamma,
        sample=lambda mu, gamma, generator: mu + gamma * ratio(mu + gamma, generator),
    ),
    "half_cauchy": Summary(
        mean=None,
        mode=lambda gamma: torch.zeros_like(gamma),
        sample=lambda gamma, generator: gamma * torch.abs(ratio(gamma, generator)),
    ),
    "student_t": Summary(
        mean=lambda mu, sigma, nu: torch.where(nu > 1, mu + 0 * sigma, torch.nan),
        mode=lambda mu, sigma, nu: mu + 0 * sigma * nu,
        sample=lambda mu, sigma, nu, generator: (
            mu
            + sigma
            * gauss(mu + sigma + nu, generator)
            * torch.rsqrt(gammas(0 * (mu + sigma) + nu / 2, generator) / (nu / 2))
        ),
    ),
    "hyperbolic_secant": Summary(
        mean=lambda mu, s: mu + 0 * s,
        mode=lambda mu, s: mu + 0 * s,
        sample=lambda mu, s, generator: (
            mu + s * torch.asinh(torch.tan(math.pi * (uniform(mu + s, generator) - 0.5)))
        ),
    ),
    "gamma": Summary(
        mean=lambda concentration, rate: concentration / rate,
        mode=lambda concentration, rate: torch.relu(concentration - 1) / rate,
        sample=lambda concentration, rate, generator: (
            gammas(concentration + 0 * rate, generator) / rate
        ),
    ),
    "inverse_gamma": Summary(
        mean=lambda concentration, rate: torch.where(
            concentration > 1, rate / (concentration - 1), torch.inf
        ),
        mode=lambda concentration, rate: rate / (concentration + 1),
        sample=lambda concentration, rate, generator: (
            rate / gammas(concentration + 0 * rate, generator)
        ),
    ),
    "logit_normal": Summary(
        mean=mean_logit_normal,
        mode=mode_logit_normal,
        sample=lambda mu, sigma, generator: torch.sigmoid(
            mu + sigma * gauss(mu + sigma, generator)
        ),
    ),
    "beta": Summary(
        mean=lambda alpha, beta: alpha / (alpha + beta),
        mode=lambda alpha, beta: mode_beta(alpha, beta),
        sample=lambda alpha, beta, generator: draw_beta(alpha, beta, generator),
    ),
    "beta_mean": Summary(
        mean=lambda mu, phi: mu + 0 * phi,
        mode=lambda mu, phi: mode_beta(mu * phi, (1 - mu) * phi),
        sample=lambda mu, phi, generator: draw_beta(mu * phi, (1 - mu) * phi, generator),
    ),
    "kumaraswamy": Summary(
        mean=mean_kumaraswamy,
        mode=mode_kumaraswamy,
        sample=lambda a, b, generator: (-torch.expm1(-waiting(a + b, generator) / b)) ** (1 / a),
    ),
    "inverse_gaussian": Summary(
        mean=lambda mu, lam: mu + 0 * lam,
        mode=lambda mu, lam: (
            mu / (torch.sqrt(1 + (1.5 * mu / lam) ** 2) + 1.5 * mu / lam)  # no difference of two
        ),
        sample=draw_inverse_gaussian,
    ),
    "von_mises": Summary(
        mean=lambda mu, kappa: wrap(mu) + 0 * kappa,  # the mean direction
        mode=lambda mu, kappa: wrap(mu) + 0 * kappa,
        sample=draw_von_mises,
    ),
    "generalized_normal": Summary(
        mean=lambda mu, alpha, beta: mu + 0 * alpha * beta,
        mode=lambda mu, alpha, beta: mu + 0 * alpha * beta,
        sample=lambda mu, alpha, beta, generator: (
            mu
            + alpha
            * torch.sign(uniform(mu + alpha + 0 * beta, generator) - 0.5)
            * gammas(0 * (mu + alpha) + 1 / beta, generator) ** (1 / beta)
        ),
    ),
    "huber": Summary(
        mean=lambda mu, sigma, delta: mu + 0 * sigma * delta,
        mode=lambda mu, sigma, delta: mu + 0 * sigma * delta,
        sample=draw_huber,
    ),
    "pareto": Summary(
        mean=lambda scale, alpha: torch.where(alpha > 1, scale * alpha / (alpha - 1), torch.inf),
        mode=lambda scale, alpha: scale + 0 * alpha,
        sample=lambda scale, alpha, generator: (
            scale * torch.exp(waiting(scale + alpha, generator) / alpha)
        ),
    ),
    "generalized_pareto": Summary(
        mean=lambda sigma, xi: torch.where(xi < 1, sigma / (1 - xi), torch.inf),
        mode=lambda sigma, xi: torch.where(xi < -1, -sigma / xi, 0 * sigma),
        sample=draw_generalized_pareto,
    ),
    "uniform": Summary(
        mean=lambda low, width: low + width / 2,
        mode=None,  # every point is as likely as every other
        sample=lambda low, width, generator: low + width * uniform(low + width, generator),
    ),
    "categorical": Summary(
        mean=None,  # the classes have no order and no mean
        mode=lambda p: p.argmax(-1),
        sample=draw_categorical,
    ),
    "multivariate_normal_diagonal": Summary(
        mean=lambda mu, sigma: mu + 0 * sigma,
        mode=lambda mu, sigma: mu + 0 * sigma,
        sample=lambda mu, sigma, generator: mu + sigma * gauss(mu + sigma, generator),
    ),
    "ordered_logistic": Summary(
        mean=lambda mu, cutpoints: torch.sigmoid(mu[..., None] - cutpoints).sum(-1),
        mode=mode_ordered,
        sample=lambda mu, cutpoints, generator: torch.searchsorted(
            cutpoints, mu + torch.logit(uniform(mu, generator))
        ).to(mu.dtype),
    ),
    "multinomial": Summary(
        mean=lambda p, n: n * p,
        mode=mode_multinomial,
        sample=draw_multinomial,
    ),
    "dirichlet": Summary(
        mean=lambda alpha: alpha / alpha.sum(-1, keepdim=True),
        mode=mode_dirichlet,
        sample=lambda alpha, generator: torch._sample_dirichlet(alpha, generator),
    ),
    "multivariate_normal": Summary(
        mean=lambda mu, diag, off: mu + 0 * diag,
        mode=lambda mu, diag, off: mu + 0 * diag,
        sample=draw_multivariate_normal,
    ),
}
