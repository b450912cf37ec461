"""The Atlas: what its pages say is what the catalogue, the tables and other libraries say."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import sympy as sp
import torch
from lossderiv_book import atlas
from lossderiv_book.atlas import (
    choose,
    curves,
    drawing,
    explorer,
    knowledge,
    made,
    made_drawing,
    mentions,
    one_page,
    pages,
    settings,
    words,
)

import lossderiv as ld
from lossderiv.catalogue import FAMILIES
from lossderiv.exercises import EXERCISES

ROOT = Path(__file__).parents[1]
CHAPTERS = mentions.chapters(ROOT)
by_family = pytest.mark.parametrize("family", ld.families())


@cache
def family_of(name: str) -> pages.Family:
    return pages.Family(FAMILIES[name])


@cache
def drawn(name: str) -> tuple[curves.Setting, ...]:
    return curves.settings(FAMILIES[name], family_of(name).given)


# --- every family's page ----------------------------------------------------------------------


@by_family
def test_settings_are_three_and_inside_the_domains(family):
    density = FAMILIES[family]
    for setting in settings.looks(density, family_of(family).given):
        assert list(setting) == list(density.parameters)
        for name, value in setting.items():
            domain = density.parameters[name]
            assert domain.shape != "scalar" or isinstance(value, tuple) or domain.contains(value)


@by_family
def test_the_explorer_can_write_the_formulas(family):
    """What a page computes must have a JavaScript form, whatever the family's code comes to be."""
    if explorer.explorable([family_of(family)]):
        written = explorer.formulas(family_of(family).derivation)
        assert set(explorer.OWN) <= set(written)


@by_family
def test_raw_outputs_give_back_the_settings(family):
    for setting in drawn(family):
        theta = setting.loss.theta(tuple(setting.raw.values()))
        for name in setting.loss.derivation.links:
            wanted = torch.tensor(setting.theta[name], dtype=torch.float64)
            torch.testing.assert_close(theta[name], wanted, rtol=1e-9, atol=1e-12)


@by_family
def test_a_page_tells_everything(family):
    told = family_of(family)
    picture = drawing.Picture("<svg/>", "A caption.", "An alternative text.")
    text = pages.page(told, (picture, picture), CHAPTERS)
    assert text.startswith(f"# {words.title(family)}\n")
    for heading in ("Use it", "Parameters", "Derivation", "Certificate", "Elsewhere", "Source"):
        assert f"\n## {heading}\n" in text
    for parameter in FAMILIES[family].parameters:
        assert f"`{parameter}`" in text
    assert told.derivation.markdown() in text
    assert told.certificate.table("float32") in text
    assert "STALE" not in text


@by_family
def test_code_that_is_shown_runs(family):
    """The example runs when it is written; the source is executed here, without the package."""
    text = pages.source(family_of(family))
    code = re.search(r"```\{code-block\} python\n:class: package\n(.*)\n```", text, re.DOTALL)[1]
    space: dict[str, object] = {}
    exec(compile(code, family, "exec"), space)
    assert callable(space["loss"])
    assert callable(space["gradient"])


@by_family
def test_the_docstring_stands_on_the_page(family):
    """Its four parts; each library is named, with a call or with the word none."""
    told = family_of(family).told
    rows = dict(pages.spelled(family_of(family)))
    for library, name in pages.LIBRARIES.items():
        call, remark = told.counterpart(library)
        assert rows[name] == (f"`{call}`" if call else "none") + (f", {remark}" if remark else "")
    text = pages.counterparts(family_of(family))
    assert told.source in text
    assert all(f"| {name} | {rows[name]} |" in text for name in pages.LIBRARIES.values())
    assert pages.sentence(family_of(family)) in pages.index((family_of(family),))


WORD_IN_TEX = re.compile(r"operatorname\{([a-z0-9]+-[a-z0-9-]+)\}")


@by_family
def test_names_of_our_own_are_explained(family):
    """Whatever a formula of the derivation calls by a hyphenated name has a row, and no more."""
    d = family_of(family).derivation
    used = {n for line in pages.lines(d) for n in WORD_IN_TEX.findall(pages.tex(line.expr))}
    rows = pages.abbreviations(d).split("\n| ")[2:]
    assert used <= {n for row in rows for n in WORD_IN_TEX.findall(row.partition(" | ")[0])}
    assert all(len(row.split(" | ")) == 2 for row in rows)


def test_a_name_stands_beside_its_formula():
    table = pages.abbreviations(family_of("student_t").derivation)
    assert r"| $\operatorname{cauchy-score}\left(z\right)$ | $\frac{2 z}{1 + z^{2}}$ |" in table
    assert pages.abbreviations(family_of("normal").derivation) == ""


