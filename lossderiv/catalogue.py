"""TABLE of densities, in teaching order. A row is the density as a textbook prints it.

The signature is the declaration: the data first, then the parameters with their domains. No row
says anything about losses, gradients or stability: those are derived.

A docstring has four parts, which the Atlas sets and the tests hold against other computations: the
family's sentence; its mean and variance, then what else is known; ``Source:``; and its counterparts
in ``torch.distributions``, ``scipy.stats`` and ``sympy.stats``, called with the parameters of the
signature, so that the call shows their convention, or ``none``.
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


def family(function: Callable) -> Density:
    """Enter a density into the table."""
    FAMILIES[function.__name__] = density_of(function)
    return FAMILIES[function.__name__]


@family
def normal(x: Real, mu: Real, sigma: Positive):
    """Errors that add up from many small causes: squared error, in units of a width.

    Mean mu; variance sigma²; median and mode mu.
    Source: Bishop (2006), equation 1.46.
    torch: Normal(mu, sigma); scipy: norm(mu, sigma); sympy: Normal(mu, sigma).
    """
    z = let("z", (x - mu) / sigma)
    return exp(-(z**2) / 2) / (sigma * sqrt(2 * pi))


@family
def bernoulli(x: Binary, p: Unit):
    """One coin flip: x is 1 with probability p and 0 otherwise.

    Mean p; variance p (1 - p).
    Source: Bishop (2006), equation 2.2.
    torch: Bernoulli(p); scipy: bernoulli(p); sympy: Bernoulli(p).
    """
    return p**x * (1 - p) ** (1 - x)


@family
def continuous_bernoulli(x: Unit, lam: Unit):
    """The coin flip's formula on grey values in [0, 1], with the normaliser that it then needs.

    Mean 1/(1 - exp(-eta)) - 1/eta with eta = log(lam/(1 - lam));
    variance 1/eta² - 1/(2 sinh(eta/2))²; 1/2 and 1/12 in the limit lam = 1/2.
    Source: Loaiza-Ganem and Cunningham (2019), equation 1, whose normaliser has atanh(1 - 2 lam)/(1
    - 2 lam): the same number.
    torch: ContinuousBernoulli(lam); scipy: none; sympy: none.
    """
    return 2 * atanh(2 * lam - 1) / (2 * lam - 1) * lam**x * (1 - lam) ** (1 - x)


@family
def laplace(x: Real, mu: Real, b: Positive):
    """Double exponential: absolute error with a learned width.

    Mean mu; variance 2 b²; median and mode mu.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 24.
    torch: Laplace(mu, b); scipy: laplace(mu, b); sympy: Laplace(mu, b).
    """
    z = let("z", (x - mu) / b)
    return exp(-Abs(z)) / (2 * b)


@family
def categorical(x: Category, p: Simplex):
    """One of K classes: x is class k with probability p[k]; classes are the last axis.

    Mean p; variance p (1 - p), both of x written one-hot; mode the largest p.
    Source: Bishop (2006), equation 2.26, with x as a class index.
    torch: Categorical(p); scipy: rv_discrete(values=(range(len(p)), p));
    sympy: FiniteRV(dict(enumerate(p))).
    """
    return p[x]


@family
def logistic(x: Real, mu: Real, s: Positive):
    """A bell with exponential tails, the density of a difference of two logits.

    Mean mu; variance pi² s²/3; median and mode mu.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 23.
    torch: none; scipy: logistic(mu, s); sympy: Logistic(mu, s).
    """
    z = let("z", (x - mu) / s)
    return exp(-z) / (s * (1 + exp(-z)) ** 2)


@family
def gumbel(x: Real, mu: Real, beta: Positive):
    """The largest of many: the limit law of maxima.

    Mean mu + γ beta with γ = 0.5772…, Euler's constant; variance pi² beta²/6; mode mu.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 22.
    torch: Gumbel(mu, beta); scipy: gumbel_r(mu, beta); sympy: Gumbel(beta, mu), the scale first.
    """
    z = let("z", (x - mu) / beta)
    return exp(-z - exp(-z)) / beta


@family
def gumbel_min(x: Real, mu: Real, beta: Positive):
    """The smallest of many: the limit law of minima, the mirror image of the Gumbel density.

    Mean mu - γ beta with γ = 0.5772…, Euler's constant; variance pi² beta²/6; mode mu.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 22.
    torch: none; scipy: gumbel_l(mu, beta); sympy: Gumbel(beta, mu, minimum=True), the scale first.
    """
    z = let("z", (x - mu) / beta)
    return exp(z - exp(z)) / beta


@family
def log_normal(x: Positive, mu: Real, sigma: Positive):
    """A positive quantity whose logarithm is normal: errors that multiply.

    Mean exp(mu + sigma²/2); variance mean² (exp(sigma²) - 1); median exp(mu);
    mode exp(mu - sigma²).
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 14.
    torch: LogNormal(mu, sigma); scipy: lognorm(s=sigma, scale=exp(mu));
    sympy: LogNormal(mu, sigma).
    """
    z = let("z", (log(x) - mu) / sigma)
    return exp(-(z**2) / 2) / (x * sigma * sqrt(2 * pi))


@family
def half_normal(x: NonNegative, sigma: Positive):
    """The size of a normal error whose sign is lost.

    Mean sigma sqrt(2/pi); variance sigma² (1 - 2/pi); mode 0.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 13.
    torch: HalfNormal(sigma); scipy: halfnorm(scale=sigma); sympy: sigma*Chi(1).
    """
    z = let("z", x / sigma)
    return sqrt(2) * exp(-(z**2) / 2) / (sigma * sqrt(pi))


@family
def exponential(x: NonNegative, rate: Positive):
    """Waiting time until an event that comes at a constant rate.

    Mean 1/rate; variance 1/rate²; mode 0.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 19.
    torch: Exponential(rate); scipy: expon(scale=1/rate); sympy: Exponential(rate).
    """
    return rate * exp(-rate * x)


@family
def weibull(x: Positive, scale: Positive, concentration: Positive):
    """Waiting time whose rate of events grows or falls as a power of the time waited.

    Mean scale Γ(1 + 1/concentration); variance scale² Γ(1 + 2/concentration) - mean².
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 21.
    torch: Weibull(scale, concentration); scipy: weibull_min(c=concentration, scale=scale);
    sympy: Weibull(scale, concentration).
    """
    z = let("z", log(x) - log(scale))
    return concentration / x * exp(concentration * z - exp(concentration * z))


@family
def rayleigh(x: Positive, sigma: Positive):
    """The length of a vector in the plane whose two entries are normal errors of one width.

    Mean sigma sqrt(pi/2); variance sigma² (2 - pi/2); mode sigma.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 18.
    torch: Weibull(sqrt(2)*sigma, 2); scipy: rayleigh(scale=sigma); sympy: Rayleigh(sigma).
    """
    z = let("z", x / sigma)
    return x / sigma**2 * exp(-(z**2) / 2)


@family
def log_logistic(x: Positive, alpha: Positive, beta: Positive):
    """A positive quantity whose logarithm is logistic: like the log-normal, with heavier tails.

    Mean alpha (pi/beta)/sin(pi/beta) for beta > 1;
    variance alpha² (2 pi/beta)/sin(2 pi/beta) - mean² for beta > 2; median alpha;
    the larger beta, the narrower.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 23.
    torch: none; scipy: fisk(beta, scale=alpha); sympy: LogLogistic(alpha, beta).
    """
    z = let("z", beta * (log(x) - log(alpha)))
    return beta / x * exp(-z) / (1 + exp(-z)) ** 2


@family
def half_logistic(x: NonNegative, s: Positive):
    """The size of a logistic error whose sign is lost.

    Mean 2 s log(2); variance s² (pi²/3 - 4 log(2)²); mode 0.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 23.
    torch: none; scipy: halflogistic(scale=s); sympy: none.
    """
    z = let("z", x / s)
    return 2 * exp(-z) / (s * (1 + exp(-z)) ** 2)


@family
def asymmetric_laplace(x: Real, mu: Real, b: Positive, tau: Given(Unit)):
    """Absolute error that costs more on one side: mu is the quantile at level tau.

    Mean mu + b (1 - 2 tau)/(tau (1 - tau)); variance b² (1 - 2 tau + 2 tau²)/(tau (1 - tau))²;
    mode mu; P(x < mu) = tau, which is given.
    Source: Koenker and Machado (1999), equation 2.
    torch: none; scipy: laplace_asymmetric(sqrt(tau/(1 - tau)), mu, b/sqrt(tau*(1 - tau)));
    sympy: none.
    """
    z = let("z", (x - mu) / b)
    return tau * (1 - tau) / b * exp(-(relu(z) - (1 - tau) * z))


@family
def binomial(x: UpTo("n"), p: Unit, n: Given(Integer(1))):
    """How many of n coin flips show heads; n is given.

    Mean n p; variance n p (1 - p).
    Source: Johnson, Kemp and Kotz (2005), chapter 3.
    torch: Binomial(n, p); scipy: binom(n, p); sympy: Binomial(n, p).
    """
    ways = factorial(n) / (factorial(x) * factorial(n - x))
    return ways * p**x * (1 - p) ** (n - x)


@family
def beta_binomial(x: UpTo("n"), alpha: Positive, beta: Positive, n: Given(Integer(1))):
    """How many of n coin flips show heads, when each series has a coin of its own.

    Mean n alpha/(alpha + beta); variance mean (1 - mean/n) (alpha + beta + n)/(alpha + beta + 1);
    a binomial for large alpha and beta.
    Source: Skellam (1948), section 2.
    torch: none; scipy: betabinom(n, alpha, beta); sympy: BetaBinomial(n, alpha, beta).
    """
    y = let("y", n - x, integer=True, nonnegative=True)
    ways = factorial(x + y) / (factorial(x) * factorial(y))
    return ways * beta_function(alpha + x, beta + y) / beta_function(alpha, beta)


@family
def geometric(x: Count, p: Unit):
    """Failures before the first success.

    Mean (1 - p)/p; variance (1 - p)/p²; mode 0.
    Source: Johnson, Kemp and Kotz (2005), chapter 5.
    torch: Geometric(p); scipy: geom(p, loc=-1), which counts trials;
    sympy: Geometric(p) - 1, which counts trials.
    """
    return p * (1 - p) ** x


@family
def poisson(x: Count, rate: Positive):
    """Events counted in a fixed time, when they come at a constant rate.

    Mean rate; variance rate.
    Source: Johnson, Kemp and Kotz (2005), chapter 4.
    torch: Poisson(rate); scipy: poisson(rate); sympy: Poisson(rate).
    """
    return rate**x * exp(-rate) / factorial(x)


@family
def negative_binomial(x: Count, mu: Positive, alpha: Positive):
    """Counts that vary more than Poisson counts: alpha is the dispersion, 0 in Poisson's limit.

    Mean mu; variance mu + alpha mu².
    Source: Hilbe (2011), equation 8.8, the NB2 model.
    torch: NegativeBinomial(1/alpha, alpha*mu/(1 + alpha*mu));
    scipy: nbinom(1/alpha, 1/(1 + alpha*mu));
    sympy: NegativeBinomial(1/alpha, 1/(1 + alpha*mu)).
    """
    ways = gamma_function(x + 1 / alpha) / (factorial(x) * gamma_function(1 / alpha))
    return ways * (alpha * mu) ** x / (1 + alpha * mu) ** (x + 1 / alpha)


@family
def negative_binomial_logits(x: Count, r: Positive, p: Unit):
    """Successes before the r-th failure, p being the probability of a success, as in torch.

    Mean r p/(1 - p); variance r p/(1 - p)².
    Source: Johnson, Kemp and Kotz (2005), chapter 5.
    torch: NegativeBinomial(r, p); scipy: nbinom(r, 1 - p), which counts failures before successes;
    sympy: NegativeBinomial(r, 1 - p), which counts failures before successes.
    """
    ways = gamma_function(x + r) / (factorial(x) * gamma_function(r))
    return ways * (1 - p) ** r * p**x


@family
def cauchy(x: Real, mu: Real, gamma: Positive):
    """Tails so heavy that there is no mean: an outlier pulls less the further out it lies.

    No mean; no variance; median and mode mu.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 16.
    torch: Cauchy(mu, gamma); scipy: cauchy(mu, gamma); sympy: Cauchy(mu, gamma).
    """
    z = let("z", (x - mu) / gamma)
    return 1 / (pi * gamma * (1 + z**2))


@family
def half_cauchy(x: NonNegative, gamma: Positive):
    """The size of a Cauchy error whose sign is lost: a usual prior for a scale.

    No mean; no variance; median gamma; mode 0.
    Source: Gelman (2006), section 3.2.
    torch: HalfCauchy(gamma); scipy: halfcauchy(scale=gamma); sympy: none.
    """
    z = let("z", x / gamma)
    return 2 / (pi * gamma * (1 + z**2))


@family
def student_t(x: Real, mu: Real, sigma: Positive, nu: Positive):
    """Between the normal and the Cauchy density: nu says how heavy the tails are.

    Mean mu for nu > 1; variance sigma² nu/(nu - 2) for nu > 2; median and mode mu.
    Source: Lange, Little and Taylor (1989), section 2.
    torch: StudentT(nu, mu, sigma); scipy: t(nu, mu, sigma); sympy: mu + sigma*StudentT(nu).
    """
    z = let("z", (x - mu) / sigma)
    peak = gamma_function((nu + 1) / 2) / (gamma_function(nu / 2) * sqrt(nu * pi) * sigma)
    return peak * (1 + z**2 / nu) ** (-(nu + 1) / 2)


@family
def hyperbolic_secant(x: Real, mu: Real, s: Positive):
    """Squared error near the middle, absolute error in the tails: the log-cosh loss.

    Mean mu; variance pi² s²/4; median and mode mu.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 23.
    torch: none; scipy: hypsecant(mu, s); sympy: none.
    """
    z = let("z", (x - mu) / s)
    return 1 / (pi * s * cosh(z))


@family
def gamma(x: Positive, concentration: Positive, rate: Positive):
    """Waiting time until the last of several events: positive, with constant relative spread.

    Mean concentration/rate; variance concentration/rate².
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 17.
    torch: Gamma(concentration, rate); scipy: gamma(concentration, scale=1/rate);
    sympy: Gamma(concentration, 1/rate).
    """
    k = concentration
    return rate**k / gamma_function(k) * x ** (k - 1) * exp(-rate * x)


@family
def inverse_gamma(x: Positive, concentration: Positive, rate: Positive):
    """The reciprocal of a gamma variable: the usual prior for a variance.

    Mean rate/(concentration - 1) for concentration > 1;
    variance mean²/(concentration - 2) for concentration > 2; mode rate/(concentration + 1).
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 17.
    torch: InverseGamma(concentration, rate); scipy: invgamma(concentration, scale=rate);
    sympy: GammaInverse(concentration, rate).
    """
    k = concentration
    return rate**k / gamma_function(k) * x ** (-k - 1) * exp(-rate / x)


@family
def logit_normal(x: Interior, mu: Real, sigma: Positive):
    """A number strictly between 0 and 1 whose logit is normal.

    Mean and variance without closed form; median logistic(mu).
    Source: Atchison and Shen (1980), equation 1.1, for two parts.
    torch: none; scipy: none; sympy: LogitNormal(mu, sigma).
    """
    z = let("z", (logit(x) - mu) / sigma)
    return exp(-(z**2) / 2) / (sigma * sqrt(2 * pi) * x * (1 - x))


@family
def beta(x: Interior, alpha: Positive, beta: Positive):
    """A share: how much of a whole goes to one of two parts.

    Mean alpha/(alpha + beta); variance mean (1 - mean)/(alpha + beta + 1);
    mode (alpha - 1)/(alpha + beta - 2) for both above 1.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 25.
    torch: Beta(alpha, beta); scipy: beta(alpha, beta); sympy: Beta(alpha, beta).
    """
    return x ** (alpha - 1) * (1 - x) ** (beta - 1) / beta_function(alpha, beta)


@family
def beta_mean(x: Interior, mu: Proportion, phi: Positive):
    """The beta density of beta regression: a mean, and a precision that narrows it.

    Mean mu; variance mu (1 - mu)/(1 + phi).
    Source: Ferrari and Cribari-Neto (2004), equation 4.
    torch: Beta(mu*phi, (1 - mu)*phi); scipy: beta(mu*phi, (1 - mu)*phi);
    sympy: Beta(mu*phi, (1 - mu)*phi).
    """
    a, b = mu * phi, (1 - mu) * phi
    return x ** (a - 1) * (1 - x) ** (b - 1) / beta_function(a, b)


@family
def kumaraswamy(x: Interior, a: Positive, b: Positive):
    """Much like the beta density, with an inverse CDF in closed form: easy to draw from.

    Mean b B(1 + 1/a, b); variance b B(1 + 2/a, b) - mean²;
    mode ((a - 1)/(a b - 1))^(1/a) for a and b above 1.
    Source: Kumaraswamy (1980), equation 2.
    torch: Kumaraswamy(a, b); scipy: none; sympy: Kumaraswamy(a, b).
    """
    return a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)


@family
def inverse_gaussian(x: Positive, mu: Positive, lam: Positive):
    """The time a drifting particle needs to cover a distance: positive, skewed, finite moments.

    Mean mu; variance mu³/lam.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 15.
    torch: none; scipy: invgauss(mu/lam, scale=lam); sympy: GaussianInverse(mu, lam).
    """
    z = let("z", (x / mu - 1) * sqrt(lam / x))
    return sqrt(lam) * exp(-(z**2) / 2) / (sqrt(2 * pi) * x ** Rational(3, 2))


@family
def von_mises(x: Angle, mu: Angle, kappa: Positive):
    """The normal density of directions: an angle in radians, gathered around mu.

    Mean direction mu; circular variance 1 - I1(kappa)/I0(kappa), about 1/(2 kappa) for large kappa;
    mode mu.
    Source: Mardia and Jupp (2000), equation 3.5.17.
    torch: VonMises(mu, kappa); scipy: vonmises(kappa, mu);
    sympy: VonMises(mu, kappa), angles from 0 to 2 pi.
    """
    d = let("d", x - mu)
    return exp(kappa * cos(d)) / (2 * pi * besseli(0, kappa))


@family
def generalized_normal(x: Real, mu: Real, alpha: Positive, beta: Given(Positive)):
    """The error raised to a power: absolute for beta = 1, squared for 2, nearly flat for many.

    Mean mu; variance alpha² Γ(3/beta)/Γ(1/beta); median and mode mu; beta is given.
    Source: Nadarajah (2005), equation 1.
    torch: none; scipy: gennorm(beta, mu, alpha); sympy: ExponentialPower(mu, alpha, beta).
    """
    z = let("z", (x - mu) / alpha)
    return exp(-(Abs(z) ** beta)) / (2 * alpha * gamma_function(1 + 1 / beta))


@family
def huber(x: Real, mu: Real, sigma: Positive, delta: Given(Positive)):
    """Normal in the middle, Laplace in the tails: squared error that outliers cannot dominate.

    Mean mu;
    variance sigma² (1 + q (1 + 2/delta²)) with q = 1/(1 + delta sqrt(pi/2) erf(delta/sqrt(2))
    exp(delta²/2)), the share of the tails;
    median and mode mu; delta, in units of sigma, is where the tails begin, and is given.
    Source: Huber (1964), section 5, with the normaliser that makes it a density.
    torch: none; scipy: none; sympy: none.
    """
    z = let("z", (x - mu) / sigma)
    middle, tails = sqrt(2 * pi) * erf(delta / sqrt(2)), 2 * exp(-(delta**2) / 2) / delta
    return exp(-huber_error(z, delta)) / (sigma * (middle + tails))


@family
def pareto(x: Positive, scale: Positive, alpha: Positive):
    """Sizes without a typical size: above a least value the tail falls as a power.

    Support x >= scale; mean alpha scale/(alpha - 1) for alpha > 1;
    variance mean²/(alpha (alpha - 2)) for alpha > 2; mode scale.
    Source: Johnson, Kotz and Balakrishnan (1994), chapter 20.
    torch: Pareto(scale, alpha); scipy: pareto(alpha, scale=scale); sympy: Pareto(scale, alpha).
    """
    z = let("z", log(x) - log(scale))
    return inside(x - scale) * alpha / x * exp(-alpha * z)


@family
def generalized_pareto(x: NonNegative, sigma: Positive, xi: Real):
    """Excesses over a high threshold: exponential for xi = 0, a power tail above, an end below.

    Support 1 + xi x/sigma > 0; mean sigma/(1 - xi) for xi < 1;
    variance mean²/(1 - 2 xi) for xi < 1/2.
    Source: Pickands (1975), section 3.
    torch: GeneralizedPareto(0, sigma, xi); scipy: genpareto(xi, scale=sigma); sympy: none.
    """
    z = let("z", x / sigma)
    return inside(1 + xi * z) * Abs(1 + xi * z) ** (-1 - 1 / xi) / sigma


@family
def uniform(x: Real, low: Real, width: Positive):
    """Anything between two ends, nothing outside: the loss is blind to where a target lies.

    Mean low + width/2; variance width²/12;
    the gradient never sees the target, and a target outside costs infinitely much.
    Source: Johnson, Kotz and Balakrishnan (1995), chapter 26.
    torch: Uniform(low, low + width); scipy: uniform(low, width); sympy: Uniform(low, low + width).
    """
    z = let("z", (x - low) / width)
    return inside(z) * inside(1 - z) / width


@family
def multivariate_normal_diagonal(x: Vector(Real), mu: Vector(Real), sigma: Vector(Positive)):
    """A vector of independent normal errors, each with a width of its own.

    Mean mu; variance sigma²; mode mu; the entries are independent, on the last axis.
    Source: Bishop (2006), equation 2.43 with a diagonal covariance.
    torch: Independent(Normal(mu, sigma), 1); scipy: multivariate_normal(mu, diag(sigma**2));
    sympy: MultivariateNormal(mu, diag(sigma**2)).
    """
    z = let("z", (x[k] - mu[k]) / sigma[k])
    return Product(exp(-(z**2) / 2) / (sigma[k] * sqrt(2 * pi)), k)


@family
def ordered_logistic(x: UpTo("cutpoints"), mu: Real, cutpoints: Given(Increasing)):
    """A grade from 0 up: where a logistic variable around mu falls among given cutpoints.

    Mean sum(logistic(mu - cutpoints));
    variance sum((2 k + 1) logistic(mu - cutpoints)) - mean² with k = 0, 1, …;
    P(x <= k) = logistic(cutpoints[k] - mu), so one more grade than cutpoints.
    Source: McCullagh (1980), section 2.
    torch: none; scipy: none; sympy: none.
    """
    return sigmoid(edge(cutpoints, x) - mu) - sigmoid(edge(cutpoints, x - 1) - mu)


@family
def multinomial(x: Counts("n"), p: Simplex, n: Given(Integer(1))):
    """How often each of K classes came up in n independent draws; n is given.

    Mean n p; variance n p (1 - p); the classes are the last axis; n is given.
    Source: Bishop (2006), equation 2.34.
    torch: Multinomial(n, p); scipy: multinomial(n, p); sympy: Multinomial(n, *p).
    """
    return factorial(n) * Product(p[k] ** x[k] / factorial(x[k]), k)


@family
def dirichlet(x: Shares, alpha: Vector(Positive)):
    """Shares of a whole: what a gamma variable for each part makes of the total.

    Mean alpha/sum(alpha); variance mean (1 - mean)/(1 + sum(alpha));
    mode (alpha - 1)/sum(alpha - 1) for alpha above 1; the parts are the last axis.
    Source: Bishop (2006), equation 2.38.
    torch: Dirichlet(alpha); scipy: dirichlet(alpha); sympy: MultivariateBeta(*alpha).
    """
    whole = gamma_function(Sum(alpha[j], j))
    return whole * Product(x[k] ** (alpha[k] - 1) / gamma_function(alpha[k]), k)


@family
def multivariate_normal(
    x: Vector(Real), mu: Vector(Real), diag: Vector(Positive), off: Below(Real)
):
    """A vector of normal errors that move together: squared error in whitened coordinates.

    Mean mu;
    covariance L Lᵀ, where L is lower-triangular with the diagonal diag and below it off, row by
    row;
    mode mu; the entries are the last axis.
    Source: Bishop (2006), equation 2.43.
    torch: MultivariateNormal(mu, scale_tril=L); scipy: multivariate_normal(mu, L @ L.T);
    sympy: MultivariateNormal(mu, L*L.T).
    """
    z = let("z", solution(x[k] - mu[k], diag[k], off))
    return Product(exp(-(z**2) / 2) / (diag[k] * sqrt(2 * pi)), k)
