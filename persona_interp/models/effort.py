"""How much could a chat template make of one message? Jinja bounds one range, and no product.

What is written in numbers is bounded here: how often a text is repeated, and how far loops count.
A loop over the messages themselves is as long as they are.
"""

import math
import re
from collections.abc import Iterable

from persona_interp.errors import ModelError

REPEATS = re.compile(r"\*\s*(\d+)|\brange\s*\(\s*(?:-?\d+\s*,\s*)?(\d+)|\b(\d+)\s*\*")
POWER = re.compile(r"\*\*\s*\d")
MOST_REPEATS = 10**6
"""Largest product of the numbers by which a template repeats something."""


def check_effort(templates: Iterable[str], *, source: object) -> None:
    """Refuse templates that would repeat something without an end in sight.

    Args:
        templates: Chat templates.
        source: Where they are from, for the message.

    Raises:
        ModelError: The numbers by which one multiplies and counts are too large together.

    >>> check_effort(["{{ 'a' * 300000000 }}"], source="this tokenizer")
    Traceback (most recent call last):
    ...
    persona_interp.errors.ModelError: the chat template of this tokenizer repeats something up to \
3e+08 times, more than 1,000,000; use another template.
    """
    for template in templates:
        counts = ["".join(groups) for groups in REPEATS.findall(template)]
        product = math.prod(max(1.0, float(count)) for count in counts)
        if POWER.search(template):
            product = math.inf
        if product > MOST_REPEATS:
            raise ModelError(
                f"the chat template of {source} repeats something up to {product:.3g} times, more "
                f"than {MOST_REPEATS:,}; use another template."
            )
