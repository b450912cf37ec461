"""Densities made of densities: they go the same road, and their construction shows."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest
import sympy
import torch
from drawing import inputs

import lossderiv as ld
from lossderiv.errors import DensityError, DerivationError, ParameterError
from lossderiv.symbolic.records import Construction, Density, Move

MADE = {
    "zero_inflated poisson": (lambda: ld.zero_inflated("poisson"), {}),
    "zero_inflated negative binomial": (lambda: ld.zero_inflated("negative_binomial"), {}),
    "zero_inflated binomial": (lambda: ld.zero_inflated("binomial"), {"n": 4}),
    "hurdle poisson": (lambda: ld.hurdle("poisson"), {}),
    "hurdle negative binomial": (lambda: ld.hurdle("negative_binomial"), {}),
    "hurdle geometric": (lambda: ld.hurdle("geometric"), {}),
    "discretized logistic": (lambda: ld.discretized("logistic", levels=16), {}),
    "discretized logistic from 0": (
        lambda: ld.discretized("logistic", levels=5, low=0.0, high=2.0),
        {},
    ),
    "truncated normal": (lambda: ld.truncated("normal", 0, 1), {}),
    "truncated normal from 0": (lambda: ld.truncated("normal", low=0), {}),
    "truncated normal to 2": (lambda: ld.truncated("normal", high=2), {"sigma": 1}),
    "truncated logistic": (lambda: ld.truncated("logistic", -1, 2), {}),
    "truncated exponential": (lambda: ld.truncated("exponential", 0.5, 3), {}),
    "truncated log_normal": (lambda: ld.truncated("log_normal", 0.5, 3), {}),
    "truncated log_logistic": (lambda: ld.truncated("log_logistic", 0.5, 3), {}),
    "truncated laplace": (lambda: ld.truncated("laplace", low=0), {}),
    "truncated cauchy": (lambda: ld.truncated("cauchy", -1, 1), {}),
    "truncated gumbel": (lambda: ld.truncated("gumbel", -1, 1), {}),
    "censored normal": (lambda: ld.censored("normal", 0, 1), {}),
    "censored logistic": (lambda: ld.censored("logistic", low=0), {}),
    "censored exponential": (lambda: ld.censored("exponential", high=3), {}),
    "censored weibull": (lambda: ld.censored("weibull", low=0.5), {}),
    "censored laplace": (lambda: ld.censored("laplace", -1, 1), {}),
    "tanh-normal": (lambda: ld.transformed("normal", "tanh"), {}),
    "sinh-normal": (lambda: ld.transformed("normal", "sinh"), {}),
    "line of a cauchy": (lambda: ld.transformed("cauchy", lambda x: 1 - x / 2), {}),
}
WITH_MEAN = [n for n in MADE if n.startswith(("zero", "hurdle", "discretized")) or " normal" in n]
CACHE: dict[str, ld.Derivation] = {}


def derived(name: str) -> ld.Derivation:
    if name not in CACHE:
        make, given = MADE[name]
        CACHE[name] = ld.derive(make(), **given)
    return CACHE[name]


@pytest.mark.parametrize("name", MADE)
def test_every_step_holds_and_the_construction_comes_first(name):
    d = derived(name)
    d.check()
    made = d.density.made
    assert isinstance(made, Construction)
    assert d.steps[0].before == made.moves[0].before == d.density.opening
    assert made.moves[-1].after == d.density.expr
    assert [s.rule for s in d.steps[: len(made.moves)]] == [m.rule for m in made.moves]


@pytest.mark.parametrize("name", MADE)
def test_a_derivation_reads_well_in_a_terminal(name):
    """80 columns, each case on a line of its own, and no step that only repeats the one before."""
    d = derived(name)
    lines = d.text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "Piecewise" not in d.text()
    if isinstance(d.open_loss, sympy.Piecewise):
        assert sum(line.endswith("  otherwise") for line in lines) > len(d.steps) / 2
        rules = [s.rule for s in d.steps]
        assert all(a != b for a, b in itertools.pairwise(rules))


@pytest.mark.parametrize("name", MADE)
def test_the_whole_integrates_to_one(name):
    """Heaps of probability included: each of the bounds of a censored density has one."""
    make, given = MADE[name]
    assert all(abs(z - 1) < 1e-6 for z in make().check(**given).values())


@pytest.mark.parametrize("name", MADE)
def test_the_loss_runs_in_every_tier(name):
    """In place, as source, under torch.func and after pickling: one number, one gradient."""
    d = derived(name)
    outputs, x = inputs(d)
    loss = pickle.loads(pickle.dumps(ld.loss(d, reduction="sum")))
    leaves = [o.clone().requires_grad_() for o in outputs]
    value = loss(tuple(leaves), x)
    value.backward()
    space: dict[str, object] = {}
    exec(ld.source(d), space)
    plain = space["gradient"](*outputs, x)
    plain = plain if isinstance(plain, tuple) else (plain,)
    assert torch.allclose(space["loss"](*outputs, x).sum(), value)
    transformed = torch.func.grad(lambda *o: loss(o, x), argnums=tuple(range(len(outputs))))
    for leaf, written, slope in zip(leaves, plain, transformed(*outputs), strict=True):
        assert torch.allclose(leaf.grad, written)
        assert torch.allclose(leaf.grad, slope)


@pytest.mark.parametrize("name", [n for n in MADE if MADE[n][0]().data.integer])
def test_probabilities_add_up_to_one(name):
    d = derived(name)
    loss = ld.loss(d, constants="keep", reduction="none")
    high = d.density.data.high
    top = int(MADE[name][1]["n"]) if MADE[name][1] else int(min(high, 400))
    x = torch.arange(top + 1, dtype=torch.float64)
    outputs = tuple(torch.full_like(x, 0.3 - 0.4 * k) for k in range(len(loss.outputs)))
    assert torch.exp(-loss(outputs, x)).sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", WITH_MEAN)
def test_mean_mode_and_sample_belong_to_the_density(name):
    d = derived(name)
    loss = ld.loss(d, constants="keep", reduction="none")
    n = 40_000
    outputs = tuple(
        torch.full((n,), 0.2 - 0.5 * k, dtype=torch.float64) for k in range(len(loss.outputs))
    )
    drawn = loss.sample(outputs, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (n,)
    mean = loss.mean(outputs)[0].item()
    assert abs(drawn.mean().item() - mean) < 5 * drawn.std().item() / math.sqrt(n)
    if d.density.data.integer:
        mode = loss.mode(outputs)
        near = loss(outputs, mode)[0].item()
        for other in range(3):
            assert near <= loss(outputs, torch.full_like(mode, other))[0].item() + 1e-12


@pytest.mark.parametrize("make", [ld.zero_inflated, ld.hurdle])
def test_only_counts_can_have_extra_zeros(make):
    for family in ("normal", "beta"):
        with pytest.raises(DensityError, match=rf"counts.*{family}"):
            make(family)
    with pytest.raises(DensityError, match="vectors or classes"):
        make("categorical")


def test_a_name_that_is_taken_is_refused():
    @ld.density
    def doubled(x: ld.Count, gate: ld.Unit):
        """A geometric count whose parameter is called gate."""
        return gate * (1 - gate) ** x

    with pytest.raises(ParameterError, match=r"'gate'.*doubled"):
        ld.zero_inflated(doubled)


def test_a_false_move_is_found():
    """The steps of a construction are checked like any other."""
    good = ld.zero_inflated("poisson")
    (move,) = good.made.moves
    false = Move(2 * move.before, move.after, move.rule, move.reason)
    made = Construction("zero_inflated", good.made.parts, {}, (false,))
    bad = Density(**{**{n: getattr(good, n) for n in good.__dataclass_fields__}, "made": made})
    with pytest.raises(DerivationError, match="zeros apart"):
        ld.derive(bad).check()


def test_rare_positive_counts_are_drawn_without_waiting():
    loss = ld.loss(ld.hurdle("poisson"))
    outputs = (torch.full((1000,), -30.0), torch.full((1000,), -25.0))
    drawn = loss.sample(outputs, generator=torch.Generator().manual_seed(1))
    assert (drawn == 1).all()
    assert torch.allclose(loss.mean(outputs), torch.ones(1000))


@pytest.mark.parametrize("name", [n for n in MADE if n.startswith("truncated")])
def test_draws_of_a_truncated_density_fill_its_distribution_function(name):
    """The share of draws below each of three places is the integral of the density up to there."""
    d = derived(name)
    loss = ld.loss(d, constants="keep", reduction="none")
    n = 20_000
    outputs = tuple(torch.full((n,), 0.3, dtype=torch.float64) for _ in loss.outputs)
    drawn = loss.sample(outputs, generator=torch.Generator().manual_seed(3))
    data = d.density.data
    assert (drawn >= data.low).all()
    assert (drawn <= data.high).all()
    for place in torch.quantile(drawn, torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)):
        start = data.low if math.isfinite(data.low) else place.item() - 40
        x = torch.linspace(start, place.item(), 40_001, dtype=torch.float64)
        few = tuple(o[:1].expand(40_001) for o in outputs)
        below = torch.trapezoid(torch.exp(-loss(few, x)), x).item()
        share = (drawn <= place).double().mean().item()
        assert abs(below - share) < 4 * math.sqrt(0.25 / n)


def test_a_truncated_normal_whose_mean_is_far_outside():
    """Near the bound it is exponential; torch's difference of two erfs is 0 there."""
    loss = ld.loss(ld.truncated("normal", 0, 1), constants="keep", reduction="none")
    mu, width = torch.tensor([-50.0, 51.0]), torch.tensor([0.1, 0.1])
    x = torch.tensor([1e-4, 1 - 1e-4])
    rate = 50.0 / width**2
    near = -torch.log(rate) + rate * 1e-4
    outputs = (mu, torch.log(width))
    assert torch.allclose(loss(outputs, x), near, rtol=1e-3)
    assert torch.allclose(loss.mean(outputs), torch.tensor([0.0, 1.0]) + torch.sign(-mu) / rate)
    drawn = loss.sample(tuple(o.expand(500, 2) for o in outputs))
    assert torch.allclose((drawn - torch.tensor([0.0, 1.0])).abs().mean(0), 1 / rate, rtol=0.2)


