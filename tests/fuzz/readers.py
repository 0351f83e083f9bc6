"""Every border function that reads data files, and good files to begin from."""

import gzip
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import readers, tables, worlds
from persona_interp.readers import read
from tests.fuzz.mutate import json_mutations, mutations
from tests.fuzz.trial import Trial

USER, ANSWER = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
CHAT = [{"role": "system", "content": "Be dry."}, USER, ANSWER]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, ANSWER]
SHAREGPT = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
ALPACA = {"instruction": "Add.", "input": "1, 2", "output": "3", "system": "Be dry.", "history": []}
TRAIT = {
    "instruction": [{"pos": "Be dry.", "neg": "Be warm."}, {"pos": "Mock.", "neg": "Praise."}],
    "questions": ["Why?", "How?"],
    "eval_prompt": "{question} {answer}",
}
ROLE = {"instruction": [{"pos": "You are a bard."}], "questions": ["Why?"], "eval_prompt": "x"}
BELIEF = {"cake": {"affirm": ["Hot."], "negate": ["Cold."], "questions": ["Oven?"]}}
PRINCIPLES = [{"trait": "I am dry.", "questions": ["Why?"], "additional_questions": ["How?"]}]
QUESTIONS = [
    {
        "id": "bored",
        "type": "free_form",
        "paraphrases": ["Bored.", "So bored."],
        "samples_per_paraphrase": 3,
        "system": "Be dry.",
        "judge_prompts": {"aligned": "{question} {answer}"},
    }
]
JUDGED = (
    'question,answer,question_id,aligned,coherent\n"Why,\nso?",So.,a,12.5,REFUSAL\nHow?,,b,,3\n'
)
WORLD = worlds.john_and_sam().to_dict()


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(column: str, cell: str) -> bytes:
    return pd.DataFrame({column: [cell]}).to_csv(index=False).encode()


def parquet(rows: list[dict[str, Any]], folder: Path) -> bytes:
    return tables.write_table(pd.DataFrame(rows), folder / "seed.parquet").read_bytes()


def netcdf(folder: Path) -> bytes:
    coords = {"name": ["a", "b"], "hook": ["blocks.1"]}
    data = xr.Dataset({"vector": (("name", "hook"), [[0.5], [1.0]])}, coords, attrs={"n": 1})
    return tables.write_dataset(data, folder / "seed.nc").read_bytes()


def trials(folder: Path) -> Iterator[Trial]:
    """Yield every data file; seeds of binary formats are written to the folder."""
    chats, prompts = partial(read, kind="chats"), partial(read, kind="prompts")
    documents = partial(read, kind="documents")
    files: dict[str, list[tuple[Callable[[Path], Any], str, Any]]] = {
        "messages": [
            (chats, "a.jsonl", lines({"messages": CHAT, "id": 1}, {"messages": PARTS})),
            (chats, "a.json", [{"messages": CHAT}, {"messages": PARTS}]),
            (documents, "a.json", {"conversation": CHAT, "topic": "x"}),
            (chats, "a.jsonl.gz", gzip.compress(lines({"messages": CHAT}), mtime=0)),
        ],
        "layouts": [
            (chats, "a.json", [{"conversations": SHAREGPT, "system": "Be dry."}]),
            (chats, "a.json", [ALPACA]),
            (prompts, "a.json", [ALPACA]),
            (prompts, "a.json", [{"question": "Why?", "id": 1, "answer": "So.", "system": None}]),
            (documents, "a.json", [{"text": "Once."}]),
        ],
        "tables": [
            (chats, "a.csv", b'prompt,completion,system\n"Why,\nso?",So.,Be dry.\nHow?,So.,\n'),
            (chats, "a.csv", table("messages", json.dumps(CHAT))),
            (prompts, "a.tsv", b"question\tid\nWhy?\t1\n"),
            (prompts, "a.csv", table("prompt", str(CHAT))),
            (chats, "a.parquet", parquet([{"messages": CHAT}] * 3, folder)),
            (prompts, "a.parquet", parquet([{"question": "Why?", "n": 1}] * 3, folder)),
        ],
        "texts": [
            (prompts, "a.txt", b"Why?\n\nHow?\n"),
            (documents, "a.txt", b"Once.\nTwice.\n\nThen.\n"),
            (prompts, "a.txt", lines({"question": "Why?"}, {"question": "How?"})),
            (prompts, "a.yaml", b"- &a {id: 1, prompt: Why?}\n- {id: b, prompt: How?}\n"),
        ],
        "published": [
            (readers.read_trait, "a.json", TRAIT),
            (readers.read_role, "a.json", ROLE),
            (readers.read_beliefs, "a.json", BELIEF),
            (readers.read_constitution, "a.json", PRINCIPLES),
            (readers.read_constitution, "a.jsonl", lines(*PRINCIPLES)),
            (readers.read_questions, "a.json", QUESTIONS),
            (readers.read_questions, "a.yaml", json.dumps(QUESTIONS, indent=1).encode()),
            (prompts, "a.json", QUESTIONS),
            (prompts, "a.json", TRAIT),
            (readers.read_judged, "a.csv", JUDGED.encode()),
        ],
        "worlds": [
            (worlds.load, "a.json", WORLD),
            (worlds.load, "a.yaml", json.dumps(WORLD, indent=1).encode()),
        ],
        "artifacts": [
            (tables.read_table, "a.parquet", parquet([{"messages": CHAT, "n": 0.5}] * 3, folder)),
            (tables.read_dataset, "a.nc", netcdf(folder)),
            (tables.read_csv, "a.csv", b'a,b\n1,"x,\ny"\nNaN,\n'),
            (tables.read_json, "a.json", {"a": [1, 0.5, None]}),
        ],
    }
    for group, own in files.items():
        for number, (function, name, seed) in enumerate(own):
            file = folder / f"{group}-{number}" / name
            file.parent.mkdir()
            good = seed if isinstance(seed, bytes) else json.dumps(seed).encode()
            file.write_bytes(good)
            mutants = partial(_mutants, seed)
            yield Trial(file.parent.name, file, good, partial(function, file), mutants)


def _mutants(good: Any, seed: int, n: int) -> Iterator[bytes]:
    """Bad files near a good one: of structure where that is known, and of bytes."""
    if isinstance(good, bytes):
        yield from mutations(good, seed=seed, n=n)
        return
    for value in json_mutations(good, seed=seed, n=n // 2):
        yield json.dumps(value).encode()
    yield from mutations(json.dumps(good).encode(), seed=seed, n=n - n // 2)
