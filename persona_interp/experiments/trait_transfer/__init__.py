"""Which published traits move when another one is taught, and what foretells that?"""

TASKS = {
    "answers": "tasks:answers",
    "base": "tasks:base",
    "judge": "tasks:judge",
    "learn": "tasks:learn",
}
"""Name of a task, and the function that computes it."""