def test_a_formula_whose_gap_a_limit_fills_is_shown_without_it():
    x = sp.Symbol("x", real=True)
    filled = sp.Piecewise((0, sp.Eq(x, 0)), (x * sp.log(x), True))
    assert pages.without_gaps(1 + filled) == 1 + x * sp.log(x)
    cases = sp.Piecewise((0, x < 0), (x, True))
    assert pages.without_gaps(cases) == cases


@by_family
def test_every_family_has_a_group(family):
    assert words.group(FAMILIES[family]) in dict(words.GROUPS)
    assert f"(families/{family}.md)" in pages.index((family_of(family),))


def test_tables_of_the_atlas_hold_no_strangers():
    """Rows may run ahead of the catalogue, so only rows of misspelled parameters are refused."""
    for name, rows in settings.LOOKS.items():
        assert len(rows) == 3
        if name in FAMILIES:
            assert all(set(row) <= set(FAMILIES[name].parameters) for row in rows)


# --- what each loss knows ---------------------------------------------------------------------


@cache
def told(name: str) -> knowledge.Known:
    return knowledge.Known(family_of(name))


@by_family
def test_a_row_tells_what_the_records_say(family):
    """Each cell against the record that it is made of; nothing is left without a word."""
    known = told(family)
    cells = knowledge.row(known).strip("| ").split(" | ")
    assert len(cells) == len(knowledge.COLUMNS)
    assert all(cells)
    first, named, exponential, minimised, _, pull, convex = cells
    assert f"../atlas/families/{family}.md" in first
    assert (named == "no named loss matches") == (not known.family.known_as)
    assert exponential.startswith("yes" if known.exponential else "no")
    for symbol in known.minimizer.constants:
        assert words.tex_name(symbol) in minimised
    lacking = [o for o in known.minimizer.profile.values() if o.formula is None]
    assert len(re.findall("no closed form|no single best", minimised)) == len(lacking)
    for kind in known.tail.kinds.values():
        assert kind in pull
    answers = (known.hessian.in_theta, known.hessian.in_eta)
    assert ("yes" in convex) == any(answers)
    assert ("no, " in convex) == any(a.answer == "not convex" for a in answers)
    assert "None" not in " ".join(cells)


def test_a_table_for_each_kind_of_data():
    text = knowledge.tables(tuple(told(n) for n in ("normal", "poisson", "categorical")))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## The real line",
        "## Counts",
        "## Classes",
    ]
    assert r"\mu = \left\langle x \right\rangle" in text
    assert sum(line.startswith("|:--|") for line in text.splitlines()) == 3


def test_a_false_row_would_be_seen():
    """The comparison above can fail: a record's no is not a yes."""
    known = told("cauchy")
    assert not known.exponential
    assert not next(iter(knowledge.exponential(known))).startswith("yes")


# --- densities made of others -----------------------------------------------------------------


@cache
def written() -> tuple[dict[str, str], dict[str, drawing.Picture]]:
    return made.pages()


@pytest.mark.parametrize("name", made.PAGES)
def test_a_page_on_a_construction_shows_steps_and_figures(name):
    texts, pictures = written()
    text = texts[name]
    assert text.startswith(f"# {made.TITLES[name]}\n")
    assert "| step | formula | reason |" in text
    assert not re.search(r"\b(nan|inf)\b \|", text)
    shown = re.findall(r"\{figure\} pictures/(\w+)\.svg", text)
    assert shown
    assert set(shown) <= set(pictures)
    assert f"(made/{name}.md)" in made.index()
    for picture in (pictures[n] for n in shown):
        assert len(picture.alt) > 60
        assert "$" not in picture.alt


def test_ours_is_finite_where_the_usual_formulas_are_not():
    """The numbers on the pages: a fault in ours would be printed there, so it must show here."""
    for found in (made_drawing.mixture_measured(), made_drawing.levels_measured()):
        plain, *_, ours = found
        assert plain.broken > 0 == ours.broken
        assert ours.value < 1e-4
        assert ours.slope < 1e-4


def test_the_levels_of_pixelcnn_add_up():
    assert made_drawing.total_of_pixelcnn() == pytest.approx(1, abs=1e-6)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["normal", "poisson", "categorical"])
def test_pictures_are_the_same_each_time_and_say_what_they_show(family):
    given = family_of(family).given
    first, again = (drawing.pictures(FAMILIES[family], given) for _ in range(2))
    assert first == again
    for picture in first:
        assert picture.svg.lstrip().startswith("<?xml")
        assert len(picture.alt) > 60
        assert "\n" not in picture.alt
        assert "$" not in picture.alt


