"""From expressions to readable torch source text. Nothing here imports torch."""

from lossderiv.codegen.standalone import source

__all__ = ["source"]
