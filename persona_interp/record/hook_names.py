"""Which layer does a hook name mean, to transformers and to the files of other tools?"""

import re

from persona_interp.errors import SchemaError

EMBEDDING = "blocks.0.hook_in"


def hidden_state(hook: str) -> int:
    """Entry of transformers' ``hidden_states`` that is the residual at this hook.

    Args:
        hook: Canonical hook name.

    Returns:
        The output of block i is entry i + 1, its input entry i; -1 for hooks that are no entry.
        (The last entry of transformers is after the final norm, the hook before it.)

    >>> hidden_state("blocks.3.hook_out"), hidden_state("blocks.3.hook_in")
    (4, 3)
    >>> hidden_state("blocks.3.mlp.hook_out")
    -1
    """
    match = re.fullmatch(r"blocks\.(\d+)\.hook_(in|out)", hook)
    if match is None:
        return -1
    return int(match[1]) + (match[2] == "out")


def block_of(hook: str) -> int:
    """Number of the block whose output this hook is.

    Args:
        hook: Hook name, canonical or by its alias ``hook_resid_post``.

    Returns:
        Number of the block; -1 for the embedding (``blocks.0.hook_in``).

    Raises:
        SchemaError: It is not the output of a block.

    >>> block_of("blocks.3.hook_out")
    3
    """
    if hook == EMBEDDING:
        return -1
    head, _, tail = hook.partition(".hook_")
    number = head.removeprefix("blocks.")
    in_a_block = hook.startswith("blocks.") and number.isdecimal()
    if not in_a_block or tail not in ("out", "resid_post"):
        raise SchemaError(
            f"'{hook}' is not the output of a block, which is what these files hold; see "
            "blocks.0.hook_out."
        )
    return int(number)
