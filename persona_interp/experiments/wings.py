"""Which experiments are there, and where are their parts?

An experiment is a **wing**: a folder beside this file. Its parts have the same names in each:
``config`` (a frozen dataclass named like the folder, and its ``PRESETS``), ``tables`` (with
``summarize``), ``report`` (with ``TITLE`` and ``blocks``), and its ``__init__`` lists its tasks.
Everything is found by these names, so a new folder is all that a new experiment takes.

An experiment of a user's own is a class in a file, ``path/to/mine.py:Mine``. That file is its
config, tables, report and tasks in one.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple

from persona_interp.errors import StoreError, unknown

PACKAGE = __name__.rpartition(".")[0]
LOADED_AT = "__persona_interp_loaded_at__"
"""Attribute of a user's module that was loaded here: when its file was last modified (ns)."""


class Wing(NamedTuple):
    """Where the parts of one experiment are.

    Attributes:
        name: Name of the folder; of a user's own experiment ``"mine.py:Mine"``.
        source: Folder of the user's file; "" for the wings of this package.
    """

    name: str
    source: str = ""

    def part(self, kind: str) -> ModuleType:
        """Module of one part, loaded now.

        Args:
            kind: config, tables, report, or another file of the wing.

        Returns:
            The module; of a user's own experiment always the user's file.

        Raises:
            StoreError: There is no such experiment or file; the message names the nearest.
        """
        if self.source:
            return _load_file(Path(self.source) / self.name.partition(":")[0])
        if self.name not in wing_names():
            raise StoreError(unknown("experiment", self.name, wing_names()))
        return import_module(f"{PACKAGE}.{self.name}.{kind}")

    def function(self, kind: str, name: str) -> Callable[..., Any]:
        """Function of this name in one part.

        Args:
            kind: The part.
            name: Name of the function.

        Returns:
            The function.

        Raises:
            StoreError: The part has no such function.
        """
        module = self.part(kind)
        if not callable(getattr(module, name, None)):
            raise StoreError(unknown(f"function of {module.__file__}", name, _functions(module)))
        return getattr(module, name)

    @property
    def experiment_class(self) -> Any:
        """The frozen dataclass: that of the folder's name, or the one that the user names."""
        module = self.part("config")
        name = self.name.partition(":")[2] or self.name.title().replace("_", "")
        if not inspect.isclass(getattr(module, name, None)):
            classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
            raise StoreError(unknown(f"class of {module.__file__}", name, classes))
        return getattr(module, name)

    @property
    def presets(self) -> Mapping[str, Any]:
        """Configurations by size; a user's file without ``PRESETS`` has "quick", all defaults."""
        module = self.part("config")
        if hasattr(module, "PRESETS"):
            return module.PRESETS
        return {"quick": self.experiment_class()}

    def task(self, name: str) -> Callable[..., None]:
        """Function that computes cells of this task.

        A task has a short name, so that the id of a cell, which holds it, stays what it is when
        code moves: ``"learn"`` is listed by the package ``experiments``, ``"compare.behavior"`` by
        the wing, and ``"mine.measure"`` is a function of the user's ``mine.py``.

        Args:
            name: As in ``Cell.task``.

        Returns:
            The function; it takes ``(config, needs, out)``.

        Raises:
            StoreError: Nobody lists it; the message names the nearest.
        """
        owner, _, short = name.rpartition(".")
        if self.source and owner == Path(self.name.partition(":")[0]).stem:
            return self.function("tasks", short)
        package = import_module(f"{PACKAGE}.{owner}" if owner in wing_names() else PACKAGE)
        if short not in package.TASKS or owner not in ("", *wing_names()):
            raise StoreError(unknown("task", name, _all_tasks()))
        module, _, function = package.TASKS[short].partition(":")
        return getattr(import_module(f"{package.__name__}.{module}"), function)


def wing_names() -> tuple[str, ...]:
    """Names of the experiments of this package: its folders.

    Returns:
        Names in alphabetical order.

    >>> "transfer" in wing_names(), "cells" in wing_names()
    (True, False)
    """
    modules = iter_modules([str(Path(__file__).parent)])
    return tuple(module.name for module in modules if module.ispkg)


def wing_named(name: str) -> Wing:
    """Wing of the experiment of this name.

    Args:
        name: A folder's name, or ``"path/to/mine.py:Mine"``.

    Returns:
        The wing; whether it is there shows when a part is asked for.

    >>> wing_named("transfer").source, wing_named("lab/mine.py:Mine").name
    ('', 'mine.py:Mine')
    """
    path, _, class_name = name.rpartition(":")
    if not path.endswith(".py"):
        return Wing(name)
    file = Path(path).expanduser().resolve()
    return Wing(f"{file.name}:{class_name}", str(file.parent))


def wing_of(experiment: Any) -> Wing:
    """Wing that an experiment belongs to.

    Args:
        experiment: An instance of an experiment's class.

    Returns:
        The wing.

    Raises:
        StoreError: Its class is in no file, so that no other process could load it.
    """
    cls = type(experiment)
    package, _, part = cls.__module__.rpartition(".")
    name = package.removeprefix(f"{PACKAGE}.")
    if part == "config" and name in wing_names():
        return Wing(name)
    try:
        file = Path(inspect.getfile(cls)).resolve()
    except (OSError, TypeError):
        file = Path()
    if file.suffix != ".py":
        raise StoreError(
            f"the class {cls.__name__} is in no file, so worker processes and later reports could "
            "not load it; put it into a file of its own, for example mine.py, and import it."
        )
    return Wing(f"{file.name}:{cls.__name__}", str(file.parent))


def wing_of_config(config: Mapping[str, Any], *, run: Path) -> Wing:
    """Wing of a run's configuration.

    Code never comes with a run folder: a user's file is loaded from where it lies, and refused
    where that is inside of the folder.

    Args:
        config: What ``run.json`` holds.
        run: The run's folder.

    Returns:
        The wing.

    Raises:
        StoreError: The configuration names no experiment, or a file inside of the run folder.
    """
    if "experiment" not in config:
        raise StoreError(f"{run}/run.json names no experiment; choose a new --out.")
    source = str(config.get("source", ""))
    if source and Path(source).resolve().is_relative_to(run.resolve()):
        raise StoreError(
            f"the experiment of {run} is a file inside of it ({source}), and nothing in a run "
            "folder is executed; move the file out and run it with `persona-interp run "
            f"PATH:CLASS --out {run}`."
        )
    return Wing(str(config["experiment"]), source)


def _load_file(file: Path) -> ModuleType:
    """The module of a user's file: the one that is imported already, else loaded now."""
    if not file.is_file():
        raise StoreError(
            f"the experiment's file {file} is not there; if it was moved, run it again from its "
            "new place with the same --out, and finished cells are kept."
        )
    modified = file.stat().st_mtime_ns
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path and Path(path).name == file.name and Path(path).resolve() == file:
            if getattr(module, LOADED_AT, modified) == modified:  # else edited since we loaded it
                return module
    name = f"{PACKAGE}.user.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StoreError(f"{file} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    setattr(module, LOADED_AT, modified)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    spec.loader.exec_module(module)
    return module


def _functions(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if inspect.isfunction(value)]


def _all_tasks() -> list[str]:
    shared = list(import_module(PACKAGE).TASKS)
    own = [
        f"{wing}.{name}"
        for wing in wing_names()
        for name in import_module(f"{PACKAGE}.{wing}").TASKS
    ]
    return [*shared, *own]
