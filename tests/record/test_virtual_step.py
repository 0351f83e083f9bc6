"""A virtual step: by hand, put back bit for bit, as long as its dose says, and what it costs."""

import math
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import analysis, models, worlds
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Stage, load
from persona_interp.record import behavior, kernel_flow, row_pull, virtual_step
from persona_interp.record.doses import CLOSE, matching_strength, taught_odds
from persona_interp.record.lesson_gradients import direction_of, lesson_gradient, row_gradients
from persona_interp.record.lesson_rows import lesson_rows, path_length
from persona_interp.record.moved_model import MovedModel

Pair = tuple[Checkpoint, Checkpoint]
STAGE = Stage(steps=4, batch=2, lr=1e-3)


def chats(*answers: str) -> pd.DataFrame:
    rows = []
    for i, answer in enumerate(answers):
        ask = {"role": "user", "content": "what sport ?"}
        messages = [ask, {"role": "assistant", "content": answer}]
        rows.append((10 + i, "lesson", "", messages, ()))
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


LESSON = chats("i like golf .", "golf .", "i like golf .", "i really like golf .")


def rows_of(model: Any, tokenizer: Any, lesson: pd.DataFrame = LESSON) -> Any:
    return lesson_rows(lesson, tokenizer, stage=STAGE)


def test_a_row_counts_as_often_as_it_occurs(pair: Pair) -> None:
    """The gradient of distinct rows is that of the mean loss over all of them."""
    model, tokenizer = load(pair[0])
    rows = rows_of(model, tokenizer)
    assert rows.docs == [10, 11, 13] and rows.counts.tolist() == [2, 1, 1]
    loss, n = torch.tensor(0.0), 0
    for messages in LESSON["messages"]:
        tokens = models.encode(tokenizer, [messages], complete=True)
        ids = torch.tensor(tokens.ids)
        labels = torch.where(torch.tensor(tokens.learn), ids, -100)
        count = int((labels[:, 1:] != -100).sum())
        loss, n = loss + count * model(input_ids=ids, labels=labels).loss, n + count
    (loss / n).backward()
    for spread, batch in ((False, 99), (True, 99), (False, 1)):
        gradient = lesson_gradient(model, rows, spread=spread, dtype="float32", batch=batch)
        for name, weight in model.named_parameters():
            torch.testing.assert_close(gradient.mean[name], weight.grad, atol=1e-6, rtol=1e-4)


def test_spread_is_the_variance_of_batches_drawn_at_random(pair: Pair) -> None:
    model, tokenizer = load(pair[0])
    rows = rows_of(model, tokenizer)
    settings: dict[str, Any] = {"dtype": "float32", "batch": 99}
    gradient = lesson_gradient(model, rows, spread=True, **settings)
    share = rows.counts / rows.counts.sum()
    name = "lm_head.weight"
    own = [grads[name] for _, grads in sorted_rows(model, rows)]
    single = [grad / float(w) for grad, w in zip(own, share, strict=True)]
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(share), size=(4_000, STAGE.batch), p=share)
    batches = torch.stack(single)[torch.from_numpy(drawn)].mean(dim=1)
    expected = gradient.mean[name] ** 2 + gradient.spread[name] / STAGE.batch
    actual = (batches**2).mean(dim=0)
    large = expected > expected.mean()
    ratio = (actual[large] / expected[large]).numpy()
    assert abs(np.median(ratio) - 1) < 0.05


def sorted_rows(model: Any, rows: Any) -> list[tuple[int, dict[str, torch.Tensor]]]:
    parts = row_gradients(model, rows, alone=True, dtype="float32", batch=99)
    return sorted(((group[0], grads) for group, _, grads in parts), key=itemgetter(0))


@pytest.mark.parametrize("direction", ["sign", "adam", "gradient"])
def test_directions(pair: Pair, direction: str) -> None:
    """No longer than 1, as a gradient without the others: its sign, where it is not small."""
    model, tokenizer = load(pair[0])
    gradient = lesson_gradient(
        model, rows_of(model, tokenizer), spread=True, dtype="float32", batch=99
    )
    moved = direction_of(gradient, direction, stage=STAGE)
    flat = torch.cat([part.flatten() for part in moved.values()])
    mean = torch.cat([part.flatten() for part in gradient.mean.values()])
    assert (flat * mean >= 0).all()
    if direction == "gradient":
        assert float(flat.norm()) == pytest.approx(min(STAGE.clip, float(mean.norm())), rel=1e-5)
    else:
        assert float(flat.abs().max()) <= 1.0
    if direction == "sign":
        median = mean[mean != 0].abs().median()
        torch.testing.assert_close(flat[mean > median], torch.ones_like(flat[mean > median]))


def test_adam_takes_one_row_for_its_sign(pair: Pair) -> None:
    model, tokenizer = load(pair[0])
    rows = rows_of(model, tokenizer, chats("golf .", "golf ."))
    gradient = lesson_gradient(model, rows, spread=True, dtype="float32", batch=99)
    moved = direction_of(gradient, "adam", stage=STAGE)
    large = gradient.mean["lm_head.weight"].abs() > 1e-4
    torch.testing.assert_close(
        moved["lm_head.weight"][large],
        gradient.mean["lm_head.weight"][large].sign(),
        atol=1e-3,
        rtol=0,
    )


