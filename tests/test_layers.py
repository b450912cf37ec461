"""One direction of imports, light imports, and no side effects."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lossderiv

PACKAGE = Path(lossderiv.__file__).parent

# A file may import what stands before its own group, and its own folder.
ORDER = (
    {"errors"},
    {"symbolic"},
    {"special_normal"},
    {"special_bell", "special_tails"},
    {"special"},
    {"special_vectors", "special_mixtures"},
    {"domains"},
    {"catalogue", "rules"},
    {"mixing"},
    {"derivations"},
    {"combinators"},
    {"codegen", "recognise", "insight", "narrow", "native", "select"},
    {"autograd", "targets", "certificates"},
    {"between", "peaks"},
    {"sampling", "eager", "compiled_rows"},
    {"composed", "compiled"},
    {"losses"},
    {"evidence"},
    {"estimates", "objectives", "arrays", "exercises", "autoencoder", "notebook"},
    {"__main__"},
)
RANK = {name: rank for rank, group in enumerate(ORDER) for name in group}
WITH_TORCH = {"autograd", "targets", "sampling", "eager", "losses", "exercises", "autoencoder"}
WITH_TORCH |= {"select", "compiled", "composed", "evidence", "estimates", "objectives", "arrays"}
WITH_TORCH |= {"between", "peaks", "compiled_rows", "narrow"}
WITH_FIGURES = {"autoencoder"}
HEAVY = {"torch": WITH_TORCH, "matplotlib": WITH_FIGURES, "torchvision": WITH_FIGURES}


def imported(path: Path, root: Path) -> list[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, inside functions too."""
    folder = ["lossderiv", *path.relative_to(root).with_suffix("").parts][:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found += [(node.lineno, a.value) for a in node.args if isinstance(a, ast.Constant)]
    return found


def violations(root: Path) -> list[str]:
    """What breaks the order, one sentence each."""
    found = []
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root).with_suffix("").parts[0]
        if place == "__init__":
            continue
        if place not in RANK:
            found.append(f"{path.name} has no place in ORDER")
            continue
        for line, name in imported(path, root):
            where = f"{path.relative_to(root)}:{line} imports {name}"
            head, *rest = name.split(".")
            if place not in HEAVY.get(head, {place}):
                found.append(f"{where}: {place} runs without {head}")
            if head != "lossderiv":
                continue
            if not rest or rest[0] not in RANK:
                found.append(f"{where}: import from the file itself, not from the front door")
            elif rest[0] != place and RANK[rest[0]] >= RANK[place]:
                found.append(f"{where}: {rest[0]} does not stand before {place}")
    return found


def test_imports_go_in_one_direction():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("symbolic/derive.py", "from lossderiv.special import softplus"),
        ("symbolic/derive.py", "def later():\n    from lossderiv.rules import READING"),
        ("rules.py", "from lossderiv.catalogue import FAMILIES"),
        ("codegen/printer.py", "from ..losses import Loss"),
        ("codegen/printer.py", "def later():\n    import torch"),
        ("recognise.py", "from torch import Tensor"),
        ("losses.py", "import lossderiv.autoencoder.fit"),
        ("sampling.py", "from lossderiv import loss"),
        ("special.py", "import importlib\nimportlib.import_module('lossderiv.losses')"),
        ("targets.py", "import matplotlib.pyplot as plt"),
        ("brand_new.py", ""),
    ],
)
def test_a_planted_violation_is_found(tmp_path, file, line):
    copy = tmp_path / "lossderiv"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with open(copy / file, "a", encoding="utf-8") as out:
        out.write(f"\n\n{line}\n")
    (found,) = set(violations(copy)) - set(violations(PACKAGE))
    assert Path(file).name in found


COSTLY = {"simplify", "expand_log", "logcombine", "powsimp", "radsimp", "trigsimp", "nsimplify"}
ON_A_NUMBER = {("derive.py", "nsimplify"), ("recognise.py", "nsimplify"), ("whose.py", "nsimplify")}


def costly_calls(text: str, file: str) -> list[str]:
    """SymPy's heuristic rewriters: slow (18 s on a binomial), and no step of a derivation."""
    calls = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    names = (getattr(f, "attr", getattr(f, "id", "")) for f in calls)
    return [n for n in names if n in COSTLY and (file, n) not in ON_A_NUMBER]


def test_no_derivation_calls_a_heuristic_simplifier():
    found = {p.name: costly_calls(p.read_text("utf-8"), p.name) for p in PACKAGE.rglob("*.py")}
    assert {file: calls for file, calls in found.items() if calls} == {}
    assert costly_calls("x = sp.simplify(y)\nz = simplify(y)", "rules.py") == ["simplify"] * 2


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_and_deriving_need_neither_torch_nor_matplotlib():
    """Deriving, checking, printing, naming and generating source are SymPy's work alone."""
    printed = in_a_fresh_process(
        "import sys, lossderiv as ld\n"
        "names = {'torch', 'matplotlib', 'sympy'}\n"
        "def heavy(): print(*sorted(names & set(sys.modules)), end=';')\n"
        "heavy()\n"
        "d = ld.derive('normal', sigma=1); d.check(); d.markdown(); ld.source(d); ld.known_as(d)\n"
        "heavy()\n"
        "ld.loss\n"
        "heavy()\n"
    )
    assert printed == ";sympy;sympy torch;"


def test_importing_changes_nothing_elsewhere():
    """Settings of torch, mpmath, warnings and the random number generators stay as they were."""
    in_a_fresh_process(
        "import random, warnings, sympy, torch, mpmath\n"
        "def state():\n"
        "    return (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),\n"
        "            torch.get_rng_state().tolist(), random.getstate(), mpmath.mp.dps,\n"
        "            list(warnings.filters))\n"
        "before = state()\n"
        "import lossderiv, lossderiv.losses, lossderiv.recognise\n"
        "lossderiv.derive('normal').check()\n"
        "loss = lossderiv.loss('normal')\n"
        "loss((torch.zeros(3), torch.zeros(3)), torch.ones(3))\n"
        "after = state()\n"
        "assert [type(b) for a, b in zip(before, after) if a != b] == []\n"
    )


def test_every_public_name_is_there():
    for name in lossderiv.__all__:
        assert getattr(lossderiv, name) is not None
    assert set(lossderiv.__all__) <= set(dir(lossderiv))
    with pytest.raises(AttributeError, match="nonsense"):
        lossderiv.nonsense  # noqa: B018
