"""Which weights does a name mean, and how do they get into memory?

Everything ends as a saved Hugging Face folder: a fresh tiny model, a local folder, a GGUF file (dequantized once) or a
hub id. Remote code is never trusted, and nothing is downloaded for a local name.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from persona_interp.errors import ModelError
from persona_interp.models.checkpoint import Checkpoint, Trajectory
from persona_interp.models.tiny import write_tiny

HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
MARK = "made_from.json"


class Loaded(NamedTuple):
    """A model and its tokenizer.

    Attributes:
        model: Plain Hugging Face model, evaluation mode, float32.
        tokenizer: Its fast tokenizer.
    """

    model: Any
    tokenizer: Any


def cache() -> Path:
    """Where are models kept that were made once?

    Returns:
        ``$PERSONA_INTERP_CACHE``, or a folder in the user's cache.
    """
    return Path(os.environ.get("PERSONA_INTERP_CACHE") or Path.home() / ".cache" / "persona_interp")


def resolve(
    start: str | Path | Checkpoint,
    *,
    words: Iterable[str] = (),
    seed: int = 0,
    chat_template: str | None = None,
    out: str | Path | None = None,
) -> Checkpoint:
    """Where are the weights that this name means?

    Args:
        start: "tiny", a model folder, a ``.gguf`` file, a hub id ``"org/name"`` or ``"org/name@revision"``, or a
            checkpoint, which is returned as it is.
        words: What the tiny model shall know.
        seed: Seed of the tiny model's random weights.
        chat_template: Chat template for a model that has none; such a model is copied with it.
        out: Folder for a model that has to be made; a cache folder by default.

    Returns:
        The checkpoint.

    Raises:
        ModelError: Nothing usable is there, or ``out`` holds another model.
    """
    if isinstance(start, Checkpoint):
        return start
    out = None if out is None else Path(out)
    if start == "tiny":
        return Checkpoint(_tiny(tuple(sorted(set(words))), seed=seed, out=out), seed=seed)
    path = Path(start).expanduser()
    if path.suffix == ".gguf":
        folder = _dequantized(path)
    elif path.exists():
        folder = path
    else:
        folder = _from_hub(str(start))
    _check_folder(folder)
    if chat_template is not None:
        folder = _templated(folder, chat_template, out)
    return Checkpoint(folder, seed=seed)


def load(checkpoint: Checkpoint, *, attention: str = "sdpa") -> Loaded:
    """What is the model of this checkpoint?

    Args:
        checkpoint: Where the weights are.
        attention: Attention implementation, "sdpa" or "eager".

    Returns:
        The plain Hugging Face model in evaluation mode and float32, and its tokenizer.

    Raises:
        ModelError: A file is missing or cannot be read.
    """
    _check_folder(checkpoint.path)
    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(
                checkpoint.path, dtype=torch.float32, attn_implementation=attention, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{checkpoint.path} is not a loadable causal language model: {first}") from error
    return Loaded(model.eval(), load_tokenizer(checkpoint))


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """How does this checkpoint read text?

    Args:
        checkpoint: Where the weights are; they are not loaded.

    Returns:
        Its fast tokenizer.

    Raises:
        ModelError: A file is missing or cannot be read.
    """
    _check_folder(checkpoint.path)
    with quiet():
        try:
            return AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{checkpoint.path} has no loadable tokenizer: {first}") from error


def hash_weights(checkpoint: Checkpoint) -> str:
    """Are these the same weights, bit for bit?

    Args:
        checkpoint: Where the weights are.

    Returns:
        sha256 over the safetensors files (hex).

    Raises:
        ModelError: There are none.
    """
    _check_folder(checkpoint.path)
    digest = hashlib.sha256()
    for file in sorted(checkpoint.path.glob("*.safetensors")):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def check_tokenizers(trajectory: Trajectory) -> None:
    """Do all checkpoints of a trajectory read text alike?

    Args:
        trajectory: Checkpoints to compare with the first one.

    Raises:
        ModelError: The vocabularies or chat templates differ; the message names the first token that does.
    """
    first = AutoTokenizer.from_pretrained(trajectory.first.path, local_files_only=True)
    known = {i: token for token, i in first.get_vocab().items()}
    for checkpoint in list(trajectory)[1:]:
        other = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
        found = {i: token for token, i in other.get_vocab().items()}
        for i in range(max(*known, *found) + 1):
            if known.get(i) != found.get(i):
                raise ModelError(
                    f"{trajectory.first.label} and {checkpoint.label} read text differently: token {i} is "
                    f"{known.get(i)!r} in one and {found.get(i)!r} in the other. Compare checkpoints of one tokenizer."
                )
        if first.chat_template != other.chat_template:
            raise ModelError(
                f"{trajectory.first.label} and {checkpoint.label} have different chat templates; use one for both."
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Where do transformers' own progress bars stay silent? Inside this block."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def made_once(folder: Path, key: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """Where is the folder that ``make`` fills, made now or before?

    Args:
        folder: Its final place; it appears there only when complete.
        key: What it is made from, JSON-able; kept beside the files.
        make: Fills an empty folder.

    Returns:
        The folder.

    Raises:
        ModelError: The place is taken by something else.
    """
    mark = folder / MARK
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            make(made)
            (made / MARK).write_text(json.dumps(key, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            made.chmod(0o755)
            if not folder.exists() or not any(folder.iterdir()):
                made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    if not mark.is_file() or json.loads(mark.read_text(encoding="utf-8")) != json.loads(json.dumps(key)):
        raise ModelError(f"{folder} holds something else, and nothing was overwritten; choose an empty or new folder.")
    return folder


def short_hash(value: Any) -> str:
    """Which short name stands for this JSON-able value? Returns 16 hex digits of its sha256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _tiny(words: tuple[str, ...], *, seed: int, out: Path | None) -> Path:
    if not words:
        raise ModelError('the "tiny" start needs the words it shall know; give words=world.words().')
    key = {"start": "tiny", "words": list(words), "seed": seed}

    def make(folder: Path) -> None:
        with quiet():
            write_tiny(folder, words, seed=seed)

    return made_once(out or cache() / "tiny" / short_hash(key), key, make)


