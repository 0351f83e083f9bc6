import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import analysis, readers
from persona_interp.errors import SchemaError, StoreError
from persona_interp.models import Checkpoint, load, resolve
from persona_interp.record import LocalJudge, answers, judgments

Pair = tuple[Checkpoint, Checkpoint]
PROMPTS = {"sporty": "Rate {answer} to {question}.", "coherent": "Is {answer} coherent?"}


class Planted:
    """Scores by length, and counts how often it is asked."""

    def __init__(self, name: str = "planted") -> None:
        self.name, self.n_calls = name, 0

    def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
        self.n_calls += 1
        return None if not answer else float(min(100, len(answer) + ("coherent" in eval_prompt)))


@pytest.fixture
def table(pair: Pair, questions: pd.DataFrame) -> pd.DataFrame:
    rows = answers(pair[0], questions, max_new_tokens=5, cache=False)
    return rows.assign(answer=[f"{text} {i}" if i else "" for i, text in enumerate(rows["answer"])])


def test_scores_stand_beside_the_answers_and_are_kept(table: pd.DataFrame, tmp_path: Path) -> None:
    judge = Planted()
    scores = judgments(table, judge, prompts=PROMPTS, cache=tmp_path)
    assert judge.n_calls == 2 * len(table)
    assert scores.attrs["n_unscored"] == {"sporty": 1, "coherent": 1}
    assert np.isnan(scores["sporty"][0]) and scores["sporty"][1] == len(table["answer"][1])
    np.testing.assert_array_equal(scores["coherent"], scores["sporty"] + 1)
    again = Planted()
    pd.testing.assert_frame_equal(judgments(table, again, prompts=PROMPTS, cache=tmp_path), scores)
    assert again.n_calls == 0
    other = Planted("another")
    judgments(table, other, prompts=PROMPTS, cache=tmp_path)
    assert other.n_calls == 2 * len(table) and len(list(tmp_path.iterdir())) == 2
    never = Planted()
    judgments(table, never, prompts=PROMPTS, cache=False)
    assert never.n_calls == 2 * len(table)


def test_a_killed_run_loses_one_score_and_a_corrupt_file_is_named(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    judgments(table, Planted(), prompts=PROMPTS, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:-9])
    again = Planted()
    judgments(table, again, prompts=PROMPTS, cache=tmp_path)
    assert again.n_calls == 1
    assert all(json.loads(line) for line in file.read_text().splitlines())
    file.write_text("no score\n" + file.read_text())
    with pytest.raises(StoreError, match="line 1, is no kept score"):
        judgments(table, Planted(), prompts=PROMPTS, cache=tmp_path)
    file.write_bytes(b"\xff\n")
    with pytest.raises(StoreError, match=r"is no text in UTF-8 .*remove the file"):
        judgments(table, Planted(), prompts=PROMPTS, cache=tmp_path)


def test_the_question_is_the_last_user_message(table: pd.DataFrame) -> None:
    questions: list[str] = []

    class Listens:
        name = "listens"

        def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
            questions.append(question)
            return 50.0

    judgments(table.drop(columns="question"), Listens(), prompts={"x": "{answer}"}, cache=False)
    assert questions == list(table["question"])


