"""Does a folder hold a whole model and its tokenizer? Asked before anything is loaded."""

from pathlib import Path

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from persona_interp.errors import ModelError, quote_path
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.configuration import CONFIG, read_configuration
from persona_interp.models.weight_files import ADAPTER_WEIGHTS, INDEX, weight_files

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
ADAPTER_CONFIG = "adapter_config.json"
FIX = "save it there with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."


def check_folder(checkpoint: Checkpoint) -> None:
    """Refuse a folder that does not hold a whole model and its tokenizer.

    Args:
        checkpoint: Where the weights should be.

    Raises:
        ModelError: Something is missing; the message says what and how to save it.
    """
    folder = checkpoint.path
    if not is_folder(folder):
        raise ModelError(f"there is no model folder {quote_path(folder)}; {FIX}")
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} lacks {CONFIG}, so it is no model folder; {_inside(folder)}")
    if not holds_tokenizer(folder):
        raise ModelError(f"{folder} lacks its tokenizer (tokenizer.json); {FIX}")
    if not holds_weights(folder) and any(folder.glob("*.bin")):
        raise ModelError(
            f"{folder} holds its weights as pickled .bin files, which could run code when opened; "
            "convert them once: AutoModelForCausalLM.from_pretrained(folder)"
            ".save_pretrained(new_folder), the tokenizer likewise."
        )
    if not weight_files(folder):
        raise ModelError(f"{folder} lacks its weights (model.safetensors); {FIX}")
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{folder} holds a whole model and an adapter ({ADAPTER_CONFIG}), so it is unclear "
            "which is meant; move the adapter's files into a folder of their own, and give that "
            "one with base= this model, or this one."
        )
    kind = read_configuration(folder)
    if (
        not checkpoint.trusted
        and "auto_map" in kind
        and kind.get("model_type") not in CONFIG_MAPPING
    ):
        raise ModelError(
            f"{folder} wants to run code of its own (model_type '{kind.get('model_type', '')}', "
            f"auto_map in {CONFIG}), which this package does not do unasked. If you read that code "
            'and trust it, allow this one model by name: trust=("org/name@<40-digit commit>",) for '
            'a hub id, trust=("the/folder",) for a folder.'
        )


def is_folder(path: Path) -> bool:
    """Whether this is a folder; a name that no file can have is none.

    Args:
        path: Any path.

    Returns:
        Whether a folder is there.
    """
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def holds_weights(folder: Path) -> bool:
    """Whether a folder holds weights of a whole model, not only of an adapter.

    Args:
        folder: Any folder.

    Returns:
        Whether there are safetensors beside those of an adapter, or an index of some.
    """
    if (folder / INDEX).is_file():
        return True
    return any(file.name != ADAPTER_WEIGHTS for file in folder.glob("*.safetensors"))


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer.

    Args:
        folder: Any folder.

    Returns:
        Whether one of a tokenizer's files is there.
    """
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def _inside(folder: Path) -> str:
    """Folders right inside that hold what was looked for, or how to save it here."""
    inside = []
    for name, thing in ((CONFIG, "model"), (ADAPTER_CONFIG, "adapter")):
        inside += [(file.parent, thing) for file in sorted(folder.glob(f"*/{name}"))]
    if not inside:
        return FIX
    nearest, thing = inside[0]
    others = f" (or one of {len(inside) - 1} more)" if len(inside) > 1 else ""
    return f"it holds the {thing} {nearest}{others}: name that one."
