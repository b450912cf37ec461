"""The training loop, once, in full view.

`train` takes a model, data and any `loss(outputs, images)` in the manner of torch.nn: one made by
`lossderiv.loss`, or `torch.nn.MSELoss()`.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lossderiv.autoencoder import checkpoint as checkpoints
from lossderiv.autoencoder.data import Data
from lossderiv.autoencoder.models import Autoencoder
from lossderiv.autoencoder.progress import Progress
from lossderiv.errors import LossDerivError

if TYPE_CHECKING:  # its import takes seconds, which only training has to pay
    from lightning_fabric import Fabric

LossFunction = Callable[[Tensor | tuple[Tensor, ...], Tensor], Tensor]


@dataclass(frozen=True)
class History:
    """What happened in one training run: one entry per epoch, in the unit of the loss."""

    train: tuple[float, ...]
    val: tuple[float, ...]
    best_epoch: int
    seconds: float
    seed: int

    @property
    def best(self) -> float:
        """The lowest validation loss, reached at the end of epoch `best_epoch` (from 1)."""
        return self.val[self.best_epoch - 1]


class NonFiniteLoss(LossDerivError):
    """Training met a loss or a gradient that is infinite or not a number, and stopped."""


def train(
    model: Autoencoder,
    data: Data,
    loss: LossFunction,
    *,
    epochs: int,
    batch: int = 128,
    lr: float = 1e-2,
    weight_decay: float = 1e-2,
    patience: int | None = None,
    seed: int = 0,
    label: str | None = "training",
    checkpoint: str | Path | None = None,
    after_epoch: Callable[[History], None] | None = None,
    fabric: Fabric | None = None,
) -> History:
    """Train `model` in place, on the device of the data; return what happened.

    AdamW with one cycle of the learning rate (up to `lr`, then down to nearly 0). At the end the
    model carries the weights of the epoch with the lowest validation loss. The same seed gives
    the same run.

    - `patience`: stop after that many epochs without a lower validation loss; None never does.
    - `label` stands before the progress bar; None trains in silence.
    - `checkpoint`: a file, written after each epoch. If it exists, the run goes on from there, to
      the same result as without the interruption.
    - `after_epoch` is called with the history so far.
    - `fabric`: a Lightning Fabric, for mixed precision or for several processes: each of them
      then works on its share of every batch. Default: one process, full precision.

    Raises `NonFiniteLoss` at the first loss or gradient that is not finite; the model then
    carries its best weights so far. Raises `CheckpointError` for a checkpoint that is damaged or
    belongs to another model or run.
    """
    from lightning_fabric import Fabric

    device = data.train.device
    fabric = fabric or Fabric(accelerator=device.type, devices=1)
    ranks = fabric.world_size
    batch = min(batch, len(data.train))
    if batch % ranks:
        raise LossDerivError(
            f"a batch of {batch} images cannot be shared equally by {ranks} processes. Choose a "
            f"batch size that {ranks} divides."
        )
    model.to(device)
    weights = list(model.parameters())
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)
    per_epoch = len(data.train) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=epochs * per_epoch)
    show = Progress(label) if label and fabric.is_global_zero else lambda done, note: None
    settings = {"data": data.name, "images": len(data.train), "seed": seed, "epochs": epochs}
    settings |= {"batch": batch, "lr": lr, "weight_decay": weight_decay}

    done, train_curve, val_curve, seconds = 0, [], [], 0.0
    best, best_epoch, best_weights = float("inf"), 0, copy.deepcopy(model.state_dict())
    if checkpoint is not None and Path(checkpoint).exists():
        state = checkpoints.load(Path(checkpoint), model, settings)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        done, train_curve, val_curve = state["epoch"], state["train"], state["val"]
        best, best_epoch, best_weights = state["best"], state["best_epoch"], state["best_weights"]
        seconds = state["seconds"]

    # From here on `parallel` is the model as Fabric runs it, and `model` still holds its weights.
    parallel, optimiser = fabric.setup(model, optimiser)
    started = time.perf_counter() - seconds

    for epoch in range(done + 1, epochs + 1):
        if patience is not None and epoch - 1 - best_epoch >= patience:
            show(1.0, f"validation loss {best:.4g}, stopped early")
            break
        parallel.train()
        total = 0.0
        with randomness(seed, epoch, fabric.global_rank, device), no_search_for_gpus(device):
            for number, rows in enumerate(batches(len(data.train), batch, seed, epoch), start=1):
                mine = rows[fabric.global_rank :: ranks].to(device)
                images = data.train[mine]
                value = loss(split(loss, parallel(images)), images)
                optimiser.zero_grad()
                fabric.backward(value)
                value = fabric.all_reduce(value.detach()) if ranks > 1 else value.detach()
                if not healthy(value, weights):
                    cause = blame(model)
                    model.load_state_dict(best_weights)
                    raise NonFiniteLoss(
                        f"the loss is {value.item()} at step {(epoch - 1) * per_epoch + number} "
                        f"(epoch {epoch}, batch {number} of {per_epoch}, training images "
                        f"{rows[:5].tolist()} and {len(rows[5:])} more). {cause} The model is "
                        f"back at its best weights (epoch {best_epoch}, validation loss "
                        f"{best:.4g}). Look at those images, lower the learning rate ({lr:g}), or "
                        "bound the output that runs away."
                    )
                optimiser.step()
                schedule.step()
                total += value.item()

        train_curve.append(total / per_epoch)
        val_curve.append(evaluate(model, data.val, loss))
        if not math.isfinite(val_curve[-1]):
            model.load_state_dict(best_weights)
            raise NonFiniteLoss(
                f"the validation loss is {val_curve[-1]} after epoch {epoch}, while every training "
                f"batch was finite. The model is back at its best weights (epoch {best_epoch}, "
                f"validation loss {best:.4g}). Look for a validation image that is not a number or "
                "lies outside the support of the likelihood."
            )
        if val_curve[-1] < best:
            best, best_epoch = val_curve[-1], epoch
            best_weights = copy.deepcopy(model.state_dict())
        seconds = time.perf_counter() - started

        if checkpoint is not None and fabric.is_global_zero:
            checkpoints.save(
                Path(checkpoint),
                {
                    "settings": settings,
                    "epoch": epoch,
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "train": train_curve,
                    "val": val_curve,
                    "best": best,
                    "best_epoch": best_epoch,
                    "best_weights": best_weights,
                    "seconds": seconds,
                },
            )
        if after_epoch is not None and fabric.is_global_zero:
            after_epoch(History(tuple(train_curve), tuple(val_curve), best_epoch, seconds, seed))
        show(epoch / epochs, f"validation loss {best:.4g}")

    model.load_state_dict(best_weights)
    model.eval()
    return History(tuple(train_curve), tuple(val_curve), best_epoch, seconds, seed)


@contextmanager
def randomness(seed: int, epoch: int, rank: int, device: torch.device) -> Iterator[None]:
    """What a model draws while training (dropout, noise) depends on these numbers alone.

    So a run that was interrupted goes on as it would have, and the caller's random state is left
    as it was.
    """
    on_cpu = device.type == "cpu"
    # On a CPU, spare the other devices' generators, whose seeding waits in a list that grows.
    set_seed = torch.default_generator.manual_seed if on_cpu else torch.manual_seed
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        set_seed(1_000_003 * seed + 1009 * epoch + rank)
        yield


@contextmanager
def no_search_for_gpus(device: torch.device) -> Iterator[None]:
    """On a CPU, spare each step of the optimiser the search for a GPU's driver library.

    Lightning sets this variable so that processes can be forked before CUDA starts. Torch's
    optimisers ask at every step whether there is an accelerator, and with the variable set torch
    answers by loading the library anew: a sixth of a small model's training time.
    """
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    before = os.environ.get(name)
    if device.type == "cpu" and before is not None:
        os.environ[name] = "0"
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before


def batches(count: int, batch: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Row numbers of each batch of one epoch: a function of seed and epoch, and of nothing else.

    The incomplete batch at the end is left out; the next epoch shuffles afresh.
    """
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    order = torch.randperm(count, generator=generator)
    for start in range(0, count - batch + 1, batch):
        yield order[start : start + batch]


