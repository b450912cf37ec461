"""The command line: ``python -m lossderiv list | show | source | check | why | notebook``.

Everything is SymPy's work: no command loads torch.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from types import MappingProxyType

import sympy as sp

from lossderiv import domains, special
from lossderiv.codegen import source
from lossderiv.derivations import derive, families, find_density
from lossderiv.errors import DensityError, LossDerivError, ParameterError
from lossderiv.insight.minimizer import minimizer
from lossderiv.notebook import NotebookReport, check_notebook, new_notebook
from lossderiv.recognise import known_as
from lossderiv.symbolic.functions import Special
from lossderiv.symbolic.records import Density, Derivation, Domain
from lossderiv.symbolic.render import first_sentence, plain

DOMAINS = {
    "real": domains.Real,
    "positive": domains.Positive,
    "nonnegative": domains.NonNegative,
    "unit": domains.Unit,
    "interior": domains.Interior,
    "count": domains.Count,
    "binary": domains.Binary,
    "angle": domains.Angle,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0, 1 if a notebook lacks something, 2 after one line on what was wrong."""
    given = _parser().parse_args(arguments)
    try:
        answer = given.command(given)
    except LossDerivError as problem:
        print(f"lossderiv: {' '.join(str(problem).split())}", file=sys.stderr)
        return 2
    print(answer)
    return 1 if isinstance(answer, NotebookReport) and not answer.complete else 0


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m lossderiv", description="Losses derived from densities, step by step."
    )
    commands = top.add_subparsers(required=True, metavar="command")
    row = commands.add_parser("list", help="the densities of the catalogue")
    row.set_defaults(command=_list)
    for name, command, says in (
        ("show", _show, "the checked steps from a density to its loss"),
        ("source", _source, "the loss as standalone torch source"),
        ("why", _why, "what the loss is, what it estimates, what its gradient says"),
    ):
        row = commands.add_parser(name, help=says)
        row.add_argument("family")
        row.add_argument(
            "--fix", default="", metavar="sigma=1,...", help="values of given parameters"
        )
        row.set_defaults(command=command)
    row = commands.add_parser("check", help="integrate a density and derive its loss")
    row.add_argument("expression", help="p(x) in SymPy's functions, as 'a*x**(a - 1)'")
    row.add_argument("--data", default="real", help=f"where x lives: {', '.join(DOMAINS)}")
    row.add_argument("--params", default="", metavar="a:positive,...", help="their domains")
    row.set_defaults(command=_check)
    row = commands.add_parser("notebook", help="what a notebook lacks; exit code 1 if anything")
    row.add_argument("file", metavar="FILE.ipynb")
    row.set_defaults(command=lambda given: check_notebook(given.file))
    row = commands.add_parser("new-notebook", help="write the template of an experiment")
    row.add_argument("file", metavar="FILE.ipynb")
    row.set_defaults(command=lambda given: f"wrote {new_notebook(given.file)}")
    return top


def _list(_) -> str:
    names = families()
    wide = max(map(len, names))
    rows = (
        textwrap.fill(
            first_sentence(find_density(n)),
            80,
            initial_indent=f"{n:<{wide}}  ",
            subsequent_indent=" " * (wide + 2),
        )
        for n in names
    )
    return "\n".join(rows)


def _show(given) -> str:
    return _derived(given).text()


def _source(given) -> str:
    return source(_derived(given)).rstrip("\n")


def _why(given) -> str:
    d = _derived(given)
    return "\n\n".join(textwrap.fill(p, 80, break_long_words=False) for p in _reasons(d))


def _check(given) -> str:
    density = _density(given.expression, given.data, given.params)
    numbers = "\n".join(f"  Z = {z:.10g} at {where}" for where, z in density.check().items())
    learned = derive(density)
    loss = textwrap.fill(f"loss: {plain(learned.loss)}", 80, subsequent_indent="  ")
    return f"integrates to 1:\n{numbers}\n{loss}\n{learned.check()}"