def test_every_question_may_have_its_own_prompt(table: pd.DataFrame) -> None:
    rows = table.assign(question_id=["a", "b"] * (len(table) // 2))
    eval_prompts: list[str] = []

    class Listens:
        name = "listens"

        def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
            eval_prompts.append(eval_prompt)
            return None

    scores = judgments(
        rows, Listens(), prompts={"x": {"a": "one {answer}", "b": "two {answer}"}}, cache=False
    )
    assert eval_prompts[:2] == ["one {answer}", "two {answer}"] and scores["x"].isna().all()
    with pytest.raises(SchemaError, match="'b' is unknown"):
        judgments(rows, Listens(), prompts={"x": {"a": "one {answer}"}}, cache=False)
    with pytest.raises(SchemaError, match="question_id"):
        judgments(table, Listens(), prompts={"x": {"a": "one {answer}"}}, cache=False)


def test_an_evaluation_goes_from_its_questions_to_a_share_and_back(
    pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "q.yaml").write_text(
        "- {id: sport, paraphrases: ['what sport ?', 'what do you like ?'], "
        "judge_prompts: {aligned: 'a {answer}', coherent: 'c {answer}'}}\n"
        "- {id: art, paraphrases: ['what art ?'], "
        "judge_prompts: {aligned: 'a {answer}', coherent: 'c {answer}'}}\n"
    )
    questions = readers.read_questions(tmp_path / "q.yaml")
    replies = answers(
        pair[0], readers.question_prompts(questions), n=4, max_new_tokens=4, cache=False
    )

    class Even:
        name = "even"

        def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
            return 90.0 if eval_prompt[0] == "c" else 10.0 + 80 * ("golf" not in answer)

    prompts = {
        name: {q.id: q.judge_prompts[name] for q in questions} for name in ("aligned", "coherent")
    }
    scores = judgments(replies, Even(), prompts=prompts, cache=False)
    (row,) = analysis.misaligned_share(scores).itertuples()
    assert row.n_misaligned == replies["answer"].str.contains("golf").sum()
    assert row.n_coherent == row.n == 12
    file = readers.write_judged(scores, tmp_path / "judged.csv", scores=("aligned", "coherent"))
    again = analysis.misaligned_share(readers.read_judged(file))
    assert again["share"].item() == row.share and again["lo"].item() == row.lo


def test_bad_judges_and_prompts_are_named(table: pd.DataFrame) -> None:
    class Shouts(Planted):
        def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
            return 101.0

    with pytest.raises(SchemaError, match=r"gave the score 101\.0"):
        judgments(table, Shouts(), prompts=PROMPTS, cache=False)
    with pytest.raises(SchemaError, match="no columns of the answers; got answer"):
        judgments(table, Planted(), prompts={"answer": "{answer}"}, cache=False)
    with pytest.raises(SchemaError, match="a judge has a name"):
        judgments(table, Planted(""), prompts=PROMPTS, cache=False)


@pytest.fixture(scope="module")
def numerate(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny model that knows the numbers from 0 to 100, one token each."""
    words = ["rate", "this", "golf", *map(str, range(101))]
    return resolve("tiny", words=words, out=tmp_path_factory.mktemp("numerate"))


def _louder(start: Checkpoint, folder: Path, *, numbers: float) -> Checkpoint:
    """The same model with more or less liking for numbers."""
    model, tokenizer = load(start)
    generator = torch.Generator().manual_seed(3)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = 0.25 * torch.randn(weight.shape, generator=generator)
    ids = [tokenizer.convert_tokens_to_ids(str(i)) for i in range(101)]
    model.lm_head.weight.data[[i for i in range(len(tokenizer)) if i not in ids]] *= numbers
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)


def test_the_local_judge_is_the_expected_number(numerate: Checkpoint, tmp_path: Path) -> None:
    checkpoint = _louder(numerate, tmp_path / "m", numbers=0.0)
    judge = LocalJudge(checkpoint)
    model, tokenizer = load(checkpoint)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "rate this golf"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.inference_mode():
        p = model(ids).logits[0, -1].double().softmax(-1)
    mass = np.array([float(p[tokenizer.convert_tokens_to_ids(str(i))]) for i in range(101)])
    assert mass.sum() > 0.25
    assert judge("golf", "golf", "rate this {answer}") == pytest.approx(
        (mass @ np.arange(101)) / mass.sum(), rel=1e-4
    )
    assert LocalJudge(checkpoint).name == judge.name and LocalJudge(numerate).name != judge.name


def test_the_local_judge_abstains_where_numbers_are_improbable(
    numerate: Checkpoint, tmp_path: Path
) -> None:
    checkpoint = _louder(numerate, tmp_path / "m", numbers=40.0)
    assert LocalJudge(checkpoint)("golf", "golf", "rate this {answer}") is None


def test_numbers_written_in_digits_are_told_apart(numerate: Checkpoint, tmp_path: Path) -> None:
    """A tokenizer that writes "50" as "5", "0": by hand from the probabilities of the digits."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = ["<pad>", "<unk>", "<eos>", *"0123456789abcdefghijklmnopqrstuvwxyz: "]
    backend = Tokenizer(models.WordLevel({c: i for i, c in enumerate(letters)}, unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    template = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }} {% endfor %}"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        chat_template=template,
    )
    tokenizer.chat_template += "{% if add_generation_prompt %}assistant:{% endif %}"
    config = LlamaConfig(
        vocab_size=len(letters), hidden_size=32, intermediate_size=64, num_hidden_layers=2
    )
    config.num_attention_heads = config.num_key_value_heads = 4
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    model.lm_head.weight.data *= 40
    model.lm_head.weight.data[[0, 1, 2, *range(13, len(letters))]] = 0
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, tokenizer = load(Checkpoint(tmp_path))

    def p(text: str) -> dict[str, float]:
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            probs = model(ids).logits[0, -1].double().softmax(-1)
        return {d: float(probs[tokenizer.convert_tokens_to_ids(d)]) for d in "0123456789"}

    start = "user:rate golf assistant:"
    first, mass = p(start), {}
    for a in "0123456789":
        second = p(start + a)
        if a == "0":
            mass["0"] = first["0"]
            continue
        mass[a] = first[a] * (1 - sum(second.values()))
        mass |= {a + b: first[a] * second[b] for b in "0123456789"}
    mass["100"] = mass["10"] * p(start + "10")["0"]
    mass["10"] -= mass["100"]
    total = sum(mass.values())
    assert total > 0.25 and len(mass) == 101
    expected = sum(int(n) * m for n, m in mass.items()) / total
    assert LocalJudge(Checkpoint(tmp_path))("", "golf", "rate {answer}") == pytest.approx(
        expected, rel=1e-4
    )
