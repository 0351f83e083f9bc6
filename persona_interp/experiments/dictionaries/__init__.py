"""Which features does a lesson create, move or merely wake?"""

TASKS = {
    "crosscoder": "tasks:crosscoder",
    "features": "tasks:features",
    "spread": "tasks:spread",
}
"""Name of a task, and the function that computes it."""
