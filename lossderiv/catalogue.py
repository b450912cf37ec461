"""TABLE of densities, in teaching order. A row is the density as a textbook prints it.

The signature is the declaration: the data first, then the parameters with their domains. The
docstring's first sentence is the family's sentence in the book. No row says anything about losses,
gradients or stability: those are derived.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import (
    Abs,
    Product,
    Rational,
    Sum,
    atanh,
    besseli,
    cos,
    cosh,
    erf,
    exp,
    factorial,
    log,
    pi,
    sqrt,
)
from sympy import beta as beta_function
from sympy import gamma as gamma_function

from lossderiv.domains import (
    Angle,
    Below,
    Binary,
    Category,
    Count,
    Counts,
    Given,
    Increasing,
    Integer,
    Interior,
    NonNegative,
    Positive,
    Proportion,
    Real,
    Shares,
    Simplex,
    Unit,
    UpTo,
    Vector,
)
from lossderiv.special import huber_error, inside, logit, relu
from lossderiv.special import logistic as sigmoid
from lossderiv.symbolic.records import Density
from lossderiv.symbolic.trace import density_of, let
from lossderiv.symbolic.triangular import solution
from lossderiv.symbolic.vectors import EACH as k
from lossderiv.symbolic.vectors import RUNNING as j
from lossderiv.symbolic.vectors import edge

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
    (2019), equation 1, whose normaliser has atanh(1 - 2 lam)/(1 - 2 lam): the same number.
    """
    return 2 * atanh(2 * lam - 1) / (2 * lam - 1) * lam**x * (1 - lam) ** (1 - x)


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


@family()
def logistic(x: Real, mu: Real, s: Positive):
    """A bell with exponential tails, the density of a difference of two logits.

    Mean, median and mode mu, variance pi² s²/3. Source: Johnson, Kotz and Balakrishnan (1995),
    chapter 23; scipy.stats.logistic(loc=mu, scale=s).
    """
    z = let("z", (x - mu) / s)
    return exp(-z) / (s * (1 + exp(-z)) ** 2)


@family(torch="Gumbel(mu, beta)")
def gumbel(x: Real, mu: Real, beta: Positive):
    """The largest of many: the limit law of maxima.

    Mean mu + 0.5772 beta, mode mu, variance pi² beta²/6. Source: Johnson, Kotz and Balakrishnan
    (1995), chapter 22; scipy.stats.gumbel_r(loc=mu, scale=beta).
    """
    z = let("z", (x - mu) / beta)
    return exp(-z - exp(-z)) / beta


@family()
def gumbel_min(x: Real, mu: Real, beta: Positive):
    """The smallest of many: the limit law of minima, the mirror image of the Gumbel density.

    Mean mu - 0.5772 beta, mode mu, variance pi² beta²/6. Source: Johnson, Kotz and Balakrishnan
    (1995), chapter 22; scipy.stats.gumbel_l(loc=mu, scale=beta).
    """
    z = let("z", (x - mu) / beta)
    return exp(z - exp(z)) / beta


@family(torch="LogNormal(mu, sigma)")
def log_normal(x: Positive, mu: Real, sigma: Positive):
    """A positive quantity whose logarithm is normal: errors that multiply.

    Mean exp(mu + sigma²/2), median exp(mu), mode exp(mu - sigma²). Source: Johnson, Kotz and
    Balakrishnan (1994), chapter 14; scipy.stats.lognorm(s=sigma, scale=exp(mu)).
    """
    z = let("z", (log(x) - mu) / sigma)
    return exp(-(z**2) / 2) / (x * sigma * sqrt(2 * pi))


@family(torch="HalfNormal(sigma)")
def half_normal(x: NonNegative, sigma: Positive):
    """The size of a normal error whose sign is lost.

    Mean sigma sqrt(2/pi), mode 0, variance sigma² (1 - 2/pi). Source: Johnson, Kotz and
    Balakrishnan (1994), chapter 13; scipy.stats.halfnorm(scale=sigma).
    """
    z = let("z", x / sigma)
    return sqrt(2) * exp(-(z**2) / 2) / (sigma * sqrt(pi))


@family(torch="Exponential(rate)")
def exponential(x: NonNegative, rate: Positive):
    """Waiting time until an event that comes at a constant rate.

    Mean 1/rate, mode 0, variance 1/rate². Source: Johnson, Kotz and Balakrishnan (1994),
    chapter 19; scipy.stats.expon(scale=1/rate).
    """
    return rate * exp(-rate * x)


