"""The operations of a kernel: fused where one step can do two, and each given a buffer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Reversible, Sequence, Set
from dataclasses import dataclass

COMMUTATIVE = ("torch.add", "torch.mul")
COMPARE = {
    "==": "torch.eq",
    "!=": "torch.ne",
    "<": "torch.lt",
    "<=": "torch.le",
    ">": "torch.gt",
    ">=": "torch.ge",
}
CHOICES = (*COMPARE.values(), "torch.logical_and", "torch.logical_or", "torch.logical_not")
OWN_BUFFER = (*CHOICES, "torch.Tensor.to", "torch.full_like")  # other types, or nothing to write in

NO_METHOD = {f"torch.{name}" for name in ("maximum", "minimum", "logaddexp")}
NO_METHOD |= {f"torch.special.{name}" for name in ("i0e", "erfcx", "erfc", "erf")}


@dataclass(frozen=True)
class Operation:
    """``target = call(operands, option)``; operands are names of tensors, or numbers as text."""

    target: str
    call: str
    operands: tuple[str, ...]
    option: str = ""

    @property
    def writes(self) -> bool:
        """Whether it can write into a given buffer."""
        return self.call.startswith("torch.") and self.call not in OWN_BUFFER

    def text(self, names: Mapping[str, str], into: str = "") -> str:
        """The call, its tensors by their ``names``; if given, the result is written ``into`` one.

        The method that writes into its own tensor takes torch less time than ``out=`` does.
        """
        operands = [names.get(a, a) for a in self.operands]
        if into in operands[1:2] and self.call in COMMUTATIVE and not self.option:
            operands.reverse()
        if into and operands[0] == into and self.call not in NO_METHOD:
            name = self.call.removeprefix("torch.")
            return f"{into}.{name}_({self._listed(operands[1:])})"
        given = (f"out={into}",) if into else ()
        return f"{self.call}({self._listed((*operands, *given))})"

    def _listed(self, operands: Iterable[str]) -> str:
        return ", ".join([*operands, *([self.option] if self.option else [])])


@dataclass(frozen=True)
class Body:
    lines: tuple[str, ...]
    names: dict[str, str]


def emit(
    operations: Sequence[Operation],
    lone: set[str],
    results: Sequence[object],
    into: Mapping[object, str],
) -> Body:
    """Write the operations, each into a buffer that nobody reads any more where there is one.

    A buffer that ends as a result of ``into`` is the tensor of that name from the start. Tensors
    without axes, ``lone``, have no buffer to give.
    """
    wanted = {r for r in results if isinstance(r, str)}
    buffers = _buffers(operations, lone, wanted)
    given = {buffers[r]: name for r, name in into.items() if r in buffers}
    names = {target: given.get(buffer, buffer) for target, buffer in buffers.items()}
    lines, met = [], set(into.values())
    for op in operations:
        own = names[op.target]
        first = own not in met
        met.add(own)
        if first or not (op.writes or op.call == "select"):
            lines.append(f"{own} = {op.text(names)}")
        elif own in into.values() or op.call == "select":
            lines.append(f"{own} = {op.text(names, own)}")
        else:
            lines.append(op.text(names, own))
    return Body(tuple(lines), names)


def _buffers(operations: Sequence[Operation], lone: set[str], wanted: set[str]) -> dict[str, str]:
    """Which buffer holds each value: its own, an operand's that ends here, or another's."""
    last = {a: k for k, op in enumerate(operations) for a in op.operands}
    kinds = {op.target: op.call in CHOICES for op in operations if op.target not in lone}
    buffers: dict[str, str] = {}
    idle: dict[bool, list[str]] = {True: [], False: []}
    for k, op in enumerate(operations):
        ending = [a for a in dict.fromkeys(op.operands) if a in kinds and last[a] == k]
        ending = [a for a in ending if a not in wanted]
        buffers[op.target] = op.target
        if op.target in kinds and (op.writes or op.call in (*CHOICES, "select")):
            kind = kinds[op.target]
            usable = [a for a in ending if kinds[a] == kind]
            if op.call == "select":  # it reads what it does not choose to the end
                usable = [a for a in usable if a == op.operands[1] != op.operands[2]]
            if usable:
                buffers[op.target] = buffers[usable[0]]
            elif idle[kind]:
                buffers[op.target] = idle[kind].pop()
        taken = buffers[op.target]
        for a in ending:
            if buffers[a] != taken:
                idle[kinds[a]].append(buffers[a])
    return buffers


def needed(operations: Reversible[Operation], wanted: Set[str]) -> list[Operation]:
    """The operations that the ``wanted`` names need, in their order."""
    kept, read = [], set(wanted)
    for op in reversed(operations):
        if op.target in read:
            read |= set(op.operands)
            kept.append(op)
    return kept[::-1]


def by_sign(operations: Sequence[Operation], zero: str, wanted: Set[str]) -> list[Operation]:
    """``-|u|`` as ``-u sign(u)`` where the sign is wanted too: one operation for two, and exact."""
    uses = Counter(a for op in operations for a in op.operands) + Counter(wanted)
    signs = {op.operands[0]: op for op in operations if op.call == "torch.sign"}
    sizes = {
        op.target: op.operands[0]
        for op in operations
        if op.call == "torch.abs" and op.operands[0] in signs and uses[op.target] == 1
    }
    found: dict[str, Operation] = {}  # by their targets, for a sign may have to come earlier
    for op in operations:
        if op.call == "torch.neg" and op.operands[0] in sizes:
            u = sizes[op.operands[0]]
            sign = signs[u]
            found.setdefault(sign.target, sign)
            op = Operation(op.target, "torch.addcmul", (zero, u, sign.target), "value=-1.0")
        found.setdefault(op.target, op)
    return needed(found.values(), wanted)


def fuse(
    operations: Sequence[Operation],
    multiples: Mapping[str, tuple[str, float]],
    constants: Mapping[float, str],
    wanted: Set[str],
) -> list[Operation]:
    """One operation for a product, or a multiple ``n a``, and the sum that alone reads it.

    Only where one of the two is exact: the other term a constant, or n a power of two. Else two
    terms that are the same product with opposite signs would no longer cancel exactly. What has
    other readers stays, so that all of them read the same rounding of it.
    """
    uses = Counter(a for op in operations for a in op.operands) + Counter(wanted)
    multiple = {name: found for name, found in multiples.items() if uses[name] == 1}
    product: dict[str, tuple[str, str, float]] = {}
    fused = []
    for op in operations:
        if op.call == "torch.mul" and not op.option:
            op, found = _as_product(op, multiple, constants[0.0])
            if uses[op.target] == 1:
                product[op.target] = found
        elif op.call in ("torch.add", "torch.sub") and not op.option:
            op = _as_sum(op, multiple, product, set(constants.values()))
        fused.append(op)
    return needed(fused, wanted)


def _as_product(op: Operation, multiple: Mapping, zero: str):
    """``n a b`` in one operation, and its parts."""
    for a, b in (op.operands, op.operands[::-1]):
        if a in multiple and a != b:
            c, n = multiple[a]
            made = Operation(op.target, "torch.addcmul", (zero, c, b), f"value={n!r}")
            return made, (c, b, n)
    return op, (*op.operands, 1.0)


def _as_sum(op: Operation, multiple: Mapping, product: Mapping, constants: Set[str]) -> Operation:
    """``a + n b c`` or ``a + n b`` in one operation, where there is such a term."""
    first, second = op.operands
    sign = 1.0 if op.call == "torch.add" else -1.0
    if sign > 0 and second not in product and second not in multiple:
        first, second = second, first
    if second in product and first in constants:
        a, b, n = product[second]
        return Operation(op.target, "torch.addcmul", (first, a, b), _by("value", sign * n))
    if second in multiple and first != second:
        a, n = multiple[second]
        if first in constants or math.frexp(abs(n))[0] == 0.5:
            return Operation(op.target, "torch.add", (first, a), _by("alpha", sign * n))
    return op


def _by(name: str, number: float) -> str:
    return "" if number == 1.0 else f"{name}={number!r}"
