"""Standalone source: run where neither lossderiv nor SymPy exists, it gives the same numbers."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache

import pytest
import torch
from drawing import given, inputs

import lossderiv as ld

RUNNER = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lossderiv", "sympy", "mpmath"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuse())
for name in [n for n in sys.modules if n.split(".")[0] in ("lossderiv", "sympy", "mpmath")]:
    del sys.modules[name]
import torch
try:
    import sympy
    raise SystemExit("sympy could be imported")
except ImportError:
    pass
cases, out = torch.load(sys.argv[1]), {}
for key, (text, outputs, x) in cases.items():
    space = {}
    exec(compile(text, key, "exec"), space)
    dropped = space["dropped"](x) if "dropped" in space else space["DROPPED"]
    out[key] = (space["loss"](*outputs, x), space["gradient"](*outputs, x), dropped)
torch.save(out, sys.argv[2])
"""
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@cache
def derived(family: str) -> ld.Derivation:
    return ld.derive(family, **given(family))


def key(family: str, dtype: str) -> str:
    return f"{family} {dtype}"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Every family's source, run in one process that has torch alone."""
    folder = tmp_path_factory.mktemp("standalone")
    cases = {}
    for family in ld.families():
        for name, dtype in DTYPES.items():
            outputs, x = inputs(derived(family), (64,), dtype=dtype)
            cases[key(family, name)] = (ld.source(derived(family)), outputs, x)
    torch.save(cases, folder / "in.pt")
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNNER, str(folder / "in.pt"), str(folder / "out.pt")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return cases, torch.load(folder / "out.pt")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ld.families())
def test_the_same_numbers_as_the_loss(elsewhere, family, dtype):
    cases, found = elsewhere
    _, outputs, x = cases[key(family, dtype)]
    value, slopes, dropped = found[key(family, dtype)]
    slopes = slopes if isinstance(slopes, tuple) else (slopes,)
    outputs = tuple(o.requires_grad_() for o in outputs)
    d = derived(family)
    ours = ld.loss(d, reduction="none")(outputs, x)
    eps = torch.finfo(DTYPES[dtype]).eps
    near = {"rtol": 16 * eps, "atol": 16 * eps}
    torch.testing.assert_close(value, ours, **near)
    torch.testing.assert_close(slopes, torch.autograd.grad(ours.sum(), outputs), **near)
    kept = ld.loss(d, reduction="none", constants="keep")(outputs, x)
    torch.testing.assert_close(float(d.scale) * value + dropped, kept.detach(), **near)


@pytest.mark.parametrize("family", ld.families())
def test_it_reads_well(family):
    """The derivation as docstring, torch as the only import, short lines, everything used."""
    text, d = ld.source(derived(family)), derived(family)
    tree = ast.parse(text)
    assert ast.get_docstring(tree, clean=False).strip() == d.text().strip()
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(n) for n in imports] == ["import torch"]
    assert max(map(len, text.splitlines())) <= 88
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert text.endswith("\n")
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    for name in ("loss", "gradient"):
        assert [a.arg for a in functions[name].args.args] == [*d.outputs, str(d.density.variable)]
        assert ast.get_docstring(functions[name])
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    for helper in set(functions) - {"loss", "gradient", "dropped"}:
        assert helper in names, f"{helper} is defined and never called"


def test_lint_finds_nothing_to_say(tmp_path):
    """No undefined name, no unused variable, no unused import."""
    for family in ld.families():
        (tmp_path / f"{family}.py").write_text(ld.source(derived(family)), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9,W", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_loss_knows_its_source():
    assert ld.loss("normal", sigma=2).source == ld.source("normal", sigma=2)
    assert ld.source("normal", sigma=2) != ld.source("normal")


def test_links_reach_the_source():
    assert "softplus" in ld.source("normal", links={"sigma": "softplus"})
