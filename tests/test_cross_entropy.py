"""Cross-entropy takes several ways, told by the number of classes, the size of the scores and the
target's weights; each is right in its own rows."""

from __future__ import annotations

import mpmath as mp
import pytest
import torch

import lossderiv as ld
from lossderiv.codegen.inplace_softmax import LARGE, ORDINARY, WIDE

ROWS = 24
COPIES = 70
"""So many copies of the rows, with 40 classes, are a batch large enough for a closer look."""
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


@pytest.mark.parametrize(("classes", "copies"), [(2, 1), (5, 1), (40, 1), (40, COPIES)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SCORES)
def test_every_row_has_its_digits(name, dtype, classes, copies):
    scores, x = problem(name, classes, dtype)
    losses, slopes = truth(scores, x)
    tiny = torch.finfo(dtype).tiny
    # A rounded difference of scores, as an exponent, moves the weight by as many units.
    bounds = (torch.finfo(dtype).eps * (8 + scores.abs().amax(-1))).tolist()
    for shape in ((-1,), (2, 3, copies * ROWS // 6)):
        u = scores.repeat(copies, 1).reshape(*shape, classes).requires_grad_()
        target = x.repeat(copies).reshape(shape)
        each = ld.loss("categorical", reduction="none")(u, target).flatten()
        ld.loss("categorical", reduction="sum")(u, target).backward()
        grad = u.grad.reshape(-1, ROWS, classes)
        assert (grad == grad[0]).all()
        for n, bound in enumerate(bounds):
            found = (each[n - ROWS].item(), *grad[-1, n].tolist())
            for got, want in zip(found, (losses[n], *slopes[n]), strict=True):
                assert abs(got - want) <= bound * abs(want) + tiny, (n, got, want)


@pytest.mark.parametrize("copies", [1, COPIES])
def test_a_row_that_is_no_number_leaves_the_others_alone(copies):
    scores, x = problem("few", 40, torch.float32)
    scores, x = scores.repeat(copies, 1), x.repeat(copies)
    right = ld.loss("categorical", reduction="none")(scores, x)
    broken = scores.clone()
    broken[7, 2] = torch.nan
    broken.requires_grad_()
    losses = ld.loss("categorical", reduction="none")(broken, x)
    losses.sum().backward()
    others = torch.arange(len(x)) != 7
    assert losses[7].isnan()
    assert broken.grad[7].isnan().any()
    torch.testing.assert_close(losses[others], right[others], rtol=1e-6, atol=0.0)
    assert broken.grad[others].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("beyond", [False, True], ids=["ordinary", "beyond"])
def test_scores_at_the_end_of_the_ordinary_range(beyond, dtype):
    """All signs of the largest scores whose exponentials are taken as they are, and of the next."""
    end = torch.tensor(ORDINARY, dtype=dtype)
    end = end.nextafter(2 * end) if beyond else end
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=dtype)] * 4)
    rest = torch.full((len(signs), WIDE - 5), -1.0, dtype=dtype)
    u = (torch.cat([signs, rest], -1) * end).requires_grad_()
    x = torch.arange(len(signs)) % 4
    each = ld.loss("categorical", reduction="none")(u, x)
    ld.loss("categorical", reduction="sum")(u, x).backward()
    losses, slopes = truth(u, x)
    eps = torch.finfo(dtype).eps
    for k in range(len(signs)):
        found = (each[k].item(), *u.grad[k].tolist())
        for got, want in zip(found, (losses[k], *slopes[k]), strict=True):
            # The softmax's rounded difference of scores is an exponent of 80.
            assert abs(got - want) <= (88 if beyond else 8) * eps * abs(want), (k, got, want)


def test_the_cases_take_all_ways():
    """Each case's weights fall on its side of what the kernel asks: an underflow, the largest above
    one half, the mean above a quarter; of the batches, one is large; and few classes have ordinary
    scores and others."""
    assert ROWS * 40 < LARGE <= COPIES * ROWS * 40
    assert 5 < WIDE <= 40
    ordinary = {n: problem(n, 5, torch.float32)[0].abs().max() <= ORDINARY for n in SCORES}
    assert list(ordinary.values()) == [True, True, False, False, False]
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