def test_censored_is_the_base_between_the_bounds_and_its_tails_at_them():
    loss = ld.loss(ld.censored("normal", 0, 1), constants="keep", reduction="none")
    base = ld.loss("normal", constants="keep", reduction="none")
    outputs = tuple(torch.full((3,), v, dtype=torch.float64) for v in (0.4, -0.5))
    x = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    normal = torch.distributions.Normal(outputs[0][0], torch.exp(outputs[1][0]))
    got = loss(outputs, x)
    assert got[1].item() == pytest.approx(base(outputs, x)[1].item(), rel=1e-12)
    assert got[0].item() == pytest.approx(-torch.log(normal.cdf(x[0])).item(), rel=1e-9)
    assert got[2].item() == pytest.approx(-torch.log(1 - normal.cdf(x[2])).item(), rel=1e-9)


BAD_BOUNDS = {
    "none": ("normal", {}, "needs a bound"),
    "order": ("normal", {"low": 1, "high": 0}, "low=1 and high=0"),
    "equal": ("normal", {"low": 1, "high": 1}, "must lie below"),
    "support": ("exponential", {"low": -1, "high": 3}, "inside the support"),
    "nan": ("normal", {"low": float("nan")}, "nan"),
    "text": ("normal", {"low": "zero"}, "a bound is a number"),
}


