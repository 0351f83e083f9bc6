"""What every exported name is like: documented, annotated, data first, the rest keyword-only."""

import importlib
import inspect
import types
from collections.abc import Callable
from typing import Any

import pytest

import persona_interp

ROOMS = persona_interp.__all__


def _exports(room: str) -> list[str]:
    return getattr(importlib.import_module(f"persona_interp.{room}"), "__all__", [])


def _callables(room: str) -> dict[str, Callable[..., Any]]:
    """Exported functions, those of exported modules, and public methods of exported classes."""
    names: dict[str, Callable[..., Any]] = {}
    for name in _exports(room):
        value = getattr(importlib.import_module(f"persona_interp.{room}"), name)
        if isinstance(value, types.FunctionType):
            names[name] = value
        elif isinstance(value, types.ModuleType):
            names |= {f"{name}:{key}": function for key, function in _functions(value).items()}
        elif inspect.isclass(value) and value.__module__.startswith("persona_interp."):
            for method, member in vars(value).items():
                if isinstance(member, classmethod | staticmethod):
                    member = member.__func__
                if isinstance(member, types.FunctionType) and not method.startswith("_"):
                    names[f"{name}.{method}"] = member
    return names


def _functions(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """Public functions that a module defines itself."""
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    }


def complaints(function: Callable[..., Any], *, method: bool) -> list[str]:
    """What about this function breaks the conventions?"""
    signature, doc = inspect.signature(function), inspect.getdoc(function) or ""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    returns = signature.return_annotation
    found = []
    if len(positional) > 3:
        found.append(
            f"{len(positional)} positional parameters: {', '.join(p.name for p in positional)}"
        )
    found += [
        f"parameter {p.name} has no annotation" for p in parameters if p.annotation is p.empty
    ]
    if returns is signature.empty:
        found.append("no return annotation")
    if not doc:
        found.append("no docstring")
    elif (
        not method
        and returns not in (None, "None")
        and not any(s in doc for s in ("Returns:", "Yields:"))
    ):
        found.append("the docstring has no Returns section")
    return found


def _kind(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order that ruff (RUF022) sorts into."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_exports_are_sorted_and_exist(room: str) -> None:
    module = importlib.import_module(f"persona_interp.{room}") if room else persona_interp
    names = list(getattr(module, "__all__", []))
    assert names == sorted(set(names), key=_kind)
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_exports_are_documented_and_annotated(room: str) -> None:
    found = {name: complaints(f, method="." in name) for name, f in _callables(room).items()}
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_exported_classes_have_docstrings_of_their_own(room: str) -> None:
    module = importlib.import_module(f"persona_interp.{room}")
    classes = {name: c for name in _exports(room) if inspect.isclass(c := getattr(module, name))}
    # A dataclass without a docstring gets its signature as one.
    assert [
        name
        for name, c in classes.items()
        if not c.__doc__ or c.__doc__.startswith(f"{c.__name__}(")
    ] == []


def test_planted_bad_functions_are_caught() -> None:
    def bad(a: int, b: int, c: int, d: int, *, e=0) -> int:
        """Is this fine?"""
        return a + b + c + d + e

    assert complaints(bad, method=False) == [
        "4 positional parameters: a, b, c, d",
        "parameter e has no annotation",
        "the docstring has no Returns section",
    ]
