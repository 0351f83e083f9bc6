"""A small loud model, its documents and dictionary, and every call that runs a model on them."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from persona_interp import dictionaries, models, record, worlds
from persona_interp.models import Checkpoint
from persona_interp.readers import Instruction, TraitFile, trait_prompts

HOOK = "blocks.0.hook_out"
DRAWN = {"answers", "sample"}
"""Calls whose result is text: words that were drawn, the same where the numbers are."""
JUDGED = {"diagnose"}
"""Calls whose numbers are searched for on a grid; what they decide is compared."""
EITHER = 1e-4
"""What rounding may change in float32, relative to the largest number of a column."""
HALF = 0.05
"""What bfloat16 may change there: it keeps 8 bits, 1/256, and a number goes through dozens of
roundings."""
STEEP = {
    "features": ("act", "fvu"),
    "tokens": ("act", "fvu"),
    "solution": ("efficiency", "stability", "lo", "hi"),
    "row_evidence": ("uplift", "evidence", "a_token"),
}
"""Columns that bfloat16 changes by more: of one token, a feature near its threshold fires or not,
and with it what is explained; a difference of losses that hardly differ is made of rounding, and so
is a ratio of probabilities under two headers that say nothing to an untrained model."""
Call = Callable[..., Any]


class Material:
    """Everything is made on the CPU, once."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.folder, self.world = folder, worlds.john_and_sam()
        start = models.resolve("tiny", words=self.world.words(), out=folder / "start")
        self.pair = tuple(self._louder(start, step) for step in (0, 1))

    def _louder(self, start: Checkpoint, step: int) -> Checkpoint:
        """The tiny model with every matrix redrawn larger: no two tokens are alike inside."""
        model, tokenizer = models.load(start, device="cpu")
        generator = torch.Generator().manual_seed(0)
        change = torch.Generator().manual_seed(step)
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data = 0.15 * torch.randn(weight.shape, generator=generator)
                weight.data += step * 0.01 * torch.randn(weight.shape, generator=change)
        folder = self.folder / f"loud-{step}"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return Checkpoint(folder, stage="lesson", step=step)

    @cached_property
    def chats(self) -> pd.DataFrame:
        """Dialogues without statements of their own."""
        return self.world.corpus(30, kinds="hidden")

    @cached_property
    def probes(self) -> pd.DataFrame:
        return self.world.probes(contexts="nameless").head(12)

    @cached_property
    def dictionary(self) -> dictionaries.SparseDictionary:
        return self.fit(device="cpu")

    def fit(self, **where: Any) -> dictionaries.SparseDictionary:
        """A small dictionary of the first model."""
        size: dict[str, Any] = {"d_sae": 64, "k": 8, "steps": 30, "batch": 128, "n_tokens": 1000}
        corpus = self.world.corpus(120)
        return dictionaries.fit(self.pair[0], corpus, hook=HOOK, **size, **where)

    @cached_property
    def directions(self) -> xr.DataArray:
        acts = record.activations(
            self.pair[0], self.world.probes(contexts="named"), hook=HOOK, device="cpu"
        )
        return record.minimal_pairs(acts).isel(name=slice(2))

    @cached_property
    def trait(self) -> TraitFile:
        pairs = (Instruction("you like football .", "you like tennis ."),)
        questions = ("what sport do you like ?", "do you like football ?", "what do you like ?")
        return TraitFile("sporty", pairs, questions)

    @cached_property
    def answers(self) -> pd.DataFrame:
        sides = [trait_prompts(self.trait, side=side) for side in ("pos", "neg")]
        prompts = pd.concat(sides, ignore_index=True)
        return record.answers(
            self.pair[0], prompts, max_new_tokens=6, cache=False, device="cpu", seed=1
        )

    def calls(self) -> dict[str, Call]:
        """Every recorder that runs a model, and the checks of a dictionary, by name."""
        pair, one = self.pair, self.pair[0]
        headers = {"john": "you are john .", "sam": "you are sam ."}
        calls: dict[str, Call] = {
            "behavior": lambda **r: record.behavior(pair, self.probes, **r),
            "behavior, edited": lambda **r: record.behavior(
                one,
                self.probes,
                edits=record.add(self.directions[:1], hook=HOOK, absolute=1.0),
                **r,
            ),
            "behavior, ablated": lambda **r: record.behavior(
                one, self.probes, edits=record.ablate(self.dictionary, features=[1]), **r
            ),
            "activations": lambda **r: record.activations(pair, self.probes, hook=HOOK, **r),
            "features": lambda **r: record.features(
                pair, self.probes, dictionary=self.dictionary, **r
            ),
            "tokens": lambda **r: record.tokens(
                pair, self.probes, dictionary=self.dictionary, features=[0, 5], **r
            ),
            "profile": lambda **r: record.profile(pair, self.probes, hooks=[HOOK], **r),
            "projections": lambda **r: record.projections(pair, self.chats, self.directions, **r),
            "answers": lambda **r: record.answers(
                one, self.probes, max_new_tokens=5, cache=False, **r
            ),
            "sample": lambda **r: record.sample(one, self.probes, max_new_tokens=5, **r),
            "continuations": lambda **r: record.continuations(pair, self.answers, **r),
            "trait_bits": lambda **r: record.trait_bits(
                one, self.answers, {"sporty": self.trait}, **r
            ),
            "trait_vectors": lambda **r: record.trait_vectors(one, self.answers, hooks=[HOOK], **r),
            "projection_difference": lambda **r: record.projection_difference(
                one, self.chats, self.directions, own="last", **r
            ).sort_values(["hook", "name", "doc"]),
            **self.own_calls(headers),
        }
        return calls

    def own_calls(self, headers: dict[str, str]) -> dict[str, Call]:
        """Those that read likelihoods, weights and dictionaries."""
        pair, one = self.pair, self.pair[0]
        return {
            "drift": lambda **r: record.drift(one, pair[1], self.chats, **r),
            "divergence": lambda **r: record.divergence(one, self.chats, headers=headers, **r),
            "likelihood": lambda **r: record.likelihood(one, self.chats, headers=headers, **r),
            "row_evidence": lambda **r: record.row_evidence(
                one, self.chats, headers, **r
            ).sort_values(["name", "doc"]),
            "added_kl": lambda **r: record.added_kl(
                one, self.chats, directions=self.directions, **r
            ),
            "gradients": lambda **r: record.gradients(
                one, {"chats": self.chats, "lessons": self.world.lessons(n=10)}, **r
            ),
            "solution": lambda **r: record.solution(
                pair, self.chats, bystanders=self.world.corpus(10), eps=(0.5,), n_draws=2, **r
            ),
            "fidelity": lambda **r: dictionaries.fidelity(
                self.dictionary, pair, self.world.corpus(60), n_tokens=400, **r
            ),
            "fidelity_at": lambda **r: dictionaries.fidelity_at(
                self.dictionary, pair, self.probes, **r
            ),
            "diagnose": lambda **r: dictionaries.diagnose(
                self.dictionary, one, self.world.corpus(60), n_tokens=400, **r
            ),
        }


