"""Where are weights, how are they trained, and how does one look inside?

A ``Checkpoint`` says where weights are, never holds them; a ``Trajectory`` is one stage of training
as checkpoints in order of step. ``resolve`` turns a name ("tiny", a folder, a GGUF file, a hub id)
into a checkpoint; ``train`` turns a checkpoint and a corpus into a trajectory; ``load`` gives the
plain Hugging Face model, ``open_hooked`` the same with its places readable by name, and ``boot``
the same in TransformerLens, checked against it, for who edits them.
``encode`` is the only way from conversations to tokens, so that training, behavior and activations
read the same ids, and knows whose every token is; ``print(show_tokens(explain_tokens(...)))`` shows
it.

Models are exchanged as saved folders: a stage starts from any checkpoint, a finetune is the next
stage, and adapters are merged before they are saved. The tiny model is a folder like any other::

    base = train("tiny", world.corpus())                                          # documents
    tuned = train(base.last, world.lessons(), stage=LESSON, snapshots=(1, 2, 4, 8), name="lesson")
    chats = encode(load(tuned.last).tokenizer, world.probes()["messages"])
    for row, acts in residuals(open_hooked(tuned.last), chats, hook="blocks.1.hook_out"):
        ...

What needs torch loads when it is first used, so that a configuration may name a stage without it.
"""

import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from persona_interp.arguments import door, doors
from persona_interp.loading import load_module
from persona_interp.models.chats import PLAIN_TEMPLATE, fold_system, folds_system, has_system
from persona_interp.models.checkpoint import Checkpoint, Trajectory
from persona_interp.models.device import on_device, resolve_device
from persona_interp.models.dtype import resolve_dtype
from persona_interp.models.stage import DOCUMENTS, LESSON, Stage

if TYPE_CHECKING:
    from persona_interp.models.boot import boot, residuals
    from persona_interp.models.checkup import checkup
    from persona_interp.models.explain import explain_tokens, show_tokens
    from persona_interp.models.hooked import HookedModel, open_hooked
    from persona_interp.models.load import LoadedModel, hash_weights, load
    from persona_interp.models.sources import resolve, sources
    from persona_interp.models.tokens import ROLES, Tokens, encode, hash_tokens
    from persona_interp.models.train import train
    from persona_interp.models.vocabulary import check_tokenizers, same_tokenizer

__all__ = [
    "DOCUMENTS",
    "LESSON",
    "PLAIN_TEMPLATE",
    "ROLES",
    "Checkpoint",
    "HookedModel",
    "LoadedModel",
    "Stage",
    "Tokens",
    "Trajectory",
    "boot",
    "check_tokenizers",
    "checkup",
    "encode",
    "explain_tokens",
    "fold_system",
    "folds_system",
    "has_system",
    "hash_tokens",
    "hash_weights",
    "load",
    "on_device",
    "open_hooked",
    "residuals",
    "resolve",
    "resolve_device",
    "resolve_dtype",
    "same_tokenizer",
    "show_tokens",
    "sources",
    "train",
]

# These load torch or transformers.
_LAZY = {
    "ROLES": "tokens",
    "HookedModel": "hooked",
    "LoadedModel": "load",
    "Tokens": "tokens",
    "boot": "boot",
    "check_tokenizers": "vocabulary",
    "checkup": "checkup",
    "encode": "tokens",
    "explain_tokens": "explain",
    "hash_tokens": "tokens",
    "hash_weights": "load",
    "load": "load",
    "open_hooked": "hooked",
    "residuals": "boot",
    "resolve": "sources",
    "same_tokenizer": "vocabulary",
    "show_tokens": "explain",
    "sources": "sources",
    "train": "train",
}


globals().update(doors(__name__, globals(), __all__))


class _Room(ModuleType):
    """Module whose files never hide the function of the same name (``boot``, ``load``, ``train``).

    Importing ``models.load`` ends with Python setting the attribute ``load`` of this module to that
    file, where callers expect the function. ``__class__`` of a module may be assigned for this
    (Python reference, "Customizing module attribute access").
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _LAZY.get(name) == name:
            value = door(getattr(value, name), __name__)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room


def __getattr__(name: str) -> Any:
    """Public name of a file that loads torch, from that file (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(load_module(f"{__name__}.{_LAZY[name]}"), name)
    return door(value, __name__) if isinstance(value, FunctionType) else value


def __dir__() -> list[str]:
    """Names in this module, those included that are not loaded yet."""
    return sorted({*globals(), *__all__})
