"""Print what the compiled tier's kernels cost: `python -m benchmarks.compiled` (`--smoke` for CI).

Two tables beside those of `benchmarks.speed`. *Bandwidth*: a compiled kernel over a loop that reads
and writes the same arrays and computes next to nothing (after McCalpin's STREAM), both in C. *First
use*: from a derivation to a function, with the compiler at work and, in a process of its own, from
the cache.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from benchmarks.speed import PAIRS, Pair, Ratio, in_turn, inputs, line, spread
from lossderiv.codegen.c_kernel import HEAD
from lossderiv.native import load

LARGE, SMOKE_LARGE = (4096, 784), (64, 784)
STREAMED = ("F.mse_loss", "F.gaussian_nll_loss", "laplace*", "F.binary_cross_entropy_with_logits")
STARTED = ("normal", "bernoulli", "student_t", "beta", "negative_binomial")


@dataclass(frozen=True)
class Start:
    """Seconds until a family's kernel can be called."""

    family: str
    compiling: float
    from_cache: float


def stream(reads: int, writes: int) -> ctypes.CDLL:
    """Sums what it reads into each of what it writes."""
    arrays = [f"const float *restrict u{k}" for k in range(reads)]
    arrays += [f"float *restrict y{k}" for k in range(writes)]
    total = " + ".join(f"u{k}[i]" for k in range(reads))
    lines = "\n".join(f"        y{k}[i] = {total};" for k in range(writes))
    return load(
        f"{HEAD}\n\ndouble summed(ptrdiff_t n, float s, {', '.join(arrays)})\n{{\n"
        "    #pragma omp simd\n    for (ptrdiff_t i = 0; i < n; i++) {\n"
        f"{lines}\n    }}\n    return s;\n}}\n"
    )


def bandwidth(pair: Pair, size: tuple[int, int], rounds: int, budget: float) -> Ratio:
    """The kernel alone, into memory that is there, over a loop with the same traffic."""
    raw, target = inputs(pair, size)
    loss = pair.loss(compiled=True)
    loss(tuple(raw), target)
    kernel = loss._program.summed.function
    limit = stream(1 + pair.outputs, pair.outputs).summed
    limit.argtypes, limit.restype = kernel.argtypes, kernel.restype
    slopes = [torch.zeros_like(target) for _ in raw]
    pointers = [t.data_ptr() for t in (*raw, target, *slopes)]
    n = target.numel()
    steps = [lambda f=f: f(n, 1.0, *pointers) for f in (kernel, limit)]
    found = in_turn(steps, rounds, budget)
    family = ", ".join([pair.family, *(f"{n} = {v}" for n, v in pair.fixed.items())])
    return Ratio("kernel", "bandwidth", family, "compiled", size, *spread(found, 0))


START = """
import time, torch, lossderiv as ld
d = ld.derive({family!r})
program = ld.loss(d, compiled=True)._program
began = time.perf_counter()
program.summed
print(time.perf_counter() - began)
"""


def start(family: str) -> Start:
    """Two processes, one after the other, with a cache of their own."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "LOSSDERIV_CACHE": cache}
        code = START.format(family=family)
        first, second = (
            float(
                subprocess.run(
                    [sys.executable, "-c", code],
                    capture_output=True,
                    text=True,
                    check=True,
                    env=environment,
                ).stdout
            )
            for _ in range(2)
        )
    return Start(family, first, second)


def report(smoke: bool) -> dict[str, list]:
    """Print both tables and return the figures."""
    rounds, budget, large = (3, 0.02, SMOKE_LARGE) if smoke else (15, 0.1, LARGE)
    record: dict[str, list] = {"kernel over bandwidth": [], "first use, s": []}
    print("the kernel's time over that of reading and writing the same arrays")
    for pair in PAIRS:
        if pair.name in STREAMED:
            found = bandwidth(pair, large, rounds, budget)
            record["kernel over bandwidth"].append(asdict(found))
            print(line(found), flush=True)
    print("\nseconds until the first call: with the compiler, from the cache")
    for family in STARTED[:1] if smoke else STARTED:
        begun = start(family)
        record["first use, s"].append(asdict(begun))
        print(f"{family:22} {begun.compiling:.3f} {begun.from_cache:.3f}", flush=True)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="small sizes, a few rounds")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    report(options.smoke)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
