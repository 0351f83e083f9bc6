"""A world and an untrained base of its words."""

import pytest

from persona_interp import models
from persona_interp.models import Checkpoint
from persona_interp.worlds import World, john_and_sam


@pytest.fixture(scope="session")
def world() -> World:
    return john_and_sam()


@pytest.fixture(scope="session")
def base(world: World, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return models.resolve("tiny", words=world.words(), out=tmp_path_factory.mktemp("base"))
