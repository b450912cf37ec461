"""How the Atlas calls things: titles of families, names of parameters, numbers, groups of data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lossderiv.symbolic.records import Density, Domain
from lossderiv.symbolic.render import tex

# People keep their capital letter inside a title; the first word has one anyway.
SPELLED = {
    "student_t": "Student's t",
    "half_normal": "Half-normal",
    "half_cauchy": "Half-Cauchy",
    "half_logistic": "Half-logistic",
    "log_logistic": "Log-logistic",
    "log_normal": "Log-normal",
    "logit_normal": "Logit-normal",
    "von_mises": "Von Mises",
    "continuous_bernoulli": "Continuous Bernoulli",
    "asymmetric_laplace": "Asymmetric Laplace",
    "gumbel": "Gumbel (maximum)",
    "gumbel_min": "Gumbel (minimum)",
    "beta_mean": "Beta, by mean and precision",
    "beta_binomial": "Beta-binomial",
    "negative_binomial": "Negative binomial, by mean and dispersion",
    "negative_binomial_logits": "Negative binomial, by count and logit",
    "generalized_pareto": "Generalized Pareto",
    "inverse_gaussian": "Inverse Gaussian",
    "multivariate_normal": "Multivariate normal",
    "multivariate_normal_diagonal": "Multivariate normal, diagonal",
    "zero_inflated_poisson": "Zero-inflated Poisson",
}

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "eta": "η",
    "theta": "θ",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "xi": "ξ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "phi": "φ",
}


def title(family: str) -> str:
    """``"student_t"`` -> ``"Student's t"``; a family without a row in SPELLED as it is written."""
    return SPELLED.get(family, family.replace("_", " ").capitalize())


def symbol(name: str) -> str:
    """A parameter or raw output as a reader without TeX sees it: ``eta_mu`` -> ``η_μ``."""
    plain = re.sub(r"[{}$]|\\(?:operatorname|mathrm|text)", "", tex_name(name))
    return re.sub(r"\\([a-z]+)", lambda m: GREEK.get(m[1], m[1]), plain)


def tex_name(name: str) -> str:
    """The TeX of a parameter's or an output's name, as derivations set it."""
    import sympy

    return tex(sympy.Symbol(name))


WORD = r"(?<![A-Za-z0-9_.])(?:{})(?![A-Za-z0-9_(])"  # an exponent such as ² may follow


def with_symbols(text: str, names: Iterable[str]) -> str:
    """Prose with Greek letters for the parameters that have one, whole words only.

    >>> with_symbols("variance sigma² nu/(nu - 2)", ["sigma", "nu"])
    'variance σ² ν/(ν - 2)'
    """
    for name in (n for n in names if n in GREEK or n == "lam"):
        text = re.sub(WORD.format(re.escape(name)), symbol(name), text)
    return re.sub(WORD.format("pi|eta"), lambda m: GREEK[m[0]], text)


def number(value: object) -> str:
    """A number as one writes it, 0 for what is nearly 0; several in parentheses."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(number(v) for v in value)})"
    if abs(float(value)) < 1e-4:
        return "0"
    text = f"{float(value):.2g}" if abs(float(value)) < 100 else f"{float(value):.4g}"
    return text.replace("-", "−")


def assignments(values: Mapping[str, object], style: str = "tex") -> str:
    """``μ = 0, σ = 1``, in TeX or as plain text."""
    if style == "tex":
        return ", ".join(
            f"${tex_name(n)} = {number(v).replace('−', '-')}$" for n, v in values.items()
        )
    return ", ".join(f"{symbol(n)} = {number(v)}" for n, v in values.items())


GROUPS = (
    ("The real line", "Errors of either sign, and anything else without limits."),
    ("Positive numbers", "Waiting times, sizes, intensities."),
    ("Between two limits", "Grey values, fractions, angles."),
    ("Counts", "Events, successes, photons."),
    ("Classes", "Yes or no, one of several, ordered levels."),
    ("Vectors", "Several numbers that belong together, along the last axis."),
)


def group(density: Density) -> str:
    """The heading under which the index lists a family, from the domain of its data."""
    return GROUPS[4 if graded(density) else _group(density.data)][0]


def graded(density: Density) -> bool:
    """Whether the data are grades: as many as given cutpoints make."""
    end = density.data.high_is
    return bool(end) and density.parameters[end].shape == "increasing"


def _group(data: Domain) -> int:
    if data.shape == "category" or (data.integer and (data.low, data.high) == (0, 1)):
        return 4
    if data.shape != "scalar":
        return 5
    if data.integer:
        return 3
    if data.low > float("-inf"):
        return 2 if data.high < float("inf") else 1
    return 0 if data.high == float("inf") else 2
