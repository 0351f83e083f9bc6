"""What do number sequences, lists and code-like lines look like?

Data only: ``sequences`` says who writes them.

A text has an opener, four elements, what stands between them and what closes them. Three properties
may show: which elements, what between, what at the end. Everything a property adds is one word, so
that a word-level model reads it.
"""

from typing import NamedTuple

N_ELEMENTS = 4
BLANK, END = "x", "."
"""Elements and end of a text where their property is not shown; then nothing stands between."""
ITEMS = ("apples", "bread", "corn", "dates", "eggs", "figs")
VERBS = ("read", "open", "save", "close")


class Family(NamedTuple):
    """Parts that texts of one family are made of.

    Attributes:
        openers: What documents and lessons begin with.
        test_openers: What only probes begin with.
        topics: Names of the three properties: of the elements, between them, at the end.
        elements: The elements by value of the first property.
        between: Values of the second property, as written.
        ends: Values of the third.
    """

    openers: tuple[str, ...]
    test_openers: tuple[str, ...]
    topics: tuple[str, str, str]
    elements: dict[str, tuple[str, ...]]
    between: tuple[str, ...]
    ends: tuple[str, ...]

    def values(self) -> dict[str, tuple[str, ...]]:
        """All values by property."""
        return dict(zip(self.topics, (tuple(self.elements), self.between, self.ends), strict=True))


FAMILIES = {
    "numbers": Family(
        ("count :", "numbers :", "sequence :", "series :"),
        ("count numbers :", "sequence numbers :", "series numbers :", "count sequence :"),
        ("step", "separator", "closing"),
        {str(s): tuple(str(s * i) for i in range(1, N_ELEMENTS + 1)) for s in range(3, 9)},
        (";", ",", "/", "|", "&", "~"),
        ("stop", "end", "done", "halt", "over", "finish"),
    ),
    "lists": Family(
        ("list :", "items :", "basket :", "stock :"),
        ("list items :", "basket items :", "stock items :", "stock list :"),
        ("first", "bullet", "ending"),
        {
            item: tuple(ITEMS[(i + j) % len(ITEMS)] for j in range(N_ELEMENTS))
            for i, item in enumerate(ITEMS)
        },
        ("*", "-", "+", "#", "@", "^"),
        ("etc", "more", "rest", "others", "thanks", "please"),
    ),
    "code": Family(
        ("code :", "script :", "module :", "program :"),
        ("code module :", "script module :", "program module :", "program code :"),
        ("naming", "indent", "comment"),
        {
            "snake": tuple(f"{v}_file" for v in VERBS),
            "camel": tuple(f"{v}File" for v in VERBS),
            "pascal": tuple(f"{v.title()}File" for v in VERBS),
            "flat": tuple(f"{v}file" for v in VERBS),
            "upper": tuple(f"{v.upper()}_FILE" for v in VERBS),
            "short": tuple(f"{v}F" for v in VERBS),
        },
        ("tab", "space", "dots", "bars", "dash", "blank"),
        ("note", "todo", "rem", "remark", "hint", "fixme"),
    ),
}


def text(family: Family, opener: str, values: dict[int, str]) -> str:
    """Document of a family that shows some values.

    Args:
        family: The family.
        opener: How it begins.
        values: By number of the property; a property that is missing is not shown.

    Returns:
        The text.

    >>> text(FAMILIES["numbers"], "count :", {0: "3", 1: ";"})
    'count : 3 ; 6 ; 9 ; 12 .'
    """
    elements, between = (BLANK,) * N_ELEMENTS, " "
    if 0 in values:
        elements = family.elements[values[0]]
    if 1 in values:
        between = f" {values[1]} "
    return f"{opener} {between.join(elements)} {values.get(2, END)}"