@torch.no_grad()
def evaluate(model: Autoencoder, images: Tensor, loss: LossFunction, batch: int = 1000) -> float:
    """The loss of `model` on `images`, averaged over all of them, in evaluation mode."""
    model.eval()
    total = 0.0
    for part in images.split(batch):
        total += loss(split(loss, model(part)), part).item() * len(part)
    return total / len(images)


def split(loss: LossFunction, raw: Tensor) -> Tensor | tuple[Tensor, ...]:
    """The decoder's raw output in the form that `loss` takes.

    A loss with several outputs per pixel says so in `loss.outputs`, and takes a tuple.
    """
    return loss.split(raw, dim=1) if len(getattr(loss, "outputs", "x")) > 1 else raw


def healthy(value: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether the loss and every gradient are finite.

    A sum that is finite has finite terms, and is cheap. One that is not may have overflowed, so
    then the terms are asked.
    """
    terms = [value, *(w.grad for w in weights if w.grad is not None)]
    if torch.stack([t.sum() for t in terms]).sum().isfinite():
        return True
    return all(bool(t.isfinite().all()) for t in terms)


def blame(model: nn.Module) -> str:
    """Which parameter to look at, after a backward pass that was not `healthy`.

    A parameter that is not finite, if there is one; else the first whose gradient is not, going
    backwards from the loss as the gradient does.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"The first parameter that is not finite is {name}."
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return (
                "All parameters are finite; going back from the loss, the first whose gradient is "
                f"not is {name} (its largest weight is {parameter.abs().max().item():.3g})."
            )
    return "All parameters and gradients are finite; only the loss itself is not."