def _dequantized(path: Path) -> Path:
    """A GGUF file as a plain float32 folder, made once."""
    if not path.is_file():
        raise ModelError(f"there is no file {path}; `make model` fetches a GGUF model and prints where it is.")
    with path.open("rb") as handle:
        key = {"start": "gguf", "sha256": hashlib.file_digest(handle, "sha256").hexdigest()}

    def make(folder: Path) -> None:
        with quiet():
            try:
                tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
                model: Any = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
            except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
                raise ModelError(f"{path} is not a GGUF language model that transformers can read: {error}") from error
            # transformers refuses to save what it believes to be quantized still
            del model.config.quantization_config
            model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    return made_once(cache() / "gguf" / key["sha256"][:16], key, make)


def _from_hub(name: str) -> Path:
    repo, _, revision = name.partition("@")
    wanted = f"'tiny', a model folder, a .gguf file or a hub id like 'org/name@revision'; got '{name}'"
    try:
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(HUB_FILES)))
    except HFValidationError as error:
        raise ModelError(f"a start is {wanted}, and no such folder exists.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"a start is {wanted}, which is no local folder, is not in the hub cache and could not be fetched "
            f"({type(error).__name__}). Check the spelling, go online once, or give the path of a saved folder."
        ) from error


def _check_folder(folder: Path) -> None:
    fix = "save it there with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}; {fix}")
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter without its model; merge it first (PEFT merge_and_unload) and {fix}"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} lacks config.json, so it is no model folder; {fix}")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(f"{folder} lacks its tokenizer (tokenizer.json); {fix}")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} lacks its weights (model.safetensors); {fix}")


def _templated(folder: Path, template: str, out: Path | None) -> Path:
    """The folder itself if it has a chat template, else a copy that has this one."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is not None:
        return folder
    key = {"start": "template", "weights": hash_weights(Checkpoint(folder)), "chat_template": template}

    def make(copy: Path) -> None:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(copy)

    return made_once(out or cache() / "templated" / short_hash(key), key, make)
