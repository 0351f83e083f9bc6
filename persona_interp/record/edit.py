"""What does a model say when something inside it is changed?

An ``Edit`` is one change of what a hook holds, at every token of prompt and answer, or at those
that ``where`` names. ``add`` steers along a vector, ``project_out`` removes a subspace, ``cap``
bounds a component (``vector_edits``), ``clamp`` and ``ablate`` set features of a dictionary
(``feature_edits``), ``patch`` puts the residual of another checkpoint in. Edits go into ``edits=``
of ``record.behavior``, ``answers``, ``sample``, ``continuations``, ``trait_bits`` and
``projections``, each alone, or in tuples that are on together.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from persona_interp.card import card
from persona_interp.dictionaries import SparseDictionary, hash_dictionary
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.models import ROLES, Checkpoint
from persona_interp.models.inputs import as_checkpoint
from persona_interp.schema.words import GENERATED, UNEDITED
from persona_interp.values import as_tuple

EVERYWHERE: tuple[str, ...] = ()
"""Where an edit is on that names no roles: at every token."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of what one hook holds, of ``add``, ``project_out``, ``cap``, ``clamp``, ...

    Attributes:
        name: What tables call it; distinct among the edits of one call.
        hook: Hook name.
        kind: add, project_out, cap, clamp, ablate_zero, ablate_mean or patch.
        vectors: Of "add" what is added, (1, d_model); of "project_out" an orthonormal basis, (n,
            d_model); of "cap" a unit vector, (1, d_model).
        center: Of "project_out" the residual that keeps its components, (d_model).
        dictionary: Whose features are set.
        features: Which.
        values: To which activation, one each; of "cap" the bound.
        source: Checkpoint whose residual is put in.
        where: Roles of the tokens it is on at (``models.ROLES``); "generated" = those of the
            answer, drawn or given. None named: every token.
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
    where: tuple[str, ...] = EVERYWHERE

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", as_tuple(self.where))
        for role in self.where:
            if role not in (*ROLES, GENERATED):
                raise SchemaError(unknown("role", str(role), (*ROLES, GENERATED)))

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
        if self.where:
            contents["where"] = ", ".join(self.where)
        return contents


Edits = Edit | Sequence[Edit | Sequence[Edit]] | Mapping[str, Edit | Sequence[Edit]]
"""Edits that are tried one after the other; a sequence among them is on together."""


def patch(
    source: Checkpoint, *, hook: str, where: Iterable[str] = EVERYWHERE, name: str | None = None
) -> Edit:
    """Edit that puts in another checkpoint's residual at the same tokens.

    Args:
        source: Where the residual comes from; same tokenizer and width.
        hook: Hook name.
        where: Roles of the tokens it is on at, as of ``Edit``; every token by default.
        name: What tables call it.

    Returns:
        The edit. It needs tokens that are given: drawn text cannot be patched.

    >>> from pathlib import Path
    >>> patch(Checkpoint(Path("model"), stage="lesson", step=8), hook="blocks.1.hook_out").name
    'patch lesson@8 at blocks.1.hook_out'
    """
    if isinstance(source, str | Path):
        source = as_checkpoint(source)
    if not isinstance(source, Checkpoint):
        raise SchemaError(f"patch takes a checkpoint, models.resolve(path); got {excerpt(source)}.")
    where = as_tuple(where)
    name = name or name_edit(f"patch {source.label} at {hook}", where)
    return Edit(name, hook, "patch", source=source, where=where)


def refuse_patches(edits: Iterable[Edit]) -> None:
    """Refuse edits that need another checkpoint at the same tokens.

    Args:
        edits: Edits.

    Raises:
        SchemaError: A patch is among them.
    """
    for edit in edits:
        if edit.source is not None:
            raise SchemaError(
                f"'{edit.name}' puts in what another checkpoint holds at the same tokens, which is "
                "not run along here, and at drawn text is not there; patch answers that are given, "
                "record.behavior(..., edits=)."
            )


def name_edit(what: str, where: tuple[str, ...]) -> str:
    """Name of an edit that was given none.

    Args:
        what: What it does.
        where: Roles of the tokens it is on at.

    Returns:
        Both in words.

    >>> name_edit("add john +0.5", ("generated",))
    'add john +0.5 on generated'
    """
    return f"{what} on {', '.join(where)}" if where else what


def hash_edit(edit: Edit) -> str | None:
    """Hash of what an edit does, for telling stored answers apart.

    Args:
        edit: The edit; its name does not count.

    Returns:
        sha256 over its numbers and its dictionary (hex). None for a patch, and for a dictionary
        that is not one of ours: of those only the decoder is known.
    """
    parts: list[Any] = [edit.kind, edit.hook, sorted(edit.where), edit.features, edit.values]
    if edit.source is not None:
        return None
    if edit.dictionary is not None:
        if not isinstance(edit.dictionary, SparseDictionary):
            return None
        parts.append(hash_dictionary(edit.dictionary))
    digest = hashlib.sha256(repr(parts).encode())
    for numbers in (edit.vectors, edit.center):
        array = np.zeros(0) if numbers is None else np.ascontiguousarray(numbers)
        digest.update(repr(array.shape).encode() + array.tobytes())
    return digest.hexdigest()


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
        raise SchemaError(_expectation(value))
    return group


def _iterate(value: Any) -> Iterable[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SchemaError(_expectation(value))
    return value


def _expectation(value: Any) -> str:
    return (
        "expected edits of record.add, project_out, cap, clamp, ablate or patch, each tried alone, "
        f"or tuples of them, which are on together; got {excerpt(value)}."
    )