@family(torch="Weibull(scale, concentration)")
def weibull(x: Positive, scale: Positive, concentration: Positive):
    """Waiting time whose rate of events grows or falls as a power of the time waited.

    Mean scale Γ(1 + 1/concentration). Source: Johnson, Kotz and Balakrishnan (1994), chapter 21;
    scipy.stats.weibull_min(c=concentration, scale=scale).
    """
    z = let("z", log(x) - log(scale))
    return concentration / x * exp(concentration * z - exp(concentration * z))


@family()
def rayleigh(x: Positive, sigma: Positive):
    """The length of a vector in the plane whose two entries are normal errors of one width.

    Mean sigma sqrt(pi/2), mode sigma, variance sigma² (2 - pi/2). Source: Johnson, Kotz and
    Balakrishnan (1994), chapter 18; scipy.stats.rayleigh(scale=sigma).
    """
    z = let("z", x / sigma)
    return x / sigma**2 * exp(-(z**2) / 2)


@family()
def log_logistic(x: Positive, alpha: Positive, beta: Positive):
    """A positive quantity whose logarithm is logistic: like the log-normal, with heavier tails.

    Median alpha; mean (pi alpha/beta)/sin(pi/beta) for beta above 1; the larger beta, the narrower.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 23; scipy.stats.fisk(beta, scale=alpha).
    """
    z = let("z", beta * (log(x) - log(alpha)))
    return beta / x * exp(-z) / (1 + exp(-z)) ** 2


@family()
def half_logistic(x: NonNegative, s: Positive):
    """The size of a logistic error whose sign is lost.

    Mean 2 s log 2, mode 0, variance s² (pi²/3 - 4 log² 2). Source: Johnson, Kotz and Balakrishnan
    (1995), chapter 23; scipy.stats.halflogistic(scale=s).
    """
    z = let("z", x / s)
    return 2 * exp(-z) / (s * (1 + exp(-z)) ** 2)


@family()
def asymmetric_laplace(x: Real, mu: Real, b: Positive, tau: Given(Unit)):
    """Absolute error that costs more on one side: mu is the quantile at level tau.

    P(x < mu) = tau; mode mu; tau is given. Source: Koenker and Machado (1999), equation 2.
    """
    z = let("z", (x - mu) / b)
    return tau * (1 - tau) / b * exp(-(relu(z) - (1 - tau) * z))


@family(torch="Binomial(n, p)")
def binomial(x: UpTo("n"), p: Unit, n: Given(Integer(1))):
    """How many of n coin flips show heads; n is given.

    Mean n p, variance n p (1 - p). Source: Johnson, Kemp and Kotz (2005), chapter 3;
    scipy.stats.binom(n, p).
    """
    ways = factorial(n) / (factorial(x) * factorial(n - x))
    return ways * p**x * (1 - p) ** (n - x)


@family()
def beta_binomial(x: UpTo("n"), alpha: Positive, beta: Positive, n: Given(Integer(1))):
    """How many of n coin flips show heads, when each series has a coin of its own.

    Mean n alpha/(alpha + beta); wider than the binomial, which it becomes for large alpha and beta;
    n is given. Source: Skellam (1948), section 2; scipy.stats.betabinom(n, alpha, beta).
    """
    y = let("y", n - x, integer=True, nonnegative=True)
    ways = factorial(x + y) / (factorial(x) * factorial(y))
    return ways * beta_function(alpha + x, beta + y) / beta_function(alpha, beta)


@family(torch="Geometric(p)")
def geometric(x: Count, p: Unit):
    """Failures before the first success.

    Mean (1 - p)/p, mode 0, variance (1 - p)/p². Source: Johnson, Kemp and Kotz (2005), chapter 5;
    scipy.stats.geom(p, loc=-1).
    """
    return p * (1 - p) ** x


@family(torch="Poisson(rate)")
def poisson(x: Count, rate: Positive):
    """Events counted in a fixed time, when they come at a constant rate.

    Mean and variance rate. Source: Johnson, Kemp and Kotz (2005), chapter 4;
    scipy.stats.poisson(rate).
    """
    return rate**x * exp(-rate) / factorial(x)


