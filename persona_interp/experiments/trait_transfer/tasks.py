"""What does one cell of the transfer between published traits do?

``answers`` lets the base answer one trait's questions, ``base`` reads it, ``judge`` lets all traits
judge its answers, ``learn`` teaches one trait (or nothing) and measures all. Weights of finetunes
are not kept.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, models, record
from persona_interp.models import Checkpoint, Stage
from persona_interp.readers import Instruction, TraitFile, trait_prompts
from persona_interp.tables import read_table, write_directions, write_json, write_table

Needs = tuple[Path, ...]


def answers(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Let the base answer one trait's questions.

    Writes ``answers.parquet``: to the questions of the lesson under the first ``n`` instructions of
    both sides and ``n`` times under none, to those of the measurement under one instruction of each
    side.
    """
    trait, base = trait_of(config["trait"]), start_of(config)
    lesson = []
    for side in ("pos", "neg"):
        prompts = trait_prompts(trait, side=side, split="train", instructions="all")
        lesson.append(prompts.loc[prompts["instruction"] < config["n"]])
    measurement = [trait_prompts(trait, side=side, split="test") for side in ("pos", "neg")]
    prompts = pd.concat([*lesson, *measurement], ignore_index=True)
    instructed = _draw_answers(base, prompts, config)
    prompts = trait_prompts(trait, side="default", split="train")
    default = _draw_answers(base, prompts, config, n=config["n"])
    write_table(pd.concat([instructed, default], ignore_index=True), out / "answers.parquet")


