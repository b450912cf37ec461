"""Print how long each derivation takes, in milliseconds of processor time.

    python -m benchmarks.derive

Every family with its default links, as `ld.derive` makes it: the steps, the gradient and the
computing forms. `first` is the first derivation in this process, when SymPy's caches are cold for
the family, `again` the median of five more.
"""

from __future__ import annotations

import statistics
import time

import lossderiv as ld
from lossderiv.catalogue import FAMILIES

REPEATS = 5


def given(family: str) -> dict[str, object]:
    """A typical value for each parameter that cannot be learned."""
    domains = FAMILIES[family].parameters
    return {name: d.typical[0] for name, d in domains.items() if d.link is None}


def milliseconds(family: str) -> float:
    fixed = given(family)
    started = time.process_time()
    ld.derive(family, **fixed)
    return 1e3 * (time.process_time() - started)


def main() -> int:
    print(f"{'family':22} {'first':>7} {'again':>7}")
    first, again = [], []
    for family in ld.families():
        first.append(milliseconds(family))
        again.append(statistics.median(milliseconds(family) for _ in range(REPEATS)))
        print(f"{family:22} {first[-1]:7.0f} {again[-1]:7.0f}")
    print(f"{'the whole catalogue':22} {sum(first):7.0f} {sum(again):7.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
