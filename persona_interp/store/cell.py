"""What is a unit of work, and when are two the same?

A cell is named by the hash of what it computes: task, configuration, and the cells it reads. So a
rerun knows what is there already, a changed seed or learning rate can never reuse a stale file, and
a recomputed cell leaves those that were built on it valid.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from persona_interp.errors import StoreError

_TASK = re.compile(r"([A-Za-z_]\w*\.)?[A-Za-z_]\w*")


@dataclass(frozen=True, eq=False)
class Cell:
    """One piece of work, named by the hash of what it computes.

    Two cells are equal when their ids are: same task, same configuration, same needs.

    Args:
        task: Short name, ``"learn"`` or ``"compare.behavior"``. Whoever runs the cell knows the
            function of that name; it takes ``(config, needs, out)``: this configuration, the
            folders of the needs in their order, and the folder to write into.
        config: JSON-able; everything the result depends on, the seed included.
        needs: Cells whose files the task reads.
        label: A short name for progress bars and errors; not part of the id.

    Raises:
        StoreError: The task is no such name, or a value of config is not JSON-able.

    >>> Cell("square", {"seed": 0}).id == Cell("square", {"seed": 0}, label="first").id
    True
    >>> Cell("square", {"seed": 0}).id == Cell("square", {"seed": 1}).id
    False
    """

    task: str
    config: dict[str, Any]
    needs: tuple["Cell", ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        if not _TASK.fullmatch(self.task):
            raise StoreError(
                f"a cell's task is a short name such as 'learn' or 'compare.behavior'; got "
                f"'{self.task}'."
            )
        object.__setattr__(self, "config", plain(self.config, "config"))
        object.__setattr__(self, "needs", tuple(self.needs))
        object.__setattr__(self, "label", self.label or self.task.rpartition(".")[2])

    @cached_property
    def id(self) -> str:
        """First 16 hex digits of the sha256 of the canonical ``spec``."""
        return digest(self.spec)

    @property
    def spec(self) -> dict[str, Any]:
        """What the id depends on: task, configuration, ids of the needs."""
        return {"task": self.task, "config": self.config, "needs": [need.id for need in self.needs]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return f"{self.label} ({self.id})"


def lineage(cells: Iterable[Cell]) -> list[Cell]:
    """All cells that are needed for some, in an order in which they can be computed.

    Args:
        cells: The cells wanted.

    Returns:
        They and everything they need, each once, needs first.

    >>> base = Cell("base", {})
    >>> [cell.label for cell in lineage([Cell("tuned", {"lr": 1e-3}, (base,)), base])]
    ['base', 'tuned']
    """
    ordered: dict[str, Cell] = {}
    for cell in cells:
        if cell.id not in ordered:
            ordered.update(
                {need.id: need for need in lineage(cell.needs) if need.id not in ordered}
            )
            ordered[cell.id] = cell
    return list(ordered.values())


def plain(value: Any, key: str) -> Any:
    """Deep copy of a configuration, in plain JSON types.

    Args:
        value: Text, finite numbers, booleans, None, lists, tuples and dicts of them.
        key: How an error names the value.

    Returns:
        The copy; tuples are lists, as they would be after a round trip through a file.

    Raises:
        StoreError: Something else, named by its key.

    >>> plain({"steps": (1, 2)}, "config")
    {'steps': [1, 2]}
    """
    if isinstance(value, dict):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise StoreError(
                f"{key} has the key {wrong[0]!r} of type {type(wrong[0]).__name__}; keys must be "
                "text."
            )
        return {k: plain(v, f"{key}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{key}[{i}]") for i, item in enumerate(value)]
    if (
        value is None
        or type(value) in (str, bool, int)
        or (type(value) is float and math.isfinite(value))
    ):
        return value
    raise StoreError(
        f"{key} is {value!r} of type {type(value).__name__}, which JSON cannot hold; "
        "a configuration is made of text, finite numbers, booleans, None, lists and dicts."
    )


def canonical(value: Any) -> bytes:
    """Bytes that stand for a JSON value, whatever the order of its keys.

    Args:
        value: A value that ``plain`` accepts.

    Returns:
        One line of UTF-8 without its end.

    >>> canonical({"b": 1, "a": [0.5]})
    b'{"a":[0.5],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    ).encode()


def digest(spec: dict[str, Any]) -> str:
    """Hash of a cell: of its task, its configuration and the cells that it needs.

    Args:
        spec: ``Cell.spec``.

    Returns:
        Its id, 16 hex digits.

    >>> cell = Cell("base", {"seed": 0})
    >>> digest(cell.spec) == cell.id
    True
    """
    return hashlib.sha256(canonical(spec)).hexdigest()[:16]


def differences(recorded: Any, current: Any, key: str = "") -> list[str]:
    """Differences between two configurations, in words.

    Args:
        recorded: A plain configuration.
        current: Another.
        key: Path of keys to them.

    Returns:
        A line for every value that differs, named by its path of keys.

    >>> differences({"lr": 0.1, "world": {"noise": 0}}, {"lr": 0.1, "world": {"noise": 1}})
    ['world.noise is 0 there and 1 here']
    """
    if not (isinstance(recorded, dict) and isinstance(current, dict)):
        return [] if recorded == current else [f"{key} is {recorded!r} there and {current!r} here"]
    lines = []
    for name in dict.fromkeys([*recorded, *current]):
        path = f"{key}.{name}".strip(".")
        lines += differences(recorded.get(name, "absent"), current.get(name, "absent"), path)
    return lines
