"""What would a paper's experiment cost? From constants measured here, or of data sheets.

    python benchmarks/scale.py

Prints the tables of docs/scale.md. Every constant is a range with its source. A time is low where
all constants are at their best, and high where all are at their worst; no card was at hand, so that
every time on a card is untested.
"""

import math
from typing import NamedTuple

from persona_interp.experiments.estimates import H200_CALL, H200_FLOPS, H200_SHARE
from persona_interp.models.trainer import RESUME_SECONDS, RESUME_SHARE

RATE = 0.01
"""Failures in an hour of a job."""
MACHINES = {"1 card": 1, "8 cards": 8, "64 nodes of one card": 64}
LENGTH = 512
"""Tokens of a document, as in benchmarks/gpu.py."""
HOUR, GB = 3600.0, 1e9


class Range(NamedTuple):
    """A constant or a result: at its best, as expected, at its worst."""

    best: float
    usual: float
    worst: float

    def __str__(self) -> str:
        if self.best == self.worst:
            return _short(self.usual)
        return f"{_short(self.usual)} ({_short(self.best)} to {_short(self.worst)})"

    def __add__(self, other: "Range") -> "Range":  # type: ignore[override]
        return Range(*(one + two for one, two in zip(self, other, strict=True)))

    def times(self, factor: float) -> "Range":
        """Each end times a number."""
        return Range(*(factor * end for end in self))


class Constant(NamedTuple):
    """A range, its unit, and where it comes from."""

    range: Range
    unit: str
    source: str


HERE = "measured here (docs/log/scale.md)"
CONSTANTS = {
    "peak, bfloat16": Constant(
        Range(*[H200_FLOPS["bfloat16"]] * 3), "FLOP/s", "data sheet of the H200, without sparsity"
    ),
    "peak, float32": Constant(
        Range(*[H200_FLOPS["float32"]] * 3), "FLOP/s", "data sheet of the H200, TF32 off"
    ),
    "share of the peak": Constant(
        Range(0.5, H200_SHARE, 0.2),
        "",
        "untested: the aim of a harvest; what `make gpu` asks for; half of that",
    ),
    "harvest over bare forward": Constant(
        Range(1.11, 1.02, 0.95), "", f"{HERE}: SmolLM2-135M and stories260k, one CPU core"
    ),
    "launch": Constant(Range(*[H200_CALL] * 3), "s", "untested: experiments/estimates.py"),
    "reading": Constant(
        Range(1.5e9, 1.5e9, 0.33e9),
        "byte/s",
        f"{HERE}: opened and hashed; worst: as slow as writing",
    ),
    "writing": Constant(Range(0.35e9, 0.35e9, 0.33e9), "byte/s", f"{HERE}: the activation store"),
    "start": Constant(
        Range(4.3, 4.4, 4.7), "s", f"{HERE}: first activation of a fresh process, CPU"
    ),
    "requeue": Constant(Range(120, 120, 120), "s", f"{HERE}: Slurm before it starts a job again"),
}


class Shape(NamedTuple):
    """A language model's numbers, from its configuration."""

    blocks: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int

    @property
    def block_weights(self) -> int:
        """Weights of a block: attention, and a gated MLP."""
        attention = 2 * self.width * self.head * (self.heads + self.kv_heads)
        return attention + 3 * self.width * self.inner

    @property
    def weights(self) -> int:
        """All weights; embedding and output are tied in both models."""
        return self.blocks * self.block_weights + self.vocabulary * self.width

    def forward(self, blocks: int) -> float:
        """Operations of a token in so many blocks, counted as in benchmarks/gpu.py."""
        return blocks * (2.0 * self.block_weights + 4.0 * LENGTH * self.heads * self.head)


GEMMA = Shape(42, 3584, 14_336, 16, 8, 256, 256_000)
"""google/gemma-2-9b."""
LLAMA = Shape(16, 2048, 8192, 32, 8, 64, 128_256)
"""meta-llama/Llama-3.2-1B."""
FEATURES, CHECKPOINTS, TOKENS, PARTS = 131_072, 20, 100_000_000, 16
"""Of the first case. A checkpoint is read in 16 parts, one job each: means of 12,208 documents are
6.0 GiB then, of the 8 GiB that one array may have."""
SWEEP, LEARNED, READ = 3000, 2_000_000, 1_000_000
"""Cells of the second case, and tokens that each learns from and is measured on."""
LONG = 1_000_000_000
"""Tokens of a finetune that is long enough to be saved on its way."""
ANSWER_STEPS, BLOCK_CALLS = 256, 25
"""Steps of two batches of answers of 128 tokens; operations of a block that are launched each."""


class Case(NamedTuple):
    """Jobs of one kind.

    Attributes:
        name: What they compute.
        jobs: How many.
        seconds: Of one of them, on a card.
        disk: Bytes of all of them.
        piece: Seconds after which a job that is killed goes on from a save; none: it begins again.
    """

    name: str
    jobs: int
    seconds: Range
    disk: float
    piece: Range | None = None


def compute(flops: float, dtype: str) -> Range:
    """Seconds of so many operations on the card.

    >>> round(compute(989e12 * 3600, "bfloat16").usual / 3600, 3)
    2.451
    """
    peak, share = CONSTANTS[f"peak, {dtype}"].range, CONSTANTS["share of the peak"].range
    own = CONSTANTS["harvest over bare forward"].range
    return Range(*(flops / (p * s * o) for p, s, o in zip(peak, share, own, strict=True)))


def move(n_bytes: float, how: str) -> Range:
    """Seconds of reading or writing so many bytes."""
    return Range(*(n_bytes / speed for speed in CONSTANTS[how].range))


