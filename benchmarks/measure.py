"""The measure: errors in round-off units of what the inputs can support, counted over cases.

    nat  = |error| / (eps * C)         C = |f| + sum_j max(|x_j|, u_j) |df/dx_j|
    soft = |error| / (eps * (C + 1))   and for a slope the same with f replaced by that slope

A case is *bad* when its value or any gradient component exceeds 16 nat or is not finite, and *harm*
when it exceeds 16 soft or is not finite although the truth is representable. Where the truth lies
below the smallest normal number an error of that size is allowed: no float could say it better.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import torch
from mpmath import mp, mpf

from benchmarks.draws import Draw
from benchmarks.judge import Curvature, Truth
from benchmarks.row import LABEL, Row

SEED = 20_240_607
LIMIT = 16.0
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
DRAWS_PER_CASE = 60


@dataclass(frozen=True)
class Case:
    """One point, already rounded to the float type, and what is true there."""

    eta: tuple[float, ...]
    x: tuple[float, ...]
    extreme: bool
    truth: Truth


@dataclass(frozen=True)
class Offence:
    """One quantity of one case that a loss got worst."""

    quantity: str
    eta: tuple[float, ...]
    x: tuple[float, ...]
    truth: float
    got: float
    nat: float
    soft: float


@dataclass(frozen=True)
class Score:
    """One loss on all cases of one row."""

    row: str
    who: str
    dtype: str
    cases: int
    cases_moderate: int
    nonfinite_value: int
    nonfinite_gradient: int
    bad: int
    bad_moderate: int
    harm: int
    value_max: float
    value_p99: float
    gradient_max: float
    gradient_p99: float
    moderate_max: float
    soft_max: float
    worst: tuple[Offence, ...]

    def record(self) -> dict:
        return asdict(self)


def _round(values: Sequence[float], dtype: torch.dtype) -> tuple[float, ...]:
    return tuple(torch.tensor(values, dtype=torch.float64).to(dtype).double().tolist())


def _representable(truth: Truth, dtype: torch.dtype) -> bool:
    """No overflow in value or slope."""
    largest = mpf(torch.finfo(dtype).max)
    return all(abs(number) < largest for number in truth.numbers)


@cache
def cases(row: Row, dtype: str, moderate: int, extreme: int, seed: int = SEED) -> tuple[Case, ...]:
    """The row's cases: seeded by its name, rounded, inside the support, truths representable."""
    found: list[Case] = []
    for is_extreme, wanted in ((False, moderate), (True, extreme)):
        rng = np.random.default_rng([seed, zlib.crc32(row.name.encode()), is_extreme])
        draw = Draw(rng, is_extreme)
        kept = 0
        for _ in range(wanted * DRAWS_PER_CASE):
            if kept == wanted:
                break
            eta, x = (_round(part, DTYPES[dtype]) for part in row.case(draw))
            if not np.isfinite((*eta, *x)).all() or not row.possible(eta, x):
                continue
            truth = row.truth(eta, x)
            if _representable(truth, DTYPES[dtype]):
                found.append(Case(eta, x, is_extreme, truth))
                kept += 1
        if kept < wanted:
            raise RuntimeError(f"{row.name}: only {kept} of {wanted} cases could be drawn")
    return tuple(found)


def _nats(got: float, truth: mpf, size: mpf, dtype: torch.dtype) -> tuple[float, float]:
    """(nat, soft) of one number; infinite where it is not finite."""
    if not np.isfinite(got):
        return float("inf"), float("inf")
    info = torch.finfo(dtype)
    error, eps = abs(mpf(got) - truth), mpf(info.eps)
    if abs(truth) < info.tiny:
        error = max(error - mpf(info.tiny), mpf(0))
    if error == 0:
        return 0.0, 0.0
    hard = float(error / (eps * size)) if size else float("inf")
    return hard, float(error / (eps * (size + 1)))


Evaluate = Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor]


def target_tensor(row: Row, x: Sequence[Sequence[float]], dtype: torch.dtype) -> torch.Tensor:
    """Targets as the losses take them: labels as integers, everything else in the float type."""
    target = torch.tensor(x, dtype=torch.float64)
    if row.target_width is None:
        target = target[:, 0]
    return target.long() if row.target == LABEL else target.to(dtype)


def value_and_gradient(row: Row, evaluate: Evaluate, batch: Sequence[Case], dtype: torch.dtype):
    """Elementwise values (cases,) and gradients (cases, raw outputs), as Python floats."""
    raw = torch.tensor([case.eta for case in batch], dtype=torch.float64).to(dtype)
    raw.requires_grad_(True)
    target = target_tensor(row, [case.x for case in batch], dtype)
    values = evaluate(row.groups(raw), target)
    (gradient,) = torch.autograd.grad(values, raw, torch.ones_like(values))
    return values.detach().double().tolist(), gradient.double().tolist()


