"""The libraries that do the work here: imported when they are needed, with a word on how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType


def blackjax_module(name: str) -> ModuleType:
    """A module of blackjax, such as "blackjax.mcmc.hmc".

    Raises ModuleNotFoundError that says what to install.
    """
    return _module(name, "sampling needs blackjax")


def pymbar_module(name: str) -> ModuleType:
    """A module of pymbar, such as "pymbar.mbar".

    Raises ModuleNotFoundError that says what to install.
    """
    return _module(name, "samples of several temperatures together need pymbar")


def _module(name: str, need: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{need}, which is not installed: pip install 'jaxphys[ensembles]'", name=error.name
        ) from None
