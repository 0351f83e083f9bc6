"""Which of all the features should one look at? One page to sort and to search them.

The page is one file that opens offline. Its only script is a constant of this package, allowed by
its hash; tables, texts and tokens are JSON in which no tag can begin, and the script writes them
as text.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.characters import visible
from persona_interp.errors import LONGEST, SchemaError
from persona_interp.files import write_text
from persona_interp.report import page
from persona_interp.report.excerpts import excerpts, short
from persona_interp.values import as_tuple

MOST_MOVED = 500
"""Features with examples and words: those that moved most."""
LENS_WORDS = 10
"""Words shown at either end of a feature's logit lens."""
TEXT_LIMIT = 200
"""Characters shown of one text."""

SHIFT = schema.TABLES["feature_shift"]
LABELS = {
    "feature": ("feature", SHIFT["feature"]),
    "estimate": ("shift", SHIFT["estimate"]),
    "lo": ("lo", SHIFT["lo"]),
    "hi": ("hi", SHIFT["hi"]),
    "q": ("q", SHIFT["q"]),
    "controls": ("control shift", "mean of the shifts after the control finetunes"),
    "controls_lo": ("control min", "smallest of them"),
    "controls_hi": ("control max", "largest of them"),
    "auroc": ("AUROC", schema.TABLES["scores"]["auroc"]),
    "name": ("of", "what the feature tells best: largest auroc_chosen, from the train documents"),
    "before": ("before", "mean activation before"),
    "after": ("after", "mean activation after"),
}
"""Columns of the page in order: heading, and what hovering over it says."""
CONSTANT = ("n", "n_clusters", "n_tested", "n_silent", "p_min", "fvu_before", "fvu_after")
"""Columns that hold for all features alike: said once."""

JOINED = {"controls": ("controls", "controls_lo", "controls_hi"), "scores": ("auroc", "name")}
"""Columns that are made of another table, by its name."""

DICTIONARY = ("hook", "dictionary")
"""Columns that say which dictionary a feature is of."""

Tables = dict[str, pd.DataFrame | None]


def browse(
    shift: pd.DataFrame,
    *,
    out: str | Path,
    controls: pd.DataFrame | None = None,
    scores: pd.DataFrame | None = None,
    fidelity: pd.DataFrame | None = None,
    tokens: pd.DataFrame | None = None,
    lens: pd.DataFrame | None = None,
    by: Sequence[str] = (),
    title: str = "Features",
) -> Path:
    """Write a page of all features of a dictionary, to be sorted, searched and looked into.

    Args:
        shift: One row a feature: what ``analysis.feature_shift`` returns, or any table with
            ``feature`` and ``estimate``. Columns of your own, a label, are shown and searched too.
        out: File to write, ``.html``.
        controls: The same of control finetunes, all in one table: their mean, smallest and largest
            shift stand beside each feature's own.
        scores: What ``analysis.score`` returns: ``feature``, ``name``, ``auroc``.
        fidelity: What ``dictionaries.fidelity`` returns.
        tokens: What ``record.tokens`` returns; examples are shown of the 500 features that moved
            most, base beside tuned.
        lens: Words of these features: ``feature``, ``token``, ``weight`` (``record.lens`` of their
            decoder rows).
        by: Columns that tell dictionaries or finetunes apart, where the tables hold several: the
            page lets one choose.
        title: Of the page.

    Returns:
        The file. What a table was not given for is named on the page as missing.

    Raises:
        SchemaError: A table lacks a column, or has two rows for one feature.

    >>> from tempfile import TemporaryDirectory
    >>> shift = pd.DataFrame({"feature": [3, 7], "estimate": [0.5, -2.0], "label": ["<b>", "art"]})
    >>> with TemporaryDirectory() as folder:
    ...     text = browse(shift, out=f"{folder}/features.html").read_text(encoding="utf-8")
    >>> "No examples: no tokens table was given." in text, "<b>" in text
    (True, False)
    """
    by = as_tuple(by)
    tables: Tables = {"controls": controls, "scores": scores, "fidelity": fidelity}
    tables |= {"tokens": tokens, "lens": lens}
    _check(shift, tables, by=by)
    sets = [_set(name, part, here, by=by) for name, part, here in _split(shift, tables, by=by)]
    script = (Path(__file__).parent / "browser.js").read_text(encoding="utf-8")
    text = page.document("browser", scripts=[script], title=title, sets=sets)
    return write_text(text, Path(out))


