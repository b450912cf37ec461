"""What a row of the table is: one family's truth, its inputs and its counterparts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mpmath import mp, mpf

from benchmarks import judge
from benchmarks.draws import Draw

LOCATION, LOG, LOGIT, REAL, SOFTPLUS = "location", "log", "logit", "real", "softplus"
CONTINUOUS_REAL, CONTINUOUS, DISCRETE, LABEL = "real", "continuous", "discrete", "label"

INVERSE_LINKS: Mapping[str, Callable] = {
    LOCATION: lambda eta: eta,
    REAL: lambda eta: eta,
    LOG: judge.exp,
    LOGIT: judge.sigmoid,
    SOFTPLUS: lambda eta: judge.log(1 + judge.exp(eta)),
}


@dataclass(frozen=True)
class Output:
    """One raw output: its kind (which fixes inverse link and unit), its width if a vector."""

    name: str
    kind: str
    width: int | None = None


def location(name: str = "mu", width: int | None = None) -> Output:
    """The identity link; judged in units of the family's scale."""
    return Output(name, LOCATION, width)


def log_of(name: str, width: int | None = None) -> Output:
    return Output(name, LOG, width)


def logit_of(name: str = "p") -> Output:
    return Output(name, LOGIT)


def real(name: str, width: int | None = None) -> Output:
    """The identity link, judged in units of 1."""
    return Output(name, REAL, width)


def logits_of(name: str, width: int) -> Output:
    """Raw scores that a softmax turns into probabilities."""
    return Output(name, "simplex", width)


@dataclass(frozen=True, eq=False)
class Row:
    """One family, or one family with parameters fixed.

    `nll(*theta, x)` is the textbook formula; `case(draw)` returns raw outputs and targets as two
    flat tuples; `scale(*theta)` is the unit of locations and real targets, one number or one per
    component. `twin(*eta)` is torch's distribution of the raw outputs; `peer(*eta, x)` the
    torch.nn.functional loss, which leaves out `peer_offset(x)` of the exact negative log density.
    `settings` are keywords that our loss needs for this row; `made` gives its density where that is
    not in the catalogue; the first `soft_outputs` slopes, those in a mixture's scores, are judged
    in soft units. Rows are made once and compare by identity.
    """

    name: str
    outputs: tuple[Output, ...]
    nll: Callable
    case: Callable[[Draw], tuple[tuple[float, ...], tuple[float, ...]]]
    family: str = ""
    fixed: Mapping[str, object] = field(default_factory=dict)
    target: str = CONTINUOUS
    target_width: int | None = None
    scale: Callable = lambda *theta: mpf(1)
    inside: Callable = lambda theta, x: True
    smooth: Callable = lambda theta, x: True
    twin: Callable | None = None
    twin_dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16")
    peer: Callable | None = None
    peer_offset: Callable = lambda *x: mpf(0)
    value_bound: float = 8.0
    gradient_bound: float = 8.0
    extra_digits: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)
    made: Callable | None = None
    soft_outputs: int = 0

    @property
    def catalogue_name(self) -> str:
        return self.family or self.name

    @property
    def count_outputs(self) -> int:
        """How many raw numbers one event takes."""
        return sum(output.width or 1 for output in self.outputs)

    def theta(self, eta: list) -> list:
        """Raw outputs, flat, to parameters: numbers, or lists for vector outputs."""
        theta, at = [], 0
        for output in self.outputs:
            raw = eta[at : at + (output.width or 1)]
            at += len(raw)
            if output.kind == "simplex":
                theta.append(judge.softmax(raw))
                continue
            value = [INVERSE_LINKS[output.kind](u) for u in raw]
            theta.append(value if output.width else value[0])
        return theta

    def groups(self, flat) -> list:
        """Columns of a (cases, raw numbers) tensor, grouped as the loss takes them."""
        parts, at = [], 0
        for output in self.outputs:
            width = output.width or 1
            parts.append(flat[:, at : at + width] if output.width else flat[:, at])
            at += width
        return parts

    def units(self, theta: list) -> tuple[list, list]:
        """The natural unit of every raw output and of every continuous target."""
        scale = self.scale(*[judge_values(t) for t in theta])
        component = (lambda i: scale[i]) if isinstance(scale, list) else (lambda i: scale)
        raw = [
            component(i) if output.kind == LOCATION else mpf(1)
            for output in self.outputs
            for i in range(output.width or 1)
        ]
        if self.target not in (CONTINUOUS_REAL, CONTINUOUS):
            return raw, []
        wide = self.target_width or 1
        return raw, [
            component(i) if self.target == CONTINUOUS_REAL else mpf(0) for i in range(wide)
        ]

    def nll_at(self, theta: list, x: list):
        """The textbook formula with its fixed numbers filled in."""
        code = self.nll.__code__
        names = code.co_varnames[: code.co_argcount]
        numbers = {name: v for name, v in self.fixed.items() if name in names}
        return self.nll(*theta, list(x) if self.target_width else x[0], **numbers)

    def truth(self, eta: tuple[float, ...], x: tuple[float, ...]) -> judge.Truth:
        """The exact negative log density and gradient at exactly these numbers."""
        formula, inputs = self._formula(eta, x)
        return judge.judge(formula, inputs, len(eta), self.extra_digits)

    def curvature(self, eta: tuple[float, ...], x: tuple[float, ...]) -> judge.Curvature:
        """The exact diagonal of the Hessian at exactly these numbers."""
        formula, inputs = self._formula(eta, x)
        return judge.judge_curvature(formula, inputs, len(eta), self.extra_digits)

    def _formula(self, eta: tuple[float, ...], x: tuple[float, ...]):
        """What the judge evaluates, and its inputs: the raw outputs and a continuous target."""
        continuous = self.target in (CONTINUOUS_REAL, CONTINUOUS)
        split = len(eta)

        def formula(jets):
            theta = self.theta(jets[:split])
            target = jets[split:] if continuous else [mpf(v) for v in x]
            raw_units, target_units = self.units(theta)
            return self.nll_at(theta, target), raw_units + target_units

        return formula, (*eta, *x) if continuous else eta

    def possible(self, eta: tuple[float, ...], x: tuple[float, ...]) -> bool:
        """Is this, after rounding, a point of the support where the loss has a slope?"""
        with mp.workdps(80):
            theta = self.theta([mpf(v) for v in eta])
            point = [mpf(v) for v in x] if self.target_width else mpf(x[0])
            return bool(self.inside(theta, point)) and bool(self.smooth(theta, point))


def judge_values(theta):
    """Plain numbers in place of jets."""
    return [judge.value_of(t) for t in theta] if isinstance(theta, list) else judge.value_of(theta)


def with_softplus(row: Row) -> Row:
    """The same family with softplus in place of exp; torch has no counterpart of it."""
    outputs = tuple(
        replace(output, kind=SOFTPLUS) if output.kind == LOG else output for output in row.outputs
    )
    links = {output.name: "softplus" for output in row.outputs if output.kind == LOG}
    name = f"{row.name}, softplus"
    return replace(
        row,
        name=name,
        family=row.catalogue_name,
        outputs=outputs,
        settings={"links": links},
        twin=None,
        peer=None,
    )
