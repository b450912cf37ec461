"""Shared by all tests: figures are drawn without a screen, torch keeps to one core.

Compiled losses are kept beside pytest's own cache, not in the user's.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault(
    "LOSSDERIV_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")
)

# The book's Sphinx extension is no part of the installed package.
sys.path.append(str(Path(__file__).parents[1] / "book" / "_ext"))