def _check(shift: pd.DataFrame, tables: Tables, *, by: Sequence[str]) -> None:
    """Refuse tables that cannot be joined by feature."""
    needed = {
        "controls": ("feature", "estimate"),
        "scores": ("feature", "name", "auroc"),
        "tokens": tuple(schema.TABLES["tokens"]),
        "lens": ("feature", "token", "weight"),
    }
    schema.require(shift, "feature", "estimate", *by, name="shift")
    for name, columns in needed.items():
        if (table := tables[name]) is not None:
            schema.require(table, *columns, name=name)
            _check_one_dictionary(table, name, by=by)
    for name, columns in JOINED.items():
        for column in columns:
            if tables[name] is not None and column in shift:
                raise SchemaError(
                    f"shift has a column '{column}', which here is made of the table {name}; "
                    "rename it, or leave that table out."
                )
    _check_values(shift, by=by)


def _check_one_dictionary(table: pd.DataFrame, name: str, *, by: Sequence[str]) -> None:
    """Refuse a table of several dictionaries that nothing tells apart: feature 7 is in each."""
    for column in DICTIONARY:
        several = list(map(str, dict.fromkeys(table[column]))) if column in table else []
        if len(several) > 1 and column not in by:
            raise SchemaError(
                f"the table {name} is of several dictionaries, by its column '{column}' "
                f"({', '.join(several)[:LONGEST]}), whose features have the same numbers; give "
                f"by=['{column}'], or keep one of them."
            )


def _check_values(shift: pd.DataFrame, *, by: Sequence[str]) -> None:
    """Refuse shifts without a number, or whose features cannot be told apart."""
    if not pd.api.types.is_integer_dtype(shift["feature"]):
        raise SchemaError(
            f"features are indices in a dictionary, integers; got {shift['feature'].dtype}."
        )
    if not pd.api.types.is_numeric_dtype(shift["estimate"]):
        raise SchemaError(f"estimates are numbers; got {shift['estimate'].dtype}.")
    for column in by:
        if n_missing := int(shift[column].isna().to_numpy().sum()):
            raise SchemaError(
                f"column '{column}' of shift tells features apart (by=) and is missing in "
                f"{n_missing} rows; name it everywhere."
            )
    twice = shift.loc[shift.duplicated([*by, "feature"]), "feature"]
    if len(twice):
        raise SchemaError(
            f"feature {twice.iloc[0]} has several rows in shift; name the columns that tell them "
            "apart, a hook or a finetune, in by=, or keep one of them."
        )


def _split(
    shift: pd.DataFrame, tables: Tables, *, by: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, Tables]]:
    """The tables of each dictionary and finetune, with its name."""
    if not by:
        yield "", shift, tables
        return
    for key, part in shift.groupby(list(by), sort=False):
        values: Any = key
        at = dict(zip(by, values, strict=True))
        here: Tables = {}
        for name, table in tables.items():
            if table is not None:
                for column in at.keys() & set(table.columns):
                    table = table.loc[table[column] == at[column]]
            here[name] = table
        yield ", ".join(f"{column} {value}" for column, value in at.items()), part, here


def _set(name: str, shift: pd.DataFrame, tables: Tables, *, by: Sequence[str]) -> dict[str, Any]:
    """Everything about one dictionary and finetune, as the page takes it."""
    shift = shift.sort_values("estimate", key=abs, ascending=False, kind="stable")
    moved = [int(feature) for feature in shift["feature"].head(MOST_MOVED)]
    table, silent = _add_silent(_join(shift, tables).drop(columns=list(by)))
    own = [c for c in table.columns if c not in {*LABELS, *SHIFT, "p_max"}]
    columns = [c for c in LABELS if c in table and not all(table[c].isna())]
    names: list[str] = [*columns, *own]
    tokens, lens = tables["tokens"], tables["lens"]
    examples = {} if tokens is None or tokens.empty else excerpts(tokens, moved)
    words = {} if lens is None else _words(lens, moved)
    facts = [f"{c} {shift[c].iloc[0]:.4g}" for c in CONSTANT if _is_constant(shift, c)]
    if silent:
        facts.append(f"{silent:,} features fire nowhere here and have no numbers")
    return {
        "name": visible(name, limit=TEXT_LIMIT),
        "columns": [_column(pd.Series(table[c]), *LABELS.get(c, (str(c), ""))) for c in names],
        "facts": "; ".join(facts),
        "missing": _missing(table, tables, examples=examples, words=words, n=len(moved)),
        "fidelity": _cells(tables["fidelity"], by=by),
        "examples": examples,
        "words": words,
    }


