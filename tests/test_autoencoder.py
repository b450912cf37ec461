"""The training workflow on tiny data: what it learns, repeats, shows and refuses."""

import math
import os
import sys

import matplotlib
import matplotlib.style
import pytest
import torch
from matplotlib.axes import Axes
from torch import nn

from lossderiv import autoencoder as ae
from lossderiv.autoencoder import progress
from lossderiv.autoencoder.fit import batches, healthy
from lossderiv.errors import LossDerivError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return ae.load("digits", on=CPU)


@pytest.fixture
def tiny():
    """Forty 4 x 4 images that lie on a line: one number says it all."""
    strength = torch.linspace(0, 1, 40)[:, None, None, None]
    pattern = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    images, labels = strength * pattern, torch.arange(40) % 2
    pieces = [images[::2], images[1::4], images[3::4]]
    return ae.Data("tiny", *pieces, labels[::2], labels[1::4], labels[3::4], levels=256)


def fit(data, *, loss=None, seed=0, kind="mlp", **settings):
    model = ae.build(kind, data.shape, latent=2, seed=seed)
    settings = {"epochs": 12, "batch": 5, "seed": seed, "label": None, **settings}
    return model, ae.train(model, data, loss or nn.MSELoss(), **settings)


# --- data ------------------------------------------------------------------------------------


def test_digits_split(digits):
    assert [len(part) for part in (digits.train, digits.val, digits.test)] == [1097, 200, 500]
    assert digits.shape == (1, 8, 8)
    assert digits.levels == 17
    assert digits.train.min() == 0
    assert digits.train.max() == 1
    counts = digits.counts(digits.train)
    assert torch.equal(counts / 16, digits.train)
    for labels in (digits.train_labels, digits.val_labels, digits.test_labels):
        share = labels.bincount(minlength=10) / len(labels)
        assert share.min() > 0.09
        assert share.max() < 0.11


def test_digits_split_is_the_same_every_time(digits):
    again = ae.load("digits", on=CPU)
    assert torch.equal(again.test, digits.test)
    assert torch.equal(again.train_labels, digits.train_labels)


def test_data_set_from_the_environment(monkeypatch, digits):
    monkeypatch.setenv("LOSSDERIV_DATASET", "digits")
    assert ae.load(on=CPU).name == "digits"
    monkeypatch.setenv("LOSSDERIV_DATASET", "digitz")
    with pytest.raises(LossDerivError, match=r"'digitz'.*LOSSDERIV_DATASET.*LOSSDERIV_DATA"):
        ae.load(on=CPU)


def test_data_folder_missing_or_empty(monkeypatch, tmp_path):
    monkeypatch.delenv("LOSSDERIV_DATA", raising=False)
    with pytest.raises(LossDerivError, match=r"LOSSDERIV_DATA is not set.*LOSSDERIV_DATASET"):
        ae.load("mnist", on=CPU)
    monkeypatch.setenv("LOSSDERIV_DATA", str(tmp_path))
    with pytest.raises(LossDerivError, match=r"not found in LOSSDERIV_DATA.*LOSSDERIV_DATASET"):
        ae.load("fashion-mnist", on=CPU)


