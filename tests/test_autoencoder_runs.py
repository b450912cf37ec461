"""Runs that are stored, interrupted, resumed, shared between processes, and compared."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from lossderiv import autoencoder as ae
from lossderiv.autoencoder.checkpoint import save
from lossderiv.errors import LossDerivError

SMALL = {"epochs": 6, "batch": 5, "label": None}


def line_images(name="line"):
    """Forty 4 x 4 images that lie on a line."""
    strength = torch.linspace(0, 1, 40)[:, None, None, None]
    images = strength * torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    parts = [images[::2], images[1::4], images[3::4]]
    return ae.Data(name, *parts, *[torch.zeros(len(p), dtype=int) for p in parts], levels=256)


@pytest.fixture
def data():
    return line_images()


class Noisy(nn.Module):
    """An autoencoder that draws noise while it trains, and so depends on the random state."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        noise = 0.1 * torch.randn_like(images) if self.training else 0
        return self.inner(images + noise)


def model(data, latent=2):
    return Noisy(ae.build("mlp", data.shape, latent, seed=1))


class Interrupted(Exception):
    pass


class StopsAt(nn.Module):
    """Squared error that is interrupted at call number `step` of training."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def forward(self, outputs, x):
        self.left -= torch.is_grad_enabled()
        if self.left == 0:
            raise Interrupted
        return nn.functional.mse_loss(outputs, x)


# --- interruption ----------------------------------------------------------------------------


def same_as_whole(data, checkpoint):
    """What a run resumed from `checkpoint` gives is what one without interruption gives."""
    whole = model(data)
    expected = ae.train(whole, data, nn.MSELoss(), **SMALL)
    torch.manual_seed(99)
    resumed = model(data)
    history = ae.train(resumed, data, nn.MSELoss(), **SMALL, checkpoint=checkpoint)
    assert history.train == expected.train
    assert history.val == expected.val
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resumes_to_the_same_result(data, tmp_path):
    """Interrupted in the second batch of epoch 4: the same curves and weights, to the last bit."""
    with pytest.raises(Interrupted):
        ae.train(model(data), data, StopsAt(14), **SMALL, checkpoint=tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", weights_only=True)["epoch"] == 3
    same_as_whole(data, tmp_path / "a.pt")


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from test_autoencoder_runs import SMALL, StopsAt, ae, line_images, model

class Killed(StopsAt):
    def forward(self, outputs, x):
        if self.left == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(outputs, x)

data = line_images()
ae.train(model(data), data, Killed(14), **SMALL, checkpoint={path!r})
"""


