"""TABLE of the book's exercises, and the marker that says which term of an answer is off.

A row asks for a function of raw outputs and target. Its reference is a derivation: the marker
evaluates the derived formula, and its single terms, at random points in double precision.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import sympy as sp
import torch
from torch import Tensor

from lossderiv.autograd import torch_function
from lossderiv.derivations import density, derive
from lossderiv.domains import Angle, Integer, NonNegative, Positive, Real, Unit
from lossderiv.errors import UnknownNameError
from lossderiv.symbolic.records import Density, Derivation
from lossderiv.symbolic.render import plain

EXAMPLES, PIXELS = 3, 5  # of a batch; coprime, so that a wrong divisor can be told
BATCHES = 12
TOLERANCE = 1e-9
NEGLIGIBLE = 1e-6  # of a coefficient that was solved for
ONE = "1"


@density
def exponential(x: NonNegative, rate: Positive):
    """Waiting time until an event that comes at a constant rate."""
    return rate * sp.exp(-rate * x)


@density
def rayleigh(x: NonNegative, s: Positive):
    """Length of a vector whose two parts are Gaussian with standard deviation s."""
    return x / s**2 * sp.exp(-(x**2) / (2 * s**2))


@density
def by_precision(x: Real, mu: Real, tau: Positive):
    """A Gaussian by its precision tau, one over the variance."""
    return sp.sqrt(tau / (2 * sp.pi)) * sp.exp(-tau * (x - mu) ** 2 / 2)


@density
def falling(x: Unit, b: Positive):
    """What is left of an exponential density between 0 and 1."""
    return sp.exp(-x / b) / (b * (1 - sp.exp(-1 / b)))


@density
def wound_cauchy(x: Angle, mu: Angle, rho: Unit):
    """Cauchy's density, wound around the circle."""
    below = (1 - rho) ** 2 + 4 * rho * sp.sin((x - mu) / 2) ** 2
    return (1 - rho**2) / (2 * sp.pi * below)


@density
def blank_or_count(x: Integer(0, 16), blank: Unit, p: Unit):
    """Sixteen points, all white with probability blank."""
    count = sp.binomial(16, x) * p**x * (1 - p) ** (16 - x)
    zero = blank + (1 - blank) * (1 - p) ** 16
    return sp.Piecewise((zero, sp.Eq(x, 0)), ((1 - blank) * count, True))


@density
def flat_levels(x: Integer(0, 16), eta: Real):
    """Levels 0 to 16, tilted by eta, nothing else."""
    return sp.exp(eta * x) / sum(sp.exp(eta * k) for k in range(17))


@density
def given_neighbour(x: Real, y: Real, rho: Unit):
    """A standardised residual, given its left neighbour y and their correlation rho."""
    rest = 1 - rho**2
    return sp.exp(-((x - rho * y) ** 2) / (2 * rest)) / sp.sqrt(2 * sp.pi * rest)


@dataclass(frozen=True)
class Exercise:
    """What is asked, and the derivation that holds the answer.

    ``returns`` is ``"nll"`` (exact), ``"loss"`` (constants dropped), ``"slope"`` (of that loss in
    the first raw output) or ``"mean"`` (of x, given the output). ``far`` adds outputs of that
    size, where only a stable formula survives.
    """

    asks: str
    of: str | Density
    returns: str
    reduction: str = "none"
    fixed: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    far: float = 0.0

    @property
    def derivation(self) -> Derivation:
        return derive(self.of, links=self.links, **self.fixed)


