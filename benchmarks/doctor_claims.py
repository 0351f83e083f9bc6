"""Does the doctor name what was broken, and leave alone what was not? Six faults and twenty clean pairs a seed.

Every fault is planted here, by arithmetic on weights and files, into a pair that fits. Models need
no download: the tiny model, trained on a world, and random models of five families that read the
same words.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd

from claim import Claim

HOOK = "blocks.1.hook_out"
N_TOKENS = 2000
MADE: tuple[dict[str, Any], ...] = ({"d_sae": 256, "k": 8}, {"d_sae": 128, "k": 4})
FAMILIES = ("llama", "gpt2", "qwen3", "gemma2", "gpt_neox")


def doctor_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """At least five of six faults are named on every seed; no cause on any of twenty clean pairs."""
    import torch

    from persona_interp import dictionaries, models, worlds

    torch.set_num_threads(1)
    right, wrong, alarms, reds = [], [], [], []
    for seed in seeds:
        world = worlds.load(world_file) if world_file else worlds.john_and_sam(seed)
        folder = out / f"seed{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        stage = dataclasses.replace(models.DOCUMENTS, steps=300)
        corpus = world.corpus(stage.steps * stage.batch, seed=seed)
        held_out = world.corpus(400, seed=seed + 1000)
        trained = models.train(
            "tiny", corpus, stage=stage, seed=seed, out=folder / "tiny", progress=False
        ).last
        randoms = [
            random_model(family, trained.path, folder / family, seed=seed) for family in FAMILIES
        ]

        def cause(
            dictionary: Any, checkpoint: Any, text: pd.DataFrame = held_out
        ) -> tuple[str, str]:
            table = dictionaries.diagnose(dictionary, checkpoint, text, n_tokens=N_TOKENS)
            return str(table.cause.iloc[-1]), str(table.verdict.iloc[-1])

        def fit(
            checkpoint: Any,
            hook: str,
            made: dict[str, Any],
            text: pd.DataFrame = corpus,
            of: int = seed,
        ) -> Any:
            return dictionaries.fit(
                checkpoint, text, hook=hook, steps=400, n_tokens=20_000, seed=of, **made
            )

        clean = fit(trained, HOOK, MADE[0])
        stranger = fit(randoms[0], HOOK, MADE[0])
        named = {
            fault: cause(dictionary, checkpoint)[0]
            for fault, (dictionary, checkpoint) in faults(clean, trained, stranger, folder).items()
        }
        right.append(float(sum(fault == found for fault, found in named.items())))
        wrong += [
            f"seed {seed}: {fault} called '{found}'"
            for fault, found in named.items()
            if fault != found
        ]
        pairs = [
            (one, f"blocks.{block}.hook_out", MADE[block % 2])
            for one in (trained, *randoms)
            for block in (0, 1)
        ]
        pairs += [
            (one, f"blocks.{block}.hook_out", MADE[1 - block])
            for one in (trained, *randoms[:3])
            for block in (0, 1)
        ]
        lights = [cause(fit(one, hook, made), one) for one, hook, made in pairs]
        alarms.append(float(sum(bool(found) for found, _ in lights)))
        reds.append(float(sum(light != "green" for _, light in lights)))
    for line in wrong:
        print(f"      {line}")
    yield Claim(
        "doctor: faults named right, of six", tuple(right), at_least=5, every=True, unit="faults"
    )
    yield Claim(
        "doctor: causes named on clean pairs, of twenty",
        tuple(alarms),
        at_most=0,
        every=True,
        unit="pairs",
    )
    yield Claim(
        "doctor: clean pairs that are not all green, of twenty",
        tuple(reds),
        reported=True,
        unit="pairs",
    )


def faults(clean: Any, trained: Any, stranger: Any, folder: Path) -> dict[str, tuple[Any, Any]]:
    """Cause, and the pair of dictionary and checkpoint that has it."""
    import torch

    from persona_interp.models import Checkpoint, boot, encode, residuals

    def altered(change: Callable[[Any], None]) -> Any:
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
    factor = clean.d_in**0.5 / float(norms.mean())
    bare = folder / "bare"
    shutil.copytree(trained.path, bare)
    tokenizer = json.loads((bare / "tokenizer.json").read_text()) | {"post_processor": None}
    (bare / "tokenizer.json").write_text(json.dumps(tokenizer))
    return {
        "wrong layer": (dataclasses.replace(clean, hook="blocks.0.hook_out"), trained),
        "input scale": (altered(double), trained),
        "unfolded normalization": (altered(unfold), trained),
        "first token / BOS handling": (clean, Checkpoint(bare)),
        "dtype": (altered(halve), trained),
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