def lost(hours: float, *, piece: float | None = None, again: float = 0.0) -> float:
    """Hours that a job is expected to compute for nothing, at ``RATE`` failures in an hour.

    Failures come at any moment alike, and each throws the job back to the last save. A piece of s
    hours takes (exp(r s) - 1) / r in all, and fails exp(r s) - 1 times.

    Args:
        hours: That the job takes without a failure.
        piece: Hours between two saves; none: there are no saves.
        again: Hours until it computes again after a failure.

    Returns:
        Expected hours beyond ``hours``; about r hours (s / 2 + again).

    >>> round(lost(1.0), 6), round(lost(10.0), 3), round(lost(10.0, piece=0.5), 4)
    (0.005017, 0.517, 0.025)
    """
    s = hours if piece is None else min(piece, hours)
    failures = math.expm1(RATE * s)
    return hours / s * (failures / RATE - s + failures * again)


def wall(jobs: int, seconds: float, machines: int) -> float:
    """Hours of equal jobs on machines that each take one at a time; no queue."""
    return math.ceil(jobs / machines) * seconds / HOUR


def start(n_bytes: float) -> Range:
    """Seconds before a job computes: a fresh process, weights hashed and then loaded."""
    return CONSTANTS["start"].range + move(2 * n_bytes, "reading")


def cases() -> list[Case]:
    """What is costed."""
    half = 2 * GEMMA.weights  # bytes
    share = TOKENS / PARTS
    blocks = GEMMA.blocks // 2
    reads = start(half) + compute(share * GEMMA.forward(blocks), "bfloat16")
    encoder = 2.0 * GEMMA.width * FEATURES * share
    results = CHECKPOINTS * PARTS * 4 * 8 * FEATURES  # four sums a feature, eight bytes each
    disk = CHECKPOINTS * half + results
    jobs = CHECKPOINTS * PARTS
    step = 10.0 * GEMMA.width * FEATURES * TOKENS  # five products of a dense training step
    harvest = compute(TOKENS * GEMMA.forward(blocks), "bfloat16")
    store = 2 * GEMMA.width * TOKENS  # a training reads rows at random, which one pass cannot give
    kept = move(store, "writing") + move(store, "reading")
    found = [
        Case("Gemma-2-9B: residuals alone", jobs, reads, disk),
        Case(
            "... 50 of 131k features",
            jobs,
            reads + compute(encoder * 50 / FEATURES, "float32"),
            disk,
        ),
        Case(
            "... 131k features, dictionary in bfloat16",
            jobs,
            reads + compute(encoder, "bfloat16"),
            disk,
        ),
        Case(
            "... 131k features, in float32 (default)",
            jobs,
            reads + compute(encoder, "float32"),
            disk,
        ),
        Case(
            "one 131k dictionary on the base's tokens: store, dense steps in float32",
            1,
            start(half) + harvest + kept + compute(step, "float32"),
            store + 2 * 4 * GEMMA.width * FEATURES,
        ),
    ]
    full, saved = 4 * LLAMA.weights, 12 * LLAMA.weights  # with Adam's two moments
    save = move(saved, "writing") + move(saved, "reading")
    piece = Range(*(max(RESUME_SECONDS, cost / RESUME_SHARE) for cost in save))
    token = LLAMA.forward(LLAMA.blocks) + 2.0 * LLAMA.vocabulary * LLAMA.width
    answers = CONSTANTS["launch"].range.times(ANSWER_STEPS * LLAMA.blocks * BLOCK_CALLS)
    for name, jobs, learned, dtype in (
        ("a 1B finetune and its measures, bfloat16", SWEEP, LEARNED, "bfloat16"),
        ("... in float32 (default)", SWEEP, LEARNED, "float32"),
        ("one 1B finetune on 1,000M tokens, bfloat16", 1, LONG, "bfloat16"),
    ):
        flops = compute((3 * learned + READ) * token, dtype)
        seconds = start(full) + flops + answers + move(full, "writing")
        found.append(Case(name, jobs, seconds, jobs * full, piece))
    return found


def row(case: Case) -> list[str]:
    """Cells of a case's row."""
    hours = case.seconds.times(case.jobs / HOUR)
    walls = [
        str(Range(*(wall(case.jobs, seconds, n) for seconds in case.seconds)))
        for n in MACHINES.values()
    ]
    again = CONSTANTS["requeue"].range.times(1 / HOUR)
    pieces = (None, None, None) if case.piece is None else case.piece.times(1 / HOUR)
    ends = list(zip(case.seconds.times(1 / HOUR), pieces, again, strict=True))
    whole = Range(*(lost(case.jobs * job, again=back) for job, _, back in ends))
    none = Range(*(case.jobs * lost(job, again=back) for job, _, back in ends))
    saves = Range(*(case.jobs * lost(job, piece=s, again=back) for job, s, back in ends))
    resumed = "there are none" if case.piece is None else str(saves)
    one = str(case.seconds.times(1 / 60))
    disk = f"{case.disk / GB:,.0f} GB"
    losses = [str(whole), str(none), resumed]
    return [case.name, f"{case.jobs:,}", one, str(hours), *walls, disk, *losses]


def tables() -> str:
    """Both tables of docs/scale.md."""
    lines = ["| constant | usual (best to worst) | where from |", "|---|---|---|"]
    for name, constant in CONSTANTS.items():
        lines.append(f"| {name} | {constant.range} {constant.unit} | {constant.source} |")
    heads = [
        "what",
        "jobs",
        "minutes a job",
        "GPU-hours",
        *(f"hours on {name}" for name in MACHINES),
    ]
    heads += ["disk", "GPU-hours lost as one job", "as these jobs", "and with saves in a job"]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(row(case))} |" for case in cases()]
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three digits, whatever the size."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    return f"{float(f'{value:.3g}'):,.10g}"


if __name__ == "__main__":
    print(tables())