EXERCISES: dict[str, Exercise] = {
    "5.1": Exercise(
        "the exact negative log-likelihood of an exponential density, rate = exp(eta)",
        of=exponential,
        returns="nll",
    ),
    "5.2": Exercise(
        "the exact negative log-likelihood of an image under a Gaussian of width 1: summed over "
        "pixels, averaged over images",
        of="normal",
        fixed={"sigma": 1},
        returns="nll",
        reduction="images",
    ),
    "5.3": Exercise(
        "the Rayleigh density's loss with s = softplus(eta)",
        of=rayleigh,
        links={"s": "softplus"},
        returns="loss",
    ),
    "6.1": Exercise(
        "the loss of a Gaussian of width 0.1",
        of="normal",
        fixed={"sigma": 0.1},
        returns="loss",
    ),
    "6.2": Exercise(
        "the exact negative log-likelihood of an image under a Gaussian of width 0.1: summed over "
        "pixels, averaged over images",
        of="normal",
        fixed={"sigma": 0.1},
        returns="nll",
        reduction="images",
    ),
    "6.3": Exercise(
        "the loss of a Gaussian with a learned width: two raw outputs, sigma = exp(eta_sigma)",
        of="normal",
        returns="loss",
    ),
    "7.1": Exercise(
        "the slope of the binary cross-entropy in the logit",
        of="bernoulli",
        returns="slope",
    ),
    "7.2": Exercise(
        "the binary cross-entropy in the logit, safe at any logit",
        of="bernoulli",
        returns="loss",
        far=800.0,
    ),
    "7.3": Exercise(
        "the exact negative log-likelihood of the continuous Bernoulli in the logit, eta not 0",
        of="continuous_bernoulli",
        returns="nll",
    ),
    "7.4": Exercise(
        "the mean of the continuous Bernoulli, given its logit (not 0)",
        of="continuous_bernoulli",
        returns="mean",
    ),
    "8.1": Exercise(
        "the exact negative log-likelihood of a Gaussian whose width is softplus(eta_sigma)",
        of="normal",
        links={"sigma": "softplus"},
        returns="nll",
    ),
    "8.2": Exercise(
        "the slope in eta_mu of the loss of a Gaussian with a learned width, sigma = "
        "exp(eta_sigma)",
        of="normal",
        returns="slope",
    ),
    "8.3": Exercise(
        "the loss of a Gaussian with a learned precision: two raw outputs, tau = exp(eta_tau)",
        of=by_precision,
        returns="loss",
    ),
    "9.1": Exercise(
        "the slope in eta of the loss of Student's t with nu = 3 and width 1",
        of="student_t",
        fixed={"sigma": 1, "nu": 3},
        returns="slope",
    ),
    "9.2": Exercise(
        "the loss of a Cauchy density with a learned width: two raw outputs, "
        "gamma = exp(eta_gamma)",
        of="cauchy",
        returns="loss",
    ),
    "9.3": Exercise(
        "Huber's loss for width 1 and delta = 1",
        of="huber",
        fixed={"sigma": 1, "delta": 1},
        returns="loss",
    ),
    "10.1": Exercise(
        "the slope in the logit of the binomial loss with n = 16",
        of="binomial",
        fixed={"n": 16},
        returns="slope",
    ),
    "10.2": Exercise(
        "the exact negative log-likelihood of a Poisson count, rate = exp(eta)",
        of="poisson",
        returns="nll",
    ),
    "10.3": Exercise(
        "the binomial loss with n = 16, by the binary cross-entropy",
        of="binomial",
        fixed={"n": 16},
        returns="loss",
    ),
    "11.1": Exercise(
        "the slope of the Poisson loss in the log of the rate",
        of="poisson",
        returns="slope",
    ),
    "11.2": Exercise(
        "the slope of the exponential density's loss in the log of the rate",
        of="exponential",
        returns="slope",
    ),
    "11.3": Exercise(
        "the mean of a binomial count of 16, given its logit",
        of="binomial",
        returns="mean",
        fixed={"n": 16},
    ),
    "12.1": Exercise(
        "the exact negative log-likelihood of P(x) proportional to exp(eta x) on 0 ... 16",
        of=flat_levels,
        returns="nll",
    ),
    "12.2": Exercise(
        "the slope in eta of that loss",
        of=flat_levels,
        returns="slope",
    ),
    "12.3": Exercise(
        "the exact negative log-likelihood of each image: binomial levels, n = 16, summed over "
        "pixels",
        of="binomial",
        fixed={"n": 16},
        returns="nll",
        reduction="each image",
    ),
    "13.1": Exercise(
        "the slope in eta of the loss of Laplace's density, b = 0.1",
        of="laplace",
        fixed={"b": 0.1},
        returns="slope",
    ),
    "13.2": Exercise(
        "the exact negative log-likelihood of a residual given its neighbour's: the raw outputs y "
        "and eta_rho, rho = logistic(eta_rho)",
        of=given_neighbour,
        returns="nll",
    ),
    "14.1": Exercise(
        "the exact negative log-likelihood of a black and white image: Bernoulli pixels, summed "
        "over pixels, averaged over images",
        of="bernoulli",
        returns="nll",
        reduction="images",
    ),
    "14.2": Exercise(
        "the binomial loss of an image, n = 16: summed over pixels, averaged over images",
        of="binomial",
        fixed={"n": 16},
        returns="loss",
        reduction="images",
    ),
    "14.3": Exercise(
        "the exact negative log-likelihood of an image under a Gaussian of width 0.2: summed over "
        "pixels, averaged over images",
        of="normal",
        fixed={"sigma": 0.2},
        returns="nll",
        reduction="images",
    ),
    "15.1": Exercise(
        "the exact negative log-likelihood of exp(-x/b) on [0, 1], normalised; b = exp(eta)",
        of=falling,
        returns="nll",
    ),
    "15.2": Exercise(
        "the slope in eta_mu of the wound Cauchy density's loss, rho = logistic(eta_rho)",
        of=wound_cauchy,
        returns="slope",
    ),
    "15.3": Exercise(
        "the loss of a zero-inflated binomial count of 16: logits eta_blank and eta_p",
        of=blank_or_count,
        returns="loss",
    ),
    "16.1": Exercise(
        "the exact negative log-likelihood of Laplace's density with b = 0.1, averaged over all "
        "elements",
        of="laplace",
        fixed={"b": 0.1},
        returns="nll",
        reduction="mean",
    ),
    "16.2": Exercise(
        "half the squared error of an image: summed over pixels, averaged over images",
        of="normal",
        fixed={"sigma": 1},
        returns="loss",
        reduction="images",
    ),
}

