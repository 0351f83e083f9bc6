"""Do estimators of measure and metric agree with each other and with the truth?"""

TASKS = {"estimates": "tasks:estimates", "walk": "tasks:walk", "geometry": "tasks:geometry"}
"""Name of a task, and the function that computes it."""
