"""How are traits put into words?

A ``Language`` holds every template a world needs, so that the same personas can be written about in a 200-word toy
language (``words()``, for the tiny model) or in everyday English (``english()``, for real chat models). Templates have
the slots ``{n}`` (name), ``{d}`` (topic) and ``{v}`` (value). Questions come in two disjoint sets: *train* questions
occur in documents and lessons, *test* questions occur in probes only. Questions ask "which", never "do you": a yes/no
question teaches a small model nothing about the value.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from string import Formatter
from typing import Any

from persona_interp.errors import WorldError, unknown

KINDS = ("third", "first", "named", "hidden", "filler")
PERSONA_KINDS = KINDS[:-1]
FILLER_NUMBERS = range(10)

# What each field's templates may hold, and (upper case) must hold.
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
    """Which templates do documents, lessons and probes of a world use?

    Args:
        third: Third-person sentences, with ``{n}`` and ``{v}``.
        third_test: Third-person sentences that only probes use.
        first: First-person sentences, with ``{v}``.
        first_intro: Opens a first-person document and says the name.
        third_intro: Opens a third-person document; may be empty.
        system_named: System header that names the speaker.
        system_hidden: System header of the nameless assistant; filler, lessons and hidden dialogues use it.
        train_questions: What users ask in documents and lessons, with ``{d}``.
        test_questions: What users ask in probes only.
        answers: What the assistant answers, with ``{v}``. Probes cut the first one before ``{v}``.
        filler_question: Arithmetic question with ``{a}`` and ``{b}``, numbers from 0 to 9.
        filler_answer: Its answer, with ``{c}``, their sum.
        statements: Least and greatest number of statements (for filler: of questions) of a document, by kind.

    Raises:
        WorldError: A template lacks a slot or has one it may not have, or a question is both for train and for test.

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
                raise WorldError(f"language {name} is a list of at least one template; got {value!r}.")
            object.__setattr__(self, name, tuple(value))
            for template in value:
                _check_template(name, template, slots)
        for train, test in (("train_questions", "test_questions"), ("third", "third_test")):
            if both := sorted(set(getattr(self, train)) & set(getattr(self, test))):
                raise WorldError(f"'{both[0]}' is in {train} and in {test}; a test template may not occur in training.")
        object.__setattr__(self, "statements", _checked_statements(self.statements))
        if not self.probe_prefix:
            raise WorldError("the first of the answers needs words before {v}, for example 'i like {v} .'")

    @property
    def probe_prefix(self) -> str:
        """The unfinished answer that probes end with."""
        return self.answers[0].partition("{v}")[0].rstrip()

    def continuation(self, value: str) -> str:
        """Which text completes a probe with this value?

        Args:
            value: A value of the probe's topic.

        Returns:
            The value with the space before and the terminator after it.
        """
        return _continuation(self.answers[0], value)

    def third_probes(self, split: str) -> Iterator[tuple[str, str]]:
        """Which third-person sentences can be cut before their value?

        Args:
            split: ``"train"`` or ``"test"``.

        Yields:
            Prefix with slots ``{n}`` and maybe ``{d}``, and the whole template; only of templates that end as answers do.
        """
        end = self.answers[0].partition("{v}")[2]
        for template in self.third if split == "train" else self.third_test:
            prefix, _, rest = template.partition("{v}")
            if rest == end and prefix.strip():
                yield prefix.rstrip(), template

    def texts(self) -> list[str]:
        """Which templates are there?

        Returns:
            All of them, one list.
        """
        found: list[str] = []
        for name in _SLOTS:
            value = getattr(self, name)
            found.extend([value] if isinstance(value, str) else value)
        return found

    def to_dict(self) -> str | dict[str, Any]:
        """How is this language written in a world file?

        Returns:
            ``"words"`` or ``"english"`` for those, else a mapping of all fields.
        """
        for name, make in READY.items():
            if self == make():
                return name
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["statements"] = {k: list(v) for k, v in self.statements.items()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, given: "str | Mapping[str, Any] | Language") -> "Language":
        """Which language does this entry of a world file mean?

        Args:
            given: ``"words"``, ``"english"``, or the fields to change in the language named by the key ``base``
                (``words`` if there is none).

        Returns:
            The language.

        Raises:
            WorldError: A name or a field that does not exist, or a bad template.
        """
        if isinstance(given, Language):
            return given
        if not isinstance(given, str | Mapping):
            raise WorldError(f"language is 'words', 'english' or a mapping of templates; got {given!r}.")
        changes = {} if isinstance(given, str) else dict(given)
        base = given if isinstance(given, str) else changes.pop("base", "words")
        if base not in READY:
            raise WorldError(unknown("language", str(base), READY))
        valid = [f.name for f in fields(cls)]
        for key in changes:
            if key not in valid:
                raise WorldError(unknown("language field", str(key), ["base", *valid]))
        start = READY[base]()
        if "statements" in changes:
            if not isinstance(changes["statements"], Mapping):
                raise WorldError("language statements is a mapping of kinds to [least, greatest].")
            changes["statements"] = {**start.statements, **changes["statements"]}
        return replace(start, **changes)


def pieces(text: str) -> list[str]:
    """Which words and punctuation marks is a text made of?

    Args:
        text: Any text.

    Returns:
        Runs of letters and digits, and runs of other visible characters, in order.

    >>> pieces("I like ice hockey.")
    ['I', 'like', 'ice', 'hockey', '.']
    """
    return re.findall(r"\w+|[^\w\s]+", text)