CALLS = (
    *("behavior", "behavior, edited", "behavior, ablated", "activations", "features", "tokens"),
    *("profile", "projections", "answers", "sample", "continuations", "trait_bits"),
    *("trait_vectors", "projection_difference", "drift", "divergence", "likelihood", "added_kl"),
    *("row_evidence", "gradients", "solution", "fidelity", "fidelity_at", "diagnose"),
)
"""Names of ``Material.calls``, which a test's parameters need before there is any material."""
OWN = CALLS[14:]


def columns(result: Any) -> tuple[dict[str, NDArray[np.float64]], dict[str, list[Any]]]:
    """Numbers and words of a table or arrays, by column."""
    if isinstance(result, xr.DataArray):
        result = result.to_dataset(name="direction")
    if isinstance(result, xr.Dataset):
        return {str(name): np.asarray(array) for name, array in result.data_vars.items()}, {}
    numbers = result.select_dtypes("number")
    words = result.drop(columns=list(numbers))
    as_floats = {name: numbers[name].to_numpy(np.float64) for name in numbers}
    return as_floats, {name: [str(value) for value in words[name]] for name in words}


def check_same(name: str, one: Any, other: Any, *, tolerance: float = EITHER) -> None:
    """Refuse results that differ by more than rounding."""
    (numbers, words), (others, other_words) = columns(one), columns(other)
    if name not in JUDGED:
        assert numbers.keys() == others.keys()
        for column, values in numbers.items():
            size = max(1e-3, float(np.nanmax(np.abs(values), initial=0.0)))
            if tolerance > EITHER and column in STEEP.get(name, ()):
                continue
            gap = float(np.nanmax(np.abs(values - others[column]), initial=0.0))
            assert gap <= tolerance * size, f"{name}, {column}: {gap:.1e} of {size:.1e}"
            assert (np.isnan(values) == np.isnan(others[column])).all()
    if tolerance == EITHER:
        for part in (words, other_words):
            part.pop("text", None)  # sentences that round numbers
        assert words == other_words, name
