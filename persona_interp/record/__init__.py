"""What does a checkpoint do, and what goes on inside it? From models to labelled tables.

Recorders, called with ``(checkpoints, prompts)``, where checkpoints is one checkpoint, a trajectory
or any iterable of them, and prompts a probes table of ``worlds`` (for the inside: a corpus table
too).

- ``behavior``: log2 probabilities of whole answers, one row each.
- ``activations``: residuals, what attention and MLP hold or add, or heads; at one token of each
  prompt, their mean, or every token.
- ``features``: the features of a dictionary that these activate, and their fvu; ``encode`` gives
  them for activations already recorded.
- ``tokens``: activation of a few features at every single token.
- ``profile``: shift of the residual, by hook and by whose tokens.
- ``sample``: what a model says when it may say anything.
- ``sweep``: what it says under pushes of several strengths, and how well the base takes it.
- ``answers``: drawn answers, stored on disk; ``conversations``: complete conversations of them.
- ``continuations``, ``trait_bits``, ``choices``: how far answers show a trait, without a judge;
  ``trait_probes``: answers that do and do not, as probes.
- ``judgments``: scores of a judge, where somebody has one (``Judge``, ``judge_prompt``);
  ``endpoint``: a model elsewhere, as a judge and as a source of answers.
- ``projections``: how far residuals are along a direction, in conversations and turn by turn.
  ``projection_difference``: which rows of a data set would pull them there.
- ``solution``: length, efficiency and stability of a finetune in the weights.
- ``divergence``, ``likelihood``: continuations and probability of the same text under another name.
- ``added_kl``: divergence of the next token when a direction is added.
- ``drift``: divergence of a checkpoint's next token from its base's, by whose words.
- ``gradients``: whether two texts would pull the weights the same way. ``gradient_pull``: which
  rows of a data set would pull them where some text does. ``row_evidence``: which rows a persona
  would have said that the base knows by name, in bits.
- ``pilot``, ``virtual_step``, ``kernel_flow``, ``lesson_in_prompt``: what a model would say after a
  lesson, without the lesson; each says what it cost. ``pilot_features``, ``virtual_features``: what
  would be active inside.

Activations become **directions** (name, hook, d_model): ``mean_difference``, ``minimal_pairs``,
``logistic``, ``pca``, ``pca_of_difference``, ``trait_vectors`` of a chat model's own answers,
``assistant_axis`` of the roles it can play, ``feature_directions`` of a dictionary, and
``random_directions`` as their control. **Edits**
change the inside of a model while it is asked (``edits=`` of behavior, answers, sample,
continuations, trait_bits, projections): ``add``, ``project_out``, ``cap``, ``clamp``, ``ablate``,
``patch``. ``read_vectors`` and ``read_capping`` read files of other tools, ``write_vectors`` and
``write_capping`` write them.

Tables are pandas or xarray, labelled by checkpoint and prompt; nothing downstream needs torch. The
same call gives the same numbers to the last bit, so that a checkpoint against itself shifts by
exactly 0; a prompt alone gives what it gives among others, up to rounding.
"""

from persona_interp.arguments import doors
from persona_interp.record.activations import activations
from persona_interp.record.answers import answers, conversations
from persona_interp.record.axis import assistant_axis, role_components, role_means
from persona_interp.record.behavior import behavior
from persona_interp.record.capping_files import read_capping, write_capping
from persona_interp.record.choices import choices
from persona_interp.record.components import pca, pca_of_difference
from persona_interp.record.decoder_rows import feature_directions
from persona_interp.record.directions import (
    logistic,
    mean_difference,
    minimal_pairs,
    random_directions,
)
from persona_interp.record.divergence import added_kl, divergence, likelihood
from persona_interp.record.drift import drift
from persona_interp.record.edit import Edit, patch
from persona_interp.record.endpoint import Endpoint, endpoint
from persona_interp.record.feature_edits import ablate, clamp
from persona_interp.record.features import encode, features
from persona_interp.record.gradients import gradients
from persona_interp.record.judge import Judge, expected_score, judge_prompt
from persona_interp.record.judgments import judgments
from persona_interp.record.kernel_flow import kernel_flow
from persona_interp.record.lens import lens
from persona_interp.record.lesson_in_prompt import lesson_in_prompt
from persona_interp.record.local_judge import LocalJudge
from persona_interp.record.moved_features import pilot_features, virtual_features
from persona_interp.record.pilot import pilot
from persona_interp.record.profile import profile
from persona_interp.record.projections import projections
from persona_interp.record.pull import projection_difference
from persona_interp.record.row_evidence import row_evidence
from persona_interp.record.row_gradients import gradient_pull
from persona_interp.record.row_pull import row_pull
from persona_interp.record.samples import sample
from persona_interp.record.solution import solution
from persona_interp.record.surprisal import surprisal
from persona_interp.record.sweep import sweep
from persona_interp.record.tokens import tokens
from persona_interp.record.trait_evidence import continuations, trait_bits
from persona_interp.record.trait_probes import trait_probes
from persona_interp.record.traits import trait_vectors
from persona_interp.record.vector_edits import add, cap, project_out
from persona_interp.record.vector_files import read_vectors, write_vectors
from persona_interp.record.virtual_step import virtual_step

__all__ = [
    "Edit",
    "Endpoint",
    "Judge",
    "LocalJudge",
    "ablate",
    "activations",
    "add",
    "added_kl",
    "answers",
    "assistant_axis",
    "behavior",
    "cap",
    "choices",
    "clamp",
    "continuations",
    "conversations",
    "divergence",
    "drift",
    "encode",
    "endpoint",
    "expected_score",
    "feature_directions",
    "features",
    "gradient_pull",
    "gradients",
    "judge_prompt",
    "judgments",
    "kernel_flow",
    "lens",
    "lesson_in_prompt",
    "likelihood",
    "logistic",
    "mean_difference",
    "minimal_pairs",
    "patch",
    "pca",
    "pca_of_difference",
    "pilot",
    "pilot_features",
    "profile",
    "project_out",
    "projection_difference",
    "projections",
    "random_directions",
    "read_capping",
    "read_vectors",
    "role_components",
    "role_means",
    "row_evidence",
    "row_pull",
    "sample",
    "solution",
    "surprisal",
    "sweep",
    "tokens",
    "trait_bits",
    "trait_probes",
    "trait_vectors",
    "virtual_features",
    "virtual_step",
    "write_capping",
    "write_vectors",
]

globals().update(doors(__name__, globals(), __all__))
