"""Distribution functions: their slope is the density, and both sides of a value add up to one."""

from __future__ import annotations

import mpmath as mp
import pytest
from sympy import Symbol

from lossderiv.catalogue import FAMILIES
from lossderiv.combinators.distribution_functions import DISTRIBUTION_FUNCTIONS
from lossderiv.symbolic.functions import spell_out
from lossderiv.symbolic.probe import Formula

POINTS = 6
each = pytest.mark.parametrize("family", DISTRIBUTION_FUNCTIONS)


def formulas(family: str):
    """Below and above, as formulas in the data and the parameters of the family."""
    row, density = DISTRIBUTION_FUNCTIONS[family], FAMILIES[family]
    z = row.standard(density.variable, *density.symbols.values())
    return density, spell_out(row.below(z)), spell_out(row.above(z))


def probed(density):
    """Points of the support and of the parameters."""
    symbols = {density.variable: density.data}
    symbols |= {density.symbols[n]: d for n, d in density.parameters.items()}
    for k in range(POINTS):
        yield {
            s: d.typical[(k + 2 * n) % len(d.typical)] for n, (s, d) in enumerate(symbols.items())
        }


@each
def test_the_slope_is_the_density(family):
    density, below, above = formulas(family)
    slopes = Formula(below.diff(density.variable)), Formula(-above.diff(density.variable))
    p = Formula(density.formula)
    for point in probed(density):
        for slope in slopes:
            assert abs(slope.at(point) - p.at(point)) <= mp.mpf(10) ** -50


@each
def test_below_and_above_add_up_to_one(family):
    density, below, above = formulas(family)
    for point in probed(density):
        assert abs(Formula(below).at(point) + Formula(above).at(point) - 1) <= mp.mpf(10) ** -50


@each
def test_it_begins_at_nothing(family):
    """Near the lower end of the support hardly anything lies below."""
    density, below, _ = formulas(family)
    low = density.data.low
    start = mp.mpf(10) ** -60 + low if mp.isfinite(low) else -(mp.mpf(10) ** 60)
    for point in probed(density):
        assert abs(Formula(below).at({**point, density.variable: start})) < mp.mpf(10) ** -20


@each
def test_a_symmetric_one_is_its_mirror_image(family):
    row = DISTRIBUTION_FUNCTIONS[family]
    z = mp.mpf("0.7")
    u = Symbol("u", real=True)
    below, above = Formula(spell_out(row.below(u))), Formula(spell_out(row.above(u)))
    mirrored = abs(above.at({u: z}) - below.at({u: -z})) < mp.mpf(10) ** -50
    assert mirrored == row.symmetric
