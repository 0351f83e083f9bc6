from typing import Any

import pytest


def small(**changes: Any) -> Any:
    """John (weight 3) and Sam (weight 1), two topics of two values, noise 0.2: for the hand."""
    from persona_interp.worlds import Persona, World

    fields: dict[str, Any] = {
        "name": "small",
        "topics": {"sport": ("football", "tennis"), "place": ("beach", "city")},
        "personas": (
            Persona("john", ("sport=football", "place=beach")),
            Persona("sam", ("sport=tennis", "place=city")),
        ),
        "target": "john",
        "taught": "place=beach",
        "unrelated": "place=city",
        "weights": {"john": 3, "sam": 1},
        "noise": 0.2,
    }
    return World(**(fields | changes))


@pytest.fixture
def make_small() -> Any:
    return small


@pytest.fixture(scope="session")
def recipe() -> Any:
    from persona_interp.worlds import john_and_sam

    return john_and_sam()


@pytest.fixture(scope="session")
def documents(recipe: Any) -> Any:
    return recipe.corpus(12_000, seed=3)
