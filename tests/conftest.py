"""Shared by all tests: figures are drawn without a screen, and torch keeps to one core."""

import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The book's Sphinx extension is no part of the installed package.
sys.path.append(str(Path(__file__).parents[1] / "book" / "_ext"))
