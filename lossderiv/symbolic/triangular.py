"""A triangular matrix and its equations, entry by entry: what a full covariance needs.

The lower-triangular ``L`` has one vector as its diagonal; another, ``lower[p]``, lists the entries
below it row by row: ``L[1,0], L[2,0], L[2,1], ...``. The functions here are written out for a given
size, by substitution; that is what the steps of a derivation are checked against.
"""

from __future__ import annotations

import sympy as sp

from lossderiv.symbolic.vectors import EACH, ENTRY, INWARD, OUTWARD, Unrolled

PAIR = sp.Idx("p")  # runs over the entries below a diagonal

MATRIX = """
def triangular(diagonal, lower):
    n = diagonal.shape[-1]
    row, column = torch.tril_indices(n, n, -1, device=lower.device)
    empty = lower.new_zeros((*lower.shape[:-1], n * n))
    below = empty.scatter(-1, (n * row + column).expand(lower.shape), lower)
    return below.unflatten(-1, (n, n)) + torch.diag_embed(diagonal)
""".strip("\n")


def place(row: int, column: int) -> int:
    """Where the entry below the diagonal stands in the list."""
    return row * (row - 1) // 2 + column


def solution(right: sp.Expr, diagonal: sp.Expr, lower: sp.IndexedBase) -> sp.Expr:
    """Entry ``k`` of the ``z`` with ``L z = right``; ``right`` and ``diagonal`` by their entry."""
    vectors = (v.xreplace({EACH: INWARD}) for v in (right, diagonal))
    return Forward(*vectors, lower[PAIR], INWARD, PAIR, EACH)


class Forward(Unrolled):
    """Entry ``i`` of ``L^-1 r``, arguments ``(r_m, diagonal_m, lower_p, m, p, i)``."""

    nargs = 6
    helpers = (("triangular", MATRIX),)
    tex = r"L^{-1} \left(#1\right)"
    spelling = """
def forward(r, diagonal, lower):
    matrix = triangular(diagonal, lower)
    return torch.linalg.solve_triangular(matrix, r[..., None], upper=False)[..., 0]
""".strip("\n")

    @property
    def vectors(self) -> tuple[tuple[sp.Expr, sp.Idx], ...]:
        r, diagonal, lower, m, p, _ = self.args
        return (r, m), (diagonal, m), (lower, p)

    def written(self, count: int) -> sp.Expr:
        (r, m), (diagonal, _), (lower, p) = self.vectors
        z: list[sp.Expr] = []
        for row in range(int(self.args[-1]) + 1):
            known = (lower.xreplace({p: sp.Integer(place(row, c))}) * v for c, v in enumerate(z))
            at = {m: sp.Integer(row)}
            z.append((r.xreplace(at) - sp.Add(*known)) / diagonal.xreplace(at))
        return z[-1]

    def pulled_back(self, outer: sp.Expr, name: sp.Indexed, by: sp.Indexed) -> sp.Expr:
        """The slope in ``by`` of what has the slope ``outer`` in these entries, called ``name``.

        With ``w = L^-T outer`` that is ``w`` in the right-hand side and ``-w z^T`` in ``L``.
        """
        (r, m), (diagonal, _), (lower, p) = self.vectors
        turned = (outer.xreplace({ENTRY: OUTWARD}), diagonal.xreplace({m: OUTWARD}))
        w = Backward(*turned, lower, OUTWARD, p, ENTRY)
        in_r, in_diagonal = (v.xreplace({m: ENTRY}).diff(by) for v in (r, diagonal))
        in_lower = lower.xreplace({p: ENTRY}).diff(by)
        v, z, c = (e.xreplace({ENTRY: EACH}) for e in (w, name, in_diagonal))
        along = Scaled(v, c, EACH, ENTRY) * name if c != 0 else 0
        return w * in_r - along - Pairs(v, z, EACH, ENTRY) * in_lower


class Backward(Unrolled):
    """Entry ``i`` of ``L^-T g``, arguments ``(g_n, diagonal_n, lower_p, n, p, i)``."""

    nargs = 6
    helpers = (("triangular", MATRIX),)
    tex = r"L^{-\top} #1"
    spelling = """
def backward(g, diagonal, lower):
    matrix = triangular(diagonal, lower).mT
    return torch.linalg.solve_triangular(matrix, g[..., None], upper=True)[..., 0]
""".strip("\n")

    @property
    def vectors(self) -> tuple[tuple[sp.Expr, sp.Idx], ...]:
        g, diagonal, lower, n, p, _ = self.args
        return (g, n), (diagonal, n), (lower, p)

    def written(self, count: int) -> sp.Expr:
        (g, n), (diagonal, _), (lower, p) = self.vectors
        w: dict[int, sp.Expr] = {}
        for row in range(count - 1, int(self.args[-1]) - 1, -1):
            known = (lower.xreplace({p: sp.Integer(place(r, row))}) * v for r, v in w.items())
            at = {n: sp.Integer(row)}
            w[row] = (g.xreplace(at) - sp.Add(*known)) / diagonal.xreplace(at)
        return w[row]


class Scaled(Unrolled):
    """Entry ``i`` of the products ``c_i w_i``, arguments ``(w_k, c_k, k, i)``.

    They are formed before anything else is multiplied: ``w_i z_i`` alone may overflow.
    """

    nargs = 4
    tex = r"#2 \odot #1"
    spelling = """
def scaled(w, c):
    return c * w
""".strip("\n")

    @property
    def vectors(self) -> tuple[tuple[sp.Expr, sp.Idx], ...]:
        w, c, k, _ = self.args
        return (w, k), (c, k)

    def written(self, count: int) -> sp.Expr:
        w, c, k, i = self.args
        return w.xreplace({k: i}) * c.xreplace({k: i})


class Pairs(Unrolled):
    """Entry ``i`` of the list of ``w_row z_column`` below the diagonal: ``(w_k, z_k, k, i)``."""

    nargs = 4
    tex = r"#1 \, #2^{\top}"
    spelling = """
def pairs(w, z):
    row, column = torch.tril_indices(w.shape[-1], w.shape[-1], -1, device=w.device)
    return w[..., row] * z[..., column]
""".strip("\n")

    @property
    def vectors(self) -> tuple[tuple[sp.Expr, sp.Idx], ...]:
        w, z, k, _ = self.args
        return (w, k), (z, k)

    def written(self, count: int) -> sp.Expr:
        w, z, k, i = self.args
        at = [(r, c) for r in range(count) for c in range(r)][int(i)]
        row, column = ({k: sp.Integer(v)} for v in at)
        return w.xreplace(row) * z.xreplace(column)
