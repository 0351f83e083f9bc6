"""What does a checkpoint do, and what goes on inside it? From models to labelled tables.

Four questions, all asked with ``(checkpoints, prompts)``, where checkpoints is one checkpoint, a trajectory or any
iterable of them, and prompts a probes table of ``worlds`` (for the inside: a corpus table too).

- ``behavior``: how probable is every answer? Log2 probabilities of whole answers, one row each.
- ``activations``: what is the residual at a hook?
- ``features``: which features of a dictionary does that residual activate, and with what fvu?
- ``sample``: what does the model say when it may say anything?

What comes out is pandas or xarray, labelled by checkpoint and prompt; nothing downstream needs torch. The same call
gives the same numbers to the last bit, so that a checkpoint against itself shifts by exactly 0; a prompt alone gives
what it gives among others, up to rounding.
"""

from persona_interp.record.activations import activations
from persona_interp.record.behavior import behavior
from persona_interp.record.features import features
from persona_interp.record.samples import sample

__all__ = ["activations", "behavior", "features", "sample"]
