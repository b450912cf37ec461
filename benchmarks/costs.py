"""What a loss costs besides time for its numbers: memory, overhead, its share of a training step.

`benchmarks.speed` prints these after its ratios of times. Memory is what the allocator hands out
between the start of forward and the end of backward, in units of one input array.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import speed

FEW = 16
"""Elements of a call that is all overhead."""
LARGE = (4096, 784)
STEPPED = ("continuous_bernoulli", "negative_binomial", "student_t", "beta")
"""Twins in torch.distributions that are timed within a training step, beside the builtins."""


@dataclass(frozen=True)
class Cost:
    """A number for the default tier, the compiled one (`None`: there is no C) and the peer."""

    peer: str
    family: str
    default: float
    compiled: float | None
    theirs: float


def cost(pair: speed.Pair, measured: Sequence[float]) -> Cost:
    """One number for each tier of the pair, the peer's last."""
    *ours, theirs = measured
    default, compiled = ours if len(ours) == 2 else (*ours, None)
    return Cost(pair.name, pair.family, default, compiled, theirs)


def losses(pair: speed.Pair) -> list[Callable]:
    """Ours in each tier, then the peer."""
    return [*(speed.our_loss(pair, tier) for tier in speed.tiers_of(pair)), pair.peer]


def medians(steps: Sequence[Callable], repeats: int) -> list[float]:
    """Of each step's seconds, the steps taken in turn."""
    for step in steps:
        step()
    times = [[speed.seconds(step) for step in steps] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def peak_memory(step: Callable[[], object]) -> int:
    """The most bytes that a step holds at a time beyond what was there before it."""
    step()  # what is allocated once and kept is no part of it
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def memory(pair: speed.Pair, size: tuple[int, int]) -> Cost:
    """Peak memory of forward and backward, the gradients included, in units of one raw output."""
    raw, target = speed.inputs(pair, size)

    def units(loss: Callable) -> float:
        def step() -> None:
            grads = torch.autograd.grad(loss(*raw, target), raw)
            del grads

        return peak_memory(step) / (raw[0].numel() * raw[0].element_size())

    return cost(pair, [units(loss) for loss in losses(pair)])


def overhead(pair: speed.Pair, repeats: int) -> Cost:
    """Microseconds of forward and backward on a few elements."""
    raw, target = speed.inputs(pair, (1, max(1, FEW // max(1, pair.classes))))
    steps = [speed.stepper(loss, raw, target) for loss in losses(pair)]
    return cost(pair, [1e6 * each for each in medians(steps, repeats)])


def against_bandwidth(pair: speed.Pair, size: tuple[int, int], repeats: int) -> Cost:
    """Times over the time that moving the same bytes takes: outputs and target in, gradients out.

    How fast bytes move is measured by STREAM's triad, ``a = b + s c``, in turn with the losses.
    Source: McCalpin, Memory bandwidth and machine balance in current high performance computers,
    IEEE TCCA newsletter (1995).
    """
    raw, target = speed.inputs(pair, size)
    b, c = torch.randn(size), torch.randn(size)
    a = torch.empty_like(b)
    steps = [lambda: torch.add(b, c, alpha=0.5, out=a)]
    steps += [speed.stepper(loss, raw, target) for loss in losses(pair)]
    triad, *found = medians(steps, repeats)
    limit = triad * (2 * len(raw) + 1) / 3
    return cost(pair, [each / limit for each in found])


def autoencoder_step(pair: speed.Pair, rows: int, repeats: int) -> Cost:
    """Milliseconds of one training step of an MLP autoencoder on rows of 784 pixels."""
    _, target = speed.inputs(pair, (rows, 784))

    def step_with(loss: Callable) -> Callable[[], None]:
        torch.manual_seed(0)
        width = 784 * pair.outputs
        sizes = ((784, 256), (256, 16), (16, 256), (256, width))
        layers = [part for a, b in sizes for part in (nn.Linear(a, b), nn.ReLU())][:-1]
        model = nn.Sequential(*layers)
        optimiser = torch.optim.Adam(model.parameters())

        def step() -> None:
            optimiser.zero_grad()
            loss(*model(target).chunk(pair.outputs, 1), target).backward()
            optimiser.step()

        return step

    steps = [step_with(loss) for loss in losses(pair)]
    return cost(pair, [1e3 * each for each in medians(steps, repeats)])


def compiled_plain(pair: speed.Pair) -> Callable:
    """``torch.compile`` of our readable expression, differentiated by torch."""
    value = pair.loss()._program.value
    return torch.compile(lambda *args: value(*args)[0].mean())


def report(pairs: Sequence[speed.Pair], smoke: bool, with_compile: bool) -> dict[str, list]:
    """Print every cost of the pairs and return the figures."""
    repeats, rounds, budget = (3, 3, 0.01) if smoke else (30, 9, 0.1)
    sizes = speed.SMOKE_SIZES if smoke else speed.SIZES
    rows, size = (8, (8, 784)) if smoke else (128, LARGE)
    flat = [p for p in pairs if not p.is_vector]
    builtins = [p for p in flat if p.row is None and p.made is None]
    stepped = [p for p in flat if p in builtins or p.family in STEPPED]
    tables = {
        "peak memory, arrays": [memory(p, size) for p in flat],
        "overhead, us": [overhead(p, 10 * repeats) for p in pairs],
        "time over that of moving the bytes": [
            against_bandwidth(p, size, repeats) for p in builtins
        ],
        "autoencoder step, ms": [autoencoder_step(p, rows, repeats) for p in stepped],
    }
    for what, costs in tables.items():
        print(f"{what + ':':36} {'':34} {'default':>8} {'compiled':>8} {'peer':>8}")
        for c in costs:
            compiled = f"{'':8}" if c.compiled is None else f"{c.compiled:8.2f}"
            print(f"{c.family:36} {c.peer:34} {c.default:8.2f} {compiled} {c.theirs:8.2f}")
        print(flush=True)
    record: dict[str, list] = {what: [asdict(c) for c in costs] for what, costs in tables.items()}
    print("one pass over the bytes, and no loss, over the peer's time, forward + backward")
    record["one pass"] = []
    for pair in builtins:
        for small in sizes:
            least = {"one pass": speed.one_pass}
            for ratio in speed.compare(pair, small, rounds, budget, losses=least):
                record["one pass"].append(asdict(ratio))
                print(speed.line(ratio), flush=True)
    if with_compile:
        print("torch.compile of the plain expression over the peer's time, forward + backward")
        record["torch.compile"] = []
        for pair in builtins:
            fused = {"compile": compiled_plain(pair)}
            for ratio in speed.compare(pair, (128, 784), rounds, budget, losses=fused):
                record["torch.compile"].append(asdict(ratio))
                print(speed.line(ratio), flush=True)
    return record
