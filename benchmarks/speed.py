"""Print what our losses cost beside torch's own: time, memory, overhead, share of a training step.

    python benchmarks/speed.py                    some minutes
    python benchmarks/speed.py --smoke            under a minute, for CI
    python benchmarks/speed.py --only student     peers or families whose name has the word
    python benchmarks/speed.py --compile          torch.compile of the plain expression, too
    python benchmarks/speed.py --json speed.json

Peers are torch.nn.functional's losses and, marked *, torch.distributions' `log_prob` for every
family that has a twin there (the rows of `benchmarks/rows.py`). Every pair is measured in turn,
ours (the default tier and, where the loss has C, the compiled one) and the peer alternating within
one run, on one thread with reduction "mean"; a ratio below 1 means ours is faster. Time is the
thread's own, so that waiting for a busy machine does not count; absolute times still mean little.

A size counts pixels: a loss of classes or components has so many of them for each pixel. Beside
torch's losses stands how little time a loss could take (:func:`one_pass`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributions as D
import torch.nn.functional as F

if not __package__:  # run as a file: its neighbours are found from the folder above
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.draws import Draw
from benchmarks.measure import target_tensor
from benchmarks.row import Row
from benchmarks.rows import ROWS
from lossderiv.errors import SpellingError

TIERS = ("default", "compiled")
SIZES = ((64, 64), (128, 784), (4096, 784))
SMOKE_SIZES = ((64, 64),)
LARGEST = 2**26
"""Numbers in all raw outputs, beyond which a size is left out: a quarter of a gigabyte."""
FINE = time.get_clock_info("thread_time").resolution < 1e-6  # it is not on Windows
CLOCK = time.thread_time if FINE else time.perf_counter


@dataclass(frozen=True)
class Pair:
    """Our loss and the loss it is timed against, on the same raw outputs and target.

    Every pixel has so many ``classes``. With a ``row``, inputs are its everyday cases.
    ``made`` gives the density where that is not in the catalogue; ``same`` is how closely both
    slopes agree in float64.
    """

    name: str
    family: str
    peer: Callable
    target: str = "real"
    outputs: int = 1
    classes: int = 0
    fixed: Mapping[str, object] = field(default_factory=dict)
    row: Row | None = None
    made: Callable | None = None
    same: float = 1e-9

    def loss(self, **options):
        """Ours."""
        import lossderiv as ld

        settings = {**(self.row.settings if self.row else {}), **self.fixed, **options}
        return ld.loss(self.made() if self.made else self.family, **settings)

    @property
    def is_vector(self) -> bool:
        return bool(self.classes) or (
            self.row is not None and any(output.width for output in self.row.outputs)
        )


BUILTINS = (
    Pair("F.mse_loss", "normal", F.mse_loss, fixed={"sigma": 1}),
    Pair("F.l1_loss", "laplace", F.l1_loss, fixed={"b": 1}),
    Pair(
        "F.binary_cross_entropy_with_logits",
        "bernoulli",
        F.binary_cross_entropy_with_logits,
        target="binary",
    ),
    Pair(
        "F.gaussian_nll_loss",
        "normal",
        lambda mu, s, x: F.gaussian_nll_loss(mu, x, (2 * s).exp()),
        outputs=2,
    ),
    Pair("F.cross_entropy", "categorical", F.cross_entropy, target="label", classes=16),
    Pair("F.cross_entropy, 256", "categorical", F.cross_entropy, target="label", classes=256),
    Pair(
        "F.poisson_nll_loss",
        "poisson",
        lambda eta, x: F.poisson_nll_loss(eta, x, log_input=True),
        target="count",
    ),
)


def minus_log_prob(twin: Callable) -> Callable:
    return lambda *args: -twin(*args[:-1]).log_prob(args[-1]).mean()


LEVELS = 256


def clamped_level(mu, s, x):
    """Log-probability of a level, the usual way: the log-scale clamped at -7, the difference of
    logistics at 1e-12, the density in place of a bin below 1e-5 (Salimans, Karpathy, Chen and
    Kingma, 2017, as their published code computes it)."""
    half = 1 / (LEVELS - 1)
    s, y = s.clamp(min=-7.0), 2 * half * x - 1
    narrow = (-s).exp()
    up, down, middle = narrow * (y - mu + half), narrow * (y - mu - half), narrow * (y - mu)
    between = torch.sigmoid(up) - torch.sigmoid(down)
    dense = middle - s - 2 * F.softplus(middle) + math.log(2 * half)
    inner = torch.where(between > 1e-5, between.clamp(min=1e-12).log(), dense)
    last = torch.where(y > 0.999, -F.softplus(down), inner)
    return torch.where(y < -0.999, up - F.softplus(up), last)


def clamped_mixture(scores, mu, s, x):
    return -torch.logsumexp(
        F.log_softmax(scores, -1) + clamped_level(mu, s, x[..., None]), -1
    ).mean()


def mixture_of_normals(scores, mu, s):
    parts = D.Normal(mu, s.exp(), validate_args=False)
    weights = D.Categorical(logits=scores, validate_args=False)
    return D.MixtureSameFamily(weights, parts, validate_args=False)


def levels():
    import lossderiv as ld

    return ld.discretized("logistic", levels=LEVELS)


def mixed(component):
    import lossderiv as ld

    return ld.mixture(component, 10)


COMPOSED = (
    Pair(
        "clamped bins",
        "discretised logistic",
        lambda mu, s, x: -clamped_level(mu, s, x).mean(),
        target="level",
        outputs=2,
        made=levels,
        same=1e-2,
    ),
    Pair(
        "clamped bins, mixed",
        "levels, 10 components",
        clamped_mixture,
        target="level",
        outputs=3,
        classes=10,
        made=lambda: mixed(levels()),
        same=1e-2,
    ),
    Pair(
        "MixtureSameFamily*",
        "normal, 10 components",
        minus_log_prob(mixture_of_normals),
        outputs=3,
        classes=10,
        made=lambda: mixed("normal"),
    ),
)
TWINS = tuple(
    Pair(
        f"{row.name}*",
        row.catalogue_name,
        minus_log_prob(row.twin),
        outputs=len(row.outputs),
        fixed=row.fixed,
        row=row,
    )
    for row in ROWS
    if row.twin
)
PAIRS = BUILTINS + COMPOSED + TWINS

TARGETS: Mapping[str, Callable] = {  # but for labels
    "real": lambda size, g: torch.randn(size, generator=g),
    "binary": lambda size, g: torch.randint(0, 2, size, generator=g).float(),
    "count": lambda size, g: torch.randint(0, 20, size, generator=g).float(),
    "level": lambda size, g: torch.randint(0, LEVELS, size, generator=g).float(),
}
CASES = 500  # different ones, of a row; repeated in another order


@dataclass(frozen=True)
class Ratio:
    """Our time over the peer's: one ratio of medians a round; least, middle and most of them."""

    what: str
    peer: str
    family: str
    tier: str
    size: tuple[int, ...]
    minimum: float
    median: float
    maximum: float


