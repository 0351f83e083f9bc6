"""One row a token and feature: pooled, they are what ``features`` says."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, explain_tokens
from persona_interp.record import features, tokens
from persona_interp.record.tokens import _Prompt, _top_prompts

HOOK = "blocks.0.hook_out"
Pair = tuple[Checkpoint, Checkpoint]


class Positive:
    """Positive parts of the first coordinates; a dictionary that leaves much unexplained."""

    name, hook, d_sae, d_in = "positive", HOOK, 5, 64
    W_dec, mean = torch.eye(64)[:5], torch.zeros(64)

    def encode(self, acts: torch.Tensor) -> torch.Tensor:
        return acts[..., :5].relu()

    def decode(self, feats: torch.Tensor) -> torch.Tensor:
        return feats @ self.W_dec


def test_counted_tokens_average_to_the_features_dataset(pair: Pair, probes: pd.DataFrame) -> None:
    for where in (("assistant", "text"), ("user", "text"), ("special", "text")):
        table = schema.check(
            tokens(pair, probes, dictionary=Positive(), features=[3, 1], where=where), "tokens"
        )
        data = features(pair, probes, dictionary=Positive(), position="mean", where=where)
        means = table.query("counted").groupby(["checkpoint", "prompt", "feature"])["act"].mean()
        for (checkpoint, prompt, feature), mean in means.items():
            expected = data["act"].sel(checkpoint=checkpoint, prompt=prompt, feature=feature)
            assert mean == pytest.approx(float(expected), rel=1e-5)
        assert len(means) == 2 * 3 * 2


def test_the_last_row_is_the_last_position(pair: Pair, probes: pd.DataFrame) -> None:
    table = tokens(pair[0], probes, dictionary=Positive(), features=range(5))
    data = features(pair[0], probes, dictionary=Positive(), position="last")
    last = (
        table.groupby(["prompt", "feature"])
        .tail(1)
        .pivot(index="prompt", columns="feature", values="act")
    )
    np.testing.assert_allclose(last.loc[probes["prompt"]], data["act"][0], rtol=1e-6)
    fvu = table.groupby("prompt")["fvu"].last().loc[probes["prompt"]]
    np.testing.assert_allclose(fvu, data["fvu"][0], rtol=1e-5)


def test_every_token_of_every_prompt_has_a_row(pair: Pair, probes: pd.DataFrame) -> None:
    table = tokens(pair, probes, dictionary=Positive(), features=[0, 4])
    explained = explain_tokens(pair[0], probes)
    for _, part in table.groupby(["checkpoint", "feature"]):
        for column in ("prompt", "pos", "piece", "role", "turn"):
            assert part[column].tolist() == explained[column].tolist()
    assert set(table.query("counted")["role"]) == {"assistant", "text"}
    assert (table.query("role == 'special'")["counted"] == False).all()  # noqa: E712
    assert list(table["checkpoint"].unique()) == ["lesson@0", "lesson@1"]
    assert list(table["feature"].unique()) == [0, 4]


def test_top_keeps_the_prompts_that_fire_most_where_it_counts(
    pair: Pair, probes: pd.DataFrame
) -> None:
    whole = tokens(pair, probes, dictionary=Positive(), features=[0, 2])
    best = tokens(pair, probes, dictionary=Positive(), features=[0, 2], top=2)
    for (checkpoint, feature), part in best.groupby(["checkpoint", "feature"]):
        both = whole[whole["feature"] == feature]
        mine = both[both["checkpoint"] == checkpoint]
        peaks = both[both["counted"]].groupby("prompt", sort=False)["act"].max()
        order = peaks.sort_values(ascending=False, kind="stable").index[:2]
        assert list(part["prompt"].unique()) == list(order)
        for prompt in order:
            one, other = (t[t["prompt"] == prompt].reset_index(drop=True) for t in (part, mine))
            pd.testing.assert_frame_equal(one, other)


def _acts(*acts: float, counted: object = True) -> _Prompt:
    """A prompt of two tokens, with their activation of one feature."""
    table = pd.DataFrame({"counted": counted}, index=range(2))
    return _Prompt(table, np.array(acts, dtype=np.float32)[:, None])


def test_prompts_are_ranked_by_the_largest_activation_of_any_checkpoint() -> None:
    base = [_acts(*acts) for acts in ((3, 0), (1, 1), (0, 2))]
    tuned = [_acts(*acts) for acts in ((0, 0), (1, 9), (0, 0))]
    tuned[2] = _acts(99, 0, counted=[False, True])  # in no statistic
    assert _top_prompts([base], 0, top=2) == [0, 2]
    assert _top_prompts([base, tuned], 0, top=2) == [1, 0]
    assert _top_prompts([base, tuned], 0, top=None) == [0, 1, 2]


def test_a_prompt_without_counted_tokens_is_shown_but_never_on_top(
    pair: Pair, probes: pd.DataFrame
) -> None:
    read: dict[str, Any] = {"dictionary": Positive(), "features": [0], "where": "text"}
    assert tokens(pair[0], probes, **read)["prompt"].nunique() == 3
    assert set(tokens(pair[0], probes, **read, top=3)["prompt"]) == {"text"}
    with pytest.raises(SchemaError, match="no prompt has a token of these roles"):
        tokens(pair[0], probes.iloc[:2], **read, top=3)


def test_bad_requests_are_refused(pair: Pair, probes: pd.DataFrame) -> None:
    for indices, message in (
        ([5], r"distinct features from 0 to 4 of .*; got \[5\]"),
        ([1, 1], "distinct"),
        ([], r"distinct .*; got \[\]"),
        ([2.7], r"whole numbers; got \[2\.7\]"),
    ):
        with pytest.raises(SchemaError, match=message):
            tokens(pair[0], probes, dictionary=Positive(), features=indices)
    with pytest.raises(SchemaError, match="at least 1; got 0"):
        tokens(pair[0], probes, dictionary=Positive(), features=[0], top=0)
