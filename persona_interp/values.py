"""Which plain value is meant: by a text of anybody (JSON, YAML), or by an argument?

Every failure of a text is of one kind, a ``ValueError``; of an argument, a ``SchemaError``.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import yaml

from persona_interp.errors import SchemaError, excerpt

MOST_DEPTH = 100
"""Deepest nesting of a value."""
MOST_NODES = 1_000_000
"""Most nodes of a YAML text, aliases written out."""
INT64 = 2**63
MERGE = "tag:yaml.org,2002:merge"
TOKEN = re.compile(
    r"""\s+|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[][{}(),:]|-?\d[\d.e+-]*|None|True|False|nan""",
    re.DOTALL,
)
"""What Python prints of plain values."""
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)
CONSTANTS = {"None": "null", "True": "true", "False": "false", "nan": "NaN", "(": "[", ")": "]"}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def is_number(value: object) -> bool:
    """Whether a value is a finite number, of Python or numpy; a truth value is none.

    Args:
        value: Anything.

    Returns:
        True for 1, 0.5 and ``np.float32(1)``.

    >>> is_number(0.5), is_number(math.nan), is_number(True), is_number("1")
    (True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether a value is an integer, of Python or numpy; a truth value is none.

    Args:
        value: Anything.

    Returns:
        True for 1 and ``np.int64(1)``.

    >>> is_whole(1), is_whole(1.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_count(value: object, name: str, *, least: int = 1) -> int:
    """How many are asked for.

    Args:
        value: What was given, of Python or numpy.
        name: Of the argument, for the message.
        least: Smallest count.

    Returns:
        The count.

    Raises:
        SchemaError: It is no whole number, or too small.

    >>> check_count(3, "controls")
    3
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SchemaError(f"{name}= is a whole number of at least {least}; got {excerpt(value)}.")
    return int(value)


def check_mapping(value: object, name: str, *, of: str) -> None:
    """Refuse what does not name its parts.

    Args:
        value: What was given.
        name: Of the argument, for the message.
        of: What it maps names to, for the message.

    Raises:
        SchemaError: It is no mapping.
    """
    if not isinstance(value, Mapping):
        raise SchemaError(f"{name}= is {of} by name, a dict; got {excerpt(value)}.")


def as_tuple(names: str | Iterable[str]) -> tuple[str, ...]:
    """Tuple of one name or several.

    Args:
        names: A text stands for itself, not for its letters.

    Returns:
        The names, in order.

    Raises:
        SchemaError: It is neither.

    >>> as_tuple("text"), as_tuple(["text", "user"])
    (('text',), ('text', 'user'))
    """
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, Iterable):
        raise SchemaError(f"expected a name, or several of them; got {excerpt(names)}.")
    return tuple(names)


def parse_json(text: str) -> Any:
    """Value of a JSON text.

    Args:
        text: JSON. ``NaN``, which Python writes for a missing number, is let pass.

    Returns:
        Dicts, lists, strings, numbers, booleans, None.

    Raises:
        ValueError: It is no JSON; a key is there twice, of which a parser would silently keep the
            last; a number is infinite or beyond 64 bits; values are nested deeper than 100; or a
            text holds half of a surrogate pair, which no file could.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'a' is there twice; keep one
    """
    return decode_json(text)[0]


def decode_json(text: str, *, start: int | None = None) -> tuple[Any, int]:
    """First value of a JSON text, and where it ends.

    Args:
        text: JSON.
        start: Place of its first character; None: there is nothing but the value.

    Returns:
        The value and the place behind it.

    Raises:
        ValueError: As of ``parse_json``.
    """
    try:
        if start is None:
            value, end = _DECODER.decode(text), len(text)
        else:
            value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError(f"values are nested deeper than {MOST_DEPTH}") from error
    _check_value(value, surrogates=SURROGATE.search(text, start or 0, end) is not None)
    return value, end


def parse_literal(text: str) -> Any:
    """Value of a text that Python printed of plain values.

    Args:
        text: What ``repr`` gives, for example what a DataFrame writes of a cell that holds a list.

    Returns:
        Dicts, lists, strings, numbers, booleans, None; tuples become lists.

    Raises:
        ValueError: It is none of these, a key is there twice, or values are nested deeper than 100.

    >>> parse_literal("[{'role': 'user', 'content': None}]")
    [{'role': 'user', 'content': None}]
    """
    # rewritten as JSON token by token: Python's own parser is not made for texts of strangers
    tokens, at = [], 0
    while token := TOKEN.match(text, at):
        tokens.append(_as_json(token.group()))
        at = token.end()
    if at < len(text):
        raise ValueError(f"{excerpt(text[at:])} is no plain value")
    return parse_json("".join(tokens))


def parse_yaml(text: str) -> Any:
    """Value of a YAML text.

    Args:
        text: YAML of plain values; anchors and aliases are resolved.

    Returns:
        Dicts, lists, strings, numbers, booleans, dates, None.

    Raises:
        ValueError: It is no YAML, a key is there twice in one mapping, values are nested deeper
            than 100 or contain themselves, or aliases multiply to more than a million nodes.

    >>> parse_yaml("a: [1, 2]")
    {'a': [1, 2]}
    """
    return _construct(text)[0]


def parse_yaml_list(text: str) -> list[tuple[int, Any]]:
    r"""Entries of a YAML list, each with the line on which it begins.

    Args:
        text: YAML.

    Returns:
        Line (from 1) and value of each; none where the text is no list.

    Raises:
        ValueError: As of ``parse_yaml``.

    >>> parse_yaml_list("- 5\n- {a: 1}")
    [(1, 5), (2, {'a': 1})]
    """
    value, node = _construct(text)
    if not isinstance(value, list) or not isinstance(node, yaml.SequenceNode):
        return []
    lines = [entry.start_mark.line + 1 for entry in node.value]
    return list(zip(lines, value, strict=True))


def mapping_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Mapping of keys and values, if no key is there twice.

    Args:
        pairs: Keys and values, in order: what ``json`` gives to its ``object_pairs_hook``.

    Returns:
        The mapping.

    Raises:
        ValueError: A key is there twice, of which ``json`` would silently keep the last.
    """
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"the key {excerpt(key)} is there twice; keep one")
        mapping[key] = value
    return mapping


def _as_json(token: str) -> str:
    """JSON of a token that Python printed."""
    if token[0] in "'\"":
        return json.dumps(ESCAPE.sub(_unescape, token[1:-1]))
    return CONSTANTS.get(token, token)


def _unescape(escape: re.Match[str]) -> str:
    code = escape.group(1)
    if code[0] in "xuU":
        return chr(min(int(code[1:], 16), sys.maxunicode))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(code, code)


def _int(digits: str) -> int:
    number = int(digits[:21])  # a prefix is enough to see that it is too large
    if len(digits) > 20 or not -INT64 <= number < INT64:
        raise ValueError(f"the number {excerpt(digits)} is beyond 64 bits")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {excerpt(digits)} is infinite")
    return number


def _constant(name: str) -> float:
    if name != "NaN":
        raise ValueError(f"the number {name} is infinite")
    return math.nan


_DECODER = json.JSONDecoder(
    object_pairs_hook=mapping_of, parse_int=_int, parse_float=_float, parse_constant=_constant
)


def _check_value(value: Any, *, surrogates: bool) -> None:
    """Refuse values nested too deep, and texts that cannot be written again."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
                below += item.keys() if surrogates else ()
            elif isinstance(item, list):
                below += item
            elif surrogates and isinstance(item, str):
                check_surrogates(item)
        if not any(isinstance(item, dict | list) for item in level):
            return
        level = below
    raise ValueError(f"values are nested deeper than {MOST_DEPTH}")


def check_surrogates(text: str) -> None:
    r"""Refuse a text that no file could hold.

    Args:
        text: Any text.

    Raises:
        ValueError: It holds half of a surrogate pair.

    >>> check_surrogates("\ud800")
    Traceback (most recent call last):
    ...
    ValueError: the text '\ud800' holds half of a surrogate pair, which is no character
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text {excerpt(text)} holds half of a surrogate pair, which is no character"
        ) from error


