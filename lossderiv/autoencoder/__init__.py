"""A training workflow to reuse: data in, autoencoder trained, pictures out.

The chapters of the book share it, and a reader can carry it to the next assignment. It is a leaf:
nothing else in the package imports it, and its loop takes any callable `loss(outputs, images)`.
"""

from lossderiv.autoencoder import autoregressive, plots, sample, score, several
from lossderiv.autoencoder.checkpoint import CheckpointError
from lossderiv.autoencoder.data import Data, device, load
from lossderiv.autoencoder.experiment import Comparison, Experiment, Run, run
from lossderiv.autoencoder.explorer import explore
from lossderiv.autoencoder.fit import History, NonFiniteLoss, evaluate, train
from lossderiv.autoencoder.models import Autoencoder, build

__all__ = [
    "Autoencoder",
    "CheckpointError",
    "Comparison",
    "Data",
    "Experiment",
    "History",
    "NonFiniteLoss",
    "Run",
    "autoregressive",
    "build",
    "device",
    "evaluate",
    "explore",
    "load",
    "plots",
    "run",
    "sample",
    "score",
    "several",
    "train",
]
