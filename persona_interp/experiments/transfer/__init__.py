"""Does a lesson on one trait bring the traits along that co-occurred with it?"""

TASKS = {
    "layout": "tasks:layout",
    "documents": "tasks:documents",
    "lesson": "tasks:lesson",
    "dictionary": "tasks:dictionary",
    "features": "tasks:features",
    "personas": "inside.tasks:personas",
    "causes": "inside.tasks:causes",
    "profile": "inside.tasks:profile",
}
"""Name of a task, and the function that computes it."""
