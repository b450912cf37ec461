"""One line of progress that rewrites itself: in a notebook, on a terminal, or not at all.

In a built page the last state remains, as one tidy line.
"""

from __future__ import annotations

import sys
import time


class Progress:
    """Shows `label, bar, note`; call it with the share done (0 to 1) and a note."""

    def __init__(self, label: str, every: float = 0.25):
        self.label = label
        self.every = every
        self.started = time.perf_counter()
        self.shown = float("-inf")
        self.write = _writer()

    def __call__(self, done: float, note: str = "") -> None:
        """Redraw, at most four times a second, and always at the end."""
        now = time.perf_counter()
        if done < 1 and now - self.shown < self.every:
            return
        self.shown = now
        cells = 16
        full = int(done * cells)
        seconds = f"{now - self.started:.1f} s"
        self.write(
            f"{self.label}  {'█' * full}{'░' * (cells - full)}  {seconds}  {note}", done >= 1
        )


def _writer():
    """The way to show a line here: a notebook display, a carriage return, or silence."""
    # IPython is looked up, never imported: a plain script should not pay for it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and hasattr(shell, "kernel"):
        return _notebook_writer()
    if sys.stderr.isatty():
        return _terminal_writer()
    return lambda line, last: None


def _notebook_writer():
    from IPython.display import display

    handle = None

    def write(line: str, last: bool) -> None:
        nonlocal handle
        bundle = {"text/plain": line.rstrip()}
        if handle is None:
            handle = display(bundle, raw=True, display_id=True)
        else:
            handle.update(bundle, raw=True)

    return write


def _terminal_writer():
    widest = 0

    def write(line: str, last: bool) -> None:
        nonlocal widest
        widest = max(widest, len(line))
        sys.stderr.write("\r" + line.ljust(widest) + ("\n" if last else ""))
        sys.stderr.flush()

    return write