def test_torchvision_folder(tmp_path):
    """A miniature MNIST in torchvision's own file format: 24 training and 5 test images."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, count in (("train", 24), ("t10k", 5)):
        header = [(2051).to_bytes(4, "big"), count.to_bytes(4, "big")]
        size = (28).to_bytes(4, "big") * 2
        pixels = bytes(i % 256 for i in range(count * 784))
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(b"".join(header) + size + pixels)
        labels = (2049).to_bytes(4, "big") + count.to_bytes(4, "big") + bytes(count)
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(labels)
    data = ae.load("mnist", str(tmp_path), on=CPU)
    assert [len(part) for part in (data.train, data.val, data.test)] == [22, 2, 5]
    assert data.shape == (1, 28, 28)
    assert data.levels == 256
    assert torch.equal(data.counts(data.train)[0].flatten()[:256], torch.arange(256))


def test_steps_to_epochs(digits):
    assert digits.epochs_for(1000) == 125
    assert digits.epochs_for(1) == 1


# --- models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 7, 5)])
@pytest.mark.parametrize("heads", [1, 2])
def test_shapes(kind, shape, heads):
    model = ae.build(kind, shape, latent=3, heads=heads)
    codes = model.encode(torch.zeros(2, *shape))
    assert codes.shape == (2, 3)
    assert model.decode(codes).shape == (2, heads * shape[0], *shape[1:])


def test_same_seed_same_weights_and_callers_random_state_untouched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (ae.build("mlp", (1, 4, 4), 2, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [model.encoder[1].weight for model in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_unknown_model():
    with pytest.raises(LossDerivError, match=r"'vit'.*mlp, conv"):
        ae.build("vit", (1, 8, 8), 2)


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_learns(tiny, kind):
    untrained = ae.evaluate(ae.build(kind, tiny.shape, latent=2), tiny.test, nn.MSELoss())
    model, history = fit(tiny, kind=kind)
    assert ae.evaluate(model, tiny.test, nn.MSELoss()) < untrained / 10
    assert len(history.train) == len(history.val) == 12


def test_same_seed_same_run(tiny):
    (one, first), (two, second), (_, third) = (fit(tiny, seed=s) for s in (3, 3, 4))
    assert first.train == second.train
    assert first.val == second.val
    assert first.val != third.val
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_keeps_the_best_epoch_not_the_last(tiny):
    """A learning rate that ends too high: the last epoch is worse than an earlier one."""
    model, history = fit(tiny, lr=0.1, epochs=10, seed=1)
    assert history.best < history.val[-1]
    assert history.best == min(history.val)
    assert ae.evaluate(model, tiny.val, nn.MSELoss()) == history.best


def test_steps_do_not_search_for_gpus_and_the_environment_is_restored(tiny, monkeypatch):
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    monkeypatch.setenv(name, "1")
    seen = []

    def loss(outputs, images):
        if torch.is_grad_enabled():
            seen.append(os.environ[name])
        return nn.functional.mse_loss(outputs, images)

    fit(tiny, loss=loss, epochs=2)
    assert set(seen) == {"0"}
    assert os.environ[name] == "1"
    with pytest.raises(ae.NonFiniteLoss):
        fit(tiny, loss=lambda outputs, images: outputs.sum() * math.nan)
    assert os.environ[name] == "1"


def test_batches_cover_the_data_once_per_epoch():
    rows = torch.cat(list(batches(20, 5, seed=0, epoch=1)))
    assert sorted(rows.tolist()) == list(range(20))
    for seed, epoch in ((0, 2), (1, 1)):
        assert not torch.equal(rows, torch.cat(list(batches(20, 5, seed=seed, epoch=epoch))))
    assert [len(b) for b in batches(23, 5, seed=0, epoch=1)] == [5, 5, 5, 5]


class Gaussian(nn.Module):
    """Two outputs per pixel, mean and log scale, in the form of a lossderiv loss."""

    outputs = ("eta_mu", "eta_sigma")

    def split(self, raw, dim):
        return raw.chunk(2, dim)

    def forward(self, outputs, x):
        mu, log_sigma = outputs
        return (((x - mu) / log_sigma.exp()).square() / 2 + log_sigma).mean()


def test_two_heads(tiny):
    model = ae.build("mlp", tiny.shape, latent=2, heads=2)
    before = ae.evaluate(model, tiny.test, Gaussian())
    ae.train(model, tiny, Gaussian(), epochs=12, batch=5, label=None)
    assert ae.evaluate(model, tiny.test, Gaussian()) < before - 1


# --- losses that are not finite --------------------------------------------------------------


def test_nan_image_stops_training(tiny):
    tiny.train[7, 0, 1, 1] = math.nan
    model = ae.build("mlp", tiny.shape, latent=2)
    with pytest.raises(ae.NonFiniteLoss, match=r"loss is nan at step \d \(epoch 1, batch \d of 4"):
        ae.train(model, tiny, nn.MSELoss(), epochs=3, batch=5, label=None)


class BreaksAt(nn.Module):
    """Squared error until call number `step`; then `harm` happens to the model first."""

    def __init__(self, step, harm):
        super().__init__()
        self.left, self.harm = step, harm

    def forward(self, outputs, x):
        if torch.is_grad_enabled():
            self.left -= 1
            if self.left == 0:
                return self.harm(outputs, x)
        return nn.functional.mse_loss(outputs, x)


def test_error_names_step_batch_and_gradient_and_keeps_the_best(tiny):
    """At step 11 the loss is the square root of 0: a finite value with an infinite slope."""
    model = ae.build("mlp", tiny.shape, latent=2)
    loss = BreaksAt(11, lambda outputs, x: (0 * outputs).sum().sqrt())
    place = r"loss is 0.0 at step 11 \(epoch 3, batch 3 of 4, training images \[.*and 0 more"
    with pytest.raises(ae.NonFiniteLoss, match=place) as caught:
        ae.train(model, tiny, loss, epochs=5, batch=5, label=None)
    assert "whose gradient is not is decoder.4.bias" in str(caught.value)
    _, history = fit(tiny, epochs=5)
    best = min(history.val[:2])
    assert f"validation loss {best:.4g}" in str(caught.value)
    assert ae.evaluate(model, tiny.val, nn.MSELoss()) == best


def test_error_names_the_parameter_that_is_not_finite(tiny):
    model = ae.build("mlp", tiny.shape, latent=2)
    with torch.no_grad():
        model.decoder[2].weight[0, 0] = math.inf
    with pytest.raises(ae.NonFiniteLoss, match=r"not finite is decoder\.2\.weight"):
        ae.train(model, tiny, nn.MSELoss(), epochs=3, batch=5, label=None)


def test_loss_alone_not_finite(tiny):
    model = ae.build("mlp", tiny.shape, latent=2)
    loss = BreaksAt(2, lambda outputs, x: outputs.sum() * 0 + math.inf)
    with pytest.raises(ae.NonFiniteLoss, match=r"loss is inf at step 2.*only the loss itself"):
        ae.train(model, tiny, loss, epochs=3, batch=5, label=None)


@pytest.mark.parametrize(
    ("slopes", "fine"),
    [([1, -2], True), ([3e38, 3e38], True), ([math.inf, -math.inf], False), ([math.nan], False)],
)
def test_slopes_whose_sum_overflows_are_still_finite(slopes, fine):
    weight = torch.zeros(len(slopes), requires_grad=True)
    weight.grad = torch.tensor(slopes, dtype=torch.float32)
    frozen = torch.zeros(2)
    assert healthy(torch.tensor(0.5), [frozen, weight]) == fine


def test_nan_validation_image(tiny):
    tiny.val[0, 0, 0, 0] = math.nan
    model = ae.build("mlp", tiny.shape, latent=2)
    with pytest.raises(ae.NonFiniteLoss, match="validation loss is nan after epoch 1"):
        ae.train(model, tiny, nn.MSELoss(), epochs=3, batch=5, label=None)


# --- progress --------------------------------------------------------------------------------


class Terminal:
    def __init__(self, tty):
        self.text, self.tty = "", tty

    def isatty(self):
        return self.tty

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_on_a_terminal(monkeypatch):
    terminal = Terminal(tty=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress.Progress("fit", every=0)
    bar(0.5, "epoch 1")
    bar(1.0, "epoch 2")
    assert terminal.text.count("\r") == 2
    assert terminal.text.count("\n") == 1
    assert terminal.text.endswith("epoch 2\n")


def test_progress_is_silent_elsewhere(monkeypatch):
    pipe = Terminal(tty=False)
    monkeypatch.setattr(sys, "stderr", pipe)
    progress.Progress("fit")(1.0, "done")
    assert pipe.text == ""


def test_progress_in_a_notebook_is_one_output():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    code = (
        "from lossderiv.autoencoder.progress import Progress\n"
        "bar = Progress('fit', every=0)\n"
        "bar(0.5, 'half'); bar(1.0, 'whole')"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert output.output_type == "display_data"
    assert "whole" in output.data["text/plain"]
    assert "half" not in output.data["text/plain"]


# --- plots -----------------------------------------------------------------------------------


def drawn_lines(history) -> list[Axes]:
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    return [
        ae.plots.curves({"mlp": [history, history]}),
        ae.plots.codes(points, torch.arange(9) % 3),
        ae.plots.codes(points),
    ]


def test_plots_return_axes_and_leave_settings_alone(tiny):
    before = dict(matplotlib.rcParams)
    _, history = fit(tiny, epochs=2)
    pictures = [
        ae.plots.images(tiny.test, columns=4, title="ten"),
        ae.plots.images({"real": tiny.test, "made": tiny.test}),
    ]
    lines = drawn_lines(history)
    assert all(isinstance(ax, Axes) for ax in pictures + lines)
    assert dict(matplotlib.rcParams) == before
    for ax in pictures:
        assert ax.figure._repr_png_().startswith(b"\x89PNG")
        assert ax.figure._repr_svg_() is None
    for ax, again in zip(lines, drawn_lines(history), strict=True):
        text = ax.figure._repr_svg_()
        assert "</svg>" in text
        assert text == again.figure._repr_svg_()
        assert ax.figure._repr_png_() is None
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_many_dots_are_pixels():
    many = ae.plots.codes(torch.randn(ae.plots.DOTS + 1, 2)).figure
    assert many._repr_svg_() is None
    assert many._repr_png_().startswith(b"\x89PNG")


def test_the_style_is_a_file_that_matplotlib_finds_by_name():
    with matplotlib.rc_context():
        matplotlib.style.use("lossderiv.autoencoder.book")
        ours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert tuple(ours) == ae.plots.COLOURS


def test_plots_draw_on_given_axes(tiny):
    left, right = ae.plots.axes(1, 2)
    assert ae.plots.images(tiny.test, ax=left) is left
    assert ae.plots.codes(torch.randn(9, 2), ax=right) is right


def test_images_are_placed_where_they_belong():
    pair = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    sheet = ae.plots.images(pair, columns=2).images[0].get_array()
    assert sheet.shape == (8, 17)
    assert (sheet[:, :8] == 0).all()
    assert (sheet[:, 9:] == 1).all()


def test_style_is_temporary():
    before = matplotlib.rcParams["axes.grid"]
    with ae.plots.style():
        assert matplotlib.rcParams["axes.grid"] is True
    assert matplotlib.rcParams["axes.grid"] == before
