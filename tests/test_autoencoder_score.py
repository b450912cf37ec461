"""Scores on cases whose answer is known: closed forms, identical and disjoint sets, hand counts."""

import math

import pytest
import torch
from scipy import stats

import lossderiv as ld
from lossderiv import autoencoder as ae
from lossderiv.autoencoder import score
from lossderiv.errors import LossDerivError


def normal(count, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def exactly(mean, covariance, count=200):
    """Points whose mean and covariance are these, to rounding."""
    points = normal(count, len(mean))
    points = points - points.mean(0)
    own = torch.linalg.cholesky(torch.atleast_2d(points.T.cov()))
    white = torch.linalg.solve_triangular(own, points.T, upper=False)
    return (torch.linalg.cholesky(covariance) @ white).T + mean


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


# --- Fréchet distance ------------------------------------------------------------------------


def test_frechet_of_two_gaussians_on_a_line():
    # (m1 - m2)^2 + (s1 - s2)^2 = 9 + 4
    first = exactly(double([1.0]), double([[1.0]]))
    second = exactly(double([4.0]), double([[9.0]]))
    assert score.frechet(first, second) == pytest.approx(13, abs=1e-10)


def test_frechet_of_commuting_covariances():
    # |m|^2 plus the squared differences of the standard deviations along the shared axes.
    turn = double([[0.6, -0.8], [0.8, 0.6]])
    wide, narrow = double([[25.0, 0.0], [0.0, 4.0]]), double([[1.0, 0.0], [0.0, 9.0]])
    first = exactly(double([0.0, 0.0]), turn @ wide @ turn.T)
    second = exactly(double([2.0, 1.0]), turn @ narrow @ turn.T)
    assert score.frechet(first, second) == pytest.approx(5 + 16 + 1, abs=1e-10)


def test_frechet_of_covariances_that_do_not_commute():
    # In two dimensions tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det A det B)).
    a, b = double([[3.0, 1.0], [1.0, 2.0]]), double([[1.0, -0.5], [-0.5, 4.0]])
    shared = ((a @ b).trace() + 2 * (a.det() * b.det()).sqrt()).sqrt()
    expected = (a.trace() + b.trace() - 2 * shared).item()
    zero = double([0.0, 0.0])
    assert score.frechet(exactly(zero, a), exactly(zero, b)) == pytest.approx(expected, abs=1e-10)
    assert expected > 0.5


def test_frechet_is_symmetric_and_zero_for_the_same_set():
    first, second = normal(100, 5), 2 * normal(80, 5, seed=1)
    assert score.frechet(first, first) == pytest.approx(0, abs=1e-10)
    assert score.frechet(first, second) == pytest.approx(score.frechet(second, first), abs=1e-10)
    assert score.frechet(first, second) > 1


def test_frechet_with_fewer_points_than_dimensions():
    # Three points span two of five dimensions; moved as a whole, only the shift counts.
    points = normal(3, 5)
    assert score.frechet(points, points + 2) == pytest.approx(20, abs=1e-10)


# --- precision, recall, density, coverage ----------------------------------------------------

NEIGHBOURHOODS = (score.precision, score.recall, score.density, score.coverage)


def test_hand_count_on_a_line():
    # With k = 1 the balls are [-1, 1], [0, 2] and [2, 18]; the drawn ones reach 0.5, 0.5, 9, 11.
    real = double([[0.0], [1.0], [10.0]])
    drawn = double([[0.5], [1.0], [10.0], [30.0]])
    assert score.radii(real, 1).tolist() == [1, 1, 9]
    assert score.radii(drawn, 1).tolist() == [0.5, 0.5, 9, 20]
    # 0.5 and 1 lie in two balls each (1 at the edge of the third, [1, 19]), 10 in one, 30 in none.
    assert score.precision(real, drawn, k=1) == 3 / 4
    assert score.density(real, drawn, k=1) == (2 + 3 + 1 + 0) / 4
    assert score.coverage(real, drawn, k=1) == 1
    # Balls of the drawn: [0, 1], [0.5, 1.5], [1, 19], [10, 50]: each real point is in one.
    assert score.recall(real, drawn, k=1) == 1
    assert score.recall(real, drawn[:2], k=1) == 2 / 3
    assert score.coverage(real, drawn[3:], k=1) == 0


def test_identical_sets():
    points = normal(60, 3)
    assert score.precision(points, points) == 1
    assert score.recall(points, points) == 1
    assert score.coverage(points, points) == 1


def test_disjoint_sets():
    real = normal(60, 3)
    for measure in NEIGHBOURHOODS:
        assert measure(real, real + 100) == 0


def test_density_of_points_in_every_ball_exceeds_one():
    # One spot inside all five balls, drawn ten times: 5 / k.
    real = double([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.1]])
    assert score.density(real, torch.zeros(10, 2, dtype=torch.float64), k=2) == 5 / 2


