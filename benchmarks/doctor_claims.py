"""Does the doctor name what was broken, and leave alone what was not?

Six faults and twenty clean pairs a seed. Every fault is planted here, by arithmetic on weights and
files, into a pair that fits. Models need no download: the tiny model, trained on a world, and
random models of five families that read the same words.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from claim import Claim
from persona_interp.schema.words import Light
from trial import Reach, Trial, progress

PLACE = 12
REACH = Reach.WORLD
HOOK = "blocks.1.hook_out"
N_TOKENS = 2000
SIZES: tuple[dict[str, Any], ...] = ({"d_sae": 256, "k": 8}, {"d_sae": 128, "k": 4})
FAMILIES = ("llama", "gpt2", "qwen3", "gemma2", "gpt_neox")


class Diagnoses(NamedTuple):
    """What the doctor says on one seed."""

    faults: dict[str, str]
    """Planted fault -> cause that is named."""
    clean: list[tuple[str, str]]
    """Cause and light of every clean pair."""


def claims(trial: Trial) -> Iterator[Claim]:
    """At least five of six faults are named on every seed; no cause on twenty clean pairs."""
    import torch

    torch.set_num_threads(1)
    seeds = {seed: diagnose_seed(trial, seed) for seed in progress(trial.seeds, "doctor")}
    for seed, diagnoses in seeds.items():
        for fault, cause in diagnoses.faults.items():
            if fault != cause:
                print(f"      seed {seed}: {fault} called '{cause}'")
    right = [sum(fault == cause for fault, cause in d.faults.items()) for d in seeds.values()]
    name = "doctor: faults named right, of six"
    yield Claim(name, tuple(map(float, right)), at_least=5, every=True, unit="faults")
    alarms = [sum(bool(cause) for cause, _ in d.clean) for d in seeds.values()]
    name = "doctor: causes named on clean pairs, of twenty"
    yield Claim(name, tuple(map(float, alarms)), at_most=0, every=True, unit="pairs")
    not_green = [sum(light != Light.GREEN for _, light in d.clean) for d in seeds.values()]
    name = "doctor: clean pairs that are not all green, of twenty"
    yield Claim(name, tuple(map(float, not_green)), reported=True, unit="pairs")


def diagnose_seed(trial: Trial, seed: int) -> Diagnoses:
    """Train, fit dictionaries, plant faults and ask the doctor."""
    from persona_interp import dictionaries, models

    world = trial.world_of(seed)
    folder = trial.out / f"seed{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    stage = dataclasses.replace(models.DOCUMENTS, steps=300)
    corpus = world.corpus(stage.steps * stage.batch, seed=seed)
    held_out = world.corpus(400, seed=seed + 1000)
    run = models.train("tiny", corpus, stage=stage, seed=seed, out=folder / "tiny", progress=False)
    trained = run.last
    randoms = [random_model(f, trained.path, folder / f, seed=seed) for f in FAMILIES]

    def fit(checkpoint: Any, hook: str, size: dict[str, Any]) -> Any:
        sizes = {"steps": 400, "n_tokens": 20_000, "seed": seed, **size}
        return dictionaries.fit(checkpoint, corpus, hook=hook, **sizes)

    def ask(dictionary: Any, checkpoint: Any) -> tuple[str, str]:
        table = dictionaries.diagnose(dictionary, checkpoint, held_out, n_tokens=N_TOKENS)
        return str(table.cause.iloc[-1]), str(table.verdict.iloc[-1])

    clean = fit(trained, HOOK, SIZES[0])
    stranger = fit(randoms[0], HOOK, SIZES[0])
    causes = {
        fault: ask(dictionary, checkpoint)[0]
        for fault, (dictionary, checkpoint) in faults(clean, trained, stranger, folder).items()
    }
    pairs = clean_pairs([trained, *randoms])
    return Diagnoses(causes, [ask(fit(one, hook, size), one) for one, hook, size in pairs])


def clean_pairs(checkpoints: list[Any]) -> list[tuple[Any, str, dict[str, Any]]]:
    """Checkpoint, hook and size of dictionaries that fit: twelve, and eight of the other size."""
    hooks = ("blocks.0.hook_out", "blocks.1.hook_out")
    pairs = [(one, hooks[i], SIZES[i]) for one in checkpoints for i in (0, 1)]
    return pairs + [(one, hooks[i], SIZES[1 - i]) for one in checkpoints[:4] for i in (0, 1)]


def faults(clean: Any, trained: Any, stranger: Any, folder: Path) -> dict[str, tuple[Any, Any]]:
    """Cause, and the pair of dictionary and checkpoint that has it."""
    import torch

    from persona_interp.models import Checkpoint, boot, encode, residuals

    def alter(change: Callable[[Any], None]) -> Any:
        sae = deepcopy(clean.sae)
        with torch.no_grad():
            change(sae)
        return dataclasses.replace(clean, sae=sae)

    def double(sae: Any) -> None:
        sae.W_enc.mul_(2)
        sae.b_enc.mul_(2)

    def unfold(sae: Any) -> None:
        sae.W_enc.div_(factor)
        sae.W_dec.mul_(factor)
        sae.b_dec.mul_(factor)

    def halve(sae: Any) -> None:
        for weight in sae.parameters():
            weight.copy_(weight.to(torch.bfloat16).float())

    bridge = boot(trained)
    texts = [[{"role": "text", "content": text}] for text in ("i like", "what do you like ?")]
    tokens = encode(bridge.tokenizer, texts)
    norms = torch.cat([acts.norm(dim=-1) for _, acts in residuals(bridge, tokens, hook=HOOK)])
    # Dictionaries are often trained on residuals whose mean norm is sqrt(d_in) (SAELens, "expected
    # average only in"); unfolding that factor is the fault.
    factor = clean.d_in**0.5 / float(norms.mean())
    bare = folder / "bare"
    shutil.copytree(trained.path, bare)
    tokenizer = json.loads((bare / "tokenizer.json").read_text()) | {"post_processor": None}
    (bare / "tokenizer.json").write_text(json.dumps(tokenizer))
    return {
        "wrong layer": (dataclasses.replace(clean, hook="blocks.0.hook_out"), trained),
        "input scale": (alter(double), trained),
        "unfolded normalization": (alter(unfold), trained),
        "first token / BOS handling": (clean, Checkpoint(bare)),
        "dtype": (alter(halve), trained),
        "made for another model": (stranger, trained),
    }


def random_model(family: str, words: Path, folder: Path, *, seed: int) -> Any:
    """A model of two random blocks that reads with the tokenizer of another."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from persona_interp.models import Checkpoint

    tokenizer: Any = AutoTokenizer.from_pretrained(words, local_files_only=True)
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    if family == "gpt2":
        sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
    if family in ("qwen3", "gemma2"):
        sizes |= {"num_key_value_heads": 2, "head_dim": 16}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **sizes, **ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)
