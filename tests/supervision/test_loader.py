"""Supervisor files: what they may say, and that everything else is refused with file, key and what was expected."""

from __future__ import annotations

import enum
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.actors import Actor, ProcessActor
from wsactors.errors import TreeError
from wsactors.supervision.dynamic import DynamicSupervisor
from wsactors.supervision.loader import load_tree
from wsactors.supervision.partition import PartitionSupervisor
from wsactors.supervision.spec import Backoff, ChildSpec
from wsactors.supervision.supervisor import Supervisor
from wsactors.supervision.tree import TreeSpec

PACKAGES = ("treeapp", "wsactors")
STARTED: list[str] = []


class Curve(enum.Enum):
    LINEAR = "linear"
    POWER = "power"


@attrs.frozen
class Limits:
    rate: float
    burst: int = 10


class Room(Actor):
    async def init(
        self,
        capacity: int,
        title: str = "",
        gain: float = 1.0,
        is_open: bool = True,
        limits: Limits | None = None,
        tags: list[str] | None = None,
        pair: tuple[int, str] | None = None,
        weights: dict[str, float] | None = None,
        curve: Curve = Curve.LINEAR,
        mode: Literal["fast", "slow"] = "fast",
        folder: Path | None = None,
        wait: float | Literal["infinity"] = 1.0,
        hook: Callable[[], None] | None = None,
        mystery=None,
    ) -> None:
        STARTED.append(title)


class Plain(Actor):
    pass


class Loop(ProcessActor):
    async def run(self) -> None: ...


class Door(Supervisor):
    async def init(self, port: int) -> object:
        return await super().init("one_for_one")


class NoActor:
    pass


