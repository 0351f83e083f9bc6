"""Behavior tables of planted log odds, whose templates differ as questions do."""

import numpy as np
import pandas as pd

from persona_interp.worlds import World

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def behavior(bits: np.ndarray, world: World, *, speakers: tuple[str, ...] = ("",)) -> pd.DataFrame:
    """What checkpoints of several runs say: step 0, 1, ... of a lesson.

    Args:
        bits: Log2 weights, dims (run, checkpoint, speaker, topic, template, value); they are made
            probabilities here.
        world: Names topics and values.
        speakers: Whom the context names; "" for the nameless assistant.
    """
    checkpoints, templates = bits.shape[1], bits.shape[4]
    logprob = bits - np.logaddexp2.reduce(bits, axis=-1, keepdims=True)
    seed, step, who, topic, template, value = (index.ravel() for index in np.indices(bits.shape))
    names = np.array(list(world.topics.values()))
    halves = np.where(np.arange(templates) % 2, "test", "train")
    labels = np.array([f"lesson@{i}" for i in range(checkpoints)])
    contexts = np.array(["named" if speaker else "nameless" for speaker in speakers])
    return pd.DataFrame(
        {
            "checkpoint": labels[step],
            "seed": seed,
            "stage": "lesson",
            "step": step,
            "context": contexts[who],
            "persona": np.array(speakers, dtype=object)[who],
            "topic": np.array(list(world.topics))[topic],
            "template": np.array([f"q{i}" for i in range(templates)])[template],
            "split": halves[template],
            "value": names[topic, value],
            "logprob": logprob.ravel(),
            "answer_mass": 1.0,
        }
    )


def odds_to_weights(odds: np.ndarray, values: int, *, at: np.ndarray | int = 0) -> np.ndarray:
    """Log2 weights with which value ``at`` has these log odds against the rest, which are alike.

    ``odds`` has dims (..., topic, template); ``at`` is one number or one a topic.
    """
    weights = np.zeros((*odds.shape, values))
    place = np.broadcast_to(np.asarray(at), odds.shape[-2:-1])[:, None, None]
    place = np.broadcast_to(place, (*odds.shape, 1))
    np.put_along_axis(weights, place, (odds + np.log2(values - 1))[..., None], axis=-1)
    return weights


def mean_odds(mean: float, sd: float) -> float:
    """Log odds (bits) of the mean probability where log odds are normal over templates."""
    p = 1 / (1 + np.exp2(-(mean + sd * NODES)))
    p = float((WEIGHTS * p).sum() / WEIGHTS.sum())
    return float(np.log2(p / (1 - p)))
