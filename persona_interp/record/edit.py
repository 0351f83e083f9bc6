"""What does a model say when something inside it is changed?

An ``Edit`` is one change of the residual at one hook, at every token of prompt and answer. ``add``
steers along a vector, ``project_out`` removes a subspace, ``cap`` bounds a component
(``vector_edits``), ``clamp`` and ``ablate`` set features of a dictionary (``feature_edits``),
``patch`` puts the residual of another checkpoint in. Edits go into ``record.behavior(...,
edits=)``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.models import Checkpoint


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
    return Edit(name or f"patch {source.label} at {hook}", hook, "patch", source=source)
