"""The cache of compiled libraries: nothing damaged is loaded, and nobody is in the way."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lossderiv.native import cache, compiler, load

ROOT = Path(__file__).parents[1]
ANSWER = "int answer(void) { return %d; }\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_compiling(monkeypatch):
    def refuse(text, into):
        raise AssertionError("compiled again")

    return lambda: monkeypatch.setattr(cache, "compile_text", refuse)


def answer(library: ctypes.CDLL) -> int:
    return library.answer()


def only(place: Path) -> Path:
    (path,) = place.iterdir()
    return path


def test_a_text_is_compiled_once(place, no_compiling):
    assert answer(load(ANSWER % 11)) == 11
    no_compiling()
    assert answer(load(ANSWER % 11)) == 11
    assert only(place).suffix == ".so"
    with pytest.raises(AssertionError, match="compiled again"):
        load(ANSWER % 12)


def test_other_flags_another_compiler_or_processor_are_another_library(place, monkeypatch):
    load(ANSWER % 13)
    for part in ("FLAGS", "_processor", "compiler"):
        compiler.identity.cache_clear()
        with monkeypatch.context() as patch:
            if part == "FLAGS":
                patch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-DANYTHING"))
            elif part == "_processor":
                patch.setattr(compiler, "_processor", lambda: "another")
            else:
                patch.setattr(compiler, "_stamp", lambda: "a newer one")
            load(ANSWER % 13)
    compiler.identity.cache_clear()
    assert len(list(place.iterdir())) == 4


@pytest.mark.parametrize("damage", ["truncated", "empty", "a bit", "text"])
def test_a_damaged_entry_is_made_anew(place, damage):
    """In a process of its own: the loader, given such a file, may end it."""
    load(ANSWER % 14)
    path = only(place)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.unlink()  # this process has it mapped: bytes changed in place would end it at its exit
    path.write_bytes(
        {"truncated": content[:middle], "empty": b"", "a bit": flipped, "text": b"no library"}[
            damage
        ]
    )
    code = f"from lossderiv.native import load\nprint(load({ANSWER % 14!r}).answer())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("14\n", "")
    assert only(place).read_bytes() == content


def test_processes_that_race_all_succeed(place):
    code = f"from lossderiv.native import load\nprint(load({ANSWER % 15!r}).answer())"

    def run(_):
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    assert [(d.stdout, d.stderr) for d in done] == [("15\n", "")] * 4
    assert {p.suffix for p in place.iterdir()} == {".so"}  # and nothing half done


def test_one_that_compiles_while_the_entry_appears(place, monkeypatch):
    """The slower of two finds its place taken, and both have a library."""
    slow = cache.compile_text

    def overtaken(text, into):
        monkeypatch.setattr(cache, "compile_text", slow)
        assert answer(load(text)) == 16
        slow(text, into)

    monkeypatch.setattr(cache, "compile_text", overtaken)
    assert answer(load(ANSWER % 16)) == 16
    assert answer(load(ANSWER % 16)) == 16


def test_a_folder_that_cannot_be_written_costs_a_compilation(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv(cache.VARIABLE, str(blocked / "cache"))
    assert answer(load(ANSWER % 17)) == 17


def test_a_compiler_that_refuses_says_what_it_said(place):
    with pytest.raises(compiler.CompilerError, match=r"refused: .*error"):
        load("nonsense")
    assert list(place.iterdir()) == []


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "lossderiv"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "lossderiv"


def test_the_processor_is_left_as_it_was():
    """-ffast-math would link code that flushes subnormal numbers to zero, everywhere."""
    assert not any("fast" in flag for flag in compiler.FLAGS)
    load(ANSWER % 18)
    tiny = 5e-324
    assert tiny * 1.0 > 0.0
