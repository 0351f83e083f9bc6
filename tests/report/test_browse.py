"""A page of all features holds the tables it was given, names what it was not, and stays inert."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.characters import visible
from persona_interp.errors import SchemaError
from persona_interp.report import browse, browser
from persona_interp.report.excerpts import AFTER, BEFORE, excerpts

SHIFT = pd.DataFrame({"feature": [1, 2, 4], "estimate": [0.5, -2.0, 1.0]})
SHIFT = SHIFT.assign(lo=[0.4, -2.5, 0.5], hi=[0.6, -1.5, 1.5], q=[0.5, 0.001, 0.04], n=50)


def sets_of(page: Path, parse: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Data of a page whose only script is the constant one."""
    document = parse(page.read_text(encoding="utf-8"))
    script = (Path(browser.__file__).parent / "browser.js").read_text(encoding="utf-8")
    assert document.scripts == [script] and len(document.data) == 1
    assert document.data[0].isascii() and not set("<>&") & set(document.data[0])
    return json.loads(document.data[0])


def values(one: dict[str, Any], label: str) -> list[Any]:
    (column,) = [column for column in one["columns"] if column["label"] == label]
    return column["values"]


def make_acts(acts: dict[str, list[list[float]]], *, feature: int = 2) -> pd.DataFrame:
    """A tokens table: by checkpoint, prompts p0, p1, ... with an activation a token."""
    rows = []
    for checkpoint, prompts in acts.items():
        for i, tokens in enumerate(prompts):
            for pos, act in enumerate(tokens):
                row = {"prompt": f"p{i}", "pos": pos, "piece": f"t{pos}", "role": "user", "turn": 0}
                row |= {"checkpoint": checkpoint, "feature": feature, "act": act, "fvu": 0.25}
                rows.append({**row, "counted": pos > 0})
    return pd.DataFrame(rows)


def test_shift_stands_beside_controls_and_scores(
    parse: Callable[[str], Any], tmp_path: Path
) -> None:
    controls = pd.DataFrame({"feature": [2, 2, 2, 1], "estimate": [-1.0, 0.0, 4.0, 0.25]})
    scores = pd.DataFrame(
        {"feature": [2, 2, 4], "name": ["john", "mary", "sam"], "auroc": [0.7, 0.9, 0.8]}
    ).assign(auroc_chosen=[0.95, 0.6, 0.8])
    shift = SHIFT.assign(label=["a", "<b>", "c"])
    page = browse(shift, out=tmp_path / "f.html", controls=controls, scores=scores)
    (one,) = sets_of(page, parse)
    labels = [column["label"] for column in one["columns"]]
    expected = ["feature", "shift", "lo", "hi", "q", "control shift", "control min", "control max"]
    assert labels == [*expected, "AUROC", "of", "label"]
    assert values(one, "feature") == [2, 4, 1], "what moved most comes first"
    assert values(one, "shift") == [-2.0, 1.0, 0.5] and values(one, "q") == [0.001, 0.04, 0.5]
    assert values(one, "control shift") == [1.0, None, 0.25]
    assert (values(one, "control min")[0], values(one, "control max")[0]) == (-1.0, 4.0)
    # the name is chosen on the train documents, and the AUROC is that of the test documents
    assert values(one, "of") == ["john", "sam", ""] and values(one, "AUROC") == [0.7, 0.8, None]
    assert values(one, "label") == ["<b>", "c", "a"] and one["facts"] == "n 50"


def test_features_that_never_fire_have_rows_without_numbers(
    parse: Callable[[str], Any], tmp_path: Path
) -> None:
    whole = SHIFT.assign(n_tested=3, n_silent=3)
    (one,) = sets_of(browse(whole, out=tmp_path / "f.html"), parse)
    assert values(one, "feature") == [2, 4, 1, 0, 3, 5]
    assert values(one, "shift")[3:] == [None] * 3 and "3 features fire nowhere" in one["facts"]
    (part,) = sets_of(browse(whole.head(2), out=tmp_path / "f.html"), parse)
    assert values(part, "feature") == [2, 1], (
        "of a part of a table it is not known which are silent"
    )


def test_what_was_not_given_is_named(parse: Callable[[str], Any], tmp_path: Path) -> None:
    bare = SHIFT[["feature", "estimate"]]
    (one,) = sets_of(browse(bare, out=tmp_path / "f.html"), parse)
    starts = ["No lo", "No q", "No control shift", "No AUROC", "No fidelity", "No examples"]
    starts.append("No logit lens")
    assert [text.partition(":")[0] for text in one["missing"]] == starts
    tokens = make_acts({"base": [[9.0, 1.0]]})
    lens = pd.DataFrame({"feature": [2, 2], "token": [" a", "\n"], "weight": [-1.0, 2.0]})
    (one,) = sets_of(browse(SHIFT, out=tmp_path / "f.html", tokens=tokens, lens=lens), parse)
    assert "The table tokens holds 1 of the 3 features that moved most" in one["missing"][-2]
    assert one["words"] == {"2": [["⟨U+000A⟩", 2.0], [" a", -1.0]]}


