from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError, SchemaError, StoreError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.record import answers, conversations
from persona_interp.record.generation import stop_tokens

Pair = tuple[Checkpoint, Checkpoint]


def test_an_answer_does_not_depend_on_the_other_prompts(
    pair: Pair, questions: pd.DataFrame
) -> None:
    whole = answers(pair[0], questions, n=2, max_new_tokens=6, cache=False)
    assert list(whole["sample"]) == [0, 1] * len(questions)
    assert len(set(whole["answer"])) > len(questions)
    for i in (0, len(questions) - 1):
        alone = answers(pair[0], questions.iloc[[i]], n=2, max_new_tokens=6, cache=False)
        assert list(alone["answer"]) == list(whole["answer"][2 * i : 2 * i + 2])
    # an index says nothing
    twice = pd.concat([questions.head(6), questions.tail(6)]).set_axis([0, 1] * 6)
    assert answers(pair[0], twice, n=2, max_new_tokens=6, cache=False)["answer"].equals(
        whole["answer"]
    )
    turned = answers(pair[0], questions.iloc[::-1], n=2, max_new_tokens=6, cache=False)
    mine, theirs = (t.set_index(["prompt", "sample"])["answer"] for t in (whole, turned))
    assert theirs.reindex(mine.index).equals(mine)


def test_draws_have_the_probabilities_of_the_model(pair: Pair, questions: pd.DataFrame) -> None:
    table = answers(pair[0], questions.head(1), n=1500, max_new_tokens=1, cache=False)
    model, tokenizer = load(pair[0])
    tokens = encode(tokenizer, list(questions["messages"].head(1)))
    with torch.inference_mode():
        p = model(torch.tensor(tokens.ids)).logits[0, -1].double().softmax(-1)
    token = int(p.argmax())
    share = (table["answer"] == tokenizer.decode([token], skip_special_tokens=True)).mean()
    assert share == pytest.approx(
        float(p[token]), abs=4 * float((p[token] * (1 - p[token]) / 1500).sqrt())
    )


def test_temperature_zero_is_the_most_probable_token_and_seeds_matter(
    pair: Pair, questions: pd.DataFrame
) -> None:
    greedy = answers(pair[0], questions, n=2, temperature=0, max_new_tokens=4, cache=False)
    assert (greedy["answer"][::2].to_numpy() == greedy["answer"][1::2].to_numpy()).all()
    one, two = (
        answers(pair[0], questions, seed=seed, max_new_tokens=4, cache=False)["answer"]
        for seed in (0, 1)
    )
    assert not one.equals(two)
    assert answers(pair[0], questions, max_new_tokens=4, cache=False)["answer"].equals(one)


def test_answers_are_kept_by_weights_tokens_and_settings(
    pair: Pair, questions: pd.DataFrame, tmp_path: Path
) -> None:
    first = answers(pair[0], questions, max_new_tokens=4, cache=tmp_path)
    (file,) = tmp_path.glob("*.parquet")
    mtime = file.stat().st_mtime_ns
    renamed = questions.assign(prompt=[f"other {i}" for i in range(len(questions))])
    again = answers(pair[0], renamed, max_new_tokens=4, cache=tmp_path)
    assert list(again["answer"]) == list(first["answer"])
    assert list(again["prompt"]) == list(renamed["prompt"])
    assert file.stat().st_mtime_ns == mtime and again.attrs == first.attrs
    answers(pair[1], questions, max_new_tokens=4, cache=tmp_path)
    answers(pair[0], questions, max_new_tokens=4, seed=1, cache=tmp_path)
    answers(pair[0], questions.head(2), max_new_tokens=4, cache=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 4
    file.write_bytes(b"half a file")
    with pytest.raises(StoreError, match="remove it to draw again"):
        answers(pair[0], questions, max_new_tokens=4, cache=tmp_path)


def test_an_answer_ends_at_the_end_of_turn(pair: Pair, questions: pd.DataFrame) -> None:
    model, tokenizer = load(pair[0])
    assert stop_tokens(model, tokenizer) == [tokenizer.eos_token_id]
    table = answers(pair[0], questions, n=20, max_new_tokens=12, cache=False)
    assert table["ended"].any() and not table["ended"].all()
    assert (table.loc[~table["ended"], "n_tokens"] == 12).all()
    assert (table.loc[table["ended"], "n_tokens"] < 12).all()
    assert table.attrs["n_unended"] == (~table["ended"]).sum()
    assert table.attrs["n_answers"] == 20 * len(questions)


def test_conversations_end_with_the_answer_and_the_empty_are_counted(
    pair: Pair, questions: pd.DataFrame
) -> None:
    table = answers(pair[0], questions, n=2, max_new_tokens=4, cache=False)
    table.loc[1, "answer"] = ""
    chats, empty = conversations(table), (table["answer"] == "").sum()
    assert chats.attrs["n_empty"] == empty >= 1
    assert len(chats) == len(table) - empty and chats["prompt"].is_unique
    assert chats["messages"][0][:-1] == questions["messages"].iloc[0]
    assert chats["messages"][0][-1] == {"role": "assistant", "content": table["answer"][0]}
    with pytest.raises(SchemaError, match="are empty"):
        conversations(table.iloc[[1]])


def test_bad_settings_are_named(pair: Pair, questions: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="did you mean 'float32'"):
        answers(pair[0], questions, dtype="flat32", cache=False)
    with pytest.raises(SchemaError, match="temperature=-1"):
        answers(pair[0], questions, temperature=-1, cache=False)
    with pytest.raises(SchemaError, match="no rows"):
        answers(pair[0], questions.iloc[:0], cache=False)
    begun = [
        [*messages, {"role": "assistant", "content": "i like"}]
        for messages in questions["messages"]
    ]
    with pytest.raises(SchemaError, match="unfinished answer"):
        conversations(
            answers(pair[0], questions.assign(messages=begun), max_new_tokens=4, cache=False)
        )
