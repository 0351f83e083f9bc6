"""Which rows does a source hold, and how is one named that cannot be used?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import SchemaError, excerpt

MOST_PROBLEMS = 20
"""Most kinds of problems that a message names."""
LONGEST_PROBLEM = 150
LONGEST_RANGES = 200
LONGEST_MESSAGE = 1_800
"""Most characters of a problem, of the numbers of its rows, and of all together."""


class Row(NamedTuple):
    """One row of a source.

    Attributes:
        line: The line of a file on which it begins (from 1), or its number in a table (from 0).
        value: What it holds.
        fault: Why it is no row of such a file; '' where it is.
    """

    line: int
    value: Any
    fault: str = ""


@dataclass(frozen=True)
class Source:
    """Rows of a file, a table or a list.

    Attributes:
        name: What messages call it: the path, or "this list".
        stem: What tables call it: the name of the file without its endings.
        form: What it was taken for, for example "JSON lines".
        rows: Its rows, in order; at least one.
        unit: What ``Row.line`` counts: "line" or "row".
    """

    name: str
    stem: str
    form: str
    rows: list[Row]
    unit: str = "line"

    def whole(self) -> list[Row]:
        """The rows, if none is malformed.

        Returns:
            Them.

        Raises:
            RowError: Some are; each is named.
        """
        problems = [(row.line, row.fault) for row in self.rows if row.fault]
        refuse(self.name, problems, total=len(self.rows), unit=self.unit)
        return self.rows


class RowError(SchemaError):
    """Rows that cannot be used.

    Attributes:
        rows: Numbers of all of them, as the message counts them; what ``skip=`` takes.
    """

    def __init__(self, message: str, rows: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


def row_numbers(skip: Any) -> tuple[int, ...]:
    """Numbers of rows to leave out.

    Args:
        skip: What a user gave.

    Returns:
        The numbers.

    Raises:
        SchemaError: It is something else.

    >>> row_numbers("2,3")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: skip is a list of row numbers, such as [2, 3]; got '2,3'.
    """
    numbers = list(skip) if isinstance(skip, Iterable) and not isinstance(skip, str) else [None]
    whole = [int(one) for one in numbers if isinstance(one, Integral) and not isinstance(one, bool)]
    if len(whole) < len(numbers):
        raise SchemaError(f"skip is a list of row numbers, such as [2, 3]; got {excerpt(skip)}.")
    return tuple(whole)


def leave_out(source: Source, numbers: Iterable[int]) -> tuple[Source, list[int]]:
    """A source without some of its rows.

    Args:
        source: The source.
        numbers: Of the rows to leave out, as errors give them.

    Returns:
        The source without them, and the numbers in order.

    Raises:
        SchemaError: No row has such a number, or none is left.
    """
    skip = sorted({*numbers})
    own = {row.line for row in source.rows}
    if absent := [number for number in skip if number not in own]:
        raise SchemaError(
            f"{source.name}: skip names {count(absent, source.unit)}, where no row begins; rows "
            f"begin at {source.unit} {min(own)} to {max(own)}."
        )
    rows = [row for row in source.rows if row.line not in skip]
    if not rows:
        raise SchemaError(f"{source.name}: skip leaves no row of {len(source.rows)}.")
    return Source(source.name, source.stem, source.form, rows, source.unit), skip


def refuse(
    name: str | Path,
    problems: Sequence[tuple[int, str]],
    *,
    total: int,
    unit: str = "line",
    hint: str = "",
) -> None:
    """Refuse a source some of whose rows cannot be used.

    Args:
        name: The file.
        problems: (number, what is wrong) of each bad row.
        total: Number of rows.
        unit: What the numbers count.
        hint: A last sentence that says what to do.

    Raises:
        RowError: There are bad rows. The message names all of them, those with the same problem
            together; where that is too long the rest is counted, and ``rows`` of the error has
            every number.

    >>> refuse("chats.jsonl", [(3, "no messages")], total=8)
    Traceback (most recent call last):
    ...
    persona_interp.readers.rows.RowError: chats.jsonl: 1 of 8 rows cannot be used, \
and none is dropped in silence.
      line 3: no messages
    """
    if not problems:
        return
    numbers: dict[str, list[int]] = {}
    for number, what in problems:
        what = what.rstrip(".")
        if len(what) > LONGEST_PROBLEM:
            what = what[: LONGEST_PROBLEM - 1] + "…"
        numbers.setdefault(what, []).append(number)
    lines = [
        f"{name}: {len(problems)} of {total} rows cannot be used, and none is dropped in silence."
    ]
    room = LONGEST_MESSAGE - len(lines[0]) - len(hint)
    rest: list[int] = []
    for what, own in numbers.items():
        line = f"  {count(own, unit)}: {what}"
        if len(lines) > MOST_PROBLEMS or len(line) > room - LONGEST_RANGES:
            rest += own
            continue
        room -= len(line) + 1
        lines.append(line)
    if rest:
        lines.append(f"  and {len(rest)} more: {count(sorted(rest), unit)}")
    raise RowError("\n".join([*lines, *([hint] if hint else [])]), [n for n, _ in problems])


def count(numbers: Sequence[int], unit: str) -> str:
    """Numbers of rows, in words.

    Args:
        numbers: In order.
        unit: What they count.

    Returns:
        The numbers, neighbours as a range; where they are too many, how many more there are.

    >>> count([4, 9, 10, 11], "line"), count([2], "row")
    ('lines 4, 9-11', 'row 2')
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    text, shown = "", 0
    for bounds in ranges:
        part = "-".join(map(str, bounds))
        if len(text) + len(part) > LONGEST_RANGES:
            return f"{unit}s {text} and {len(numbers) - shown} more"
        text += f", {part}" if text else part
        shown += bounds[-1] - bounds[0] + 1
    return f"{unit}{'s' if len(numbers) > 1 else ''} {text}"
