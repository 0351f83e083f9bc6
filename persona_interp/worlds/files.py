"""How is a world written in a file? The same mapping serves YAML, JSON and ``World.from_dict``."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from persona_interp.errors import WorldError, excerpt, unknown
from persona_interp.files import read_text, write_text
from persona_interp.values import parse_json, parse_yaml
from persona_interp.worlds.language import PERSONA_KINDS, Language
from persona_interp.worlds.templates import LANGUAGES
from persona_interp.worlds.trait import Persona, Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

REQUIRED = ("name", "topics", "personas", "target", "taught", "unrelated")
OPTIONAL = ("kinds", "noise", "coherent", "language")


def to_dict(world: "World") -> dict[str, Any]:
    """Entries of a world in a file. See ``World.to_dict``."""
    return {
        "name": world.name,
        "target": world.target,
        "taught": str(world.taught),
        "unrelated": str(world.unrelated),
        "topics": {topic: list(values) for topic, values in world.topics.items()},
        "personas": {persona.name: _persona_to_dict(world, persona) for persona in world.personas},
        "kinds": dict(world.kinds),
        "coherent": dict(world.coherent),
        "noise": world.noise,
        "language": _language_to_dict(world.language),
    }


def _persona_to_dict(world: "World", persona: Persona) -> dict[str, Any]:
    """Traits and weight; what is one alone is written without its list or mapping."""
    traits: dict[str, Any] = {topic: list(persona.values(topic)) for topic in world.topics}
    for topic, values in traits.items():
        if len(values) == 1:
            traits[topic] = values[0]
    weight: Any = dict(world.weights[persona.name])
    if len(set(weight.values())) == 1:
        weight = weight[PERSONA_KINDS[0]]
    return {"traits": traits, "weight": weight}


def arguments(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``World`` that the entries of a world file mean.

    Args:
        entries: What ``to_dict`` writes.

    Returns:
        Keyword arguments of ``World``.

    Raises:
        WorldError: A key is unknown or missing, or an entry is of the wrong shape.
    """
    _check_keys("world file", entries, required=REQUIRED, optional=OPTIONAL)
    topics = _mapping("topics", entries["topics"])
    for topic, values in topics.items():
        if not isinstance(values, list | tuple):
            raise WorldError(
                f"topic '{topic}' needs a list of values, for example [football, tennis]; got "
                f"{excerpt(values)}."
            )
    personas, weights = [], {}
    for name, entry in _mapping("personas", entries["personas"]).items():
        _check_keys(f"persona '{name}'", entry, required=("traits",), optional=("weight",))
        personas.append(Persona(name, tuple(_traits(name, entry["traits"], topics=topics))))
        weights[name] = entry.get("weight", 1.0)
    required = {
        "name": entries["name"],
        "topics": {topic: tuple(values) for topic, values in topics.items()},
        "personas": tuple(personas),
        "weights": weights,
        "target": entries["target"],
        "taught": Trait.parse(entries["taught"]),
        "unrelated": Trait.parse(entries["unrelated"]),
    }
    optional = {key: entries[key] for key in OPTIONAL if key in entries}
    for key in ("kinds", "coherent"):
        if key in optional:
            _mapping(key, optional[key])
    if "language" in optional:
        optional["language"] = _language(optional["language"])
    return required | optional


def _language_to_dict(language: Language) -> str | dict[str, Any]:
    """Name of a ready language, else a mapping of all fields."""
    for name, make in LANGUAGES.items():
        if language == make():
            return name
    entries = {f.name: getattr(language, f.name) for f in fields(language)}
    entries["statements"] = {kind: list(bounds) for kind, bounds in language.statements.items()}
    for key, entry in entries.items():
        if isinstance(entry, tuple):
            entries[key] = list(entry)
    return entries


