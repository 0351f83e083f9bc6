"""Every border function that reads models, and good files to begin from."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from persona_interp.models import Checkpoint, Trajectory, encode, load, resolve, sources
from persona_interp.models.gguf import from_gguf
from tests.fuzz.mutate import json_mutations, mutations
from tests.fuzz.trial import Trial
from tests.models.gguf_files import write_gguf

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


def trials(folder: Path) -> Iterator[Trial]:
    """All files of models, good ones written into a folder.

    Args:
        folder: An empty folder.

    Yields:
        The trials.
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
            yield _trial(f"model {name}", whole / name, lambda: _use(whole))
    index = folder / "shards" / "model.safetensors.index.json"
    yield _trial("index", index, lambda: _use(folder / "shards"))
    adapter = _adapter(start, folder / "adapter")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        yield _trial(f"adapter {name}", adapter / name, lambda: resolve(adapter, base=start))
    run = folder / "run"
    Trajectory((Checkpoint(start.path, "a", 0), Checkpoint(whole, "a", 1))).save(run)
    yield _trial(
        "trajectory", run / "trajectory.json", lambda: [Trajectory.open(run), sources(run)]
    )
    made = folder / "made"
    resolve("tiny", words=WORDS, out=made)
    yield _trial("record", made / "made_from.json", lambda: resolve("tiny", words=WORDS, out=made))
    gguf = write_gguf(folder / "small.gguf")
    yield _trial("gguf", gguf, lambda: from_gguf(gguf))


def _trial(name: str, file: Path, read: Callable[[], Any]) -> Trial:
    good = file.read_bytes()
    return Trial(name, file, good, read, partial(_mutants, good, file.suffix))


def _mutants(good: bytes, suffix: str, seed: int, n: int) -> Iterator[bytes]:
    """Bad files near a good one: of its bytes, and of its structure where it has one."""
    n_bytes = n if suffix != ".json" else n // 2
    yield from mutations(good, seed=seed, n=n_bytes)
    if suffix == ".json":
        for value in json_mutations(json.loads(good), seed=seed, n=n - n_bytes):
            yield json.dumps(value).encode()


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
