"""What a sample is summed up by: averages, quantiles, least and greatest values, as formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import mpmath as mp
import sympy as sp

from lossderiv.symbolic.functions import spell_out


class Average(sp.Function):
    """``Average(g)``: the mean of ``g(x)`` over a sample; a parameter in it may vary as well."""

    nargs = 1

    def _eval_is_extended_positive(self) -> bool | None:
        return self.args[0].is_positive

    def _eval_is_extended_nonnegative(self) -> bool | None:
        return self.args[0].is_nonnegative

    def _eval_is_extended_real(self) -> bool | None:
        return True

    def _eval_is_finite(self) -> bool | None:
        return True

    def _latex(self, printer, exp=None) -> str:
        body = rf"\left\langle {printer._print(self.args[0])} \right\rangle"
        return body if exp is None else rf"{body}^{{{exp}}}"

    def _sympystr(self, printer) -> str:
        return f"mean({printer._print(self.args[0])})"


def _order_statistic(name: str, said: str, pick: Callable) -> type[sp.Function]:
    def latex(self, printer, exp=None) -> str:
        inside = ", ".join(printer._print(a) for a in self.args)
        return rf"\operatorname{{{said}}}\left({inside}\right)"

    def plain(self, printer) -> str:
        return f"{said}({', '.join(printer._print(a) for a in self.args)})"

    members = {
        "_latex": latex,
        "_sympystr": plain,
        "_eval_is_extended_real": lambda self: True,
        "pick": staticmethod(pick),
        "__module__": __name__,
        "__qualname__": name,
    }
    return type(name, (sp.Function,), members)


def _quantile(values: Sequence, level) -> mp.mpf:
    """A number with at most the share ``level`` below it and 1 - ``level`` above it."""
    ordered = sorted(values)
    place = level * len(ordered)
    low = max(0, int(mp.ceil(place)) - 1)
    high = min(len(ordered) - 1, int(mp.floor(place)))
    return (ordered[low] + ordered[high]) / 2


Least = _order_statistic("Least", "min", lambda values: min(values))
Greatest = _order_statistic("Greatest", "max", lambda values: max(values))
Quantile = _order_statistic("Quantile", "quantile", _quantile)
Median = _order_statistic("Median", "median", lambda v: _quantile(v, mp.mpf(1) / 2))

OF_A_SAMPLE = (Average, Least, Greatest, Quantile, Median)


def over_sample(formula: sp.Expr, data: sp.Symbol, sample: Sequence, values: Mapping) -> mp.mpf:
    """The value of a formula with averages at a sample; ``values`` are numbers for its letters."""
    formula = formula.xreplace(dict(values))
    while inner := [f for f in formula.atoms(*OF_A_SAMPLE) if not f.args[0].has(*OF_A_SAMPLE)]:
        formula = formula.xreplace({f: _one(f, data, sample) for f in inner})
    number = sp.lambdify((), spell_out(formula), "mpmath")()
    return mp.mpmathify(number)


def _one(f: sp.Function, data: sp.Symbol, sample: Sequence) -> sp.Float:
    body = sp.lambdify(data, spell_out(f.args[0]), "mpmath")
    numbers = [mp.mpmathify(body(mp.mpmathify(x))) for x in sample]
    if isinstance(f, Average):
        result = mp.fsum(numbers) / len(numbers)
    else:
        result = f.pick(numbers, *(mp.mpmathify(a) for a in f.args[1:]))
    return sp.Float(result, mp.mp.dps)
