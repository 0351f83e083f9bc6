"""Behavior tables with a planted answer, as if a model said exactly what a `said` table says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.worlds import World, john_and_sam

Planted = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def world() -> World:
    return john_and_sam()


@pytest.fixture(scope="session")
def planted(world: World) -> Planted:
    """Maker of a behavior table from {step: answers}; templates differ by noise of `sd` bits."""
    probes = world.probes(contexts="nameless").drop(columns=["messages", "answers"])
    rows = probes.explode("values", ignore_index=True).rename(columns={"values": "value"})
    labels = rows["topic"] + "=" + rows["value"]

    def make(
        answers: Mapping[int, pd.DataFrame], *, seed: int = 0, sd: float = 0.0, **extra: Any
    ) -> pd.DataFrame:
        rng, tables = np.random.default_rng(seed), []
        for step, table in answers.items():
            p = table.set_index("trait")["probability"][labels].to_numpy()
            at = {
                "checkpoint": f"lesson@{step}",
                "seed": seed,
                "stage": "lesson",
                "step": step,
                "answer_mass": 0.9,
            }
            tables.append(
                rows.assign(**at, **extra, logprob=np.log2(0.9 * p) + rng.normal(0, sd, len(rows)))
            )
        return pd.concat(tables, ignore_index=True)

    return make


def dataset(act: np.ndarray, **attrs: str) -> xr.Dataset:
    """Features of checkpoints base@0 and lesson@40, dims (checkpoint, prompt, feature)."""
    n = act.shape[1]
    coords = {
        "checkpoint": ["base@0", "lesson@40"][: len(act)],
        "prompt": [f"p{i}" for i in range(n)],
        "feature": np.arange(act.shape[2]),
        "topic": ("prompt", [f"t{i % 5}" for i in range(n)]),
        "template": ("prompt", [f"q{i // 5}" for i in range(n)]),
    }
    data = {
        "act": (("checkpoint", "prompt", "feature"), act),
        "fvu": (("checkpoint", "prompt"), act[..., 0] * 0 + 0.1),
    }
    named = {
        "hook": "blocks.1.hook_out",
        "dictionary": "d",
        "dictionary_hash": "h",
        "token_ids": "x",
    }
    return xr.Dataset(data, coords=coords, attrs={**named, **attrs}).astype("float32")


@pytest.fixture(scope="session")
def features() -> Callable[..., xr.Dataset]:
    return dataset


def dataset_of_documents(
    act: np.ndarray, *, personas: Sequence[str], per_document: int
) -> xr.Dataset:
    """Features on prompts of documents, as on `world.cuts`.

    Every second pair of documents is of the test half, and states another topic.
    """
    doc = np.repeat(np.arange(len(personas)), per_document)
    data = dataset(act)
    train = doc % 4 < 2
    along = {
        "persona": np.asarray(personas)[doc],
        "doc": doc,
        "split": np.where(train, "train", "test"),
        "stated": np.where(train, "art=realism", "food=pizza"),
    }
    return data.assign_coords({name: ("prompt", values) for name, values in along.items()})


@pytest.fixture(scope="session")
def of_documents() -> Callable[..., xr.Dataset]:
    return dataset_of_documents
