"""Special functions taken apart into the operations of a kernel.

The text of a special function is executed once, with stand-ins for its tensors and for torch
itself. Each operation that it would do is written down instead; one that a kernel has already is
not done again, so that the functions of a loss and of its gradient share what they have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from lossderiv.errors import SpellingError

FLOAT32, FLOAT64 = "torch.float32", "torch.float64"
LIMITS = {
    FLOAT32: SimpleNamespace(eps=2.0**-23, tiny=2.0**-126, max=(2 - 2.0**-23) * 2.0**127),
    FLOAT64: SimpleNamespace(eps=2.0**-52, tiny=2.0**-1022, max=(2 - 2.0**-52) * 2.0**1023),
}


@dataclass(frozen=True, eq=False)
class Recorded:
    """Stands in for a tensor of a kernel; ``record`` writes operations down."""

    record: Recorder
    name: str

    @property
    def dtype(self) -> str:
        return self.record.dtype

    def to(self, dtype: str) -> Recorded:
        return self.record("torch.Tensor.to", self, option=self.record.dtype)

    def __add__(self, other):
        return self.record.plus(self, other)

    __radd__ = __add__

    def __sub__(self, other):
        return self.record.plus(self, other, -1.0)

    def __rsub__(self, other):
        return self.record.plus(other, self, -1.0)

    def __mul__(self, other):
        return self.record.times(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        one = not isinstance(other, Recorded) and other == 1
        return self if one else self.record("torch.div", self, other)

    def __rtruediv__(self, other):
        return self.record.over(other, self)

    def __neg__(self):
        return self.record("torch.neg", self)

    def __pow__(self, exponent):
        if not isinstance(exponent, Recorded) and exponent == 2:
            return self.record.times(self, self)
        return self.record("torch.pow", self, exponent)

    def __lt__(self, other):
        return self.record("torch.lt", self, other)

    def __le__(self, other):
        return self.record("torch.le", self, other)

    def __gt__(self, other):
        return self.record("torch.gt", self, other)

    def __ge__(self, other):
        return self.record("torch.ge", self, other)

    def __eq__(self, other):
        return self.record("torch.eq", self, other)

    def __ne__(self, other):
        return self.record("torch.ne", self, other)

    __hash__ = None

    def __bool__(self):
        raise SpellingError(
            "The text of a special function asks whether a tensor is true. A kernel has no answer "
            "before it is given numbers: choose by torch.where in lossderiv/special.py."
        )

    def __and__(self, other):
        return self.record("torch.logical_and", self, other)

    def __or__(self, other):
        return self.record("torch.logical_or", self, other)

    def __invert__(self):
        return self.record("torch.logical_not", self)


Operand = Recorded | float


class Recorder:
    """Writes down operations by ``new(call, *operands, option=...)``, which names their results.

    ``constant`` names a tensor without axes that holds a number, ``like`` a tensor of the kernel.
    """

    def __init__(self, new: Callable, constant: Callable[[float], str], like: str, dtype: str):
        self.new, self.constant, self.like, self.dtype = new, constant, like, dtype
        self.multiples: dict[str, tuple[str, float]] = {}  # name -> a, n of n a

    def __call__(self, call: str, *operands: Operand, option: str = "") -> Recorded:
        texts = (a.name if isinstance(a, Recorded) else a for a in operands)
        return Recorded(self, self.new(call, *texts, option=option))

    def number(self, number: float) -> Recorded:
        return Recorded(self, self.constant(float(number)))

    def plus(self, a: Operand, b: Operand, sign: float = 1.0) -> Operand:
        """``a + sign * b``."""
        if not isinstance(b, Recorded):
            return a if b == 0 else self("torch.add", self.number(sign * b), a)
        if not isinstance(a, Recorded):
            if a == 0:
                return b if sign == 1.0 else -b
            a = self.number(a)
        return self("torch.add" if sign > 0 else "torch.sub", a, b)

    def times(self, a: Recorded, b: Operand) -> Operand:
        """``a b``; the multiples of a tensor are remembered, since a sum can make them itself."""
        if isinstance(b, Recorded):
            return self("torch.mul", a, b)
        if b == 0:
            return 0.0
        if abs(b) == 1:
            return a if b > 0 else -a
        found = self("torch.add", self.number(0.0), a, option=f"alpha={float(b)!r}")
        self.multiples[found.name] = a.name, float(b)
        return found

    def over(self, a: float, b: Recorded) -> Operand:
        if a == 0:
            return 0.0
        return self("torch.reciprocal", b) if a == 1 else self("torch.div", self.number(a), b)

    def where(self, mask: Recorded, a: Operand, b: Operand) -> Recorded:
        if not (isinstance(a, Recorded) or isinstance(b, Recorded)):
            a = self("torch.full_like", Recorded(self, self.like), a)
        return self("select", mask, a, b)


class FakeTorch:
    """What the text of a special function finds under the name ``torch``."""

    float32, float64, inf = FLOAT32, FLOAT64, math.inf

    def __init__(self, record: Recorder):
        self.where, self._record, self._path = record.where, record, "torch"

    def zeros_like(self, like: Recorded) -> float:
        return 0.0

    def full_like(self, like: Recorded, number: float) -> float:
        return number

    def relu(self, u: Recorded) -> Recorded:
        return self._record("torch.clamp_min", u, 0.0)

    def finfo(self, dtype: str) -> SimpleNamespace:
        return LIMITS[dtype]

    @property
    def special(self) -> FakeTorch:
        inner = FakeTorch(self._record)
        inner._path = "torch.special"
        return inner

    def __getattr__(self, name: str) -> Callable:
        return lambda *operands: self._record(f"{self._path}.{name}", *operands)


def play(texts: dict[str, str], name: str, record: Recorder, arguments: tuple) -> Recorded:
    """Write down what the function ``name`` does to ``arguments``; ``texts`` has all it calls."""
    space: dict[str, object] = {"torch": FakeTorch(record)}
    for function, text in texts.items():
        exec(compile(text, f"<special function {function}>", "exec"), space)
    found = space[name](*arguments)
    if not isinstance(found, Recorded):
        raise SpellingError(
            f"The special function {name} comes to the same number, {found!r}, whatever it is "
            "given. Put that number into the formula, or mend its text in lossderiv/special.py."
        )
    return found
