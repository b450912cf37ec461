"""Certificates are measured, current, and no better than what a new measurement finds."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

import lossderiv as ld
from benchmarks import certify
from benchmarks.accuracy import FULL, OURS, measure_rows
from benchmarks.measure import cases, ours, score
from benchmarks.rows import ROWS, rows_of
from lossderiv import certificates
from lossderiv.certificates import REFRESH, Figures, fingerprint

MEASURED_ROWS = [row for row in ROWS if row.catalogue_name in ld.families()]
ROUNDING = 0.5  # nat: what another processor's exp or log may add


def recorded(row, dtype: str = "float32") -> Figures:
    """The certificate's figures of our loss for a row of the benchmark."""
    (measured,) = (m for m in ld.certificate(row.catalogue_name).rows if m.name == row.name)
    (found,) = (f for f in measured.figures if f.who == OURS and f.dtype == dtype)
    return found


# --- every family's ---------------------------------------------------------------------------


@pytest.mark.parametrize("family", ld.families())
def test_every_family_has_a_certificate_of_the_code_that_runs(family):
    reason = certify.why_stale(family, FULL)
    assert not reason, f"{family}: {reason}. Run `{REFRESH}` and commit lossderiv/measured."
    assert ld.certificate(family).stale == ()


@pytest.mark.parametrize("family", ld.families())
def test_certificates_fit_a_terminal(family):
    shown = str(ld.certificate(family))
    assert max(map(len, shown.splitlines())) <= 80
    assert "STALE" not in shown


@pytest.mark.parametrize("row", MEASURED_ROWS, ids=lambda row: row.name)
def test_a_new_measurement_finds_nothing_worse(row):
    """A few cases of the certificate's own: the first of each block."""
    found = score(row, OURS, ours(row), "float32", cases(row, "float32", 3, 8))
    kept = recorded(row)
    assert found.cases < kept.cases
    for count in ("nonfinite_value", "nonfinite_gradient", "bad", "bad_moderate", "harm"):
        assert getattr(found, count) <= getattr(kept, count)
    assert found.value_max <= kept.value_max + ROUNDING
    assert found.gradient_max <= kept.gradient_max + ROUNDING


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_certificate_measured_again_is_the_same(dtype):
    for row in rows_of("bernoulli"):
        found = certify.figures(score(row, OURS, ours(row), dtype, cases(row, dtype, *FULL)))
        kept = recorded(row, dtype)
        for field in fields(Figures):
            new, old = found[field.name], getattr(kept, field.name)
            assert new == (pytest.approx(old, abs=ROUNDING) if type(new) is float else old)


def test_no_certificate_is_of_a_family_that_left():
    assert {path.stem for path in certificates.MEASURED.glob("*")} <= set(ld.families())


# --- what makes one stale ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Certificates in a folder of their own, that of bernoulli copied into it."""
    kept = (certificates.MEASURED / "bernoulli.json").read_text(encoding="utf-8")
    (tmp_path / "bernoulli.json").write_text(kept, encoding="utf-8")
    monkeypatch.setattr(certificates, "MEASURED", tmp_path)
    return tmp_path


def edited(folder, change) -> None:
    path = folder / "bernoulli.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


STALE = {
    "the code of bernoulli has changed": lambda r: r["rows"][0].update(code="0" * 16),
    "measured with seed 1": lambda r: r.update(seed=1),
    "measured with extreme 9": lambda r: r.update(extreme=9),
    "measured rows: bernoulli; here: bernoulli, bernoulli, grey": lambda r: r["rows"].pop(),
    "bernoulli was not measured in every": lambda r: r["rows"][0].update(
        figures=r["rows"][0]["figures"][:1]
    ),
}


@pytest.mark.parametrize("why", STALE)
def test_stale_certificates_are_found(folder, why):
    assert certify.why_stale("bernoulli", FULL, folder) == ""
    edited(folder, STALE[why])
    assert certify.why_stale("bernoulli", FULL, folder).startswith(why)


def test_a_stale_certificate_says_so_and_what_to_run(folder):
    edited(folder, lambda r: r["rows"][0].update(code="0" * 16))
    shown = ld.certificate("bernoulli")
    assert shown.stale == ("bernoulli",)
    for text in (str(shown), shown.markdown()):
        said = " ".join(text.replace("`", "").split())
        assert "STALE: the code of bernoulli has changed" in said
        assert f"Run {REFRESH}." in said


def test_the_fingerprint_is_of_the_code_and_not_of_its_reasons():
    d = ld.derive("bernoulli")
    reworded = replace(d, steps=tuple(replace(s, reason="because") for s in d.steps))
    assert reworded.text() != d.text()
    assert fingerprint(reworded) == fingerprint(d)
    assert fingerprint(d.rescaled(2)) != fingerprint(d)


def test_the_fingerprint_covers_the_special_functions(monkeypatch):
    from lossderiv.special import SPECIAL

    d = ld.derive("bernoulli")
    before = fingerprint(d)
    step = SPECIAL["step"]
    monkeypatch.setattr(step, "spelling", step.spelling + "\n# another")
    assert fingerprint(d) != before


# --- writing them -----------------------------------------------------------------------------


def test_only_what_is_stale_is_measured(tmp_path, capsys):
    asked = []

    def measure(rows, dtypes):
        asked.extend(row.name for row in rows)
        return measure_rows(rows, dtypes, (2, 2), frozenset(ld.families()))

    for _ in range(2):
        certify.refresh(["laplace"], (2, 2), measure, tmp_path)
    assert asked == [row.name for row in rows_of("laplace")]
    said = capsys.readouterr().out
    assert said.count("laplace: never measured") == said.count("laplace: written") == 1


def test_what_is_written_is_what_is_read(tmp_path, monkeypatch):
    scores = measure_rows(rows_of("laplace"), ["float32"], (2, 2), frozenset(ld.families()))
    spoilt = [replace(scores[0], value_max=float("inf")), *scores[1:]]
    certify.write("laplace", spoilt, (2, 2), tmp_path)
    monkeypatch.setattr(certificates, "MEASURED", tmp_path)
    read = ld.certificate("laplace")
    assert [row.name for row in read.rows] == [row.name for row in rows_of("laplace")]
    assert [f.who for f in read.rows[0].figures] == [s.who for s in scores if s.row == "laplace"]
    assert read.rows[0].figures[0].value_max == float("inf")
    assert "∞" in str(read)
    assert read.seed == certify.SEED


# --- asking for one ---------------------------------------------------------------------------


def test_an_unknown_family_is_refused_with_near_names():
    with pytest.raises(ld.UnknownNameError, match="student_t"):
        ld.certificate("studentt")


def test_a_family_without_a_certificate_says_what_to_run(folder):
    with pytest.raises(ld.UnknownNameError, match=f"normal has no certificate.*{REFRESH}"):
        ld.certificate("normal")


def test_a_notebook_gets_tables():
    shown = ld.certificate("bernoulli")._repr_mimebundle_()
    assert set(shown) == {"text/markdown", "text/plain"}
    assert shown["text/markdown"].count("| not finite |") == 3