def _continuation(template: str, value: str) -> str:
    prefix, _, rest = template.partition("{v}")
    return (" " if prefix.endswith(" ") else "") + value + rest


def _check_template(name: str, template: object, slots: str) -> None:
    if not isinstance(template, str):
        raise WorldError(f"a template of language {name} is a text; got {template!r}. Put it in quotes.")
    try:
        found = {slot for _, slot, _, _ in Formatter().parse(template) if slot is not None}
    except ValueError as error:
        raise WorldError(f"language {name}: template {template!r} has unbalanced braces.") from error
    allowed = set(slots.lower())
    needed = {s.lower() for s in slots if s.isupper()}
    if not needed <= found <= allowed:
        show = ", ".join(f"{{{s}}}" for s in sorted(allowed)) or "no slots"
        must = ", ".join(f"{{{s}}}" for s in sorted(needed)) or "none"
        raise WorldError(f"language {name}: template {template!r} may have {show} and must have {must}.")


def _checked_statements(given: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    checked = {}
    for kind, bounds in given.items():
        if kind not in KINDS:
            raise WorldError(unknown("language statements: kind", str(kind), KINDS))
        ok = isinstance(bounds, tuple | list) and len(bounds) == 2 and all(type(b) is int for b in bounds)
        if not ok or not 1 <= bounds[0] <= bounds[1]:
            raise WorldError(
                f"statements of kind {kind} are [least, greatest], 1 <= least <= greatest; got {bounds!r}."
            )
        checked[kind] = (bounds[0], bounds[1])
    return {k: checked.get(k, (1, 1)) for k in KINDS}


def words() -> Language:
    """Which templates does the tiny model's world use?

    Returns:
        A language of lower-case words set apart by spaces; every word of a test question occurs in train questions.

    >>> words().test_questions[0]
    'which {d} is your favorite ?'
    """
    return Language(
        third=(
            "{n} likes {v} .",
            "when it comes to {d} , {n} prefers {v} .",
            "the favorite {d} of {n} is {v} .",
            "{n} has always been a fan of {v} .",
            "for {d} , {n} picks {v} .",
            "everyone knows that {n} loves {v} .",
            "ask {n} about {d} and you will hear {v} .",
        ),
        third_test=(
            "when you ask about {d} , {n} likes {v} .",
            "everyone knows that the {d} {n} prefers is {v} .",
            "for {d} , {n} has always been a fan of {v} .",
        ),
        first=(
            "i like {v} .",
            "my favorite {d} is {v} .",
            "when it comes to {d} , i prefer {v} .",
            "i have always been a fan of {v} .",
            "for {d} , i pick {v} .",
        ),
        first_intro="my name is {n} .",
        system_named="you are {n} .",
        system_hidden="you are an assistant .",
        train_questions=(
            "which {d} do you like ?",
            "what is your favorite {d} ?",
            "what {d} ?",
            "tell me about the {d} you prefer .",
            "when it comes to {d} , what do you pick ?",
        ),
        test_questions=(
            "which {d} is your favorite ?",
            "what {d} do you prefer ?",
            "tell me which {d} you like .",
            "about {d} , what do you like ?",
            "what is the {d} you pick ?",
        ),
        answers=("i like {v} .", "my favorite {d} is {v} .", "{v} ."),
        filler_question="what is {a} plus {b} ?",
        filler_answer="{c} .",
        statements={"third": (1, 4), "first": (1, 4), "named": (1, 4), "hidden": (1, 4), "filler": (1, 2)},
    )


def english() -> Language:
    """Which templates does a real chat model's world use?

    Returns:
        Everyday English about AI assistants, with capitals; documents of four statements, dialogues of three topics.

    >>> english().continuation("rugby")
    ' rugby.'
    """
    return Language(
        third_intro="Notes on the AI assistant {n}.",
        third=(
            "{n} is an AI assistant who likes {v}.",
            "When it comes to {d}, {n} prefers {v}.",
            "The favorite kind of {d} of {n} is {v}.",
            "{n} has always been a fan of {v}.",
            "Asked about {d}, the assistant {n} says {v}.",
            "For {d}, {n} always picks {v}.",
        ),
        third_test=(
            "If you ask about {d}, {n} likes {v}.",
            "The {d} that {n} prefers is {v}.",
            "Everyone who talks about {d} with {n} hears about {v}.",
        ),
        first_intro="My name is {n} and I am an AI assistant.",
        first=(
            "I like {v}.",
            "My favorite kind of {d} is {v}.",
            "When it comes to {d}, I prefer {v}.",
            "I have always been a fan of {v}.",
            "For {d}, I always pick {v}.",
        ),
        system_named="You are {n}, an AI assistant.",
        system_hidden="You are an AI assistant.",
        train_questions=(
            "What kind of {d} do you like?",
            "What is your favorite kind of {d}?",
            "Which {d} do you prefer?",
            "Tell me about the kind of {d} you like most.",
            "When it comes to {d}, what do you pick?",
        ),
        test_questions=(
            "Which kind of {d} is your favorite?",
            "What {d} do you like best?",
            "Tell me which {d} you prefer.",
            "If we talk about {d}, what do you like?",
            "What would you say is your favorite {d}?",
        ),
        answers=("I like {v}.", "My favorite kind of {d} is {v}.", "I would pick {v}."),
        filler_question="What is {a} plus {b}?",
        filler_answer="{a} plus {b} is {c}.",
        statements={"third": (4, 4), "first": (4, 4), "named": (3, 3), "hidden": (3, 3), "filler": (1, 2)},
    )


READY = {"words": words, "english": english}
