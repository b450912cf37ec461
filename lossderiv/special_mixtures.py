"""TABLE of special functions of a mixture's scores: what each means, how torch computes it well.

As in ``lossderiv/special_vectors.py``, their first argument is a vector's entry and the second its
index; further vectors follow, each by its entry.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.vectors import RUNNING, Bound, Entries, LogSumExp, Softmax


class MixedSurprisal(Bound):
    r"""``-log sum_j w_j exp(-ell_j)``, w the softmax weights: ``(logits_j, j, ell_j)``.

    Where the sum is near 1, as for data that take few values, what is missing from 1 is added up
    instead.
    """

    nargs = 3
    spelling = """
def mixedsurprisal(logits, ell):
    log_weights = torch.log_softmax(logits, -1)
    far = -torch.logsumexp(log_weights - ell, -1)
    near = (torch.abs(far) < 0.5) & (ell.amin(-1) > -20.0)
    lacking = torch.expm1(-torch.where(near[..., None], ell, 0.0)) * torch.exp(log_weights)
    return torch.where(near, -torch.log1p(lacking.sum(-1)), far)
""".strip("\n")

    @staticmethod
    def meaning(logits: sp.Expr, j: sp.Idx, ell: sp.Expr) -> sp.Expr:
        return LogSumExp(logits, j) - LogSumExp(logits - ell, j)

    def _latex(self, printer, exp=None) -> str:
        logits, j, ell = self.args
        w, j, ell = (printer._print(a) for a in (Softmax(logits, j), j, ell))
        return rf"-\log\sum_{{{j}}} {w} \, e^{{-{ell}}}"

    def _sympystr(self, printer) -> str:
        logits, j, ell = self.args
        w, j, ell = (printer._print(a) for a in (Softmax(logits, j), j, ell))
        return f"-log(sum({w}*exp(-{ell}), {j}))"


class LogShare(Entries):
    r"""Log of a component's share of a datum, ``(logits_i, i, ell_i)``: a log of a softmax."""

    nargs = 3
    spelling = """
def logshare(logits, ell):
    return torch.log_softmax(logits - ell, -1)
""".strip("\n")

    @staticmethod
    def meaning(logits: sp.Expr, i: sp.Idx, ell: sp.Expr) -> sp.Expr:
        score = logits - ell
        return score - LogSumExp(score.xreplace({i: RUNNING}), RUNNING)

    def _latex(self, printer, exp=None) -> str:
        name = "r" if self.args[2] else "w"  # without losses a share is the weight itself
        return rf"\log {name}_{{{printer._print(self.args[1])}}}"

    def _sympystr(self, printer) -> str:
        logits, _, ell = self.args
        return f"log_softmax({printer._print(logits - ell)})"


class ShareOf(Entries):
    """A slope times the square of a root of a share, ``(root_i, i, slope_i)``.

    One root before, one after: a share may underflow where the slope is huge. A component that has
    no share at all has no slope, however large its own.
    """

    nargs = 3
    spelling = """
def shareof(root, slope):
    return torch.where(root > 0.0, root * (root * slope), 0.0)
""".strip("\n")

    @staticmethod
    def meaning(root: sp.Expr, i: sp.Idx, slope: sp.Expr) -> sp.Expr:
        return root**2 * slope

    def _latex(self, printer, exp=None) -> str:
        root, _, slope = self.args
        return rf"{printer._print(root**2)} \cdot {printer.parenthesize(slope, 50)}"

    def _sympystr(self, printer) -> str:
        root, _, slope = self.args
        return f"{printer._print(root**2)}*({printer._print(slope)})"
