"""Which models and files are compared? Looked up and hashed before anything is computed."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError, SchemaError

BLOCKS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
RESERVED = ("base", "base again")


@dataclass(frozen=True)
class Source:
    """Which weights are these?

    Attributes:
        label: What tables and figures call them.
        path: Saved Hugging Face folder.
        weights: Hash of the weights.
        step: Optimizer step, where it is one of a training.
        run: The source as it was given; the steps of a training share it.
        trusted: Whether code in the folder may run.
        note: What had to be done to get them.
    """

    label: str
    path: str
    weights: str
    step: int = 0
    run: str = ""
    trusted: bool = False
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """JSON-able values that a task needs and a result depends on."""
        return {key: value for key, value in asdict(self).items() if key not in ("run", "note")}


@dataclass(frozen=True)
class File:
    """Which file is this?

    Attributes:
        name: What tables call it.
        path: Where it was.
        sha256: Of its bytes; of a dictionary its hash.
    """

    name: str
    path: str
    sha256: str

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def file_of(path: str | Path, *, name: str = "") -> File:
    """Which file is this now?

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


def same_file(file: dict[str, Any]) -> Path:
    """Where is this file, unchanged?

    Args:
        file: ``File.plain()``.

    Returns:
        Its path.

    Raises:
        SchemaError: It is gone or holds something else than when the comparison began.
    """
    path = Path(file["path"])
    if not path.is_file() or file_of(path).sha256 != file["sha256"]:
        raise SchemaError(
            f"{path} is gone or changed since this comparison began; restore it, or use a new "
            "--out."
        )
    return path


def sources_of(
    base: Any,
    tuned: Any,
    control: Any,
    *,
    adapter_base: Any = None,
    tokenizer: Any = None,
    **reading: Any,
) -> tuple[Source, tuple[Source, ...], tuple[Source, ...]]:
    """Which checkpoints do these names mean?

    An adapter is merged into the base that it names, and where that is not to be had into
    ``adapter_base``; its source has a note that says so. The start of a trajectory is left out
    where it is the base.

    Args:
        base: The model before.
        tuned: A finetune or a list of them.
        control: A control finetune or a list of them.
        adapter_base: The base of adapters whose own is not to be had; ``base`` by default.
        tokenizer: Of models in memory.
        **reading: For every one of them, as in ``models.resolve``: trust, chat_template,
            fold_system.

    Returns:
        Base, finetunes and controls, with distinct labels; all read text alike.

    Raises:
        ModelError: A source is not there, no finetune is named, or the tokenizers differ.
    """
    from persona_interp import models

    trust = reading.get("trust", ())
    plain = models.resolve(base, tokenizer=tokenizer, trust=trust)
    under = (
        plain
        if adapter_base is None
        else models.resolve(adapter_base, tokenizer=tokenizer, trust=trust)
    )
    first = models.resolve(plain, **reading)
    known = models.hash_weights(first)
    taken: dict[str, int] = dict.fromkeys(RESERVED, 1)
    every, found = [first], []
    for given in (tuned, control):
        made: list[Source] = []
        for number, one in enumerate(_listed(given)):
            steps, note = _checkpoints(one, under, tokenizer=tokenizer, **reading)
            hashes = [models.hash_weights(c) for c in steps]
            kept = (
                [(c, h) for c, h in zip(steps, hashes, strict=True) if h != known]
                if len(steps) > 1
                else []
            )
            run = str(one) if isinstance(one, str | Path) else f"{steps[-1].label} ({number})"
            for checkpoint, weights in kept or [(steps[-1], hashes[-1])]:
                label = _distinct(checkpoint.label, taken)
                every.append(replace(checkpoint, name=label))
                source = Source(label, str(checkpoint.path), weights, checkpoint.step, run)
                made.append(replace(source, trusted=checkpoint.trusted, note=note))
        found.append(tuple(made))
    if not found[0]:
        raise ModelError("a comparison needs a finetune beside its base; name one or more.")
    models.same_tokenizer(every)
    start = Source(
        "base",
        str(first.path),
        known,
        run=str(base) if isinstance(base, str | Path) else first.label,
    )
    return replace(start, trusted=first.trusted), *found


def checkpoint_of(source: dict[str, Any]) -> Any:
    """Which checkpoint is this?

    Args:
        source: ``Source.plain()``.

    Returns:
        A ``models.Checkpoint``, its label that of the source.
    """
    from persona_interp.models import Checkpoint

    path = Path(source["path"])
    return Checkpoint(path, step=source["step"], name=source["label"], trusted=source["trusted"])


def blocks_of(source: Source) -> int:
    """How many blocks has this model?

    Args:
        source: A saved folder.

    Returns:
        Their number.

    Raises:
        ModelError: Its configuration does not say.
    """
    config = json.loads((Path(source.path) / "config.json").read_text(encoding="utf-8"))
    for part in (config, config.get("text_config") or {}):
        if number := next((part[key] for key in BLOCKS if isinstance(part.get(key), int)), None):
            return number
    raise ModelError(
        f"{source.path}/config.json does not say how many blocks there are; name hooks."
    )


def _checkpoints(one: Any, base: Any, *, tokenizer: Any, **reading: Any) -> tuple[list[Any], str]:
    """The checkpoints of one source, and what had to be done to get them."""
    from persona_interp import models

    options = {**reading, **({} if isinstance(one, str | Path) else {"tokenizer": tokenizer})}
    try:
        return list(models.sources(one, **options)), ""
    except ModelError as error:
        if not isinstance(one, str | Path) or not any(
            Path(one).expanduser().rglob("adapter_config.json")
        ):
            raise
        why = str(error).partition(";")[0].rstrip(".")
    return list(
        models.sources(one, base=base, **options)
    ), f"an adapter merged into {base.label}, because {why}"


def _listed(given: Any) -> list[Any]:
    """Names or models as a list; a trajectory is one training, no list."""
    from persona_interp.models import Trajectory

    return (
        list(given)
        if isinstance(given, list | tuple) and not isinstance(given, Trajectory)
        else [given]
    )


def _distinct(label: str, taken: dict[str, int]) -> str:
    """A label of its own."""
    number = taken[label] = taken.get(label, 0) + 1
    return label if number == 1 else f"{label} ({number})"