def test_coverage_of_two_halves_of_one_distribution():
    # Naeem et al. 2020: 1 - (N-1)...(N-k) / (2N-1)...(2N-k), about 1 - 2^-k.
    expected = 1 - math.prod((300 - i) / (600 - i) for i in range(1, 6))
    got = [score.coverage(normal(300, 4, s), normal(300, 4, s + 50)) for s in range(40)]
    assert sum(got) / 40 == pytest.approx(expected, abs=0.01)


def test_lost_modes_cost_recall_and_coverage_only():
    real = torch.cat([normal(200, 2), normal(200, 2, seed=1) + 50])
    drawn = normal(400, 2, seed=2)
    assert score.precision(real, drawn) > 0.9
    assert score.recall(real, drawn) < 0.55
    assert score.coverage(real, drawn) < 0.55


def test_too_few_points_for_a_ball():
    with pytest.raises(LossDerivError, match="5th nearest other point, and there are 5"):
        score.precision(normal(5, 2), normal(9, 2))


# --- pixels ----------------------------------------------------------------------------------


def test_sharpness_of_a_scaled_image_and_of_a_plane():
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert score.sharpness(images, images) == 1
    assert score.sharpness(images, images / 2) == pytest.approx(0.25)
    assert score.sharpness(images, images / 2 + 0.3) == pytest.approx(0.25)
    rows = torch.linspace(0, 1, 8)
    plane = (rows[:, None] + 2 * rows[None, :])[None, None]
    assert score.edges(plane).abs().max() < 1e-6


def test_sharpness_falls_when_images_are_averaged():
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    pairs = (images[:25] + images[25:]) / 2
    assert score.sharpness(images, pairs) == pytest.approx(0.5, abs=0.1)


def test_copying_by_hand():
    train = torch.zeros(1, 1, 2, 2)
    real, drawn = torch.full((3, 1, 2, 2), 2.0), torch.full((5, 1, 2, 2), 0.5)
    assert score.copying(train, real, drawn) == 0.25
    assert score.copying(train, real, real) == 1
    assert score.copying(torch.cat([train, drawn]), real, drawn) == 0


# --- the judge -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return ae.load("digits", on=torch.device("cpu"))


@pytest.fixture(scope="module")
def judge(digits):
    return score.judge(digits, steps=100, count=200)


def test_judge_knows_its_digits(judge):
    assert judge.accuracy > 0.93


def test_judge_repeats_and_leaves_the_global_random_state_alone(digits, judge):
    before = torch.random.get_rng_state()
    again = score.judge(digits, steps=100, count=200)
    assert torch.equal(before, torch.random.get_rng_state())
    images = digits.test[:50]
    assert torch.equal(judge.features(images), again.features(images))
    other = score.judge(digits, steps=2, seed=1, count=200)
    assert not torch.allclose(judge.features(images), other.features(images))


def test_real_images_score_best(digits, judge):
    real = judge.score(judge.real(1), 1)
    assert real.copying == pytest.approx(0, abs=1e-3)
    assert real.sharpness == pytest.approx(1, abs=0.1)
    assert min(real.precision, real.recall, real.coverage) > 0.9

    noise = torch.rand(200, *digits.shape, generator=torch.Generator().manual_seed(0))
    fake = judge.score(noise, 1)
    assert fake.frechet > 5 * real.frechet
    assert fake.coverage < 0.6 * real.coverage
    assert fake.sharpness > 1.3
    assert fake.copying > 1.5

    one_digit = judge.score(digits.train[:1].expand(200, -1, -1, -1), 1)
    assert one_digit.frechet > 20 * real.frechet
    assert one_digit.precision == 1
    assert max(one_digit.recall, one_digit.coverage) < 0.2


def test_a_judge_says_what_the_functions_say(digits, judge):
    images = 0.7 * digits.train[:200] + 0.3 * digits.train[200:400]
    real = judge.features(judge.reference(3))
    drawn = judge.features(images)
    scores = judge.score(images, 3)
    for measure in (score.frechet, *NEIGHBOURHOODS):
        assert getattr(scores, measure.__name__) == measure(real, drawn)
    assert len({measure(real, drawn) for measure in NEIGHBOURHOODS}) == 4


