"""A training run on disk: written whole or not at all, and read with suspicion."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import torch
from torch import nn

from lossderiv.errors import LossDerivError


class CheckpointError(LossDerivError):
    """A checkpoint that cannot be read, or that belongs to another model or run."""


def save(path: Path, state: dict) -> None:
    """Write `state` beside `path` and then move it there.

    The move is atomic: whoever is interrupted, at any moment, finds the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def load(path: Path, model: nn.Module, settings: dict) -> dict:
    """The state at `path`, after checking that it continues a run of `model` with `settings`.

    Raises `CheckpointError` for a file that is damaged, of another model, or of other settings.
    Only tensors and plain values are read; a file cannot run code.
    """
    device = next(model.parameters()).device
    damaged = CheckpointError(
        f"the checkpoint {path} cannot be read: it is damaged, or it is no checkpoint. Delete it "
        "to start that run afresh."
    )
    try:
        # torch.load does not compare the checksums that torch.save wrote; zipfile does.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise damaged
        state = torch.load(path, map_location=device, weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise damaged from error
    if not isinstance(state, dict) or not {"model", "settings", "epoch"} <= state.keys():
        raise CheckpointError(
            f"the file {path} can be read, but it was not written by a training run of this "
            "package. Choose another path."
        )
    there = {name: tuple(value.shape) for name, value in state["model"].items()}
    here = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise CheckpointError(
                f"the checkpoint {path} belongs to another model: {name} is "
                f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here. Build "
                "the model that it was made with, or choose another path."
            )
    for name, value in settings.items():
        if state["settings"].get(name) != value:
            raise CheckpointError(
                f"the checkpoint {path} belongs to another run: {name} is "
                f"{state['settings'].get(name)!r} there and {value!r} here. Continue with the same "
                "settings, or choose another path."
            )
    return state
