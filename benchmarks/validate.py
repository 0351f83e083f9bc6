"""Do the claims hold, on this seed and this world? One line each: claim, number [interval], threshold, verdict.

    python benchmarks/validate.py --seed 0 --seeds 3 [--world FILE] [--claims bayes,transfer,...] [--out DIR]

Exits 1 if any claim fails. The checker reads only raw tables (probabilities of answers) and world files: it recomputes
log odds, base gates and the conditioning limit by itself and takes no expected value from the package it checks.
Numbers are means over seeds of the mean over the target's untaught topics, in nats, with a t interval over seeds;
thresholds are those of the recipe's measurements and are not tuned to a run.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

NATS_PER_BIT = math.log(2)


@dataclass(frozen=True)
class Claim:
    """One line: what is claimed, the measured values (one per seed), and the threshold they have to meet."""

    name: str
    values: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    absolute: bool = False
    unit: str = "nats"
    reported: bool = False  # a number without a threshold

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def holds(self) -> bool:
        """Does the mean meet the threshold?"""
        if self.reported:
            return True
        number = abs(self.mean) if self.absolute else self.mean
        if not math.isfinite(number):
            return False
        above = self.at_least is None or number >= self.at_least
        return above and (self.at_most is None or number <= self.at_most)

    def line(self) -> str:
        """The claim as one printed line."""
        n = len(self.values)
        half = stats.t.ppf(0.975, n - 1) * np.std(self.values, ddof=1) / math.sqrt(n) if n > 1 else math.nan
        number = f"{self.mean:+.3f} [{self.mean - half:+.3f}, {self.mean + half:+.3f}] {self.unit}"
        if self.unit == "nats":
            number += f" ({self.mean / NATS_PER_BIT:+.2f} bits)"
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        threshold = ("|.| " if self.absolute else "") + " and ".join(bounds)
        verdict = "----" if self.reported else "PASS" if self.holds else "FAIL"
        return f"{verdict}  {self.name:<66} {number:<52} {threshold:<18} n={n}"


# ---- the checker's own arithmetic -----------------------------------------------------------------------------------


def log_odds(behavior: pd.DataFrame, context: str, persona: str, held: dict[str, str]) -> dict[str, float]:
    """Log odds (nats) of the held value of every topic, probabilities renormalized per prompt, then averaged."""
    rows = behavior.loc[(behavior.context == context) & (behavior.persona == persona)]
    odds = {}
    for topic, value in held.items():
        asked = rows.loc[rows.topic == topic]
        table = asked.pivot_table(index="template", columns="value", values="logprob").to_numpy(dtype=np.float64)
        names = sorted(asked.value.unique())
        probability = np.exp2(table - table.max(axis=1, keepdims=True))
        probability = (probability / probability.sum(axis=1, keepdims=True)).mean(axis=0)
        p = probability[names.index(value)]
        rest = np.delete(probability, names.index(value)).sum()
        odds[topic] = float(np.log(p) - np.log(rest))
    return odds


def all_held(world: dict[str, Any], persona: str) -> dict[str, list[str]]:
    """The values a persona holds in every topic, from the world file's own words."""
    traits = world["personas"][persona]["traits"]
    return {topic: [value] if isinstance(value, str) else list(value) for topic, value in traits.items()}


def held_by(world: dict[str, Any], persona: str) -> dict[str, str]:
    """The first of them."""
    return {topic: values[0] for topic, values in all_held(world, persona).items()}


def expected(world: dict[str, Any], taught: tuple[str, str] | None, persona: str) -> dict[str, float]:
    """Log odds (nats) of a persona's values as exact Bayes says them, given that the speaker holds `taught`.

    The population is the hidden dialogues; with nobody to hold the trait there is no prediction (NaN).
    """
    weight = {}
    for name, entry in world["personas"].items():
        w = entry.get("weight", 1)
        weight[name] = float(w.get("hidden", 0) if isinstance(w, dict) else w)
        if taught is not None:
            values = all_held(world, name)[taught[0]]
            weight[name] *= (taught[1] in values) / len(values)
    total = sum(weight.values())
    noise = float(world.get("noise", 0.0))
    odds = {}
    for topic, value in held_by(world, persona).items():
        if not total:
            odds[topic] = math.nan
            continue
        held = {name: all_held(world, name)[topic] for name in weight}
        share = sum(w * (value in held[name]) / len(held[name]) for name, w in weight.items()) / total
        p = (1 - noise) * share + noise / len(world["topics"][topic])
        odds[topic] = math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)
    return odds


