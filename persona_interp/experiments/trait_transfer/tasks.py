"""What does one cell of the transfer between published traits do?

``answers`` lets the base answer one trait's questions, ``base`` reads it, ``judged`` lets all
traits judge what it said, ``learn`` teaches one trait (or nothing) and measures all. Weights of
finetunes are not kept.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, models, record
from persona_interp.models import Checkpoint, Stage
from persona_interp.readers import Instruction, TraitFile, trait_prompts
from persona_interp.tables import read_table, write_dataset, write_json, write_table

Needs = tuple[Path, ...]


def answers(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What does the base answer to one trait's questions?

    Writes ``answers.parquet``: to the questions of the lesson under the first ``n`` instructions of
    both sides and ``n`` times under none, to those of the measurement under one instruction of each
    side.
    """
    trait, base = _trait(config["trait"]), _start(config)
    lesson = [
        trait_prompts(trait, side=side, split="train", instructions="all")
        for side in ("pos", "neg")
    ]
    lesson = [prompts.loc[prompts["instruction"] < config["n"]] for prompts in lesson]
    measured = [trait_prompts(trait, side=side, split="test") for side in ("pos", "neg")]
    asked = pd.concat([*lesson, *measured], ignore_index=True)
    default = trait_prompts(trait, side="default", split="train")
    told = _drawn(base, asked, config)
    untold = _drawn(base, default, config, n=config["n"])
    write_table(pd.concat([told, untold], ignore_index=True), out / "answers.parquet")


def base(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Where do the traits lie in the base, and which of them can be told apart there?

    Writes ``vectors.nc`` (from the lesson's questions), ``separability.parquet`` and
    ``scores.parquet`` (the measurement's).
    """
    checkpoint, said = _start(config), _said(needs)
    hook = hook_at(checkpoint, depth=config["depth"])
    told = said.loc[said["side"] != "default"].reset_index(drop=True)
    vectors = record.trait_vectors(checkpoint, told.loc[told["split"] == "train"], hooks=[hook])
    write_dataset(vectors.to_dataset(name="vector", promote_attrs=True), out / "vectors.nc")
    acts = record.activations(checkpoint, record.conversations(told), hook=hook, position="answer")
    write_table(analysis.separability(acts), out / "separability.parquet")
    write_table(_scores(checkpoint, told), out / "scores.parquet")


def judged(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """How far does what the base says to one trait's questions show each trait?

    Writes ``judged.parquet``: bits of ``n`` answers of each side and of ``n`` without instruction,
    to the lesson's questions, under every trait that is not set aside. Of a trait that is set aside
    ``aside.json``.
    """
    apart, said = _apart(needs[0], config["least"]), _said(needs[1:])
    if config["trait"] not in apart:
        write_json({"aside": config["trait"]}, out / "aside.json")
        return
    chosen = said.loc[
        (said["split"] == "train") & (said["sample"] == 0) & (said["instruction"] < 1)
    ]
    chosen = chosen.groupby("side", sort=False).head(config["n"]).reset_index(drop=True)
    judges = {trait.name: trait for trait in map(_trait, config["traits"]) if trait.name in apart}
    write_table(record.trait_bits(_start(config), chosen, judges), out / "judged.parquet")


def learn(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What does the model say after it learned to show one trait, or its own answers to that trait's questions?

    Writes ``scores.parquet`` (all traits that are not set aside), ``said.parquet`` (answers without
    instruction to ``n`` of the trait's questions of the measurement) and ``shown.parquet`` (how far
    these show the trait). Of a trait that is set aside ``aside.json``.
    """
    trait, apart, said = (
        _trait(config["trait"]),
        _apart(needs[0], config["least"]),
        _said(needs[1:]),
    )
    if trait.name not in apart:
        write_json({"aside": trait.name}, out / "aside.json")
        return
    mine = said.loc[
        (said["trait"] == trait.name)
        & (said["split"] == "train")
        & (said["side"] == config["side"])
    ]
    start, folder = _start(config), out / "model"
    trained = models.train(
        start,
        chats(mine),
        stage=Stage(**config["stage"]),
        seed=config["seed"],
        out=folder,
        name=f"{trait.name} {config['arm']}",
        progress=False,
    ).last
    write_table(
        _scores(trained, said.loc[said["trait"].isin(sorted(apart))]), out / "scores.parquet"
    )
    prompts = trait_prompts(trait, side="default", split="test").head(config["n"])
    answered = _drawn(trained, prompts, config)
    write_table(answered, out / "said.parquet")
    if any(answered["answer"]):  # a finetune that says nothing any more shows nothing
        write_table(record.trait_bits(start, answered, {trait.name: trait}), out / "shown.parquet")
    shutil.rmtree(folder)


def chats(answers: pd.DataFrame) -> pd.DataFrame:
    """Which corpus teaches these answers, without the instructions that brought them out?

    Args:
        answers: An answers table; empty answers are left out.

    Returns:
        A corpus table of chats without system messages.

    >>> row = {"prompt": "q", "context": "instructed", "persona": "", "topic": "", "split": "train", "sample": 0,
    ...        "checkpoint": "a@0", "n_tokens": 1, "ended": True, "answer": "Hi."}
    >>> asked = [{"role": "system", "content": "Be warm."}, {"role": "user", "content": "?"}]
    >>> [m["role"] for m in chats(pd.DataFrame([row | {"messages": asked}]))["messages"][0]]
    ['user', 'assistant']
    """
    messages = [
        [m for m in chat if m["role"] != "system"]
        for chat in record.conversations(answers)["messages"]
    ]
    rows = [(i, "lesson", "", chat, ()) for i, chat in enumerate(messages)]
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


def hook_at(checkpoint: Checkpoint, *, depth: float) -> str:
    """Which hook lies at this depth of the model?

    Args:
        checkpoint: The model.
        depth: Share of its blocks (fraction).

    Returns:
        The output of the block before hidden state round(depth x blocks); at least the first.
    """
    blocks = models.load(checkpoint).model.config.get_text_config().num_hidden_layers
    return f"blocks.{max(round(depth * blocks), 1) - 1}.hook_out"


def _drawn(
    checkpoint: Checkpoint, prompts: pd.DataFrame, config: Mapping[str, Any], *, n: int = 1
) -> pd.DataFrame:
    """Answers in half precision, which is faster; whatever is measured on them is measured in float32."""
    settings = {key: config[key] for key in ("max_new_tokens", "temperature")}
    return record.answers(
        checkpoint, prompts, n=n, seed=config["draw"], dtype="bfloat16", cache=False, **settings
    )


def _scores(checkpoint: Checkpoint, said: pd.DataFrame) -> pd.DataFrame:
    measured = said.loc[(said["split"] == "test") & (said["side"] != "default")].reset_index(
        drop=True
    )
    return analysis.trait_scores(record.continuations(checkpoint, measured))


def _said(folders: Iterable[Path]) -> pd.DataFrame:
    return pd.concat(
        [read_table(folder / "answers.parquet") for folder in folders], ignore_index=True
    )


def _apart(folder: Path, least: float) -> set[str]:
    """Traits that the base tells apart."""
    table = read_table(folder / "separability.parquet")
    return set(table.loc[table["auroc"] >= least, "trait"])


def _trait(config: Mapping[str, Any]) -> TraitFile:
    pairs = tuple(Instruction(*pair) for pair in config["instructions"])
    return TraitFile(config["name"], pairs, tuple(config["questions"]))


def _start(config: Mapping[str, Any]) -> Checkpoint:
    # where a template has no system role, instructions stand before the user's question
    return models.resolve(config["start"], chat_template=config["chat_template"], fold_system=True)