@pytest.mark.parametrize("key", BAD_BOUNDS)
@pytest.mark.parametrize("make", [ld.truncated, ld.censored])
def test_bounds_that_make_no_sense_are_refused(make, key):
    family, bounds, words = BAD_BOUNDS[key]
    with pytest.raises(ParameterError, match=words):
        make(family, **bounds)


@pytest.mark.parametrize("make", [ld.truncated, ld.censored])
def test_a_density_without_a_distribution_function_is_refused(make):
    with pytest.raises(DensityError, match="distribution function of beta"):
        make("beta", 0.2, 0.8)
    with pytest.raises(DensityError, match="distribution function of poisson"):
        make("poisson", 1, 5)


def test_a_target_beyond_the_bounds_is_refused():
    loss = ld.loss(ld.truncated("normal", 0, 1))
    with pytest.raises(ld.TargetError, match="outside the support"):
        loss((torch.zeros(2), torch.zeros(2)), torch.tensor([0.5, 1.5]))


RELATIONS = {
    "log_normal": ("normal", "exp"),
    "logit_normal": ("normal", "logistic"),
    "log_logistic": ("logistic", "exp"),
}


@pytest.mark.parametrize("family", RELATIONS)
def test_a_change_of_variables_arrives_at_the_family_of_the_catalogue(family):
    """The same loss at the same outputs; the log-logistic's are a logarithm and an inverse."""
    made = ld.loss(ld.transformed(*RELATIONS[family]), constants="keep", reduction="none")
    known = ld.loss(family, constants="keep", reduction="none")
    x = torch.tensor([0.07, 0.4, 0.93], dtype=torch.float64)
    location, scale = (torch.tensor(v, dtype=torch.float64) for v in ([0.3, -1, 2], [0.5, 0, -1]))
    theirs = (location, -scale) if family == "log_logistic" else (location, scale)
    assert torch.allclose(made((location, scale), x), known(theirs, x), rtol=1e-12)


