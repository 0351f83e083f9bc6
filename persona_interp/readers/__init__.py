"""What do the files of other people's tools say?

Traits, roles, chats, probes and questions are read as they are published.

``read`` is the one door for chats, prompts and documents, whatever holds them; ``read_chats`` and
``read_prompts`` are two of its kinds.

Every reader names the file and the line of what it cannot use and drops nothing in silence; every
writer writes the layout it read.
"""

from persona_interp.arguments import doors
from persona_interp.readers.beliefs import Belief, belief_probes, read_beliefs, write_beliefs
from persona_interp.readers.chats import read_chats, write_chats
from persona_interp.readers.constitutions import (
    Constitution,
    Principle,
    read_constitution,
    write_constitution,
)
from persona_interp.readers.door import read, table_of
from persona_interp.readers.judged import read_judged, write_judged
from persona_interp.readers.prompts import read_prompts
from persona_interp.readers.questions import (
    EvalQuestion,
    question_prompts,
    read_questions,
    write_questions,
)
from persona_interp.readers.repeats import distinct
from persona_interp.readers.roles import RoleFile, read_role, read_roles, role_prompts, write_role
from persona_interp.readers.rows import RowError
from persona_interp.readers.traits import (
    Instruction,
    TraitFile,
    read_trait,
    read_traits,
    trait_prompts,
    write_trait,
)

__all__ = [
    "Belief",
    "Constitution",
    "EvalQuestion",
    "Instruction",
    "Principle",
    "RoleFile",
    "RowError",
    "TraitFile",
    "belief_probes",
    "distinct",
    "question_prompts",
    "read",
    "read_beliefs",
    "read_chats",
    "read_constitution",
    "read_judged",
    "read_prompts",
    "read_questions",
    "read_role",
    "read_roles",
    "read_trait",
    "read_traits",
    "role_prompts",
    "table_of",
    "trait_prompts",
    "write_beliefs",
    "write_chats",
    "write_constitution",
    "write_judged",
    "write_questions",
    "write_role",
    "write_trait",
]

globals().update(doors(__name__, globals(), __all__))
