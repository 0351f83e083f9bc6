"""How do SAELens and nnsight read a block, given the batches of ``harvest.Bench``?"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harvest import Bench


def saelens(bench: "Bench") -> Callable[[], Any]:
    """SAELens' ActivationsStore, given the same batches; it takes no mask."""
    import torch
    from datasets import Dataset
    from sae_lens import ActivationsStore

    nothing = Dataset.from_dict({"tokens": [list(range(4))]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data set has one row, which is never read
        store = ActivationsStore(
            bench.bridge,
            nothing,
            streaming=False,
            hook_name=bench.hook,
            hook_head_index=None,
            context_size=4,
            d_in=bench.plain.config.hidden_size,
            n_batches_in_buffer=1,
            total_training_tokens=4,
            store_batch_size_prompts=1,
            train_batch_size_tokens=4,
            prepend_bos=False,
            normalize_activations="none",
            device=torch.device("cpu"),
            dtype="float32",
        )
    return lambda: [store.get_activations(b["input_ids"]) for b in bench.batches(bench.rows)]


def nnsight(bench: "Bench") -> Callable[[], Any]:
    """A trace of nnsight that stops after the block."""
    peer = import_module("nnsight")
    wrapped = peer.NNsight(bench.plain)
    block = wrapped.model.layers[bench.block]

    def run() -> Any:
        held = []
        for batch in bench.batches(bench.rows):
            with wrapped.trace(**batch) as tracer:
                acts = block.output.save()
                tracer.stop()
            held.append(acts)
        return held

    return run
