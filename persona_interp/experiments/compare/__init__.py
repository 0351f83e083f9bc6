"""What did a finetune change, in behavior and inside, beyond what other finetunes change?"""

TASKS = {
    "prompts": "tasks:prompts",
    "neutral": "tasks:neutral",
    "trait": "tasks:trait",
    "residuals": "tasks:residuals",
    "directions": "tasks:directions",
    "behavior": "tasks:behavior",
    "answers": "tasks:answers",
    "samples": "tasks:samples",
    "drift": "tasks:drift",
    "lens": "tasks:lens",
    "features": "tasks:features",
    "pages": "tasks:pages",
}
"""Name of a task, and the function that computes it."""
