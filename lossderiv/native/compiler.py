"""The system's C compiler: which one, for which processor, and how it is called."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

NAMES = ("cc", "gcc", "clang")

# No -ffast-math: it changes results, and the rounding mode of the whole process with them. What is
# left is what vectorisation needs: errno and the exception flags, which nobody reads, are given up.
# Contraction is off, so that a product is rounded as in the readable source. Jumps are not threaded
# and partial redundancies stay, since either turns a choice between two numbers into a branch, at
# which gcc gives up on the loop.
FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-thread-jumps",
    "-fno-tree-pre",
    "-fopenmp-simd",
    "-fPIC",
    "-shared",
    "-w",
)


class CompilerError(Exception):
    """No compiler, or one that refuses; says what it said."""


@cache
def compiler() -> str:
    """The compiler's path: ``$CC``, or the first of the usual names."""
    wanted = os.environ.get("CC")
    for name in (wanted,) if wanted else NAMES:
        found = shutil.which(name)
        if found:
            return os.path.realpath(found)
    raise CompilerError(
        f"no C compiler was found (looked for {wanted or ', '.join(NAMES)}); install one, such as "
        "Debian's gcc, or name one in the variable CC"
    )


@cache
def identity() -> str:
    """What a library depends on beside its text: compiler, flags and processor."""
    return "\n".join([_stamp(), *FLAGS, platform.system(), platform.machine(), _processor()])


def _stamp() -> str:
    """Tells a compiler that is replaced by its size and date, since to ask it would take longer."""
    stat = os.stat(compiler())
    return f"{compiler()} {stat.st_size} {stat.st_mtime_ns}"


def _processor() -> str:
    """The processor's abilities, which ``-march=native`` makes use of."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    told = ("model name", "flags", "Features", "CPU part")
    lines = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(told))


def compile_text(text: str, into: Path) -> None:
    """Compile C into the shared library ``into``."""
    command = [compiler(), *FLAGS, "-x", "c", "-", "-o", str(into), "-lm"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise CompilerError(f"{compiler()} refused: {done.stderr.strip()[:500]}")
