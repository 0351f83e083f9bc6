"""Which argument of a public function was of another kind than its signature says?

A room puts a door before each function that it exports (``doors``). A function refuses what it
checks in words of its own. Where it breaks on what it does not check, with whatever error the
inside has for that, the door holds the arguments against the annotations; if one does not fit, that
is the mistake, and it is said in one sentence. Calls within a room do not pass a door, and a call
that is answered costs nothing.
"""

import builtins
import functools
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from numbers import Real
from os import PathLike
from typing import Any, Literal, TypeVar

from persona_interp.errors import (
    ModelError,
    PersonaInterpError,
    SchemaError,
    StoreError,
    WorldError,
    excerpt,
)
from persona_interp.values import is_whole

F = TypeVar("F", bound=Callable[..., Any])

ERRORS = {"worlds": WorldError, "models": ModelError, "store": StoreError}
"""Kind of error of a room; of the others it is a ``SchemaError``."""
MOST_ENTRIES = 100
"""Entries of a list that are looked at."""
WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
    "DataFrame": "a table, a pandas DataFrame",
    "Dataset": "an xarray Dataset",
    "DataArray": "an xarray DataArray",
    "PathLike": "a path",
    "Path": "a path",
}
"""How a message calls a kind."""


def doors(room: str, names: Mapping[str, Any], exported: Iterable[str]) -> dict[str, Any]:
    """Doors before the functions that a room exports, by name.

    Classes and modules among them get theirs in place.

    Args:
        room: Name of its module.
        names: What the module holds.
        exported: Names of its ``__all__``; what is loaded later is left out.

    Returns:
        What takes the place of the functions.
    """
    functions = {}
    for name in exported:
        value = names.get(name)
        if isinstance(value, types.FunctionType):
            functions[name] = door(value, room)
        elif isinstance(value, types.ModuleType):
            _open(value, value.__name__)
        elif isinstance(value, type) and value.__module__.startswith(room):
            _open(value, value.__module__)
    return functions


def _open(owner: Any, home: str) -> None:
    """Put doors before the public functions of a class or module, and before making one."""
    if getattr(owner, "_is_protocol", False):
        return
    for name, member in list(vars(owner).items()):
        is_own = isinstance(member, types.FunctionType) and member.__module__ == home
        if is_own and (name == "__init__" or not name.startswith("_")):
            setattr(owner, name, door(member, home))


@functools.cache
def door(function: F, room: str) -> F:
    """Function that says which argument is of another kind than its signature says.

    Args:
        function: Any function.
        room: Name of the module that exports it, or that holds it.

    Returns:
        The same function behind its door.

    >>> def half(n: int) -> float:
    ...     return n / 2
    >>> door(half, "persona_interp.analysis")("4")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: n= is a whole number; got '4'.
    """
    error = ERRORS.get(room.split(".")[1], SchemaError)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except PersonaInterpError:
            raise
        except Exception as raw:
            mistake = _mistake(function, args, kwargs, raw=raw)
            if mistake is None:
                raise
            raise error(mistake) from raw

    package, _, home = room.partition(".")
    if "." not in home:  # exported by a room: under this name pickle finds it
        call.__module__, call.__qualname__ = package, f"{home}.{function.__name__}"
    return typing.cast(F, call)


def _mistake(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, raw: Exception
) -> str | None:
    """Sentence about the first argument that is not of its kind, or holds what breaks anybody."""
    from persona_interp.contents import flaw, lack  # loads pandas

    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return None  # Python has said which argument is too many or missing
    kinds = _kinds(function)
    for name, value in given.items():
        parameter = signature.parameters[name]
        is_one = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        kind = kinds.get(name, Any) if is_one else Any
        if value is not parameter.default and (not permits(kind, value) or _is_nan(value)):
            return f"{name}= is {describe(kind)}; got {excerpt(value)}."
        least = _least(name)
        if is_whole(value) and value < least:
            return f"{name}= is a whole number of at least {least:.0f}; got {value}."
    sentences = [flaw(value, name) for name, value in given.items()]
    if isinstance(raw, KeyError):
        lacks = [lack(value, name, column=raw.args[0]) for name, value in given.items()]
        sentences = [*lacks, *sentences]
    sentence = next(filter(None, sentences), None)
    # a flaw need not be the cause: what broke is said too
    what = f"{type(raw).__name__}: {excerpt(str(raw))}"
    return f"{sentence} What broke: {what}." if sentence else None


def _least(name: str) -> float:
    """Smallest whole number that an argument of this name may be."""
    if name == "seed":
        return 0
    return 1 if name.startswith("n_") else -math.inf


