"""What will a finetune move, before it is done?"""

TASKS: dict[str, str] = {}
"""Name of a task, and the function that computes it."""
