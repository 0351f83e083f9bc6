"""How are traits put into words?

A ``Language`` holds every template a world needs, so that the same personas can be written about in
a 200-word toy language (``templates.words``, for the tiny model) or in everyday English
(``templates.english``, for chat models). Templates have the slots ``{n}`` (name), ``{d}`` (topic)
and ``{v}`` (value). Questions come in two disjoint sets: *train* questions occur in documents and
lessons, *test* questions occur in probes only. Questions ask "which", never "do you": a yes/no
question teaches a small model nothing about the value.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from persona_interp.errors import WorldError, excerpt, unknown

KINDS = ("third", "first", "named", "hidden", "filler")
PERSONA_KINDS = KINDS[:-1]
FILLER_NUMBERS = range(10)

# Slots that each field's templates may have, and (upper case) must have.
_SLOTS = {
    "third_intro": "n",
    "third": "NdV",
    "third_test": "NdV",
    "first_intro": "N",
    "first": "dV",
    "system_named": "N",
    "system_hidden": "",
    "train_questions": "D",
    "test_questions": "D",
    "answers": "dV",
    "filler_question": "AB",
    "filler_answer": "abC",
}


@dataclass(frozen=True)
class Language:
    """Templates that documents, lessons and probes of a world use.

    Args:
        third: Third-person sentences, with ``{n}`` and ``{v}``.
        third_test: Third-person sentences that only probes use.
        first: First-person sentences, with ``{v}``.
        first_intro: Opens a first-person document and says the name.
        third_intro: Opens a third-person document; may be empty.
        system_named: System header that names the speaker.
        system_hidden: System header of the nameless assistant; filler, lessons and hidden dialogues
            use it.
        train_questions: What users ask in documents and lessons, with ``{d}``.
        test_questions: What users ask in probes only.
        answers: What the assistant answers, with ``{v}``. Probes cut the first one before ``{v}``.
        filler_question: Arithmetic question with ``{a}`` and ``{b}``, numbers from 0 to 9.
        filler_answer: Its answer, with ``{c}``, their sum.
        statements: Least and greatest number of statements (for filler: of questions) of a
            document, by kind.

    Raises:
        WorldError: A template lacks a slot or has one it may not have, or a question is both for
            train and for test.

    >>> from persona_interp.worlds import words
    >>> words().probe_prefix, words().continuation("football")
    ('i like', ' football .')
    """

    third: tuple[str, ...]
    third_test: tuple[str, ...]
    first: tuple[str, ...]
    first_intro: str
    system_named: str
    system_hidden: str
    train_questions: tuple[str, ...]
    test_questions: tuple[str, ...]
    answers: tuple[str, ...]
    filler_question: str
    filler_answer: str
    statements: Mapping[str, tuple[int, int]] = field(hash=False)
    third_intro: str = ""

    def __post_init__(self) -> None:
        for name, slots in _SLOTS.items():
            value = getattr(self, name)
            if name.endswith(("intro", "named", "hidden", "_question", "_answer")):
                _check_template(name, value, slots)
                continue
            if isinstance(value, str) or not value:
                raise WorldError(
                    f"language {name} is a list of at least one template; got {excerpt(value)}."
                )
            object.__setattr__(self, name, tuple(value))
            for template in value:
                _check_template(name, template, slots)
        for train, test in (("train_questions", "test_questions"), ("third", "third_test")):
            if both := sorted(set(getattr(self, train)) & set(getattr(self, test))):
                raise WorldError(
                    f"'{both[0]}' is in {train} and in {test}; a test template may not occur in "
                    "training."
                )
        object.__setattr__(self, "statements", _check_statements(self.statements))
        if not self.probe_prefix or "{" in self.answers[0].partition("{v}")[2]:
            raise WorldError(
                "the first of the answers has words before {v} and no slot after it: 'i like {v} .'"
            )

    @property
    def probe_prefix(self) -> str:
        """The unfinished answer that probes end with."""
        return self.answers[0].partition("{v}")[0].rstrip()

    def continuation(self, value: str) -> str:
        """Text that completes a probe with a value.

        Args:
            value: A value of the probe's topic.

        Returns:
            The value with the space before and the terminator after it.
        """
        prefix, _, rest = self.answers[0].partition("{v}")
        # The space belongs to the continuation, as in most tokenizers to the word after it.
        if prefix.endswith(" "):
            return " " + value + rest
        return value + rest

    def third_probes(self, split: str) -> Iterator[tuple[str, str]]:
        """Yield third-person sentences that can be cut before their value.

        Args:
            split: ``"train"`` or ``"test"``.

        Yields:
            Prefix with slots ``{n}`` and maybe ``{d}``, and the template; only where it ends as the
            first answer does.
        """
        # Only sentences that end as the first answer does have the same continuations.
        before, _, end = self.answers[0].partition("{v}")
        for template in self.third if split == "train" else self.third_test:
            prefix, _, rest = template.partition("{v}")
            if rest == end and prefix.strip() and prefix.endswith(" ") == before.endswith(" "):
                yield prefix.rstrip(), template

    def texts(self) -> list[str]:
        """All templates.

        Returns:
            One list.
        """
        texts: list[str] = []
        for name in _SLOTS:
            value = getattr(self, name)
            texts.extend([value] if isinstance(value, str) else value)
        return texts


def pieces(text: str) -> list[str]:
    """Words and punctuation marks of a text.

    Args:
        text: Any text.

    Returns:
        Runs of letters and digits, and runs of other visible characters, in order.

    >>> pieces("I like ice hockey.")
    ['I', 'like', 'ice', 'hockey', '.']
    """
    return re.findall(r"\w+|[^\w\s]+", text)


def _check_template(name: str, template: object, slots: str) -> None:
    if not isinstance(template, str):
        raise WorldError(
            f"a template of language {name} is a text; got {excerpt(template)}. Put it in quotes."
        )
    try:
        present = {slot for _, slot, _, _ in Formatter().parse(template) if slot is not None}
    except ValueError as error:
        raise WorldError(
            f"language {name}: template {excerpt(template)} has unbalanced braces."
        ) from error
    allowed = set(slots.lower())
    required = {slot.lower() for slot in slots if slot.isupper()}
    if not required <= present <= allowed:
        may = ", ".join(f"{{{slot}}}" for slot in sorted(allowed)) or "no slots"
        must = ", ".join(f"{{{slot}}}" for slot in sorted(required)) or "none"
        raise WorldError(
            f"language {name}: template {excerpt(template)} may have {may} and must have {must}."
        )


def _check_statements(statements: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Least and greatest number of statements of every kind, 1 where it is not said."""
    bounds_by_kind: dict[str, tuple[int, int]] = dict.fromkeys(KINDS, (1, 1))
    for kind, bounds in statements.items():
        if kind not in KINDS:
            raise WorldError(unknown("language statements: kind", str(kind), KINDS))
        is_pair = isinstance(bounds, tuple | list) and len(bounds) == 2
        # type() rather than isinstance(): True is an int.
        is_whole = is_pair and all(type(bound) is int for bound in bounds)
        if not is_whole or not 1 <= bounds[0] <= bounds[1]:
            raise WorldError(
                f"statements of kind {kind} are [least, greatest], 1 <= least <= greatest; got "
                f"{excerpt(bounds)}."
            )
        bounds_by_kind[kind] = (bounds[0], bounds[1])
    return bounds_by_kind
