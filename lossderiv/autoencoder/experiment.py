"""An experiment as a record, a run as a folder, and several of them side by side.

A folder holds `config.json` (the record), `metrics.csv` (one line per epoch), `checkpoint.pt` and
two pictures. Everything in it can be read without this package.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib.axes import Axes
from torch import nn

from lossderiv.autoencoder import plots
from lossderiv.autoencoder.data import Data, load
from lossderiv.autoencoder.fit import History, evaluate, split, train
from lossderiv.autoencoder.models import Autoencoder, build
from lossderiv.errors import LossDerivError
from lossderiv.losses import loss as make_loss

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Experiment:
    """All that decides a result. Two equal records give equal runs.

    `loss` is a family of the catalogue and `fixed` the parameters that are given a value, as in
    `lossderiv.loss(loss, **fixed)`.

    >>> record = Experiment(latent=2, seed=1)
    >>> Experiment.from_json(record.to_json()) == record
    True
    >>> record.name
    'digits-mlp2-normal-seed1'
    >>> from dataclasses import replace
    >>> replace(record, lr=0.001, fixed={"sigma": 0.1}).name
    'digits-mlp2-normal-sigma0.1-lr0.001-seed1'
    """

    data: str = "digits"
    model: str = "mlp"
    latent: int = 8
    loss: str = "normal"
    fixed: Mapping[str, float] = field(default_factory=lambda: {"sigma": 1})
    epochs: int = 125
    batch: int = 128
    lr: float = 1e-2
    weight_decay: float = 1e-2
    patience: int | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        """What is done, whatever the seed: the main entries, then all that are not the default."""
        main = {"data", "model", "latent", "loss", "seed"}
        usual = Experiment()
        words = [self.data, f"{self.model}{self.latent}", self.loss]
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in main and value != getattr(usual, f.name):
                entries = value if isinstance(value, Mapping) else {f.name: value}
                words += [f"{name}{entry}" for name, entry in entries.items()] or [f"no-{f.name}"]
        return "-".join(words)

    @property
    def name(self) -> str:
        """The name of its folder: `title` and seed. Records that differ have different names."""
        return f"{self.title}-seed{self.seed}"

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Experiment:
        """The record that `to_json` wrote; raises `LossDerivError` for anything else."""
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise LossDerivError(f"this is no JSON record of an experiment: {error}.") from error
        known = {f.name for f in fields(cls)}
        if not isinstance(entries, dict) or not entries.keys() <= known:
            met = sorted(entries.keys() - known) if isinstance(entries, dict) else entries
            raise LossDerivError(
                f"an experiment has no {met!r}. Its entries are {', '.join(sorted(known))}."
            )
        return cls(**entries)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its record, the trained model, the loss, and what happened."""

    experiment: Experiment
    model: Autoencoder
    loss: nn.Module
    history: History
    test: float
    folder: Path


def run(
    experiment: Experiment,
    runs: str | Path = "runs",
    *,
    data: Data | None = None,
    fabric: Fabric | None = None,
    label: str | None = "",
) -> Run:
    """Do the experiment in `runs/NAME`, or finish it there, or read it if it is finished.

    `data` saves loading it again. `label` stands before the progress bar; the empty one stands
    for the name of the experiment, None trains in silence. Raises `LossDerivError` if the folder
    holds another experiment of that name; the errors of `train` pass through.
    """
    folder = Path(runs) / experiment.name
    config = folder / "config.json"
    if config.exists():
        there = Experiment.from_json(config.read_text())
        for entry, value in asdict(experiment).items():
            if getattr(there, entry) != value:
                raise LossDerivError(
                    f"the folder {folder} holds another experiment: {entry} is "
                    f"{getattr(there, entry)!r} there and {value!r} here. Choose another folder "
                    "for this one, or delete that one."
                )
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(experiment.to_json())

    data = data or load(experiment.data)
    loss = make_loss(experiment.loss, **experiment.fixed)
    model = build(
        experiment.model, data.shape, experiment.latent, len(loss.outputs), experiment.seed
    )
    history = train(
        model,
        data,
        loss,
        epochs=experiment.epochs,
        batch=experiment.batch,
        lr=experiment.lr,
        weight_decay=experiment.weight_decay,
        patience=experiment.patience,
        seed=experiment.seed,
        label=experiment.name if label == "" else label,
        checkpoint=folder / "checkpoint.pt",
        after_epoch=lambda history: (folder / "metrics.csv").write_text(metrics(history)),
        fabric=fabric,
    )
    if fabric is None or fabric.is_global_zero:
        draw(folder, model, data, loss, history)
    return Run(experiment, model, loss, history, evaluate(model, data.test, loss), folder)


def metrics(history: History) -> str:
    """A history as CSV text: epoch, training loss, validation loss."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "train", "val"])
    writer.writerows(zip(range(1, len(history.val) + 1), history.train, history.val, strict=True))
    return text.getvalue()


@torch.no_grad()
def draw(folder: Path, model: Autoencoder, data: Data, loss: nn.Module, history: History) -> None:
    """The two pictures of a run: its curves, and ten test images with what comes back."""
    plots.curves({folder.name: [history]}).figure.savefig(folder / "curves.png")
    images = data.test[:10]
    rebuilt = loss.mean(split(loss, model(images)))
    rows = {"test image": images, "rebuilt": rebuilt}
    plots.images(rows).figure.savefig(folder / "reconstructions.png")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, those that differ in the seed only in one row: mean ± half the range."""

    runs: Sequence[Run]

    def groups(self) -> dict[str, list[Run]]:
        """The runs of each experiment, whatever their seed."""
        out: dict[str, list[Run]] = {}
        for one in self.runs:
            out.setdefault(one.experiment.title, []).append(one)
        return out

    def rows(self) -> list[list[str]]:
        """The table: experiment, number of seeds, best validation loss, test loss, seconds."""
        head = ["experiment", "seeds", "validation loss", "test loss", "seconds"]
        return [head] + [
            [
                name,
                str(len(group)),
                spread([one.history.best for one in group]),
                spread([one.test for one in group]),
                spread([one.history.seconds for one in group]),
            ]
            for name, group in self.groups().items()
        ]

    def __repr__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_markdown_(self) -> str:
        head, *body = self.rows()
        return "\n".join("| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *body))

    def curves(self) -> Axes:
        """Training and validation curves of all runs on one pair of Axes, a colour per row."""
        return plots.curves(
            {name: [one.history for one in group] for name, group in self.groups().items()}
        )


def spread(values: Sequence[float]) -> str:
    """Mean ± half the range, with four digits."""
    return f"{sum(values) / len(values):.4g} ± {(max(values) - min(values)) / 2:.1g}"
