"""Who may import whom. A new edge between rooms is a visible one-line change here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE = {"arguments", "card", "errors", "files", "schema", "values"}
MAY_IMPORT = {
    "errors": set(),
    "arguments": {"contents", "errors", "values"},
    "contents": {"errors", "schema"},
    "characters": set(),
    "loading": set(),
    "card": {"characters"},
    "files": {"errors", "values"},
    "values": {"errors"},
    "schema": {"errors"},
    "netcdf": {"files"},
    "tables": BASE | {"netcdf"},
    "store": BASE | {"tables"},
    "worlds": BASE,
    "readers": BASE | {"tables"},
    "analysis": BASE | {"worlds"},
    "plots": BASE,
    "report": BASE | {"analysis", "characters", "plots", "store", "tables"},
    "models": BASE | {"loading", "readers"},
    "dictionaries": BASE | {"models", "readers"},
    "record": BASE | {"models", "dictionaries", "readers", "tables"},
}
EVERYTHING = {"__init__", "__main__", "cli", "experiments"}
NO_TORCH = {
    "arguments",
    "card",
    "contents",
    "characters",
    "errors",
    "files",
    "loading",
    "netcdf",
    "values",
    "schema",
    "tables",
    "store",
    "worlds",
    "readers",
    "analysis",
    "plots",
    "report",
}
TORCH = {"torch", "transformers", "accelerate", "datasets", "peft", "transformer_lens", "sae_lens"}
ADAPTER = {
    "transformer_lens": ("models/boot.py",),
    "sae_lens": (
        "dictionaries/saelens.py",
        "dictionaries/saelens_training.py",
        "dictionaries/sparse_training.py",
    ),
    "peft": ("models/adapters.py",),
    "circuitsvis": ("report/bundle.py",),
    "submitit": ("experiments/slurm.py",),
}


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Full names of everything that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(package: Path) -> list[str]:
    """Which imports break the layers? Returns lines "file imports name: rule"."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        room = file.split("/")[0].removesuffix(".py")
        for name in imports_of(ast.parse(path.read_text())):
            first, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if name.startswith("."):
                found.append(f"{file} imports {name}: relative")
            if (
                first == package.name
                and room not in EVERYTHING
                and target not in MAY_IMPORT.get(room, set()) | {room}
            ):
                found.append(
                    f"{file} imports {name}: {room} may not import {target or 'the whole package'}"
                )
            if first in TORCH and room in NO_TORCH:
                found.append(f"{file} imports {name}: {room} is free of torch")
            if first in ADAPTER and file not in ADAPTER[first]:
                found.append(f"{file} imports {name}: only {' and '.join(ADAPTER[first])} may")
    return found


def test_the_package_keeps_its_layers(root: Path) -> None:
    assert violations(root / "persona_interp") == []


def test_every_room_has_a_rule(root: Path) -> None:
    rooms = {
        p.name.removesuffix(".py")
        for p in (root / "persona_interp").iterdir()
        if p.name[0] not in "_." and p.name != "py.typed"
    }
    assert rooms <= MAY_IMPORT.keys() | EVERYTHING


def test_rooms_without_torch_import_only_rooms_without_torch() -> None:
    assert all(MAY_IMPORT[room] <= NO_TORCH for room in NO_TORCH)


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        (
            "analysis/shift.py",
            "from persona_interp.models import train",
            "analysis may not import models",
        ),
        (
            "analysis/shift.py",
            "from persona_interp import record",
            "analysis may not import record",
        ),
        (
            "worlds/world.py",
            "import persona_interp.analysis.bayes",
            "worlds may not import analysis",
        ),
        (
            "models/load.py",
            "import persona_interp as pi",
            "models may not import the whole package",
        ),
        ("plots/style.py", "def f():\n    import torch.nn", "plots is free of torch"),
        ("record/features.py", "from sae_lens import SAE", "only dictionaries/saelens.py"),
        ("worlds/world.py", "from .persona import Trait", "relative"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, line: str, rule: str) -> None:
    path = tmp_path / "persona_interp" / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    (found,) = violations(tmp_path / "persona_interp")
    assert found.startswith(f"{file} imports ") and rule in found
