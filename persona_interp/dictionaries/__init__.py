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
sae_id)`` stands wherever a dictionary is asked for (``as_dictionary``).
"""

from persona_interp.dictionaries.diagnosis import diagnose
from persona_interp.dictionaries.dictionary import (
    Dictionary,
    SparseDictionary,
    hash_dictionary,
    open_dictionary,
    save_dictionary,
)
from persona_interp.dictionaries.fidelity import fidelity, fidelity_at
from persona_interp.dictionaries.inputs import as_dictionary
from persona_interp.dictionaries.pretrained import (
    hint,
    load_pretrained,
    measure_residuals,
    open_any,
)
from persona_interp.dictionaries.text import neutral_text
from persona_interp.dictionaries.training import fit

__all__ = [
    "Dictionary",
    "SparseDictionary",
    "as_dictionary",
    "diagnose",
    "fidelity",
    "fidelity_at",
    "fit",
    "hash_dictionary",
    "hint",
    "load_pretrained",
    "measure_residuals",
    "neutral_text",
    "open_any",
    "open_dictionary",
    "save_dictionary",
]
