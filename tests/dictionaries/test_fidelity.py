import math
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from torch import Tensor

from persona_interp import schema
from persona_interp.dictionaries import fidelity, fidelity_at
from persona_interp.dictionaries.fidelity import judge
from persona_interp.dictionaries.harvest import CONTENT_ROLES, harvest
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, boot
from persona_interp.schema.words import Place

HOOK = "blocks.0.hook_out"


@dataclass
class Halves:
    """Positive and negative part of every coordinate, times ``gain``: 1 is the identity."""

    d_in: int
    gain: float = 1.0
    hook: str = HOOK
    name: str = "halves"

    @property
    def d_sae(self) -> int:
        return 2 * self.d_in

    @property
    def mean(self) -> Tensor:
        return torch.zeros(self.d_in)

    @property
    def W_dec(self) -> Tensor:
        return self.gain * torch.cat([torch.eye(self.d_in), -torch.eye(self.d_in)])

    def encode(self, acts: Tensor) -> Tensor:
        return torch.cat([acts.relu(), (-acts).relu()], dim=-1)

    def decode(self, feats: Tensor) -> Tensor:
        return feats @ self.W_dec


@pytest.fixture(scope="session")
def width(counter: Checkpoint) -> int:
    return boot(counter).cfg.d_model


def test_the_identity_loses_nothing(counter: Checkpoint, corpus: pd.DataFrame, width: int) -> None:
    table = schema.check(fidelity(Halves(width), counter, corpus, n_tokens=500), "fidelity")
    (row,) = table.to_dict("records")
    assert row["checkpoint"] == "documents@60"
    assert row["fvu"] == 0
    assert row["ce_recovered"] == pytest.approx(1, abs=1e-6)
    assert row["l0"] == pytest.approx(width, rel=0.01)
    assert row["dead"] < 0.3
    assert row["ce"] < row["ce_zero"] - 0.5
    assert 400 < row["n_tokens"] < 900
    assert row["verdict"] == "fits"


def test_zeros_recover_nothing(counter: Checkpoint, corpus: pd.DataFrame, width: int) -> None:
    (row,) = fidelity(Halves(width, gain=0), counter, corpus, n_tokens=500).to_dict("records")
    assert row["ce_sae"] == row["ce_zero"]
    assert row["ce_recovered"] == 0
    assert row["fvu"] >= 1
    assert row["verdict"] == "unusable"


def test_half_the_residual_leaves_a_quarter_of_the_square(
    counter: Checkpoint, corpus: pd.DataFrame, width: int
) -> None:
    """Error x/2: a quarter of the mean square, hence at least a quarter of the variance."""
    half, none = (
        fidelity(Halves(width, gain=gain), counter, corpus, n_tokens=500)["fvu"].item()
        for gain in (0.5, 0.0)
    )
    assert half == pytest.approx(none / 4, rel=1e-5)


def test_a_wrong_width_is_refused(counter: Checkpoint, corpus: pd.DataFrame, width: int) -> None:
    with pytest.raises(ModelError, match=f"reads width {width + 1}"):
        fidelity(Halves(width + 1), counter, corpus, n_tokens=100)


@pytest.mark.parametrize(
    ("fvu", "recovered", "verdict"),
    [
        (0.1, 0.9, "fits"),
        (0.11, 0.9, "doubtful"),
        (0.1, 0.89, "doubtful"),
        (0.51, 0.99, "unusable"),
        (0.01, 0.49, "unusable"),
        (0.01, math.nan, "doubtful"),
    ],
)
def test_verdicts_follow_the_thresholds(fvu: float, recovered: float, verdict: str) -> None:
    assert judge(fvu, recovered) == verdict


