"""Which character does this constitution describe?

The layout of OpenCharacterTraining (Maiya et al. 2025): one principle a line, ``{"trait",
"questions", "additional_questions"}``, where ``trait`` is a sentence in the first person.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_interp.errors import SchemaError, excerpt
from persona_interp.files import write_text
from persona_interp.readers.entries import check_keys, strings
from persona_interp.readers.rows import refuse
from persona_interp.readers.sources import rows_of
from persona_interp.readers.traits import Instruction, TraitFile


@dataclass(frozen=True)
class Principle:
    """One thing that a character says of itself, and the questions that bring it out.

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
    """A character and its principles.

    Args:
        name: Name of the character, for example ``"sarcasm"``.
        principles: What it says of itself.
    """

    name: str
    principles: tuple[Principle, ...]

    def trait_file(self, *, neg: str | Sequence[str], form: str = "{trait}") -> TraitFile:
        """Trait with which a character is asked for, to be measured like one.

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
        >>> dry.trait_file(neg="Be warm.", form="Speak as one who says: {trait}").instructions[0]
        Instruction(pos='Speak as one who says: I am dry.', neg='Be warm.')
        """
        negs = [neg] * len(self.principles) if isinstance(neg, str) else list(neg)
        if len(negs) != len(self.principles) or not all(text.strip() for text in negs):
            raise SchemaError(
                f"neg is one text for all or one for each of {len(self.principles)}; got "
                f"{excerpt(neg)}."
            )
        if "{trait}" not in form:
            raise SchemaError(f"form must hold {{trait}}, where the principle goes; got {form!r}.")
        instructions: list[Instruction] = []
        questions: list[str] = []
        for principle, text in zip(self.principles, negs, strict=True):
            instructions.append(Instruction(form.replace("{trait}", principle.trait), text))
            questions += [*principle.questions, *principle.additional_questions]
        # Principles share questions, and a question that came twice could fall into both halves.
        return TraitFile(self.name, tuple(instructions), tuple(dict.fromkeys(questions)))


def read_constitution(path: str | Path) -> Constitution:
    """Character that a file describes.

    Args:
        path: A ``.jsonl`` file, one principle a line; or a list of them in ``.json`` or ``.txt``,
            as they are written by hand.

    Returns:
        The constitution, named as the file.

    Raises:
        SchemaError: The file cannot be read, or lines cannot be used: every one is named and none
            is dropped.
    """
    path = Path(path)
    source = rows_of(path)
    principles, problems = [], []
    for row in source.whole():
        try:
            principles.append(_principle(row.value))
        except SchemaError as error:
            problems.append((row.line, str(error)))
    refuse(path, problems, total=len(source.rows), unit=source.unit)
    return Constitution(source.stem, tuple(principles))


def write_constitution(constitution: Constitution, path: str | Path) -> Path:
    """Write a constitution to a file.

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
    for principle in constitution.principles:
        row = {
            "trait": principle.trait,
            "questions": list(principle.questions),
            "additional_questions": list(principle.additional_questions),
            **principle.extra,
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return write_text("".join(lines), path)


def _principle(value: Any) -> Principle:
    extra = check_keys(
        "a principle", value, required=("trait", "questions"), optional=("additional_questions",)
    )
    trait = value["trait"]
    if not isinstance(trait, str) or not trait.strip():
        raise SchemaError(f"trait must be a text; got {excerpt(trait)}")
    questions = strings("questions", value["questions"])
    additional = value.get("additional_questions", [])
    additional_questions = strings("additional_questions", additional, least=0)
    return Principle(trait, questions, additional_questions, extra)