def test_killed_run_resumes_to_the_same_result(data, tmp_path):
    """As above, but the process is killed and can tidy up nothing."""
    path = tmp_path / "a.pt"
    script = KILLED.format(here=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(path, weights_only=True)["epoch"] == 3
    same_as_whole(data, path)


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(data, tmp_path):
    """The loss breaks in epoch 4; the file still holds epoch 3, and a mended run goes on there."""

    class Breaks(StopsAt):
        def forward(self, outputs, x):
            try:
                return super().forward(outputs, x)
            except Interrupted:
                return outputs.sum() * math.inf

    path = tmp_path / "a.pt"
    with pytest.raises(ae.NonFiniteLoss, match=r"at step 14 \(epoch 4, batch 2 of 4"):
        ae.train(model(data), data, Breaks(14), **SMALL, checkpoint=path)
    assert torch.load(path, weights_only=True)["epoch"] == 3
    same_as_whole(data, path)


def test_finished_run_is_read_not_repeated(data, tmp_path):
    first = ae.train(model(data), data, nn.MSELoss(), **SMALL, checkpoint=tmp_path / "a.pt")
    again = model(data)
    history = ae.train(again, data, StopsAt(1), **SMALL, checkpoint=tmp_path / "a.pt")
    assert history == first
    assert ae.evaluate(again, data.val, nn.MSELoss()) == first.best


def test_half_written_checkpoint_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.pt"
    save(path, {"epoch": 1})

    class Fails:
        def __reduce__(self):
            raise Interrupted

    with pytest.raises(Interrupted):
        save(path, {"epoch": 2, "bad": Fails()})
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_training_leaves_the_callers_random_state_alone(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ae.train(ae.build("mlp", data.shape, 2), data, nn.MSELoss(), **SMALL)
    assert torch.equal(torch.rand(3), expected)


# --- checkpoints that must not be used ---------------------------------------------------------


@pytest.fixture
def checkpoint(data, tmp_path):
    path = tmp_path / "a.pt"
    ae.train(model(data), data, nn.MSELoss(), **SMALL, checkpoint=path)
    return path


def test_checkpoint_of_another_model(data, checkpoint):
    place = r"another model: inner\.decoder\.0\.weight is \(128, 2\) there and \(128, 3\) here"
    with pytest.raises(ae.CheckpointError, match=place):
        ae.train(model(data, latent=3), data, nn.MSELoss(), **SMALL, checkpoint=checkpoint)


def test_checkpoint_of_another_run(data, checkpoint):
    with pytest.raises(ae.CheckpointError, match=r"another run: lr is 0\.01 there and 0\.001 here"):
        ae.train(model(data), data, nn.MSELoss(), **SMALL, lr=0.001, checkpoint=checkpoint)


def flip(content):
    """One changed byte in the middle of the largest tensor."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"not a checkpoint at all", flip],
    ids=["cut", "empty", "text", "flipped"],
)
def test_corrupt_checkpoint(data, checkpoint, damage):
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(ae.CheckpointError, match=r"damaged.*Delete it"):
        ae.train(model(data), data, nn.MSELoss(), **SMALL, checkpoint=checkpoint)


def test_foreign_file(data, tmp_path):
    torch.save({"something": "else"}, tmp_path / "a.pt")
    with pytest.raises(ae.CheckpointError, match="not written by a training run"):
        ae.train(model(data), data, nn.MSELoss(), **SMALL, checkpoint=tmp_path / "a.pt")


# --- early stopping, precision, several processes ----------------------------------------------


def test_early_stopping(data):
    plain = ae.train(model(data), data, nn.MSELoss(), epochs=40, batch=5, lr=0.1, label=None)
    early = ae.train(
        model(data), data, nn.MSELoss(), epochs=40, batch=5, lr=0.1, label=None, patience=3
    )
    assert len(early.val) == early.best_epoch + 3 < len(plain.val)
    assert early.val == plain.val[: len(early.val)]


def test_mixed_precision(data):
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    full = ae.train(model(data), data, nn.MSELoss(), **SMALL)
    mixed = ae.train(model(data), data, nn.MSELoss(), **SMALL, fabric=fabric)
    assert mixed.train != full.train
    assert mixed.best == pytest.approx(full.best, rel=0.2)


SCRIPT = """
import sys, torch
from lightning_fabric import Fabric
sys.path.insert(0, {here!r})
from test_autoencoder_runs import curves_under
torch.set_num_threads(1)
fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
curves = curves_under(fabric)
if fabric.is_global_zero:
    print("CURVES", fabric.world_size, *curves)
"""


def curves_under(fabric):
    data = line_images()
    model = ae.build("mlp", data.shape, latent=2)
    settings = {"epochs": 5, "batch": 10, "label": None}
    history = ae.train(model, data, nn.MSELoss(), **settings, fabric=fabric)
    return [*history.train, *history.val]


def test_two_processes_train_as_one(tmp_path):
    """The same training under one and under two processes (gloo): equal up to float reordering."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("CURVES")]
    world, *together = line.split()[1:]
    assert world == "2"
    alone = curves_under(Fabric(accelerator="cpu", devices=1))
    assert [float(value) for value in together] == pytest.approx(alone, rel=1e-4)


def test_batch_that_cannot_be_shared(data):
    class Three(Fabric):
        world_size = 3

    with pytest.raises(LossDerivError, match=r"batch of 5 images.*3 processes"):
        ae.train(model(data), data, nn.MSELoss(), **SMALL, fabric=Three(accelerator="cpu"))


# --- experiments -------------------------------------------------------------------------------

RECORD = ae.Experiment(data="line", latent=2, epochs=3, batch=5)


def test_record_survives_json():
    record = replace(RECORD, fixed={}, patience=4, lr=0.003)
    assert ae.Experiment.from_json(record.to_json()) == record


@pytest.mark.parametrize("text", ['{"latent": 2, "colour": 1}', "[1, 2]", "{"])
def test_broken_record(text):
    with pytest.raises(LossDerivError, match=r"colour|has no \[1, 2\]|no JSON"):
        ae.Experiment.from_json(text)


def test_different_records_have_different_names():
    changes = [
        {"latent": 3}, {"model": "conv"}, {"loss": "laplace"}, {"fixed": {}}, {"seed": 1},
        {"fixed": {"sigma": 2}}, {"epochs": 9}, {"batch": 9}, {"lr": 0.5}, {"patience": 2},
        {"weight_decay": 0.5}, {"data": "digits"},
    ]  # fmt: skip
    names = {replace(RECORD, **change).name for change in changes} | {RECORD.name}
    assert len(names) == len(changes) + 1


def test_run_fills_a_folder_that_anyone_can_read(data, tmp_path):
    done = ae.run(RECORD, tmp_path, data=data, label=None)
    folder = tmp_path / RECORD.name
    assert json.loads((folder / "config.json").read_text())["latent"] == 2
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,train,val"
    assert [float(x) for x in lines[-1].split(",")] == [
        3, done.history.train[-1], done.history.val[-1],
    ]  # fmt: skip
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "reconstructions.png").read_bytes().startswith(b"\x89PNG")
    again = ae.run(RECORD, tmp_path, data=data, label=None)
    assert again.history == done.history
    assert again.test == done.test


def test_folder_of_another_experiment(data, tmp_path):
    folder = tmp_path / RECORD.name
    folder.mkdir()
    (folder / "config.json").write_text(replace(RECORD, lr=0.5).to_json())
    with pytest.raises(LossDerivError, match=r"another experiment: lr is 0\.5 there and 0\.01"):
        ae.run(RECORD, tmp_path, data=data, label=None)


def test_learned_width_has_two_heads(data, tmp_path):
    done = ae.run(replace(RECORD, fixed={}), tmp_path, data=data, label=None)
    assert done.model.heads == 2
    assert math.isfinite(done.test)


def test_comparison(data, tmp_path):
    records = [replace(RECORD, seed=s, lr=lr) for lr in (0.01, 0.001) for s in (0, 1)]
    table = ae.Comparison([ae.run(r, tmp_path, data=data, label=None) for r in records])
    head, slow, fast = table.rows()
    assert head[1] == "seeds"
    assert [slow[1], fast[1]] == ["2", "2"]
    assert slow[0] != fast[0]
    assert "±" in repr(table)
    assert table._repr_markdown_().count("\n") == 3
    assert len(table.curves().lines) == 8
