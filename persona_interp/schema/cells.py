"""Which columns hold numbers, and which conversations, in whatever table they stand?"""

from collections.abc import Collection, Iterable
from numbers import Real

import pandas as pd

from persona_interp.errors import SchemaError, excerpt

NUMBERS = frozenset(
    """
    act added answer_mass auroc auroc_after auroc_before auroc_same bayes bayes_misaligned_after
    bayes_misaligned_before belief beta_error bits bits_neg bits_per_token bits_pos bound ce
    ce_recovered ce_sae ce_zero change coherent cosine cost dead difference distance dose effect
    estimate excess fact_tokens fvu intercept kl kl_generic l0 letter_bias letter_mass logodds
    logprob misfit norm overlap p p_first p_max p_min p_second partial persona_bits pmi pos
    precision probability projection q r2 ratio recall relative_norm rho rise sample seed share
    shift step strength taught_before turn variance villain z
    """.split()
)
"""Names that mean a number in every table."""
PREFIX, SUFFIXES = "n_", ("_lo", "_hi")
"""Counts, and ends of intervals."""


def is_number_column(column: str) -> bool:
    """Whether a column of this name holds numbers.

    Args:
        column: Its name.

    Returns:
        True for a quantity, a count, an end of an interval.

    >>> is_number_column("estimate"), is_number_column("n_seeds"), is_number_column("topic")
    (True, True, False)
    """
    is_named = column in NUMBERS or column in ("lo", "hi", "n")
    return is_named or column.startswith(PREFIX) or column.endswith(SUFFIXES)


def check_cells(table: pd.DataFrame, columns: Collection[str]) -> None:
    """Refuse texts and objects where numbers are meant, and where messages are.

    Args:
        table: Any table.
        columns: Names of columns that are read.

    Raises:
        SchemaError: One of those that hold numbers, or messages, holds something else.

    >>> check_cells(pd.DataFrame({"estimate": ["0,5"]}), ["estimate"])
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: column 'estimate' holds numbers; got '0,5' in row 0. Read \
it with pandas.to_numeric, which says what is none.
    """
    if "messages" in columns:
        _check_messages(pd.Series(table["messages"]))
    check_numbers(table, [column for column in columns if is_number_column(column)])


def check_numbers(table: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse texts and objects in columns of numbers, whatever they are called.

    Args:
        table: Any table.
        columns: Names of columns that hold numbers.

    Raises:
        SchemaError: One of them holds something else.

    >>> check_numbers(pd.DataFrame({"at": [1.0, None]}), ["at"])
    """
    for column in columns:
        values = pd.Series(table[column])
        if pd.api.types.is_numeric_dtype(values):
            continue
        wrong = [(row, value) for row, value in values.items() if not _is_number(value)]
        if wrong:
            row, value = wrong[0]
            raise SchemaError(
                f"column '{column}' holds numbers; got {excerpt(value)} in row {row}. Read it with "
                "pandas.to_numeric, which says what is none."
            )


def _is_number(value: object) -> bool:
    """Whether a cell is a number, or nothing."""
    return value is None or value is pd.NA or isinstance(value, Real)


def _check_messages(values: pd.Series) -> None:
    for row, value in values.items():
        if isinstance(value, str) or not hasattr(value, "__len__"):
            raise SchemaError(
                "column 'messages' holds lists of {role, content}; got "
                f"{excerpt(value)} in row {row}. readers.read makes them of other layouts."
            )
