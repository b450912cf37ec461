"""The evidence lower bound: a reconstruction loss and a divergence, added in the same unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp
from torch import Tensor, nn

from lossderiv.autograd import torch_function
from lossderiv.derivations import find_density
from lossderiv.domains import Real
from lossderiv.errors import ParameterError, ShapeError
from lossderiv.insight.divergence import Divergence, kl
from lossderiv.losses import Loss, loss
from lossderiv.rules import COMPUTING, READING
from lossderiv.special import digamma
from lossderiv.symbolic.records import Context, Density, Derivation
from lossderiv.symbolic.stabilise import stabilise


def elbo(
    reconstruction: str | Density | Derivation,
    q: str | Density = "normal",
    p: str | Density = "normal",
    *,
    beta: float = 1.0,
    **fixed: float,
) -> NegativeElbo:
    """The negative evidence lower bound, ``-log p(x|z) + beta KL(q(z|x) || p(z))``.

    ``reconstruction`` is the density of the data given the decoder's outputs; ``q`` is the
    encoder's, ``p`` the prior's, whose parameters are given with ``_p`` appended, as for
    :func:`lossderiv.kl`. Source: Kingma and Welling (2014), equation 3; ``beta``: Higgins et al.
    (2017), equation 4.

    >>> import torch, lossderiv as ld
    >>> bound = ld.elbo("bernoulli", mu_p=0, sigma_p=1)
    >>> decoded, x = torch.zeros(2, 3), torch.ones(2, 3)
    >>> bound(decoded, x, (torch.zeros(2, 5), torch.zeros(2, 5)))  # 3 log 2, and no divergence
    tensor(2.0794)
    """
    return NegativeElbo(loss(reconstruction, reduction="none", constants="keep"), q, p, beta, fixed)


class NegativeElbo(nn.Module):
    """Called as ``bound(outputs, x, codes)``; in nats for each example, averaged over the batch.

    The reconstruction is the exact negative log-likelihood summed over all of an example's
    elements, the divergence is summed over its code's. ``codes`` are the encoder's raw outputs, a
    tensor or a tuple in the order of :attr:`code_outputs`; the first axis of everything is the
    batch. How ``z`` is drawn from the codes is the caller's: the gradient must flow through it.
    """

    def __init__(self, reconstruction: Loss, q, p, beta: float, fixed: dict[str, float]):
        super().__init__()
        self.reconstruction, self.beta = reconstruction, beta
        self.divergence = kl(q, p, **fixed)
        self.code_outputs, self._kl = in_outputs(self.divergence, find_density(q))

    def forward(self, outputs: Tensor | Sequence[Tensor], x: Tensor, codes) -> Tensor:
        """The bound of a batch, a number."""
        reconstruction, divergence = self.parts(outputs, x, codes)
        return (reconstruction + self.beta * divergence).mean()

    def parts(self, outputs, x: Tensor, codes) -> tuple[Tensor, Tensor]:
        """Reconstruction and divergence of each example, in nats, before ``beta``."""
        codes = tuple(codes) if isinstance(codes, tuple | list) else (codes,)
        if len(codes) != len(self.code_outputs):
            raise ShapeError(
                f"The code needs {len(self.code_outputs)} raw outputs "
                f"({', '.join(self.code_outputs)}), not {len(codes)}. Give them as a tuple."
            )
        each = self.reconstruction(outputs, x)
        divergence = self._kl(*codes)[0]
        if each.dim() == 0 or divergence.dim() == 0 or each.shape[0] != divergence.shape[0]:
            raise ShapeError(
                f"The reconstruction has shape {tuple(each.shape)} and the divergence "
                f"{tuple(divergence.shape)}: the first axis of both must be the batch."
            )
        return each.flatten(1).sum(1), divergence.flatten(1).sum(1)


def in_outputs(
    divergence: Divergence, density: Density
) -> tuple[tuple[str, ...], Callable[..., tuple[Tensor, ...]]]:
    """The closed form as a torch function of the raw outputs of ``q``, made stable; their names.

    ``density`` is that of ``q``. The function takes the outputs in the order of the names and
    returns a tuple of one tensor, in nats, an element for each of theirs.

    Raises
    ------
    ParameterError
        Without a closed form, with a parameter of ``p`` not given, or of ``q`` not learnable.
    """
    if divergence.expr is None:
        raise ParameterError(f"{divergence.title} has no closed form: {divergence.reason}.")
    names = {n + "_q": (n, d) for n, d in density.parameters.items()}
    free = [n for n in divergence.symbols if n not in names]
    if free:
        raise ParameterError(
            f"The prior must be given in full, and {', '.join(free)} is not: write {free[0]}=..."
        )
    learned, theta = {}, {}
    for name, symbol in divergence.symbols.items():
        parameter, domain = names[name]
        if domain.link is None:
            raise ParameterError(f"{parameter} cannot be learned: give {name}=...")
        output = Real.symbol(f"eta_{parameter}")
        learned[output] = Real
        theta[symbol] = domain.link.inverse(output)
    expr = divergence.expr.xreplace(theta).replace(sp.polygamma, _spelled)
    context = Context(learned, tuple(learned))
    for rules in (READING, COMPUTING):
        steps = stabilise(expr, rules, context, ())
        expr = steps[-1].after if steps else expr
    outputs = tuple(o.name for o in learned)
    return outputs, torch_function(list(outputs), (expr,), ())


def _spelled(order: sp.Expr, u: sp.Expr) -> sp.Expr:
    """SymPy's name for the slopes of log gamma, as the table of special functions has it."""
    return digamma(u) if order == 0 else sp.polygamma(order, u)
