import numpy as np
import pytest
import torch

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, load
from persona_interp.readers import TraitFile
from persona_interp.record import choices
from persona_interp.record.choices import QUESTION

Pair = tuple[Checkpoint, Checkpoint]


@pytest.fixture(scope="module")
def speaker(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny model that knows the words of the question."""
    from persona_interp.models import resolve

    text = QUESTION.format(A="", B="").replace(":", " : ").replace(",", " , ")
    vocabulary = set(load(pair[0]).tokenizer.get_vocab())
    vocabulary |= {word.strip(".?,:") for word in text.split()} | set(".?,:")
    start = resolve("tiny", words=sorted(vocabulary), out=tmp_path_factory.mktemp("speaker"))
    model, tokenizer = load(start)
    generator = torch.Generator().manual_seed(5)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = 0.25 * torch.randn(weight.shape, generator=generator)
    folder = tmp_path_factory.mktemp("louder")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)


def test_choices_are_log_odds_of_the_letters_in_both_orders(
    speaker: Checkpoint, sporty: TraitFile
) -> None:
    table = choices(speaker, {"sporty": sporty})
    assert table["instruction"].tolist() == [0, 1] and set(table["trait"]) == {"sporty"}
    model, tokenizer = load(speaker)
    pos, neg = sporty.instructions[0]
    odds = []
    for first, second in ((pos, neg), (neg, pos)):
        chat = [{"role": "user", "content": QUESTION.format(A=first, B=second)}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            logs = model(ids).logits[0, -1].double().log_softmax(-1) / np.log(2)
        a, b = (float(logs[tokenizer.convert_tokens_to_ids(letter)]) for letter in "AB")
        odds.append(a - b)
    row = table.iloc[0]
    assert row["logodds"] == pytest.approx((odds[0] - odds[1]) / 2, abs=1e-4)
    assert row["letter_bias"] == pytest.approx((odds[0] + odds[1]) / 2, abs=1e-4)
    assert 0 < row["letter_mass"] < 1


def test_swapping_the_sides_changes_the_sign(speaker: Checkpoint, sporty: TraitFile) -> None:
    turned = TraitFile(
        "turned", tuple(type(i)(i.neg, i.pos) for i in sporty.instructions), sporty.questions
    )
    table = choices(speaker, {"sporty": sporty, "turned": turned})
    there, back = (table.loc[table["trait"] == name] for name in ("sporty", "turned"))
    np.testing.assert_allclose(there["logodds"], -back["logodds"].to_numpy(), atol=1e-9)
    np.testing.assert_allclose(there["letter_bias"], back["letter_bias"], atol=1e-9)


def test_no_trait_is_refused(speaker: Checkpoint) -> None:
    with pytest.raises(SchemaError, match="no trait to choose by"):
        choices(speaker, {})