def test_real_and_reference_are_random_subsets(digits, judge):
    assert not torch.equal(judge.real(0), judge.real(1))
    rows = {tuple(image.flatten().tolist()) for image in judge.real(0)}
    assert rows <= {tuple(image.flatten().tolist()) for image in digits.train}
    unseen = {tuple(image.flatten().tolist()) for image in judge.reference(0)}
    assert unseen <= {tuple(image.flatten().tolist()) for image in digits.test}


def test_sets_of_another_size_or_with_nan_are_refused(digits, judge):
    with pytest.raises(LossDerivError, match=r"\(200, 1, 8, 8\) and met \(100, 1, 8, 8\)"):
        judge.score(digits.test[:100])
    broken = judge.real().clone()
    broken[17, 0, 3, 3] = float("inf")
    with pytest.raises(LossDerivError, match="image 17 holds a pixel that is not finite"):
        judge.score(broken)
    with pytest.raises(LossDerivError, match="501 different images were asked for"):
        score.pick(digits.test, 501, seed=0)


def test_table_shows_every_score_with_its_spread():
    first = score.Scores(10.0, 0.9, 0.8, 1.0, 0.7, 0.5, 1.1)
    second = score.Scores(14.0, 0.7, 0.8, 1.0, 0.7, 0.5, 1.1)
    middle = score.Scores(12.0, 0.8, 0.8, 1.0, 0.7, 0.5, 1.1)
    assert score.average([first, second]) == middle
    table = score.Table({"method": [first, second]})
    assert table.column("frechet", "method") == [10, 14]
    text, markdown = repr(table), table._repr_markdown_()
    for name in ("frechet", "precision", "recall", "density", "coverage", "sharpness", "copying"):
        assert name in text
        assert name in markdown
    assert "12.0 ± 2.0  0.80 ± 0.10" in text
    small = "| method | 12.0 <small>±&nbsp;2.0</small> | 0.80 <small>±&nbsp;0.10</small> |"
    assert small in markdown


def test_linear_autoencoder_has_the_error_of_the_left_over_eigenvalues(digits):
    linear = score.pca(digits, 8)
    codes = linear.encode(digits.train)
    assert codes.shape == (1097, 8)
    left = ((linear.decode(codes) - digits.train) ** 2).sum((1, 2, 3)).mean().item()
    flat = digits.train.flatten(1).double()
    eigenvalues = torch.linalg.eigvalsh((flat - flat.mean(0)).T.cov(correction=0))
    assert left == pytest.approx(eigenvalues[:-8].sum().item(), rel=1e-5)


# --- bits per dimension ----------------------------------------------------------------------


class Fixed:
    """A decoder whose output is the code, and whose code is the image after `change`."""

    def __init__(self, change):
        self.change = change

    def encode(self, images):
        return self.change(images)

    def decode(self, codes):
        return codes


def every_level(levels):
    """One image of one pixel for each grey level."""
    return (torch.arange(levels) / (levels - 1))[:, None, None, None]


def test_bits_of_a_binomial_by_torch_distributions(digits):
    images = digits.test[:60]
    model = Fixed(lambda x: 6 * x - 3)
    family = torch.distributions.Binomial(16, logits=6 * images.double() - 3)
    expected = -family.log_prob(16 * images.double()).mean() / math.log(2)
    for validate in (True, False):
        loss = ld.loss("binomial", n=16, validate=validate)
        got = score.bits_per_dim(model, loss, images, 17)
        assert got == pytest.approx(expected.item(), rel=1e-5)
        assert type(got) is float


@pytest.mark.parametrize("sigma", [1e-3, 0.02, 0.1, 1.0])
def test_bits_of_a_gaussian_by_its_integral(digits, sigma):
    # The mean of (x + u - m)^2 over u in ±h/2 is (x - m)^2 + h^2/12; per level, less log h.
    images = digits.test[:60]
    h, mean = 1 / 16, 0.9 * images.double() + 0.01
    square = (images.double() - mean) ** 2 + h**2 / 12
    nats = square / (2 * sigma**2) + 0.5 * math.log(2 * math.pi * sigma**2) - math.log(h)
    loss = ld.loss("normal", sigma=sigma)
    got = score.bits_per_dim(Fixed(lambda x: 0.9 * x + 0.01), loss, images, 17)
    assert got == pytest.approx(nats.mean().item() / math.log(2), rel=1e-5)