def inputs(pair: Pair, size: tuple[int, int]):
    """Raw outputs that need a gradient, and a target."""
    g = torch.Generator().manual_seed(0)
    if pair.row:
        return everyday(pair.row, size, g)
    pixels = (size[0] * size[1],) if pair.classes else size
    shape = (*pixels, pair.classes) if pair.classes else pixels
    raw = [torch.randn(shape, generator=g).requires_grad_(True) for _ in range(pair.outputs)]
    if pair.target == "label":
        return raw, torch.randint(0, pair.classes, pixels, generator=g)
    return raw, TARGETS[pair.target](pixels, g)


def sizes_of(pair: Pair, sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sizes at which its raw outputs are not too large; of a row the first two."""
    if pair.row:
        return list(sizes[:2])
    numbers = pair.outputs * max(1, pair.classes)
    return [size for size in sizes if size[0] * size[1] * numbers <= LARGEST]


def everyday(row: Row, size: tuple[int, int], g: torch.Generator):
    """Everyday cases of a row, in no order; numbers, or vectors, as many as ``size`` has."""
    draw = Draw(np.random.default_rng(zlib.crc32(row.name.encode())), extreme=False)
    found: list = []
    while len(found) < CASES:
        case = tuple(tuple(np.float32(part).tolist()) for part in row.case(draw))
        if row.possible(*case):
            found.append(case)
    order = torch.randint(0, CASES, (size[0] * size[1],), generator=g)
    raw = torch.tensor([eta for eta, _ in found])[order]
    target = target_tensor(row, [x for _, x in found], torch.float32)[order]
    flat = all(output.width is None for output in row.outputs)
    shaped = [(part.reshape(size) if flat else part).contiguous() for part in row.groups(raw)]
    return [eta.requires_grad_(True) for eta in shaped], target.reshape(size) if flat else target


def seconds(step: Callable[[], None]) -> float:
    started = CLOCK()
    step()
    return CLOCK() - started


def stepper(loss: Callable, raw: Sequence[torch.Tensor], target: torch.Tensor) -> Callable:
    """One forward and backward with fresh gradients."""

    def step() -> None:
        for eta in raw:
            eta.grad = None
        loss(*raw, target).backward()

    return step


def forward(loss: Callable, raw: Sequence[torch.Tensor], target: torch.Tensor) -> Callable:
    """The value alone."""

    def step() -> None:
        with torch.no_grad():
            loss(*raw, target)

    return step


class OnePass(torch.autograd.Function):
    """No loss, but what each of ours does too: it reads the target and every output once, writes
    every gradient once, and has them ready for backward."""

    @staticmethod
    def forward(ctx, x, *outputs):
        ctx.slopes = [torch.sub(x, eta) for eta in outputs]
        return torch.zeros(())

    @staticmethod
    def backward(ctx, grad):
        slopes, ctx.slopes = ctx.slopes, None
        return None, *slopes


def one_pass(*args: torch.Tensor) -> torch.Tensor:
    """:class:`OnePass`, called as a peer is: how little time a loss could take."""
    return OnePass.apply(args[-1], *args[:-1])


WHAT: Mapping[str, Callable] = {"forward": forward, "forward + backward": stepper}


def our_loss(pair: Pair, tier: str = "default") -> Callable:
    """Our loss, called as the peer is: raw outputs one by one, then the target."""
    loss = pair.loss(compiled=tier == "compiled")
    return loss if pair.outputs == 1 else lambda *args: loss(args[:-1], args[-1])


def tiers_of(pair: Pair) -> tuple[str, ...]:
    """Both tiers, or the default alone where there is no C for the loss."""
    import lossderiv as ld

    try:
        ld.source(pair.loss().derivation, language="c")
    except SpellingError:
        return TIERS[:1]
    return TIERS


def in_turn(steps: Sequence[Callable], rounds: int, budget: float) -> list[list[float]]:
    """Medians of every step in every round; a round takes about ``budget`` seconds.

    An interrupted step does not move a median.
    """
    warm = [sum(seconds(step) for step in steps) for _ in range(3)]
    repeats = max(3, round(budget / min(warm)))
    found = []
    for _ in range(rounds):
        times = [[seconds(step) for step in steps] for _ in range(repeats)]
        found.append([statistics.median(column) for column in zip(*times, strict=True)])
    return found


def compare(
    pair: Pair,
    size: tuple[int, int],
    rounds: int,
    budget: float,
    what: str = "forward + backward",
    losses: Mapping[str, Callable] | None = None,
) -> list[Ratio]:
    """Our tiers (or ``losses``) over the peer, step by step in turn."""
    raw, target = inputs(pair, size)
    losses = losses or {tier: our_loss(pair, tier) for tier in tiers_of(pair)}
    steps = [WHAT[what](loss, raw, target) for loss in (*losses.values(), pair.peer)]
    found = in_turn(steps, rounds, budget)
    return [
        Ratio(what, pair.name, pair.family, tier, size, *spread(found, k))
        for k, tier in enumerate(losses)
    ]


def spread(rounds: list[list[float]], k: int) -> tuple[float, float, float]:
    """Ratio of step ``k`` to the last one: least, median, most."""
    ratios = [times[k] / times[-1] for times in rounds]
    return min(ratios), statistics.median(ratios), max(ratios)


NAMES = f"{'family':24} {'against':34} {'size':>8} {'tier':8}"
HEADER = f"{NAMES} {'min':>6} {'median':>6} {'max':>6}"


def line(r: Ratio) -> str:
    size = "x".join(map(str, r.size))
    names = f"{r.family:24} {r.peer:34} {size:>8} {r.tier:8}"
    return f"{names} {r.minimum:6.3f} {r.median:6.3f} {r.maximum:6.3f}"


def machine() -> dict[str, str]:
    """What the figures were taken on, without a name or a date."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "")
    return {
        "processor": model.strip() or platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
    }


def as_json(record: Mapping[str, object]) -> str:
    """One line for each figure, numbers to four digits."""
    parts = []
    for name, table in record.items():
        text = json.dumps(table)
        if isinstance(table, list):
            rows = [{k: _short(v) for k, v in row.items()} for row in table]
            text = "[\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(argv: Sequence[str] | None = None) -> int:
    import lossderiv as ld
    from benchmarks import compiled, costs

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one small size, a few rounds")
    parser.add_argument("--only", default="", metavar="WORD", help="pairs whose name has the word")
    parser.add_argument("--compile", action="store_true", help="torch.compile's times, too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    sizes, rounds, budget = (SMOKE_SIZES, 3, 0.01) if options.smoke else (SIZES, 9, 0.1)
    available = set(ld.families())
    pairs = [
        pair
        for pair in PAIRS
        if (pair.made or pair.family in available) and options.only in f"{pair.name} {pair.family}"
    ]
    ratios = []
    for what in WHAT:
        print(f"{what}, our time over the peer's, 1 thread, measured in turn")
        print(HEADER)
        for pair in pairs:
            for size in sizes_of(pair, sizes):
                for found in compare(pair, size, rounds, budget, what):
                    ratios.append(found)
                    print(line(found), flush=True)
        print()
    record = {"machine": machine(), "ratios": [asdict(r) for r in ratios]}
    record |= costs.report(pairs, options.smoke, options.compile)
    record |= compiled.report(options.smoke)
    if options.json:
        options.json.write_text(as_json(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
