"""What will a finetune move, before it is done?"""

TASKS = {"foretell": "tasks:foretell"}
"""Name of a task, and the function that computes it."""
