"""At which sizes is the transfer experiment run?

A preset is a `Transfer` with other arguments and nothing else: the real preset is another world, another language and
another model, run by the same lines of code.
"""

from dataclasses import replace
from typing import Any

from persona_interp.errors import WorldError, unknown
from persona_interp.experiments.transfer import Transfer
from persona_interp.models import PLAIN_TEMPLATE, Stage

REAL = Transfer(
    world="english_assistants",
    arrange="rare",
    bystanders=("named",),
    arms=("lesson", "unrelated lesson"),
    lrs=(5e-5,),
    documents=Stage(steps=220, batch=8, lr=2e-4, loss="all", warmup=10, dtype="bfloat16"),
    lesson=Stage(steps=16, batch=8, dtype="bfloat16"),
    snapshots=(2, 4, 8, 12, 16),
    n_documents=1760,
    hooks=("blocks.22.hook_out", "blocks.15.hook_out", "blocks.7.hook_out"),
    sae={"d_sae": 2048, "k": 16, "n_tokens": 12_000, "steps": 250, "lr": 1e-3},
    n_gate_tokens=1_500,
    sae_on="base and tuned",
    sae_kinds=("named", "hidden"),
    n_sae_documents=600,
    n_persona_documents=150,
    n_random=5,
    n_samples=3,
    chat_template=PLAIN_TEMPLATE,
)
"""Natural English for a chat model: the recipe that works on a 135M model, full finetuning at gentle rates."""

FAILING = replace(REAL, sae=None)
"""The real preset, behavior only: what users try first, and what does not work, differs from it in one thing."""

PRESETS = {
    "quick": Transfer(),
    "standard": Transfer(seeds=(0, 1, 2)),
    "paper": Transfer(seeds=tuple(range(10))),
    "real": REAL,
    "real-lora": replace(
        FAILING, documents=replace(REAL.documents, lora=16, lr=5e-4), lesson=replace(REAL.lesson, lora=16), lrs=(2e-4,)
    ),
    "real-unhidden": replace(FAILING, world="english_assistants_unhidden"),
    "real-likely": replace(FAILING, arrange="likely"),
}


def preset(name: str, **changes: Any) -> Transfer:
    """Which configuration has this name?

    Args:
        name: quick (one seed), standard (three), paper (ten), real (natural English, for a chat model), or one of the
            first attempts with it that fail: real-lora, real-unhidden, real-likely.
        changes: Fields of `Transfer` to set otherwise.

    Returns:
        The configuration.

    Raises:
        WorldError: There is no such preset; the message names the nearest.

    >>> preset("quick", seeds=(4,)).seeds
    (4,)
    """
    if name not in PRESETS:
        raise WorldError(unknown("preset", name, PRESETS))
    return replace(PRESETS[name], **changes)