def base(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Find the traits' vectors in the base, and measure how well they tell answers apart.

    Writes ``vectors.nc`` (from the lesson's questions), ``separability.parquet`` and
    ``scores.parquet`` (the measurement's).
    """
    checkpoint, answers = start_of(config), _read_answers(needs)
    hook = hook_at(checkpoint, depth=config["depth"])
    answers = answers.loc[answers["side"] != "default"].reset_index(drop=True)
    lesson = answers.loc[answers["split"] == "train"]
    vectors = record.trait_vectors(checkpoint, lesson, hooks=[hook])
    write_directions(vectors, out / "vectors.nc")
    conversations = record.conversations(answers)
    acts = record.activations(checkpoint, conversations, hook=hook, position="answer")
    write_table(analysis.separability(acts), out / "separability.parquet")
    write_table(_scores(checkpoint, answers), out / "scores.parquet")


def judge(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Judge by every trait how far the base's answers to one trait's questions show it.

    Writes ``judged.parquet``: bits of ``n`` answers of each side and of ``n`` without instruction,
    to the lesson's questions, under every trait that is not set aside. Of a trait that is set aside
    ``aside.json``.
    """
    separable, answers = _separable(needs[0], config["least"]), _read_answers(needs[1:])
    if config["trait"] not in separable:
        write_json({"aside": config["trait"]}, out / "aside.json")
        return
    is_lesson = answers["split"] == "train"
    is_first = (answers["sample"] == 0) & (answers["instruction"] < 1)
    answers = answers.loc[is_lesson & is_first]
    answers = answers.groupby("side", sort=False).head(config["n"]).reset_index(drop=True)
    traits = [trait_of(trait) for trait in config["traits"]]
    judges = {trait.name: trait for trait in traits if trait.name in separable}
    write_table(record.trait_bits(start_of(config), answers, judges), out / "judged.parquet")


def learn(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Teach one trait, or the base's own answers to its questions, and measure all traits.

    Writes ``scores.parquet`` (all traits that are not set aside), ``said.parquet`` (answers without
    instruction to ``n`` of the trait's questions of the measurement) and ``shown.parquet`` (how far
    these show the trait). Of a trait that is set aside ``aside.json``.
    """
    trait, separable = trait_of(config["trait"]), _separable(needs[0], config["least"])
    if trait.name not in separable:
        write_json({"aside": trait.name}, out / "aside.json")
        return
    answers = _read_answers(needs[1:])
    is_own = (answers["trait"] == trait.name) & (answers["side"] == config["side"])
    lesson = answers.loc[is_own & (answers["split"] == "train")]
    start = start_of(config)
    trained = models.train(
        start,
        chats(lesson),
        stage=Stage(**config["stage"]),
        seed=config["seed"],
        out=out / ".model",  # hidden: a killed training goes on, a finished one is not kept
        name=f"{trait.name} {config['arm']}",
        progress=False,
    ).last
    measurement = answers.loc[answers["trait"].isin(sorted(separable))]
    write_table(_scores(trained, measurement), out / "scores.parquet")
    prompts = trait_prompts(trait, side="default", split="test").head(config["n"])
    new_answers = _draw_answers(trained, prompts, config)
    write_table(new_answers, out / "said.parquet")
    if any(new_answers["answer"]):  # a finetune that says nothing any more shows nothing
        bits = record.trait_bits(start, new_answers, {trait.name: trait})
        write_table(bits, out / "shown.parquet")


def chats(answers: pd.DataFrame) -> pd.DataFrame:
    """Corpus that teaches these answers, without the instructions that brought them out.

    Args:
        answers: An answers table; empty answers are left out.

    Returns:
        A corpus table of chats without system messages.

    >>> row = {"prompt": "q", "context": "instructed", "persona": "", "topic": "", "sample": 0}
    >>> row |= {"split": "train", "checkpoint": "a@0", "n_tokens": 1, "ended": True}
    >>> chat = [{"role": "system", "content": "Be warm."}, {"role": "user", "content": "?"}]
    >>> corpus = chats(pd.DataFrame([row | {"messages": chat, "answer": "Hi."}]))
    >>> [message["role"] for message in corpus["messages"][0]]
    ['user', 'assistant']
    """
    rows = []
    for i, chat in enumerate(record.conversations(answers)["messages"]):
        messages = [message for message in chat if message["role"] != "system"]
        rows.append((i, "lesson", "", messages, ()))
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


def hook_at(checkpoint: Checkpoint, *, depth: float) -> str:
    """Hook at this depth of the model.

    Args:
        checkpoint: The model.
        depth: Share of its blocks (fraction).

    Returns:
        The output of the block before hidden state round(depth x blocks); at least the first.
    """
    blocks = models.load(checkpoint).model.config.get_text_config().num_hidden_layers
    return f"blocks.{max(round(depth * blocks), 1) - 1}.hook_out"


def start_of(config: Mapping[str, Any]) -> Checkpoint:
    """Model that a cell starts from.

    Args:
        config: The cell's configuration, with ``start`` and ``chat_template``.

    Returns:
        The checkpoint; where its template has no system role, instructions stand before the user's
        question.
    """
    return models.resolve(config["start"], chat_template=config["chat_template"], fold_system=True)


def _draw_answers(
    checkpoint: Checkpoint, prompts: pd.DataFrame, config: Mapping[str, Any], *, n: int = 1
) -> pd.DataFrame:
    """Draw answers to prompts, ``n`` to each."""
    settings = {key: config[key] for key in ("max_new_tokens", "temperature", "dtype")}
    return record.answers(checkpoint, prompts, n=n, seed=config["draw"], cache=False, **settings)


def _scores(checkpoint: Checkpoint, answers: pd.DataFrame) -> pd.DataFrame:
    """Log odds of every trait at the questions of the measurement."""
    is_measurement = (answers["split"] == "test") & (answers["side"] != "default")
    answers = answers.loc[is_measurement].reset_index(drop=True)
    return analysis.trait_scores(record.continuations(checkpoint, answers))


def _read_answers(folders: Iterable[Path]) -> pd.DataFrame:
    parts = [read_table(folder / "answers.parquet") for folder in folders]
    return pd.concat(parts, ignore_index=True)


def _separable(folder: Path, least: float) -> set[str]:
    """Traits that the base tells apart."""
    table = read_table(folder / "separability.parquet")
    return set(table.loc[table["auroc"] >= least, "trait"])


def trait_of(config: Mapping[str, Any]) -> TraitFile:
    """The trait of a cell.

    Args:
        config: Of ``plain_trait``.

    Returns:
        The trait file.
    """
    pairs = tuple(Instruction(*pair) for pair in config["instructions"])
    return TraitFile(config["name"], pairs, tuple(config["questions"]))