def score(
    row: Row,
    who: str,
    evaluate: Evaluate,
    dtype: str,
    batch: Sequence[Case],
    offset: Callable = lambda *x: mpf(0),
    keep_worst: int = 3,
) -> Score:
    """Measure one loss. `offset(*x)` is what its value leaves out of the exact one."""
    kind = DTYPES[dtype]
    values, gradients = value_and_gradient(row, evaluate, batch, kind)
    value_nats, gradient_nats, moderate_nats, softs, offences = [], [], [], [], []
    nonfinite_value = nonfinite_gradient = bad = bad_moderate = harm = 0
    for case, value, gradient in zip(batch, values, gradients, strict=True):
        with mp.workdps(60):
            dropped = offset(*[mpf(v) for v in case.x])
            truth = case.truth.value - dropped
            size = case.truth.value_size - abs(case.truth.value) + abs(truth)
            quantities = [("value", value, truth, size)]
            for i, got in enumerate(gradient):
                name = f"gradient[{i}]"
                true, wide = case.truth.gradient[i], case.truth.gradient_sizes[i]
                quantities.append((name, got, true, wide))
            marks = [_nats(got, true, wide, kind) for _, got, true, wide in quantities]
        soft = [m[1] for m in marks]
        mild = range(1, 1 + row.soft_outputs)
        hard = [m[1] if k in mild else m[0] for k, m in enumerate(marks)]
        value_nats.append(hard[0])
        gradient_nats.append(max(hard[1:]))
        softs.append(max(soft))
        nonfinite_value += not np.isfinite(value)
        nonfinite_gradient += not np.isfinite(gradient).all()
        bad += max(hard) > LIMIT
        harm += max(soft) > LIMIT
        if not case.extreme:
            bad_moderate += max(hard) > LIMIT
            moderate_nats.append(max(hard))
        for (name, got, true, _), nat, mild in zip(quantities, hard, soft, strict=True):
            offences.append(Offence(name, case.eta, case.x, float(true), got, nat, mild))
    offences.sort(key=lambda offence: -offence.nat)
    return Score(
        row=row.name,
        who=who,
        dtype=dtype,
        cases=len(batch),
        cases_moderate=len(moderate_nats),
        nonfinite_value=nonfinite_value,
        nonfinite_gradient=nonfinite_gradient,
        bad=bad,
        bad_moderate=bad_moderate,
        harm=harm,
        value_max=max(value_nats),
        value_p99=_p99(value_nats),
        gradient_max=max(gradient_nats),
        gradient_p99=_p99(gradient_nats),
        moderate_max=max(moderate_nats, default=0.0),
        soft_max=max(softs),
        worst=tuple(offences[:keep_worst]),
    )


@dataclass(frozen=True)
class CurvatureScore:
    """One loss's Hessian diagonal on all cases of one row, where its truth is representable."""

    row: str
    who: str
    dtype: str
    numbers: int
    nonfinite: int
    bad: int
    harm: int
    maximum: float
    p99: float
    worst: tuple[Offence, ...]

    def record(self) -> dict:
        return asdict(self)


@cache
def curvatures(row: Row, batch: tuple[Case, ...]) -> tuple[Curvature, ...]:
    """The exact Hessian diagonals of these cases."""
    return tuple(row.curvature(case.eta, case.x) for case in batch)


def score_curvature(
    row: Row, who: str, evaluate: Evaluate, dtype: str, batch: tuple[Case, ...], keep_worst: int = 3
) -> CurvatureScore:
    """Measure the second derivatives that double backward gives."""
    kind = DTYPES[dtype]
    raw = torch.tensor([case.eta for case in batch], dtype=torch.float64).to(kind)
    raw.requires_grad_(True)
    values = evaluate(row.groups(raw), target_tensor(row, [case.x for case in batch], kind))
    (gradient,) = torch.autograd.grad(values.sum(), raw, create_graph=True)
    diagonal = []
    for i in range(raw.shape[1]):
        (slope,) = torch.autograd.grad(
            gradient[:, i].sum(), raw, retain_graph=True, materialize_grads=True
        )
        diagonal.append(slope[:, i].double().tolist())
    offences = []
    largest = mpf(torch.finfo(kind).max)
    for k, (case, truth) in enumerate(zip(batch, curvatures(row, batch), strict=True)):
        for i, (true, size) in enumerate(zip(truth.numbers, truth.sizes, strict=True)):
            if abs(true) < largest:
                got = diagonal[i][k]
                with mp.workdps(60):
                    nat, soft = _nats(got, true, size, kind)
                name = f"hessian[{i}, {i}]"
                offences.append(Offence(name, case.eta, case.x, float(true), got, nat, soft))
    offences.sort(key=lambda offence: -offence.nat)
    return CurvatureScore(
        row=row.name,
        who=who,
        dtype=dtype,
        numbers=len(offences),
        nonfinite=sum(not np.isfinite(o.got) for o in offences),
        bad=sum(o.nat > LIMIT for o in offences),
        harm=sum(o.soft > LIMIT for o in offences),
        maximum=offences[0].nat,
        p99=_p99([o.nat for o in offences]),
        worst=tuple(offences[:keep_worst]),
    )


def _p99(nats: Sequence[float]) -> float:
    """The 99th percentile, as the smallest value that 99 % of the cases do not exceed."""
    return float(np.sort(nats)[max(0, int(np.ceil(0.99 * len(nats))) - 1)])


def twin(row: Row) -> Evaluate | None:
    """torch.distributions' negative log_prob, if it has the family."""
    if row.twin is None:
        return None
    return lambda eta, x: -row.twin(*eta).log_prob(x)


def peer(row: Row) -> Evaluate | None:
    """torch.nn.functional's loss, if it has the family."""
    if row.peer is None:
        return None
    return lambda eta, x: row.peer(*eta, x)


def ours(row: Row, **options) -> Evaluate:
    """The package's loss; with constants kept, the default here, the exact negative log density."""
    import lossderiv as ld

    settings = {"reduction": "none", "constants": "keep", **row.settings, **options}
    density = row.made() if row.made else row.catalogue_name
    loss = ld.loss(density, **settings, **row.fixed)
    return lambda eta, x: loss(tuple(eta) if len(eta) > 1 else eta[0], x)
