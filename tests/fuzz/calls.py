"""Valid calls of public functions: those that their doctests and tours of the rooms make."""

import doctest
import importlib
import inspect
import io
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Function = Callable[..., Any]


class Call(NamedTuple):
    """A call of a public function.

    Attributes:
        name: Of the function, in its room.
        function: What is called.
        arguments: By parameter, all of them.
    """

    name: str
    function: Function
    arguments: dict[str, Any]

    def with_value(self, parameter: str, value: Any) -> "Call":
        """The call with one argument replaced."""
        return self._replace(arguments={**self.arguments, parameter: value})

    def answer(self) -> Any:
        """What comes out; an iterator is read."""
        bound = inspect.signature(self.function).bind_partial()
        bound.arguments.update(self.arguments)
        value = self.function(*bound.args, **bound.kwargs)
        return list(value) if isinstance(value, Iterator) else value


def public_functions(room: str) -> dict[str, Function]:
    """Exported functions and classes of a room, those of exported modules, methods of classes."""
    module = importlib.import_module(f"persona_interp.{room}")
    functions: dict[str, Function] = {}
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            own = {k: f for k, f in vars(value).items() if _is_own(f, value.__name__)}
            functions |= {f"{name}.{key}": function for key, function in own.items()}
        elif isinstance(value, types.FunctionType):
            functions[name] = value
        elif inspect.isclass(value) and value.__module__.startswith("persona_interp."):
            functions |= _of_class(name, value)
    return functions


def _is_own(value: Any, module: str) -> bool:
    is_function = isinstance(value, types.FunctionType)
    return is_function and value.__module__ == module and not value.__name__.startswith("_")


def _of_class(name: str, owner: type) -> dict[str, Function]:
    methods = {
        f"{name}.{key}": member
        for key, member in vars(owner).items()
        if isinstance(member, types.FunctionType) and not key.startswith("_")
    }
    is_made = isinstance(vars(owner).get("__init__"), types.FunctionType)
    is_protocol = getattr(owner, "_is_protocol", False)
    return {name: owner, **methods} if is_made and not is_protocol else methods


def doctest_of(function: Function) -> Callable[[], None]:
    """What runs the examples of a function's docstring."""

    def run() -> None:
        names = dict(vars(sys.modules[_home(function)]))
        for test in doctest.DocTestFinder(recurse=False).find(function, "doctest", globs=names):
            # whether it prints what it should is asked elsewhere
            doctest.DocTestRunner(verbose=False).run(test, out=io.StringIO().write)

    return run


def _home(function: Function) -> str:
    """Name of the file's module, whichever room exports the function."""
    return (
        function.__module__
        if inspect.isclass(function)
        else inspect.unwrap(function).__globals__["__name__"]
    )


def recorded(functions: Mapping[str, Function], run: Callable[[], Any]) -> dict[str, list[Call]]:
    """Calls of the functions that are made while something runs, by name."""
    codes = {_code_of(function): name for name, function in functions.items()}
    calls: dict[str, list[Call]] = defaultdict(list)

    def note(frame: types.FrameType, event: str, _: Any) -> None:
        name = codes.get(frame.f_code) if event == "call" else None
        if name is not None:
            calls[name].append(Call(name, functions[name], _arguments(functions[name], frame)))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def _code_of(function: Function) -> types.CodeType:
    """Code that a call of the function runs, behind its decorators."""
    return inspect.unwrap(
        vars(function)["__init__"] if inspect.isclass(function) else function
    ).__code__


def _arguments(function: Function, frame: types.FrameType) -> dict[str, Any]:
    names = inspect.signature(function).parameters
    return {name: frame.f_locals[name] for name in names}
