"""What do the files of other people's tools say? Traits, roles, chats, probes and questions as they are published.

Every reader names the file and the line of what it cannot use and drops nothing in silence; every writer writes the
layout it read.
"""

from persona_interp.readers.roles import RoleFile, read_role, read_roles, role_prompts, write_role
from persona_interp.readers.traits import Instruction, TraitFile, read_trait, read_traits, trait_prompts, write_trait

__all__ = [
    "Instruction",
    "RoleFile",
    "TraitFile",
    "read_role",
    "read_roles",
    "read_trait",
    "read_traits",
    "role_prompts",
    "trait_prompts",
    "write_role",
    "write_trait",
]
