"""How is an experiment written into a run folder, and read back?"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from persona_interp.experiments.wings import wing_of, wing_of_config
from persona_interp.schema.words import DTYPE_CHOICE, MACHINE, TEMPLATE_DAY


def to_dict(experiment: Any) -> dict[str, Any]:
    """Plain values that say the same as an experiment.

    Args:
        experiment: The experiment.

    Returns:
        JSON-able, with its name as ``experiment`` and, of a user's own, the folder of its file as
        ``source``; ``from_dict`` reverses it.

    >>> from persona_interp.experiments import preset
    >>> to_dict(preset("quick"))["experiment"]
    'transfer'
    """
    wing = wing_of(experiment)
    source = {"source": wing.source} if wing.source else {}
    return {"experiment": wing.name, **source, **_plain(experiment)}


def from_dict(config: Mapping[str, Any]) -> Any:
    """Experiment that these plain values describe.

    Args:
        config: From ``to_dict``, possibly through JSON.

    Returns:
        The experiment.

    Raises:
        StoreError: There is no such experiment.

    >>> from persona_interp.experiments import preset
    >>> from_dict(to_dict(preset("quick"))) == preset("quick")
    True
    """
    wing = wing_of_config(config)
    about = ("experiment", "source", DTYPE_CHOICE, TEMPLATE_DAY, MACHINE)
    values = {key: value for key, value in config.items() if key not in about}
    return _from_plain(values, wing.experiment_class)


def _plain(value: Any) -> Any:
    """JSON-able form of a field; what has ``to_dict`` says it itself."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _from_plain(value: Any, hint: Any) -> Any:
    """Value that a field of this type holds; in plain form tuples are lists, objects mappings."""
    options = [hint, *get_args(hint)]
    if isinstance(value, Mapping):
        return _object_from_plain(value, options)
    if not isinstance(value, list | tuple):
        return value
    if hasattr(hint, "_fields"):  # a NamedTuple
        return hint(*value)
    tuples = [option for option in options if get_origin(option) is tuple]
    items = get_args(tuples[0] if tuples else tuple[Any, ...])
    each = [items[0]] * len(value) if items[-1] is Ellipsis else items
    return tuple(_from_plain(item, kind) for item, kind in zip(value, each, strict=True))


def _object_from_plain(value: Mapping[str, Any], options: list[Any]) -> Any:
    """The mapping itself, or an object of the dataclass among these types."""
    classes = [option for option in options if is_dataclass(option)]
    if not classes:
        return value
    cls: Any = classes[0]
    if hasattr(cls, "from_dict"):
        return cls.from_dict(value)
    hints = get_type_hints(cls)
    return cls(**{key: _from_plain(item, hints[key]) for key, item in value.items()})
