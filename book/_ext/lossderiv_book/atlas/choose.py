"""Pick your loss: from the kind of data and of noise to a family, as boxes that open.

``TREE`` is the TABLE: a kind of data, then rows of what is to be said of the noise, the family and
the line that makes its loss. ``NOT_HERE`` has the families that no row names, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .made import TITLES
from .words import title


@dataclass(frozen=True)
class Leaf:
    """An end of the tree: ``call`` is what stands between the parentheses of ``ld.loss(...)``."""

    when: str
    call: str
    made: str = ""  # the page that it links to, if that is one on densities made of others

    @property
    def name(self) -> str:
        """The family, from the call; empty if it is made of others."""
        return "" if self.made else self.call.split('"')[1]

    @property
    def page(self) -> str:
        """Where it links to, from the folder of the Atlas."""
        return f"made/{self.made}.md" if self.made else f"families/{self.name}.md"


@dataclass(frozen=True)
class Branch:
    """A kind of data, what to ask of its noise, and the ends that the answers lead to."""

    data: str
    asks: str
    leaves: tuple[Leaf, ...]


TREE = (
    Branch(
        "Any real number: errors, temperatures, coordinates, standardised values",
        "How often is a value far from what was expected, and on which side?",
        (
            Leaf("Hardly ever, and all widths are alike: squared error", '"normal", sigma=1'),
            Leaf("Hardly ever, but some places are surer than others", '"normal"'),
            Leaf("Now and then: absolute error", '"laplace"'),
            Leaf("Now and then, and a smooth loss is wanted", '"logistic"'),
            Leaf("Now and then, by the log-cosh loss", '"hyperbolic_secant"'),
            Leaf(
                "Now and then, squared near the middle, with a bend that you choose",
                '"huber", delta=1',
            ),
            Leaf(
                "By gross mistakes, and they should be ignored; how gross is learned", '"student_t"'
            ),
            Leaf("By gross mistakes, one output fewer", '"cauchy"'),
            Leaf(
                "Hardly ever, and inside all are nearly equal: a power of the error",
                '"generalized_normal", beta=4',
            ),
            Leaf("On one side, for what is seen is the largest of many", '"gumbel"'),
            Leaf("On one side, for what is seen is the smallest of many", '"gumbel_min"'),
            Leaf(
                "Too high is dearer than too low, or the reverse: a quantile",
                '"asymmetric_laplace", tau=0.9',
            ),
            Leaf("There are several likely places", 'ld.mixture("normal", 3)', made="mixtures"),
        ),
    ),
    Branch(
        "Positive numbers: sizes, intensities, waiting times",
        "How does the spread grow, and how heavy is the tail?",
        (
            Leaf("Errors multiply: the log has normal errors", '"log_normal"'),
            Leaf("The spread is in a fixed proportion to the mean", '"gamma"'),
            Leaf("The same of the reciprocal, as for variances", '"inverse_gamma"'),
            Leaf("Waiting for one event, at a constant rate", '"exponential"'),
            Leaf("Waiting, at a rate that rises or falls", '"weibull"'),
            Leaf("Waiting until a distance has been covered", '"inverse_gaussian"'),
            Leaf("Errors multiply, and some are gross", '"log_logistic"'),
            Leaf("The length of a vector in the plane", '"rayleigh"'),
            Leaf("The size of an error without its sign, with normal tails", '"half_normal"'),
            Leaf("... with exponential tails", '"half_logistic"'),
            Leaf("... with gross ones among them", '"half_cauchy"'),
            Leaf("Sizes without a typical size, above a least one", '"pareto"'),
            Leaf("How far a threshold is exceeded", '"generalized_pareto"'),
            Leaf(
                "A real density suits, but only after a change of variables",
                'ld.transformed("logistic", "exp")',
                made="functions",
            ),
        ),
    ),
    Branch(
        "Between 0 and 1: grey values, shares of two, probabilities",
        "Do 0 and 1 themselves occur?",
        (
            Leaf("They do, and one output should be enough", '"continuous_bernoulli"'),
            Leaf(
                "They do, often: absolute error that ends where the paper ends",
                'ld.truncated("laplace", 0, 1)',
                made="bounds",
            ),
            Leaf(
                "They do, for everything beyond was recorded there",
                'ld.censored("normal", 0, 1)',
                made="bounds",
            ),
            Leaf("They do not: a mean and a precision", '"beta_mean"'),
            Leaf("They do not: two shapes, which may heap up at both ends", '"beta"'),
            Leaf("They do not, and drawing must be cheap", '"kumaraswamy"'),
            Leaf("They do not, and the logit has normal errors", '"logit_normal"'),
        ),
    ),
    Branch(
        "Levels with a top: pixels in 17 or 256 steps, successes out of n",
        "Does the spread follow from the mean?",
        (
            Leaf("It does: n draws of one coin", '"binomial", n=16'),
            Leaf("There is more of it: each has a coin of its own", '"beta_binomial", n=16'),
            Leaf(
                "It has a shape of its own: the bins of a density",
                'ld.discretized("logistic", 17)',
                made="discretised",
            ),
            Leaf(
                "Several shapes at once",
                'ld.mixture(ld.discretized("logistic", 17), 3)',
                made="discretised",
            ),
            Leaf("Nothing is to be assumed: an output for each level", '"categorical"'),
        ),
    ),
    Branch(
        "Counts without a top: photons, events, words",
        "How does the variance compare with the mean?",
        (
            Leaf("It equals the mean", '"poisson"'),
            Leaf("It is larger: a mean and a dispersion", '"negative_binomial"'),
            Leaf("It is larger, in torch's parameters", '"negative_binomial_logits"'),
            Leaf("Failures before the first success", '"geometric"'),
            Leaf(
                "There are more zeros than that explains, of two kinds",
                'ld.zero_inflated("poisson")',
                made="zeros",
            ),
            Leaf(
                "Whether it is 0 at all is another question", 'ld.hurdle("poisson")', made="zeros"
            ),
        ),
    ),
    Branch(
        "Yes or no, classes, grades",
        "Have the classes an order?",
        (
            Leaf("There are two of them", '"bernoulli"'),
            Leaf("They have none", '"categorical"'),
            Leaf(
                "They are grades, from bad to good",
                '"ordered_logistic", cutpoints=(-1.0, 0.0, 1.0)',
            ),
        ),
    ),
    Branch(
        "Angles: directions, times of the day",
        "It has no beginning and no end; no loss on the line knows that.",
        (Leaf("Gathered around one direction", '"von_mises"'),),
    ),
    Branch(
        "Several numbers that belong together",
        "Do they add up, or err together?",
        (
            Leaf("Shares of a whole, which add up to 1", '"dirichlet"'),
            Leaf("Counts of classes, which add up to n", '"multinomial", n=20'),
            Leaf("Errors that come together: a covariance", '"multivariate_normal"'),
            Leaf("Errors of their own, each with a width", '"multivariate_normal_diagonal"'),
            Leaf(
                "Entries of any family, drawn one by one",
                'ld.independent("poisson")',
                made="functions",
            ),
        ),
    ),
    Branch(
        "Not all of it was seen: bounds, scales that end",
        "What became of the values beyond?",
        (
            Leaf("They stand at the bound: censored", 'ld.censored("normal", 0, 1)', made="bounds"),
            Leaf("They are missing: truncated", 'ld.truncated("normal", 0, 1)', made="bounds"),
        ),
    ),
)

NOT_HERE: Mapping[str, str] = {
    "uniform": "no slope leads a decoder anywhere, so it is to be derived rather than trained with",
}


def boxes() -> str:
    """The tree as boxes that open, by mouse and by keyboard."""
    return "\n\n".join(_box(branch) for branch in TREE) + "\n"


def _box(branch: Branch) -> str:
    lines = (
        f"- {leaf.when}: [{_called(leaf)}]({leaf.page}).<br>`ld.loss({leaf.call})`"
        for leaf in branch.leaves
    )
    return "\n".join([f":::{{dropdown}} {branch.data}", f"*{branch.asks}*", "", *lines, ":::"])


def _called(leaf: Leaf) -> str:
    return title(leaf.name) if leaf.name else TITLES[leaf.made]


def left_out() -> str:
    """The families that no box leads to, with the reason."""
    rows = (f"- [{title(n)}](families/{n}.md): {why}." for n, why in NOT_HERE.items())
    return "\n".join(rows) + "\n"


def leaves() -> tuple[Leaf, ...]:
    """Every end of the tree."""
    return tuple(leaf for branch in TREE for leaf in branch.leaves)
