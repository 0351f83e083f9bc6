"""What does one cell of a comparison do? It asks one checkpoint one kind of question; the base answers first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, dictionaries, readers, record
from persona_interp.errors import ModelError
from persona_interp.experiments.compare_sources import checkpoint_of, same_file
from persona_interp.experiments.inside import JOINED
from persona_interp.tables import read_dataset, read_table, write_dataset, write_table

Needs = tuple[Path, ...]
GATE_TOKENS = 5_000
PAGE_PROMPTS = 12


def asked(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What does the base answer to the prompts? Writes ``prompts.parquet``, ``answers.parquet``, ``said.parquet``."""
    prompts = readers.read_prompts(same_file(config["file"]))
    answers = record.answers(checkpoint_of(config["base"]), prompts, **_draw(config))
    write_table(prompts, out / "prompts.parquet")
    write_table(answers, out / "answers.parquet")
    write_table(record.conversations(answers), out / "said.parquet")


def trait(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What does the base answer when it is told to show a trait or its opposite, and in which direction is that?

    Questions of one half make the vector, those of the other measure. Writes ``trait.json``,
    ``answers.parquet``, ``vectors.nc`` and ``separability.parquet``.
    """
    base, hooks = checkpoint_of(config["base"]), config["hooks"]
    file = readers.read_trait(same_file(config["file"]))
    readers.write_trait(file, out / "trait.json")
    prompts = pd.concat(
        [readers.trait_prompts(file, side="pos"), readers.trait_prompts(file, side="neg")]
    )
    prompts = prompts.groupby(["split", "side"], sort=False).head(config["questions"])
    answers = record.answers(base, prompts.reset_index(drop=True), **_draw(config))
    write_table(answers, out / "answers.parquet")
    _write_directions(
        record.trait_vectors(base, _half(answers, "train"), hooks=hooks), out / "vectors.nc"
    )
    acts = record.activations(base, record.conversations(answers), hook=hooks, position="answer")
    write_table(analysis.separability(acts), out / "separability.parquet")


def inside(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Where are the residuals, in the base's answers and before them? Writes ``answer <i>.nc`` and ``last <i>.nc``.

    Needs asked. The mean over the tokens of the answer, and the last token before it, at hook
    number i.
    """
    checkpoint, hooks = checkpoint_of(config["checkpoint"]), config["hooks"]
    asked, said = (read_table(needs[0] / f"{name}.parquet") for name in ("prompts", "said"))
    for name, prompts, position in (("answer", said, "answer"), ("last", asked, "last")):
        for i, acts in enumerate(
            record.activations(checkpoint, prompts, hook=hooks, position=position)
        ):
            write_dataset(acts, out / f"{name} {i}.nc")


def directions(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Which directions are looked along? Needs inside of the base, then traits. Writes ``vectors.nc``, ``random.nc``.

    Random directions are drawn from the covariance of the base's residuals in its answers.
    """
    vectors = xr.concat(
        [read_directions(folder / "vectors.nc") for folder in needs[1:]], "name", **JOINED
    )
    acts = [read_dataset(needs[0] / f"answer {i}.nc") for i in range(vectors.sizes["hook"])]
    drawn = record.random_directions(
        vectors, n=config["n"], seed=config["seed"], match="variance", acts=acts
    )
    _write_directions(vectors, out / "vectors.nc")
    _write_directions(drawn, out / "random.nc")


def behavior(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """How probable are held-out answers that show each trait? Needs traits. Writes ``continuations.parquet``."""
    held = [_half(read_table(folder / "answers.parquet"), "test") for folder in needs]
    answers = pd.concat(held, ignore_index=True)
    checkpoint = checkpoint_of(config["checkpoint"])
    found = record.continuations(checkpoint, answers, dtype=config["dtype"])
    write_table(found, out / "continuations.parquet")


def spoken(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What does the checkpoint answer to each trait's held-out questions, and what does that sound like to the base?

    Needs traits. Writes ``answers.parquet`` and ``spoken.parquet``; a trait with empty answers
    alone has no rows there.
    """
    base, answers, judged = checkpoint_of(config["base"]), [], []
    for folder in needs:
        file = _trait(folder)
        prompts = readers.trait_prompts(file, side="default", split="test").head(
            config["questions"]
        )
        draw = {**_draw(config), "n": config["draws"], "cache": False}
        answers.append(record.answers(checkpoint_of(config["checkpoint"]), prompts, **draw))
        if answers[-1]["answer"].str.len().max() > 0:
            judged.append(
                record.trait_bits(base, answers[-1], {file.name: file}, dtype=config["dtype"])
            )
    write_table(pd.concat(answers, ignore_index=True), out / "answers.parquet")
    columns = ["prompt", "sample", "trait", "checkpoint", "bits_pos", "bits_neg", "n_tokens"]
    write_table(
        pd.concat([pd.DataFrame(columns=columns), *judged]).loc[:, columns], out / "spoken.parquet"
    )


def drifted(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """How far has the next token drifted, in the base's own answers? Needs asked. Writes ``drift.parquet``."""
    said = read_table(needs[0] / "said.parquet")
    found = record.drift(checkpoint_of(config["base"]), checkpoint_of(config["checkpoint"]), said)
    write_table(found, out / "drift.parquet")


def heard(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What does the checkpoint answer, and what does that sound like to the base? Needs asked, then traits.

    Writes ``samples.parquet`` and, where there are traits, ``instructed.parquet``.
    """
    prompts = read_table(needs[0] / "prompts.parquet").head(config["shown"])
    # drawn anew, so that the base recorded twice shows a floor
    answers = record.answers(
        checkpoint_of(config["checkpoint"]), prompts, **_draw(config), cache=False
    )
    write_table(answers, out / "samples.parquet")
    if len(needs) > 1 and answers["answer"].str.len().max() > 0:
        files = {file.name: file for file in map(_trait, needs[1:])}
        judged = record.trait_bits(
            checkpoint_of(config["base"]), answers, files, dtype=config["dtype"]
        )
        write_table(judged, out / "instructed.parquet")


def lens(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Which words does the mean shift write? Needs inside of base and checkpoint. Writes ``lens.parquet``."""
    base, parts = checkpoint_of(config["base"]), []
    for file in sorted(needs[0].glob("answer *.nc")):
        before, after = (read_dataset(folder / file.name) for folder in needs)
        moved = (after["act"][0] - before["act"][0]).mean("prompt").to_numpy()
        parts.append(record.lens(base, moved).assign(hook=str(before.attrs["hook"])))
    write_table(pd.concat(parts, ignore_index=True), out / "lens.parquet")


def features(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Which features fire in the base's answers, and does the dictionary still fit? Needs asked.

    Writes ``features.nc`` and ``fidelity.parquet``.
    """
    checkpoint, dictionary = checkpoint_of(config["checkpoint"]), _dictionary(config)
    said = read_table(needs[0] / "said.parquet")
    write_dataset(
        record.features(checkpoint, said, dictionary=dictionary, position="answer"),
        out / "features.nc",
    )
    fits = dictionaries.fidelity(
        dictionary, checkpoint, as_corpus(said), n_tokens=GATE_TOKENS, where=("assistant",)
    )
    write_table(fits, out / "fidelity.parquet")


def pages(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What are the features that changed most? Needs asked, features of the base, then of every finetune's end.

    Writes ``tokens.parquet`` and ``words.parquet``: tokens that a feature's decoder row makes
    likelier, and ``hint``, where Neuronpedia may show it.
    """
    base, dictionary = checkpoint_of(config["base"]), _dictionary(config)
    said = read_table(needs[0] / "said.parquet").head(PAGE_PROMPTS)
    before = read_dataset(needs[1] / "features.nc")["act"][0].mean("prompt").to_numpy()
    tokens, words = [], []
    for source, folder in zip(config["ends"], needs[2:], strict=True):
        after = read_dataset(folder / "features.nc")["act"][0].mean("prompt").to_numpy()
        top = np.argsort(-np.abs(after - before), kind="stable")[: config["n"]]
        chosen = [int(j) for j in top if after[j] != before[j]]
        if not chosen:
            continue
        end = checkpoint_of(source)
        tokens.append(
            record.tokens((base, end), said, dictionary=dictionary, features=chosen).assign(
                of=end.label
            )
        )
        for j in chosen:
            hint = dictionaries.hint(dictionary, j)
            words.append(
                record.lens(base, dictionary.W_dec[j].numpy()).assign(
                    feature=j, of=end.label, hint=hint
                )
            )
    if tokens:
        write_table(pd.concat(tokens, ignore_index=True), out / "tokens.parquet")
        write_table(pd.concat(words, ignore_index=True), out / "words.parquet")


def as_corpus(said: pd.DataFrame) -> pd.DataFrame:
    """How are conversations read as documents?

    Args:
        said: Complete conversations.

    Returns:
        A corpus table.
    """
    table = pd.DataFrame({"doc": range(len(said)), "messages": said["messages"].to_numpy()})
    return table.assign(kind="lesson", persona="", statements=[()] * len(said))


def read_directions(path: Path) -> xr.DataArray:
    """Which directions are in this file?

    Args:
        path: What a cell wrote.

    Returns:
        Directions, dims (name, hook, d_model).
    """
    data = read_dataset(path)
    return data["vector"].assign_attrs(data.attrs)


def _trait(folder: Path) -> readers.TraitFile:
    """The trait of a cell, by the name that it was given."""
    name = str(read_directions(folder / "vectors.nc")["name"].item())
    return replace(readers.read_trait(folder / "trait.json"), name=name)


def _write_directions(vectors: xr.DataArray, path: Path) -> None:
    write_dataset(vectors.to_dataset(name="vector", promote_attrs=True), path)


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
