"""Print what the compiled tier costs: `python -m benchmarks.compiled` (`--smoke` for CI).

Four tables. *Ratios*: forward + backward, our time over the peer's, default and compiled tier, all
three measured in turn in one run, on one thread; below 1 we are faster. *Bandwidth*: a compiled
kernel over a loop that reads and writes the same arrays and computes next to nothing (after
McCalpin's STREAM), both in C. *Memory*: the most that one step holds beside inputs and outputs, in
arrays of the target's size. *First use*: from a derivation to a function, with the compiler at work
and, in a process of its own, from the cache.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed import PAIRS, SIZES, SMOKE_SIZES, Pair, inputs, seconds, stepper
from lossderiv.codegen.c_kernel import HEAD
from lossderiv.native import load

LARGE, SMOKE_LARGE = (4096, 784), (64, 784)
STREAMED = ("F.mse_loss", "F.gaussian_nll_loss", "Laplace*", "F.binary_cross_entropy_with_logits")
STARTED = ("normal", "bernoulli", "student_t", "beta", "negative_binomial")
ROUNDS = 15
TIERS = ("default", "compiled")


@dataclass(frozen=True)
class Ratio:
    """Medians of a round's steps over the peer's median: over all rounds, least, middle, most."""

    family: str
    against: str
    size: tuple[int, ...]
    tier: str
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class Start:
    """Seconds until a family's kernel can be called."""

    family: str
    compiling: float
    from_cache: float


def loss_of(pair: Pair, compiled: bool) -> Callable:
    loss = pair.loss(compiled=compiled)
    return (lambda *args: loss(args[:-1], args[-1])) if pair.outputs > 1 else loss


def in_turn(steps: Sequence[Callable], rounds: int, budget: float) -> list[list[float]]:
    """Medians of every step in every round; a round takes about ``budget`` seconds."""
    warm = [sum(seconds(step) for step in steps) for _ in range(3)]
    repeats = max(3, round(budget / min(warm)))
    found = []
    for _ in range(rounds):
        times = [[seconds(step) for step in steps] for _ in range(repeats)]
        found.append([statistics.median(column) for column in zip(*times, strict=True)])
    return found


def over(rounds: list[list[float]], k: int) -> tuple[float, float, float]:
    """Ratio of step ``k`` to the last one: least, median, most."""
    ratios = [times[k] / times[-1] for times in rounds]
    return min(ratios), statistics.median(ratios), max(ratios)


def ratios(pair: Pair, size: tuple[int, int], rounds: int, budget: float) -> list[Ratio]:
    raw, target = inputs(pair, size)
    losses = (loss_of(pair, False), loss_of(pair, True), pair.peer)
    found = in_turn([stepper(f, raw, target) for f in losses], rounds, budget)
    return [Ratio(pair.family, pair.name, size, t, *over(found, k)) for k, t in enumerate(TIERS)]


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
    return Ratio(pair.family, "bandwidth", size, "compiled", *over(found, 0))


def arrays_held(pair: Pair, size: tuple[int, int], compiled: bool) -> float:
    """The most memory that forward and backward hold at once, in arrays of the target's size."""
    raw, target = inputs(pair, size)
    step = stepper(loss_of(pair, compiled), raw, target)
    step()
    for eta in raw:
        eta.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most / target.nbytes


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


def line(r: Ratio) -> str:
    size = "x".join(map(str, r.size))
    numbers = f"{r.minimum:6.3f} {r.median:6.3f} {r.maximum:6.3f}"
    return f"{r.family:22} {r.against:36} {size:>9} {r.tier:9} {numbers}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="small sizes, a few rounds")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="peers, by parts of their names")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    sizes, large = (SMOKE_SIZES, SMOKE_LARGE) if options.smoke else (SIZES, LARGE)
    rounds, budget = (3, 0.02) if options.smoke else (ROUNDS, 0.1)
    pairs = [p for p in PAIRS if not p.classes and chosen(p, options.only)]
    record: dict[str, list] = {"ratios": [], "bandwidth": [], "memory": [], "start": []}

    print("forward + backward, our time over the peer's: least, median, most")
    for pair in pairs:
        for size in sizes:
            for found in ratios(pair, size, rounds, budget):
                record["ratios"].append(asdict(found))
                print(line(found), flush=True)
    print("\nthe kernel's time over that of reading and writing the same arrays")
    for pair in pairs:
        if pair.name in STREAMED:
            found = bandwidth(pair, large, rounds, budget)
            record["bandwidth"].append(asdict(found))
            print(line(found), flush=True)
    print("\nmemory beside inputs, in arrays (of which gradients)")
    for pair in pairs:
        held = {tier: arrays_held(pair, large, tier == "compiled") for tier in TIERS}
        record["memory"].append({"family": pair.family, "gradients": pair.outputs, **held})
        shown = ", ".join(f"{tier} {most:.2f}" for tier, most in held.items())
        print(f"{pair.family:22} {shown} ({pair.outputs})", flush=True)
    print("\nseconds until the first call: with the compiler, from the cache")
    for family in STARTED[:1] if options.smoke else STARTED:
        found = start(family)
        record["start"].append(asdict(found))
        print(f"{family:22} {found.compiling:.3f} {found.from_cache:.3f}", flush=True)
    if options.json:
        text = json.dumps({"torch": torch.__version__, **record}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def chosen(pair: Pair, only: Sequence[str] | None) -> bool:
    return not only or any(part in pair.name for part in only)


if __name__ == "__main__":
    raise SystemExit(main())