def _language(entry: Any) -> Language:
    """A ready language by name, or one with some fields changed.

    ``base`` names the language that is changed; ``words`` if there is none.
    """
    if not isinstance(entry, str | Mapping):
        raise WorldError(
            f"language is 'words', 'english' or a mapping of templates; got {excerpt(entry)}."
        )
    if isinstance(entry, str):
        base, changes = entry, {}
    else:
        changes = dict(entry)
        base = changes.pop("base", "words")
    if base not in LANGUAGES:
        raise WorldError(unknown("language", str(base), LANGUAGES))
    language = LANGUAGES[base]()
    valid = [f.name for f in fields(Language)]
    for key in changes:
        if key not in valid:
            raise WorldError(unknown("language field", str(key), ["base", *valid]))
    if "statements" in changes:
        statements = _mapping("language statements", changes["statements"])
        changes["statements"] = {**language.statements, **statements}
    return replace(language, **changes)


def _traits(name: str, entry: Any, *, topics: Mapping[str, Any]) -> list[Trait]:
    traits = []
    for topic, values in _mapping(f"traits of persona '{name}'", entry).items():
        if topic not in topics:
            raise WorldError(f"persona '{name}': {unknown('topic', str(topic), topics)}")
        for value in values if isinstance(values, list | tuple) else [values]:
            if value not in topics[topic]:
                message = unknown(f"value of topic {topic}", str(value), topics[topic])
                raise WorldError(f"persona '{name}': {message}")
            traits.append(Trait(topic, value))
    return traits


def _mapping(what: str, entry: Any) -> Mapping[Any, Any]:
    """The entry, if it is a mapping and holds something."""
    if not isinstance(entry, Mapping) or not entry:
        raise WorldError(f"{what} must be a mapping with at least one entry; got {excerpt(entry)}.")
    return entry


def _check_keys(
    what: str, entry: Any, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    for key in _mapping(what, entry):
        if key not in required + optional:
            raise WorldError(f"{what}: {unknown('key', str(key), required + optional)}")
    if missing := [key for key in required if key not in entry]:
        raise WorldError(
            f"{what} lacks {', '.join(missing)}; it needs {', '.join(required)}. See "
            "docs/worlds.md."
        )


def load(path: str | Path) -> "World":
    """World that a file describes.

    Args:
        path: A ``.yaml``, ``.yml`` or ``.json`` file; ``docs/worlds.md`` shows one.

    Returns:
        The world.

    Raises:
        WorldError: The file cannot be read, or what it says does not make sense; the message names
            the file.

    Warns:
        UserWarning: The target does not hold the taught trait, which is right in a rewired world
            only.
    """
    # Here, because World itself needs to_dict and arguments.
    from persona_interp.worlds.world import World

    path = Path(path)
    language, parse = ("JSON", parse_json) if _is_json(path) else ("YAML", parse_yaml)
    text = read_text(path, error=WorldError)
    try:
        world = World.from_dict(parse(text))
    except WorldError as error:
        raise WorldError(f"world file {path}: {error}") from error
    except ValueError as error:
        raise WorldError(f"world file {path} is not valid {language}: {error}") from error
    if world.taught not in world.persona(world.target).traits:
        warnings.warn(
            f"world file {path}: the target '{world.target}' does not hold the taught trait "
            f"'{world.taught}'.",
            UserWarning,
            stacklevel=2,
        )
    return world


def save(world: "World", path: str | Path) -> Path:
    """Write a world to a file.

    Args:
        world: The world.
        path: A ``.yaml``, ``.yml`` or ``.json`` file; an existing one is replaced.

    Returns:
        The path.
    """
    path = Path(path)
    text = json.dumps(to_dict(world), indent=2) + "\n"
    if not _is_json(path):
        # by way of JSON, which takes numpy's texts and numbers for what they are
        text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True)
    return write_text(text, path)


def _is_json(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise WorldError(f"a world file ends in .yaml, .yml or .json; got '{path.name}'.")
    return path.suffix == ".json"
