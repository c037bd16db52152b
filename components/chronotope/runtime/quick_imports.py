"""Quicker imports of large packages: without collections of garbage, without what is not used."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import packages without cyclic garbage collection, which takes a fifth of their import.

    Thousands of classes and functions are made and none is freed, but each collection visits
    all of them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def deferred_import(module_name: str) -> Iterator[None]:
    """Let packages that are imported in the block bind a module that loads when it is first used.

    Whoever imports the module after the block gets it as usual.

    Args:
        module_name: Module that those packages bind whole, by ``from scipy import stats``.
    """
    if module_name in sys.modules:
        yield
        return
    placeholder = _DeferredModule(module_name)
    sys.modules[module_name] = placeholder
    try:
        yield
    finally:
        _withdraw(placeholder)


class _DeferredModule(ModuleType):
    """Stands for a module in the packages that bound it."""

    def __getattr__(self, attribute_name: str) -> Any:
        if attribute_name.startswith("__"):  # the import system looks for these
            raise AttributeError(attribute_name)
        _withdraw(self)
        return getattr(import_module(self.__name__), attribute_name)


def _withdraw(placeholder: _DeferredModule) -> None:
    if sys.modules.get(placeholder.__name__) is placeholder:
        del sys.modules[placeholder.__name__]
