"""Which features does a finetune on a published trait create, move or merely wake?"""

TASKS = {
    "learn": "tasks:learn",
    "crosscoder": "tasks:crosscoder",
    "features": "tasks:features",
}
"""Name of a task, and the function that computes it."""