def test_a_transformed_density_is_torchs():
    loss = ld.loss(ld.transformed("normal", "tanh"), constants="keep", reduction="none")
    mu, log_sigma = (torch.tensor(v, dtype=torch.float64) for v in ([0.3, -1.0], [0.5, -0.2]))
    base = torch.distributions.Normal(mu, torch.exp(log_sigma))
    twin = torch.distributions.TransformedDistribution(
        base, [torch.distributions.transforms.TanhTransform()]
    )
    x = torch.tensor([0.99, -0.3], dtype=torch.float64)
    assert torch.allclose(loss((mu, log_sigma), x), -twin.log_prob(x), rtol=1e-10)
    drawn = loss.sample((mu.expand(4000, 2), log_sigma.expand(4000, 2)))
    assert torch.atanh(drawn).mean(0).sub(mu).abs().max() < 0.2


def test_what_cannot_be_transformed_is_refused():
    with pytest.raises(ParameterError, match="not increasing or decreasing"):
        ld.transformed("normal", lambda x: x**2)
    with pytest.raises(ParameterError, match="not increasing or decreasing"):
        ld.transformed("normal", lambda x: 3)
    with pytest.raises(ParameterError, match="SymPy cannot solve"):
        ld.transformed("normal", lambda x: x + x**3 * sympy.exp(x**2))
    with pytest.raises(ld.UnknownNameError, match=r"'squash'.*tanh"):
        ld.transformed("normal", "squash")
    with pytest.raises(DensityError, match="whole line"):
        ld.transformed("exponential", "exp")


@pytest.mark.parametrize("family", ["normal", "laplace", "poisson"])
def test_independent_is_the_sum_over_the_last_axis(family):
    d = ld.derive(ld.independent(family))
    d.check()
    loss, one = (ld.loss(q, constants="keep", reduction="none") for q in (d, family))
    outputs = tuple(torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in d.outputs)
    x = one.sample(outputs)
    whole, parts = loss(outputs, x), one(outputs, x).sum(-1)
    assert whole.shape == (4,)
    assert torch.allclose(whole, parts, rtol=1e-12)
    for a, b in zip(
        torch.autograd.grad(whole.sum(), outputs),
        torch.autograd.grad(parts.sum(), outputs),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-9)
    assert torch.equal(loss.mean(outputs), one.mean(outputs))
    assert loss.sample(outputs).shape == (4, 3)


