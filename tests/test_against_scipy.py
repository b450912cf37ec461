"""Every family against the scipy.stats counterpart that its docstring names, convention and all."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats
import torch
from drawing import density, given, inputs

import lossderiv as ld

CALL = re.compile(r"scipy\.stats\.(\w+)\((.*?)\)[.;,\s]", re.DOTALL)


def counterpart(family: str) -> tuple[str, str] | None:
    """The distribution's name and the text of its arguments, in the family's parameters."""
    found = CALL.search(density(family).doc + "\n")
    return found and (found[1], found[2])


NAMED = [f for f in ld.families() if counterpart(f)]


@pytest.mark.parametrize("family", NAMED)
def test_the_counterpart_is_the_same_density(family):
    name, arguments = counterpart(family)
    d = ld.derive(family, **given(family))
    outputs, x = inputs(d, (40,))
    theta = {n: np.asarray(v) for n, v in ld.loss(d).theta(outputs).items()}
    space = {**theta, "exp": np.exp, "log": np.log}
    frozen = eval(f"dist({arguments})", {**space, "dist": getattr(scipy.stats, name)})
    log_p = frozen.logpmf if d.density.data.integer else frozen.logpdf
    expected = -torch.as_tensor(log_p(x.numpy()))
    value = ld.loss(d, reduction="none", constants="keep")(outputs, x)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


def test_most_families_name_one():
    assert len(NAMED) >= 20
