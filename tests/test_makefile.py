"""The Makefile in a folder of stand-ins: what is done once, and what makes it be done again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LOG = '#!/bin/sh\necho "{name} $*" >> "{log}"\n'
SOURCES = (
    "requirements.txt",
    "pyproject.toml",
    "_config.yml",
    "_toc.yml",
    "lossderiv/loss.py",
    "book/part1/01-a.md",
    "book/_static/book.css",
)


class Folder:
    """A copy of the Makefile whose tools only write down that they were called."""

    def __init__(self, path: Path, *, with_uv: bool):
        self.path = path
        self.log = path / "log"
        shutil.copy(ROOT / "Makefile", path)
        for name in SOURCES:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).touch()
        self.tools = path / "tools"
        for name in ("env", "grep", "sort", "cmp", "cp", "rm", "mkdir", "touch", "find", "sh"):
            self.link(name)
        for name in ("make", "test", "echo", "cat", "tar"):
            self.link(name)
        venv = 'for last; do :; done; mkdir -p "$last/bin"\n'
        fake = LOG.format(name="venv-python", log=self.log)
        making = f"cat > \"$last/bin/python\" <<'X'\n{fake}X\n"
        book = LOG.format(name="jupyter-book", log=self.log) + "[ ! -e broken ]\n"
        making += f"cat > \"$last/bin/jupyter-book\" <<'X'\n{book}X\n"
        making += 'chmod +x "$last"/bin/*\n'
        chmod = shutil.which("chmod")
        (self.tools / "chmod").symlink_to(chmod)
        self.tool("python3", venv + making)
        if with_uv:
            self.tool("uv", f'[ "$1" != venv ] && exit 0\n{venv}{making}')

    def link(self, name: str) -> None:
        self.tools.mkdir(exist_ok=True)
        (self.tools / name).symlink_to(shutil.which(name))

    def tool(self, name: str, body: str) -> None:
        path = self.tools / name
        path.write_text(LOG.format(name=name, log=self.log) + body)
        path.chmod(0o755)

    def make(self, target: str = "book", **environ: str) -> list[str]:
        """Run make; return the tools that it called, in order."""
        self.log.write_text("")
        self.result = subprocess.run(
            ["make", target],
            cwd=self.path,
            env={"PATH": str(self.tools), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def edit(self, name: str) -> None:
        """Give a file a time after that of everything made so far."""
        latest = max(p.stat().st_mtime for p in self.path.rglob("*") if p.is_file())
        os.utime(self.path / name, (latest + 1, latest + 1))


@pytest.fixture(params=[True, False], ids=["uv", "plain"])
def folder(request, tmp_path):
    return Folder(tmp_path, with_uv=request.param)


def test_first_run_installs_and_builds_and_says_where(folder):
    called = folder.make()
    assert folder.result.returncode == 0, folder.result.stderr
    assert called[0] == ("uv" if (folder.tools / "uv").exists() else "python3")
    assert called[-1] == "jupyter-book"
    assert f"file://{folder.path}/_build/html/book/index.html" in folder.result.stdout


def test_second_run_does_nothing(folder):
    folder.make()
    assert folder.make() == []
    assert folder.result.returncode == 0


@pytest.mark.parametrize("name", SOURCES)
def test_an_edit_is_noticed(folder, name):
    folder.make()
    folder.edit(name)
    called = folder.make()
    assert called[-1:] == ["jupyter-book"]
    installs = name in ("requirements.txt", "pyproject.toml")
    assert (len(called) > 1) == installs


def test_another_data_set_is_noticed_once(folder):
    folder.make()
    assert folder.make(LOSSDERIV_DATASET="mnist") == ["jupyter-book"]
    assert folder.make(LOSSDERIV_DATASET="mnist") == []
    # where compiled losses are kept changes no number
    assert folder.make(LOSSDERIV_DATASET="mnist", LOSSDERIV_CACHE="elsewhere") == []
    assert folder.make() == ["jupyter-book"]


def test_a_failed_build_fails_and_is_tried_again(folder):
    (folder.path / "broken").touch()
    for _ in range(2):
        assert folder.make()[-1] == "jupyter-book"
        assert folder.result.returncode != 0
    (folder.path / "broken").unlink()
    assert folder.make() == ["jupyter-book"]
    assert folder.result.returncode == 0


def test_a_page_that_left_the_contents_leaves_no_trace(folder):
    folder.make()
    old = folder.path / "_build" / "html" / "old.html"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.touch()
    folder.edit("_toc.yml")
    folder.make()
    assert not old.exists()


def test_no_test_collected_is_a_failure(folder):
    folder.make()
    python = folder.path / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 5\n")
    folder.make("test")
    assert folder.result.returncode != 0
