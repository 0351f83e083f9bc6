"""How fast are residuals read, beside the bare forward pass and beside peers?

    python benchmarks/harvest.py [--model FOLDER] [--prompts 400] [--pairs 5] [--budgets]

The reference is the least that must be computed: embedding and blocks up to the middle one, called
one after the other, rows sorted by length, 16 a batch, nothing gathered. Each contender runs beside
it, in pairs, in one process and on one thread; printed are min/median/max of reference seconds over
its own seconds (CPU time): 1.00 is as fast as the reference, higher is better.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harvest_peers import nnsight, saelens
from line import Line, beside

os.environ["OMP_NUM_THREADS"] = "1"

STORIES = Path(__file__).parents[1].parent / "shared/models/stories260k"
WHERE = ("text", "special")
ROWS = 16
"""Rows of a batch of the reference."""
SPEED = "speed, in truncated forwards"
OURS = "ours, harvest"
SHORT = ("hook + stop exception", "Hugging Face output_hidden_states")
"""Peers of a large model."""


def texts(n: int) -> list[str]:
    """Prompts of 20 to 80 tokens or so, of the shapes that people ask."""
    from persona_interp.dictionaries.text import EXCHANGES

    sentences = [f"{question} {answer}" for question, answer in EXCHANGES]
    return [" ".join(sentences[(i * k) % 32] for k in range(1, 2 + i % 3)) for i in range(1, n + 1)]


class Stop(Exception):
    """The last block that is needed has run."""


class Bench:
    """A model, its prompts, and every way to read its middle block."""

    def __init__(self, name: str, n: int) -> None:
        from persona_interp import models

        self.checkpoint = models.resolve(name)
        self.plain, tokenizer = models.load(self.checkpoint)
        self.hooked, self.bridge = models.open_hooked(self.checkpoint), models.boot(self.checkpoint)
        self.messages = [[{"role": "text", "content": text}] for text in texts(n)]
        self.tokens = models.encode(tokenizer, self.messages)
        lengths = self.tokens.lengths
        self.block = self.plain.config.num_hidden_layers // 2
        self.hook = f"blocks.{self.block}.hook_out"
        self.rows = sorted(range(n), key=lambda row: lengths[row])
        self.about = f"{n} prompts, {sum(lengths):,} tokens, {self.hook}"

    def batches(self, order: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Arguments of the model, batch by batch."""
        for start in range(0, len(order), ROWS):
            ids, mask = self.tokens.pad(rows=order[start : start + ROWS])
            yield {"input_ids": ids, "attention_mask": mask, "use_cache": False}

    def truncated(self, order: Sequence[int] | None = None) -> list[Any]:
        """The reference: the loop over blocks is transformers' own, its list ends early."""
        from torch.nn import Identity

        inner = self.plain.model
        whole, norm = inner.layers, inner.norm
        inner.layers, inner.norm = whole[: self.block + 1], Identity()
        batches = self.batches(self.rows if order is None else order)
        try:
            return [inner(**batch).last_hidden_state for batch in batches]
        finally:
            inner.layers, inner.norm = whole, norm

    def in_order(self) -> Any:
        """The reference, rows not sorted by length."""
        return self.truncated(range(len(self.tokens)))

    def stopped(self) -> Any:
        """A hook that ends the pass."""
        held: list[Any] = []

        def hold(module: Any, inputs: Any, output: Any) -> None:
            held.append(output)
            raise Stop

        handle = self.plain.model.layers[self.block].register_forward_hook(hold)
        for batch in self.batches(self.rows):
            try:
                self.plain(**batch)
            except Stop:
                pass
        handle.remove()
        return held

    def states(self) -> Any:
        """All hidden states, of which one is kept."""
        batches = self.batches(self.rows)
        return [
            self.plain(**batch, output_hidden_states=True).hidden_states[self.block + 1]
            for batch in batches
        ]

    def filtered(self) -> Any:
        """TransformerLens, one hook, blocks above left out."""
        held = []
        for batch in self.batches(self.rows):
            ids, mask = batch["input_ids"], batch["attention_mask"]
            _, cache = self.bridge.run_with_cache(
                ids, attention_mask=mask, names_filter=[self.hook], stop_at_layer=self.block + 1
            )
            held.append(cache[self.hook])
        return held

    def ours(self, batch: Any = "auto", model: Any = None) -> Any:
        """What a harvest runs: tokens of some roles, float32, in one tensor."""
        from persona_interp.dictionaries.harvest import read_marked

        return read_marked(
            model or self.hooked, self.tokens, hook=self.hook, where=WHERE, batch=batch
        )

    def ours_in_order(self) -> Any:
        """The same passes over rows in the order they came in."""
        from persona_interp.models.boot import _run_hooks

        orders = range(0, len(self.tokens), ROWS)
        rows = [list(range(start, min(start + ROWS, len(self.tokens)))) for start in orders]
        return [_run_hooks(self.hooked, self.tokens, some, names=[self.hook]) for some in rows]

    def reduced(self) -> Any:
        """What a recorder does with a model that is open: outliers, means, transfer."""
        from persona_interp.record.pooling import group_readings, sum_rows

        marks = self.tokens.marks(WHERE)
        means = []
        for group in group_readings(
            self.hooked, self.tokens, hooks=[self.hook], marks=marks, outlier=10.0
        ):
            sizes = sum_rows(group.counted.float(), group.sizes).long()
            sums = sum_rows(group.acts[group.counted], sizes)
            means.append((sums / sizes[:, None]).numpy())
        return means

    def recorded(self) -> Any:
        """Loading, tokens, labels and all."""
        import pandas as pd

        from persona_interp.record import activations

        table = pd.DataFrame({"prompt": range(len(self.messages)), "messages": self.messages})
        return activations(self.checkpoint, table, hook=self.hook, position="mean", where=WHERE)


