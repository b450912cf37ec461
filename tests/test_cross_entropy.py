"""Cross-entropy takes four ways, told by the target's weights; each is right in its own rows."""

from __future__ import annotations

import mpmath as mp
import pytest
import torch

import lossderiv as ld
from lossderiv.codegen.inplace_softmax import PICKED

ROWS = 24
SCORES = {
    # the target's lead over scores of about 1, row by row
    "no target above one half": [0.0] * ROWS,
    "few": [0.0, 30.0, 4.0] + [0.0] * (ROWS - 3),
    "most": [6.0, 12.0, 40.0, 90.0] * (ROWS // 4),
    "one that has underflowed": [-120.0, 12.0] + [0.0] * (ROWS - 2),
    "one that has underflowed, most lead": [-120.0] + [14.0] * (ROWS - 1),
}


def problem(name: str, classes: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, classes, (ROWS,), generator=generator)
    scores = torch.randn(ROWS, classes, generator=generator, dtype=torch.float64)
    lead = torch.tensor(SCORES[name], dtype=torch.float64)
    lead = torch.where(lead == 0.0, -2.0, lead + 2.0)
    lead *= 8.0 if dtype == torch.float64 else 1.0
    return scores.scatter_add_(-1, x[:, None], lead[:, None]).to(dtype), x


def truth(scores: torch.Tensor, x: torch.Tensor) -> tuple[list, list]:
    """Losses and slopes of each row, at 60 digits."""
    losses, slopes = [], []
    with mp.workdps(60):
        for row, k in zip(scores.tolist(), x.tolist(), strict=True):
            weights = [mp.exp(s - row[k]) for s in row]
            rest = mp.fsum(w for i, w in enumerate(weights) if i != k)
            losses.append(mp.log1p(rest))
            slopes.append([(-rest if i == k else w) / (1 + rest) for i, w in enumerate(weights)])
    return losses, slopes


@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SCORES)
def test_every_row_has_its_digits(name, dtype, classes):
    scores, x = problem(name, classes, dtype)
    losses, slopes = truth(scores, x)
    tiny = torch.finfo(dtype).tiny
    # A rounded difference of scores, as an exponent, moves the weight by as many units.
    bounds = (torch.finfo(dtype).eps * (8 + scores.abs().amax(-1))).tolist()
    for shape in ((ROWS,), (2, 3, ROWS // 6)):
        u = scores.reshape(*shape, classes).requires_grad_()
        each = ld.loss("categorical", reduction="none")(u, x.reshape(shape))
        u.grad = None
        ld.loss("categorical", reduction="sum")(u, x.reshape(shape)).backward()
        rows = u.grad.reshape(ROWS, classes).tolist()
        for n, bound in enumerate(bounds):
            for got, want in zip(
                (each.flatten()[n].item(), *rows[n]), (losses[n], *slopes[n]), strict=True
            ):
                assert abs(got - want) <= bound * abs(want) + tiny, (n, got, want)


def test_a_row_that_is_no_number_leaves_the_others_alone():
    scores, x = problem("few", 5, torch.float32)
    right = ld.loss("categorical", reduction="none")(scores, x)
    broken = scores.clone()
    broken[7, 2] = torch.nan
    broken.requires_grad_()
    losses = ld.loss("categorical", reduction="none")(broken, x)
    losses.sum().backward()
    others = torch.arange(ROWS) != 7
    assert losses[7].isnan()
    assert broken.grad[7].isnan().any()
    torch.testing.assert_close(losses[others], right[others], rtol=1e-6, atol=0.0)
    assert broken.grad[others].isfinite().all()


def test_the_cases_take_all_ways():
    """Seen from outside: each case's weights fall on its side of what the text asks."""
    assert "most <= 0.5" in PICKED
    assert "p.mean().item() > 0.25" in PICKED
    seen = {}
    for name in SCORES:
        scores, x = problem(name, 40, torch.float32)
        p = torch.softmax(scores, -1).gather(-1, x[:, None])
        under = bool(p.min() < torch.finfo(torch.float32).tiny)
        seen[name] = (under, bool(p.max() > 0.5), bool(p.mean() > 0.25))
    assert list(seen.values()) == [
        (False, False, False),
        (False, True, False),
        (False, True, True),
        (True, True, False),
        (True, True, True),
    ]
