"""One checked statement of a record: what equals what, why, and how it was verified."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class Claim:
    """``left = right`` because of ``reason``; ``verdict`` is ``"proven"`` or says what was tried.

    A claim is made only after it has been verified: a record never holds an unchecked one.
    """

    label: str
    left: sp.Expr
    right: sp.Expr
    reason: str
    verdict: str

    def row(self) -> tuple[str, list]:
        """For printing: the equation and, below it, why it holds and how that is known."""
        return self.label, [(self.left, self.right), f"({self.reason}; {self.verdict})"]
