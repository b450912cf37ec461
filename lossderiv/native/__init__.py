"""From a text of C to a function that Python calls: the compiler and its cache. No torch."""

from lossderiv.native.cache import load

__all__ = ["load"]
