"""Which experiments are there, and where are their parts?

An experiment is a **wing**: a folder beside this file. Its parts have the same names in each:
``config`` (a frozen dataclass named like the folder, and its ``PRESETS``), ``tables`` (with
``summarize``), ``report`` (with ``TITLE`` and ``blocks``), and its ``__init__`` lists its tasks.
Everything is found by these names, so a new folder is all that a new experiment takes.

An experiment of a user's own is a class in a file, ``path/to/mine.py:Mine``. That file is its
config, tables, report and tasks in one.
"""

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple

from persona_interp.errors import StoreError, unknown

PACKAGE = __name__.rpartition(".")[0]
USER_NAME = re.compile(r"[A-Za-z_]\w*\.py:[A-Za-z_]\w*")
"""Name of a user's own experiment: a file whose name is a name in Python, and a class."""
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

    @property
    def file(self) -> Path:
        """A user's own file."""
        return Path(self.source) / self.name.partition(":")[0]

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
            return _load_file(self.file)
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
        cls = getattr(module, name, None)
        if not inspect.isclass(cls):
            own = [key for key, value in vars(module).items() if _is_own_class(value, module)]
            raise StoreError(unknown(f"class of {module.__file__}", name, own))
        if not is_dataclass(cls) or "seeds" not in {field.name for field in fields(cls)}:
            raise StoreError(
                f"{name} of {module.__file__} is no experiment: make it a frozen dataclass with a "
                "field `seeds` and a method `cells()`."
            )
        return cls

    @property
    def presets(self) -> Mapping[str, Any]:
        """Configurations of the class by size; without any "quick", which is all defaults."""
        cls, module = self.experiment_class, self.part("config")
        presets = getattr(module, "PRESETS", None)
        if presets is not None and not self.source:
            return presets
        own = {size: one for size, one in (presets or {}).items() if isinstance(one, cls)}
        return own or {"quick": cls()}

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
            raise StoreError(unknown("task", name, [*self._own_tasks(), *_all_tasks()]))
        module, _, function = package.TASKS[short].partition(":")
        return getattr(import_module(f"{package.__name__}.{module}"), function)

    def _own_tasks(self) -> list[str]:
        """Tasks of a user's own file: its functions, by the file's name."""
        if not self.source:
            return []
        return [f"{self.file.stem}.{name}" for name in _functions(self.part("tasks"))]


def _is_own_class(value: Any, module: ModuleType) -> bool:
    return inspect.isclass(value) and value.__module__ == module.__name__


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

    Raises:
        StoreError: A user's file without a class, or in a run folder.

    >>> wing_named("transfer").source, wing_named("lab/mine.py:Mine").name
    ('', 'mine.py:Mine')
    """
    path, _, class_name = name.rpartition(":")
    if name.endswith(".py"):
        raise StoreError(f"name the class of the file too: {name}:CLASS.")
    if not path.endswith(".py"):
        return Wing(name)
    return _user_wing(Path(path).expanduser(), class_name)


def wing_of(experiment: Any) -> Wing:
    """Wing that an experiment belongs to.

    Args:
        experiment: An instance of an experiment's class.

    Returns:
        The wing.

    Raises:
        StoreError: Its class is in no file, so that no other process could load it, or in a file
            in a run folder.
    """
    cls = type(experiment)
    for name in wing_names():
        if cls.__module__ == f"{PACKAGE}.{name}.config":
            return Wing(name)
    try:
        file = Path(inspect.getfile(cls))
    except (OSError, TypeError):
        file = Path()
    if file.suffix != ".py" or "<locals>" in cls.__qualname__:
        raise StoreError(
            f"the class {cls.__name__} is in no file, so worker processes and later reports could "
            "not load it; put it into a file of its own, for example mine.py, and import it."
        )
    return _user_wing(file, cls.__name__)


def wing_of_config(config: Mapping[str, Any]) -> Wing:
    """Wing of a run's configuration.

    Args:
        config: What ``run.json`` holds.

    Returns:
        The wing.

    Raises:
        StoreError: The configuration names no experiment, or a user's file in a run folder.
    """
    if "experiment" not in config:
        raise StoreError("this configuration names no experiment; give that of a run folder.")
    name, source = str(config["experiment"]), str(config.get("source", ""))
    if not source:
        return Wing(name)
    file, _, class_name = name.partition(":")
    return _user_wing(Path(source) / file, class_name)


def _user_wing(file: Path, class_name: str) -> Wing:
    """Wing of a user's file; code never comes with a run folder, so none is loaded from one."""
    folder = file.parent.resolve()
    wing = Wing(f"{file.name}:{class_name}", str(folder))
    if not USER_NAME.fullmatch(wing.name):
        raise StoreError(
            f"an experiment of your own is named by its file and its class, such as "
            f"path/to/mine.py:Mine, both of letters, digits and _; got '{wing.name}'."
        )
    # a link may lie outside and its file inside, so both places count
    places = {folder, wing.file.resolve().parent}
    from persona_interp.store import is_run  # loads pandas, which --help does without

    for place in (parent for start in places for parent in (start, *start.parents)):
        if is_run(place):
            raise StoreError(
                f"{wing.file} lies in the run folder {place}, and nothing in a run folder is "
                "executed; move the file out and run it from there with the same --out."
            )
    return wing


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
        # text first: this is asked for every cell, and there are thousands of modules
        if not path or not str(path).endswith(file.name):
            continue
        if Path(path).name == file.name and Path(path).resolve() == file.resolve():
            if getattr(module, LOADED_AT, modified) == modified:  # else edited since we loaded it
                return module
    # two files of one name are two modules
    key = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"persona_interp_user_{key}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StoreError(f"{file} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    setattr(module, LOADED_AT, modified)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    if str(file.parent) not in sys.path:  # as for a script, files beside it can be imported
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise StoreError(
            f"the experiment's file {file} cannot be loaded: {type(error).__name__}: {error}. "
            "Relative imports do not work in it; files beside it are imported by their names."
        ) from error
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
