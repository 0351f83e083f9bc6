"""Does a configuration say one thing about each thing?

Where it says two, every library takes one of them without a word, and not the same one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from persona_interp.errors import LONGEST, ModelError, excerpt

ROTATIONS = ("rope_parameters", "rope_scaling")
"""Where a configuration states its rotary settings, beside the top."""
BY_ATTENTION = {"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"}
"""What the top calls the base of the rotations that are stated for each kind of attention."""
OLDER = {"type": "rope_type"}
"""Rotary settings by their older name."""
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def check_statements(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that contradicts itself.

    Args:
        file: Where it stands, for the message.
        config: Its entries.

    Raises:
        ModelError: It states a setting twice and otherwise (under two names, at two places), is of
            an architecture of another family, or is of an encoder and a decoder.
    """
    for part in _parts(config):
        _check_rotations(file, part)
        _check_names(file, part)
    _check_architecture(file, config)
    if config.get("is_encoder_decoder"):
        raise ModelError(
            f"{file} says that the model has an encoder (is_encoder_decoder); this package reads "
            "models of a decoder alone."
        )


def check_tokens(file: Path, settings: Mapping[str, Any]) -> None:
    """Refuse ids of tokens that are none.

    Args:
        file: A generation_config.json, for the message.
        settings: Its entries.

    Raises:
        ModelError: An id is neither a whole number nor a list of some.
    """
    for key in TOKENS:
        value = settings.get(key)
        ids = value if isinstance(value, list) else [value]
        if value is not None and not all(type(one) is int for one in ids):
            raise ModelError(
                f"{file}: {key} is the id of a token, or a list of ids; got {excerpt(value)}. "
                "Correct it, or remove the entry."
            )


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration, and those of the models inside it."""
    yield config
    for value in config.values():
        if isinstance(value, Mapping) and "model_type" in value:
            yield from _parts(value)


def _check_rotations(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse rotary settings that are stated twice and differ."""
    stated: dict[str, Any] = {}
    places = [config.get(place) for place in ROTATIONS]
    inner = [place for place in places if isinstance(place, Mapping)]
    for place in inner:
        for key, value in place.items():
            _state(stated, OLDER.get(str(key), str(key)), value, file=file)
            if key in BY_ATTENTION and isinstance(value, Mapping):
                _state(stated, BY_ATTENTION[key], value.get("rope_theta"), file=file)
    for key in stated.keys() & config.keys():
        _state(stated, key, config[key], file=file)


def _state(stated: dict[str, Any], key: str, value: Any, *, file: Path) -> None:
    """Note what a setting is, or refuse it where it was said to be something else."""
    if value is not None and stated.setdefault(key, value) != value:
        raise ModelError(
            f"{file} states {key[:LONGEST]} twice, as {excerpt(stated[key])} and as "
            f"{excerpt(value)}; keep the one that the model was trained with."
        )


def _check_names(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse settings that are stated under two names and differ (n_head, num_attention_heads)."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return
    stated: dict[str, tuple[str, Any]] = {}
    names = CONFIG_MAPPING[kind].attribute_map
    for key, value in config.items():
        first, other = stated.setdefault(names.get(key, key), (key, value))
        if None not in (value, other) and value != other:
            raise ModelError(
                f"{file} states one setting twice, {first} as {excerpt(other)} and {key} as "
                f"{excerpt(value)}; keep the one that the model was trained with."
            )


def _check_architecture(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse an architecture that is a language model of another family than model_type."""
    kind, classes = config.get("model_type"), config.get("architectures")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING or not isinstance(classes, list):
        return
    for name in classes:
        owners = [one for one, its in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items() if its == name]
        homes = {CONFIG_MAPPING[owner].__module__ for owner in owners}
        if homes and CONFIG_MAPPING[kind].__module__ not in homes:
            raise ModelError(
                f"{file} is of the model_type {excerpt(kind)} and of the architecture "
                f"{excerpt(name)}, which is of {excerpt(min(owners, key=len))}; keep the two of "
                "the model that was trained."
            )