@family(torch="NegativeBinomial(1/alpha, alpha*mu/(1 + alpha*mu))")
def negative_binomial(x: Count, mu: Positive, alpha: Positive):
    """Counts that vary more than Poisson counts: alpha is the dispersion, 0 in Poisson's limit.

    Mean mu, variance mu + alpha mu². Source: Hilbe (2011), equation 8.8, the NB2 model;
    scipy.stats.nbinom(1/alpha, 1/(1 + alpha*mu)).
    """
    ways = gamma_function(x + 1 / alpha) / (factorial(x) * gamma_function(1 / alpha))
    return ways * (alpha * mu) ** x / (1 + alpha * mu) ** (x + 1 / alpha)


@family(torch="NegativeBinomial(r, p)")
def negative_binomial_logits(x: Count, r: Positive, p: Unit):
    """Successes before the r-th failure, p being the probability of a success, as in torch.

    Mean r p/(1 - p), variance r p/(1 - p)². Source: Johnson, Kemp and Kotz (2005), chapter 5;
    scipy.stats.nbinom(r, 1 - p), which counts failures before successes.
    """
    ways = gamma_function(x + r) / (factorial(x) * gamma_function(r))
    return ways * (1 - p) ** r * p**x


@family(torch="Cauchy(mu, gamma)")
def cauchy(x: Real, mu: Real, gamma: Positive):
    """Tails so heavy that there is no mean: an outlier pulls less the further out it lies.

    No mean; median and mode mu. Source: Johnson, Kotz and Balakrishnan (1994), chapter 16;
    scipy.stats.cauchy(loc=mu, scale=gamma).
    """
    z = let("z", (x - mu) / gamma)
    return 1 / (pi * gamma * (1 + z**2))


@family(torch="HalfCauchy(gamma)")
def half_cauchy(x: NonNegative, gamma: Positive):
    """The size of a Cauchy error whose sign is lost: a usual prior for a scale.

    No mean; median gamma, mode 0. Source: Gelman (2006), section 3.2;
    scipy.stats.halfcauchy(scale=gamma).
    """
    z = let("z", x / gamma)
    return 2 / (pi * gamma * (1 + z**2))


@family(torch="StudentT(nu, mu, sigma)")
def student_t(x: Real, mu: Real, sigma: Positive, nu: Positive):
    """Between the normal and the Cauchy density: nu says how heavy the tails are.

    Mean mu for nu > 1, mode mu, variance sigma² nu/(nu - 2) for nu > 2. Source: Lange, Little and
    Taylor (1989), section 2; scipy.stats.t(df=nu, loc=mu, scale=sigma).
    """
    z = let("z", (x - mu) / sigma)
    peak = gamma_function((nu + 1) / 2) / (gamma_function(nu / 2) * sqrt(nu * pi) * sigma)
    return peak * (1 + z**2 / nu) ** (-(nu + 1) / 2)


@family()
def hyperbolic_secant(x: Real, mu: Real, s: Positive):
    """Squared error near the middle, absolute error in the tails: the log-cosh loss.

    Mean, median and mode mu, variance pi² s²/4. Source: Johnson, Kotz and Balakrishnan (1995),
    chapter 23; scipy.stats.hypsecant(loc=mu, scale=s).
    """
    z = let("z", (x - mu) / s)
    return 1 / (pi * s * cosh(z))


@family(torch="Gamma(concentration, rate)")
def gamma(x: Positive, concentration: Positive, rate: Positive):
    """Waiting time until the last of several events: positive, with constant relative spread.

    Mean concentration/rate, variance concentration/rate². Source: Johnson, Kotz and Balakrishnan
    (1994), chapter 17; scipy.stats.gamma(a=concentration, scale=1/rate).
    """
    k = concentration
    return rate**k / gamma_function(k) * x ** (k - 1) * exp(-rate * x)


@family(torch="InverseGamma(concentration, rate)")
def inverse_gamma(x: Positive, concentration: Positive, rate: Positive):
    """The reciprocal of a gamma variable: the usual prior for a variance.

    Mean rate/(concentration - 1) for a concentration above 1, mode rate/(concentration + 1).
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 17;
    scipy.stats.invgamma(a=concentration, scale=rate).
    """
    k = concentration
    return rate**k / gamma_function(k) * x ** (-k - 1) * exp(-rate / x)