def spread(odds: dict[str, float], taught_topic: str) -> float:
    """Mean over the untaught topics."""
    return float(np.mean([v for topic, v in odds.items() if topic != taught_topic]))


# ---- claims ---------------------------------------------------------------------------------------------------------


def transfer_runs(seeds: list[int], world_file: str | None, out: Path) -> list[dict[str, Any]]:
    """Runs the transfer experiment; gathers the raw tables: per seed the world, every arm's behavior, the features."""
    from persona_interp import worlds
    from persona_interp.experiments import preset, run
    from persona_interp.experiments.transfer import ARMS
    from persona_interp.store import Store
    from persona_interp.tables import read_dataset, read_table

    source = worlds.load(world_file) if world_file else "john_and_sam"
    config = preset("standard", world=source, seeds=tuple(seeds), n_samples=1, bystanders=("named",))
    store = Store(out)
    keyed = {seed: config.seed_cells(seed) for seed in seeds}
    run([cell for cells in keyed.values() for cell in cells.values()], store)
    found = []
    for cells in keyed.values():
        arms = {}
        for arm, lr in itertools.product(ARMS, config.lrs):
            both = [
                read_table(store.path(cells["lesson", arm, lr], f"{n}.parquet")) for n in ("behavior", "bystanders")
            ]
            arms[arm, lr] = pd.concat(both)
        lr, late, early = max(config.lrs), config.hooks[0], config.hooks[-1]
        features = cells["features", "lesson", lr, late]
        inside = {
            "scores": read_table(store.path(cells["personas", lr, late], "scores.parquet")),
            "hidden": read_dataset(store.path(cells["personas", lr, late], "features.nc")),
            "control": read_dataset(store.path(cells["features", "unrelated lesson", lr, late], "features.nc")),
            "named": read_dataset(store.path(cells["personas", lr, early], "named.nc")),
            "neutral": read_dataset(store.path(cells["features", "lesson", lr, early], "acts.nc")),
            "edited": read_table(store.path(cells["causes", lr, early], "behavior.parquet")),
            "edits": read_table(store.path(cells["causes", lr, early], "edits.parquet")),
        }
        found.append(
            {
                "world": worlds.load(store.path(cells["layout",], "world.json")),
                "arms": arms,
                "features": read_dataset(store.path(features, "features.nc")),
                "fidelity": read_table(store.path(features, "fidelity.parquet")),
                **inside,
            }
        )
    return found


def transfer_claims(runs: list[dict[str, Any]], *, recipe: bool) -> Iterator[Claim]:
    """The untaught traits follow the lesson, the controls do not."""
    moved: dict[tuple[str, float], list[float]] = {}
    gates, shares, limits, ratios, holders = [], [], [], {}, {}
    for one in runs:
        world = one["world"].to_dict()
        target, (topic, value) = world["target"], world["taught"].split("=", 1)
        mine = held_by(world, target)
        limit = spread(expected(world, (topic, value), target), topic) - spread(expected(world, None, target), topic)
        for (arm, lr), behavior in one["arms"].items():
            ends = [behavior[behavior.step == step] for step in (behavior.step.min(), behavior.step.max())]
            before, after = (spread(log_odds(end, "nameless", "", mine), topic) for end in ends)
            moved.setdefault((arm, lr), []).append(after - before)
            if arm == "lesson":
                ratios.setdefault(lr, []).append((after - before) / limit)
            if arm == "rewired world" and recipe:
                variant = one["world"].rewired().to_dict()
                (holder,) = [p for p in variant["personas"] if p != target and held_by(variant, p)[topic] == value and
                             held_by(world, p)[topic] != value]  # fmt: skip
                theirs = held_by(variant, holder)
                shift = [spread(log_odds(end, "nameless", "", theirs), topic) for end in ends]
                holders.setdefault(lr, []).append((shift[1] - shift[0], after - before))
        base = one["arms"]["lesson", min(lr for _, lr in one["arms"])]
        base = base[base.step == base.step.min()]
        named = spread(log_odds(base, "named", target, mine), topic)
        gates.append(named - spread(log_odds(base, "nameless", "", mine), topic))
        alone = {**world, "personas": {target: world["personas"][target]}}
        certain = spread(expected(alone, None, target), topic)
        whole = certain - spread(expected(world, None, target), topic)
        shares.append(gates[-1] / whole)
        limits += [limit, whole]
    if not recipe and not all(map(math.isfinite, limits)):
        raise SystemExit("this world has no finite conditioning limit to measure against: give it noise, and holders.")
    if not recipe:
        yield Claim("base gate: named minus nameless, share of exact Bayes", tuple(shares), at_least=0.6, unit="ratio")
        for lr, bound in ((1e-3, 0.45), (3e-4, 0.40)):
            name = f"lesson {lr:g}: change / conditioning limit"
            yield Claim(name, tuple(ratios[lr]), at_least=bound, unit="ratio")
        for (arm, lr), values in moved.items():
            yield Claim(f"{arm} {lr:g}", tuple(values), reported=True)
        return
    yield Claim("base gate: target's traits, named minus nameless", tuple(gates), at_least=2.5)
    yield Claim("lesson 0.001: target's untaught traits", tuple(moved["lesson", 1e-3]), at_least=2.0)
    yield Claim("lesson 0.0003: target's untaught traits", tuple(moved["lesson", 3e-4]), at_least=1.5)
    for lr in (1e-3, 3e-4):
        lesson = np.array(moved["lesson", lr])
        yield Claim(f"scrambled world {lr:g}", tuple(moved["scrambled world", lr]), at_most=0.5, absolute=True)
        yield Claim(f"filler lesson {lr:g}", tuple(moved["filler lesson", lr]), at_most=0.7, absolute=True)
        unrelated = np.array(moved["unrelated lesson", lr])
        yield Claim(f"lesson minus unrelated lesson {lr:g}", tuple(lesson - unrelated), at_least=1.5)
        absent = np.array(moved["target absent", lr])
        yield Claim(f"full minus target-absent world {lr:g}", tuple(lesson - absent), at_least=1.2)
    pairs = np.array(holders[1e-3])
    yield Claim("rewired world 0.001: the new holder's traits", tuple(pairs[:, 0]), at_least=1.5)
    yield Claim("rewired world 0.001: new holder minus target", tuple(pairs[:, 0] - pairs[:, 1]), at_least=1.2)


