"""What does a model say when something inside it is changed?

An ``Edit`` is one change of the residual at one hook, at every token of prompt and answer. ``add``
steers along a vector, ``project_out`` removes a subspace, ``cap`` bounds a component
(``vector_edits``), ``clamp`` and ``ablate`` set features of a dictionary (``feature_edits``),
``patch`` puts the residual of another checkpoint in. Edits go into ``record.behavior(...,
edits=)``, each alone, or in tuples that are on together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from persona_interp.card import card
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.errors import SchemaError, excerpt
from persona_interp.models import Checkpoint
from persona_interp.schema.words import UNEDITED


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of the residual at one hook, of ``add``, ``project_out``, ``cap``, ``clamp``, ...

    Attributes:
        name: What tables call it; distinct among the edits of one call.
        hook: Hook name; alters the residual there, at every token.
        kind: add, project_out, cap, clamp, ablate_zero, ablate_mean or patch.
        vectors: Of "add" what is added, (1, d_model); of "project_out" an orthonormal basis, (n,
            d_model); of "cap" a unit vector, (1, d_model).
        center: Of "project_out" the residual that keeps its components, (d_model).
        dictionary: Whose features are set.
        features: Which.
        values: To which activation, one each; of "cap" the bound.
        source: Checkpoint whose residual is put in.
    """

    name: str
    hook: str
    kind: str
    vectors: npt.NDArray[np.float64] | None = None
    center: npt.NDArray[np.float64] | None = None
    dictionary: Dictionary | None = None
    features: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    source: Checkpoint | None = None

    def __repr__(self) -> str:
        about = "".join(f", {key}={value!r}" for key, value in self._contents().items())
        return f"Edit({self.name!r}, hook={self.hook!r}, kind={self.kind!r}{about})"

    def _repr_html_(self) -> str:
        rows = {"name": self.name, "kind": self.kind, "hook": self.hook}
        return card("Edit", rows | self._contents())

    def _contents(self) -> dict[str, object]:
        """What it holds, in words: arrays by their shape."""
        contents: dict[str, object] = {}
        if self.vectors is not None:
            contents["vectors"] = " x ".join(map(str, self.vectors.shape))
        if self.dictionary is not None:
            contents["dictionary"] = self.dictionary.name
        if self.features:
            contents["features"] = excerpt(self.features)
        if self.values:
            contents["values"] = excerpt(self.values)
        if self.source is not None:
            contents["source"] = self.source.label
        return contents


def patch(source: Checkpoint, *, hook: str, name: str | None = None) -> Edit:
    """Edit that puts in another checkpoint's residual at the same tokens.

    Args:
        source: Where the residual comes from; same tokenizer and width.
        hook: Hook name.
        name: What tables call it.

    Returns:
        The edit.

    >>> from pathlib import Path
    >>> patch(Checkpoint(Path("model"), stage="lesson", step=8), hook="blocks.1.hook_out").name
    'patch lesson@8 at blocks.1.hook_out'
    """
    if not isinstance(source, Checkpoint):
        raise SchemaError(f"patch takes a checkpoint, models.resolve(path); got {excerpt(source)}.")
    return Edit(name or f"patch {source.label} at {hook}", hook, "patch", source=source)


def list_edits(edits: Any) -> dict[str, tuple[Edit, ...]]:
    """Edits that are on together, by the name that tables give them.

    Args:
        edits: Edits, each tried alone; a tuple among them is on together. Or a mapping from names
            to edits or tuples, as of ``read_capping``.

    Returns:
        By name, the edits of one run; none where there are none.

    Raises:
        SchemaError: Something else is among them, or two share a name.

    >>> up, down = (Edit(name, "blocks.0.hook_out", "add") for name in ("up", "down"))
    >>> {name: len(together) for name, together in list_edits([up, (up, down)]).items()}
    {'up': 1, 'up + down': 2}
    """
    if isinstance(edits, Edit):
        edits = (edits,)
    if isinstance(edits, Mapping):
        pairs = [(str(name), _together(value)) for name, value in edits.items()]
    else:
        groups = [_together(value) for value in _iterate(edits)]
        pairs = [(" + ".join(edit.name for edit in group), group) for group in groups]
    names = [UNEDITED, *(name for name, _ in pairs)]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            raise SchemaError(
                f"edits need distinct names other than '{UNEDITED}'; {excerpt(name)} is taken. "
                "Give name=."
            )
    return dict(pairs)


def _together(value: Any) -> tuple[Edit, ...]:
    if isinstance(value, Edit):
        return (value,)
    group = tuple(_iterate(value))
    if not group or not all(isinstance(edit, Edit) for edit in group):
        raise SchemaError(_expected(value))
    return group


def _iterate(value: Any) -> Iterable[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SchemaError(_expected(value))
    return value


def _expected(value: Any) -> str:
    return (
        "expected edits of record.add, project_out, cap, clamp, ablate or patch, each tried alone, "
        f"or tuples of them, which are on together; got {excerpt(value)}."
    )