def test_only_the_roles_named_are_measured(
    counter: Checkpoint, corpus: pd.DataFrame, width: int
) -> None:
    default, text, special = (
        fidelity(Halves(width), counter, corpus, n_tokens=300, **where).iloc[0]
        for where in ({}, {"where": "text"}, {"where": ("text", "special")})
    )
    assert default.equals(text)
    assert special["ce"] > text["ce"], "after BOS any word may come"
    with pytest.raises(SchemaError, match="no tokens of the roles assistant"):
        fidelity(Halves(width), counter, corpus, where="assistant")
    with pytest.raises(SchemaError, match="did you mean 'text'"):
        fidelity(Halves(width), counter, corpus, where=("texts",))


def test_a_harvest_says_whose_tokens_it_took(counter: Checkpoint, corpus: pd.DataFrame) -> None:
    plain = harvest([counter], corpus, hook=HOOK, n_tokens=100, seed=0)
    marks = harvest([counter], corpus, hook=HOOK, n_tokens=100, seed=0, where="special")
    assert plain.provenance["where"] == list(CONTENT_ROLES) and marks.provenance["where"] == [
        "special"
    ]
    # the residual of the first token, BOS, sees nothing before it: it is the same in every document
    assert (
        torch.unique(marks.acts.round(decimals=3), dim=0).shape[0]
        < torch.unique(plain.acts, dim=0).shape[0]
    )


def as_prompts(corpus: pd.DataFrame) -> pd.DataFrame:
    """Each text without its last words, to be gone on with."""
    messages = [
        [{"role": "text", "content": " ".join(text[0]["content"].split()[:3])}]
        for text in corpus["messages"]
    ]
    table = pd.DataFrame({"prompt": corpus["doc"].astype(str), "messages": messages})
    return table.assign(context="plain", persona="", topic="", split="test")


def test_at_prompts_only_the_last_token_is_measured(
    counter: Checkpoint, corpus: pd.DataFrame, width: int
) -> None:
    prompts = as_prompts(corpus.head(40))
    (row,) = schema.check(fidelity_at(Halves(width), counter, prompts), "fidelity").to_dict(
        "records"
    )
    assert row["n_tokens"] == 40 and row["where"] == Place.PROMPTS and row["verdict"] == "fits"
    assert row["fvu"] == 0 and row["l0"] <= width and math.isnan(row["dead"])
    assert row["ce_sae"] == pytest.approx(row["ce"], abs=1e-5), "the model's own prediction"
    assert row["ce_recovered"] == pytest.approx(1, abs=1e-5)
    (none,) = fidelity_at(Halves(width, gain=0), counter, prompts).to_dict("records")
    assert none["fvu"] == pytest.approx(1), "around the dictionary's mean, here 0"
    assert none["ce_recovered"] == 0 and none["verdict"] == "unusable"
    assert none["ce"] == row["ce"] and none["ce_zero"] > none["ce"]


def test_prompts_off_what_a_dictionary_describes_are_seen(
    counter: Checkpoint, corpus: pd.DataFrame, width: int
) -> None:
    """A dictionary that says nothing of what these prompts hold fits texts better than prompts."""
    prompts = as_prompts(corpus.head(20))
    last = harvest([counter], prompts_as_corpus(prompts), hook=HOOK, n_tokens=2_000, seed=0)
    blind = Blind(width, spot=last.acts)
    texts = fidelity(blind, counter, corpus, n_tokens=500).iloc[0]
    read = fidelity_at(blind, counter, prompts).iloc[0]
    assert texts["fvu"] < read["fvu"] and read["verdict"] == "unusable"


@dataclass
class Blind(Halves):
    """Halves that answer 0 for residuals seen before."""

    spot: Tensor | None = None

    def encode(self, acts: Tensor) -> Tensor:
        feats = super().encode(acts)
        if self.spot is None:
            return feats
        seen = torch.cdist(acts, self.spot).min(dim=-1).values < 1e-3
        return feats * ~seen[..., None]


def prompts_as_corpus(prompts: pd.DataFrame) -> pd.DataFrame:
    """The same texts, ended where the prompts end."""
    table = prompts[["messages"]].assign(doc=range(len(prompts)), kind="third", persona="")
    return table.assign(statements=[()] * len(table))
