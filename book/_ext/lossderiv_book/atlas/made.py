"""Pages on densities made of others: what the construction is, its steps, what it is good for.

The prose is written here; formulas, figures, source and every number come from the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import lossderiv as ld
from lossderiv.symbolic.render import tex

from . import made_drawing as drawing
from .drawing import Picture
from .pages import abbreviations, code_block, figure

TITLES: Mapping[str, str] = {
    "mixtures": "Mixtures",
    "discretised": "Discretised: levels with probabilities",
    "bounds": "Bounds: truncated and censored",
    "zeros": "Zeros in excess: inflated and hurdle",
    "functions": "Functions of a number, and vectors",
}
ABOUT: Mapping[str, str] = {
    "mixtures": "several bumps, each with a weight: `mixture`",
    "discretised": "the probability that a density gives to each of a row of bins: `discretized`; "
    "with a mixture, the likelihood of PixelCNN++",
    "bounds": "nothing outside is ever seen, or it is recorded at the bound: `truncated`, "
    "`censored`",
    "zeros": "more zeros than a count explains: `zero_inflated`, `hurdle`",
    "functions": "a change of variables, and several numbers at once: `transformed`, `independent`",
}


def pages() -> tuple[dict[str, str], dict[str, Picture]]:
    """The Markdown of every page and the pictures, by their names."""
    pictures = {name: draw() for name, draw in PICTURES.items()}
    texts = {}
    for name, write in PAGES.items():
        sections = (f"# {TITLES[name]}", *write(pictures))
        texts[name] = "\n\n".join(s for s in sections if s) + "\n"
    return texts, pictures


def index() -> str:
    """The list of these pages for the index of the Atlas."""
    rows = [f"- [{TITLES[name]}](made/{name}.md): {ABOUT[name]}." for name in PAGES]
    return "\n".join(rows) + "\n"


def plate(name: str, pictures: Mapping[str, Picture]) -> str:
    return figure(f"pictures/{name}.svg", pictures[name]).strip()


def example(*lines: str) -> str:
    """Code that is executed before it is printed."""
    text = "\n".join(("import torch", "import lossderiv as ld", "", *lines))
    exec(compile(text, "<example>", "exec"), {})
    return f"```python\n{text}\n```"


def steps(density, call: str) -> str:
    """The derivation as a table, what it leaves out, and the names that it uses."""
    d = ld.derive(density)
    dropped = (
        "Nothing is dropped: the loss is the exact negative log-likelihood."
        if d.dropped == 0
        else f"The loss leaves out what no output moves: ${tex(d.dropped)}$ for each element."
    )
    lead = f"Every step is proven or checked by `ld.derive({call}).check()`."
    return "\n\n".join(s for s in (lead, d.markdown(), dropped, abbreviations(d)) if s)


def source(density, call: str) -> str:
    return code_block(ld.derive(density), call)


def table(found: Iterable[drawing.Measured], slope: str) -> str:
    """Worst relative errors of several ways on the same cases."""
    rows = [
        "| computed by | worst error of the loss | " + slope + " | not finite |",
        "|:--|--:|--:|--:|",
    ]
    rows += [
        f"| {m.who} | {m.value:.1e} | {m.slope:.1e} | {m.broken} of {m.cases} |" for m in found
    ]
    return "\n".join(rows)


MEASURED = (
    "In float32, against the same numbers computed with 60 digits; errors are relative, and taken "
    "over what is finite. Neighbouring numbers of float32 are 1.2e-07 apart; a mean that is "
    "divided by a tiny scale feels that many times over, whatever the formula."
)


def mixtures(pictures: Mapping[str, Picture]) -> Iterable[str]:
    made, call = ld.mixture("normal", 3), 'ld.mixture("normal", 3)'
    yield (
        "One density has one bump. Where a datum may lie in several places (a stroke is there or "
        "it is not; an edge is a little to the left or a little to the right), the mean of a "
        "single bump falls between them, where no datum is. A **mixture** has $K$ of them, each "
        "with a weight:"
    )
    yield r"$$p(x) = \sum_k w_k \, f(x; \theta_k), \qquad w = \operatorname{softmax}(\eta).$$"
    yield plate("mixtures", pictures)
    yield "## Use it"
    yield (
        "The scores and each parameter of the component have the $K$ components on the last axis; "
        "the datum has no such axis. Any density of single numbers can be the component."
    )
    yield example(
        f"loss = ld.loss({call})",
        "# eta_logits, eta_mu, eta_sigma",
        "outputs = (torch.zeros(4, 3), torch.randn(4, 3), torch.zeros(4, 3))",
        "x = loss.sample(outputs)",
        "loss(outputs, x)",
    )
    yield (
        "Start the components apart: with equal outputs they have equal slopes and stay equal for "
        "ever. `loss.mean(outputs)` averages over the bumps, and so may show what never occurs; "
        "`loss.mode(outputs)` takes the likeliest of the components' modes."
    )
    yield "## How the loss comes about"
    yield (
        "The log of a product splits, the log of a sum does not. But each term is the exponential "
        "of its own log, and **log-sum-exp** can take the largest of them out first, so that "
        "nothing underflows: what is added up lies between 0 and 1. The components' logs come from "
        "the derivation of their own family, with whatever care that needed."
    )
    yield steps(made, call)
    yield "## Why the slopes read so well"
    yield (
        "Differentiate, and each component's own slope appears, times the share that the component "
        "has in the datum: its **responsibility**, the probability that it was this component "
        "which made $x$. The slope in a score is weight minus responsibility: a component's weight "
        "grows until it is its average share. These are the equations of the EM algorithm (Bishop, "
        "2006, section 9.2.2), here for a decoder to follow by gradient."
    )
    yield "## What the care is worth"
    yield MEASURED + " A datum from 1 to 40, in the mixture of the figure:"
    yield table(drawing.mixture_measured(), "of the slope in the second mean")
    yield (
        "The sum of densities is 0 in float32 about thirteen scales out, and the log of 0 is no "
        "loss. With log-sum-exp that cannot happen, in torch's class as in ours. What is left to "
        "get right are shares that underflow while their product with a steep slope does not; the "
        "last steps above do that."
    )
    yield "## Source"
    yield source(made, call)
    yield (
        "## Elsewhere\n\n`torch.distributions.MixtureSameFamily` of a `Categorical` and the "
        "component; a mixture of levels is on the page of [discretised densities](discretised.md). "
        "**Source** Bishop (2006), section 2.3.9. "
        "Chapter 10 trains one: [](../../part2/10-levels-and-counts.md)."
    )


def discretised(pictures: Mapping[str, Picture]) -> Iterable[str]:
    made, call = ld.discretized("logistic", levels=256), 'ld.discretized("logistic", levels=256)'
    yield (
        "A pixel of 8 bits is one of 256 levels, not a real number. A density can still describe "
        "it: give each level the probability of its **bin**, the difference of the distribution "
        "function $F$ at the two ends of the bin,"
    )
    yield r"$$p(x) = F(r_x) - F(l_x),$$"
    yield (
        "where the first bin has no left end and the last no right end. So all probabilities "
        "together make 1, two outputs describe 256 levels, and the decoder knows from the start "
        "that 100 lies next to 101. The loss is the length of a code for the levels themselves; "
        "divided by log 2 it is in bits per dimension."
    )
    yield plate("levels", pictures)
    yield "## Use it"
    yield example(
        f"loss = ld.loss({call})",
        "# eta_mu, eta_s",
        "outputs = (torch.zeros(4), torch.full((4,), -3.0))",
        "x = loss.sample(outputs)  # levels 0, 1, ..., 255",
        "loss(outputs, x)",
    )
    yield (
        "`low` and `high` say where the first and the last level sit (−1 and 1 unless you say "
        '`low=0, high=1`); `width=` may take the place of `levels=`. It knows `"logistic"`, '
        '`"normal"`, `"laplace"` and `"cauchy"`.'
    )
    yield "## How the loss comes about"
    yield (
        "Far out both ends of a bin have a distribution function of 0, or of 1, to the last digit: "
        "their difference is lost before its log is taken. Two things save it. By **symmetry** a "
        "bin may be moved to its mirror image, so that it is always taken where $F$ is small. And "
        r"the **difference of two logistic functions is a product**: "
        r"$\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a - b})$, whose log is a sum of "
        "three modest terms, each with a special function of its own. In the third the width of "
        "the bin stands alone: it is never computed as a difference of two far ends. A `wall` is 0 "
        "for a level that has a neighbour on that side, and infinite for one that has none."
    )
    yield steps(made, call)
    yield "## Both tails, narrow and wide bins"
    yield (
        "The usual code puts a floor of 1e-12 under the difference, and takes the density in the "
        "middle of the bin where the difference is below 1e-5. That is good while the density is "
        "wide beside a bin. Where it is narrow, most of a far bin's probability sits at its near "
        "end, and the density in the middle is not the average over the bin."
    )
    yield plate("tails", pictures)
    yield MEASURED + " The two rows of means of the figure, together:"
    yield table(drawing.levels_measured(), "of the slope in the mean")
    yield "## The likelihood of PixelCNN++"
    yield (
        "One more word makes it a mixture, the likelihood with which PixelCNN++ draws images "
        "{cite:p}`salimans2017`; ten bumps, thirty outputs per pixel and colour, and no clamps:"
    )
    yield example(
        'pixels = ld.mixture(ld.discretized("logistic", levels=256), 10)',
        'loss = ld.loss(pixels, constants="keep")',
        "# eta_logits, eta_mu, eta_s",
        "outputs = tuple(torch.randn(28, 28, 10) for _ in loss.outputs)",
        "x = loss.sample(outputs)",
        "loss(outputs, x)",
    )
    yield (
        "With random outputs for the ten components, the probabilities of all 256 levels add up to "
        f"{drawing.total_of_pixelcnn():.6f} in float32. (The original also shifts the means of "
        "green and blue by the colours before them; do that in the decoder.) Its steps are those "
        "of every [mixture](mixtures.md), with the loss above for each component."
    )
    yield "## Source"
    yield source(made, call)
    yield (
        "## Elsewhere\n\n`tensorflow_probability.distributions.QuantizedDistribution` makes levels "
        "of a distribution; torch has no counterpart. **Source** Salimans, Karpathy, Chen and "
        "Kingma (2017), equation 2. Chapter 10 compares it with a free probability for every "
        "level: [](../../part2/10-levels-and-counts.md)."
    )


def bounds(pictures: Mapping[str, Picture]) -> Iterable[str]:
    yield (
        "Two densities for numbers with limits, often confused. **Truncated**: what lies outside "
        "never appears among the data, so the density inside is divided by the probability that a "
        "number falls inside. **Censored**: what lies outside is recorded *at* the limit, as by a "
        "gauge that stops; the limit then has a probability, and the density inside stays as it "
        "is. Grey values that saturate at black and white are censored."
    )
    yield plate("bounds", pictures)
    yield (
        "**Data on a bound.** For a truncated density a datum exactly on a bound has no limit to "
        "its likelihood: let the mean leave the interval and the scale shrink, and the density at "
        "the bound grows without end, until float32 is left. So do not train it on pixels that are "
        "exactly 0 or 1: spread each level over its bin, or take `censored` or "
        "[`discretized`](discretised.md), in which the bounds have a probability."
    )
    yield "## Truncated"
    call = 'ld.truncated("normal", 0, 1)'
    yield example(
        f"loss = ld.loss({call})",
        "outputs = (torch.tensor([0.5, -4.0]), torch.tensor([-1.0, -1.0]))",
        "x = loss.sample(outputs)",
        "loss(outputs, x), loss.mean(outputs)",
    )
    yield (
        "A mean far outside is where the formula breaks: the density inside and the mass inside "
        "both underflow, and only their quotient is a modest number. Count from the bound that is "
        "nearer to the mean, and the square of the distance cancels before anything is computed."
    )
    yield steps(ld.truncated("normal", 0, 1), call)
    yield MEASURED + " Means from −10 to 0.4, with a scale of 0.5 and a datum at 0.3:"
    yield table(drawing.bounds_measured(), "of the slope in the mean")
    yield "## Censored"
    call = 'ld.censored("normal", 0, 1)'
    yield example(
        f"loss = ld.loss({call})",
        "outputs = (torch.tensor([0.5, -4.0]), torch.tensor([-1.0, -1.0]))",
        "x = loss.sample(outputs)  # some exactly 0 or 1",
        "loss(outputs, x), loss.mean(outputs)",
    )
    yield steps(ld.censored("normal", 0, 1), call)
    yield (
        "**Source** Johnson, Kotz and Balakrishnan (1994), chapter 13, section 10.1, for the "
        "truncated normal; Tobin (1958) for the censored one."
    )


def zeros(pictures: Mapping[str, Picture]) -> Iterable[str]:
    yield (
        "Counts often have more zeros than their rate explains: a pixel outside the digit is 0 for "
        "another reason than a pixel inside it that happened to catch nothing. Two constructions "
        "add a **gate**. Behind a gate of *zero inflation* the count may still be 0, so a zero has "
        "two explanations; a *hurdle* lets only positive counts pass, so it has one."
    )
    yield plate("zeros", pictures)
    for name, words in (
        (
            "zero_inflated",
            "A zero is the log of a sum of two explanations; written with the probability $q$ that "
            "it is *not* a zero, it keeps its digits where $q$ is tiny.",
        ),
        (
            "hurdle",
            "Zeros and positive counts have separate slopes: the gate learns from whether there is "
            "a count, the rate from how large it is.",
        ),
    ):
        call = f'ld.{name}("poisson")'
        yield f"## {'Zero-inflated' if name == 'zero_inflated' else 'Hurdle'}"
        yield words
        yield example(
            f"loss = ld.loss({call})",
            "# eta_gate, eta_rate",
            "outputs = (torch.zeros(4), torch.ones(4))",
            "x = loss.sample(outputs)",
            "loss(outputs, x)",
        )
        yield steps(getattr(ld, name)("poisson"), call)
    yield "**Source** Lambert (1992) for zero inflation, Mullahy (1986) for the hurdle."


def functions(pictures: Mapping[str, Picture]) -> Iterable[str]:
    yield (
        "If $x$ has a known density and $y = f(x)$, then so has $y$: a short interval keeps its "
        "probability but not its length, so the density is multiplied by the slope of the inverse, "
        "the **Jacobian**."
    )
    yield plate("functions", pictures)
    yield "## A function of a number"
    call = 'ld.transformed("normal", "tanh")'
    yield example(
        f"loss = ld.loss({call})",
        "outputs = (torch.zeros(4), torch.zeros(4))",
        "x = loss.sample(outputs)  # between -1 and 1",
        "loss(outputs, x)",
    )
    yield steps(ld.transformed("normal", "tanh"), call)
    same = ld.derive(ld.transformed("normal", "exp")).loss - ld.derive("log_normal").loss
    yield (
        '`"exp"`, `"logistic"`, `"tanh"` and `"sinh"` are known by name, and '
        "`lambda x: 3 + 2*x` is a function of your own. Some results have a page: `exp` of a "
        "normal number is the [log-normal](../families/log_normal.md)"
        f"{' (the two losses are the same formula)' if same == 0 else ''}, `logistic` the "
        "[logit-normal](../families/logit_normal.md)."
    )
    yield "## A vector of independent numbers"
    call = 'ld.independent("laplace")'
    yield (
        "Numbers that are drawn one by one make a vector whose density is the product of theirs, "
        "so the loss is the sum over the last axis: one element of `reduction` is then a whole "
        "vector."
    )
    yield example(
        f'rows = ld.loss({call}, reduction="none")',
        "rows((torch.zeros(4, 3), torch.zeros(4, 3)), torch.zeros(4, 3))  # four losses",
    )
    yield steps(ld.independent("laplace"), call)
    yield "**Source** Bishop (2006), equation 1.27 for a change of variables, 1.11 for the product."


PAGES: Mapping[str, Callable[[Mapping[str, Picture]], Iterable[str]]] = {
    "mixtures": mixtures,
    "discretised": discretised,
    "bounds": bounds,
    "zeros": zeros,
    "functions": functions,
}
PICTURES: Mapping[str, Callable[[], Picture]] = {
    "mixtures": drawing.mixture_picture,
    "levels": drawing.levels_picture,
    "tails": drawing.tails_picture,
    "bounds": drawing.bounds_picture,
    "zeros": drawing.zeros_picture,
    "functions": drawing.transformed_picture,
}
