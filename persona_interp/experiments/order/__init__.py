"""Does it matter who was written about last?"""

TASKS: dict[str, str] = {}
"""None of its own: it learns, as all experiments do."""