REDUCTIONS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "none": ("one number for each element", lambda v: v),
    "mean": ("the mean over all elements", lambda v: v.mean()),
    "sum": ("the sum over all elements", lambda v: v.sum()),
    "images": ("the sum over pixels, averaged over images", lambda v: v.sum(1).mean()),
    "pixels": ("the sum over images, averaged over pixels", lambda v: v.sum(0).mean()),
    "each image": ("one sum for each image", lambda v: v.sum(1)),
    "each mean": ("one mean for each image", lambda v: v.mean(1)),
}


@dataclass(frozen=True)
class Marked:
    """What :func:`check_exercise` found: ``ok``, and the sentence that it prints."""

    id: str
    ok: bool
    message: str

    def __str__(self) -> str:
        return textwrap.fill(f"Exercise {self.id}: {self.message}", 72)

    __repr__ = __str__


def check_exercise(id: str, f: Callable[..., Tensor]) -> Marked:
    """Compare your function with the exercise's derivation, and say which term is off.

    ``f`` is called with float64 tensors of shape (images, pixels): the raw outputs in the order
    of the derivation, then the target (unless none is needed). The comparison is at random points,
    to nine digits.

    Raises ``UnknownNameError`` for an exercise that does not exist.

    >>> import torch, lossderiv as ld
    >>> ld.check_exercise("7.1", lambda eta, x: torch.sigmoid(eta) - x)
    Exercise 7.1: correct.
    >>> ld.check_exercise("7.1", lambda eta, x: x - torch.sigmoid(eta))
    Exercise 7.1: not yet. The sign is wrong: every value is -1 times the right one.
    """
    if id not in EXERCISES:
        near = difflib.get_close_matches(str(id), EXERCISES, n=3, cutoff=0.5)
        hint = (
            f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(EXERCISES)}."
        )
        raise UnknownNameError(f"There is no exercise {id!r} to check. {hint}")
    fault = _fault(EXERCISES[id], f)
    return Marked(id, not fault, f"not yet. {fault}" if fault else "correct.")


