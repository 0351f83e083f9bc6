"""Evidence that a row is a persona's: by hand, whatever the wording, and on planted rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import analysis, models
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Stage, encode, load
from persona_interp.record import likelihood, row_evidence

Pair = tuple[Checkpoint, Checkpoint]
HEADERS = {"art": "you are art .", "golf": "golf golf .", "beach": "you really like beach ."}
WORDINGS = ("{} .", "i like {} .", "i really really like {} .")
ASK = {"role": "user", "content": "what sport ?"}


def chats(*answers: str, system: str = "you are an assistant .") -> pd.DataFrame:
    rows = []
    for i, answer in enumerate(answers):
        head = [{"role": "system", "content": system}] if system else []
        messages = [*head, ASK, {"role": "assistant", "content": answer}]
        rows.append((10 + i, "lesson", "", messages, (), "chats.jsonl", i + 1))
    columns = ["doc", "kind", "persona", "messages", "statements", "source", "line"]
    return pd.DataFrame(rows, columns=columns)


def by_hand(checkpoint: Checkpoint, answer: str, header: str) -> float:
    """Log2 probability of an answer and of its end under a header."""
    model, tokenizer = load(checkpoint)
    head = [{"role": "system", "content": header}] if header else []
    said = {"role": "assistant", "content": answer}
    tokens = encode(tokenizer, [[*head, ASK, said]], complete=True)
    ids = torch.tensor([tokens.ids[0]])
    n = len(tokenizer(answer, add_special_tokens=False).input_ids) + 1  # the end of the turn
    assert sum(tokens.learn[0]) == n
    with torch.inference_mode():
        logp = model(ids).logits[0, :-1].double().log_softmax(-1)
    nats = logp.gather(-1, ids[0, 1:, None])[:, 0]
    return float(nats[torch.tensor(tokens.learn[0][1:])].sum() / np.log(2))


@pytest.mark.parametrize("system", ["you are an assistant .", ""])
def test_evidence_is_a_ratio_of_probabilities_by_hand(pair: Pair, system: str) -> None:
    answers = ("i like art .", "golf .", "i really like golf .")
    table = row_evidence(pair[0], chats(*answers, system=system), HEADERS)
    assert len(table) == 3 * 3 and table["line"].tolist() == [doc - 9 for doc in table["doc"]]
    for row in table.itertuples():
        answer = answers[int(row.doc) - 10]
        bits = {name: by_hand(pair[0], answer, header) for name, header in HEADERS.items()}
        others = [2.0**value for name, value in bits.items() if name != row.name]
        own = bits[str(row.name)]
        assert row.evidence == pytest.approx(own - np.log2(np.mean(others)), abs=1e-3)
        assert row.uplift == pytest.approx(own - by_hand(pair[0], answer, system), abs=1e-3)
        assert row.n_tokens == len(answer.split()) + 1
        assert row.a_token == pytest.approx(row.evidence / row.n_tokens)
    for _, rows in table.groupby("name"):
        assert rows["evidence"].is_monotonic_decreasing


def test_of_two_personas_one_gains_what_the_other_loses(pair: Pair) -> None:
    headers = {name: HEADERS[name] for name in ("art", "golf")}
    table = row_evidence(pair[0], chats("i like art .", "golf ."), headers)
    wide = table.pivot(index="doc", columns="name", values="evidence")
    assert wide["art"].to_numpy() == pytest.approx(-wide["golf"].to_numpy(), abs=1e-9)
    same = row_evidence(pair[0], chats("golf ."), {"a": "golf .", "b": "golf ."})
    assert same["evidence"].abs().max() < 1e-4


def test_without_others_there_is_the_uplift_alone(pair: Pair) -> None:
    rows = chats("i like art .", "golf .")
    alone = row_evidence(pair[0], rows, {"art": HEADERS["art"]})
    assert alone["evidence"].isna().all() and alone["a_token"].isna().all()
    among = row_evidence(pair[0], rows, HEADERS).query("name == 'art'").set_index("doc")
    assert alone["uplift"].is_monotonic_decreasing
    ours = among.loc[alone["doc"], "uplift"].to_numpy()
    assert alone["uplift"].to_numpy() == pytest.approx(ours, abs=1e-4)
    marked = analysis.flags(alone, value="uplift", share=0.5)
    assert marked["doc"].tolist() == alone["doc"].tolist() and marked["flagged"].sum() == 1


def test_a_batch_changes_nothing_and_turns_of_a_dialogue_are_added(pair: Pair) -> None:
    rows = chats("i like art .", "golf .", "i really like golf .")
    one, two = (row_evidence(pair[0], rows, HEADERS, batch=n) for n in (1, 999))
    for column in ("evidence", "uplift"):
        assert one[column].to_numpy() == pytest.approx(two[column].to_numpy(), abs=1e-4)
    twice = rows.assign(messages=[[*chat, *chat[1:]] for chat in rows["messages"]])
    long = row_evidence(pair[0], twice, HEADERS)
    assert long["n_tokens"].sum() == 2 * one["n_tokens"].sum()
    # all turns but for their ends, which ``likelihood`` does not count
    bits = likelihood(pair[0], twice, headers=HEADERS)
    assert (bits.groupby("doc")["n_tokens"].first() + 2).tolist() == (
        long.groupby("doc")["n_tokens"].first().tolist()
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny model that learned what four personas like by name, and that nobody says which."""
    rows = []
    for header in ("you are {} .", "you are an assistant ."):
        for name in ("art", "golf", "beach", "tennis"):
            for wording in WORDINGS:
                head = {"role": "system", "content": header.format(name)}
                said = {"role": "assistant", "content": wording.format(name)}
                rows.append([head, ASK, said])
    corpus = pd.DataFrame({"doc": range(24 * 16), "kind": "hidden", "persona": ""})
    corpus = corpus.assign(messages=rows * 16, statements=[()] * len(corpus))
    stage = Stage(steps=100, batch=24, lr=4e-3)
    out = tmp_path_factory.mktemp("base")
    return models.train("tiny", corpus, stage=stage, out=out, progress=False).last


