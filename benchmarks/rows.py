"""The table: every family's truth, inputs and counterparts, one row each.

A row says how raw outputs become parameters, which textbook formula judges it, how its cases are
drawn, and what torch has to offer in its place. A new family adds a row here and a formula in
`textbook`; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributions as D
import torch.nn.functional as F
from mpmath import mp, mpf

from benchmarks import draws, textbook
from benchmarks.row import (
    CONTINUOUS_REAL,
    DISCRETE,
    LABEL,
    Row,
    location,
    log_of,
    logit_of,
    logits_of,
    real,
)

# --- where targets may lie ----------------------------------------------------------------------


def positive(theta, x):
    return x > 0


def inside_unit(theta, x):
    return 0 < x < 1


def on_closed_unit(theta, x):
    return 0 <= x <= 1


def off_the_kink(theta, x):
    return x != theta[0]


def lower_triangle(logs, off):
    """A batch of Cholesky factors from log diagonals and strictly lower entries."""
    lower = torch.diag_embed(logs.exp())
    if off is not None:
        rows, columns = torch.tril_indices(logs.shape[-1], logs.shape[-1], -1)
        lower = lower.clone()
        lower[..., rows, columns] = off
    return lower


def off_diagonal(size: int) -> int:
    return size * (size - 1) // 2


def lgamma_offset(x):
    return mp.loggamma(x + 1).real


def half_log_tau(x):
    return mp.log(2 * mp.pi) / 2


CUTPOINTS = (-2.0, -0.5, 0.5, 2.0)
SECOND_IS_SCALE = {"scale": lambda mu, s, *rest: s}


ROWS: tuple[Row, ...] = (
    # the real line
    Row(
        "normal",
        (location(), log_of("sigma")),
        textbook.normal,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        twin=lambda mu, s: D.Normal(mu, s.exp(), validate_args=False),
        peer=lambda mu, s, x: F.gaussian_nll_loss(mu, x, (2 * s).exp(), reduction="none"),
        peer_offset=half_log_tau,
        **SECOND_IS_SCALE,
    ),
    Row(
        "normal, sigma = 1",
        (location(),),
        lambda mu, x: textbook.normal(mu, mpf(1), x),
        draws.location,
        family="normal",
        fixed={"sigma": 1},
        target=CONTINUOUS_REAL,
        twin=lambda mu: D.Normal(mu, torch.ones_like(mu), validate_args=False),
        peer=lambda mu, x: F.mse_loss(mu, x, reduction="none") / 2,
        peer_offset=half_log_tau,
    ),
    Row(
        "laplace",
        (location(), log_of("b")),
        textbook.laplace,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        smooth=off_the_kink,
        twin=lambda mu, b: D.Laplace(mu, b.exp(), validate_args=False),
        **SECOND_IS_SCALE,
    ),
    Row(
        "laplace, b = 1",
        (location(),),
        lambda mu, x: textbook.laplace(mu, mpf(1), x),
        draws.location,
        family="laplace",
        fixed={"b": 1},
        target=CONTINUOUS_REAL,
        smooth=off_the_kink,
        twin=lambda mu: D.Laplace(mu, torch.ones_like(mu), validate_args=False),
        peer=lambda mu, x: F.l1_loss(mu, x, reduction="none"),
        peer_offset=lambda x: mp.log(2),
    ),
    Row(
        "logistic",
        (location(), log_of("s")),
        textbook.logistic,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        twin=lambda mu, s: D.TransformedDistribution(
            D.Uniform(torch.zeros_like(mu), torch.ones_like(mu), validate_args=False),
            [D.SigmoidTransform().inv, D.AffineTransform(mu, s.exp())],
            validate_args=False,
        ),
        **SECOND_IS_SCALE,
    ),
    Row(
        "cauchy",
        (location(), log_of("gamma")),
        textbook.cauchy,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        twin=lambda mu, s: D.Cauchy(mu, s.exp(), validate_args=False),
        **SECOND_IS_SCALE,
    ),
    Row(
        "student_t",
        (location(), log_of("sigma"), log_of("nu")),
        textbook.student_t,
        draws.heavy,
        target=CONTINUOUS_REAL,
        twin=lambda mu, s, nu: D.StudentT(nu.exp(), mu, s.exp(), validate_args=False),
        gradient_bound=64.0,
        **SECOND_IS_SCALE,
    ),
    Row(
        "student_t, nu = 3",
        (location(), log_of("sigma")),
        lambda mu, sigma, x: textbook.student_t(mu, sigma, 3, x),
        draws.location_scale,
        family="student_t",
        fixed={"nu": 3},
        target=CONTINUOUS_REAL,
        twin=lambda mu, s: D.StudentT(3.0, mu, s.exp(), validate_args=False),
        **SECOND_IS_SCALE,
    ),
    Row(
        "gumbel",
        (location(), log_of("beta")),
        textbook.gumbel,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        twin=lambda mu, s: D.Gumbel(mu, s.exp(), validate_args=False),
        **SECOND_IS_SCALE,
    ),
    Row(
        "gumbel_min",
        (location(), log_of("beta")),
        textbook.gumbel_min,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        **SECOND_IS_SCALE,
    ),
    Row(
        "asymmetric_laplace",
        (location(), log_of("b")),
        textbook.asymmetric_laplace,
        draws.location_scale,
        fixed={"tau": 0.75},
        target=CONTINUOUS_REAL,
        smooth=off_the_kink,
        **SECOND_IS_SCALE,
    ),
    Row(
        "generalized_normal",
        (location(), log_of("alpha")),
        textbook.generalized_normal,
        draws.location_scale,
        fixed={"beta": 1.5},
        target=CONTINUOUS_REAL,
        smooth=off_the_kink,
        **SECOND_IS_SCALE,
    ),
    Row(
        "huber",
        (location(), log_of("sigma")),
        textbook.huber,
        draws.location_scale,
        fixed={"delta": 1},
        target=CONTINUOUS_REAL,
        **SECOND_IS_SCALE,
    ),
    Row(
        "huber, sigma = 1",
        (location(),),
        lambda mu, x: textbook.huber(mu, mpf(1), x, 1),
        draws.location,
        family="huber",
        fixed={"sigma": 1, "delta": 1},
        target=CONTINUOUS_REAL,
        peer=lambda mu, x: F.huber_loss(mu, x, reduction="none"),
        peer_offset=lambda x: textbook.huber(mpf(0), mpf(1), mpf(0), 1),
    ),
    Row(
        "hyperbolic_secant",
        (location(), log_of("s")),
        textbook.hyperbolic_secant,
        draws.location_scale,
        target=CONTINUOUS_REAL,
        **SECOND_IS_SCALE,
    ),
    Row(
        "uniform",
        (location("low"), log_of("width")),
        textbook.uniform,
        draws.between,
        target=CONTINUOUS_REAL,
        inside=lambda theta, x: theta[0] < x < theta[0] + theta[1],
        twin=lambda low, s: D.Uniform(low, low + s.exp(), validate_args=False),
        **SECOND_IS_SCALE,
    ),
    # the positive half-line
    Row(
        "half_normal",
        (log_of("sigma"),),
        textbook.half_normal,
        draws.scale,
        inside=positive,
        twin=lambda s: D.HalfNormal(s.exp(), validate_args=False),
    ),
    Row(
        "half_cauchy",
        (log_of("gamma"),),
        textbook.half_cauchy,
        draws.scale,
        inside=positive,
        twin=lambda s: D.HalfCauchy(s.exp(), validate_args=False),
    ),
    Row(
        "log_normal",
        (location(), log_of("sigma")),
        textbook.log_normal,
        draws.log_location_scale,
        inside=positive,
        twin=lambda mu, s: D.LogNormal(mu, s.exp(), validate_args=False),
        **SECOND_IS_SCALE,
    ),
    Row(
        "exponential",
        (log_of("rate"),),
        textbook.exponential,
        draws.rate,
        inside=positive,
        twin=lambda r: D.Exponential(r.exp(), validate_args=False),
    ),
    Row(
        "gamma",
        (log_of("concentration"), log_of("rate")),
        textbook.gamma,
        draws.shape_rate,
        inside=positive,
        twin=lambda a, r: D.Gamma(a.exp(), r.exp(), validate_args=False),
    ),
    Row(
        "inverse_gamma",
        (log_of("concentration"), log_of("rate")),
        textbook.inverse_gamma,
        draws.shape_rate_inverse,
        inside=positive,
        twin=lambda a, r: D.InverseGamma(a.exp(), r.exp(), validate_args=False),
    ),
    Row(
        "weibull",
        (log_of("scale"), log_of("concentration")),
        textbook.weibull,
        draws.scale_shape,
        inside=positive,
        twin=lambda s, k: D.Weibull(s.exp(), k.exp(), validate_args=False),
    ),
    Row("rayleigh", (log_of("sigma"),), textbook.rayleigh, draws.scale, inside=positive),
    Row(
        "log_logistic",
        (log_of("alpha"), log_of("beta")),
        textbook.log_logistic,
        draws.scale_shape,
        inside=positive,
    ),
    Row("half_logistic", (log_of("s"),), textbook.half_logistic, draws.scale, inside=positive),
    Row(
        "pareto",
        (log_of("scale"), log_of("alpha")),
        textbook.pareto,
        draws.pareto,
        inside=lambda theta, x: x > theta[0],
        twin=lambda s, a: D.Pareto(s.exp(), a.exp(), validate_args=False),
    ),
    Row(
        "generalized_pareto",
        (log_of("sigma"), real("xi")),
        textbook.generalized_pareto,
        draws.generalized_pareto,
        inside=lambda theta, x: x > 0 and theta[1] != 0 and 1 + theta[1] * x / theta[0] > 0,
        twin=lambda s, xi: D.GeneralizedPareto(
            torch.zeros_like(s), s.exp(), xi, validate_args=False
        ),
        twin_dtypes=("float32",),  # torch 2.15 compares it with a float32 0 and raises otherwise
        gradient_bound=64.0,
    ),
    Row(
        "inverse_gaussian",
        (log_of("mu"), log_of("lam")),
        textbook.inverse_gaussian,
        draws.scale_shape,
        inside=positive,
    ),
    # the unit interval and the circle
    Row(
        "logit_normal",
        (location(), log_of("sigma")),
        textbook.logit_normal,
        draws.logit_normal,
        inside=inside_unit,
        twin=lambda mu, s: D.TransformedDistribution(
            D.Normal(mu, s.exp(), validate_args=False), [D.SigmoidTransform()], validate_args=False
        ),
        **SECOND_IS_SCALE,
    ),
    Row(
        "beta",
        (log_of("alpha"), log_of("beta")),
        textbook.beta,
        draws.two_shapes,
        inside=inside_unit,
        twin=lambda a, b: D.Beta(a.exp(), b.exp(), validate_args=False),
        gradient_bound=64.0,
    ),
    Row(
        "beta_mean",
        (logit_of("mu"), log_of("phi")),
        textbook.beta_mean,
        draws.mean_precision,
        inside=inside_unit,
        twin=lambda m, s: D.Beta(
            torch.sigmoid(m) * s.exp(), torch.sigmoid(-m) * s.exp(), validate_args=False
        ),
        gradient_bound=64.0,
    ),
    Row(
        "kumaraswamy",
        (log_of("a"), log_of("b")),
        textbook.kumaraswamy,
        draws.two_shapes,
        inside=inside_unit,
        twin=lambda a, b: D.Kumaraswamy(a.exp(), b.exp(), validate_args=False),
    ),
    Row(
        "continuous_bernoulli",
        (logit_of("lam"),),
        textbook.continuous_bernoulli,
        draws.logit_grey,
        inside=on_closed_unit,
        twin=lambda eta: D.ContinuousBernoulli(logits=eta, validate_args=False),
    ),
    Row(
        "von_mises",
        (location(), log_of("kappa")),
        textbook.von_mises,
        draws.angle,
        target=CONTINUOUS_REAL,
        scale=lambda mu, kappa: 1 / mp.sqrt(1 + kappa),
        inside=lambda theta, x: -mp.pi < x < mp.pi,
        twin=lambda mu, k: D.VonMises(mu, k.exp(), validate_args=False),
        gradient_bound=64.0,
    ),
    # counts and classes
    Row(
        "bernoulli",
        (logit_of(),),
        textbook.bernoulli,
        draws.logit_binary,
        target=DISCRETE,
        twin=lambda eta: D.Bernoulli(logits=eta, validate_args=False),
        peer=lambda eta, x: F.binary_cross_entropy_with_logits(eta, x, reduction="none"),
    ),
    Row(
        "bernoulli, grey targets",
        (logit_of(),),
        textbook.bernoulli,
        draws.logit_grey,
        family="bernoulli",
        settings={"validate": False},
        inside=on_closed_unit,
        twin=lambda eta: D.Bernoulli(logits=eta, validate_args=False),
        peer=lambda eta, x: F.binary_cross_entropy_with_logits(eta, x, reduction="none"),
    ),
    *(
        Row(
            f"binomial, n = {n}",
            (logit_of(),),
            textbook.binomial,
            draws.trials(n),
            family="binomial",
            fixed={"n": n},
            target=DISCRETE,
            inside=lambda theta, x, n=n: 0 <= x <= n,
            twin=lambda eta, n=n: D.Binomial(n, logits=eta, validate_args=False),
        )
        for n in (10, 255, 1_000_000)
    ),
    Row(
        "beta_binomial",
        (log_of("alpha"), log_of("beta")),
        textbook.beta_binomial,
        draws.two_shapes_trials(255),
        fixed={"n": 255},
        target=DISCRETE,
        inside=lambda theta, x: 0 <= x <= 255,
        gradient_bound=64.0,
    ),
    Row(
        "geometric",
        (logit_of(),),
        textbook.geometric,
        draws.geometric,
        target=DISCRETE,
        twin=lambda eta: D.Geometric(logits=eta, validate_args=False),
    ),
    Row(
        "poisson",
        (log_of("rate"),),
        textbook.poisson,
        draws.poisson,
        target=DISCRETE,
        twin=lambda eta: D.Poisson(eta.exp(), validate_args=False),
        peer=lambda eta, x: F.poisson_nll_loss(eta, x, log_input=True, reduction="none"),
        peer_offset=lgamma_offset,
    ),
    Row(
        "negative_binomial",
        (log_of("mu"), log_of("alpha")),
        textbook.negative_binomial,
        draws.mean_dispersion,
        target=DISCRETE,
        twin=lambda m, a: D.NegativeBinomial((-a).exp(), logits=m + a, validate_args=False),
        gradient_bound=64.0,
    ),
    Row(
        "negative_binomial_logits",
        (log_of("r"), logit_of()),
        textbook.negative_binomial_logits,
        draws.count_logits,
        target=DISCRETE,
        twin=lambda r, eta: D.NegativeBinomial(r.exp(), logits=eta, validate_args=False),
        gradient_bound=64.0,
    ),
    Row(
        "ordered_logistic",
        (real("mu"),),
        textbook.ordered_logistic,
        draws.level(len(CUTPOINTS) + 1),
        fixed={"cutpoints": CUTPOINTS},
        target=LABEL,
        extra_digits=450,  # a difference of logistics that both round to 1 at |eta| = 1e3
    ),
    Row(
        "categorical",
        (logits_of("p", 5),),
        textbook.categorical,
        draws.label(5),
        target=LABEL,
        twin=lambda eta: D.Categorical(logits=eta, validate_args=False),
        peer=lambda eta, x: F.cross_entropy(eta, x, reduction="none"),
    ),
    # vectors
    Row(
        "dirichlet",
        (log_of("alpha", 3),),
        textbook.dirichlet,
        draws.dirichlet(3),
        target_width=3,
        inside=lambda theta, x: all(0 < t < 1 for t in x),
        twin=lambda a: D.Dirichlet(a.exp(), validate_args=False),
        gradient_bound=64.0,
    ),
    Row(
        "multinomial",
        (logits_of("p", 4),),
        textbook.multinomial,
        draws.multinomial(4, 20),
        fixed={"n": 20},
        target=DISCRETE,
        target_width=4,
        twin=lambda eta: D.Multinomial(20, logits=eta, validate_args=False),
        inside=lambda theta, x: sum(x) == 20,
    ),
    Row(
        "multivariate_normal",
        (location("mu", 3), log_of("diag", 3), real("off", off_diagonal(3))),
        textbook.multivariate_normal,
        draws.vector(3, full=True),
        target=CONTINUOUS_REAL,
        target_width=3,
        scale=lambda mu, diag, off: diag,
        twin=lambda mu, logs, off: D.MultivariateNormal(
            mu, scale_tril=lower_triangle(logs, off), validate_args=False
        ),
        twin_dtypes=("float32", "float64"),  # torch has no triangular solve in bfloat16
    ),
    Row(
        "multivariate_normal_diagonal",
        (location("mu", 3), log_of("sigma", 3)),
        textbook.independent_normal,
        draws.vector(3, full=False),
        target=CONTINUOUS_REAL,
        target_width=3,
        scale=lambda mu, sigma: sigma,
        twin=lambda mu, logs: D.Independent(
            D.Normal(mu, logs.exp(), validate_args=False), 1, validate_args=False
        ),
    ),
)

BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}
FIRST_FIVE = ("normal", "bernoulli", "laplace", "continuous_bernoulli", "categorical")


def rows_of(family: str) -> tuple[Row, ...]:
    """Every row of a catalogue family; empty if the table has none yet."""
    return tuple(row for row in ROWS if row.catalogue_name == family)
