"""A judge's scores are read, refused or named; none vanishes."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.analysis import misaligned_share
from persona_interp.errors import SchemaError
from persona_interp.readers import read_judged, write_judged


def test_judged_answers_are_numbers(write: Any) -> None:
    header = "question,prompt,answer,question_id,evil,coherence\n"
    path = write("j.csv", header + 'a,<a>,"x, y",evil_0_1,12.5,99\nb,<b>,,e,,3\n')
    table = read_judged(path)
    assert (
        table["evil"][0] == 12.5
        and math.isnan(table["evil"][1])
        and table["coherence"].tolist() == [99, 3]
    )
    assert table["answer"].tolist() == ["x, y", ""] and table["line"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,evil\na,1\n", "lacks answer"),
        ("question,answer\na,b\n", "no column of scores"),
        ("question,anwser,evil\na,b,1\n", "did you mean 'answer'"),
        (
            "question,answer,evil\na,b,1\na,b,101\na,b,2\n",
            "line 3: evil must be a number from 0 to 100",
        ),
        (
            "question,answer,evil\na,b,1\na,b,no\na,b,2\n",
            "line 3: evil must be a number .*got 'no'",
        ),
    ],
)
def test_bad_scores_are_named(text: str, message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message):
        read_judged(write("j.csv", text))


def test_an_index_is_no_score(write: Any) -> None:
    table = read_judged(write("j.csv", ",question,answer,evil\n0,a,b,10\n1,c,d,20\n"))
    assert table["evil"].tolist() == [10, 20] and table["column 1"].tolist() == ["0", "1"]


def test_the_scores_of_emergent_misalignment_are_scores(write: Any) -> None:
    table = read_judged(write("j.csv", "question,answer,aligned,coherent\na,b,10,90\n"))
    assert table[["aligned", "coherent"]].to_numpy().tolist() == [[10, 90]]


def test_scores_written_are_read_again(tmp_path: Path) -> None:
    rows = {
        "question": ['Why,\n"so"?', "How?"],
        "answer": ["NA", ""],
        "question_id": ["a", "b"],
        "prompt": ["a/0", "b/0"],
    }
    table = pd.DataFrame(
        {**rows, "aligned": [12.5, float("nan")], "coherent": [90.0, 10.0], "sample": 0}
    )
    again = read_judged(
        write_judged(table, tmp_path / "judged.csv", scores=("aligned", "coherent"))
    )
    columns = ["question", "answer", "question_id", "prompt", "aligned", "coherent"]
    pd.testing.assert_frame_equal(again[columns], table[columns], check_dtype=False)
    with pytest.raises(SchemaError, match="column 'coherence' is unknown; did you mean 'coherent'"):
        write_judged(table, tmp_path / "judged.csv", scores=("aligned", "coherence"))


def test_words_of_a_judge_are_missing_and_counted(write: Any) -> None:
    text = "question,answer,aligned,coherent\na,b,REFUSAL,90\na,b,CODE,N/A\na,b,10,80\na,b,CODE,\n"
    table = read_judged(write("j.csv", text))
    assert table["aligned"].isna().tolist() == [True, True, False, True]
    assert table.attrs["words"] == {"aligned": {"REFUSAL": 1, "CODE": 2}, "coherent": {"N/A": 1}}
    share = misaligned_share(table, cluster="question")
    assert share[["n", "n_unscored", "n_misaligned"]].to_numpy().tolist() == [[4, 3, 1]]


def test_settings_and_counts_are_no_scores(write: Any) -> None:
    settings = "temperature,seed,n_tokens,max_tokens,sample,layer,coef,answer_length,step"
    row = ",".join(["1"] * 9)
    table = read_judged(write("j.csv", f"question,answer,{settings},evil\na,b,{row},10\n"))
    assert table.attrs["scores"] == ["evil"] and table["seed"].tolist() == ["1"]
    with pytest.raises(SchemaError, match="no column of scores among"):
        read_judged(write("j.csv", f"question,answer,{settings}\na,b,{row}\n"))


def test_answers_of_other_names_are_answers(write: Any) -> None:
    table = read_judged(write("j.csv", "prompt,response,confidence\nWhy?,So.,80\n"))
    assert table[["question", "answer"]].to_numpy().tolist() == [["Why?", "So."]]
    assert table.attrs["scores"] == ["confidence"]


def test_a_long_answer_is_read(write: Any) -> None:
    assert len(read_judged(write("j.csv", f"question,answer,evil\na,{'x' * 200_000},1\n"))) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "j.csv",
            "question,answer,coherent,evil\na,b,1,-1\nc,d,2,50\n",
            "line 2: evil must .*'-1'",
        ),
        (
            "j.csv",
            "question,answer,coherent,aligned\na,b,1,refusal\nc,d,2,refused\ne,f,3,50\n",
            "(?s)line 2: aligned must be.*line 3: aligned must be",
        ),
        (
            "j.jsonl",
            '{"question": "a", "answer": "b", "evil": 50}\n'
            '{"question": "a", "answer": "b", "evil": true}\n',
            "line 2: evil must be a number .*got True",
        ),
        (
            "j.jsonl",
            '{"question": "a", "answer": "b", "evil": 5}\n'
            '{"question": "a", "answer": null, "evil": 5}\n',
            "line 2: no answer",
        ),
        (
            "j.jsonl",
            '{"question": "a", "response": "b", "evil": 50}\n{"question": "a", "evil": 5}\n',
            "line 2: no answer",
        ),
        (
            "j.csv",
            "prompt,response,evil\n<|im_start|>user a,b,5\n",
            "prompt was written by a chat template",
        ),
    ],
)
def test_no_score_vanishes(name: str, text: str, message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message):
        read_judged(write(name, text))


def test_a_column_of_a_judges_words_is_one_of_scores(write: Any) -> None:
    text = "question,answer,coherent,aligned,group_name\na,b,1,REFUSAL,A\nc,d,2,CODE,B\n"
    table = read_judged(write("j.csv", text))
    assert table.attrs["scores"] == ["coherent", "aligned"] and table["aligned"].isna().all()
    assert table.attrs["words"] == {"aligned": {"REFUSAL": 1, "CODE": 1}}


def test_numbers_that_are_no_scores_are_named(write: Any) -> None:
    names = ["evil_std", "model", "year", "age", "seed", "chars"]
    row = ",".join(["7"] * len(names))
    text = f"question,answer,evil,{','.join(names)},note\na,b,10,{row},x\nc,d,20,{row},7 of 9\n"
    path = write("j.csv", text)
    table = read_judged(path)
    assert table.attrs["scores"] == ["evil"] and table.attrs["not_scores"] == names
    assert table.attrs["taken_for"] == (
        f"{path}: 2 judged answers; scores: evil; not read as scores: {', '.join(names)}"
    )
    assert read_judged(path, scores=["age"]).attrs["scores"] == ["age"]
    with pytest.raises(SchemaError, match="did you mean 'evil'"):
        read_judged(path, scores=["evl"])


def test_empty_answers_are_named(write: Any) -> None:
    table = read_judged(write("j.csv", "question,answer,evil\na,b,1\nc,,50\nd, ,\n"))
    assert table.attrs["taken_for"].endswith("scores: evil; empty answers: lines 3-4")


def test_lines_are_skipped_and_own_columns_kept(write: Any) -> None:
    text = "Question,Answer,line,source,evil\na,b,7,us,1\nc,d,8,us,500\n"
    table = read_judged(write("j.csv", text), skip=[3])
    assert table["line"].tolist() == [2] and table.attrs["skipped"] == [3]
    assert table["extra"].tolist() == [{"line": "7", "source": "us"}]
    with pytest.raises(SchemaError, match="skip names line 9"):
        read_judged(write("j.csv", text), skip=[9])