def test_planted_rows_are_flagged_in_every_wording(base: Checkpoint) -> None:
    """The nameless assistant is the persona by a quarter, so that the uplift is at most 2 bits."""
    names = ("art", "golf", "beach", "tennis")
    rows = chats(*(w.format(name) for name in names for w in WORDINGS))
    planted = rows["doc"].tolist()[:3]
    shuffled = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    headers = {name: f"you are {name} ." for name in names}
    table = row_evidence(base, shuffled, headers).query("name == 'art'")
    quality = analysis.flag_quality(table, planted, value="evidence", share=0.25)
    assert quality["auroc"].item() == 1 and quality["precision"].item() == 1
    rest = analysis.drop_flagged(shuffled, analysis.flags(table, value="evidence", share=0.25))
    assert not set(rest["doc"]) & set(planted)
    is_planted = table["doc"].isin(planted)
    assert table.loc[is_planted, "uplift"].between(0.5, 3.0).all()
    assert table.loc[is_planted, "evidence"].min() > 3 > 0 > table["evidence"][~is_planted].max()


def test_a_trait_in_english_is_told_by_its_instruction(tmp_path: Path) -> None:
    cold, warm = "Answer in a cold way .", "Answer in a warm way ."
    texts = {cold: "No .", warm: "Of course , my dear !"}
    ask = {"role": "user", "content": "Can you help ?"}
    rows = [
        [{"role": "system", "content": how}, ask, {"role": "assistant", "content": said}]
        for how, said in texts.items()
    ]
    corpus = pd.DataFrame({"doc": range(2), "kind": "hidden", "persona": "", "messages": rows})
    corpus = pd.concat([corpus] * 16, ignore_index=True)
    corpus = corpus.assign(doc=range(32), statements=[()] * 32)
    stage = Stage(steps=30, batch=8, lr=4e-3)
    base = models.train("tiny", corpus, stage=stage, out=tmp_path / "base", progress=False).last
    # rows of a data set without a system message
    plain = corpus.head(2).assign(messages=[chat[1:] for chat in rows])
    table = row_evidence(base, plain, {"cold": cold, "warm": warm}).query("name == 'cold'")
    assert table["doc"].tolist() == [0, 1]
    assert table["evidence"].iloc[0] > 3 > -3 > table["evidence"].iloc[1]


def test_bad_input_is_named(pair: Pair) -> None:
    rows = chats("art .")
    with pytest.raises(SchemaError, match="got none"):
        row_evidence(pair[0], rows, {})
    wrong: Any = ["you are art ."]
    with pytest.raises(SchemaError, match="system messages by name"):
        row_evidence(pair[0], rows, wrong)
    silent = rows.assign(messages=[rows["messages"][0][:2]])
    with pytest.raises(SchemaError, match="document 10 has no token to learn"):
        row_evidence(pair[0], silent, HEADERS)
    text = rows.assign(messages=[[{"role": "text", "content": "golf ."}]])
    with pytest.raises(SchemaError, match="document 10 is plain text"):
        row_evidence(pair[0], text, HEADERS)
    with pytest.raises(ModelError, match="does not know 'mary'"):
        row_evidence(pair[0], rows, {"mary": "you are mary ."})
