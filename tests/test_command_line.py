"""The command line: what it prints, how wide, and how it fails."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import lossderiv as ld
from lossderiv.__main__ import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_list_names_every_family(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == list(ld.families())
    assert max(map(len, out.splitlines())) <= 80


def test_show_is_the_derivation(capsys):
    code, out, _ = run(capsys, "show", "normal", "--fix", "sigma=1")
    assert (code, out) == (0, ld.derive("normal", sigma=1).text() + "\n")


def test_source_runs_by_itself(capsys):
    _, out, _ = run(capsys, "source", "laplace")
    space = {}
    exec(out, space)
    raw = [torch.tensor([0.3]), torch.tensor([-0.2])]
    loss = ld.loss("laplace", reduction="none")(tuple(raw), torch.tensor([1.5]))
    torch.testing.assert_close(space["loss"](*raw, torch.tensor([1.5])), loss)


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("bernoulli", "prediction minus target, the prediction being logistic(eta_p)"),
        ("poisson", "prediction minus target, the prediction being exp(eta_rate)"),
        ("normal", "exp(-2*eta_sigma) times prediction minus target"),
        ("categorical", "less 1 for the class that was seen"),
        ("bernoulli", "torch.nn.BCEWithLogitsLoss"),
        ("gumbel", "no common name"),
        ("laplace", "over a sample is mu = median(x)"),
    ],
)
def test_why_says_what_the_loss_is(capsys, family, says):
    code, out, _ = run(capsys, "why", family)
    assert code == 0
    assert says in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_why_claims_no_difference_where_there_is_none(capsys):
    for family in ("laplace", "cauchy", "huber", "exponential"):
        _, out, _ = run(capsys, "why", family)
        assert "prediction being" not in out


def test_check_integrates_and_derives(capsys):
    code, out, _ = run(
        capsys, "check", "rate*exp(-rate*x)", "--data", "nonnegative", "--params", "rate:positive"
    )
    assert code == 0
    assert out.startswith("integrates to 1:\n  Z = 1 at rate = 1.0")
    assert "loss: x*exp(eta_rate) - eta_rate" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "nrmal"), "Did you mean normal"),
        (("show", "normal", "--fix", "sigma=wide"), "name=number"),
        (("show", "normal", "--fix", "sigma=-1"), "outside its domain"),
        (("check", "exp(-x)", "--data", "real"), "not integrate|declared|nothing"),
        (("check", "2*exp(-a*x)", "--data", "nonnegative", "--params", "a:positive"), "Z = 2"),
        (("check", "a*b", "--params", "a:positive"), "uses b"),
        (("check", "exp(-", "--params", "a:positive"), "cannot be read"),
        (("check", "a", "--params", "a:odd"), "no domain 'odd'"),
        (("check", "a", "--params", "a"), "name:domain"),
    ],
)
def test_errors_are_one_line_and_code_2(capsys, arguments, says):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lossderiv: ")
    assert err.count("\n") == 1
    assert any(part in err for part in says.split("|"))


def test_it_is_a_program_that_loads_no_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lossderiv", "why", "bernoulli"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("bernoulli: One coin flip")
    assert not any(line.endswith(" torch") for line in done.stderr.splitlines())
    wrong = subprocess.run(
        [sys.executable, "-m", "lossderiv", "show", "nothing"], capture_output=True, text=True
    )
    assert wrong.returncode == 2


def test_a_reader_who_has_seen_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m lossderiv source student_t | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
