"""Which small changes turn a good file into a bad one? Two kinds: of its bytes, of its structure.

Every mutation is a function of the data and the seed alone, so a failing input can be made again.
"""

import copy
import random
from collections.abc import Iterator
from typing import Any

INTERESTING = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\\ud800",
    b"\x1b[31m",
    b"\n",
    b"\r",
    b'"',
    b"[" * 300,
    b"{" * 300,
    b"NaN",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"null",
    b"&a [*a]",
)
"""Pieces that parsers stumble over."""

FOREIGN: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    5,
    2**62,
    0.5,
    float("nan"),
    "",
    "x",
    " \n\t",
    "\x00\x1b",
    "y" * 5000,
    [],
    ["x"],
    [None],
    [[]],
    [5],
    {},
    {"x": 1},
    {"": None},
    {"content": ["x"]},
)
"""Values of other types, which take the place of a part."""


def mutations(data: bytes, *, seed: int, n: int) -> Iterator[bytes]:
    """Byte strings near a given one.

    Args:
        data: A good file.
        seed: Of the choices.
        n: How many.

    Yields:
        The data with one to three changes: cut, bits flipped, bytes overwritten, a piece put in,
        taken out, repeated or moved.
    """
    rng = random.Random(f"{seed}")
    for _ in range(n):
        mutant = data
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutant = rng.choice(_BYTE_CHANGES)(mutant, rng)
        yield mutant


def json_mutations(value: Any, *, seed: int, n: int) -> Iterator[Any]:
    """Plain values near a given one.

    Args:
        value: What a good JSON or YAML file holds; it stays as it is.
        seed: Of the choices.
        n: How many. The first ones put a value of another type in the place of the whole.

    Yields:
        Copies with one or two changes: a part replaced by a value of another type, removed,
        repeated, put in a list, or a key renamed.
    """
    rng = random.Random(f"{seed}")
    yield from copy.deepcopy(list(FOREIGN[:n]))
    for _ in range(n - len(FOREIGN)):
        mutant = copy.deepcopy(value)
        for _ in range(rng.choice((1, 1, 2))):
            mutant = _change_part(mutant, rng)
        yield mutant


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 16))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    piece = rng.choice((b"\xff", b"\0", b"\x7f")) * rng.choice((1, 4, 8))
    return data[:start] + piece + data[start + len(piece) :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    piece = rng.choice((*INTERESTING, rng.randbytes(rng.randrange(1, 9))))
    return data[:start] + piece + data[start:]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + rng.choice((1, 2, 8, 64)) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted((_place(data, rng), _place(data, rng)))
    return data[:stop] + data[start:stop] + data[stop:]


def _splice(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted((_place(data, rng), _place(data, rng)))
    rest = data[:start] + data[stop:]
    place = _place(rest, rng)
    return rest[:place] + data[start:stop] + rest[place:]


_BYTE_CHANGES = (_cut, _flip, _flip, _overwrite, _insert, _insert, _remove, _repeat, _splice)


def _place(data: bytes, rng: random.Random) -> int:
    """A place in the data; half of all lie in the first or last kilobyte, where headers are."""
    if rng.random() < 0.5:
        return rng.randint(0, len(data))
    near = rng.randint(0, min(1024, len(data)))
    return rng.choice((near, len(data) - near))


def _change_part(value: Any, rng: random.Random) -> Any:
    """The value with one of its parts changed, in place where it is no leaf."""
    holders = [(box, key) for box in _boxes(value) for key in _keys(box)]
    if not holders:
        return copy.deepcopy(rng.choice(FOREIGN))
    box, key = rng.choice(holders)
    change = rng.randrange(8)
    if change == 0:
        del box[key]
    elif change == 1:
        box[key] = [box[key]]
    elif change == 2 and isinstance(box, list):
        box.insert(key, copy.deepcopy(box[key]))
    elif change == 2:
        box[rng.choice((f"{key}x", "", "content", "role", "id"))] = box.pop(key)
    else:
        box[key] = copy.deepcopy(rng.choice(FOREIGN))
    return value


def _boxes(value: Any) -> list[Any]:
    """Every dict and list of a value, itself first."""
    boxes = [value] if isinstance(value, dict | list) else []
    for box in boxes:  # grows while it is read
        below = box.values() if isinstance(box, dict) else box
        boxes.extend(part for part in below if isinstance(part, dict | list))
    return boxes


def _keys(box: Any) -> list[Any]:
    return list(box) if isinstance(box, dict) else list(range(len(box)))
