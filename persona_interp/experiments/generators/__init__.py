"""Does a lesson bring along what co-occurred with it in text that is nobody's?"""

TASKS = {"documents": "tasks:documents", "lesson": "tasks:lesson"}
"""Name of a task, and the function that computes it."""