@family()
def logit_normal(x: Interior, mu: Real, sigma: Positive):
    """A number strictly between 0 and 1 whose logit is normal.

    Median logistic(mu); mean and mode have no closed form. Source: Atchison and Shen (1980),
    equation 1.1, for two parts.
    """
    z = let("z", (logit(x) - mu) / sigma)
    return exp(-(z**2) / 2) / (sigma * sqrt(2 * pi) * x * (1 - x))


@family(torch="Beta(alpha, beta)")
def beta(x: Interior, alpha: Positive, beta: Positive):
    """A share: how much of a whole goes to one of two parts.

    Mean alpha/(alpha + beta), mode (alpha - 1)/(alpha + beta - 2) for both above 1. Source:
    Johnson, Kotz and Balakrishnan (1995), chapter 25; scipy.stats.beta(alpha, beta).
    """
    return x ** (alpha - 1) * (1 - x) ** (beta - 1) / beta_function(alpha, beta)


@family(torch="Beta(mu*phi, (1 - mu)*phi)")
def beta_mean(x: Interior, mu: Proportion, phi: Positive):
    """The beta density of beta regression: a mean, and a precision that narrows it.

    Mean mu, variance mu (1 - mu)/(1 + phi). Source: Ferrari and Cribari-Neto (2004), equation 4;
    scipy.stats.beta(mu*phi, (1 - mu)*phi).
    """
    a, b = mu * phi, (1 - mu) * phi
    return x ** (a - 1) * (1 - x) ** (b - 1) / beta_function(a, b)


@family(torch="Kumaraswamy(a, b)")
def kumaraswamy(x: Interior, a: Positive, b: Positive):
    """Much like the beta density, with an inverse CDF in closed form: easy to draw from.

    Mean b B(1 + 1/a, b), mode ((a - 1)/(a b - 1))^(1/a) for a and b above 1. Source: Kumaraswamy
    (1980), equation 2.
    """
    return a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)


@family()
def inverse_gaussian(x: Positive, mu: Positive, lam: Positive):
    """The time a drifting particle needs to cover a distance: positive, skewed, finite moments.

    Mean mu, variance mu³/lam. Source: Johnson, Kotz and Balakrishnan (1994), chapter 15;
    scipy.stats.invgauss(mu=mu/lam, scale=lam).
    """
    z = let("z", (x / mu - 1) * sqrt(lam / x))
    return sqrt(lam) * exp(-(z**2) / 2) / (sqrt(2 * pi) * x ** Rational(3, 2))


@family(torch="VonMises(mu, kappa)")
def von_mises(x: Angle, mu: Angle, kappa: Positive):
    """The normal density of directions: an angle in radians, gathered around mu.

    Mean direction and mode mu; 1/kappa is about the variance for large kappa. Source: Mardia and
    Jupp (2000), equation 3.5.17; scipy.stats.vonmises(kappa=kappa, loc=mu).
    """
    d = let("d", x - mu)
    return exp(kappa * cos(d)) / (2 * pi * besseli(0, kappa))


@family()
def generalized_normal(x: Real, mu: Real, alpha: Positive, beta: Given(Positive)):
    """The error raised to a power: absolute for beta = 1, squared for 2, nearly flat for many.

    Mean, median and mode mu, variance alpha² Γ(3/beta)/Γ(1/beta); beta is given. Source: Nadarajah
    (2005), equation 1; scipy.stats.gennorm(beta, loc=mu, scale=alpha).
    """
    z = let("z", (x - mu) / alpha)
    return exp(-(Abs(z) ** beta)) / (2 * alpha * gamma_function(1 + 1 / beta))


@family()
def huber(x: Real, mu: Real, sigma: Positive, delta: Given(Positive)):
    """Normal in the middle, Laplace in the tails: squared error that outliers cannot dominate.

    Mean, median and mode mu; delta, in units of sigma, is where the tails begin, and is given.
    Source: Huber (1964), section 5, with the normaliser that makes it a density.
    """
    z = let("z", (x - mu) / sigma)
    middle, tails = sqrt(2 * pi) * erf(delta / sqrt(2)), 2 * exp(-(delta**2) / 2) / delta
    return exp(-huber_error(z, delta)) / (sigma * (middle + tails))