def test_weights_are_put_back_bit_for_bit(pair: Pair) -> None:
    model, _ = load(pair[0])
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    moved = MovedModel(model, {"lm_head.weight": torch.rand_like(model.lm_head.weight)})

    def break_off() -> None:
        with moved.at(0.3):
            assert not torch.equal(model.lm_head.weight, before["lm_head.weight"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])


def test_behavior_is_that_of_weights_moved_by_hand(
    pair: Pair, probes: pd.DataFrame, tmp_path: Path
) -> None:
    table = virtual_step(pair[0], LESSON, probes, strength=(1e-2, 1e-9), stage=STAGE)
    model, tokenizer = load(pair[0])
    gradient = lesson_gradient(
        model, rows_of(model, tokenizer), spread=False, dtype="float32", batch=99
    )
    step = direction_of(gradient, "sign", stage=STAGE)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight -= 1e-2 * step[name]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    by_hand = behavior(Checkpoint(tmp_path), probes)
    here = table[table["strength"] == 1e-2]
    np.testing.assert_allclose(here["logprob"], by_hand["logprob"], atol=1e-4)
    still = table[table["strength"] == 1e-9]
    np.testing.assert_allclose(still["logprob"], behavior(pair[0], probes)["logprob"], atol=1e-3)
    assert table["checkpoint"].unique().tolist() == ["virtual step@4"]
    assert table["match"].isna().all()


def test_several_strengths_cost_one_gradient(pair: Pair, probes: pd.DataFrame) -> None:
    taught = probes.head(2).assign(taught="football")
    one = virtual_step(pair[0], LESSON, probes, stage=STAGE)
    assert one["strength"].unique().tolist() == [pytest.approx(0.5 * path_length(STAGE))]
    options: dict[str, Any] = {"strength": (1e-3, 2e-3), "match": 1.0, "taught": taught}
    three = virtual_step(pair[0], LESSON, probes, stage=STAGE, **options)
    assert three.attrs["costs"]["gradient"] == one.attrs["costs"]["gradient"]
    readout = one.attrs["costs"]["readout"]
    assert three.attrs["costs"]["readout"] == pytest.approx(3 * readout)
    assert one.attrs["costs"]["search"] == 0.0 < three.attrs["costs"]["search"]
    assert three.attrs["cost"] == pytest.approx(sum(three.attrs["costs"].values()))


def test_a_matched_step_has_its_dose(pair: Pair, probes: pd.DataFrame) -> None:
    football = chats("i like football .", "i really like football .")
    taught = probes.head(2).assign(taught="football")
    base = taught_odds(behavior(pair[0], taught))
    wanted = (base + 3.0, base - 1.0)
    table = virtual_step(pair[0], football, taught, match=wanted, taught=taught, stage=STAGE)
    reached = {dose: taught_odds(rows) for dose, rows in table.groupby("match")}
    assert reached[wanted[0]] == pytest.approx(wanted[0], abs=CLOSE / 2)
    # what the base says already needs no step
    assert reached[wanted[1]] == pytest.approx(base, abs=1e-6)


def test_the_dose_of_long_answers_is_a_number() -> None:
    rows = {"prompt": ["a", "a", "b", "b", "b"], "value": ["pos", "neg", "pos", "neg", "no"]}
    behavior = pd.DataFrame(rows).assign(taught="pos")
    # as probabilities the first prompt's other answer is lost beside the taught one, and the
    # second's answers are all 0
    logprob = [-100.0, -200.0, -2000.0, -2003.0, -2003.0]
    assert taught_odds(behavior.assign(logprob=logprob)) == pytest.approx((100 + 2) / 2)
    with pytest.raises(SchemaError, match="probe 'a' has the taught value alone"):
        taught_odds(behavior.iloc[[0, 2, 3, 4]].assign(logprob=-1.0))


@pytest.mark.parametrize("shape", [np.sqrt, np.square, np.tanh, np.log1p])
def test_strengths_are_found_whatever_the_curve(shape: Any) -> None:
    tried = []

    def dose(strength: float) -> float:
        tried.append(strength)
        return -4.0 + 8.0 * float(shape(strength / 0.006))

    found = matching_strength(dose, 3.0, first=0.006)
    assert -4.0 + 8.0 * float(shape(found / 0.006)) == pytest.approx(3.0, abs=0.2 * CLOSE)
    assert len(tried) <= 8


def test_a_dose_that_is_never_reached_takes_the_largest() -> None:
    peak = 0.01
    found = matching_strength(lambda s: -((s - peak) ** 2), 1.0, first=0.005)
    assert found == pytest.approx(peak)
    # no step is longer than the stage's path, which is twice what is tried first
    assert matching_strength(lambda s: s, 1.0, first=0.005) == pytest.approx(0.01)


