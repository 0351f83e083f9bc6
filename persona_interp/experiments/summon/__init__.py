"""Who is summoned by a lesson that several personas could have given?"""

TASKS = {"standing": "tasks:standing", "solution": "tasks:solution", "inside": "tasks:inside"}
"""Name of a task, and the function that computes it."""
