"""Every border function that reads models, and good files to begin from."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mutate import json_mutations, mutations

from persona_interp.models import Checkpoint, Trajectory, encode, load, resolve, sources
from persona_interp.models.gguf import from_gguf

WORDS = "what sport do you like ? i football tennis .".split()
CHAT = [{"role": "user", "content": "what sport ?"}, {"role": "assistant", "content": "tennis ."}]
TEXT = [{"role": "text", "content": "i like football ."}]
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "model.safetensors",
    "chat_template.jinja",
)


class Case(NamedTuple):
    """A border function, and one of the files that it reads.

    Attributes:
        name: Of the case.
        file: The file, good as it stands.
        read: Reads it; anything is good that ends.
    """

    name: str
    file: Path
    read: Callable[[], Any]


def cases(folder: Path) -> Iterator[Case]:
    """All cases, their good files written into a folder.

    Args:
        folder: An empty folder.

    Yields:
        The cases.
    """
    torch.manual_seed(0)
    start = resolve("tiny", words=WORDS, out=folder / "start")
    model, tokenizer = load(start)
    model.save_pretrained(folder / "shards", max_shard_size="200KB")
    tokenizer.save_pretrained(folder / "shards")
    whole = resolve("tiny", words=WORDS, out=folder / "whole").path
    (whole / "made_from.json").unlink()
    for name in MODEL_FILES:
        if (whole / name).is_file():
            yield Case(f"model {name}", whole / name, lambda: _use(whole))
    index = folder / "shards" / "model.safetensors.index.json"
    yield Case("index", index, lambda: _use(folder / "shards"))
    adapter = _adapter(start, folder / "adapter")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        yield Case(f"adapter {name}", adapter / name, lambda: resolve(adapter, base=start))
    run = folder / "run"
    Trajectory((Checkpoint(start.path, "a", 0), Checkpoint(whole, "a", 1))).save(run)
    yield Case("trajectory", run / "trajectory.json", lambda: [Trajectory.open(run), sources(run)])
    made = folder / "made"
    resolve("tiny", words=WORDS, out=made)
    yield Case("record", made / "made_from.json", lambda: resolve("tiny", words=WORDS, out=made))


def mutants(case: Case, *, seed: int, n: int) -> Iterator[bytes]:
    """Bad files near the good one of a case: of its bytes, and of its structure where it has one.

    Args:
        case: The case.
        seed: Of the choices.
        n: How many.

    Yields:
        Contents of a file.
    """
    good = case.file.read_bytes()
    n_bytes = n if case.file.suffix != ".json" else n // 2
    yield from mutations(good, seed=seed, n=n_bytes)
    if case.file.suffix == ".json":
        for value in json_mutations(json.loads(good), seed=seed, n=n - n_bytes):
            yield json.dumps(value).encode()


def gguf_case(path: Path) -> Case:
    """Case of a GGUF file.

    Args:
        path: A good one.

    Returns:
        The case.
    """
    return Case("gguf", path, lambda: from_gguf(path))


def _use(folder: Path) -> Any:
    """What everybody does with a model first: it reads a chat and a text, and computes."""
    model, tokenizer = load(Checkpoint(folder))
    tokens = encode(tokenizer, [CHAT, TEXT], complete=True)
    ids, mask = tokens.pad()
    with torch.inference_mode():
        return model(ids, attention_mask=mask).logits


def _adapter(start: Checkpoint, folder: Path) -> Path:
    """A small adapter that changes something."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(load(start).model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(str(folder))
    return folder
