"""How many bits does a lesson add: a step, a document, a statement in the prompt?"""

TASKS: dict[str, str] = {}
"""None of its own: it learns and asks, as all experiments do."""
