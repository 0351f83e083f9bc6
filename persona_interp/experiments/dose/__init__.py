"""How much has to be written about somebody until a lesson summons him?"""

TASKS: dict[str, str] = {}
"""None of its own: it learns and asks, as all experiments do."""
