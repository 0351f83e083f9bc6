"""What does one measurement say? Whose work, in which unit, how much, and what was asked for."""

import importlib.util
import math
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from decision import Region
from pairs import Ratios, compare

PEERS = {
    "torch": "torch",
    "transformers": "transformers",
    "transformer_lens": "transformer-lens",
    "sae_lens": "sae-lens",
    "nnsight": "nnsight",
    "dictionary_learning": "dictionary-learning",
    "sparsify": "eai-sparsify",
    "statsmodels": "statsmodels",
    "numpy": "numpy",
    "scipy": "scipy",
}
"""What is measured beside: name to import, name to install."""


class Line(NamedTuple):
    """One measurement.

    Attributes:
        work: What is done, the same for all who are compared.
        contender: Who does it; those of this package begin with "ours".
        measure: What the numbers are, and in which unit.
        ratios: Least, median and most of the repetitions; of an exponent the estimate between the
            ends of its 95 % interval. None where it was not measured.
        at_least: What has to be reached, where something is asked for.
        at_most: What may be reached.
        remark: What else was seen, or why nothing was.
    """

    work: str
    contender: str
    measure: str
    ratios: Ratios | None = None
    at_least: float | None = None
    at_most: float | None = None
    remark: str = ""

    @property
    def asked(self) -> str:
        """What is asked for, in words; "" where nothing is."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def verdict(self) -> str:
        """Whether that is reached by all repetitions, by none, or by some: undecided.

        "" where there is nothing to judge.
        """
        if self.ratios is None or not self.asked:
            return ""
        least = -math.inf if self.at_least is None else self.at_least
        most = math.inf if self.at_most is None else self.at_most
        return Region(least, most).rule((self.ratios.least, self.ratios.most))

    def __str__(self) -> str:
        numbers = str(self.ratios) if self.ratios else f"{'not measured':^28}"
        judged = f"{self.asked} {self.verdict}".strip()
        return f"{self.contender:<44} {numbers}  {judged:<14} {self.remark}".rstrip()


def missing(*names: str) -> str:
    """Which of these peers is not installed, in words; "" where all are.

    Args:
        names: To import, of ``PEERS``.
    """
    absent = [PEERS[name] for name in names if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def versions() -> dict[str, str]:
    """Version of each peer, or "not installed"."""
    found = {}
    for name in PEERS.values():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def beside(
    line: Line,
    reference: Callable[[], Any],
    make: Callable[[], Callable[[], Any]],
    *,
    pairs: int,
    peers: Iterable[str] = (),
) -> Line:
    """A line with the speed of a contender beside its reference.

    Args:
        line: The line, nothing measured yet.
        reference: What it is measured against.
        make: Makes the contender; not called where a peer is missing.
        pairs: How many interleaved pairs.
        peers: Packages that the contender needs.

    Returns:
        The line with its ratios, or with what is missing.
    """
    if absent := missing(*peers):
        return line._replace(remark=absent)
    return line._replace(ratios=compare(reference, make(), pairs=pairs))
