"""What stops a published trait that came with useful answers, and at what price?"""

TASKS = {
    "answers": "tasks:answers",
    "vector": "tasks:vector",
    "base": "tasks:base",
    "arm": "tasks:arm",
}
"""Name of a task, and the function that computes it."""