@family(torch="Pareto(scale, alpha)")
def pareto(x: Positive, scale: Positive, alpha: Positive):
    """Sizes without a typical size: above a least value the tail falls as a power.

    Support x >= scale; mean alpha scale/(alpha - 1) for alpha > 1, mode scale. Source: Johnson,
    Kotz and Balakrishnan (1994), chapter 20; scipy.stats.pareto(b=alpha, scale=scale).
    """
    z = let("z", log(x) - log(scale))
    return inside(x - scale) * alpha / x * exp(-alpha * z)


@family(torch="GeneralizedPareto(0, sigma, xi)")
def generalized_pareto(x: NonNegative, sigma: Positive, xi: Real):
    """Excesses over a high threshold: exponential for xi = 0, a power tail above, an end below.

    Support 1 + xi x/sigma > 0; mean sigma/(1 - xi) for xi < 1. Source: Pickands (1975), section
    3; scipy.stats.genpareto(c=xi, scale=sigma).
    """
    z = let("z", x / sigma)
    return inside(1 + xi * z) * Abs(1 + xi * z) ** (-1 - 1 / xi) / sigma


@family(torch="Uniform(low, low + width)")
def uniform(x: Real, low: Real, width: Positive):
    """Anything between two ends, nothing outside: the loss is blind to where a target lies.

    Mean low + width/2, variance width²/12; the gradient never sees the target, and a target
    outside costs infinitely much. Source: Johnson, Kotz and Balakrishnan (1995), chapter 26;
    scipy.stats.uniform(loc=low, scale=width).
    """
    z = let("z", (x - low) / width)
    return inside(z) * inside(1 - z) / width


@family(torch="Independent(Normal(mu, sigma), 1)")
def multivariate_normal_diagonal(x: Vector(Real), mu: Vector(Real), sigma: Vector(Positive)):
    """A vector of independent normal errors, each with a width of its own.

    Mean and mode mu, covariance diag(sigma²); the entries are the last axis. Source: Bishop (2006),
    equation 2.43 with a diagonal covariance; torch.distributions.Independent(Normal(mu, sigma), 1).
    """
    z = let("z", (x[k] - mu[k]) / sigma[k])
    return Product(exp(-(z**2) / 2) / (sigma[k] * sqrt(2 * pi)), k)


@family()
def ordered_logistic(x: UpTo("cutpoints"), mu: Real, cutpoints: Given(Increasing)):
    """A grade from 0 up: where a logistic variable around mu falls among given cutpoints.

    P(x <= k) = logistic(cutpoints[k] - mu), so one more grade than cutpoints; mean
    sum_k logistic(mu - cutpoints[k]). Source: McCullagh (1980), section 2.
    """
    return sigmoid(edge(cutpoints, x) - mu) - sigmoid(edge(cutpoints, x - 1) - mu)


@family(torch="Multinomial(n, p)")
def multinomial(x: Counts("n"), p: Simplex, n: Given(Integer(1))):
    """How often each of K classes came up in n independent draws; n is given.

    Mean n p, variances n p (1 - p); the classes are the last axis. Source: Bishop (2006), equation
    2.34; scipy.stats.multinomial(n, p).
    """
    return factorial(n) * Product(p[k] ** x[k] / factorial(x[k]), k)


@family(torch="Dirichlet(alpha)")
def dirichlet(x: Shares, alpha: Vector(Positive)):
    """Shares of a whole: what a gamma variable for each part makes of the total.

    Mean alpha[k] over the sum of alpha, mode (alpha[k] - 1) over the sum of those for alpha above
    1; the parts are the last axis. Source: Bishop (2006), equation 2.38; scipy.stats.dirichlet.
    """
    whole = gamma_function(Sum(alpha[j], j))
    return whole * Product(x[k] ** (alpha[k] - 1) / gamma_function(alpha[k]), k)


@family(torch="MultivariateNormal(mu, scale_tril=L)")
def multivariate_normal(
    x: Vector(Real), mu: Vector(Real), diag: Vector(Positive), off: Below(Real)
):
    """A vector of normal errors that move together: squared error in whitened coordinates.

    Mean and mode mu, covariance L L^T, where L is lower-triangular with the diagonal diag and below
    it off, row by row; the entries are the last axis. Source: Bishop (2006), equation 2.43.
    """
    z = let("z", solution(x[k] - mu[k], diag[k], off))
    return Product(exp(-(z**2) / 2) / (diag[k] * sqrt(2 * pi)), k)
