import pytest

from persona_interp.errors import WorldError
from persona_interp.worlds import Persona, Trait


@pytest.mark.parametrize("label", ["sport=football", "sport=ice hockey", "kind of art=a = b"])
def test_labels_come_back(label: str) -> None:
    assert str(Trait.parse(label)) == label


@pytest.mark.parametrize("label", ["football", "=football", "sport=", ""])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(WorldError, match="topic=value"):
        Trait.parse(label)


def test_personas_take_labels_and_are_hashable() -> None:
    persona = Persona("john", ("sport=football", "sport=tennis", "art=gothic"))
    assert persona.values("sport") == ("football", "tennis")
    assert persona == Persona(
        "john", (Trait("sport", "football"), Trait("sport", "tennis"), Trait("art", "gothic"))
    )
    assert len({persona, Persona("john", persona.traits)}) == 1
