"""What must hold to the last digit: exact Bayes is exact, and a run repeats."""

import math
from collections.abc import Iterator
from dataclasses import replace

from claim import Claim, expected, held_by


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
        apart.append(
            max(abs(said[f"{t}={v}"] - 1 / (1 + math.exp(-mine[t]))) for t, v in own.items())
        )
        documents = world.corpus(100_000, seed=seed, kinds="hidden")
        saying = [set(s) - {plain["taught"]} for s in documents.statements if plain["taught"] in s]
        believed = world.posterior([{plain["taught"]}]).statement.set_index("trait").probability
        scores = []
        for t, v in own.items():
            about = [s for s in saying if any(label.startswith(f"{t}=") for label in s)]
            p, n = believed[f"{t}={v}"], len(about)
            if n and 0 < p < 1:
                scores.append(
                    (sum(f"{t}={v}" in s for s in about) / n - p) / math.sqrt(p * (1 - p) / n)
                )
        far.append(max(map(abs, scores), default=math.nan))
    yield Claim(
        "Bayes: conditioning limit against own arithmetic, largest gap",
        tuple(apart),
        at_most=1e-9,
        unit="prob",
    )
    yield Claim(
        "Bayes: posterior against counting in 100,000 documents", tuple(far), at_most=4.0, unit="SE"
    )


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
                models.train(
                    "tiny", corpus, stage=stage, seed=seed, out=f"{folder}/{i}", progress=False
                )
                for i in "ab"
            ]
            different.append(
                float(models.hash_weights(made[0].last) != models.hash_weights(made[1].last))
            )
            bridge = models.boot(made[0].last)
            tokens = models.encode(bridge.tokenizer, corpus.messages[:64])
            alone, batched = (
                dict(models.residuals(bridge, tokens, hook="blocks.1.hook_out", batch=b))
                for b in (1, 64)
            )
            error.append(
                max(float((alone[r] - batched[r]).norm() / alone[r].norm()) for r in alone)
            )
    yield Claim(
        "same seed trained twice: runs with different weights",
        tuple(different),
        at_most=0,
        unit="runs",
    )
    yield Claim(
        "residual of a prompt alone against batched, relative",
        tuple(error),
        at_most=1e-5,
        unit="of norm",
    )