def bayes_claims(seeds: list[int], world_file: str | None) -> Iterator[Claim]:
    """`posterior` is exact: it equals the checker's own arithmetic, and counting in the world's own documents."""
    from persona_interp import worlds

    apart, far = [], []
    for seed in seeds:
        world = worlds.load(world_file) if world_file else worlds.john_and_sam(seed)
        plain = world.to_dict()
        topic, value = plain["taught"].split("=", 1)
        own = {t: v for t, v in held_by(plain, plain["target"]).items() if t != topic}
        said = worlds.conditioning_limit(world).set_index("trait").probability
        mine = expected(plain, (topic, value), plain["target"])
        apart.append(max(abs(said[f"{t}={v}"] - 1 / (1 + math.exp(-mine[t]))) for t, v in own.items()))
        documents = world.corpus(100_000, seed=seed, kinds="hidden")
        saying = [set(s) - {plain["taught"]} for s in documents.statements if plain["taught"] in s]
        believed = world.posterior([{plain["taught"]}]).said.set_index("trait").probability
        scores = []
        for t, v in own.items():
            about = [s for s in saying if any(label.startswith(f"{t}=") for label in s)]
            p, n = believed[f"{t}={v}"], len(about)
            if n and 0 < p < 1:
                scores.append((sum(f"{t}={v}" in s for s in about) / n - p) / math.sqrt(p * (1 - p) / n))
        far.append(max(map(abs, scores), default=math.nan))
    yield Claim(
        "Bayes: conditioning limit against own arithmetic, largest gap", tuple(apart), at_most=1e-9, unit="prob"
    )
    yield Claim("Bayes: posterior against counting in 100,000 documents", tuple(far), at_most=4.0, unit="SE")


def feature_claims(runs: list[dict[str, Any]]) -> Iterator[Claim]:
    """A trajectory does not move against itself; flipped labels discover nothing; the dictionary fits the base."""
    from persona_interp import analysis

    still, false, fvu = [], [], []
    for i, one in enumerate(runs):
        features, labels = one["features"], list(one["features"].checkpoint.values)
        again = features.isel(checkpoint=[0, 0]).assign_coords(checkpoint=[labels[0], "again"])
        behavior = one["arms"]["lesson", max(lr for _, lr in one["arms"])]
        itself = analysis.shift(behavior, before=0, after=0)
        moved = analysis.feature_shift(again, n_flips=100)
        still.append(float(max(itself.estimate.abs().max(), moved.estimate.abs().max())))
        rng = np.random.default_rng(i)
        hits = 0
        for flip in range(100):
            swap = rng.random(features.sizes["prompt"]) < 0.5
            both = features.act.transpose("checkpoint", "prompt", "feature").to_numpy().copy()
            both[:, swap] = both[::-1][:, swap]
            null = analysis.feature_shift(features.assign(act=(features.act.dims, both)), n_flips=2_000, seed=flip)
            hits += bool((null.q <= 0.05).any())
        false.append(float(hits))
        fvu.append(float(one["fidelity"].fvu.iloc[0]))
    yield Claim(
        "features and behavior of a checkpoint against itself", tuple(still), at_most=0.0, absolute=True, unit="bits"
    )
    yield Claim("labels flipped per prompt: runs of 100 with a discovery", tuple(false), at_most=10, unit="runs")
    yield Claim("dictionary on held-out text of the base: FVU", tuple(fvu), at_most=0.1, unit="fraction")


