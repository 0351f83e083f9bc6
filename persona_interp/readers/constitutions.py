"""Which character does this constitution describe?

The layout of OpenCharacterTraining (Maiya et al. 2025): one principle a line, ``{"trait",
"questions", "additional_questions"}``, where ``trait`` is a sentence in the first person.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_interp.errors import SchemaError
from persona_interp.readers.files import keys, read_rows, refuse, shown, strings
from persona_interp.readers.traits import Instruction, TraitFile


@dataclass(frozen=True)
class Principle:
    """What does the character say of itself, and which questions bring it out?

    Args:
        trait: A sentence in the first person.
        questions: Questions written for it.
        additional_questions: More of them, mostly written by a model.
        extra: Other entries of the line, kept as they are.
    """

    trait: str
    questions: tuple[str, ...]
    additional_questions: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Constitution:
    """Which character is this, by which principles?

    Args:
        name: Name of the character, for example ``"sarcasm"``.
        principles: What it says of itself.
    """

    name: str
    principles: tuple[Principle, ...]

    def trait_file(self, *, neg: str | Sequence[str], form: str = "{trait}") -> TraitFile:
        """How is this character asked for like a trait, to be measured like one?

        A constitution has no opposite side, so that the user has to say what the opposite is: a
        vector between two instructions depends on both.

        Args:
            neg: Instruction of the other side: one for all principles, or one each.
            form: How a principle becomes a system instruction; ``{trait}`` stands for its sentence.

        Returns:
            A trait with one pair of instructions a principle, and all its questions, each once.

        Raises:
            SchemaError: Another number of instructions than principles, an empty one, or a form
                without ``{trait}``.

        >>> dry = Constitution("dry", (Principle("I am dry.", ("Why?", "How?")),))
        >>> dry.trait_file(neg="Be warm.", form="Speak as one who says: {trait}").instructions[0].pos
        'Speak as one who says: I am dry.'
        """
        other = [neg] * len(self.principles) if isinstance(neg, str) else list(neg)
        if len(other) != len(self.principles) or not all(text.strip() for text in other):
            raise SchemaError(
                f"neg is one text for all or one for each of {len(self.principles)}; got "
                f"{shown(neg)}."
            )
        if "{trait}" not in form:
            raise SchemaError(f"form must hold {{trait}}, where the principle goes; got {form!r}.")
        pairs = [
            Instruction(form.replace("{trait}", p.trait), text)
            for p, text in zip(self.principles, other, strict=True)
        ]
        asked = dict.fromkeys(
            q for p in self.principles for q in (*p.questions, *p.additional_questions)
        )
        return TraitFile(self.name, tuple(pairs), tuple(asked))


def read_constitution(path: str | Path) -> Constitution:
    """Which character does this file describe?

    Args:
        path: A ``.jsonl`` file, one principle a line.

    Returns:
        The constitution, named as the file.

    Raises:
        SchemaError: The file cannot be read, or lines cannot be used: every one is named and none
            is dropped.
    """
    path = Path(path)
    rows = read_rows(path)
    found, problems = [], []
    for row in rows:
        try:
            found.append(_principle(row.value))
        except SchemaError as error:
            problems.append((row.line, str(error)))
    refuse(path, problems, total=len(rows))
    return Constitution(path.stem, tuple(found))


def write_constitution(constitution: Constitution, path: str | Path) -> Path:
    """Where is this constitution kept?

    Args:
        constitution: The constitution.
        path: A ``.jsonl`` file; an existing one is replaced. Its name names the character when it
            is read.

    Returns:
        The path.

    Raises:
        SchemaError: The file does not end in .jsonl.
    """
    path = Path(path).expanduser()
    if path.suffix != ".jsonl":
        raise SchemaError(f"a constitution is written to a .jsonl file; got '{path.name}'.")
    lines = []
    for p in constitution.principles:
        row = {
            "trait": p.trait,
            "questions": list(p.questions),
            "additional_questions": list(p.additional_questions),
        }
        lines.append(json.dumps(row | dict(p.extra), ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _principle(given: Any) -> Principle:
    extra = keys(
        "a principle", given, required=("trait", "questions"), optional=("additional_questions",)
    )
    if not isinstance(given["trait"], str) or not given["trait"].strip():
        raise SchemaError(f"trait must be a text; got {shown(given['trait'])}")
    more = given.get("additional_questions", [])
    return Principle(
        given["trait"],
        strings("questions", given["questions"]),
        strings("additional_questions", more, least=0),
        extra,
    )
