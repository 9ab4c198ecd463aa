"""Loading a module's source again, in place, or leaving it as it was."""

from __future__ import annotations

import importlib.machinery
import linecache
import sys
from types import ModuleType
from typing import Any

from wsactors.actors.actor import BaseActor
from wsactors.actors.messages import Crash
from wsactors.errors import CodeChangeFailed


def module_of(what: type | ModuleType | str) -> ModuleType:
    """The loaded module that a class, a name or a module means. Raises ``CodeChangeFailed``."""
    name = what.__module__ if isinstance(what, type) else what if isinstance(what, str) else what.__name__
    module = sys.modules.get(name)
    if module is None:
        raise CodeChangeFailed(f"no module {name!r} is loaded: import it instead")
    return module


class _Fresh(importlib.machinery.SourceFileLoader):
    """Compiles the source as it is now: cached bytecode is told apart by the second, and a second is long."""

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def reload(module: ModuleType) -> dict[type, type]:
    """Run the module's source again; its old actor classes, those of earlier reloads included, and what they are now."""
    name, path = module.__name__, getattr(module, "__file__", None)
    if module.__spec__ is None or path is None or not path.endswith(".py"):
        raise CodeChangeFailed(f"{name} was not imported from a source file, so there is nothing to read anew")
    old = [cls for cls in descendants(BaseActor) if cls.__module__ == name]
    before = dict(module.__dict__)
    loader = _Fresh(name, path)
    try:
        loader.get_code(name)
        loader.exec_module(module)
    except Exception as exc:
        module.__dict__.clear()
        module.__dict__.update(before)
        raise CodeChangeFailed(f"{name} is as it was: {Crash.of(exc)}") from exc
    linecache.checkcache(path)
    successors = {}
    for cls in old:
        new = _find(module, cls.__qualname__)
        if new is not None and new is not cls and issubclass(new, BaseActor):
            successors[cls] = new
            cls._kind = new._kind  # type: ignore[attr-defined]
    return successors


def _find(module: ModuleType, qualname: str) -> type | None:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def descendants(cls: type) -> list[type]:
    """All living subclasses, and theirs."""
    found: dict[type, None] = {}
    stack: list[type] = [cls]
    while stack:
        subclasses: list[type] = stack.pop().__subclasses__()
        for sub in subclasses:
            if sub not in found:
                found[sub] = None
                stack.append(sub)
    return list(found)