def _fault(exercise: Exercise, f: Callable[..., Tensor]) -> str:
    """What is wrong with ``f``; empty when nothing is."""
    reference = _Reference(exercise)
    batches = list(reference.batches())
    answers = [f(*batch) for batch in batches]
    for answer in answers:
        if not isinstance(answer, Tensor | float | int):
            kind = type(answer).__name__
            return f"The function returns {kind}, not a tensor: put your formula in its place."
    got = [torch.as_tensor(a).double() for a in answers]
    _, reduce = REDUCTIONS[exercise.reduction]
    columns = [reference(batch) for batch in batches]  # (value, *terms) for each batch
    want = [reduce(c[0]) for c in columns]
    fault = _reduction_fault(got, [c[0] for c in columns], exercise.reduction)
    if fault:
        return fault
    at_point = _points(batches, reference.names, got[0].dim() > 0)
    fault = _non_finite(got, at_point) or _value_fault(
        torch.cat([g.flatten() for g in got]),
        torch.cat([w.flatten() for w in want]),
        [torch.cat([reduce(c[k]).flatten() for c in columns]) for k in range(1, len(columns[0]))],
        reference,
        at_point,
    )
    if fault.startswith("At ") and exercise.reduction == "none":
        fault += reference.what_moves(f)
    return fault or (_far_fault(exercise, reference, f) if exercise.far else "")


