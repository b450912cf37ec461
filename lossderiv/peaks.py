"""Where a density on the line is highest, found by search: for modes without a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

SCALES = tuple(math.exp(k / 4) for k in range(-40, 57))
"""Distances from the start, in widths, where the search looks first."""
NARROWINGS = 60
GOLDEN = (math.sqrt(5) - 1) / 2


def highest(
    height: Callable[[Tensor], Tensor], start: Tensor, width: Tensor
) -> tuple[Tensor, Tensor]:
    """The place of the largest ``height``, and -1 or 1 where that grows without end to one side.

    First at distances of all scales from ``start``, then by golden section about the best.
    """
    steps = [-s for s in reversed(SCALES)] + [0.0, *SCALES]
    best = torch.full_like(start, -math.inf)
    left = right = centre = start
    side = torch.zeros_like(start)
    for k, step in enumerate(steps):
        place = start + step * width
        here = height(place)
        better = here > best
        best = torch.where(better, here, best)
        centre = torch.where(better, place, centre)
        before, after = (steps[min(max(k + j, 0), len(steps) - 1)] for j in (-1, 1))
        left = torch.where(better, start + before * width, left)
        right = torch.where(better, start + after * width, right)
        end = -1.0 if k == 0 else 1.0 if k == len(steps) - 1 else 0.0
        side = torch.where(better, end, side)
    for _ in range(NARROWINGS):
        reach = GOLDEN * (right - left)
        a, b = right - reach, left + reach
        lower = height(a) >= height(b)
        left, right = torch.where(lower, left, a), torch.where(lower, b, right)
    found = 0.5 * (left + right)
    return torch.where(height(found) > best, found, centre), side
