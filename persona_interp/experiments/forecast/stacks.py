"""Which stacks come with the package, and what does each of them read?

They are fitted by ``benchmarks/forecast_stacks.py`` on tiny models of many worlds, and those of
published traits by ``benchmarks/forecast_trait_stacks.py`` on one chat model; they lie beside this
file. Each predictor of worlds has a stack of its own too, so that all are compared by one rule.
"""

import re
from pathlib import Path

from persona_interp.analysis import Stack
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Predictor

FOLDER = Path(__file__).with_name("stack_files")
NO_PILOT, NO_NAMES = "no pilot", "no pilot, names unknown"
WITH_PILOT = {1: "pilot of one step", 2: "pilot of two steps"}
KNOWN = (Predictor.BELIEFS, Predictor.SUMMON, Predictor.UPLIFT)
"""What is known of a base once, and costs a lesson nothing."""
TWO_LOOKS = (Predictor.TWO_LOOKS, Predictor.TWO_LOOKS_MATCHED)
TOGETHER = {
    NO_PILOT: (*TWO_LOOKS, *KNOWN),
    NO_NAMES: (*TWO_LOOKS, Predictor.UPLIFT),
    WITH_PILOT[1]: (Predictor.PILOT, *KNOWN),
    WITH_PILOT[2]: (Predictor.PILOT_OF_TWO, *KNOWN),
}
"""Stacks of several predictors, by what they are called."""
ALONE = (
    Predictor.PROMPT,
    *KNOWN,
    Predictor.CLASSES,
    Predictor.VIRTUAL,
    Predictor.MATCHED,
    *TWO_LOOKS,
    Predictor.ADAM,
    Predictor.ADAM_MATCHED,
    Predictor.PILOT,
    Predictor.PILOT_OF_TWO,
    Predictor.PLAIN_PILOT,
)
"""Predictors that the experiment has of every lesson."""
OF_FEATURES = {
    0: "features, no pilot",
    1: "features, pilot of one step",
    2: "features, pilot of two steps",
}
"""Stacks of features by the cost of their pilot."""
FEATURE_STACKS = {
    OF_FEATURES[0]: (Predictor.TWO_LOOKS_NEAR, Predictor.TWO_LOOKS),
    OF_FEATURES[1]: (Predictor.PILOT,),
    OF_FEATURES[2]: (Predictor.PILOT_OF_TWO,),
}
"""What is moved by them is no trait: ``benchmarks/forecast_features.py`` fits and judges them."""
STACKS = TOGETHER | {str(word): (word,) for word in ALONE}
OF_TRAITS = {0: "published traits, no pilot", 1: "published traits, pilot of one step"}
"""Stacks of lessons in published traits by the cost of their pilot, in steps of the lesson."""
TRAIT_STACKS = {
    OF_TRAITS[0]: (Predictor.TOLD,),
    OF_TRAITS[1]: (Predictor.TOLD, Predictor.PILOT),
}
"""Chosen before any was fitted, as the simplest that may know something."""


def open_stack(name: str) -> Stack:
    """Stack of this name that comes with the package.

    Args:
        name: One of ``STACKS``, ``TRAIT_STACKS`` or ``FEATURE_STACKS``.

    Returns:
        The stack.

    Raises:
        SchemaError: There is none of this name.

    >>> len(open_stack(NO_PILOT).names)
    5
    """
    known = STACKS | TRAIT_STACKS | FEATURE_STACKS
    if name not in known:
        raise SchemaError(unknown("stack", name, known))
    return Stack.from_json(file_of(name))


def file_of(name: str, *, folder: Path = FOLDER) -> Path:
    """File of a stack.

    Args:
        name: As of ``open_stack``.
        folder: Where they lie.

    Returns:
        The path.

    >>> file_of("no pilot, names unknown").name
    'no_pilot_names_unknown.json'
    """
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return folder / f"{slug}.json"