class _Once(yaml.CSafeLoader):
    """Plain YAML that refuses a key twice in one mapping.

    The parser would silently keep the last.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [key for key, _ in node.value if key.tag != MERGE]
        try:
            mapping_of([(self.construct_object(key, deep=True), None) for key in keys])
        except ValueError as error:
            raise ValueError(f"line {node.start_mark.line + 1}: {error}") from error
        return super().construct_mapping(node, deep=deep)


def _construct(text: str) -> tuple[Any, yaml.Node | None]:
    """Value of a YAML text, and its node, which knows the lines."""
    try:
        _check_events(text)
        loader = _Once(text)
        try:
            node = loader.get_single_node()
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    # what its constructors raise on a malformed !!int, !!timestamp or key
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    return value, node


def _check_events(text: str) -> None:
    """Refuse YAML that nests too deep, contains itself, or multiplies by its aliases."""
    # Its composer recurses in C, where too deep is a crash, so depth is counted before.
    sizes: dict[str, int] = {}  # nodes of what each anchor stands for
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and count when it began
    count = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_nodes}:
                raise ValueError(f"the value &{event.anchor} contains itself")
            count += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, start = open_nodes.pop()
            if anchor:
                sizes[anchor] = count - start
        if len(open_nodes) > MOST_DEPTH:
            raise ValueError(f"values are nested deeper than {MOST_DEPTH}")
        if count > MOST_NODES:
            raise ValueError(f"its aliases stand for more than {MOST_NODES:,} values")
