"""Every experiment is a wing of one plan: its files, who imports whom, and no circle anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_layers import imports_of

FILES = {
    "arms",
    "config",
    "tables",
    "report",
    "tasks",
    "sources",
    "plants",
    "requests",
    "inputs",
    "candidates",
    "cases",
    "findings",
    "headline",
    "comparison",
    "inside",
    "alarm",
    "line",
    "beliefs",
    "stacks",
    "predict",
    "probes",
    "features",
    "rows",
    "folder",
    "stack_files",
    "trait_predict",
    "trait_sources",
}
NEEDED = {"__init__", "config", "tables", "report"}
BELOW = {
    "arms": set(),
    "config": {"arms", "plants", "requests"},
    "plants": set(),
    "requests": set(),
    "inputs": {"config"},
    "sources": {"config", "inputs", "requests", "comparison", "beliefs", "predict", "stacks"}
    | {"features", "trait_sources"},
    "trait_sources": {"stacks", "trait_predict"},
    "trait_predict": set(),
    "tasks": {"arms", "config", "inputs", "sources", "plants", "candidates", "cases", "predict"}
    | {"probes", "rows"},
    "tables": {"arms", "config", "plants", "cases", "inside", "beliefs", "stacks"},
    "candidates": {"config"},
    "cases": {"config", "plants", "candidates"},
    "findings": {"config"},
    "headline": {"config"},
    "comparison": {"headline"},
    "line": set(),
    "alarm": {"line"},
    "beliefs": set(),
    "stacks": set(),
    "predict": {"beliefs"},
    "probes": {"config"},
    "features": {"predict", "stacks"},
    "rows": {"arms", "config", "beliefs"},
    "folder": {"findings"},
    "report": {"config", "tables", "findings", "headline", "inside", "stacks"},
    "inside": {"arms", "config", "tasks", "findings"},  # a folder of the same names
}
"""File of a wing -> files of the same wing that it may import."""
WINGS = {
    "compare": {"causes"},
    "order": {"dose"},
    "dictionaries": {"transfer"},
    "trait_dictionaries": {"dictionaries", "trait_transfer"},
    "trait_safeguards": {"safeguards", "trait_transfer"},
}
"""Wing -> wings below it that it uses."""
FREE_OF_TORCH = (
    "config",
    "plants",
    "requests",
    "tables",
    "findings",
    "headline",
    "comparison",
    "line",
    "beliefs",
    "stacks",
    "report",
)
MODEL_ROOMS = {"models", "record", "dictionaries"}
STAGE = ("persona_interp.models.stage", "persona_interp.models.dtype")
EXPERIMENTS = "persona_interp.experiments"


def wings(root: Path) -> list[Path]:
    """Folders of experiments."""
    folder = root / "persona_interp" / "experiments"
    return sorted(path.parent for path in folder.glob("*/__init__.py"))


def modules_of(package: Path) -> dict[str, set[str]]:
    """Module -> modules of the same package that it imports, anywhere in its code."""
    names = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    graph = {}
    for module, path in names.items():
        targets = set()
        for name in imports_of(ast.parse(path.read_text())):
            while name not in names and "." in name:  # a function: its module
                name = name.rpartition(".")[0]
            targets.add(name)
        graph[module] = targets & set(names) - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        stack = list(graph[start])
        while stack:
            module = stack.pop()
            if module not in seen:
                seen.add(module)
                stack += graph[module]
        return seen

    return [module for module in sorted(graph) if module in reach(module)]


def edges(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Imports between files of wings: wing and file that imports, then those imported."""
    names = {path.name for path in wings(root)}
    for folder in wings(root):
        for path in folder.rglob("*.py"):
            file = path.relative_to(folder).with_suffix("").parts[0]
            for name in imports_of(ast.parse(path.read_text())):
                wing, _, rest = name.removeprefix(f"{EXPERIMENTS}.").partition(".")
                if name.startswith(f"{EXPERIMENTS}.") and wing in names:
                    yield folder.name, file, wing, rest.partition(".")[0]


def test_files_of_every_wing_are_of_the_list(root: Path) -> None:
    assert len(wings(root)) >= 9
    for folder in wings(root):
        files = {path.stem for path in folder.iterdir() if path.name != "__pycache__"}
        assert NEEDED <= files, folder.name
        every = {path.stem for path in folder.rglob("*.py")}
        assert files | every <= FILES | NEEDED, folder.name


def test_arrows_within_a_wing_run_downward(root: Path) -> None:
    wrong = [
        f"{wing}/{file} imports {target}"
        for wing, file, other, target in edges(root)
        if wing == other and target != file and file != "__init__" and target not in BELOW[file]
    ]
    assert wrong == []


def test_wings_use_one_another_only_downward(root: Path) -> None:
    between: dict[str, set[str]] = {}
    for wing, _, other, _ in edges(root):
        if wing != other:
            between.setdefault(wing, set()).add(other)
    assert between == WINGS
    assert sum(map(len, WINGS.values())) <= 7


def test_shared_files_import_no_wing(root: Path) -> None:
    shared = (root / "persona_interp" / "experiments").glob("*.py")
    names = {path.name for path in wings(root)}
    for path in shared:
        for name in imports_of(ast.parse(path.read_text())):
            wing = name.removeprefix(f"{EXPERIMENTS}.").partition(".")[0]
            assert wing not in names, f"{path.name}: {name}"


def test_what_only_reads_tables_imports_no_model_side(root: Path) -> None:
    wrong = []
    for folder in wings(root):
        for path in folder.rglob("*.py"):
            if path.stem not in FREE_OF_TORCH:
                continue
            for name in imports_of(ast.parse(path.read_text())):
                room = name.removeprefix("persona_interp.").partition(".")[0]
                first = name.partition(".")[0]
                stage = name.startswith((*STAGE, "persona_interp.models.chats.PLAIN_TEMPLATE"))
                allowed = stage or name.rpartition(".")[2] in TORCH_FREE_MODELS
                if first == "torch" or (room in MODEL_ROOMS and not allowed):
                    wrong.append(f"{folder.name}/{path.name} imports {name}")
    assert wrong == []


TORCH_FREE_MODELS = {"Stage", "DOCUMENTS", "LESSON", "PLAIN_TEMPLATE"}
"""Names of ``models`` that load no torch (tests/models/test_lazy.py)."""


@pytest.mark.parametrize("room", ["experiments", "dictionaries"])
def test_no_circle_of_files(root: Path, room: str) -> None:
    graph = modules_of(root / "persona_interp")
    mine = {m: t for m, t in graph.items() if m.startswith(f"persona_interp.{room}")}
    # a package's __init__ is its table of contents: it names files and is no step between them
    contents = {m for m in mine if (root / Path(*m.split("."), "__init__.py")).is_file()}
    inner = {
        m: {t for t in targets if t in mine and t not in contents} for m, targets in mine.items()
    }
    assert circles({m: t for m, t in inner.items() if m not in contents}) == []


def test_a_planted_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]
