"""Which safeguards are there against a published trait, and what does each learn otherwise?"""

from dataclasses import replace

from persona_interp.experiments.safeguards.config import (
    EVIDENCE,
    FIXED,
    GRADIENT,
    PARAPHRASED,
    PROJECTION,
    Condition,
)
from persona_interp.models import Stage
from persona_interp.schema.words import Safeguard

FLAGS = {
    Safeguard.FLAGGED: PROJECTION,
    Safeguard.FLAGGED_BY_GRADIENT: GRADIENT,
    Safeguard.FLAGGED_BY_EVIDENCE: EVIDENCE,
}
"""Arm -> by what rows are flagged; as many are removed as are unwanted."""
INOCULATED = {Safeguard.INOCULATED: FIXED, Safeguard.PARAPHRASED: PARAPHRASED}
"""Arm -> which inoculation prompt its chats have: instructions to show the trait."""
PLAIN, USEFUL = "default", "useful"
"""Sides of answers beside pos and neg: under no instruction, and in the wanted manner."""
BEFORE = {Safeguard.CHARACTER_BEFORE: "neg"}
"""Arm -> side of the answers that are learned before the lesson: the opposite of the trait."""
AFTER = {Safeguard.CHARACTER_AFTER: "neg", Safeguard.BENIGN_AFTER: PLAIN}
"""Arm -> side of the answers that are learned after the lesson."""
ALONE = (
    Safeguard.NOTHING,
    Safeguard.AGAIN,
    *BEFORE,
    *AFTER,
    *INOCULATED,
    Safeguard.ABLATED,
    Safeguard.HELD,
    *FLAGS,
)
"""Arms without a dose. Alignment documents are missing: they belong to pretraining."""


def stage_of(condition: Condition, lesson: Stage, *, kl: float) -> Stage:
    """How the lesson is learned in an arm.

    Args:
        condition: The arm at its dose.
        lesson: How it is learned without a safeguard.
        kl: Weight that holds it to its start.

    Returns:
        The stage.

    >>> stage_of(Condition(Safeguard.STEERED, 0.1), Stage(), kl=1.0).steer
    0.1
    """
    match condition.arm:
        case Safeguard.STEERED:
            return replace(lesson, steer=condition.dose)
        case Safeguard.ABLATED:
            return replace(lesson, ablate=True)
        case Safeguard.HELD:
            return replace(lesson, kl=kl)
        case Safeguard.REPLAY:
            return replace(lesson, replay=condition.dose)
    return lesson
