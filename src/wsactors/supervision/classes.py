"""Finds the class that ``start = "module:Class"`` names, within the packages that are allowed and nowhere else."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from wsactors.actors import Actor, ProcessActor
from wsactors.supervision.spec import did_you_mean

__all__ = ["ClassNotFoundError", "find_class"]

_FORM: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class ClassNotFoundError(ValueError):
    """The text says why, and what was probably meant."""


def find_class(reference: object, allowed_packages: Sequence[str]) -> type[Any]:
    """The Actor class that ``"module:Class"`` names. Imports the module; starts nothing.

    The module must lie in one of ``allowed_packages``, and so must the module that defines the class: a name that an allowed
    module merely imported opens no way to the rest of the interpreter.

    Raises:
        ClassNotFoundError: the reference is malformed, not allowed, not there, or no Actor class.
    """
    if not isinstance(reference, str) or not _FORM.fullmatch(reference):
        raise ClassNotFoundError(f'expected "module:Class", such as "myapp.rooms:Room", got {reference!r}')
    module_name, _, class_name = reference.partition(":")
    _check_allowed(module_name, allowed_packages, f"module {module_name}")
    module = _import(module_name)
    found = _attribute(module, class_name)
    if found is None:
        actors = [name for name, value in vars(module).items() if _is_actor(value)]
        known = f" Its actors: {', '.join(sorted(actors))}." if actors else ""
        raise ClassNotFoundError(f"module {module_name} has no {class_name}.{did_you_mean(class_name, actors)}{known}")
    if not _is_actor(found):
        raise ClassNotFoundError(
            f"{reference} is no Actor class; only subclasses of Actor and Supervisor can be children"
        )
    _check_allowed(found.__module__, allowed_packages, f"{reference} comes from module {found.__module__}, which")
    return found  # type: ignore[no-any-return]


def _is_actor(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Actor | ProcessActor)


def _check_allowed(module: str, allowed_packages: Sequence[str], subject: str) -> None:
    if not any(module == package or module.startswith(f"{package}.") for package in allowed_packages):
        packages = ", ".join(allowed_packages) or "none"
        raise ClassNotFoundError(f"{subject} is outside the configured packages ({packages})")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise ClassNotFoundError(
                f"importing {name} failed: it needs {error.name}, which is not installed"
            ) from error
        raise ClassNotFoundError(
            f"there is no module {error.name}.{did_you_mean(name, _siblings(error.name))}"
        ) from error
    except Exception as error:  # a module's top level may raise anything
        raise ClassNotFoundError(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _attribute(module: Any, name: str) -> Any:
    try:
        return getattr(module, name, None)
    except Exception as error:  # a module that imports its names when they are first used
        raise ClassNotFoundError(
            f"importing {module.__name__}:{name} failed: {type(error).__name__}: {error}"
        ) from error


def _siblings(missing: str) -> list[str]:
    parent = sys.modules.get(missing.rpartition(".")[0])
    paths = getattr(parent, "__path__", None)
    return [info.name for info in pkgutil.iter_modules(paths, f"{missing.rpartition('.')[0]}.")] if paths else []