@pytest.fixture(autouse=True)
def _app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package ``treeapp`` with actors, next to one that is not allowed."""
    app, rooms, other = types.ModuleType("treeapp"), types.ModuleType("treeapp.rooms"), types.ModuleType("stranger")
    app.__path__ = []
    for cls in (Room, Plain, Loop, Door, NoActor, Limits, Curve):
        monkeypatch.setattr(cls, "__module__", "treeapp.rooms")
        setattr(rooms, cls.__name__, cls)
    rooms.Popen = subprocess.Popen  # type: ignore[attr-defined]
    rooms.Foreign = type("Foreign", (Actor,), {"__module__": "stranger"})  # type: ignore[attr-defined]
    other.Foreign = rooms.Foreign  # type: ignore[attr-defined]
    for module in (app, rooms, other):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    STARTED.clear()
    yield
    assert STARTED == [], "loading started something"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, text: str, head: str = '[supervisor]\nstrategy = "one_for_one"\n') -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + text)
        path.chmod(0o600)
        return path

    return write


def load(path: Path) -> TreeSpec:
    return load_tree(path, PACKAGES)


def faults(path: Path) -> dict[str, str]:
    """What is wrong with the tree at ``path``: key to text; also checks that every fault names a file."""
    with pytest.raises(TreeError) as caught:
        load(path)
    for fault in caught.value.faults:
        assert fault.file.endswith(".toml")
        assert str(fault) in str(caught.value)
    return {fault.key: fault.message for fault in caught.value.faults}


def child(**keys: object) -> str:
    """A [[child]] table; values are TOML text."""
    return "[[child]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def room(args: str) -> str:
    return child(id='"r"', start='"treeapp.rooms:Room"', args=args)


def test_a_whole_file(write) -> None:
    path = write(
        "dev.toml",
        """
        [supervisor]
        strategy = "rest_for_one"
        intensity = 4
        period = 10
        auto_shutdown = "any_significant"
        backoff = { initial = 0.5, maximum = 8 }
        """
        + child(id='"a"', start='"treeapp.rooms:Plain"')
        + child(
            id='"b"',
            start='"treeapp.rooms:Room"',
            args="{ capacity = 3 }",
            restart='"transient"',
            shutdown='"brutal_kill"',
            significant="true",
            name='"room b"',
        )
        + child(id='"c"', start='"treeapp.rooms:Door"', args="{ port = 1 }"),
        head="",
    )
    tree = load(path)
    a, b, c = tree.children

    assert (tree.name, tree.file) == ("dev", str(path))
    assert (tree.options.strategy, tree.options.intensity, tree.options.period) == ("rest_for_one", 4, 10)
    assert tree.options.backoff == Backoff(initial=0.5, maximum=8)
    assert (a.id, a.start, a.restart, a.shutdown, a.type) == ("a", Plain, "permanent", 5.0, "worker")
    assert (b.restart, b.shutdown, b.significant, b.name) == ("transient", "brutal_kill", True, "room b")
    assert dict(b.kwargs) == {"capacity": 3}
    assert (c.type, c.shutdown) == ("supervisor", "infinity")


def test_arguments_become_what_init_is_annotated_with(write) -> None:
    args = (
        '{ capacity = 3, title = "x", gain = 2, is_open = false, limits = { rate = 1 }, tags = ["a", "b"], pair = [1, "z"], '
        'weights = { a = 1 }, curve = "power", mode = "slow", folder = "songs", wait = "infinity" }'
    )
    kwargs = dict(load(write("a.toml", room(args))).children[0].kwargs)

    assert kwargs == {
        "capacity": 3,
        "title": "x",
        "gain": 2.0,
        "is_open": False,
        "limits": Limits(rate=1.0),
        "tags": ["a", "b"],
        "pair": (1, "z"),
        "weights": {"a": 1.0},
        "curve": Curve.POWER,
        "mode": "slow",
        "folder": Path("songs"),
        "wait": "infinity",
    }
    assert isinstance(kwargs["gain"], float)


@pytest.mark.parametrize(
    ("args", "key", "expected"),
    [
        ("{}", ".capacity", "missing; Room.init needs it"),
        ('{ capacity = "3" }', ".capacity", "expected a whole number, got text"),
        ("{ capacity = 3.0 }", ".capacity", "expected a whole number, got a number"),
        ("{ capacity = true }", ".capacity", "expected a whole number, got true or false"),
        ("{ capacity = 3, is_open = 1 }", ".is_open", "expected true or false, got a whole number"),
        ("{ capacity = 3, title = 5 }", ".title", "expected text, got a whole number"),
        ("{ capacity = 3, gain = true }", ".gain", "expected a number, got true or false"),
        ("{ capacity = 3, capcity = 4 }", ".capcity", 'unknown argument of Room.init; .*Did you mean "capacity"'),
        ('{ capacity = 3, limits = "x" }', ".limits", "expected Limits or nothing, got text|expected a table"),
        ("{ capacity = 3, limits = {} }", ".limits.rate", "missing; expected a number"),
        ("{ capacity = 3, limits = { rate = 1, brust = 2 } }", ".limits.brust", 'unknown key; .*Did you mean "burst"'),
        ('{ capacity = 3, limits = { rate = 1, burst = "x" } }', ".limits.burst", "expected a whole number, got text"),
        ('{ capacity = 3, tags = "abc" }', ".tags", "got text"),
        ("{ capacity = 3, tags = ['a', 1] }", ".tags[1]", "expected text, got a whole number"),
        ("{ capacity = 3, pair = [1] }", ".pair", "expected a list of 2, got 1|got a list"),
        ("{ capacity = 3, pair = [1, 2] }", ".pair[1]", "expected text, got a whole number"),
        ('{ capacity = 3, weights = { a = "x" } }', ".weights.a", "expected a number, got text"),
        ('{ capacity = 3, curve = "lineal" }', ".curve", 'expected one of linear, power.*Did you mean "linear"'),
        ('{ capacity = 3, mode = "fats" }', ".mode", 'expected .fast. or .slow..*Did you mean "fast"'),
        ('{ capacity = 3, wait = "infinty" }', ".wait", "expected a number or .infinity., got text"),
        ("{ capacity = 3, mystery = 1 }", ".mystery", "does not annotate 'mystery', so no file can set it"),
        ('{ capacity = 3, hook = "x" }', ".hook", "Callable"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(write, args: str, key: str, expected: str) -> None:
    found = faults(write("a.toml", room(args)))

    assert list(found) == [f"child[0].args{key}"]
    assert re.search(expected, found[f"child[0].args{key}"]), found


def test_messages_never_show_an_argument_because_it_may_be_a_secret(write) -> None:
    with pytest.raises(TreeError) as caught:
        load(write("a.toml", room('{ capacity = "hunter2", mode = "hunter2", curve = "hunter2", limits = "hunter2" }')))

    assert "hunter2" not in str(caught.value)


def test_all_faults_of_all_files_are_told_together(write) -> None:
    write("below.toml", child(id='"x"', start='"treeapp.rooms:Rom"'))
    path = write(
        "a.toml",
        room('{ capacity = "x", title = 5 }')
        + child(id='"r"', start='"treeapp.rooms:Plain"', restrat='"permanent"')
        + child(id='"t"', tree='"below.toml"', restart='"permanant"'),
    )
    with pytest.raises(TreeError) as caught:
        load(path)

    assert [(Path(f.file).name, f.key) for f in caught.value.faults] == [
        ("a.toml", "child[0].args.capacity"),
        ("a.toml", "child[0].args.title"),
        ("a.toml", "child[1].restrat"),
        ("a.toml", "child[1].id"),
        ("a.toml", "child[2].restart"),
        ("below.toml", "child[0].start"),
    ]
    assert 'Did you mean "restart"' in str(caught.value)


@pytest.mark.parametrize(
    ("head", "key", "expected"),
    [
        ("", "supervisor", r"missing; a supervisor file begins with [supervisor]"),
        ("supervisor = 1\n", "supervisor", "expected a table"),
        ("[supervisor]\n", "supervisor.strategy", "missing; expected one_for_one"),
        ('[supervisor]\nstrategy = "one-for-one"\n', "supervisor.strategy", 'Did you mean "one_for_one"'),
        ('[supervisor]\nstrategy = "one_for_one"\nintensty = 3\n', "supervisor.intensty", 'Did you mean "intensity"'),
        (
            '[supervisor]\nstrategy = "one_for_one"\nintensity = "3"\n',
            "supervisor.intensity",
            "expected a whole number",
        ),
        ('[supervisor]\nstrategy = "one_for_one"\nperiod = 0\n', "supervisor.period", "more than 0"),
        ('[supervisor]\nstrategy = "one_for_one"\nbackoff = 1\n', "supervisor.backoff", "expected a table of initial"),
        (
            '[supervisor]\nstrategy = "one_for_one"\nbackoff = { maxmum = 1 }\n',
            "supervisor.backoff.maxmum",
            'Did you mean "maximum"',
        ),
        ('[supervisor]\nstrategy = "one_for_one"\nbackoff = { jitter = 2 }\n', "supervisor.backoff.jitter", "0 to 1"),
        ('[supervisor]\nstrategy = "one_for_one"\n[[children]]\n', "children", 'Did you mean "child"'),
        ('child = 3\n[supervisor]\nstrategy = "one_for_one"\n', "child", "expected [[child]] tables"),
        ('child = [1]\n[supervisor]\nstrategy = "one_for_one"\n', "child[0]", "expected a [[child]] table"),
    ],
)
def test_the_supervisor_table_is_closed(write, head: str, key: str, expected: str) -> None:
    found = faults(write("a.toml", "", head=head))

    assert list(found) == [key]
    assert expected in found[key]


@pytest.mark.parametrize(
    ("keys", "key", "expected"),
    [
        ({"start": '"treeapp.rooms:Plain"'}, "id", "missing; every child needs an id"),
        ({"id": '""', "start": '"treeapp.rooms:Plain"'}, "id", "expected text, got nothing"),
        ({"id": "5", "start": '"treeapp.rooms:Plain"'}, "id", "expected text, got a whole number"),
        ({"id": '"a"'}, "start", 'missing; expected start = "module:Class" or tree'),
        (
            {"id": '"a"', "start": '"treeapp.rooms:Plain"', "tree": '"b.toml"'},
            "tree",
            "expected start or tree, got both",
        ),
        ({"id": '"a"', "start": '"treeapp.rooms.Plain"'}, "start", 'expected "module:Class"'),
        ({"id": '"a"', "start": "5"}, "start", 'expected "module:Class"'),
        ({"id": '"a"', "start": '"treeapp.rooms:Plian"'}, "start", 'has no Plian. Did you mean "Plain"'),
        ({"id": '"a"', "start": '"treeapp.roms:Plain"'}, "start", "there is no module treeapp.roms"),
        ({"id": '"a"', "start": '"treeapp.rooms:NoActor"'}, "start", "is no Actor class"),
        ({"id": '"a"', "start": '"treeapp.rooms:Popen"'}, "start", "is no Actor class"),
        ({"id": '"a"', "start": '"stranger:Foreign"'}, "start", "outside the configured packages (treeapp, wsactors)"),
        ({"id": '"a"', "start": '"treeapp.rooms:Foreign"'}, "start", "comes from module stranger, which is outside"),
        ({"id": '"a"', "start": '"treeappendix:X"'}, "start", "outside the configured packages"),
        ({"id": '"a"', "start": '"subprocess:Popen"'}, "start", "outside the configured packages"),
        (
            {"id": '"a"', "start": '"treeapp.rooms:Plain"', "args": "[1]"},
            "args",
            "expected a table of arguments by name",
        ),
        ({"id": '"a"', "start": '"treeapp.rooms:Plain"', "shutdown": "-1"}, "shutdown", "expected seconds"),
        ({"id": '"a"', "start": '"treeapp.rooms:Plain"', "shutdown": "true"}, "shutdown", "expected seconds"),
        (
            {"id": '"a"', "start": '"treeapp.rooms:Plain"', "shutdown": '"infinite"'},
            "shutdown",
            'Did you mean "infinity"',
        ),
        ({"id": '"a"', "start": '"treeapp.rooms:Plain"', "type": '"wroker"'}, "type", 'Did you mean "worker"'),
        ({"id": '"a"', "start": '"treeapp.rooms:Plain"', "significant": "1"}, "significant", "expected true or false"),
        ({"id": '"a"', "start": '"treeapp.rooms:Plain"', "significant": "true"}, "significant", "permanent child"),
        ({"id": '"a"', "start": '"treeapp.rooms:Plain"', "name": "3"}, "name", "expected text"),
        (
            {"id": '"a"', "start": '"treeapp.rooms:Plain"', "significant": "true", "restart": '"transient"'},
            "significant",
            'auto_shutdown "never"',
        ),
    ],
)
def test_a_child_table_is_closed(write, keys: dict[str, str], key: str, expected: str) -> None:
    found = faults(write("a.toml", child(**keys)))

    assert list(found) == [f"child[0].{key}"]
    assert expected in found[f"child[0].{key}"]


def test_a_duplicate_id_names_the_first_and_a_duplicate_name_its_file(write) -> None:
    write("below.toml", child(id='"x"', start='"treeapp.rooms:Plain"', name='"one"'))
    plain = {"start": '"treeapp.rooms:Plain"'}
    path = write(
        "a.toml",
        child(id='"a"', **plain, name='"one"') + child(id='"a"', **plain) + child(id='"b"', tree='"below.toml"'),
    )
    found = faults(path)

    assert "'a' is already the id of child[0]" in found["child[1].id"]
    assert "'one' is already the name of child[0] in a.toml" in found["child[0].name"]


def test_a_module_that_fails_to_import_says_why(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "brokenapp"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bad.py").write_text("1 / 0\n")
    (package / "needy.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(tmp_path)
    (package / "lazy.py").write_text("def __getattr__(name): raise ImportError('needs the extra')\n")
    path = write(
        "a.toml",
        child(id='"a"', start='"brokenapp.bad:X"')
        + child(id='"b"', start='"brokenapp.needy:X"')
        + child(id='"c"', start='"brokenapp.bda:X"')
        + child(id='"d"', start='"brokenapp.lazy:X"'),
    )
    with pytest.raises(TreeError) as caught:
        load_tree(path, ["brokenapp"])
    texts = [fault.message for fault in caught.value.faults]

    assert "importing brokenapp.bad failed: ZeroDivisionError" in texts[0]
    assert "it needs nowhere_to_be_found, which is not installed" in texts[1]
    assert 'no module brokenapp.bda. Did you mean "brokenapp.bad"' in texts[2]
    assert texts[3] == "importing brokenapp.lazy:X failed: ImportError: needs the extra"


# --- trees of trees ----------------------------------------------------------------------------------------------------


def test_a_nested_tree_is_a_supervisor_child(write) -> None:
    write("sub/leaf.toml", child(id='"z"', start='"treeapp.rooms:Plain"', shutdown="2"))
    write("below.toml", child(id='"x"', start='"treeapp.rooms:Plain"') + child(id='"y"', tree='"sub/leaf.toml"'))
    tree = load(
        write(
            "a.toml",
            child(id='"t"', tree='"below.toml"', restart='"transient"')
            + child(id='"p"', start='"treeapp.rooms:Plain"'),
        )
    )
    nested = tree.children[0]

    assert (nested.id, nested.start, nested.restart, nested.type, nested.shutdown) == (
        "t",
        Supervisor,
        "transient",
        "supervisor",
        "infinity",
    )
    assert [spec.id for spec in nested.kwargs["children"]] == ["x", "y"]
    assert [(depth, spec.id) for depth, spec in tree.walk()] == [(0, "t"), (1, "x"), (1, "y"), (2, "z"), (0, "p")]
    assert tree.longest_stop() == 5 + 2 + 5


def test_one_file_may_serve_twice(write) -> None:
    write("below.toml", child(id='"x"', start='"treeapp.rooms:Plain"'))
    tree = load(write("a.toml", child(id='"s"', tree='"below.toml"') + child(id='"t"', tree='"below.toml"')))

    assert [spec.id for _, spec in tree.walk()] == ["s", "x", "t", "x"]


def test_a_cycle_is_shown(write) -> None:
    write("b.toml", child(id='"c"', tree='"c.toml"'))
    write("c.toml", child(id='"b"', tree='"b.toml"'))

    assert (
        "a cycle: b.toml -> c.toml -> b.toml"
        in faults(write("a.toml", child(id='"b"', tree='"b.toml"')))["child[0].tree"]
    )
    assert "a cycle: s.toml -> s.toml" in faults(write("s.toml", child(id='"s"', tree='"s.toml"')))["child[0].tree"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("../up.toml", "outside the directory of the tree"),
        ("/etc/up.toml", "outside the directory of the tree"),
        ("link.toml", "outside the directory of the tree"),
        ("sub/../../up.toml", "outside the directory of the tree"),
        ("passwd", "expected the name of a .toml file"),
    ],
)
def test_a_tree_stays_in_its_directory(write, tmp_path: Path, reference: str, expected: str) -> None:
    text = child(id='"x"', start='"treeapp.rooms:Plain"')
    write("up.toml", text)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "link.toml").symlink_to(tmp_path / "up.toml")
    found = faults(write("in/a.toml", child(id='"t"', tree=f'"{reference}"')))

    assert expected in found["child[0].tree"]


def test_a_nested_file_may_look_up_as_long_as_it_stays_inside(write) -> None:
    write("common.toml", child(id='"x"', start='"treeapp.rooms:Plain"'))
    write("sub/b.toml", child(id='"c"', tree='"../common.toml"'))

    assert len(list(load(write("a.toml", child(id='"b"', tree='"sub/b.toml"'))).walk())) == 3


def test_a_tree_child_takes_no_arguments_of_its_own(write) -> None:
    write("below.toml", "")
    found = faults(write("a.toml", child(id='"t"', tree='"below.toml"', args="{ x = 1 }", type='"worker"')))

    assert set(found) == {"child[0].args", "child[0].type"}


def test_a_missing_file_is_named_and_a_near_one_suggested(write, tmp_path: Path) -> None:
    write("below.toml", "")
    with pytest.raises(TreeError) as caught:
        load(write("a.toml", child(id='"t"', tree='"bellow.toml"')))

    assert str(caught.value) == (
        f'{tmp_path / "bellow.toml"}: cannot be read: No such file or directory. Did you mean "below.toml"?'
    )


def test_a_linked_file_finds_its_trees_beside_the_real_one(write, tmp_path: Path) -> None:
    write("real/below.toml", child(id='"x"', start='"treeapp.rooms:Plain"'))
    write("real/a.toml", child(id='"t"', tree='"below.toml"'))
    (tmp_path / "a.toml").symlink_to(tmp_path / "real" / "a.toml")

    assert [spec.id for _, spec in load(tmp_path / "a.toml").walk()] == ["t", "x"]


def test_a_tree_has_only_so_many_children(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.supervision.loader.MAX_CHILDREN", 3)
    text = "".join(child(id=f'"{number}"', start='"treeapp.rooms:Plain"') for number in range(2))
    write("below.toml", text)

    found = faults(write("a.toml", text + child(id='"t"', tree='"below.toml"')))

    assert found["child"] == "more than 3 children; put a crowd under a DynamicSupervisor"


def test_trees_nest_only_so_deep(write) -> None:
    for level in range(20):
        write(f"t{level}.toml", child(id='"t"', tree=f'"t{level + 1}.toml"'))

    assert "nested more than" in next(iter(faults(write("a.toml", child(id='"t"', tree='"t0.toml"'))).values()))


# --- files that nobody should trust --------------------------------------------------------------------------------------


def test_a_file_that_everybody_may_write_is_refused(write) -> None:
    path = write("a.toml", "")
    path.chmod(0o602)

    assert "may be written by everybody" in faults(path)[""]


def test_a_nested_file_that_everybody_may_write_is_refused_too(write) -> None:
    write("below.toml", "").chmod(0o666)

    assert "may be written by everybody" in faults(write("a.toml", child(id='"t"', tree='"below.toml"')))[""]


def test_a_directory_that_everybody_may_write_is_refused(write) -> None:
    path = write("open/a.toml", "")
    path.parent.chmod(0o777)

    assert "lies in a directory that everybody may write" in faults(path)[""]


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    fifo, folder = tmp_path / "fifo.toml", tmp_path / "folder.toml"
    os.mkfifo(fifo)
    folder.mkdir()

    assert faults(fifo)[""] == "is no regular file"
    assert faults(folder)[""] == "expected a file, got a directory"


@pytest.mark.parametrize("text", ["a = ", "x = 1\nx = 2", "\x00", "[" * 5000])
def test_broken_toml_is_one_fault(write, text: str) -> None:
    assert "is no valid TOML" in faults(write("a.toml", text, head=""))[""]


def test_a_huge_file_is_refused(write) -> None:
    assert "is larger than" in faults(write("a.toml", "#" * 1_000_001))[""]


# --- the supervisors of the library, from a file -------------------------------------------------------------------------


def test_dynamic_and_partition_supervisors_from_a_file(write) -> None:
    path = write(
        "a.toml",
        child(
            id='"d"',
            start='"wsactors.supervision:DynamicSupervisor"',
            args="{ max_children = 9, backoff = { initial = 1 } }",
        )
        + child(
            id='"p"',
            start='"wsactors.supervision:PartitionSupervisor"',
            args='{ name = "n", partitions = 4, child = { id = "r", start = "treeapp.rooms:Room", args = { capacity = 1 } } }',
        ),
    )
    dynamic, partition = load(path).children
    template = partition.kwargs["child"]

    assert (dynamic.start, dynamic.type, dict(dynamic.kwargs)) == (
        DynamicSupervisor,
        "supervisor",
        {"max_children": 9, "backoff": Backoff(initial=1.0)},
    )
    assert (partition.start, template.start, dict(template.kwargs)) == (PartitionSupervisor, Room, {"capacity": 1})
    assert isinstance(template, ChildSpec)


def test_a_whole_supervisor_may_stand_in_the_arguments(write) -> None:
    inner = '{ id = "x", start = "treeapp.rooms:Room", args = { capacity = 1 }, restart = "transient" }'
    args = f'{{ strategy = "one_for_all", children = [{inner}], backoff = {{ initial = 2 }} }}'
    [spec] = load(write("a.toml", child(id='"s"', start='"wsactors.supervision:Supervisor"', args=args))).children

    assert spec.kwargs["backoff"] == Backoff(initial=2.0)
    assert [(one.id, one.restart, dict(one.kwargs)) for one in spec.kwargs["children"]] == [
        ("x", "transient", {"capacity": 1})
    ]


def test_faults_in_a_template_have_their_path(write) -> None:
    args = '{ name = "rooms", child = { id = "r", start = "treeapp.rooms:Room", args = { capacity = "x" }, restrat = "x" } }'
    found = faults(write("a.toml", child(id='"p"', start='"wsactors.supervision:PartitionSupervisor"', args=args)))

    assert found["child[0].args.child.args.capacity"] == "expected a whole number, got text"
    assert 'Did you mean "restart"' in found["child[0].args.child.restrat"]


def test_a_file_without_arguments_needs_no_cattrs(write) -> None:
    path = write("a.toml", child(id='"a"', start='"wsactors.supervision:DynamicSupervisor"'))
    program = (
        "import sys; sys.modules['cattrs'] = None\n"
        "from wsactors.supervision import ChildSpec, Supervisor, load_tree\n"
        f"print(load_tree({str(path)!r}).children[0].id)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("a\n", "")


def test_arguments_without_cattrs_say_what_to_install(write) -> None:
    path = write(
        "a.toml", child(id='"a"', start='"wsactors.supervision:DynamicSupervisor"', args="{ max_children = 1 }")
    )
    program = f"import sys; sys.modules['cattrs'] = None\nfrom wsactors.supervision import load_tree\nload_tree({str(path)!r})\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert "need cattrs: pip install 'wsactors[cli]'" in done.stderr


# --- anything at all -----------------------------------------------------------------------------------------------------

WORDS = "id start args tree restart shutdown significant type name"
WORDS += " capacity tags limits strategy intensity period backoff"


def tables(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(WORDS.split()) | st.text(max_size=5), inner, max_size=6)


good = st.sampled_from(
    ["a", "b", "treeapp.rooms:Room", "treeapp.rooms:Plain", "one_for_one", "permanent", "temporary", 1]
)
scalars = st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.times() | good
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | tables(inner), max_leaves=6)


@settings(max_examples=300, deadline=None)
@given(
    supervisor=tables(values) | values,
    children=st.lists(tables(values) | values, max_size=3) | values,
    rest=st.dictionaries(st.text(max_size=5), values, max_size=2),
)
def test_whatever_a_document_says_it_is_a_tree_or_a_list_of_faults(supervisor: Any, children: Any, rest: Any) -> None:
    document = {"supervisor": supervisor, "child": children, **rest}
    outcome: TreeSpec | TreeError
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsactors.supervision.files.read_toml", lambda _: document)
        try:
            outcome = load(Path("any.toml"))
        except TreeError as error:
            outcome = error

    assert isinstance(outcome, TreeSpec) or outcome.faults