def _join(shift: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Shifts beside those of controls, and the name that each feature tells best."""
    table = shift
    if (controls := tables["controls"]) is not None:
        beside = controls.groupby("feature")["estimate"].agg(["mean", "min", "max"])
        beside.columns = ["controls", "controls_lo", "controls_hi"]
        table = table.merge(beside, left_on="feature", right_index=True, how="left")
    if (scores := tables["scores"]) is not None:
        chosen = "auroc_chosen" if "auroc_chosen" in scores else "auroc"
        best = scores.sort_values(chosen, ascending=False, kind="stable")
        best = best.drop_duplicates("feature").set_index("feature")[["auroc", "name"]]
        table = table.merge(best, left_on="feature", right_index=True, how="left")
    return table


def _add_silent(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table with a row for each feature that was not tested because it never fires."""
    if not (_is_constant(table, "n_tested") and _is_constant(table, "n_silent")):
        return table, 0
    n, n_silent = int(table["n_tested"].iloc[0]), int(table["n_silent"].iloc[0])
    missing = np.setdiff1d(np.arange(n + n_silent), table["feature"])
    if len(table) != n or len(missing) != n_silent:  # of a part it is not known which are silent
        return table, 0
    silent = pd.DataFrame({"feature": missing})
    return pd.concat([table, silent], ignore_index=True), len(missing)


def _is_constant(table: pd.DataFrame, column: str) -> bool:
    return column in table and len(set(table[column])) == 1


def _column(values: pd.Series, label: str, about: str) -> dict[str, Any]:
    """A column with its heading; fractions with four digits, texts as they can be seen."""
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    cells: list[Any]
    if pd.api.types.is_integer_dtype(values):
        cells = [None if pd.isna(value) else int(value) for value in values]
    elif is_number:
        cells = [short(value) for value in values.astype(float)]
    else:
        shown = values.astype(object).where(values.notna(), "")
        cells = [visible(str(value), limit=TEXT_LIMIT) for value in shown]
    return {
        "label": visible(label, limit=TEXT_LIMIT),
        "about": about,
        "text": not is_number,
        "values": cells,
    }


def _words(lens: pd.DataFrame, features: list[int]) -> dict[str, list[list[Any]]]:
    """Words at both ends of each feature's logit lens, likeliest first."""
    words = {}
    for feature, part in lens.loc[lens["feature"].isin(features)].groupby("feature"):
        part = part.sort_values("weight", ascending=False, kind="stable")
        if len(part) > 2 * LENS_WORDS:
            part = pd.concat([part.head(LENS_WORDS), part.tail(LENS_WORDS)])
        pairs = zip(part["token"], part["weight"], strict=True)
        words[str(feature)] = [[visible(str(t), limit=TEXT_LIMIT), short(w)] for t, w in pairs]
    return words


def _missing(
    table: pd.DataFrame, tables: Tables, *, examples: dict[str, Any], words: dict[str, Any], n: int
) -> list[str]:
    """What one looks for here in vain, and why."""
    missing = []
    for column, source in (("lo", "shift"), ("q", "shift"), ("controls", "controls")):
        if column not in table or all(table[column].isna()):
            missing.append(f"No {LABELS[column][0]}: the table {source} has none.")
    if tables["scores"] is None:
        missing.append("No AUROC: no scores table was given.")
    if tables["fidelity"] is None and "fvu_after" not in table:
        missing.append("No fidelity: no fidelity table was given.")
    for what, name, held in (
        ("examples", "tokens", examples.get("features", {})),
        ("logit lens", "lens", words),
    ):
        if tables[name] is None:
            missing.append(f"No {what}: no {name} table was given.")
        elif len(held) < n:
            missing.append(
                f"The table {name} holds {len(held):,} of the {n:,} features that moved most; "
                f"the others have no {what}."
            )
    return missing


def _cells(fidelity: pd.DataFrame | None, *, by: Sequence[str]) -> list[list[str]]:
    """A fidelity table as texts, its heading first."""
    if fidelity is None:
        return []
    shown = fidelity.drop(columns=[c for c in by if c in fidelity])
    block = page.table(shown, caption="", source="")
    names = [name for name, _ in block["columns"]]
    rows = [[cell for cell, _ in row] for row in block["rows"]]
    return [[visible(cell, limit=TEXT_LIMIT) for cell in row] for row in [names, *rows]]
