"""Which files of the user does a run read, and are they still what they were when it began?"""

import hashlib
import json
from pathlib import Path
from typing import Any

from persona_interp import readers
from persona_interp.errors import SchemaError
from persona_interp.experiments.material import File
from persona_interp.files import write_text
from persona_interp.models.cache import cache


def file_of(path: str | Path, *, name: str = "") -> File:
    """File with its hash of now.

    Args:
        path: An existing file.
        name: What tables call it; the stem by default.

    Returns:
        Name, path and hash.
    """
    path = Path(path).expanduser()
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return File(name or path.stem, str(path.absolute()), digest)


def prompts_file(prompts: Any) -> Path:
    """File of the prompts, which tasks read when their turn comes.

    Args:
        prompts: A file; or anything else that ``readers.read`` takes, which is kept in the cache
            under its hash.

    Returns:
        The file.

    Raises:
        SchemaError: They cannot be read.
    """
    if isinstance(prompts, str | Path):
        return Path(prompts).expanduser()
    table = readers.read(prompts, "prompts")
    rows = [
        {"id": name, "messages": messages}
        for name, messages in zip(table["prompt"], table["messages"], strict=True)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return write_text(text, cache() / "prompts" / digest[:16] / "prompts.jsonl")


def unchanged_path(file: dict[str, Any]) -> Path:
    """Path of a file that is as it was when the run began.

    Args:
        file: ``File.plain()``.

    Returns:
        Its path.

    Raises:
        SchemaError: It is gone or holds something else.
    """
    path = Path(file["path"])
    if not path.is_file() or file_of(path).sha256 != file["sha256"]:
        raise SchemaError(
            f"{path} is gone or changed since this run began; restore it, or use a new --out."
        )
    return path


def trait_files(traits: str | Path | None) -> tuple[File, ...]:
    """Trait files of a folder, or one file, each read once so that a broken one is named now.

    Args:
        traits: A trait file, a folder of them, or None.

    Returns:
        The files, named as the traits.

    Raises:
        SchemaError: One cannot be read.
    """
    if traits is None:
        return ()
    names = readers.read_traits(traits)
    path = Path(traits).expanduser()
    if path.is_file():
        return tuple(file_of(path, name=name) for name in names)
    return tuple(file_of(path / f"{name}.json", name=name) for name in names)
