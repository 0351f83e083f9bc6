"""What stops an unwanted persona, and at what price?"""

TASKS = {
    "directions": "tasks:directions",
    "lesson": "tasks:lesson",
    "ask": "tasks:ask",
    "axis": "tasks:axis",
    "drift": "tasks:drift",
}
"""Short name of a task -> file and function."""