def lines(
    *, pairs: int, model: str = str(STORIES), prompts: int = 400, is_short: bool = False
) -> Iterator[Line]:
    """The speed of each contender.

    Args:
        pairs: Interleaved pairs.
        model: A folder, GGUF file or other name.
        prompts: How many.
        is_short: Whether only what a large model has time for is measured.
    """
    import torch

    torch.set_num_threads(1)
    bench = Bench(model, prompts)
    lens, sae_lens = ("transformer_lens",), ("sae_lens", "transformer_lens")
    contenders: dict[str, tuple[Callable[[], Callable[[], Any]], tuple[str, ...]]] = {
        "reference against itself": (lambda: bench.truncated, ()),
        "bare, input order": (lambda: bench.in_order, ()),
        "hook + stop exception": (lambda: bench.stopped, ()),
        "Hugging Face output_hidden_states": (lambda: bench.states, ()),
        "TransformerLens, one hook, stopped": (lambda: bench.filtered, lens),
        "SAELens ActivationsStore": (lambda: saelens(bench), sae_lens),
        "nnsight, stopped": (lambda: nnsight(bench), ("nnsight",)),
        "ours, mean of each prompt": (lambda: bench.reduced, ()),
        "ours, activations() with loading": (lambda: bench.recorded, ()),
        OURS: (lambda: bench.ours, ()),
    }
    if is_short:
        contenders = {name: contenders[name] for name in (*SHORT, OURS)}
    work = f"harvest, {Path(model).stem}"
    with torch.inference_mode():
        for name, (make, peers) in contenders.items():
            least = (0.95 if is_short else 0.9) if name == OURS else None
            remark = bench.about if name == OURS else ""
            line = Line(work, name, SPEED, at_least=least, remark=remark)
            yield beside(line, bench.truncated, make, pairs=pairs, peers=peers)
        line = Line(work, "ours, sorted", "speed, in ours in input order", at_least=1.0)
        yield beside(line, bench.ours_in_order, lambda: bench.ours, pairs=pairs)


def budgets(*, pairs: int, model: str, prompts: int) -> Iterator[Line]:
    """The speed of ours by tokens a pass."""
    import torch

    torch.set_num_threads(1)
    bench = Bench(model, prompts)
    with torch.inference_mode():
        for n in (256, 512, 1024, 2048, 4096, 8192):
            line = Line("harvest", f"ours, {n} tokens a pass", SPEED)
            run = partial(bench.ours, n)
            yield beside(line, bench.truncated, lambda run=run: run, pairs=pairs)


def main() -> None:
    """Print ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=str(STORIES), help="a folder, GGUF file or other name")
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--budgets", action="store_true", help="tokens a pass, nothing else")
    args = parser.parse_args()
    measure = budgets if args.budgets else lines
    for line in measure(pairs=args.pairs, model=args.model, prompts=args.prompts):
        print(line, flush=True)


if __name__ == "__main__":
    main()
