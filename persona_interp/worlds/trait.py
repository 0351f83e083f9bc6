"""Who likes what: a trait is one value of one topic, a persona a name with the traits it holds."""

from dataclasses import dataclass

from persona_interp.errors import WorldError


@dataclass(frozen=True, order=True)
class Trait:
    """One value of one topic.

    Args:
        topic: What is asked about, for example ``"sport"``; contains no ``=``.
        value: The answer, one or more words, for example ``"football"``.

    >>> str(Trait("sport", "football"))
    'sport=football'
    """

    topic: str
    value: str

    def __str__(self) -> str:
        return f"{self.topic}={self.value}"

    @classmethod
    def parse(cls, label: "str | Trait") -> "Trait":
        """Trait that a label names.

        Args:
            label: ``"topic=value"``, or a trait, which is returned as it is.

        Returns:
            The trait.

        Raises:
            WorldError: The label is not of the form ``topic=value``.

        >>> Trait.parse("sport=ice hockey")
        Trait(topic='sport', value='ice hockey')
        """
        if isinstance(label, Trait):
            return label
        topic, equals, value = str(label).partition("=")
        if not (topic.strip() and equals and value.strip()):
            raise WorldError(
                f"a trait is written topic=value, for example 'sport=football'; got '{label}'."
            )
        return cls(topic.strip(), value.strip())


@dataclass(frozen=True)
class Persona:
    """A name with the traits it holds.

    Args:
        name: The name documents use; one or more words.
        traits: What the persona holds, as ``Trait`` or label, at least one a topic; two of one
            topic are each said half the time.

    >>> Persona("john", (Trait("sport", "football"), Trait("place", "beach"))).values("place")
    ('beach',)
    """

    name: str
    traits: tuple[Trait, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "traits", tuple(Trait.parse(t) for t in self.traits))

    def values(self, topic: str) -> tuple[str, ...]:
        """Values that the persona holds on a topic.

        Args:
            topic: The topic.

        Returns:
            The values, in the persona's order; empty if there are none.

        >>> Persona("john", (Trait("sport", "football"),)).values("art")
        ()
        """
        return tuple(t.value for t in self.traits if t.topic == topic)
