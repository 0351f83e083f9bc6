"""The same crosscoder by the trainers of others, where they are installed.

Both train on every checkpoint centered, scaled and side by side, as ours does, with the same width,
steps, batch and learning rate, k rounded to a whole number, and their own ways in everything else.
What they
train becomes a crosscoder here and is read by the same latent scaling, so that the rows differ by
the trainer alone. Neither is a dependency of this package; a row is left out, and said so, where
its library is not installed.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from persona_interp.dictionaries.blocks import as_blocks, as_rows
from persona_interp.dictionaries.crosscoder import Crosscoder, keep
from persona_interp.dictionaries.planted import Planted
from persona_interp.dictionaries.saelens import build
from persona_interp.dictionaries.saelens_training import Rows, fold
from persona_interp.dictionaries.scaling import scaling
from persona_interp.schema.words import Sparsity
from recovery_findings import Findings
from recovery_methods import HOOK, Settings, read, sizes


def _batches(rows: Rows, settings: Settings) -> Iterator[Tensor]:
    """Batches as training sees them, drawn with replacement."""
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.steps):
        yield rows.standard(torch.randint(rows.n, (settings.batch,), generator=generator))


def _judge(
    planted: Planted, rows: Rows, config: dict[str, Any], weights: dict[str, Tensor]
) -> Findings:
    """Findings of an SAE on standardized rows, whoever trained it."""
    shape = {"d_in": len(rows.center), "d_sae": len(weights["W_dec"])}
    config = {**config, **shape, "apply_b_dec_to_input": True}
    sae = fold(build(config, {name: w.detach().contiguous() for name, w in weights.items()}), rows)
    n = len(planted.residuals)
    facts = {
        "checkpoints": [str(i) for i in range(n)],
        "sparsity": str(Sparsity.NORM),
        "scales": rows.scale[:: planted.residuals.shape[2]].tolist(),
    }
    coder = Crosscoder(keep(sae, rows, name="peer", hook=HOOK, facts=facts))
    sums = scaling(coder, residuals=planted.residuals, documents=planted.documents)
    return read(planted, sums, coder)


def by_dictionary_learning(planted: Planted, settings: Settings) -> Findings:
    """BatchTopK of dictionary_learning."""
    from dictionary_learning.trainers import BatchTopKTrainer  # pyright: ignore

    rows = as_rows(as_blocks(planted.residuals))
    shape = sizes(planted)
    trainer = BatchTopKTrainer(
        steps=settings.steps,
        activation_dim=len(rows.center),
        dict_size=shape["d_sae"],
        k=round(shape["k"]),
        layer=0,
        lm_name="planted",
        lr=settings.lr,
        warmup_steps=min(1000, settings.steps // 3),
        threshold_start_step=min(1000, settings.steps // 3),
        seed=settings.seed,
        device="cpu",
    )
    for step, batch in enumerate(_batches(rows, settings)):
        trainer.update(step, batch)
    own = trainer.ae
    weights = {
        "W_enc": own.encoder.weight.T,
        "b_enc": own.encoder.bias,
        "W_dec": own.decoder.weight.T,
        "b_dec": own.b_dec,
        "threshold": own.threshold.expand(shape["d_sae"]),
    }
    return _judge(planted, rows, {"architecture": "jumprelu"}, weights)


def by_sparsify(planted: Planted, settings: Settings) -> Findings:
    """TopK of sparsify by its Adam: its Trainer, which reads language models only, written out.

    Its default, signs of gradients at a rate for wide dictionaries, recovers a tenth as much here.
    """
    from sparsify import SaeConfig, SparseCoder  # pyright: ignore
    from transformers import get_linear_schedule_with_warmup

    rows = as_rows(as_blocks(planted.residuals))
    shape = sizes(planted)
    k = round(shape["k"])
    torch.manual_seed(settings.seed)
    own = SparseCoder(len(rows.center), SaeConfig(num_latents=shape["d_sae"], k=k))
    optimizer = torch.optim.Adam(own.parameters(), lr=settings.lr)
    warmup = min(1000, settings.steps // 3)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, settings.steps)
    for batch in _batches(rows, settings):
        own.set_decoder_norm_to_unit_norm()
        own(batch).fvu.backward()
        own.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    own.set_decoder_norm_to_unit_norm()
    weights = {
        "W_enc": own.encoder.weight.T,
        "b_enc": own.encoder.bias,
        "W_dec": own.W_dec,
        "b_dec": own.b_dec,
    }
    config = {"architecture": "topk", "k": k, "rescale_acts_by_decoder_norm": False}
    return _judge(planted, rows, config, weights)


_KNOWN: dict[str, tuple[str, Callable[[Planted, Settings], Findings]]] = {
    "dictionary_learning": ("dictionary_learning, BatchTopK", by_dictionary_learning),
    "sparsify": ("sparsify, TopK", by_sparsify),
}
PEERS = {name: run for library, (name, run) in _KNOWN.items() if find_spec(library)}
ABSENT = [
    f"{library} is not installed: no row '{name}'"
    for library, (name, _) in _KNOWN.items()
    if not find_spec(library)
]
