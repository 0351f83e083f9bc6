"""Which model is asked: as it is, or with edits on?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from persona_interp.models import Checkpoint, Tokens, boot, load
from persona_interp.models.boot import check_cache
from persona_interp.models.dtype import FULL
from persona_interp.record.edit import Edit
from persona_interp.record.edit_runs import run_edited
from persona_interp.record.places import Layout, check_places
from persona_interp.schema.words import UNEDITED

T = TypeVar("T")


@dataclass
class Subject:
    """A loaded model that runs with edits on or without.

    Attributes:
        model: Plain Hugging Face model.
        tokenizer: Its tokenizer.
        bridge: The booted model around it; None where nothing is edited.
        device: Where it is.
        groups: Edits that are on together, by name; "none", without any, comes first.
    """

    model: Any
    tokenizer: Any
    bridge: Any
    device: object
    groups: Mapping[str, Sequence[Edit]]
    _sources: dict[Checkpoint, Any] = field(default_factory=dict, repr=False)

    def check_places(self, tokens: Tokens) -> None:
        """Refuse an edit that would be on at none of these tokens."""
        check_places(self.groups, tokens)

    def run(
        self,
        edits: Sequence[Edit],
        run: Callable[[Any], T],
        *,
        layouts: Callable[[], Sequence[Layout]],
        n_drawn: Callable[[T], int] = lambda result: 0,
    ) -> T:
        """Result of ``run(model)`` with these edits on; fields as of ``run_edited``."""
        if not edits:
            return run(self.model)
        sources = {edit: self._boot(edit.source) for edit in edits if edit.source is not None}
        return run_edited(
            self.bridge, edits, run, layouts=layouts(), sources=sources, n_drawn=n_drawn
        )

    def _boot(self, source: Checkpoint) -> Any:
        """Checkpoint whose residual is put in, booted once."""
        if source not in self._sources:
            dtype = str(self.model.dtype).removeprefix("torch.")
            self._sources[source] = boot(source, device=self.device, dtype=dtype)
        return self._sources[source]


def open_subject(
    checkpoint: Checkpoint | str,
    groups: Mapping[str, Sequence[Edit]],
    *,
    device: object = None,
    dtype: str = FULL,
) -> Subject:
    """Model of a checkpoint, ready for these edits.

    Args:
        checkpoint: Where the weights are.
        groups: Edits by name, of ``list_edits``. With any, the model runs inside a bridge with
            eager attention throughout, so that "none" and the edits differ by the edit alone.
        device: Where to, as of ``models.load``.
        dtype: As of ``models.load``.

    Returns:
        The model.

    Raises:
        ModelError: As of ``models.load`` and ``models.boot``; an edit's hook does not exist.
    """
    entries = {UNEDITED: (), **groups}
    if not groups:
        model, tokenizer = load(checkpoint, device=device, dtype=dtype)
        return Subject(model, tokenizer, None, model.device, entries)
    hooks = [edit.hook for group in groups.values() for edit in group]
    bridge = boot(checkpoint, hooks=hooks, device=device, dtype=dtype)
    check_cache(bridge)
    model = bridge.original_model
    return Subject(model, bridge.tokenizer, bridge, model.device, entries)
