"""What the source never does: run what a file holds, trust remote code, or name its machine."""

import ast
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "pd.read_pickle", "os.system"}
UNSAFE_KEYWORDS = {"trust_remote_code", "allow_pickle", "shell"}
SAFE_VALUES = {
    "False",
    "checkpoint.trusted",
}  # a checkpoint is trusted only where its user named it (models.resolve)
# Written so that no pattern matches itself.
MACHINE = re.compile(r"(?<![\w.\-])/(?:work|tmp|root|home|Users|mnt)/\w")
HOST = re.compile(
    r"(?i)pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs|index[-]url|find[-]links"
    r"|https?://(?:localhost|\d{1,3}\.\d)"
)
PICTURES = {".png", ".pdf", ".gguf", ".safetensors", ".parquet", ".nc"}


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Which statements could run what a file or a hub holds?"""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {
                (getattr(node, "module", None) or a.name).partition(".")[0] for a in node.names
            }
            yield from (f"line {node.lineno}: import {name}" for name in names & UNSAFE_MODULES)
        if isinstance(node, ast.Call):
            name, keywords = (
                ast.unparse(node.func),
                {k.arg: ast.unparse(k.value) for k in node.keywords},
            )
            if name in UNSAFE_CALLS or (
                name == "torch.load" and keywords.get("weights_only") != "True"
            ):
                yield f"line {node.lineno}: {name}(...)"
            yield from (
                f"line {node.lineno}: {k}={v}"
                for k, v in keywords.items()
                if k in UNSAFE_KEYWORDS and v not in SAFE_VALUES
            )


def test_the_source_runs_nothing_that_a_file_holds(root: Path) -> None:
    files = [
        p
        for folder in ("persona_interp", "analyses", "benchmarks")
        for p in (root / folder).rglob("*.py")
    ]
    found = [
        f"{p.relative_to(root)} {line}" for p in files for line in unsafe(ast.parse(p.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_planted_unsafe_code_is_caught(source: str) -> None:
    assert len(list(unsafe(ast.parse(source)))) == 1


def test_safe_code_passes() -> None:
    assert (
        list(unsafe(ast.parse("model.eval(); yaml.safe_load(t); torch.load(p, weights_only=True)")))
        == []
    )


def test_tracked_files_name_no_machine_and_no_registry(root: Path) -> None:
    if not (root / ".git").exists():
        pytest.skip("not a git checkout, so there are no tracked files")
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    files = [
        root / name
        for name in done.stdout.split("\0")
        if name and Path(name).suffix not in PICTURES
    ]
    found = []
    for path in filter(Path.is_file, files):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            found += [
                f"{path.relative_to(root)}:{number}: {m.group()}"
                for p in (MACHINE, HOST)
                for m in p.finditer(line)
            ]
    assert found == []


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_the_guard_refuses_the_network(host: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="tests run offline"):
        socket.create_connection((host, 80), timeout=1)


def test_the_guard_lets_this_machine_talk_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
