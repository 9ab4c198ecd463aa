"""Reads supervisor files: ``supervisors/NAME.toml`` in, :class:`TreeSpec` out, and nothing started.

::

    [supervisor]
    strategy = "rest_for_one"          # one_for_one | one_for_all | rest_for_one
    intensity = 3                      # restarts in ...
    period = 5.0                       # ... so many seconds; one more and the supervisor gives up
    auto_shutdown = "never"            # any_significant | all_significant
    backoff = { initial = 0.1 }        # opt-in pause before a restart: initial maximum factor jitter reset_after

    [[child]]
    id = "rooms"
    start = "myapp.rooms:Rooms"        # an Actor class in a configured package
    args = { capacity = 100 }          # checked against the annotations of Rooms.init
    restart = "permanent"              # transient | temporary
    shutdown = 5.0                     # seconds | "brutal_kill" | "infinity"
    significant = false
    name = "rooms"                     # registered name

    [[child]]
    id = "audio"
    tree = "audio.toml"                # another file, in this directory

A supervisor file is code: one that everybody may write is refused, ``tree`` stays inside the first file's directory, and
classes come from the configured packages only. All faults of all files are reported together in one :class:`TreeError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from wsactors.errors import TreeError, TreeFault
from wsactors.supervision import files
from wsactors.supervision.arguments import MisfitError, bind_arguments, converter, kind_of
from wsactors.supervision.classes import ClassNotFoundError, find_class
from wsactors.supervision.spec import (
    CHILD_TYPES,
    RESTARTS,
    Backoff,
    ChildSpec,
    SupervisorOptions,
    did_you_mean,
    wrong_shutdown,
    wrong_significance,
    wrong_word,
)
from wsactors.supervision.tree import TreeSpec

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["load_tree"]

MAX_DEPTH: Final = 16
MAX_CHILDREN: Final = 10_000
"""Children in all files of one tree together; crowds belong under a ``DynamicSupervisor``."""

_FILE_KEYS: Final = ("supervisor", "child")
_SUPERVISOR_KEYS: Final = tuple(field.name for field in attrs.fields(SupervisorOptions))
_BACKOFF_KEYS: Final = tuple(field.name for field in attrs.fields(Backoff))
_START_KEYS: Final = ("id", "start", "args", "restart", "shutdown", "significant", "type", "name")
_TREE_KEYS: Final = ("id", "tree", "restart", "shutdown", "significant", "name")
_CHILD_KEYS: Final = ("id", "start", "args", "tree", "restart", "shutdown", "significant", "type", "name")

Fault = Callable[[str, str], None]
"""``fault(key, text)``: note that the key is wrong and go on looking."""


def load_tree(path: str | Path, allowed_packages: Sequence[str] = ("wsactors",)) -> TreeSpec:
    """The tree that the file at ``path`` and the files it names describe. Imports the classes they name; starts nothing.

    Raises:
        TreeError: anything in any of the files is wrong; ``faults`` has every fault with file and key path.
        ImportError: a file gives ``args`` and cattrs is not installed.
    """
    loader = _Loader(Path(path), tuple(allowed_packages))
    tree = loader.load(Path(path), ())
    if loader.faults or tree is None:
        raise TreeError(loader.faults)
    return tree


class _Loader:
    """One walk over the files of one tree."""

    def __init__(self, root: Path, allowed_packages: tuple[str, ...]) -> None:
        self.directory = root.resolve().parent
        self.allowed_packages = allowed_packages
        self.faults: list[TreeFault] = []
        self.children = 0
        self.names: dict[str, str] = {}
        self._converter: Converter | None = None

    def load(self, path: Path, above: tuple[Path, ...]) -> TreeSpec | None:
        """The tree of one file, or None if the file cannot be read at all; ``above`` are the files that led here."""

        def fault(key: str, text: str) -> None:
            self.faults.append(TreeFault(str(path), key, text))

        try:
            document = files.read_toml(path)
        except files.UnreadableError as error:
            fault("", str(error))
            return None
        _check_keys(document, _FILE_KEYS, "", fault)
        options = _options(document.get("supervisor"), fault)
        tables = document.get("child", [])
        if not isinstance(tables, list):
            fault("child", f"expected [[child]] tables, got {kind_of(tables)}")
            tables = []
        self.children += len(tables)
        if self.children > MAX_CHILDREN:
            fault("child", f"more than {MAX_CHILDREN} children; put a crowd under a DynamicSupervisor")
            return None
        scope = _Scope(path, (*above, path.resolve()), options, fault)
        for index, table in enumerate(tables):
            self._child(table, f"child[{index}]", scope)
        return TreeSpec(path.stem, str(path), options, tuple(scope.specs), scope.subtrees)

    # --- one [[child]] -------------------------------------------------------------------------------------------------

    def _child(self, table: object, key: str, scope: _Scope) -> None:
        if not isinstance(table, dict):
            scope.fault(key, f"expected a [[child]] table, got {kind_of(table)}")
            return
        faults_before = len(self.faults)
        self._check_child_keys(table, key, scope.fault)
        child_id = _text(table, "id", key, scope.fault)
        if child_id is not None and child_id in scope.ids:
            scope.fault(
                f"{key}.id", f"{child_id!r} is already the id of {scope.ids[child_id]}; ids are unique in a file"
            )
        elif child_id is not None:
            scope.ids[child_id] = key
        options = _child_options(table, key, scope.options.auto_shutdown, scope.fault)
        self._claim_name(options.get("name"), key, scope)
        subtree = self._subtree(table["tree"], key, scope) if "tree" in table and "start" not in table else None
        started = self._started(table, key, scope.fault) if "start" in table else None
        if len(self.faults) > faults_before or child_id is None:
            return
        if subtree is not None:
            scope.subtrees[child_id] = subtree
            scope.specs.append(subtree.child_spec(child_id, **options))
        elif started is not None:
            scope.specs.append(ChildSpec(child_id, started[0], kwargs=started[1], **options))

    @staticmethod
    def _check_child_keys(table: Mapping[str, Any], key: str, fault: Fault) -> None:
        _check_keys(table, _CHILD_KEYS, key, fault)
        if "id" not in table:
            fault(f"{key}.id", "missing; every child needs an id, unique in its file")
        match "start" in table, "tree" in table:
            case False, False:
                fault(f"{key}.start", 'missing; expected start = "module:Class" or tree = "other.toml"')
            case True, True:
                fault(f"{key}.tree", "expected start or tree, got both")
            case False, True:
                for wrong in [name for name in table if name in _START_KEYS and name not in _TREE_KEYS]:
                    fault(f"{key}.{wrong}", "belongs to start; the file that tree names says the rest")

    def _started(self, table: Mapping[str, Any], key: str, fault: Fault) -> tuple[type[Any], dict[str, Any]] | None:
        """The class and the keyword arguments of a child with ``start``."""
        args = table.get("args", {})
        if not isinstance(args, dict):
            fault(f"{key}.args", f"expected a table of arguments by name, got {kind_of(args)}")
            return None
        try:
            cls = find_class(table["start"], self.allowed_packages)
        except ClassNotFoundError as error:
            fault(f"{key}.start", str(error))
            return None
        try:
            return cls, bind_arguments(cls, args, self._structure() if args else None)
        except MisfitError as misfit:
            for path, text in misfit.faults:
                fault(f"{key}.args{path}", text)
            return None

    def _structure(self) -> Converter:
        if self._converter is None:
            self._converter = converter({ChildSpec: self._spec_argument})
        return self._converter

    def _spec_argument(self, value: Any, _: Any) -> ChildSpec:
        """A ``[[child]]``-like table given as an argument, as ``PartitionSupervisor`` takes one."""
        found: list[tuple[str, str]] = []
        if not isinstance(value, dict):
            raise MisfitError([("", f"expected a child's table, got {kind_of(value)}")])

        def fault(key: str, text: str) -> None:
            found.append((key if key.startswith(".") else f".{key}", text))

        _check_keys(value, _START_KEYS, "", fault)
        for needed in [name for name in ("id", "start") if name not in value]:
            fault(f".{needed}", "missing")
        child_id = _text(value, "id", "", fault)
        options = _child_options(value, "", None, fault)
        started = self._started(value, "", fault) if "start" in value else None
        if found or child_id is None or started is None:
            raise MisfitError(found)
        return ChildSpec(child_id, started[0], kwargs=started[1], **options)

    # --- what spans files ----------------------------------------------------------------------------------------------

    def _subtree(self, reference: object, key: str, scope: _Scope) -> TreeSpec | None:
        key = f"{key}.tree"
        if not isinstance(reference, str):
            scope.fault(key, f'expected the name of a file, such as "audio.toml", got {kind_of(reference)}')
            return None
        try:
            path = files.inside(scope.path.resolve().parent, reference, self.directory)
        except files.UnreadableError as error:
            scope.fault(key, str(error))
            return None
        if path.resolve() in scope.above:
            names = [*(step.name for step in scope.above[scope.above.index(path.resolve()) :]), path.name]
            scope.fault(key, f"a cycle: {' -> '.join(names)}; a tree cannot contain itself")
            return None
        if len(scope.above) >= MAX_DEPTH:
            scope.fault(key, f"trees are nested more than {MAX_DEPTH} deep")
            return None
        return self.load(path, scope.above)

    def _claim_name(self, name: object, key: str, scope: _Scope) -> None:
        if isinstance(name, str):
            owner = self.names.setdefault(name, f"{key} in {scope.path.name}")
            if owner != f"{key} in {scope.path.name}":
                scope.fault(f"{key}.name", f"{name!r} is already the name of {owner}; a node has each name once")


class _Scope:
    """What the children of one file share."""

    def __init__(self, path: Path, above: tuple[Path, ...], options: SupervisorOptions, fault: Fault) -> None:
        self.path = path
        self.above = above
        self.options = options
        self.fault = fault
        self.ids: dict[str, str] = {}
        self.specs: list[ChildSpec] = []
        self.subtrees: dict[Any, TreeSpec] = {}


def _check_keys(table: Mapping[str, Any], known: Sequence[str], key: str, fault: Fault) -> None:
    for name in table:
        if name not in known:
            path = f"{key}.{name}" if key else name
            fault(path, f"unknown key; expected {', '.join(known)}.{did_you_mean(name, known)}")


def _text(table: Mapping[str, Any], name: str, key: str, fault: Fault) -> str | None:
    value = table.get(name)
    if name not in table or (isinstance(value, str) and value):
        return value
    fault(f"{key}.{name}", f"expected text, got {'nothing' if value == '' else kind_of(value)}")
    return None


def _options(table: object, fault: Fault) -> SupervisorOptions:
    """The ``[supervisor]`` table; after a fault, defaults, so that the children are still looked at."""
    if not isinstance(table, dict):
        fault(
            "supervisor", "missing; a supervisor file begins with [supervisor]" if table is None else "expected a table"
        )
        return SupervisorOptions()
    found: list[tuple[str, str]] = []
    _check_keys(table, _SUPERVISOR_KEYS, "", lambda key, text: found.append((key, text)))
    if "strategy" not in table:
        found.append(("strategy", "missing; expected one_for_one, one_for_all or rest_for_one"))
    found += [(key, why) for key, why in SupervisorOptions.faults(table) if why]
    backoff = table.get("backoff")
    if isinstance(backoff, dict):
        _check_keys(backoff, _BACKOFF_KEYS, "backoff", lambda key, text: found.append((key, text)))
        found += [(f"backoff.{key}", why) for key, why in Backoff.faults(backoff) if why]
    elif backoff is not None:
        found.append(("backoff", f"expected a table of {', '.join(_BACKOFF_KEYS)}, got {kind_of(backoff)}"))
    for key, text in found:
        fault(f"supervisor.{key}", text)
    if found:
        # The significance of children is judged by what was meant, if that much is clear.
        return SupervisorOptions(auto_shutdown="any_significant")
    return SupervisorOptions(**{**table, "backoff": Backoff(**backoff) if backoff is not None else None})


def _child_options(table: Mapping[str, Any], key: str, auto_shutdown: str | None, fault: Fault) -> dict[str, Any]:
    """The keys of a child that ``ChildSpec`` takes as they are, each checked."""
    options = {name: table[name] for name in ("restart", "shutdown", "significant", "type", "name") if name in table}
    restart = options.get("restart", "permanent")
    significant = options.get("significant", False)
    faults = [
        ("restart", wrong_word(restart, RESTARTS)),
        ("shutdown", wrong_shutdown(options.get("shutdown", 0))),
        ("type", wrong_word(options.get("type", "worker"), CHILD_TYPES)),
    ]
    if not isinstance(significant, bool):
        faults.append(("significant", f"expected true or false, got {kind_of(significant)}"))
    else:
        why = wrong_significance(significant=significant, restart=restart, auto_shutdown=auto_shutdown)
        faults.append(("significant", why))
    for name, text in faults:
        if text:
            fault(f"{key}.{name}", text)
    _text(options, "name", key, fault)
    return options
