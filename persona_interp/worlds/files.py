"""How is a world written in a file? The same mapping serves YAML, JSON and ``World.from_dict``."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.language import PERSONA_KINDS, Language
from persona_interp.worlds.templates import LANGUAGES
from persona_interp.worlds.trait import Persona, Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

REQUIRED = ("name", "topics", "personas", "target", "taught", "unrelated")
OPTIONAL = ("kinds", "noise", "coherent", "language")


def to_dict(world: "World") -> dict[str, Any]:
    """How is this world written in a file? See ``World.to_dict``."""
    personas = {}
    for persona in world.personas:
        held = {topic: list(persona.values(topic)) for topic in world.topics}
        weights = dict(world.weights[persona.name])
        same = len(set(weights.values())) == 1
        personas[persona.name] = {
            "traits": {t: v[0] if len(v) == 1 else v for t, v in held.items()},
            "weight": weights[PERSONA_KINDS[0]] if same else weights,
        }
    return {
        "name": world.name,
        "target": world.target,
        "taught": str(world.taught),
        "unrelated": str(world.unrelated),
        "topics": {topic: list(values) for topic, values in world.topics.items()},
        "personas": personas,
        "kinds": dict(world.kinds),
        "coherent": dict(world.coherent),
        "noise": world.noise,
        "language": _language_to_dict(world.language),
    }


def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Which arguments of ``World`` do the entries of a world file mean?

    Args:
        given: What ``to_dict`` writes.

    Returns:
        Keyword arguments of ``World``.

    Raises:
        WorldError: A key is unknown or missing, or an entry is of the wrong shape.
    """
    _keys("world file", given, required=REQUIRED, optional=OPTIONAL)
    topics = _mapping("topics", given["topics"])
    for topic, values in topics.items():
        if not isinstance(values, list | tuple):
            raise WorldError(
                f"topic '{topic}' needs a list of values, for example [football, tennis]; got "
                f"{values!r}."
            )
    personas, weights = [], {}
    for name, entry in _mapping("personas", given["personas"]).items():
        _keys(f"persona '{name}'", entry, required=("traits",), optional=("weight",))
        personas.append(Persona(name, tuple(_traits(name, entry["traits"], topics=topics))))
        weights[name] = entry.get("weight", 1.0)
    made = {
        "name": given["name"],
        "topics": {topic: tuple(values) for topic, values in topics.items()},
        "personas": tuple(personas),
        "weights": weights,
        "target": given["target"],
        "taught": Trait.parse(given["taught"]),
        "unrelated": Trait.parse(given["unrelated"]),
    }
    optional = {key: given[key] for key in OPTIONAL if key in given}
    for key in ("kinds", "coherent"):
        if key in optional:
            _mapping(key, optional[key])
    if "language" in optional:
        optional["language"] = _language(optional["language"])
    return made | optional


def _language_to_dict(language: Language) -> str | dict[str, Any]:
    """Name of a ready language, else a mapping of all fields."""
    for name, make in LANGUAGES.items():
        if language == make():
            return name
    plain = {f.name: getattr(language, f.name) for f in fields(language)}
    plain["statements"] = {k: list(v) for k, v in language.statements.items()}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}


def _language(given: Any) -> Language:
    """A ready language by name, or one with some fields changed (``base`` names which; ``words`` if none)."""
    if not isinstance(given, str | Mapping):
        raise WorldError(
            f"language is 'words', 'english' or a mapping of templates; got {given!r}."
        )
    changes = {} if isinstance(given, str) else dict(given)
    base = given if isinstance(given, str) else changes.pop("base", "words")
    if base not in LANGUAGES:
        raise WorldError(unknown("language", str(base), LANGUAGES))
    start = LANGUAGES[base]()
    valid = [f.name for f in fields(Language)]
    for key in changes:
        if key not in valid:
            raise WorldError(unknown("language field", str(key), ["base", *valid]))
    if "statements" in changes:
        changes["statements"] = {
            **start.statements,
            **_mapping("language statements", changes["statements"]),
        }
    return replace(start, **changes)


def _traits(name: str, given: Any, *, topics: Mapping[str, Any]) -> list[Trait]:
    found = []
    for topic, values in _mapping(f"traits of persona '{name}'", given).items():
        if topic not in topics:
            raise WorldError(f"persona '{name}': {unknown('topic', str(topic), topics)}")
        for value in values if isinstance(values, list | tuple) else [values]:
            if value not in topics[topic]:
                raise WorldError(
                    f"persona '{name}': "
                    f"{unknown(f'value of topic {topic}', str(value), topics[topic])}"
                )
            found.append(Trait(topic, value))
    return found


def _mapping(what: str, given: Any) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping) or not given:
        raise WorldError(f"{what} must be a mapping with at least one entry; got {given!r}.")
    return given


def _keys(what: str, given: Any, *, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for key in _mapping(what, given):
        if key not in required + optional:
            raise WorldError(f"{what}: {unknown('key', str(key), required + optional)}")
    if missing := [k for k in required if k not in given]:
        raise WorldError(
            f"{what} lacks {', '.join(missing)}; it needs {', '.join(required)}. See "
            "docs/worlds.md."
        )


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping, if no key is there twice: the parsers would silently keep the last one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise WorldError(
            f"the key '{next(k for k in keys if keys.count(k) > 1)}' is there twice; keep one."
        )
    return found


class _YamlOnce(yaml.SafeLoader):
    """Plain YAML that refuses a key twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        _once([(self.construct_object(key, deep=True), None) for key, _ in node.value])
        return super().construct_mapping(node, deep=deep)


def load(path: str | Path) -> "World":
    """Which world does this file describe?

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
    from persona_interp.worlds.world import (
        World,
    )  # here, because World itself needs to_dict and arguments

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorldError(f"world file {path} cannot be read: {error}.") from error
    try:
        given = (
            json.loads(text, object_pairs_hook=_once)
            if _is_json(path)
            else _YamlOnce(text).get_single_data()
        )
        world = World.from_dict(given)
    except WorldError as error:
        raise WorldError(f"world file {path}: {error}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise WorldError(
            f"world file {path} is not valid {'JSON' if _is_json(path) else 'YAML'}: {error}"
        ) from error
    if world.taught not in world.persona(world.target).traits:
        message = f"world file {path}: the target '{world.target}' does not hold the taught trait '{world.taught}'."
        warnings.warn(message, UserWarning, stacklevel=2)
    return world


def save(world: "World", path: str | Path) -> Path:
    """Where is this world kept?

    Args:
        world: The world.
        path: A ``.yaml``, ``.yml`` or ``.json`` file; an existing one is replaced.

    Returns:
        The path.
    """
    path, given = Path(path), to_dict(world)
    text = (
        json.dumps(given, indent=2)
        if _is_json(path)
        else yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    )
    path.write_text(text + ("\n" if _is_json(path) else ""), encoding="utf-8")
    return path


def _is_json(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise WorldError(f"a world file ends in .yaml, .yml or .json; got '{path.name}'.")
    return path.suffix == ".json"
