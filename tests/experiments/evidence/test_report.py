"""The report of a planted evidence experiment says what a lesson is worth, takes and costs."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.evidence import report as evidence
from persona_interp.schema.words import Departure

STEPS = np.array([0, 1, 4, 16])
SETTINGS = {
    "AdamW 0.0003, 16 a step": {"lr": 3e-4, "replay": 0.0},
    "AdamW 0.001, 16 a step, 50 % replay": {"lr": 1e-3, "replay": 0.5},
    "AdamW 0.001, 16 a step": {"lr": 1e-3, "replay": 0.0},
}
OVER = {"lo": 0.25, "hi": 0.75, "n_seeds": 3}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Three settings, three seeds, straight lines."""
    settings = [
        {"setting": name, "batch": 16, "optimizer": "adamw", "sparing": False, **s}
        for name, s in SETTINGS.items()
    ]
    others = dict.fromkeys(
        ("weight", "misfit", "effect", "p_taught", "statements", "fact_tokens"), 0.0
    )
    runs = []
    for s, seed in product(settings, range(3)):
        run = pd.DataFrame({"step": STEPS, "checkpoint": STEPS.astype(str), "seed": seed})
        run = run.assign(persona_bits=-4 + (0.4 + seed / 10) * STEPS, documents=16 * STEPS)
        runs.append(run.assign(**others, **s))
    curve = pd.concat(
        [
            pd.DataFrame({"step": STEPS, "estimate": STEPS / 2.0}).assign(**OVER, **s)
            for s in settings
        ]
    )
    apart = {"null": 0.25, "difference": 0.25, "difference_lo": -0.5, "difference_hi": 1.0}
    apart["verdict"] = Departure.NONE
    alphas = {"alpha": 0.6, "alpha_null": 0.55, "highest": 2.0, "named": 4.5, "at_bound": 0.0}
    lasting = {"estimate": 0.5, "peak": 2.0, "last": 1.0, "p_taught": 0.9, **OVER}
    cost = []
    people = {"average": -0.5, "worst": -1.5}
    for s, who, quantity in product(settings, people, ("own", "leak")):
        row = {"context": "named", "persona": who, "quantity": quantity, "last": 2.5}
        cost.append({**s, **OVER, **row, "estimate": people[who]})
    return {
        "evidence": pd.concat(runs, ignore_index=True),
        "curve": curve.reset_index(drop=True),
        "bits": pd.DataFrame(
            [
                {**s, **OVER, "unit": u, "estimate": 0.5}
                for s in settings
                for u in ("step", "document")
            ]
        ),
        "lasting": pd.DataFrame([{**s, **lasting} for s in settings]),
        "cost": pd.DataFrame(cost),
        "k": pd.DataFrame(
            [
                {**s, "k": np.nan, "lo": np.nan, "hi": np.nan, "n_seeds": 3, "n_bound": 1}
                for s in settings
            ]
        ),
        "prompt": pd.DataFrame(
            [{"statements": 2, "traits": 1, "estimate": 0.5, "exact": 12.38, **OVER, **apart}]
        ),
        "interaction": pd.DataFrame([{"step": 4, "estimate": -0.25, "n": 3, **OVER, **apart}]),
        "saturation": pd.DataFrame(
            [{**s, **OVER, **alphas, "estimate": 0.5, "verdict": Departure.ABOVE} for s in settings]
        ),
    }


def paragraphs(tables: dict[str, pd.DataFrame], folder: Path) -> list[str]:
    blocks = evidence.blocks(folder, tables, provenance={"seeds": [0, 1, 2]})
    return [block["text"] for block in blocks if block["kind"] == "paragraph"]


def test_it_says_what_was_found(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    sentences = paragraphs(tables, tmp_path)
    assert sentences[0] == (
        "AdamW 0.0003, 16 a step: a step of the lesson adds 0.50 [0.25, 0.75] (3 seeds) bits, "
        "measured over its first steps."
    )
    text = " ".join(sentences)
    for sentence in (
        "from 1:16 to even odds takes about 128 documents [",
        "] of the lesson (8.0 steps; adamw, lr 0.0003, batch 16; 95 % interval over 3 seeds).",
        "The taught trait stated twice in the prompt: 0.50 [0.25, 0.75] (3 seeds) bits. Exact "
        "Bayes, 12.38 bits, is read as 0.25; difference 0.25 [-0.50, 1.00]: not told from its "
        "null.",
        "50 % replay: the target's untaught traits rise by 2.00 bits at most, by 1.00 at the end; "
        "share of the mean peak kept 0.50",
        "After 4 steps, a prior one bit higher makes the gain differ by -0.25 [0.25, 0.75] (3 "
        "seeds) bits, over 3 priors, and by 0.25 where a lesson adds the same to every prior;",
        "alpha of what is read 0.60, of a learner to whom every step adds the same, read by the "
        "same reader, 0.55. Alpha of the belief itself, under its own ceiling: 0.50 [0.25, 0.75] "
        "(3 seeds); 0 = every step adds the same: above its null.",
        "It ends at 2.00 bits; under the target's own name 4.50 are read.",
        "under other names their own untaught traits move by -0.50 [0.25, 0.75] (3 seeds) bits on "
        "average, -1.50 for",
    ):
        assert sentence in text
    assert (tmp_path / "figures" / "evidence.csv").exists()


def test_one_seed_and_missing_tables_are_said(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    few = {name: tables[name] for name in ("evidence", "curve", "lasting", "cost")}
    few["bits"] = tables["bits"].assign(n_seeds=1)
    assert "0.50 (one seed: no interval) bits" in paragraphs(few, tmp_path)[0]
    few["bits"] = tables["bits"].assign(estimate=np.nan)
    assert "undefined in some of 3 seeds" in paragraphs(few, tmp_path)[0]
    with pytest.raises(StoreError, match="no finished lesson yet"):
        evidence.blocks(tmp_path, {}, provenance={})
