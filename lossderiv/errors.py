"""What can go wrong, by kind. Each message says what was met, where, and what to do."""


class LossDerivError(ValueError):
    """Base class of every error that this package raises on purpose."""


class UnknownNameError(LossDerivError):
    """A family, link or data set that is not in its table; near names are offered."""


class ParameterError(LossDerivError):
    """A parameter that the density does not have, lacks, or cannot take at that value."""


class DensityError(LossDerivError):
    """A density that cannot be read, or that does not integrate to one."""


class DerivationError(LossDerivError):
    """A step whose two sides do not stand in the relation that it claims."""


class SpellingError(LossDerivError):
    """A function that has no torch spelling yet."""


class TargetError(LossDerivError):
    """A target outside the support, or not a number."""


class ShapeError(LossDerivError):
    """Outputs and target whose number or shapes do not fit together."""


class DtypeError(LossDerivError):
    """Outputs of a type in which no loss can be computed, such as integers."""