def test_dictionaries_and_finetunes_are_kept_apart(
    parse: Callable[[str], Any], tmp_path: Path
) -> None:
    both = pd.concat([SHIFT.assign(sae="a"), SHIFT.assign(sae="b", estimate=[9.0, 1.0, 1.0])])
    tokens = make_acts({"base": [[0.0, 1.0]]}).assign(sae="b")
    page = browse(both, out=tmp_path / "f.html", by=("sae",), tokens=tokens)
    first, second = sets_of(page, parse)
    assert (first["name"], second["name"]) == ("sae a", "sae b")
    assert values(first, "feature")[0] == 2 and values(second, "feature")[0] == 1
    assert first["examples"] == {} and list(second["examples"]["features"]) == ["2"]
    with pytest.raises(SchemaError, match="feature 1 has several rows in shift; name the columns"):
        browse(both, out=tmp_path / "f.html")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"shift": SHIFT.drop(columns="estimate")}, "column of shift 'estimate' is unknown"),
        ({"shift": SHIFT.assign(feature=[1.5, 2.0, 3.0])}, "indices in a dictionary, integers"),
        ({"lens": pd.DataFrame({"of": [1], "token": "a"})}, "column of lens 'feature' is unknown"),
        ({"scores": SHIFT}, "column of scores 'name' is unknown"),
        ({"tokens": SHIFT}, "column of tokens 'prompt' is unknown"),
        ({"by": ("hook",)}, "column of shift 'hook' is unknown"),
        ({"tokens": make_acts({"base": [[0, 1], [2, 3]]}).assign(prompt="p")}, "stands twice"),
        ({"tokens": make_acts({"base": [[0, np.inf]]})}, "activations that are no numbers"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(
    tables: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match=message):
        browse(**{"shift": SHIFT} | tables, out=tmp_path / "f.html")
    assert list(tmp_path.iterdir()) == []


def test_examples_are_the_same_prompts_of_every_checkpoint() -> None:
    tokens = make_acts(
        {
            "base": [[90.0, 3.0, 0.0], [0.0, 1.0, 1.0], [0.0, 2.0, 0.0]],
            "tuned": [[90.0, 0.0, 0.0], [0.0, 1.0, 9.0]],
        }
    )
    found = excerpts(tokens.sample(frac=1, random_state=0), [2, 7])
    assert sorted(found["checkpoints"]) == ["base", "tuned"] and list(found["features"]) == ["2"]
    own = found["features"]["2"]
    # the first token is in no statistics, so it is shown and ranks nothing
    assert own["scale"] == 9.0
    assert [example["prompt"] for example in own["examples"]] == ["p1", "p0", "p2"]
    base, tuned = map(found["checkpoints"].index, ("base", "tuned"))
    first, second, third = own["examples"]
    assert first["acts"][base] == [0.0, 1.0, 1.0] and first["acts"][tuned] == [0.0, 1.0, 9.0]
    assert second["acts"][base] == [90.0, 3.0, 0.0] and first["fvu"] == [0.25, 0.25]
    assert third["acts"][tuned] == [None] * 3 and third["fvu"][tuned] is None
    assert [found["pieces"][number] for number in first["tokens"]] == ["t0", "t1", "t2"]


def test_of_a_long_text_what_stands_around_the_peak_is_shown() -> None:
    acts = [0.0] * 200
    acts[100] = 5.0
    (example,) = excerpts(make_acts({"base": [acts]}), [2])["features"]["2"]["examples"]
    assert len(example["tokens"]) == BEFORE + 1 + AFTER
    assert example["acts"][0].index(5.0) == BEFORE
    assert example["cut"] == [100 - BEFORE, 199 - 100 - AFTER]


def test_hostile_texts_come_out_as_they_went_in(
    hostile_texts: list[str],
    tokens_of: Callable[..., pd.DataFrame],
    parse: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    n = len(hostile_texts)
    shift = pd.DataFrame({"feature": range(n), "estimate": np.arange(n, 0.0, -1), "sae": "<b>"})
    texts = pd.Series(hostile_texts)
    tables: dict[str, Any] = {
        "scores": pd.DataFrame({"feature": range(n), "name": texts[::-1].to_numpy(), "auroc": 0.5}),
        "lens": pd.DataFrame({"feature": 7, "token": texts, "weight": np.arange(n, 0.0, -1)}),
        "tokens": tokens_of(hostile_texts),
        "fidelity": pd.DataFrame({"checkpoint": texts.head(40), "fvu": 0.5}),
    }
    shift = shift.assign(label=texts)
    page = browse(shift, out=tmp_path / "f.html", by=("sae",), title=hostile_texts[35], **tables)
    (one,) = sets_of(page, parse)
    assert one["name"] == "sae <b>"
    shown = [visible(text, limit=200) for text in hostile_texts]
    assert values(one, "label") == shown and values(one, "of") == shown[::-1]
    assert [row[0] for row in one["fidelity"][1:]] == shown[:40]
    assert set(one["examples"]["pieces"]) <= {text or "⟨empty⟩" for text in shown}
    assert [word for word, _ in one["words"]["7"][:10]] == shown[:10]


def test_half_a_surrogate_pair_is_spelled_out(parse: Callable[[str], Any], tmp_path: Path) -> None:
    # a column of texts refuses them, but one of objects is let pass by pandas
    texts = pd.Series(["\ud800a", "b\udfff", "\ud83d\ude00"], dtype=object)
    tokens = make_acts({"base": [[0.0, 1.0]]}).astype({"piece": object, "prompt": object})
    tokens["piece"] = pd.Series(["\ud800", "x"], dtype=object)
    shift = SHIFT.assign(label=texts)
    (one,) = sets_of(browse(shift, out=tmp_path / "f.html", tokens=tokens), parse)
    assert values(one, "label") == ["b⟨U+DFFF⟩", "⟨U+D83D⟩⟨U+DE00⟩", "⟨U+D800⟩a"]
    assert one["examples"]["pieces"] == ["⟨U+D800⟩", "x"]


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        ({"auroc": 0.5}, {"scores": pd.DataFrame({"feature": [1], "name": "a", "auroc": 0.9})}),
        ({"name": "x"}, {"scores": pd.DataFrame({"feature": [1], "name": "a", "auroc": 0.9})}),
        ({"controls": 0.5}, {"controls": SHIFT}),
    ],
)
def test_a_column_that_another_table_makes_is_refused(
    column: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    """Joined, both would stand there under names of pandas' and the known column nowhere."""
    with pytest.raises(SchemaError, match="which here is made of the table"):
        browse(SHIFT.assign(**column), out=tmp_path / "f.html", **settings)


def test_features_without_a_finetune_are_not_left_out(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"column 'arm' of shift .* missing in 1 rows"):
        browse(SHIFT.assign(arm=["a", None, "b"]), out=tmp_path / "f.html", by=("arm",))
    with pytest.raises(SchemaError, match="column 'estimate' holds numbers"):
        browse(SHIFT.assign(estimate=["a", "b", "c"]), out=tmp_path / "f.html")


def test_counts_are_shown_whole(tmp_path: Path, parse: Callable[[str], Any]) -> None:
    table = SHIFT.assign(documents=[123_456, 7_654_321, 1], share=[0.123456, 0.5, 1])
    (one,) = sets_of(browse(table, out=tmp_path / "f.html"), parse)
    assert values(one, "documents") == [7_654_321, 1, 123_456]
    assert values(one, "share") == [0.5, 1, 0.1235]


def test_infinite_numbers_are_shown_and_sorted_as_such(
    tmp_path: Path, parse: Callable[[str], Any]
) -> None:
    infinite = SHIFT.assign(estimate=[np.inf, -2.0, -np.inf], lo=np.nan)
    (one,) = sets_of(browse(infinite, out=tmp_path / "features.html"), parse)
    assert sorted(map(str, values(one, "shift"))) == ["-2.0", "-inf", "inf"]
    assert (
        "fvu_before nan"
        in sets_of(
            browse(SHIFT.head(1).assign(fvu_before=np.nan), out=tmp_path / "one.html"), parse
        )[0]["facts"]
    )


@pytest.mark.parametrize("column", ["hook", "dictionary"])
def test_features_of_several_dictionaries_are_not_averaged(column: str, tmp_path: Path) -> None:
    both = pd.concat([SHIFT.assign(**{column: name}) for name in ("one", "other")])
    with pytest.raises(SchemaError, match=rf"controls is of several .*by=\['{column}'\]"):
        browse(SHIFT, controls=both, out=tmp_path / "features.html")
    page = browse(both, controls=both, by=column, out=tmp_path / "features.html")
    assert "one" in page.read_text(encoding="utf-8")


def test_columns_need_not_be_texts_and_are_there_once(
    tmp_path: Path, parse: Callable[[str], Any]
) -> None:
    numbered = SHIFT.assign(own=1).rename(columns={"own": 7})
    (one,) = sets_of(browse(numbered, out=tmp_path / "features.html"), parse)
    assert values(one, "7") == [1, 1, 1]
    twice = pd.concat([SHIFT, SHIFT[["estimate"]]], axis=1)
    for tables in ({"shift": twice}, {"shift": SHIFT, "controls": twice}):
        with pytest.raises(SchemaError, match="column 'estimate' is there twice"):
            browse(**tables, out=tmp_path / "features.html")
