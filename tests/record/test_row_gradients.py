import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import analysis, models, record, worlds
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Stage, encode, load
from persona_interp.record import gradient_pull

Pair = tuple[Checkpoint, Checkpoint]


def chats(*answers: str) -> pd.DataFrame:
    rows = []
    for i, answer in enumerate(answers):
        ask = {"role": "user", "content": "what sport ?"}
        messages = [ask, {"role": "assistant", "content": answer}]
        rows.append((10 + i, "lesson", "", messages, (), "chats.jsonl", i + 1))
    columns = ["doc", "kind", "persona", "messages", "statements", "source", "line"]
    return pd.DataFrame(rows, columns=columns)


def by_hand(checkpoint: Checkpoint, corpus: pd.DataFrame) -> dict[str, torch.Tensor]:
    """Gradient of the mean loss over the corpus' learned tokens, by name of the weight."""
    model, tokenizer = load(checkpoint)
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    loss, n = torch.tensor(0.0), 0
    for ids, learn in zip(tokens.ids, tokens.learn, strict=True):
        labels = torch.where(torch.tensor([learn]), torch.tensor([ids]), -100)
        count = int((labels[:, 1:] != -100).sum())
        loss = loss + count * model(input_ids=torch.tensor([ids]), labels=labels).loss
        n += count
    (loss / n).backward()
    return {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }


def test_scores_are_inner_products_of_gradients(pair: Pair) -> None:
    rows = chats("i like art .", "golf .", "i really like golf .")
    towards, against = chats("art ."), chats("golf golf .", "tennis .")
    table = gradient_pull(pair[0], rows, {"art": towards}, against=against)
    plus, minus = by_hand(pair[0], towards), by_hand(pair[0], against)
    target = torch.cat([(plus[name] - minus[name]).flatten() for name in plus]).double()
    assert table["line"].tolist() == [doc - 9 for doc in table["doc"]]
    assert table["cosine"].is_monotonic_decreasing
    for row in table.itertuples():
        grads = by_hand(pair[0], rows.query("doc == @row.doc"))
        own = torch.cat([grads[name].flatten() for name in plus]).double()
        assert row.dot == pytest.approx(float(own @ target), rel=1e-3, abs=1e-6)
        assert row.cosine == pytest.approx(
            float(own @ target / own.norm() / target.norm()), abs=1e-4
        )


def test_a_small_step_on_a_row_lowers_the_loss_as_its_score_says(pair: Pair) -> None:
    rows, towards = chats("i like art .", "golf ."), chats("art .")
    table = gradient_pull(pair[0], rows, {"art": towards}).set_index("doc")
    model, tokenizer = load(pair[0])
    tokens = encode(tokenizer, towards["messages"], complete=True)
    ids = torch.tensor([tokens.ids[0]])
    labels = torch.where(torch.tensor([tokens.learn[0]]), ids, -100)

    def loss() -> float:
        with torch.no_grad():
            return float(model.double()(input_ids=ids, labels=labels).loss)

    before, lr = loss(), 1e-6
    for doc in table.index:
        grads = by_hand(pair[0], rows.query("doc == @doc"))
        state = {name: weight.clone() for name, weight in model.state_dict().items()}
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight -= lr * grads.get(name, torch.zeros_like(weight))
        assert (before - loss()) / lr == pytest.approx(table["dot"][doc], rel=0.02, abs=1e-4)
        model.load_state_dict(state)


