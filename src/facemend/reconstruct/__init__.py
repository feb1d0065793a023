"""Reconstruction: a model file, the picture that it delivers, and what that picture says about itself."""

import sys
from collections.abc import Callable
from types import ModuleType


class _CallablePackage(ModuleType):
    """Importing this package binds it to `facemend.reconstruct`, which users call: so it can be called."""

    @property
    def __call__(self) -> Callable[..., object]:
        from facemend.reconstruct.aligned import reconstruct

        return reconstruct


sys.modules[__name__].__class__ = _CallablePackage
