"""Write a density, read its checked derivation, run the torch loss that is that derivation.

Importing this package imports neither torch nor matplotlib: public names load when first used.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "lossderiv.derivations": ("families", "density", "derive"),
    "lossderiv.combinators.zero_inflated": ("zero_inflated",),
    "lossderiv.combinators.hurdle": ("hurdle",),
    "lossderiv.combinators.discretized": ("discretized",),
    "lossderiv.combinators.mixture": ("mixture",),
    "lossderiv.combinators.truncated": ("truncated",),
    "lossderiv.combinators.censored": ("censored",),
    "lossderiv.combinators.transformed": ("transformed",),
    "lossderiv.combinators.independent": ("independent",),
    "lossderiv.recognise": ("known_as",),
    "lossderiv.insight.likelihood": ("likelihood_of", "Likelihood"),
    "lossderiv.insight.divergence": ("kl", "Divergence"),
    "lossderiv.insight.exponential": ("exponential_family", "ExponentialFamily"),
    "lossderiv.insight.minimizer": ("minimizer", "Minimizer", "Optimum"),
    "lossderiv.insight.penalty": ("map_penalty", "Penalty"),
    "lossderiv.insight.curvature": ("hessian", "Hessian", "Convexity"),
    "lossderiv.insight.fisher": ("fisher", "Fisher"),
    "lossderiv.insight.tail": ("tail", "Tail", "End"),
    "lossderiv.codegen": ("source",),
    "lossderiv.certificates": ("certificate", "Certificate"),
    "lossderiv.losses": ("loss", "Loss"),
    "lossderiv.evidence": ("elbo", "NegativeElbo"),
    "lossderiv.estimates": ("kl_estimate", "Estimate"),
    "lossderiv.arrays": ("value_and_grad", "ValueAndGrad"),
    "lossderiv.objectives": ("objective", "Objective"),
    "lossderiv.exercises": ("check_exercise",),
    "lossderiv.notebook": ("check_notebook", "new_notebook", "NotebookReport"),
    "lossderiv.symbolic.trace": ("let",),
    "lossderiv.symbolic.records": ("Density", "Derivation", "Domain", "Link", "Rule", "Step"),
    "lossderiv.domains": (
        "Real",
        "Positive",
        "NonNegative",
        "Unit",
        "Count",
        "Binary",
        "Integer",
        "Interval",
        "Angle",
        "Simplex",
        "Category",
    ),
    "lossderiv.errors": (
        "LossDerivError",
        "UnknownNameError",
        "ParameterError",
        "DensityError",
        "DerivationError",
        "SpellingError",
        "TargetError",
        "ShapeError",
        "DtypeError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'lossderiv' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