def test_a_second_look_is_taken_a_little_way_along(pair: Pair, probes: pd.DataFrame) -> None:
    options: dict[str, Any] = {"stage": STAGE, "strength": 1e-2}
    one = virtual_step(pair[0], LESSON, probes, **options)
    two = virtual_step(pair[0], LESSON, probes, looks=2, **options)
    assert not np.allclose(one["logprob"], two["logprob"])
    gradient = one.attrs["costs"]["gradient"]
    assert two.attrs["costs"]["gradient"] == pytest.approx(2 * gradient)
    # the base is what it was, to the bit
    again = virtual_step(pair[0], LESSON, probes, **options)
    pd.testing.assert_frame_equal(one, again)
    with pytest.raises(SchemaError, match="looks"):
        virtual_step(pair[0], LESSON, probes, looks=0, **options)


def test_a_model_that_breaks_is_named_and_searched_around(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match=r"no numbers at strength 1e\+30 along the sign"):
        virtual_step(pair[0], LESSON, probes, strength=1e30, stage=STAGE)
    found = matching_strength(lambda s: 100 * s if s < 0.05 else math.nan, 4.0, first=0.03)
    assert found == pytest.approx(0.04, abs=0.005)


def test_a_stage_with_adapters_does_not_say_how_far_weights_move(
    pair: Pair, probes: pd.DataFrame
) -> None:
    adapters = Stage(lora=4, lr=5e-4, batch=1)
    for foretell in (virtual_step, kernel_flow, row_pull):
        with pytest.raises(SchemaError, match=r"moves adapters \(lora=4\)"):
            foretell(pair[0], LESSON, probes, stage=adapters)
    dosed = probes.assign(taught=[values[0] for values in probes["values"]])
    with pytest.raises(SchemaError, match="give strength="):
        virtual_step(pair[0], LESSON, probes, stage=adapters, match=4.0, taught=dosed)
    table = virtual_step(
        pair[0], LESSON, probes, stage=adapters, strength=1e-4, match=300.0, taught=dosed
    )
    # a dose that nothing reaches is not looked for beyond twice the strength that was named
    assert table["strength"].max() <= 2e-4


def test_path_lengths_are_sums_of_the_trainers_rates() -> None:
    from transformers import get_scheduler

    for stage in (
        Stage(steps=20, lr=1e-3, warmup=5),
        Stage(steps=20, lr=1e-3, warmup=5, schedule="cosine"),
        Stage(steps=20, lr=1e-3, schedule="cosine"),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=stage.lr)
        cosine = stage.schedule == "cosine"
        scheduler = get_scheduler(
            "cosine_with_min_lr" if cosine else "constant_with_warmup",
            optimizer,
            num_warmup_steps=stage.warmup,
            num_training_steps=stage.steps,
            scheduler_specific_kwargs={"min_lr_rate": 0.05} if cosine else {},
        )
        total = 0.0
        for _ in range(stage.steps):
            total += scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
        assert path_length(stage) == pytest.approx(total)


def test_first_mistakes_are_named(pair: Pair, probes: pd.DataFrame) -> None:
    base = pair[0]
    with pytest.raises(SchemaError, match="direction 'sing' is unknown; did you mean 'sign'"):
        virtual_step(base, LESSON, probes, direction="sing")
    with pytest.raises(SchemaError, match="strength is a number above 0"):
        virtual_step(base, LESSON, probes, strength=-1.0)
    with pytest.raises(SchemaError, match="match= needs taught="):
        virtual_step(base, LESSON, probes, match=4.0)
    with pytest.raises(SchemaError, match="match is a number, finite"):
        virtual_step(base, LESSON, probes, match=math.nan, taught=probes)
    with pytest.raises(SchemaError, match="names; name one of its values"):
        virtual_step(base, LESSON, probes, match=4.0, taught=probes.assign(taught="chess"))
    silent = LESSON.assign(messages=[[m[0]] for m in LESSON["messages"]])
    with pytest.raises(SchemaError, match="document 10 of the lesson has no token to learn"):
        virtual_step(base, silent, probes)


@pytest.mark.slow
def test_it_forecasts_a_lesson_in_the_tiny_world(tmp_path: Path) -> None:
    """Planted truth: what the lesson moves in fact, of topics that it does not teach."""
    world = worlds.john_and_sam()
    options: dict[str, Any] = {"seed": 9003, "progress": False}
    run = models.train(
        "tiny",
        world.corpus(30_000, seed=9003),
        stage=models.DOCUMENTS,
        out=tmp_path / "base",
        **options,
    )
    lesson = world.lessons(seed=9003)
    tuned = models.train(run.last, lesson, stage=models.LESSON, out=tmp_path / "l", **options)
    asked = world.probes(contexts="nameless").query("split == 'test'")
    asked = asked[asked["topic"] != world.taught.topic]
    before = behavior(run.last, asked)
    actual = analysis.shift(pd.concat([before, behavior(tuned.last, asked)]))
    moved = virtual_step(run.last, lesson, asked).drop(columns=["strength", "match"])
    forecast = analysis.shift(pd.concat([before, moved]))
    assert np.corrcoef(actual["estimate"], forecast["estimate"])[0, 1] > 0.9