@functools.cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a function by parameter; Any for what cannot be found."""
    names = _Names(vars(builtins) | function.__globals__)
    return typing.get_type_hints(function, localns=names)


class _Names(dict[str, Any]):
    """What annotations name; a class that only type checkers import, from the room it is of."""

    def __missing__(self, name: str) -> Any:
        package = __name__.partition(".")[0]
        rooms = [module for key, module in sys.modules.items() if key.startswith(f"{package}.")]
        kinds = [vars(room).get(name) for room in rooms]
        return next((kind for kind in kinds if isinstance(kind, type)), Any)


def permits(kind: Any, value: Any) -> bool:
    """Whether a value is of the kind of an annotation.

    Args:
        kind: An annotation. A number may be one of numpy, a tuple any list; what cannot be asked of
            a value is let pass.
        value: Anything.

    Returns:
        False for another kind.

    >>> permits(int, 1.5), permits(tuple[str, ...], ["a"]), permits(str | None, None)
    (False, True, True)
    """
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if _is_numbers(parts):
            return is_array_like(value) or (value is None and type(None) in parts)
        return any(permits(part, value) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is type(None) or kind is None:
        return value is None
    if kind in (int, float):
        return is_whole(value) if kind is int else isinstance(value, Real) and not is_truth(value)
    if not isinstance(origin, type) or origin in (Any, object, type):
        return True
    if origin.__name__ == "ndarray":
        return is_array_like(value)
    if origin is PathLike:
        return isinstance(value, str | PathLike)
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and _permits_items(parts, value)
    if origin is not str and issubclass(origin, Iterable) and origin.__module__ in BUILT_IN:
        return _permits_entries(origin, parts, value)
    if getattr(origin, "_is_protocol", False) and not getattr(
        origin, "_is_runtime_protocol", False
    ):
        return True
    return is_truth(value) if origin is bool else isinstance(value, origin)


def _is_numbers(parts: tuple[Any, ...]) -> bool:
    """Whether a union is numpy's ``ArrayLike``, which lets any text pass."""
    return any(getattr(part, "__module__", "").startswith("numpy._typing") for part in parts)


def is_array_like(value: Any) -> bool:
    """Whether numpy makes an array of it, of numbers or of names.

    Args:
        value: Anything.

    Returns:
        False for one text, a table, a dict and None.

    >>> is_array_like([1, 2.5]), is_array_like("1"), is_array_like(None)
    (True, False, False)
    """
    is_entry = isinstance(value, Real) and not is_truth(value)
    is_list = hasattr(value, "__len__") or hasattr(value, "__array__")
    is_named = isinstance(value, str | bytes | Mapping) or type(value).__name__ == "DataFrame"
    return is_entry or (is_list and not is_named)


BUILT_IN = ("builtins", "collections.abc", "typing")


def is_truth(value: object) -> bool:
    """Whether a value is True or False, of Python or numpy.

    Args:
        value: Anything.

    Returns:
        False for 1.

    >>> import numpy as np
    >>> is_truth(np.True_), is_truth(1)
    (True, False)
    """
    return type(value).__name__ in ("bool", "bool_")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _permits_items(parts: tuple[Any, ...], value: Mapping[Any, Any]) -> bool:
    if len(parts) != 2:
        return True
    items = list(value.items())[:MOST_ENTRIES]
    return all(permits(parts[0], key) and permits(parts[1], entry) for key, entry in items)


def _permits_entries(origin: type, parts: tuple[Any, ...], value: Any) -> bool:
    """Whether a value is a list of such entries; a text is not the list of its letters."""
    is_table = type(value).__name__ in ("DataFrame", "Dataset")
    is_point = getattr(value, "shape", None) == ()
    if isinstance(value, str | bytes) or is_table or is_point or not isinstance(value, Iterable):
        return False
    if issubclass(origin, Iterator):
        return isinstance(value, Iterator)
    if origin is tuple and parts and parts[-1] is not Ellipsis:
        entries = list(value) if isinstance(value, Collection) else []
        pairs = zip(parts, entries, strict=False)
        return len(entries) == len(parts) and all(permits(p, entry) for p, entry in pairs)
    if isinstance(value, Iterator) or not isinstance(value, Collection) or not parts:
        return True
    first = [entry for entry, _ in zip(value, range(MOST_ENTRIES), strict=False)]
    return all(permits(parts[0], entry) for entry in first)


def describe(kind: Any) -> str:
    """Kind as a message calls it.

    Args:
        kind: An annotation.

    Returns:
        Words.

    >>> describe(str | None), describe(tuple[int, ...]), describe(Mapping[str, float])
    ('a text or None', 'a list of whole numbers', 'a dict of numbers by name')
    """
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if _is_numbers(parts):
            return "an array"
        return " or ".join(dict.fromkeys(describe(part) for part in parts))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a dict of {_plural(parts[1])} by name" if len(parts) == 2 else "a dict"
    if origin in WORDS:
        return WORDS[origin]
    if isinstance(origin, type) and origin.__name__ in WORDS:
        return WORDS[origin.__name__]
    if isinstance(origin, type) and issubclass(origin, Iterable) and origin.__module__ in BUILT_IN:
        if origin is tuple and parts and parts[-1] is not Ellipsis:
            return f"a list of {' and '.join(map(describe, parts))}"
        return f"a list of {_plural(parts[0])}" if parts else "a list"
    name = getattr(origin, "__name__", str(origin))
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _plural(kind: Any) -> str:
    words = describe(kind)
    return " or ".join(f"{part.partition(' ')[2]}s" for part in words.split(" or "))
