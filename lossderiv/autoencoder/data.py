"""Images as tensors in [0, 1], split once and for all, on one device.

One switch chooses the data, in one place: the environment variable `LOSSDERIV_DATASET`
(`digits`, `mnist` or `fashion-mnist`), and `LOSSDERIV_DATA` for the folder of the last two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossderiv.errors import LossDerivError, UnknownNameError


@dataclass(frozen=True, eq=False)
class Data:
    """Three disjoint sets of grey images (N x 1 x H x W, float32 in [0, 1]) with their labels.

    `levels` is the number of grey levels: the pixel value is `level / (levels - 1)`.
    """

    name: str
    train: Tensor
    val: Tensor
    test: Tensor
    train_labels: Tensor
    val_labels: Tensor
    test_labels: Tensor
    levels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return tuple(self.train.shape[1:])

    def counts(self, images: Tensor) -> Tensor:
        """The grey levels 0 ... levels - 1 behind images in [0, 1], as integers."""
        return (images * (self.levels - 1)).round().long()

    def epochs_for(self, steps: int, batch: int = 128) -> int:
        """How many passes over the training images make about `steps` optimiser steps."""
        return max(1, round(steps / max(1, len(self.train) // batch)))

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} train, {len(self.val)} validation, {len(self.test)} test"
        height, width = self.shape[1:]
        return (
            f"{self.name}: {height} x {width} images, {self.levels} grey levels, "
            f"on {self.train.device}\n{sizes}"
        )


def device() -> torch.device:
    """The one place where the device is chosen: CUDA if there is one, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def load(
    name: str | None = None, root: str | None = None, *, on: torch.device | None = None
) -> Data:
    """Load a data set by name; the arguments default to the environment and to `device()`.

    `name` falls back on `LOSSDERIV_DATASET`, then on `digits`, which needs no files. `root` falls
    back on `LOSSDERIV_DATA` and is the folder torchvision keeps its data sets in.

    The splits are fixed. Digits: 1,097 / 200 / 500 of the 1,797 scans in scikit-learn, drawn at
    random with equal shares of each class (the writers are not recorded, so one writer's digits
    may stand on both sides). MNIST and Fashion-MNIST: the first 55,000 training images, the last
    5,000 for validation, and the 10,000 test images.

    Raises `LossDerivError` for an unknown name or a folder without the files; it never falls back
    on other data.

    >>> data = load("digits", on=torch.device("cpu"))
    >>> data
    digits: 8 x 8 images, 17 grey levels, on cpu
    1097 train, 200 validation, 500 test
    """
    name = name or os.environ.get("LOSSDERIV_DATASET") or "digits"
    if name not in SOURCES:
        raise UnknownNameError(
            f"there is no data set named {name!r}. Set LOSSDERIV_DATASET to one of "
            f"{', '.join(SOURCES)}; all but digits also need LOSSDERIV_DATA, the folder that "
            "torchvision keeps its data sets in."
        )
    root = root or os.environ.get("LOSSDERIV_DATA")
    levels, splits = SOURCES[name](root)
    where = on or device()
    images = [
        torch.tensor(x, dtype=torch.float32)[:, None].div(levels - 1).to(where) for x, _ in splits
    ]
    labels = [torch.tensor(y, dtype=torch.int64).to(where) for _, y in splits]
    return Data(name, *images, *labels, levels)


Split = tuple[np.ndarray, np.ndarray]


def _digits(_root: str | None) -> tuple[int, list[Split]]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans = load_digits()
    split = {"random_state": 0, "shuffle": True}
    x, x_test, y, y_test = train_test_split(
        scans.images, scans.target, test_size=500, stratify=scans.target, **split
    )
    x, x_val, y, y_val = train_test_split(x, y, test_size=200, stratify=y, **split)
    return 17, [(x, y), (x_val, y_val), (x_test, y_test)]


def _from_torchvision(class_name: str) -> Callable[[str | None], tuple[int, list[Split]]]:
    def source(root: str | None) -> tuple[int, list[Split]]:
        from torchvision import datasets

        kind = getattr(datasets, class_name)
        remedy = (
            "Set LOSSDERIV_DATA to the folder that torchvision keeps its data sets in (in Python, "
            f"torchvision.datasets.{class_name}(FOLDER, download=True) fills one), or set "
            "LOSSDERIV_DATASET=digits, which needs no files."
        )
        if not root:
            raise LossDerivError(
                f"{class_name} needs files, and LOSSDERIV_DATA is not set. {remedy}"
            )
        try:
            parts = [kind(root, train=flag, download=False) for flag in (True, False)]
        except RuntimeError as error:
            raise LossDerivError(
                f"{class_name} was not found in LOSSDERIV_DATA={root!r}. {remedy}"
            ) from error
        (x, y), (x_test, y_test) = [(p.data.numpy(), p.targets.numpy()) for p in parts]
        cut = len(x) - len(x) // 12
        return 256, [(x[:cut], y[:cut]), (x[cut:], y[cut:]), (x_test, y_test)]

    return source


SOURCES = {
    "digits": _digits,
    "mnist": _from_torchvision("MNIST"),
    "fashion-mnist": _from_torchvision("FashionMNIST"),
}
