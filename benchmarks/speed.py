"""Print how long forward and backward take, as ratios to torch's own loss.

    python benchmarks/speed.py                    a minute or two
    python benchmarks/speed.py --smoke            a few seconds, for CI
    python benchmarks/speed.py --json speed.json

Peers are torch.nn.functional's losses, or torch.distributions' `log_prob` (marked *). Every pair is
measured in turn, ours and the peer alternating within one run, on one thread with reduction "mean";
a ratio below 1 means ours is faster. Time is the thread's own, so that waiting for a busy machine
does not count; absolute times still mean little.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.distributions as D
import torch.nn.functional as F

SIZES = ((64, 64), (128, 784), (4096, 784))
SMOKE_SIZES = ((64, 64),)
FINE = time.get_clock_info("thread_time").resolution < 1e-6  # it is not on Windows
CLOCK = time.thread_time if FINE else time.perf_counter


@dataclass(frozen=True)
class Pair:
    """Our loss and the loss it is timed against, on the same raw outputs and target.

    ``classes`` are split off the last axis. ``made`` gives the density where that is not in the
    catalogue; ``same`` is how closely both slopes agree in float64.
    """

    name: str
    family: str
    peer: Callable
    target: str = "real"
    outputs: int = 1
    classes: int = 0
    fixed: Mapping[str, object] = field(default_factory=dict)
    made: Callable | None = None
    same: float = 1e-9

    def loss(self, **options):
        """Ours."""
        import lossderiv as ld

        return ld.loss(self.made() if self.made else self.family, **self.fixed, **options)


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


def minus_log_prob(distribution: Callable) -> Callable:
    return lambda *args: -distribution(*args[:-1]).log_prob(args[-1]).mean()


PAIRS = (
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
    Pair(
        "Normal*",
        "normal",
        minus_log_prob(lambda mu, s: D.Normal(mu, s.exp(), validate_args=False)),
        outputs=2,
    ),
    Pair(
        "Laplace*",
        "laplace",
        minus_log_prob(lambda mu, b: D.Laplace(mu, b.exp(), validate_args=False)),
        outputs=2,
    ),
    Pair(
        "ContinuousBernoulli*",
        "continuous_bernoulli",
        minus_log_prob(lambda eta: D.ContinuousBernoulli(logits=eta, validate_args=False)),
        target="grey",
    ),
    Pair(
        "StudentT*",
        "student_t",
        minus_log_prob(lambda m, s, v: D.StudentT(v.exp(), m, s.exp(), validate_args=False)),
        outputs=3,
    ),
    Pair(
        "NegativeBinomial*",
        "negative_binomial",
        minus_log_prob(
            lambda m, a: D.NegativeBinomial((-a).exp(), logits=m + a, validate_args=False)
        ),
        target="count",
        outputs=2,
    ),
    Pair(
        "Beta*",
        "beta",
        minus_log_prob(lambda a, b: D.Beta(a.exp(), b.exp(), validate_args=False)),
        target="open unit",
        outputs=2,
    ),
    Pair(
        "Gamma*",
        "gamma",
        minus_log_prob(lambda a, r: D.Gamma(a.exp(), r.exp(), validate_args=False)),
        target="positive",
        outputs=2,
    ),
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

TARGETS: Mapping[str, Callable] = {  # but for labels
    "real": lambda size, g: torch.randn(size, generator=g),
    "binary": lambda size, g: torch.randint(0, 2, size, generator=g).float(),
    "grey": lambda size, g: torch.rand(size, generator=g),
    "open unit": lambda size, g: 0.01 + 0.98 * torch.rand(size, generator=g),
    "positive": lambda size, g: torch.randn(size, generator=g).exp(),
    "count": lambda size, g: torch.randint(0, 20, size, generator=g).float(),
    "level": lambda size, g: torch.randint(0, LEVELS, size, generator=g).float(),
}


@dataclass(frozen=True)
class Ratio:
    """Our time over the peer's: one ratio a round, each from `repeats` steps of either."""

    peer: str
    family: str
    size: tuple[int, ...]
    minimum: float
    median: float
    maximum: float
    rounds: int
    repeats: int


def inputs(pair: Pair, size: tuple[int, int]):
    """Raw outputs that need a gradient, and a target."""
    g = torch.Generator().manual_seed(0)
    rows = size[0] * size[1] // pair.classes if pair.classes else 0
    shape = (rows, pair.classes) if pair.classes else size
    raw = [torch.randn(shape, generator=g).requires_grad_(True) for _ in range(pair.outputs)]
    if pair.target == "label":
        return raw, torch.randint(0, pair.classes, (rows,), generator=g)
    return raw, TARGETS[pair.target](shape[:1] if pair.classes else shape, g)


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


def compare(pair: Pair, size: tuple[int, int], rounds: int, budget: float) -> Ratio:
    """Alternate ours and the peer, step by step; one round takes about `budget` seconds.

    A round's ratio is that of the two median steps, which an interrupted step does not move.
    """
    loss = pair.loss()
    raw, target = inputs(pair, size)
    ours = stepper(
        (lambda *args: loss(args[:-1], args[-1])) if pair.outputs > 1 else loss, raw, target
    )
    peer = stepper(pair.peer, raw, target)
    warm = [(seconds(ours), seconds(peer)) for _ in range(3)]
    repeats = max(3, round(budget / min(sum(pair) for pair in warm)))
    ratios = []
    for _ in range(rounds):
        times = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
        ratios.append(
            statistics.median(a for a, _ in times) / statistics.median(b for _, b in times)
        )
    return Ratio(
        pair.name,
        pair.family,
        size,
        min(ratios),
        statistics.median(ratios),
        max(ratios),
        rounds,
        repeats,
    )


HEADER = f"{'family':22} {'against':36} {'size':>9} {'min':>6} {'median':>6} {'max':>6}"


def line(r: Ratio) -> str:
    size = "x".join(map(str, r.size))
    return f"{r.family:22} {r.peer:36} {size:>9} {r.minimum:6.2f} {r.median:6.2f} {r.maximum:6.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    import lossderiv as ld

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one small size, a few rounds")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the ratios there too")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    sizes, rounds, budget = (SMOKE_SIZES, 3, 0.02) if options.smoke else (SIZES, 15, 0.1)
    available = set(ld.families())
    print("forward + backward, our time over the peer's, 1 thread, measured in turn")
    print(HEADER)
    ratios = []
    for pair in PAIRS:
        if pair.made is None and pair.family not in available:
            continue
        for size in sizes:
            ratios.append(compare(pair, size, rounds, budget))
            print(line(ratios[-1]), flush=True)
    if options.json:
        record = {"torch": torch.__version__, "ratios": [asdict(r) for r in ratios]}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