def test_a_caption_says_what_becomes_of_the_slope():
    ends = {name: drawing.pictures(FAMILIES[name], {})[1].alt for name in ("normal", "cauchy")}
    assert "either side the slope keeps growing" in ends["normal"]
    assert "either side the slope fades to zero" in ends["cauchy"]
    logit = drawing.pictures(FAMILIES["bernoulli"], {})[1].alt
    assert "far to the right it levels off at 1 for x = 0, fades to zero for x = 1" in logit


def test_slopes_are_those_of_the_loss():
    (setting, *_) = drawn("gamma")
    values = torch.linspace(-1, 1, 2001).double()
    loss, slope = setting.swept("eta_rate", values, 2.0)
    numeric = torch.gradient(loss, spacing=(values,))[0]
    torch.testing.assert_close(slope[1:-1], numeric[1:-1], rtol=1e-4, atol=1e-5)


def test_a_family_of_a_new_shape_is_refused_with_advice():
    strange = replace(FAMILIES["normal"], data=replace(ld.Real, shape="graph"))
    with pytest.raises(curves.AtlasError, match=r"no picture for data of shape 'graph'.*PICTURES"):
        drawing.pictures(strange, {})


def test_a_docstring_without_a_source_is_refused_with_advice():
    bare = pages.Family(replace(FAMILIES["normal"], doc="Errors."))
    with pytest.raises(curves.AtlasError, match="docstring of normal"):
        _ = bare.told


# --- words ------------------------------------------------------------------------------------


def test_greek_letters_take_the_place_of_names():
    said = words.with_symbols("variance sigma² nu/(nu - 2), not sigmas; pi", ["sigma", "nu"])
    assert said == "variance σ² ν/(ν - 2), not sigmas; π"
    assert words.with_symbols("at a constant rate", ["rate"]) == "at a constant rate"


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        (ld.Real, "any real number"),
        (ld.Positive, "x > 0"),
        (ld.Unit, "0 ≤ x ≤ 1"),
        (ld.Angle, "−π ≤ x ≤ π"),
        (ld.Count, "0, 1, …"),
        (ld.Binary, "0 or 1"),
        (ld.Integer(1), "1, 2, …"),
        (ld.Integer(0, 16), "0, …, 16"),
        (ld.Integer(-math.inf), "any integer"),
    ],
)
def test_a_domain_in_words(domain, said):
    assert pages.support(domain) == said


# --- where the book uses a family -------------------------------------------------------------


def test_chapters_that_name_a_family_in_their_code_are_found():
    sixth = next(c for c in CHAPTERS if c.number == 6)
    assert sixth in mentions.using("normal", CHAPTERS)
    assert list(mentions.using("no_such_family", CHAPTERS)) == []


def test_exercises_of_chapters_that_are_there_are_found():
    found = {n for name in ld.families() for n, _, _ in mentions.exercises(name, CHAPTERS)}
    there = {str(c.number) for c in CHAPTERS}
    wanted = {
        n
        for n, e in EXERCISES.items()
        if mentions.name_of(e) in ld.families() and n.partition(".")[0] in there
    }
    assert found == wanted


# --- writing ----------------------------------------------------------------------------------


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    """A book whose catalogue has two families and whose table of contents has no chapters."""
    few = {name: FAMILIES[name] for name in ("laplace", "geometric")}
    monkeypatch.setattr("lossderiv.catalogue.FAMILIES", few)
    (tmp_path / "_toc.yml").write_text("parts: []\n", encoding="utf-8")
    return tmp_path


def test_only_what_differs_is_written(small_book):
    folder = atlas.write(small_book, tell=lambda name: None)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*.*")}
    assert names == {
        "accuracy.txt",
        "index.txt",
        "explorer.html",
        "knowledge.txt",
        "one-page.txt",
        "choose.txt",
        "left-out.txt",
        "poster.txt",
        "pictures/all.svg",
        *(f"{n}.md" for n in ("laplace", "geometric")),
        *(
            f"pictures/{n}-{k}.svg"
            for n in ("laplace", "geometric")
            for k in ("density", "loss", "small")
        ),
    }
    (folder / "gone.md").write_text("a family that left", encoding="utf-8")
    (folder / "laplace.md").write_text("old", encoding="utf-8")
    before = (folder / "geometric.md").stat().st_mtime_ns
    atlas.write(small_book, tell=lambda name: None)
    assert not (folder / "gone.md").exists()
    assert (folder / "laplace.md").read_text(encoding="utf-8").startswith("# Laplace")
    assert (folder / "geometric.md").stat().st_mtime_ns == before


