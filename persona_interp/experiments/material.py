"""What is a model or a file of the user's, once its name was looked up? Its place, and its hash."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

MERGED_INTO = "an adapter merged into"
"""How a note on a source begins where an adapter was merged into another base than it names."""


@dataclass(frozen=True)
class Source:
    """Weights that are compared.

    Attributes:
        label: What tables and figures call them.
        path: Saved Hugging Face folder.
        weights: Hash of the weights.
        step: Optimizer step, where it is one of a training.
        run: The source as it was named; the steps of a training share it.
        trusted: Whether code in the folder may run.
        note: What had to be done to get them.
    """

    label: str
    path: str
    weights: str
    step: int = 0
    run: str = ""
    trusted: bool = False
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """JSON-able values that a task needs and a result depends on."""
        return {key: value for key, value in asdict(self).items() if key not in ("run", "note")}


@dataclass(frozen=True)
class File:
    """A file that is read.

    Attributes:
        name: What tables call it.
        path: Where it was.
        sha256: Of its bytes; of a dictionary its hash.
    """

    name: str
    path: str
    sha256: str

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def ends_of(sources: Iterable[Source]) -> list[Source]:
    """The last checkpoint of every training.

    Args:
        sources: Checkpoints, those of one training in order.

    Returns:
        One source a training.

    >>> steps = [Source(f"mine@{step}", "", str(step), step, "mine") for step in (10, 20)]
    >>> [source.label for source in ends_of(steps)]
    ['mine@20']
    """
    return list({source.run: source for source in sources}.values())


def controls_of(
    control: Iterable[Source], *, base: Source, tuned: Iterable[Source]
) -> list[Source]:
    """The last checkpoint of every control that is another finetune.

    Args:
        control: Checkpoints of the controls.
        base: The model before.
        tuned: Checkpoints that claims are about.

    Returns:
        Controls; weights that are somebody's already are no other finetune and are left out.

    >>> base, mine = Source("base", "", "a"), Source("mine", "", "b", run="mine")
    >>> twin, other = Source("twin", "", "b", run="twin"), Source("other", "", "c", run="other")
    >>> [source.label for source in controls_of([twin, other], base=base, tuned=[mine])]
    ['other']
    """
    weights = {base.weights, *(source.weights for source in tuned)}
    controls = []
    for source in ends_of(control):
        if source.weights not in weights:
            weights.add(source.weights)
            controls.append(source)
    return controls
