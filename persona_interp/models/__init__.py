"""Where are weights, how are they trained, and how does one look inside?

A ``Checkpoint`` says where weights are, never holds them; a ``Trajectory`` is one stage of training
as checkpoints in order of step. ``resolve`` turns a name ("tiny", a folder, a GGUF file, a hub id)
into a checkpoint; ``train`` turns a checkpoint and a corpus into a trajectory; ``load`` gives the
plain Hugging Face model and ``boot`` the same model in TransformerLens, checked against it.
``encode`` is the only way from conversations to tokens, so that training, behavior and activations
read the same ids, and knows whose every token is; ``print(show_tokens(explain_tokens(...)))`` shows
it.

Models are exchanged as saved folders: a stage starts from any checkpoint, a finetune is the next
stage, and adapters are merged before they are saved. The tiny model is a folder like any other::

    base = train("tiny", world.corpus())                                          # documents
    tuned = train(base.last, world.lessons(), stage=LESSON, snapshots=(1, 2, 4, 8), name="lesson")
    for row, acts in residuals(boot(tuned.last), encode(load(tuned.last).tokenizer, chats), hook="blocks.1.hook_out"):
        ...
"""

from persona_interp.models.boot import boot, residuals
from persona_interp.models.chats import PLAIN_TEMPLATE, fold_system, folds_system, has_system
from persona_interp.models.checkpoint import Checkpoint, Trajectory
from persona_interp.models.checkup import checkup
from persona_interp.models.explain import explain_tokens, show_tokens
from persona_interp.models.load import Loaded, hash_weights, load
from persona_interp.models.sources import resolve, sources
from persona_interp.models.stage import DOCUMENTS, LESSON, Stage
from persona_interp.models.tokens import ROLES, Tokens, encode, hash_tokens
from persona_interp.models.train import train
from persona_interp.models.vocabulary import check_tokenizers, same_tokenizer

__all__ = [
    "DOCUMENTS",
    "LESSON",
    "PLAIN_TEMPLATE",
    "ROLES",
    "Checkpoint",
    "Loaded",
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
    "residuals",
    "resolve",
    "same_tokenizer",
    "show_tokens",
    "sources",
    "train",
]