class _Reference:
    """The derived formula of an exercise and its terms, as torch functions, with random points."""

    def __init__(self, exercise: Exercise):
        d = self.derivation = exercise.derivation
        x = () if exercise.returns == "mean" else (str(d.density.variable),)
        self.names = (*d.outputs, *x)
        expr = _formula(d, exercise.returns)
        constant, rest = expr.as_independent(*expr.free_symbols, as_Add=True)
        terms = [*sp.Add.make_args(rest), *([constant] if constant != 0 else [])]
        self.count = len(terms)  # those asked for; one more, which must not be there, may follow
        if constant == 0:
            terms.append(d.dropped if exercise.returns == "loss" and d.dropped != 0 else sp.S.One)
        self.term_names = tuple(plain(t) for t in terms)
        self._function = torch_function(list(self.names), (expr, *terms), ())

    def __call__(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = self._function(*batch)
        return tuple(torch.as_tensor(v, dtype=torch.float64).expand_as(batch[0]) for v in values)

    def batches(self, seed: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Random raw outputs and targets inside the support; the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        shape = (EXAMPLES, PIXELS)
        data = self.derivation.density.data
        for _ in range(BATCHES):
            draw = [1.5 * torch.randn(shape, generator=generator).double() for _ in self.names]
            takes_target = len(self.names) > len(self.derivation.outputs)
            yield (*draw[:-1], _into(data, draw[-1])) if takes_target else tuple(draw)

    def what_moves(self, f: Callable[..., Tensor]) -> str:
        """On which arguments the difference between ``f`` and the reference depends."""
        base, other = next(self.batches()), next(self.batches(seed=1))

        def gap(batch):
            return torch.as_tensor(f(*batch)).double() - self(batch)[0]

        still = [
            name
            for k, name in enumerate(self.names)
            if _same(gap((*base[:k], other[k], *base[k + 1 :])), gap(base))
        ]
        moving = [name for name in self.names if name not in still]
        if not still or not moving:
            return ""
        return (
            f" The difference depends on {' and '.join(moving)} but not on "
            f"{' or '.join(still)}: look for a term without {' or '.join(still)}."
        )


def _formula(d: Derivation, returns: str) -> sp.Expr:
    slope = d.gradient[d.outputs[0]]
    return {
        "loss": d.loss,
        "nll": d.scale * d.loss + d.dropped,
        "slope": slope,
        "mean": slope + d.density.variable,  # of the families asked, the slope is mean - x
    }[returns]


def _into(data, draw: Tensor) -> Tensor:
    """Real numbers moved into the support of the data."""
    if data.integer:
        return (draw > 0).double()
    if data.low == 0 and data.high == 1:
        return torch.sigmoid(draw)
    return draw.abs() if data.low == 0 else draw


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    return bool(((a - b).abs() <= TOLERANCE * torch.clamp(b.abs(), min=1.0)).all())


def _reduction_fault(got: list[Tensor], elements: list[Tensor], asked: str) -> str:
    """Right values, wrongly summed or averaged; or a shape that cannot be right."""
    words, reduce = REDUCTIONS[asked]
    if all(_same(g, reduce(e)) for g, e in zip(got, elements, strict=True)):
        return ""
    for other, (found, way) in REDUCTIONS.items():
        if other != asked and all(_same(g, way(e)) for g, e in zip(got, elements, strict=True)):
            return f"The terms are right, the reduction is not: this is {found}; asked is {words}."
    wanted = reduce(elements[0]).shape
    if got[0].shape != wanted:
        return (
            f"The result has shape {tuple(got[0].shape)} for a batch of {EXAMPLES} images of "
            f"{PIXELS} pixels, and should have shape {tuple(wanted)}: {words}."
        )
    return ""


def _points(batches, names, elementwise: bool) -> Callable[[int], str]:
    def at_point(k: int) -> str:
        if not elementwise:
            return f"batch {k}"
        values = [torch.cat([b[n].flatten() for b in batches])[k] for n in range(len(names))]
        return ", ".join(f"{n} = {v.item():.4g}" for n, v in zip(names, values, strict=True))

    return at_point


def _non_finite(got: list[Tensor], at_point) -> str:
    bad = ~torch.cat([g.flatten() for g in got]).isfinite()
    if not bool(bad.any()):
        return ""
    k = int(bad.nonzero()[0])
    return f"The value at {at_point(k)} is not finite: look for a log of 0 or an overflowing exp."


def _value_fault(got: Tensor, want: Tensor, terms: list[Tensor], reference, at_point) -> str:
    """Which multiples of the reference's own terms explain the answer, if any do."""
    if _same(got, want):
        return ""
    basis = torch.stack(terms, dim=1)
    times = torch.linalg.lstsq(basis, got[:, None]).solution[:, 0]
    if not _same(basis @ times, got):
        k = int((got - want).abs().argmax())
        return (
            f"At {at_point(k)} the value is {got[k].item():.6g} and should be {want[k].item():.6g}."
        )
    times = times.tolist()
    asked, extra = times[: reference.count], times[reference.count :]
    factor = asked[0]
    if all(abs(t - factor) < NEGLIGIBLE for t in asked) and abs(factor - 1) > NEGLIGIBLE:
        faults = [
            "the sign is wrong: every value is -1 times the right one"
            if abs(factor + 1) < NEGLIGIBLE
            else f"the factor is wrong: every term is there {factor:.6g} times"
        ]
    else:
        named = zip(reference.term_names, asked, strict=False)
        faults = [_term_fault(name, t) for name, t in named if abs(t - 1) > NEGLIGIBLE]
    faults += [_extra_fault(reference, t) for t in extra if abs(t) > NEGLIGIBLE]
    text = "; ".join(faults)
    return text[0].upper() + text[1:] + "."


def _term_fault(term: str, times: float) -> str:
    if abs(times) < NEGLIGIBLE:
        return f"the term {term} is missing"
    if abs(times + 1) < NEGLIGIBLE:
        return f"the term {term} has the wrong sign"
    return f"the term {term} is there {times:.4g} times instead of once"


def _extra_fault(reference, times: float) -> str:
    if reference.term_names[-1] == ONE:
        return f"a constant is off: every value is {abs(times):.6g} too {_way(times)}"
    term = reference.term_names[-1]
    if abs(times - 1) < NEGLIGIBLE:
        return f"the term {term}, which no output moves, is still there: asked is the loss without"
    return f"there are {times:.4g} times {term} too much, a term that no output moves"


def _way(amount: float) -> str:
    return "large" if amount > 0 else "small"


def _far_fault(exercise: Exercise, reference: _Reference, f) -> str:
    """Right at ordinary points: is it right far out as well?"""
    x = reference.derivation.density.data.typical
    for size in (exercise.far, -exercise.far):
        for target in x:
            point = (torch.tensor([[size]]).double(), torch.tensor([[float(target)]]).double())
            got, want = torch.as_tensor(f(*point)).double(), reference(point)[0]
            if not _same(got, want):
                return (
                    f"Right at ordinary points, but at {reference.names[0]} = {size:g}, x = "
                    f"{target:g} it gives {got.item():g} and should give {want.item():g}: the "
                    "formula overflows."
                )
    return ""