@pytest.mark.parametrize("event_dims", [2, 3])
def test_an_event_may_have_several_axes(event_dims):
    """Images as events: value, gradient, weight, split and bits are those of the flat vector."""
    many = ld.loss(ld.independent("laplace", event_dims), reduction="none")
    flat = ld.loss(ld.independent("laplace"), reduction="none")
    shape = (5, 2, 3, 4)
    batch = shape[: 4 - event_dims]
    raw = torch.randn(5, 4, 3, 4)
    outputs = tuple(o.clone().requires_grad_() for o in many.split(raw, dim=1))
    assert [o.shape for o in outputs] == [torch.Size(shape)] * 2
    x = many.sample(outputs)
    assert x.shape == many.mean(outputs).shape == shape
    whole = many(outputs, x)
    assert whole.shape == batch
    wanted = flat(tuple(o.flatten(-event_dims) for o in outputs), x.flatten(-event_dims))
    torch.testing.assert_close(whole, wanted)
    slopes = torch.autograd.grad(whole.sum(), outputs)
    for got, same in zip(slopes, torch.autograd.grad(wanted.sum(), outputs), strict=True):
        torch.testing.assert_close(got, same)
    summed = ld.loss(ld.independent("laplace", event_dims), reduction="sum")
    value, own = summed.value_and_grad(outputs, x)
    torch.testing.assert_close(value, wanted.sum())
    for got, same in zip(own, slopes, strict=True):
        torch.testing.assert_close(got, same)
    one = ld.loss("laplace")
    torch.testing.assert_close(many.bits_per_dim(outputs, x), one.bits_per_dim(outputs, x))
    assert many(outputs, x, weight=torch.zeros(batch)).abs().max() == 0
    with pytest.raises(ld.ShapeError, match=f"last {event_dims} axes"):
        many((outputs[0], outputs[1][..., :1]), x)
    with pytest.raises(ld.ShapeError, match="multiple of 2"):
        many.split(torch.zeros(5, 3, 3, 4), dim=1)


def test_what_cannot_be_independent_is_refused():
    for axes in (0, -1, 1.5):
        with pytest.raises(ParameterError, match=f"event_dims={axes}"):
            ld.independent("normal", axes)
    for family in ("binomial", "uniform", "pareto"):
        with pytest.raises(DensityError, match=rf"{family}.*sum\(-1\)"):
            ld.independent(family)
    with pytest.raises(DensityError, match="vectors or classes"):
        ld.independent("dirichlet")


@pytest.mark.parametrize("family", ["beta", "poisson", "normal"])
def test_a_product_integrates_to_one_as_its_factors_do(family):
    assert all(abs(z - 1) < 1e-6 for z in ld.independent(family).check().values())


NESTED = {
    "mixture of zeros": lambda: ld.mixture(ld.zero_inflated("poisson"), 2),
    "zeros of levels": lambda: ld.zero_inflated(ld.discretized("logistic", 16)),
}


@pytest.mark.parametrize("name", NESTED)
def test_what_nests_is_right(name):
    density = NESTED[name]()
    ld.derive(density).check()
    assert all(abs(z - 1) < 1e-6 for z in density.check().values())


NONSENSE = {
    "censored of truncated": lambda: ld.censored(ld.truncated("normal", 0, 1), 0.2, 0.8),
    "truncated of censored": lambda: ld.truncated(ld.censored("normal", 0, 1), 0.2, 0.8),
    "discretized of truncated": lambda: ld.discretized(ld.truncated("normal", 0, 1), 16),
    "discretized of a mixture": lambda: ld.discretized(ld.mixture("normal", 2), 16),
    "discretized of counts": lambda: ld.discretized("poisson", 16),
    "mixture of vectors": lambda: ld.mixture(ld.independent("normal"), 2),
    "independent mixtures": lambda: ld.independent(ld.mixture("normal", 2)),
    "independent heaps": lambda: ld.independent(ld.censored("normal", 0, 1)),
    "zeros twice": lambda: ld.hurdle(ld.zero_inflated("poisson")),
    "zeros of a mixture": lambda: ld.zero_inflated(ld.mixture("poisson", 2)),
    "exp of an interval": lambda: ld.transformed(ld.truncated("normal", 0, 1), "exp"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_does_not_nest_is_refused(name):
    with pytest.raises((DensityError, ParameterError), match=r"[a-z_]+\([a-z_]+|poisson"):
        NONSENSE[name]()


@pytest.mark.parametrize("name", ["tanh-normal", "censored normal", "hurdle poisson"])
def test_no_named_loss_is_claimed_for_what_was_made(name):
    assert ld.known_as(derived(name)) is None
