"""What does one cell of a comparison do?

It asks one checkpoint one kind of question; the base answers first.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, dictionaries, readers, record
from persona_interp.errors import ModelError
from persona_interp.experiments.inputs import unchanged_path
from persona_interp.experiments.sources import checkpoint_of
from persona_interp.readers.prompt_rows import prompt_row
from persona_interp.report.browser import MOST_MOVED
from persona_interp.report.excerpts import EXAMPLES, shorten
from persona_interp.tables import (
    concat,
    read_dataset,
    read_directions,
    read_table,
    write_dataset,
    write_directions,
    write_table,
)

Needs = tuple[Path, ...]
GATE_TOKENS = 5_000
"""Tokens on which a dictionary's fidelity is measured."""
PAGE_PROMPTS = 12
"""Prompts among which a feature's page looks for examples."""


def prompts(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Read the prompts, and let the base answer them.

    Writes ``prompts.parquet`` and ``conversations.parquet``: prompts with the base's answers.
    """
    prompts = readers.distinct(readers.read_prompts(unchanged_path(config["file"])))
    answers = record.answers(checkpoint_of(config["base"]), prompts, **_draw(config))
    write_table(prompts, out / "prompts.parquet")
    write_table(record.conversations(answers), out / "conversations.parquet")


def neutral(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Let the base answer requests that have to do with no trait.

    Writes ``conversations.parquet``.
    """
    rows = []
    for number, request in enumerate(config["requests"]):
        rows.append(prompt_row(f"neutral/{number}", request, topic="neutral"))
    answers = record.answers(checkpoint_of(config["base"]), pd.DataFrame(rows), **_draw(config))
    write_table(record.conversations(answers), out / "conversations.parquet")


def trait(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Let the base answer when told to show a trait or its opposite, and find its direction.

    Questions of one half make the vector, those of the other measure. Writes ``trait.json``,
    ``answers.parquet``, ``vectors.nc`` and ``separability.parquet``.
    """
    base, hooks = checkpoint_of(config["base"]), config["hooks"]
    file = readers.read_trait(unchanged_path(config["file"]))
    readers.write_trait(file, out / "trait.json")
    sides = [readers.trait_prompts(file, side="pos"), readers.trait_prompts(file, side="neg")]
    prompts = pd.concat(sides).groupby(["split", "side"], sort=False).head(config["questions"])
    answers = record.answers(base, prompts.reset_index(drop=True), **_draw(config))
    write_table(answers, out / "answers.parquet")
    vectors = record.trait_vectors(base, _half(answers, "train"), hooks=hooks)
    write_directions(vectors, out / "vectors.nc")
    acts = record.activations(base, record.conversations(answers), hook=hooks, position="answer")
    write_table(analysis.separability(acts), out / "separability.parquet")


def residuals(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Record the residuals of a checkpoint in the base's answers and just before them.

    Needs prompts. Writes ``answer <i>.nc``, the mean over the tokens of the answer at hook number
    i, and ``last <i>.nc``, the last token before it.
    """
    checkpoint, hooks = checkpoint_of(config["checkpoint"]), config["hooks"]
    for name, file in (("answer", "conversations"), ("last", "prompts")):
        table = read_table(needs[0] / f"{file}.parquet")
        by_hook = record.activations(checkpoint, table, hook=hooks, position=name)
        for i, acts in enumerate(by_hook):
            write_dataset(acts, out / f"{name} {i}.nc")


def directions(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Collect the traits' vectors, and draw random ones. Needs residuals of the base, then traits.

    Random directions are drawn from the covariance of the base's residuals in its answers. Writes
    ``vectors.nc`` and ``random.nc``.
    """
    vectors = concat([read_directions(folder / "vectors.nc") for folder in needs[1:]], "name")
    acts = [read_dataset(needs[0] / f"answer {i}.nc") for i in range(vectors.sizes["hook"])]
    random = record.random_directions(
        vectors, n=config["n"], seed=config["seed"], match="variance", acts=acts
    )
    write_directions(vectors, out / "vectors.nc")
    write_directions(random, out / "random.nc")


def behavior(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Measure how probable held-out answers are that show each trait. Needs traits.

    Writes ``continuations.parquet``.
    """
    halves = [_half(read_table(folder / "answers.parquet"), "test") for folder in needs]
    answers = pd.concat(halves, ignore_index=True)
    checkpoint = checkpoint_of(config["checkpoint"])
    continuations = record.continuations(checkpoint, answers, dtype=config["dtype"])
    write_table(continuations, out / "continuations.parquet")


def answers(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Let the checkpoint answer each trait's held-out questions, and the base judge the answers.

    Needs traits. Writes ``answers.parquet`` and ``trait_bits.parquet``; a trait with empty answers
    alone has no rows there.
    """
    base, checkpoint = checkpoint_of(config["base"]), checkpoint_of(config["checkpoint"])
    columns = ["prompt", "sample", "trait", "checkpoint", "bits_pos", "bits_neg", "n_tokens"]
    # the empty table leaves a file with its columns where no answer is more than nothing
    answers, bits = [], [pd.DataFrame(columns=columns)]
    for folder in needs:
        file = _trait(folder)
        prompts = readers.trait_prompts(file, side="default", split="test")
        prompts = prompts.head(config["questions"])
        # drawn anew, so that the base recorded twice shows a floor
        draw = {**_draw(config), "n": config["draws"], "cache": False}
        table = record.answers(checkpoint, prompts, **draw)
        answers.append(table)
        if _has_text(table):
            bits.append(record.trait_bits(base, table, {file.name: file}, dtype=config["dtype"]))
    write_table(pd.concat(answers, ignore_index=True), out / "answers.parquet")
    write_table(pd.concat(bits).loc[:, columns], out / "trait_bits.parquet")


def samples(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Sample the checkpoint's answers to the prompts, and let the base judge them by the traits.

    Needs prompts, then traits. Writes ``samples.parquet`` and, where there are traits,
    ``trait_bits.parquet``.
    """
    prompts = read_table(needs[0] / "prompts.parquet").head(config["samples"])
    # drawn anew, so that the base recorded twice shows a floor
    checkpoint = checkpoint_of(config["checkpoint"])
    table = record.answers(checkpoint, prompts, **_draw(config), cache=False)
    write_table(table, out / "samples.parquet")
    files = {file.name: file for file in map(_trait, needs[1:])}
    if files and _has_text(table):
        base = checkpoint_of(config["base"])
        bits = record.trait_bits(base, table, files, dtype=config["dtype"])
        write_table(bits, out / "trait_bits.parquet")


def drift(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Measure how far the next token has drifted, in the base's own answers.

    Needs prompts and, where the prompts are not neutral themselves, neutral. Writes
    ``drift.parquet`` and ``neutral.parquet``.
    """
    base, checkpoint = checkpoint_of(config["base"]), checkpoint_of(config["checkpoint"])
    for folder, name in zip(needs, ("drift", "neutral"), strict=False):
        conversations = read_table(folder / "conversations.parquet")
        write_table(record.drift(base, checkpoint, conversations), out / f"{name}.parquet")


def lens(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Read the words that the mean shift writes. Needs residuals of the base and of the checkpoint.

    Writes ``lens.parquet``.
    """
    base, parts = checkpoint_of(config["base"]), []
    # by number and not by name, in which 10 stands before 2: reports show the last hook
    n_hooks = len(list(needs[0].glob("answer *.nc")))
    for i in range(n_hooks):
        before, after = (read_dataset(folder / f"answer {i}.nc") for folder in needs)
        shift = (after["act"][0] - before["act"][0]).mean("prompt").to_numpy()
        parts.append(record.lens(base, shift).assign(hook=str(before.attrs["hook"])))
    write_table(pd.concat(parts, ignore_index=True), out / "lens.parquet")


def features(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Record the features that fire in the base's answers, and whether the dictionary still fits.

    Needs prompts. Writes ``features.nc`` and ``fidelity.parquet``.
    """
    checkpoint, dictionary = checkpoint_of(config["checkpoint"]), _dictionary(config)
    conversations = read_table(needs[0] / "conversations.parquet")
    feats = record.features(checkpoint, conversations, dictionary=dictionary, position="answer")
    write_dataset(feats, out / "features.nc")
    corpus = as_corpus(conversations)
    fits = dictionaries.fidelity(
        dictionary, checkpoint, corpus, n_tokens=GATE_TOKENS, where=("assistant",)
    )
    write_table(fits, out / "fidelity.parquet")


def pages(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Look into the features that changed most.

    Needs prompts, features of the base, then of every end. Writes ``tokens.parquet``, of the few
    that have a page in the report; ``examples.parquet``, the best prompts of as many as the page
    of all features shows; and ``words.parquet``: tokens that a feature's decoder row makes
    likelier, and ``hint``, where Neuronpedia may show it.
    """
    base, dictionary = checkpoint_of(config["base"]), _dictionary(config)
    conversations = read_table(needs[0] / "conversations.parquet")
    before = _mean_acts(needs[1])
    tables: dict[str, list[pd.DataFrame]] = {"tokens": [], "examples": [], "words": []}
    for source, folder in zip(config["ends"], needs[2:], strict=True):
        after = _mean_acts(folder)
        # stable, so that equal changes come in the order of their numbers on every machine
        largest = np.argsort(-np.abs(after - before), kind="stable")[:MOST_MOVED]
        moved = [int(j) for j in largest if after[j] != before[j]]
        if not moved:
            continue
        end = checkpoint_of(source)
        ends, read, of = (base, end), {"dictionary": dictionary}, end.label
        few = conversations.head(PAGE_PROMPTS)
        table = record.tokens(ends, few, features=moved[: config["n"]], **read)
        tables["tokens"].append(table.assign(of=of))
        table = record.tokens(ends, conversations, features=moved, top=EXAMPLES, **read)
        tables["examples"].append(shorten(table).assign(of=of))
        words = record.lens(base, dictionary.W_dec[moved])
        words["feature"] = [moved[row] for row in words.pop("row")]
        words["hint"] = [dictionaries.hint(dictionary, j) for j in words["feature"]]
        tables["words"].append(words.assign(of=of))
    for name, parts in tables.items():
        if parts:
            write_table(pd.concat(parts, ignore_index=True), out / f"{name}.parquet")


def as_corpus(conversations: pd.DataFrame) -> pd.DataFrame:
    """Conversations as a corpus table.

    Args:
        conversations: Complete conversations.

    Returns:
        The table, a document each.
    """
    messages = conversations["messages"].to_numpy()
    table = pd.DataFrame({"doc": range(len(conversations)), "messages": messages})
    return table.assign(kind="lesson", persona="", statements=[()] * len(conversations))


def _trait(folder: Path) -> readers.TraitFile:
    """The trait of a cell, by the name that the comparison calls it."""
    name = str(read_directions(folder / "vectors.nc")["name"].item())
    return replace(readers.read_trait(folder / "trait.json"), name=name)


def _mean_acts(folder: Path) -> np.ndarray:
    """Mean activation of every feature over the prompts of a ``features`` cell."""
    return read_dataset(folder / "features.nc")["act"][0].mean("prompt").to_numpy()


def _has_text(answers: pd.DataFrame) -> bool:
    """Whether any answer is more than nothing; an empty one has no likelihood to judge by."""
    return bool(answers["answer"].str.len().max() > 0)


def _half(table: pd.DataFrame, split: str) -> pd.DataFrame:
    return table.loc[table["split"] == split].reset_index(drop=True)


def _draw(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("max_new_tokens", "seed", "dtype")}


def _dictionary(config: dict[str, Any]) -> Any:
    dictionary = dictionaries.open_any(config["sae"]["path"])
    if dictionaries.hash_dictionary(dictionary) != config["sae"]["sha256"]:
        raise ModelError(
            f"{config['sae']['path']} changed since this comparison began; restore it, or use a "
            "new --out."
        )
    return dictionary
