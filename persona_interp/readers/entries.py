"""Is this entry of a file as it should be?"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from persona_interp.errors import SchemaError, excerpt, is_misspelt, unknown


def check_keys(
    what: str, value: Any, *, required: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, Any]:
    """Check the keys of an object, and give its entries beside the known ones.

    Published files carry keys of their own, so these are kept. A key that is nearly a known one is
    a typing error.

    Args:
        what: Its name, for messages.
        value: A value from a JSON file.
        required: Keys it must hold.
        optional: Keys it may hold.

    Returns:
        Its other entries.

    Raises:
        SchemaError: It is no object, lacks a key, or has one misspelled.

    >>> check_keys("a.json", {"eval_promt": ""}, required=["questions"], optional=["eval_prompt"])
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.json: key 'eval_promt' is unknown; \
did you mean 'eval_prompt'? Valid: 'questions', 'eval_prompt'.
    """
    required = tuple(required)
    valid = (*required, *optional)
    if not isinstance(value, Mapping):
        raise SchemaError(
            f"{what}: expected an object with {', '.join(required)}; got {excerpt(value)}."
        )
    extra = {key: entry for key, entry in value.items() if key not in valid}
    absent = [key for key in valid if key not in value]
    for key in extra:
        # Only a key that is not there itself can have been misspelled.
        if is_misspelt(str(key), absent):
            raise SchemaError(f"{what}: {unknown('key', str(key), valid)}")
    if missing := [key for key in required if key not in value]:
        own = ", ".join(map(str, value)) or "no keys"
        raise SchemaError(f"{what} lacks {', '.join(missing)}; it has {own}.")
    return extra


def strings(what: str, value: Any, *, least: int = 1) -> tuple[str, ...]:
    """Texts of a list, each once.

    Args:
        what: Its name, for messages.
        value: A value from a JSON file.
        least: Smallest number of texts.

    Returns:
        The texts, as they are written.

    Raises:
        SchemaError: It is no list, too short, or an entry is no text, blank or there twice.

    >>> strings("a.json: questions", ["Why?", "Why?"])
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.json: questions: entries 0 and 1 are the same: 'Why?'.
    """
    if not isinstance(value, list) or len(value) < least:
        texts = "text" if least <= 1 else "texts"
        raise SchemaError(
            f"{what}: expected a list of at least {least} {texts}; got {excerpt(value)}."
        )
    numbers: dict[str, int] = {}
    for number, entry in enumerate(value):
        if not isinstance(entry, str) or not entry.strip():
            raise SchemaError(f"{what}: entry {number} must be a text; got {excerpt(entry)}.")
        text = entry.strip()
        if text in numbers:
            raise SchemaError(
                f"{what}: entries {numbers[text]} and {number} are the same: {excerpt(entry)}."
            )
        numbers[text] = number
    return tuple(value)


def eval_prompt(path: Path, entries: Mapping[str, Any]) -> str:
    """Prompt with which a trait or role file asks a judge.

    Args:
        path: The file, for messages.
        entries: What it holds.

    Returns:
        The prompt; '' if there is none.

    Raises:
        SchemaError: It is no text.
    """
    prompt = entries.get("eval_prompt", "")
    if not isinstance(prompt, str):
        raise SchemaError(f"{path}: eval_prompt must be a text; got {excerpt(prompt)}.")
    return prompt