def test_pages_are_made_of_the_package_the_chapters_and_the_contents(small_book):
    states = [atlas.made_of(small_book, "a"), atlas.made_of(small_book, "b")]
    (small_book / "book" / "part1").mkdir(parents=True)
    (small_book / "book" / "part1" / "01-a.md").write_text("# A\n", encoding="utf-8")
    states.append(atlas.made_of(small_book, "a"))
    (small_book / "_toc.yml").write_text("parts: [ ]\n", encoding="utf-8")
    states.append(atlas.made_of(small_book, "a"))
    assert len(set(states)) == len(states)
    assert atlas.made_of(small_book, "a") == states[-1]


def test_the_certificates_are_added_up():
    """Each number of the table against a sum over the data files, and no peer on foreign cases."""
    from lossderiv_book.atlas.accuracy import totals

    found = [ld.certificate(family) for family in ld.families()]
    lines = [line.strip("| ").split(" | ") for line in totals(found).splitlines()[2:]]
    figures = [f for c in found for row in c.rows for f in row.figures if f.dtype == "float32"]
    ours = [f for f in figures if f.who == "lossderiv"]
    assert lines[0][1:4] == [
        f"{sum(f.cases for f in ours):,}",
        f"{sum(f.nonfinite_value for f in ours)} / {sum(f.nonfinite_gradient for f in ours)}",
        str(sum(f.bad for f in ours)),
    ]
    assert [line[1] for line in lines[1::2]] == [line[1] for line in lines[2::2]]
    torchs = [f for f in figures if f.who == "distributions"]
    assert lines[1][3] == f"{sum(f.bad for f in torchs):,}" != lines[2][3]


# --- all losses on one page, and the way to one of them ---------------------------------------


@by_family
def test_a_row_of_the_one_page_tells_what_the_records_say(family):
    known = told(family)
    cells = one_page.row(known).strip("| ").split(" | ")
    assert len(cells) == len(one_page.COLUMNS)
    assert all(cells)
    d = known.d
    assert cells[3].startswith(str(len(d.outputs)))
    assert all(link.name in cells[3] for link in d.links.values())
    for output, kind in known.tail.kinds.items():
        line = next(x for x in cells[4].split("<br>") if x.endswith(kind))
        assert f"${words.tex_name(output.removeprefix('eta_'))}$" in line
    for section in ("derivation", "certificate", "source"):
        assert f"families/{family}.md#{section}" in cells[-1]


def test_every_family_says_when_it_fails_and_no_other():
    assert set(one_page.FAILS) == set(FAMILIES)


def heights(svg: str) -> list[list[float]]:
    """Of the loss and of its slope, from the top of the small picture."""
    lines = re.findall(r'<path d="([^"]+)" stroke="#\w+" fill', svg)
    return [[float(y) for y in re.findall(r" ([\d.]+)", line)] for line in lines]


def test_the_small_picture_has_the_shape_of_the_loss():
    """Squared error: a bowl whose slope is a line; absolute error: a slope that jumps once."""
    bowl, line = heights(one_page.small(family_of("normal")))
    assert abs(bowl.index(max(bowl)) - len(bowl) // 2) < 5  # its bottom is flat
    steps = [a - b for a, b in pairwise(line)]
    assert max(steps) - min(steps) < 0.25  # of a pixel; a tenth is how places are rounded
    _, jump = heights(one_page.small(family_of("laplace")))
    assert len({round(y, 1) for y in jump}) <= 3
    _, back = heights(one_page.small(family_of("cauchy")))
    assert min(back) < min(back[0], back[-1])


def test_every_family_can_be_picked_or_is_left_out_for_a_reason():
    reached = {leaf.name for leaf in choose.leaves() if leaf.name}
    assert reached | set(choose.NOT_HERE) == set(FAMILIES)
    assert reached & set(choose.NOT_HERE) == set()
    assert all(choose.NOT_HERE.values())


@pytest.mark.parametrize("leaf", choose.leaves(), ids=lambda leaf: leaf.call)
def test_an_end_of_the_tree_is_a_loss_with_a_page(leaf):
    loss = eval(f"ld.loss({leaf.call})", {"ld": ld})
    assert loss.outputs
    assert leaf.page.removesuffix(".md") in {
        *(f"families/{name}" for name in FAMILIES),
        *(f"made/{name}" for name in made.PAGES),
    }
    if not leaf.made:
        assert loss.derivation.density.name == leaf.name
    assert f"`ld.loss({leaf.call})`" in choose.boxes()


def test_ends_of_a_box_take_the_data_that_its_heading_names():
    """Of each box, some values that are so described lie in the support of every end."""
    values = (-2.3, 2.5, 0.4, 3, 30, 1, -3.1, None, 0.5)
    for branch, value in zip(choose.TREE, values, strict=True):
        for leaf in branch.leaves:
            density = eval(f"ld.loss({leaf.call})", {"ld": ld}).derivation.density
            assert value is None or density.data.contains(value), (branch.data, leaf.call)
