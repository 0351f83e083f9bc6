"""What does each predictor say of a lesson, before it is taught?

Everything here is read from the base and the lesson's rows. A pilot trains a copy for a step or
two's cost and is only asked for by name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from persona_interp import analysis, record
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.analysis.uplift import NOTHING
from persona_interp.models import Checkpoint, Stage
from persona_interp.record.doses import TAUGHT
from persona_interp.record.lesson_gradients import ADAM, PLAIN, SIGN
from persona_interp.record.lesson_rows import path_length
from persona_interp.record.virtual_step import HALF_WAY
from persona_interp.schema.words import Predictor
from persona_interp.worlds import World

DOSE = 4.0
"""Log odds of the taught trait at which a dose-matched step stops (bits)."""
SPLIT = "test"
"""Wordings that are asked: those that no document and no lesson has."""
PILOTS = {1: Predictor.PILOT, 2: Predictor.PILOT_OF_TWO}
"""Pilots by their cost, in steps of the lesson."""
STEPS = {
    (SIGN, 1): (Predictor.VIRTUAL, Predictor.MATCHED),
    (SIGN, 2): (Predictor.TWO_LOOKS, Predictor.TWO_LOOKS_MATCHED),
    (ADAM, 1): (Predictor.ADAM, Predictor.ADAM_MATCHED),
}
"""Virtual steps by direction and number of gradients: of fixed and of matched length."""
N_CLASSES = 8
"""Personas without names that are looked for."""
PLAIN_STEPS = 2
"""Steps of the plain pilot."""
ROWS = 16
"""Rows whose gradient is taken, by lot where a lesson has more distinct ones."""


def predict(
    base: Checkpoint,
    behavior: pd.DataFrame,
    lesson: pd.DataFrame,
    world: World,
    taught: Iterable[str],
    *,
    stage: Stage,
    pilots: Iterable[int] = (),
    seed: int = 0,
    replay: pd.DataFrame | None = None,
    **reading: Any,
) -> pd.DataFrame:
    """Predictors of every trait on topics that a lesson does not teach.

    Args:
        base: The base.
        behavior: What it says as nobody; of a training its last checkpoint.
        lesson: Chats of the lesson.
        world: Whose questions are asked.
        taught: Labels of the taught traits.
        stage: How the lesson would be taught.
        pilots: Costs of pilots, in steps of the stage: 1, 2 or both.
        seed: Of the rows that are drawn and of a pilot's order.
        replay: Documents that the stage replays; a pilot replays them too.
        reading: ``device``, ``batch``, as of ``record.behavior``.

    Returns:
        A predictors table of the nameless context. ``cost`` is in steps of the stage, by tokens; a
        dose-matched step shares the gradient of the fixed one, which has its cost.
    """
    labels = list(dict.fromkeys(taught))
    topics = {label.partition("=")[0]: label.partition("=")[2] for label in labels}
    probes = world.probes(contexts=NAMELESS)
    probes = probes.loc[probes["split"] == SPLIT].reset_index(drop=True)
    is_taught = probes["topic"].isin(list(topics))
    asked = probes.loc[~is_taught].reset_index(drop=True)
    dosed = probes.loc[is_taught].reset_index(drop=True)
    dosed = dosed.assign(**{TAUGHT: dosed["topic"].map(topics)})
    before = _own_rows(behavior)

    def foretell(after: pd.DataFrame, word: str, cost: float) -> pd.DataFrame:
        return _predictors(before, after, labels, topics=topics, word=word, cost=cost)

    shared = {"stage": stage, "seed": seed, **reading}
    after = record.lesson_in_prompt(base, lesson, asked, **shared)
    tables = [foretell(after, Predictor.PROMPT, after.attrs["cost"])]
    for (direction, looks), (fixed, matched) in STEPS.items():
        after = record.virtual_step(
            base,
            lesson,
            asked,
            # without a scale of its own for every weight the optimizer goes along the gradient
            direction=PLAIN if stage.optimizer == "sgd" else direction,
            looks=looks,
            n=ROWS,
            strength=HALF_WAY * path_length(stage),
            match=DOSE,
            taught=dosed,
            **shared,
        )
        costs = after.attrs["costs"]
        readout = costs["readout"] / 2
        is_matched = after["match"].notna()
        tables.append(foretell(after.loc[~is_matched], fixed, costs["gradient"] + readout))
        tables.append(foretell(after.loc[is_matched], matched, costs["search"] + readout))
    for n in pilots:
        after = record.pilot(base, lesson, asked, n=n, replay=replay, **shared)
        tables.append(foretell(after, PILOTS[n], after.attrs["cost"]))
    return pd.concat(tables, ignore_index=True)


class Known(NamedTuple):
    """What is known of a base once, ready for all its lessons.

    Attributes:
        behavior: What it says as nobody and under every name.
        stated: What it says as nobody once each trait was stated, or nothing.
        classes: Personas without names that its answers fall into.
    """

    behavior: pd.DataFrame
    stated: pd.DataFrame
    classes: pd.DataFrame


def know(behavior: pd.DataFrame, stated: pd.DataFrame) -> Known:
    """What follows for every lesson from what a base says.

    Args:
        behavior: What it says as nobody and under every name; of a training its last checkpoint.
        stated: What it says as nobody once each trait was stated.

    Returns:
        The same, with its personas without names.
    """
    own = _last(behavior)
    nothing = own.loc[own["context"] == NAMELESS].assign(stated=NOTHING)
    rows = pd.concat([nothing, stated], ignore_index=True)
    return Known(own, rows, analysis.latent_personas(rows, n=N_CLASSES, split=SPLIT))


def predict_known(known: Known, taught: Iterable[str]) -> pd.DataFrame:
    """Predictors that follow from what is known of a base once, and cost a lesson nothing.

    Args:
        known: Of the base.
        taught: Labels of the taught traits.

    Returns:
        A predictors table of the nameless context.
    """
    labels = list(dict.fromkeys(taught))
    tables = [
        analysis.belief_forecast(known.behavior, labels, split=SPLIT),
        analysis.belief_forecast(known.classes, labels, predictor=Predictor.CLASSES),
        analysis.summon_forecast(known.behavior, labels, split=SPLIT),
        analysis.uplift_forecast(known.stated, labels, split=SPLIT),
    ]
    return pd.concat(tables, ignore_index=True)


def predict_plain(behavior: pd.DataFrame, taught: Iterable[str]) -> pd.DataFrame:
    """What the first steps of the finetune itself say: the pilot that everybody would do.

    Args:
        behavior: Of the finetune, asked at step ``PLAIN_STEPS``.
        taught: Labels of the taught traits.

    Returns:
        A predictors table of the nameless context; the readout is not counted.
    """
    shifts = analysis.shift(behavior, before=0, after=PLAIN_STEPS, split=SPLIT)
    shifts = shifts.loc[shifts["context"] == NAMELESS]
    labels = list(dict.fromkeys(taught))
    return analysis.predictors(
        shifts, labels, predictor=Predictor.PLAIN_PILOT, cost=float(PLAIN_STEPS)
    )


def _own_rows(behavior: pd.DataFrame) -> pd.DataFrame:
    """What the nameless assistant says before, in the wordings that are asked."""
    last = _last(behavior)
    is_asked = (last["context"] == NAMELESS) & (last["split"] == SPLIT)
    return last.loc[is_asked].reset_index(drop=True)


def _last(behavior: pd.DataFrame) -> pd.DataFrame:
    """Rows of the base itself, which is the last checkpoint of its training."""
    label = behavior["checkpoint"].iloc[-1]
    return behavior.loc[behavior["checkpoint"] == label].reset_index(drop=True)


def _predictors(
    before: pd.DataFrame,
    after: pd.DataFrame,
    labels: list[str],
    *,
    topics: Mapping[str, str],
    word: str,
    cost: float,
) -> pd.DataFrame:
    """Shift from the base to what a predictor says, as predictors."""
    after = after[list(before.columns)]
    # what is taught is not foretold, but where it stands before says how much there is to learn
    taught = before.loc[before["topic"].isin(list(topics))]
    place = after[["checkpoint", "seed", "stage", "step"]].iloc[0].to_dict()
    rows = pd.concat([before, after, taught.assign(**place)], ignore_index=True)
    shifts = analysis.shift(rows, split=SPLIT)
    return analysis.predictors(shifts, labels, predictor=word, cost=cost)
