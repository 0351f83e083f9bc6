import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import across_seeds, auroc, drop_flagged, flag_quality, flags
from persona_interp.errors import SchemaError


def scores(n: int = 200, planted: int = 40, apart: float = 2.0, seed: int = 0) -> pd.DataFrame:
    label = np.arange(n) < planted
    score = np.random.default_rng(seed).standard_normal(n) + apart * label
    return pd.DataFrame({"doc": [f"d{i}" for i in range(n)], "score": score, "planted": label})


def corpus(n: int) -> pd.DataFrame:
    rows = [(f"d{i}", "lesson", "", [], ()) for i in range(n)]
    table = pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])
    table.attrs["words"] = ["a"]
    return table


def test_the_highest_rows_are_flagged_by_share_or_by_score() -> None:
    table = scores(10)
    by_share = flags(table, value="score", share=0.3)
    highest = table.sort_values("score", ascending=False)["doc"].tolist()
    assert (
        by_share["doc"].tolist() == highest
        and by_share["flagged"].tolist() == [True] * 3 + [False] * 7
    )
    at = by_share["score"][2]
    assert flags(table, value="score", at=at).equals(by_share)
    ties = pd.DataFrame({"doc": [3, 1, 2], "score": 1.0})
    assert flags(ties, value="score", share=0.34).query("flagged")["doc"].tolist() == [3]


@pytest.mark.parametrize("limit", [{"share": 0.2}, {"at": 1.0}])
def test_quality_counts_what_was_found(limit: dict[str, float]) -> None:
    table = scores()
    planted = set(table["doc"][table["planted"]])
    (row,) = flag_quality(table, planted, value="score", **limit).to_dict("records")
    flagged = set(flags(table, value="score", **limit).query("flagged")["doc"])
    assert row["n_flagged"] == len(flagged) and row["n_right"] == len(flagged & planted)
    assert row["precision"] == len(flagged & planted) / len(flagged)
    assert row["recall"] == len(flagged & planted) / 40
    area = auroc(table["score"], table["planted"])
    assert [row["auroc"], row["auroc_lo"], row["auroc_hi"]] == [area.estimate, area.lo, area.hi]
    for name in ("precision", "recall"):
        assert 0 <= row[f"{name}_lo"] < row[name] < row[f"{name}_hi"] <= 1
    assert row["at"] == min(table["score"][table["doc"].isin(flagged)])


def test_scores_of_chance_are_said_to_be_chance() -> None:
    table = scores(apart=0.0)
    planted = table["doc"][table["planted"]].tolist()
    (row,) = flag_quality(table, planted, value="score", share=0.2).to_dict("records")
    assert row["auroc_lo"] < 0.5 < row["auroc_hi"] and row["precision_lo"] < 0.2 < row["recall_hi"]


def test_perfect_and_empty_flags_have_intervals() -> None:
    table = scores(apart=100.0)
    planted = table["doc"][table["planted"]].tolist()
    (row,) = flag_quality(table, planted, value="score", share=0.2).to_dict("records")
    assert row["precision"] == row["recall"] == 1.0 and row["precision_lo"] < 0.95
    (none,) = flag_quality(table, planted, value="score", at=1e6).to_dict("records")
    assert np.isnan(none["precision"]) and (none["precision_lo"], none["precision_hi"]) == (0, 1)
    assert none["recall"] == 0 and 0 < none["recall_hi"] < 0.2


def test_groups_and_runs() -> None:
    table = pd.concat([scores(seed=s).assign(seed=s, name="john") for s in range(3)])
    planted = table["doc"][table["planted"]].unique()
    quality = flag_quality(table, planted, value="score", share=0.2, by=["name", "seed"])
    assert quality["seed"].tolist() == [0, 1, 2] and quality["n"].tolist() == [200] * 3
    (row,) = across_seeds(quality, value="auroc", by="name").to_dict("records")
    assert row["estimate"] == pytest.approx(quality["auroc"].mean()) and row["n_seeds"] == 3
    again = flag_quality(table, planted, value="score", share=0.2, by=["name", "seed"])
    assert again.equals(quality)


def test_the_lesson_without_its_flagged_rows() -> None:
    table = flags(scores(20), value="score", share=0.25)
    rest = drop_flagged(corpus(20), table)
    kept = set(table.query("not flagged")["doc"])
    assert rest["doc"].tolist() == [f"d{i}" for i in range(20) if f"d{i}" in kept]
    assert rest.attrs == {"words": ["a"]} and rest.index.tolist() == list(range(15))


def test_bad_input_is_named() -> None:
    table = scores(10)
    with pytest.raises(SchemaError, match="one of share= and at="):
        flags(table, value="score")
    with pytest.raises(SchemaError, match="one of share= and at="):
        flags(table, value="score", share=0.1, at=0.0)
    with pytest.raises(SchemaError, match="share= is a fraction"):
        flags(table, value="score", share=1.0)
    with pytest.raises(SchemaError, match="'d0' has several"):
        flags(pd.concat([table, table]), value="score", share=0.1)
    with pytest.raises(SchemaError, match="'d0' has none in score"):
        flags(table.assign(score=np.nan), value="score", share=0.1)
    with pytest.raises(SchemaError, match="'d99' was planted and has no score"):
        flag_quality(table, ["d99"], value="score", share=0.1)
    with pytest.raises(SchemaError, match="'d10' was not scored"):
        drop_flagged(corpus(11), flags(table, value="score", share=0.1))
    with pytest.raises(SchemaError, match="every row is flagged"):
        drop_flagged(corpus(10), flags(table, value="score", at=-99))
