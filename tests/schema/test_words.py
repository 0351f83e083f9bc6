"""A word that decides is written once: its readers follow, and nobody types it again."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_interp.schema import words

PACKAGE = Path(__file__).parents[2] / "persona_interp"
ENUMS = [value for value in vars(words).values() if isinstance(value, type)]
ENUMS = [enum for enum in ENUMS if issubclass(enum, words.StrEnum) and enum is not words.StrEnum]
COMMON = {"base", "control", "tuned", "lesson", "before", "prompt", "behavior", "answers", "null"}
COMMON |= {"feature", "projection", "bits", "red", "green", "fits", "metric", "new", "composable"}
COMMON |= {"split", "divergence", "worse", "better", "done", "failed", "missing", "holds"}
COMMON |= {"candidate", "added", "removed", "random (norm)", "random (variance)"}
"""Words that also are names of columns, files, roles or colors, which mean something else."""

READERS = Path(__file__).parent / "readers_of_words.py"


def constants(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string of the code that is no docstring."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.lineno, node.value


def test_no_word_has_two_meanings_in_one_enum() -> None:
    assert len(ENUMS) >= 8
    for enum in ENUMS:
        assert len({str(member) for member in enum}) == len(enum), enum.__name__


def test_nobody_types_a_word_again() -> None:
    texts = {str(member) for enum in ENUMS for member in enum} - COMMON
    again = []
    folders = (PACKAGE, PACKAGE.parent / "analyses", PACKAGE.parent / "benchmarks")
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        if path.name == "words.py":
            continue
        for line, text in constants(ast.parse(path.read_text())):
            if text in texts:
                again.append(f"{path.relative_to(PACKAGE.parent)}:{line}: {text!r}")
    assert again == []


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package in which every word is another one."""
    root = tmp_path_factory.mktemp("changed")
    shutil.copytree(PACKAGE, root / "persona_interp", ignore=shutil.ignore_patterns("__pycache__"))
    file = root / "persona_interp" / "schema" / "words.py"
    text, n = re.subn(
        r'^    ([A-Z_]+) = "([^"]*)"$', r'    \1 = "zz \2 zz"', file.read_text(), flags=re.M
    )
    assert n == sum(map(len, ENUMS))
    file.write_text(text)
    return root


def test_every_reader_follows_a_changed_word(changed: Path) -> None:
    command = [sys.executable, READERS]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(changed)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    follows = json.loads(done.stdout.splitlines()[-1])
    assert len(follows) >= 20
    assert [reader for reader, ok in follows.items() if not ok] == []