def share(law, images):
    """Probability of [x - h/2, x + h/2] under a law symmetric about 0.4, by its left tail."""
    left = 0.4 - (images.double() - 0.4).abs()
    return torch.from_numpy(law.cdf(left + 1 / 32) - law.cdf(left - 1 / 32))


@pytest.mark.parametrize(
    ("loss", "law"),
    [
        (ld.loss("normal", sigma=0.03), stats.norm(0.4, 0.03)),
        (ld.loss("laplace", b=0.03), stats.laplace(0.4, 0.03)),
    ],
)
def test_spread_levels_cost_at_least_what_their_share_costs(loss, law):
    model = Fixed(lambda x: torch.full_like(x, 0.4))
    for image in every_level(17):
        got = score.bits_per_dim(model, loss, image[None], 17)
        assert got > -math.log2(share(law, image).item())


def test_spread_levels_cost_no_more_when_the_density_is_wide():
    model, images = Fixed(lambda x: torch.full_like(x, 0.4)), every_level(17)
    expected = -share(stats.norm(0.4, 2.0), images).log2().mean().item()
    got = score.bits_per_dim(model, ld.loss("normal", sigma=2.0), images, 17)
    assert got == pytest.approx(expected, abs=1e-4)


def total_probability(loss, levels, output=0.3):
    """Sum over all levels of 2^-bits, for a decoder that always says the same."""
    model = Fixed(lambda x: torch.full_like(x, output))
    bits = [score.bits_per_dim(model, loss, image[None], levels) for image in every_level(levels)]
    return sum(2**-b for b in bits)


def test_bits_are_those_of_probabilities_of_levels():
    assert total_probability(ld.loss("binomial", n=16), 17) == pytest.approx(1, rel=1e-6)
    wide, narrow, spike = (ld.loss("normal", sigma=s) for s in (0.15, 0.05, 1e-4))
    assert 0.9 < total_probability(wide, 17) < 1
    assert total_probability(narrow, 17) < 1
    assert total_probability(spike, 17) < 1e-6  # as a density it would exceed 1: 4,000 / 16


def test_bits_of_a_model_that_draws_its_codes(digits):
    model = Fixed(lambda x: x + 0.1 * torch.randn_like(x))
    loss, images = ld.loss("normal", sigma=0.1), digits.test[:20]
    before = torch.random.get_rng_state()
    one, two, other = (score.bits_per_dim(model, loss, images, 17, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert one == two != other


def test_bits_of_a_decoder_with_two_heads(digits):
    model = ae.build("mlp", digits.shape, latent=2, heads=2)
    mean, log_sigma = model(digits.test[:30]).detach().double().chunk(2, dim=1)
    law = torch.distributions.Normal(mean, log_sigma.exp())
    nodes = torch.linspace(-0.5, 0.5, 2001, dtype=torch.float64) / 16
    x = digits.test[:30].double()
    nats = -torch.stack([law.log_prob(x + u) for u in nodes]).mean()
    got = score.bits_per_dim(model, ld.loss("normal"), digits.test[:30], 17)
    assert got == pytest.approx(nats.item() / math.log(2) + 4, abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "met"),
    [
        (ld.loss("bernoulli", validate=False), "Binary.*17 grey levels need one from 0 to 16"),
        (ld.loss("binomial", n=15), "from 0 to 16"),
        (ld.loss("continuous_bernoulli"), "half a level beyond black and white"),
        (ld.loss("exponential"), "from -0.03125 to 1.03125"),
        (torch.nn.MSELoss(), "MSELoss is none"),
    ],
)
def test_losses_that_give_no_bits(digits, loss, met):
    with pytest.raises(LossDerivError, match=met):
        score.bits_per_dim(Fixed(lambda x: x), loss, digits.test[:5], 17)


def test_table_shows_further_columns_and_a_dash_where_there_is_no_value():
    row = score.Scores(10.0, 0.9, 0.8, 1.0, 0.7, 0.5, 1.1)
    bits = {"with": [2.25, 2.35]}
    table = score.Table({"with": [row, row], "without": [row, row]}, {"bits per pixel": bits})
    text, markdown = repr(table).splitlines(), table._repr_markdown_().splitlines()
    assert text[0].endswith("bits per pixel")
    assert text[1].endswith("2.30 ± 0.05")
    assert text[2].endswith("–")
    assert markdown[0].endswith("<small>bits per pixel</small> |")
    assert markdown[2].endswith("| 2.30 <small>±&nbsp;0.05</small> |")
    assert "<small>sharp&shy;ness</small>" in markdown[0]
    assert markdown[3].endswith("| – |")
    assert len({line.count("|") for line in markdown}) == 1
