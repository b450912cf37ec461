"""How many statistics would it take? The rank of a table of log-likelihoods.

If ``log p = f(theta) . T(x) - A(theta) + log h(x)`` with k statistics, then a table of
``log p(x_i | theta_j)``, less its means along rows and columns, has rank at most k: ``A`` and ``h``
are gone, and k products remain (Koopman 1936; Pitman 1936). A table of full rank therefore rules
out every exponential family with fewer statistics than it has rows.
"""

from __future__ import annotations

import math

import mpmath as mp
import sympy as sp

from lossderiv.symbolic.probe import DIGITS, Formula
from lossderiv.symbolic.records import Derivation, Domain

SIZE = 7
ZERO = mp.mpf(10) ** -40  # of the largest singular value: 60 digits leave 20 to spare


def rank_of_log_likelihoods(d: Derivation) -> int | None:
    """Rank of the centred table, ``SIZE`` at most; ``None`` where it cannot be made of numbers."""
    x = d.density.variable
    learned = [d.density.symbols[n] for n in d.links]
    domains = [d.context.domains[s] for s in (x, *learned)]
    if any(domain.shape != "scalar" for domain in domains):
        return None
    columns = [spread(domain, SIZE + 1) for domain in domains]
    nll = Formula(d.nll)
    with mp.workdps(DIGITS):
        table = mp.matrix(SIZE + 1, SIZE + 1)
        for i in range(SIZE + 1):
            for j in range(SIZE + 1):
                point = {x: columns[0][i % len(columns[0])]}
                for n, (s, values) in enumerate(zip(learned, columns[1:], strict=True)):
                    point[s] = values[(j * (2 * n + 1) + n) % len(values)]
                table[i, j] = nll.at(point)
                if not mp.isfinite(table[i, j]):
                    return None
        values = mp.svd_r(_centred(table), compute_uv=False)
        return sum(v > ZERO * max(1, values[0]) for v in values)


def spread(domain: Domain, count: int) -> list[float]:
    """``count`` different numbers well inside a domain (fewer if it holds fewer)."""
    low, high = domain.low, domain.high
    if domain.integer:
        low = low if math.isfinite(low) else -3
        return [k for k in range(int(low), int(low) + count) if k <= high]
    if math.isfinite(low) and math.isfinite(high):
        return [low + (high - low) * (k + 1) / (count + 2) for k in range(count)]
    if math.isfinite(low):
        return [low + 0.3 * 1.5**k for k in range(count)]
    return [-2 + 0.53 * k for k in range(count)]


def _centred(table: mp.matrix) -> mp.matrix:
    n, m = table.rows, table.cols
    rows = [mp.fsum(table[i, j] for j in range(m)) / m for i in range(n)]
    columns = [mp.fsum(table[i, j] for i in range(n)) / n for j in range(m)]
    mean = mp.fsum(rows) / n
    return mp.matrix(
        [[table[i, j] - rows[i] - columns[j] + mean for j in range(m)] for i in range(n)]
    )


def supports_move(d: Derivation, indicator: type[sp.Function]) -> sp.Expr | None:
    """The first condition on the data in which a learned parameter occurs, if there is one."""
    learned = {getattr(d.density.symbols[n], "label", d.density.symbols[n]) for n in d.links}
    for f in sorted(d.nll.atoms(indicator), key=str):
        if f.free_symbols & learned and d.density.variable in f.free_symbols:
            return f.args[0]
    return None
