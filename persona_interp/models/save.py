"""How is a model written into a folder, for every other tool to read?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from persona_interp.errors import ModelError


def save_model(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Save a model and its tokenizer as transformers does.

    Args:
        model: A Hugging Face model.
        tokenizer: Its tokenizer.
        folder: Where; one that is renamed when it is whole.

    Returns:
        The folder.

    Raises:
        ModelError: The weights cannot be written, as on a full disk; safetensors has an error of
            its own for that.
    """
    with writing(folder):
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what safetensors means by its own error while weights are written.

    Args:
        folder: Where they go.

    Yields:
        Nothing.

    Raises:
        ModelError: The weights cannot be written, as on a full disk.
    """
    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"the weights cannot be written into {folder}: {error}. Free some space and start "
            "again; what was finished stays."
        ) from error