def _derived(given) -> Derivation:
    """The derivation asked for; parameters that cannot be learned take a typical value."""
    density, values = find_density(given.family), {}
    for pair in filter(None, given.fix.split(",")):
        name, _, value = pair.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError as problem:
            raise ParameterError(
                f"Cannot read --fix {pair!r}: write it as name=number, such as sigma=1."
            ) from problem
    for name, domain in density.parameters.items():
        if domain.link is None and name not in values:
            values[name] = domain.typical[0]
    return derive(given.family, **values)


def _reasons(d: Derivation) -> list[str]:
    """A paragraph each: the likelihood, the name, the gradient."""
    x = d.density.variable
    fixed = ", ".join(f"{n} = {v}" for n, v in d.fixed.items())
    links = ", ".join(f"{n} = {plain(e)}" for n, e in d.theta.items())
    told = [
        f"{d.density.name}{' with ' + fixed if fixed else ''}: {first_sentence(d.density)}. Its "
        f"loss is {plain(d.loss)}: the negative log-likelihood of {x}, with {links}"
        + ("" if d.dropped == 0 else f", less {plain(d.dropped)}, which no output moves")
        + ". To minimise it is to make the data as probable as the model can."
    ]
    name = known_as(d)
    told.append(
        f"The field knows this loss as {name}."
        if name
        else "The field has no common name for this loss."
    )
    constants = minimizer(d).constants
    if constants:
        found = ", ".join(f"{n} = {plain(e)}" for n, e in constants.items())
        told.append(f"Among constants, what minimises it over a sample is {found}.")
    for output, slope in d.gradient.items():
        told.append(f"Its slope in {output} is {plain(slope)}{_reading(slope, x)}.")
    return told


def _reading(slope: sp.Expr, x: sp.Symbol) -> str:
    """What the slope says, where it is a prediction less the target, or a multiple of that."""
    if slope.atoms(sp.IndexedBase):
        return ", for each class its predicted probability, less 1 for the class that was seen"
    if not slope.is_polynomial(x) or sp.degree(slope, x) != 1:
        return ""
    times = -sp.diff(slope, x)
    prediction = sp.cancel(sp.expand(slope / times) + x)
    if prediction.has(x) or not times.is_positive:
        return ""
    if times != 1:
        return f", that is {plain(times)} times prediction minus target, {plain(prediction)} - {x}"
    return (
        f": prediction minus target, the prediction being {plain(prediction)}. So it is 0 on "
        "average over the data exactly when the predictions' mean is the targets'"
    )


def _density(expression: str, data: str, params: str) -> Density:
    """A density from the text of the command line."""
    target = _domain(data, "--data")
    declared = {}
    for pair in filter(None, params.split(",")):
        name, colon, domain = (part.strip() for part in pair.partition(":"))
        if not (name.isidentifier() and colon) or name == "x":
            raise ParameterError(
                f"Cannot read --params {pair!r}: write name:domain, such as a:positive; x is the "
                "data."
            )
        declared[name] = _domain(domain, f"parameter {name}")
    x = target.symbol("x")
    symbols = {n: d.symbol(n) for n, d in declared.items()}
    known = {
        k: f for k, f in vars(special).items() if isinstance(f, type) and f.__base__ is Special
    }
    try:
        expr = sp.sympify(expression, locals={**known, "x": x, **symbols})
    except (sp.SympifyError, SyntaxError, TypeError, AttributeError) as problem:
        raise DensityError(
            f"The expression {expression!r} cannot be read as a formula. Write it as Python would, "
            "with exp, log, gamma, ..."
        ) from problem
    strange = sorted(s.name for s in expr.free_symbols - {x, *symbols.values()})
    if strange:
        raise DensityError(
            f"The expression uses {', '.join(strange)}, which is neither x nor declared. Add it to "
            f"--params, as in --params {strange[0]}:positive."
        )
    return Density(
        name="expression",
        expr=expr,
        variable=x,
        data=target,
        symbols=MappingProxyType(symbols),
        parameters=MappingProxyType(declared),
        where=(),
        doc="",
    )


def _domain(name: str, where: str) -> Domain:
    if name.lower() not in DOMAINS:
        raise ParameterError(
            f"There is no domain {name!r} ({where}). Choose one of {', '.join(DOMAINS)}."
        )
    return DOMAINS[name.lower()]


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