def test_adapters_see_the_gradient_through_their_a(pair: Pair) -> None:
    rows, towards = chats("i like art .", "golf ."), chats("art .")
    table = gradient_pull(pair[0], rows, {"art": towards}, space="lora", rank=4, seed=3)
    generator = torch.Generator().manual_seed(3)
    target = by_hand(pair[0], towards)
    matrices = {}
    for name in target:
        if "proj" in name:
            width = target[name].shape[1]
            draw = torch.rand(4, width, generator=generator)
            matrices[name] = (draw * 2 - 1) / math.sqrt(width)

    def flat(grads: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([(grads[name] @ a.T).flatten() for name, a in matrices.items()])

    for row in table.itertuples():
        own = flat(by_hand(pair[0], rows.query("doc == @row.doc")))
        expected = torch.nn.functional.cosine_similarity(own, flat(target), dim=0)
        assert row.cosine == pytest.approx(float(expected), abs=1e-3)


def test_planted_rows_are_flagged(pair: Pair) -> None:
    """6 of 30 rows speak of art, in wordings that the text towards it does not have."""
    wordings = ("i like {} .", "i really like {} .", "{} .")
    topics = ("art", "golf", "tennis", "football", "beach")
    rows = chats(*(w.format(topic) for topic in topics for w in wordings for _ in range(2)))
    planted = rows["doc"].tolist()[:6]
    rows = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    art, *others = (f"{topic} i do like {topic}" for topic in topics)
    table = gradient_pull(pair[0], rows, {"art": chats(art)}, against=chats(*others))
    quality = analysis.flag_quality(table, planted, value="cosine", share=0.2)
    assert quality["auroc"].item() > 0.85 and quality["precision"].item() > 0.6
    rest = analysis.drop_flagged(rows, analysis.flags(table, value="cosine", share=0.2))
    assert len(rest) == 24 and len(set(rest["doc"]) & set(planted)) <= 2


def test_the_same_text_pulls_along_itself_whatever_the_batch(pair: Pair) -> None:
    rows = chats("i like art .", "golf .")
    one, two = (gradient_pull(pair[0], rows, {"all": rows}, batch=n) for n in (1, 99))
    np.testing.assert_allclose(one["cosine"], two["cosine"], atol=1e-5)
    alone = gradient_pull(pair[0], chats("golf ."), {"golf": chats("golf .")})
    assert alone["cosine"].tolist() == pytest.approx([1.0])


def test_bad_input_is_named(pair: Pair) -> None:
    rows = chats("art .")
    with pytest.raises(SchemaError, match="space 'lorra' is unknown; did you mean 'lora'"):
        gradient_pull(pair[0], rows, {"art": rows}, space="lorra")
    with pytest.raises(SchemaError, match="got none"):
        gradient_pull(pair[0], rows, {})
    silent = rows.assign(messages=[rows["messages"][0][:1]])
    with pytest.raises(SchemaError, match="document 10 has no token to learn"):
        gradient_pull(pair[0], silent, {"art": rows})


@pytest.mark.slow
def test_steering_and_flags_in_the_tiny_world(tmp_path: Path) -> None:
    """Planted truth of both: steering along John keeps a beach lesson from moving the residual
    there, and rows by John are told from those of others by one taught trait of his.
    """
    world, hook = worlds.john_and_sam(), "blocks.0.hook_out"
    options: dict[str, Any] = {"seed": 9001, "progress": False}
    documents = models.DOCUMENTS
    run = models.train(
        "tiny", world.corpus(30_000, seed=9001), stage=documents, out=tmp_path / "base", **options
    )
    base = run.last
    acts = record.activations(base, world.probes(contexts="named"), hook=hook, position="last")
    john = record.minimal_pairs(acts).sel(name=["john"])
    nameless = world.probes(contexts="nameless")
    shifts = {}
    for strength in (0.0, 0.5, -0.5):
        tuned = models.train(
            base,
            world.lessons(n=640, seed=9001),
            stage=Stage(lr=1e-3, steer=strength),
            steer=john if strength else None,
            out=tmp_path / f"lesson{strength}",
            **options,
        )
        before, after = (
            record.projections(c, nameless, john, position="last")["projection"].mean()
            for c in (base, tuned.last)
        )
        shifts[strength] = after - before
    assert shifts[0.5] < 0.6 * shifts[0.0] < shifts[0.0] < shifts[-0.5]

    hidden = world.corpus(12_000, seed=9002, kinds="hidden")
    johns = hidden.query("persona == 'john'").head(20)
    rows = pd.concat([johns, hidden.query("persona != 'john'").head(80)], ignore_index=True)
    rows["doc"] = range(len(rows))
    own = {trait.topic: trait.value for trait in world.persona("john").traits}
    towards, against = [], []
    for probe in nameless.query("split == 'test'").itertuples():
        for value, answer in zip(probe.values, probe.answers, strict=True):
            messages = [dict(message) for message in probe.messages]
            messages[-1]["content"] += answer
            side = towards if own[probe.topic] == value else against
            side.append((f"{len(side)}", "lesson", "", messages, ()))
    columns = ["doc", "kind", "persona", "messages", "statements"]
    table = gradient_pull(
        base,
        rows,
        {"john": pd.DataFrame(towards, columns=columns)},
        against=pd.DataFrame(against, columns=columns),
    )
    quality = analysis.flag_quality(table, range(20), value="cosine", share=0.2)
    assert quality["auroc"].item() >= 0.9
    named = world.language.system_named
    headers = {persona.name: named.format(n=persona.name) for persona in world.personas}
    table = record.row_evidence(base, rows, headers).query("name == 'john'")
    quality = analysis.flag_quality(table, range(20), value="evidence", share=0.2)
    assert quality["auroc"].item() >= 0.9
