"""Compiled libraries on disk, each under the digest of what it was made from.

A file is called ``KEY-SUM.so``: the digest of text, compiler, flags and processor, and that of the
file's own bytes. It is written beside its place and renamed, so that nobody meets half a file, and
two processes that race both succeed. A file whose bytes do not have the sum in its name is thrown
away and made anew, before the system's loader, which would crash on it, sees it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from pathlib import Path

from lossderiv.native.compiler import compile_text, identity

VARIABLE = "LOSSDERIV_CACHE"


def folder() -> Path:
    """``$LOSSDERIV_CACHE``, or ``lossderiv`` in the user's cache folder."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lossderiv"


def load(text: str) -> ctypes.CDLL:
    """The library of a text of C: from the cache, else compiled and kept there.

    A cache that cannot be written costs a compilation in every process, nothing else.
    """
    key = _digest(f"{identity()}\n{text}".encode())
    place = folder()
    for path in place.glob(f"{key}-*.so"):
        if (found := _whole(path)) is not None:
            return found
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _make(text, key, place)
    except OSError:
        with tempfile.TemporaryDirectory() as elsewhere:
            return _make(text, key, Path(elsewhere))


def _whole(path: Path) -> ctypes.CDLL | None:
    """The library at ``path``; ``None`` where it was damaged, and is now gone."""
    try:
        if path.stem.rpartition("-")[2] == _digest(path.read_bytes()):
            return ctypes.CDLL(str(path))
        path.unlink()
    except FileNotFoundError:  # another process has thrown it away
        pass
    return None


def _make(text: str, key: str, place: Path) -> ctypes.CDLL:
    handle, name = tempfile.mkstemp(suffix=".tmp", dir=place)
    os.close(handle)
    fresh = Path(name)
    try:
        compile_text(text, fresh)
        final = place / f"{key}-{_digest(fresh.read_bytes())}.so"
        fresh.replace(final)
    finally:
        fresh.unlink(missing_ok=True)
    return ctypes.CDLL(str(final))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
