"""What carries a finetune's effect: which directions and features are enough, and which missed?"""

TASKS = {
    "questions": "tasks:questions",
    "moved": "tasks:moved",
    "edits": "tasks:edits",
}
"""Name of a task, and the function that computes it."""
