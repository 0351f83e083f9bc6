"""Means over documents, conversations and prompts: odds of dialogues, divergences, answers."""

from functools import partial

import numpy as np
import pandas as pd

from persona_interp.analysis.drift import kl_by_role
from persona_interp.analysis.measure import dialogue_odds, direction_kl
from persona_interp.analysis.measurements import sound_shift
from persona_interp.analysis.metric import continuation_distance
from planted.noise import Noise, noise
from rows.row import Outcome, Row, coverage

MOVED = 1.0
NAMES = np.array(list("abcd"))


def _dialogues(rng: np.random.Generator, *, dialogues: int) -> Outcome:
    """Four personas whose dialogues' log probabilities scatter about their own means."""
    means = np.array([0.0, 1.0, 2.0, 3.0])
    persona, doc = (index.ravel() for index in np.indices((4, dialogues)))
    nobody = -40 + means[persona] + 2 * rng.standard_normal(len(persona))
    table = pd.DataFrame({"doc": doc + dialogues * persona, "persona": NAMES[persona]})
    table = pd.concat(
        [
            table.assign(name="", logprob=nobody),
            table.assign(name=table["persona"], logprob=nobody + 4.0),
        ],
        ignore_index=True,
    )
    table = dialogue_odds(table.assign(n_tokens=20))
    row = table.loc[(table["estimator"] == "dialogues") & (table["persona"] == "a")].iloc[0]
    return coverage(row["lo"], row["hi"], -1.5)


def _added_kl(rng: np.random.Generator, *, documents: int) -> Outcome:
    """Divergences of documents are log-normal (SD .7 nats)."""
    kl = np.exp(0.7 * rng.standard_normal(documents))
    table = pd.DataFrame({"doc": range(documents), "name": "a", "kl": kl, "n_tokens": 9})
    row = direction_kl(table).iloc[0]
    return coverage(row["lo"], row["hi"], -(0.7**2) / 2 / np.log(2))


def _continuations(rng: np.random.Generator, *, documents: int, spread: float) -> Outcome:
    """Distances of documents of unequal length, which does not go with the distance.

    ``spread`` is the standard deviation of the logarithm of the length.
    """
    distance = np.clip(0.5 + 0.1 * rng.standard_normal(documents), 0, 1)
    tokens = np.maximum(1, 30 * rng.lognormal(0, spread, documents)).astype(int)
    table = pd.DataFrame({"doc": range(documents), "distance": distance, "n_tokens": tokens})
    row = continuation_distance(table.assign(name="a", other="b")).iloc[0]
    return coverage(row["lo"], row["hi"], 0.5)


def _sound(rng: np.random.Generator, *, prompts: int) -> Outcome:
    """Answers of unequal length to the same prompts."""
    tokens = rng.geometric(1 / 20, 2 * prompts)
    evidence = np.repeat([0.0, MOVED], prompts) + noise(rng, 2 * prompts, Noise.HEAVY)
    table = pd.DataFrame({"prompt": np.tile(np.arange(prompts), 2), "bits_neg": 0.0})
    table["checkpoint"] = np.repeat(["base", "tuned"], prompts)
    table = table.assign(bits_pos=evidence * tokens, n_tokens=tokens, sample=0, trait="wry")
    row = sound_shift(table.assign(judge="base"), base="base").iloc[0]
    return coverage(row["lo"], row["hi"], MOVED)


def _divergences(rng: np.random.Generator, *, conversations: int) -> Outcome:
    """Divergences of conversations are log-normal (SD .7 nats)."""
    kl = np.exp(0.7 * rng.standard_normal(conversations))
    table = pd.DataFrame({"checkpoint": "a", "role": "user", "kl": kl, "n_tokens": 9})
    row = kl_by_role(table.assign(prompt=range(conversations))).iloc[0]
    return coverage(row["lo"], row["hi"], float(np.exp(0.7**2 / 2)))


ROWS = [
    Row("measure.dialogue_odds", "12 dialogues", partial(_dialogues, dialogues=12), 500),
    Row("measure.direction_kl", "12 documents", partial(_added_kl, documents=12), 1_000),
    *(
        Row(
            "metric.continuation_distance",
            f"{n} documents, SD of the log length {spread:g}",
            partial(_continuations, documents=n, spread=spread),
            1_000,
        )
        for n, spread in ((12, 1.0), (30, 1.0), (30, 2.0))
    ),
    Row("measurements.sound_shift", "12 prompts", partial(_sound, prompts=12), 1_000),
    Row("drift.kl_by_role", "12 conversations", partial(_divergences, conversations=12), 1_000),
]