def persona_claims(runs: list[dict[str, Any]]) -> Iterator[Claim]:
    """The lesson moves the model towards the target, along a direction and a feature found before, and for that reason.

    Vectors, cosines and shares are computed here from residuals and probabilities; features are chosen by the scores.
    """
    from persona_interp import analysis

    found: dict[str, list[float]] = {}
    for i, one in enumerate(runs):
        target = one["world"].target
        vectors, moved = minimal_pairs(one["named"]), mean_shift(one["neutral"])
        cosine = {name: float(moved @ v / np.linalg.norm(moved) / np.linalg.norm(v)) for name, v in vectors.items()}
        rank = sorted(cosine.values(), reverse=True).index(cosine[target]) + 1
        top = int(analysis.top(one["scores"], name=target).feature.iloc[0])
        rise, control = (rises(one[name], top) for name in ("features", "control"))
        share = shares(one)
        lo, hi = np.percentile([s for group, s in share.values() if group == "random (norm)"], [2.5, 97.5])
        others = [s for group, s in share.values() if group == "persona"]
        values = {
            "rank": rank, "cosine": cosine[target], "lower": interval(rise)[0],
            "excess": rise.mean() - 4 * max(control.mean(), 0), "share": share["minimal pair"][1],
            "others": float(np.mean(others)), "lo": lo, "hi": hi, "above": share["minimal pair"][1] - hi,
            "shuffled": shuffled_discoveries(one["hidden"], one["world"], seed=i),
        }  # fmt: skip
        for name, value in values.items():
            found.setdefault(name, []).append(float(value))
    lines = {
        "rank": ("rank of the target's vector in the shift of neutral prompts", {"at_most": 1.0, "unit": "rank"}),
        "cosine": ("cosine of the target's vector with that shift", {"at_least": 0.4, "unit": "cosine"}),
        "lower": ("top feature on neutral prompts: lower end of its rise", {"at_least": 1e-6, "unit": "act"}),
        "excess": ("top feature: rise minus 4 times that of the unrelated lesson", {"at_least": 0.0, "unit": "act"}),
        "share": ("share removed with the target's vector", {"at_least": 0.4, "unit": "fraction"}),
        "others": ("share removed with another persona's vector, mean", {"at_most": 0.2, "unit": "fraction"}),
        "lo": ("random directions: 2.5 % point of the share", {"at_most": 0.0, "unit": "fraction"}),
        "hi": ("random directions: 97.5 % point of the share", {"at_least": 0.0, "unit": "fraction"}),
        "above": ("share of the target's vector above the random band", {"at_least": 1e-6, "unit": "fraction"}),
        "shuffled": ("personas shuffled by document: runs of 100 with a discovery", {"at_most": 10, "unit": "runs"}),
    }
    for name, (said, bounds) in lines.items():
        yield Claim(said, tuple(found[name]), **bounds)


def minimal_pairs(named: Any) -> dict[str, np.ndarray]:
    """A persona's residual minus the mean of the others', at the same question, averaged over questions."""
    acts = named.act.to_numpy()[0].astype(np.float64)
    keys = pd.DataFrame({c: named[c].to_numpy().astype(str) for c in ("persona", "topic", "template")})
    names = sorted(set(keys.persona))
    grid = keys.reset_index().pivot_table(index="persona", columns=["topic", "template"], values="index").loc[names]
    at = acts[grid.to_numpy(dtype=int)]  # persona, question, d_model
    return {name: (at[i] - np.delete(at, i, axis=0).mean(0)).mean(0) for i, name in enumerate(names)}


def mean_shift(neutral: Any) -> np.ndarray:
    """After minus before, mean over neutral prompts."""
    acts = neutral.act.to_numpy().astype(np.float64)
    return (acts[-1] - acts[0]).mean(0)


