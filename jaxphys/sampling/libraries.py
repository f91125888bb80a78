"""The libraries that do the work here: imported when they are needed, with a word on how to install them."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

import jax


def blackjax_module(name: str) -> ModuleType:
    """A module of blackjax, such as "blackjax.mcmc.hmc".

    Raises ModuleNotFoundError that says what to install.
    """
    return _module(name, "sampling needs blackjax")


def pymbar_module(name: str) -> ModuleType:
    """A module of pymbar, such as "pymbar.mbar", to be called inside of `jax.enable_x64(True)`.

    Without, it would switch JAX to 64 bits for the whole program; its warnings on import are left out.
    Raises ModuleNotFoundError that says what to install.
    """
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with jax.enable_x64(True):
            return _module(name, "samples of several temperatures together need pymbar")
    finally:
        logger.setLevel(level)


def _module(name: str, need: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{need}, which is not installed: pip install 'jaxphys[ensembles]'", name=error.name
        ) from None
