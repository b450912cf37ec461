"""Functions with a meaning: a SymPy function that stands for a formula and keeps its own slope.

The engine needs only this protocol; which functions exist is the table ``lossderiv/special.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp


class Special(sp.Function):
    """A function that abbreviates a formula and that machines compute better than the formula.

    ``meaning(*args)`` is the formula, ``slopes[i](*args)`` the derivative in argument ``i``
    (``None`` where no better form than the formula's own derivative is known), ``spelling`` the
    text of a Python function that computes it with torch.
    """

    meaning: Callable[..., sp.Expr]
    slopes: tuple[Callable[..., sp.Expr] | None, ...] = ()
    spelling: str = ""
    tex: str = ""  # a name, or a template in which #1 stands for the argument
    positive: bool | None = None

    @classmethod
    def eval(cls, *args: sp.Expr) -> None:
        """Stay unevaluated: a named function is never silently replaced."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        slope = self.slopes[argindex - 1]
        if slope is None:
            raise sp.core.function.ArgumentIndexError(self, argindex)
        return slope(*self.args)

    def _eval_is_extended_real(self) -> bool:
        return True

    def _eval_is_finite(self) -> bool:
        return True

    def _eval_is_extended_positive(self) -> bool | None:
        return self.positive

    def _eval_evalf(self, prec: int) -> sp.Expr:
        digits = sp.core.evalf.prec_to_dps(prec)
        numbers = [a.evalf(digits + 15) for a in self.args]  # log Gamma(10^6) is not log(10^6!)
        return spell_out(self.meaning(*numbers)).evalf(digits)

    def _latex(self, printer, exp=None) -> str:
        inside = ", ".join(printer._print(a) for a in self.args)
        if "#1" in self.tex:
            body = self.tex.replace("#1", inside).replace("+ -", "-")
            return body if exp is None else rf"\left[{body}\right]^{{{exp}}}"
        name = self.tex or rf"\operatorname{{{self.func.__name__.replace('_', '-')}}}"
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"{name}{power}\left({inside}\right)"


def make_special(
    name: str,
    *,
    meaning: Callable[..., sp.Expr],
    slopes: tuple[Callable[..., sp.Expr] | None, ...],
    spelling: str,
    tex: str = "",
    positive: bool | None = None,
    home: str = "lossderiv.special",
) -> type[Special]:
    """A new :class:`Special` with one slope for each argument; ``home`` is its module."""
    members = {
        "meaning": staticmethod(meaning),
        "slopes": tuple(slopes),
        "spelling": spelling.strip("\n"),
        "tex": tex,
        "positive": positive,
        "nargs": len(slopes),
        "__module__": home,
        "__qualname__": name,
        "__doc__": f"See the row ``{name}`` of ``lossderiv/special.py``.",
    }
    return type(name, (Special,), members)


def spell_out(expr: sp.Expr) -> sp.Expr:
    """``expr`` with every special function replaced by its meaning, innermost first."""
    while True:
        found = [f for f in expr.atoms(Special) if not any(a.has(Special) for a in f.args)]
        if not found:
            return expr
        expr = expr.xreplace({f: f.meaning(*f.args) for f in found})
