"""Which features are a model's residuals made of, and does that description still hold?

A dictionary writes a residual as a sparse sum of directions, its features. Whatever has the members
of ``Dictionary`` is one. ``fit`` trains one with SAELens on residuals of one or several checkpoints
(a BatchTopK SAE), and ``save_dictionary`` / ``open_dictionary`` keep it as a SAELens folder with
its provenance beside it.

A dictionary trained on one checkpoint can silently stop describing the next. So every reading of
features carries an fvu, and ``fidelity`` is the gate: on each checkpoint, how much of the variance
is unexplained, how many features are active or dead, and how much of the model's predictive power
survives when the reconstruction replaces the residual; ``fidelity_at`` asks the same of the
prompts that features are read on.

``load_pretrained`` opens what others trained (SAELens, dictionary_learning, sparsify), and
``diagnose`` says whether it fits a model and its finetunes, or what is the first thing that is
wrong: layer, scale, BOS, dtype, or the model itself. An ``SAE`` of SAELens, a folder or ``(release,
sae_id)`` stands wherever a dictionary is asked for (``as_dictionary``). ``encode_features`` reads a
few features of a wide one at the cost of those few.

``keep_activations`` records residuals on the disk, once (``ActStore``), for whatever trains on
them; a list of recordings, one a checkpoint, stands where residuals of several are asked for.

What training did to features is asked by ``crosscoder`` (one dictionary of several checkpoints on
the same tokens; ``scaling`` measures how much of each feature is there, ``analysis.statuses`` says
what became of it), ``difference`` (an SAE on tuned minus base) and ``stage_wise`` (an SAE finetuned
to the new documents and the new model, in both orders). ``plant`` makes residuals of which all of
this is known.
"""

from persona_interp.arguments import doors
from persona_interp.dictionaries.act_sampler import Sampler
from persona_interp.dictionaries.act_store import ActStore, keep_activations
from persona_interp.dictionaries.crosscoder import (
    Crosscoder,
    crosscoder,
    difference,
    open_crosscoder,
)
from persona_interp.dictionaries.diagnosis import diagnose
from persona_interp.dictionaries.dictionary import (
    Dictionary,
    SparseDictionary,
    hash_dictionary,
    open_dictionary,
    save_dictionary,
)
from persona_interp.dictionaries.fidelity import fidelity, fidelity_at
from persona_interp.dictionaries.finetuning import finetune
from persona_interp.dictionaries.inputs import as_dictionary
from persona_interp.dictionaries.planted import plant
from persona_interp.dictionaries.pretrained import (
    hint,
    load_pretrained,
    measure_residuals,
    open_any,
)
from persona_interp.dictionaries.same_tokens import same_tokens
from persona_interp.dictionaries.scaling import scaling
from persona_interp.dictionaries.stage_wise import stage_wise
from persona_interp.dictionaries.subset import encode_features
from persona_interp.dictionaries.text import neutral_text
from persona_interp.dictionaries.training import fit

__all__ = [
    "ActStore",
    "Crosscoder",
    "Dictionary",
    "Sampler",
    "SparseDictionary",
    "as_dictionary",
    "crosscoder",
    "diagnose",
    "difference",
    "encode_features",
    "fidelity",
    "fidelity_at",
    "finetune",
    "fit",
    "hash_dictionary",
    "hint",
    "keep_activations",
    "load_pretrained",
    "measure_residuals",
    "neutral_text",
    "open_any",
    "open_crosscoder",
    "open_dictionary",
    "plant",
    "same_tokens",
    "save_dictionary",
    "scaling",
    "stage_wise",
]

globals().update(doors(__name__, globals(), __all__))
