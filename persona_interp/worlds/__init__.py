"""Which personas exist, what is written about them, and what would an ideal reader believe?

A **trait** is a value of a topic (``sport=football``), a **persona** a name with one trait or more
of every topic, and a **world** a set of personas with the *mass* of documents written about each,
in each *kind* of document. A world is frozen data. From it come

- ``world.corpus()``: documents to train a model on; ``world.lessons()``: chats that teach one
  trait;
- ``world.probes()``: questions that measure what the model says, as nobody, as John, in plain text,
  about John;
- ``world.jailbreaks()``, ``world.triggers()``: chats that press a persona on the model;
- ``world.cuts(corpus)``: those documents up to just before each value they say;
- ``world.posterior(evidence)``: exact Bayes, with ``conditioning_limit`` and ``mixing``, the two
  standing predictions;
- ``world.scrambled()``, ``.rewired()``, ``.without("john")``, ``.named_only("john")``: the control
  worlds.

>>> world = john_and_sam()
>>> world.corpus(1)["messages"][0][0]["role"] in ("text", "system")
True
"""

from persona_interp.arguments import doors
from persona_interp.worlds.arbitrary import arbitrary
from persona_interp.worlds.audit import count, leaks
from persona_interp.worlds.bayes import Posterior, certain, conditioning_limit, mixing
from persona_interp.worlds.candidates import candidates, careless
from persona_interp.worlds.characters import characters
from persona_interp.worlds.files import load, save
from persona_interp.worlds.graded import graded, overlaps
from persona_interp.worlds.inoculation import inoculate, inoculations
from persona_interp.worlds.jailbreaks import hold_out, jailbreak_prompts, trigger_prompts
from persona_interp.worlds.language import Language
from persona_interp.worlds.ready import english_assistants, john_and_sam
from persona_interp.worlds.sequences import Process, Sequences, sequences
from persona_interp.worlds.templates import english, words
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

__all__ = [
    "Language",
    "Persona",
    "Posterior",
    "Process",
    "Sequences",
    "Trait",
    "World",
    "arbitrary",
    "candidates",
    "careless",
    "certain",
    "characters",
    "conditioning_limit",
    "count",
    "english",
    "english_assistants",
    "graded",
    "hold_out",
    "inoculate",
    "inoculations",
    "jailbreak_prompts",
    "john_and_sam",
    "leaks",
    "load",
    "mixing",
    "overlaps",
    "save",
    "sequences",
    "trigger_prompts",
    "words",
]

globals().update(doors(__name__, globals(), __all__))