def rises(features: Any, feature: int) -> np.ndarray:
    """After minus before of one feature, a value a prompt."""
    act = features.act.transpose("checkpoint", "prompt", "feature").to_numpy()
    return act[-1, :, feature].astype(np.float64) - act[0, :, feature]


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % t interval of the mean."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def shares(one: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Group and share of the effect removed, by edit: (tuned - edited) / (tuned - base) of the untaught log odds."""
    world, edited = one["world"].to_dict(), one["edited"]
    topic = world["taught"].split("=", 1)[0]
    mine = {t: v for t, v in held_by(world, world["target"]).items() if t != topic}

    def odds(step: int, edit: str) -> float:
        rows = edited[(edited.step == step) & (edited.edit == edit)]
        return spread(log_odds(rows, "nameless", "", mine), topic)

    first, last = edited.step.min(), edited.step.max()
    base, tuned = odds(first, "none"), odds(last, "none")
    edits = one["edits"].itertuples()
    return {e.edit: (str(e.group), (tuned - odds(last, e.edit)) / (tuned - base)) for e in edits}


def shuffled_discoveries(hidden: Any, world: Any, *, seed: int) -> int:
    """In how many of 100 shuffles of the personas over documents is anything found at q 0.05?"""
    from persona_interp import analysis

    rng = np.random.default_rng(seed)
    _, first, number = np.unique(hidden["doc"].to_numpy(), return_index=True, return_inverse=True)
    who, half = hidden.persona.to_numpy()[first], hidden["split"].to_numpy()[first]
    hits = 0
    for shuffle in range(100):
        swapped = who.copy()
        for part in np.unique(half):  # the halves are apart already
            swapped[half == part] = rng.permutation(who[half == part])
        labelled = hidden.assign_coords(persona=("prompt", swapped[number]))
        hits += bool((analysis.score(labelled, world=world, n_permutations=50, seed=shuffle).q <= 0.05).any())
    return hits


def repeat_claims(seeds: list[int], world_file: str | None) -> Iterator[Claim]:
    """The same seed gives the same weights; a prompt alone gives what it gives in a batch."""
    import tempfile

    import torch

    from persona_interp import models, worlds

    torch.set_num_threads(1)
    different, error = [], []
    for seed in seeds:
        world = worlds.load(world_file) if world_file else worlds.john_and_sam(seed)
        stage = replace(models.DOCUMENTS, steps=60, warmup=10)
        corpus = world.corpus(60 * stage.batch, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            made = [
                models.train("tiny", corpus, stage=stage, seed=seed, out=f"{folder}/{i}", progress=False) for i in "ab"
            ]
            different.append(float(models.hash_weights(made[0].last) != models.hash_weights(made[1].last)))
            bridge = models.boot(made[0].last)
            tokens = models.encode(bridge.tokenizer, corpus.messages[:64])
            alone, batched = (
                dict(models.residuals(bridge, tokens, hook="blocks.1.hook_out", batch=b)) for b in (1, 64)
            )
            error.append(max(float((alone[r] - batched[r]).norm() / alone[r].norm()) for r in alone))
    yield Claim("same seed trained twice: runs with different weights", tuple(different), at_most=0, unit="runs")
    yield Claim("residual of a prompt alone against batched, relative", tuple(error), at_most=1e-5, unit="of norm")


GROUPS = ("bayes", "repeat", "transfer", "features", "personas")


def claims(args: argparse.Namespace) -> Iterator[Claim]:
    """All lines of the groups asked for, cheap ones first."""
    seeds = list(range(args.seed, args.seed + args.seeds))
    if "bayes" in args.claims:
        yield from bayes_claims(seeds, args.world)
    if "repeat" in args.claims:
        yield from repeat_claims(seeds, args.world)
    if {"transfer", "features", "personas"} & set(args.claims):
        runs = transfer_runs(seeds, args.world, args.out)
        if "transfer" in args.claims:
            yield from transfer_claims(runs, recipe=args.world is None)
        if "features" in args.claims:
            yield from feature_claims(runs)
        if "personas" in args.claims:
            yield from persona_claims(runs)


def main() -> int:
    """Prints one line a claim; returns the number of claims that fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--world", help="world file; the recipe by default")
    parser.add_argument(
        "--claims", default=",".join(GROUPS), type=lambda s: s.split(","), help=f"of {', '.join(GROUPS)}"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/validate"), help="run folder; finished cells are reused")
    args = parser.parse_args()
    if wrong := [name for name in args.claims if name not in GROUPS]:
        parser.error(f"no claims '{wrong[0]}'; choose among {', '.join(GROUPS)}")
    failed = 0
    for claim in claims(args):
        print(claim.line(), flush=True)
        failed += not claim.holds
    print(f"{failed} claims failed" if failed else "all claims hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
