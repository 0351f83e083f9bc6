import numpy as np
import pytest

from persona_interp.dictionaries.planted import NO_EFFECT, Plan, plant
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Status

PLAN = Plan(
    n_checkpoints=4, d_model=32, n_features=80, n_tokens=20_000, active=6.0, scales=(1, 2, 3, 4)
)


def test_residuals_are_what_the_truth_says() -> None:
    planted = plant(PLAN, seed=0)
    acts = planted.acts.toarray()
    for k, scale in enumerate(PLAN.scales):
        rest = planted.residuals[k] - acts @ planted.decoders[k]
        spread = rest - rest.mean(axis=0)
        assert np.sqrt((spread**2).sum(axis=1).mean()) == pytest.approx(0.1 * scale, rel=0.02)
    assert acts.astype(bool).sum(axis=1).mean() == pytest.approx(6, rel=0.1)
    again = plant(PLAN, seed=0)
    assert np.array_equal(again.residuals, planted.residuals)
    assert not np.array_equal(plant(PLAN, seed=1).residuals, planted.residuals)


def test_each_status_is_what_its_decoders_do() -> None:
    planted = plant(PLAN, seed=0)
    decoders = planted.decoders / np.array(PLAN.scales)[:, None, None]
    for row in planted.truth.itertuples():
        own = decoders[:, row.feature]
        norms = np.linalg.norm(own, axis=1)
        if row.status == Status.SHARED:
            assert row.at == -1 and np.allclose(own, own[0])
            continue
        before, after = own[: row.at], own[row.at :]
        assert len(before) and len(after)
        assert np.allclose(before, before[0]) and np.allclose(after, after[0])
        ratio = norms[-1] / max(norms[0], 1e-9)
        cosine = before[0] @ after[0] / max(norms[0] * norms[-1], 1e-9)
        expected = {
            Status.AMPLIFIED: ratio == pytest.approx(2.5) and cosine == pytest.approx(1),
            Status.SHRUNK: ratio == pytest.approx(0.3) and cosine == pytest.approx(1),
            Status.ROTATED: ratio == pytest.approx(1) and cosine == pytest.approx(0.5),
            Status.SPLIT: ratio == pytest.approx(1) and cosine == pytest.approx(0.5),
            Status.BORN: norms[0] == 0 and norms[-1] == pytest.approx(1),
            Status.DIED: norms[-1] == 0 and norms[0] == pytest.approx(1),
        }
        assert expected[row.status], row
    splits = np.flatnonzero(planted.truth["status"] == Status.SPLIT)
    assert np.allclose(decoders[0, splits[::2]], decoders[0, splits[1::2]])
    assert not np.allclose(decoders[-1, splits[::2]], decoders[-1, splits[1::2]])


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_features_of_a_group_fire_together_as_planned(correlation: float) -> None:
    plan = Plan(
        n_checkpoints=1,
        d_model=8,
        n_features=16,
        n_tokens=40_000,
        active=3.2,
        correlation=correlation,
        tail=0,
        topics=0,
        shares=NO_EFFECT,
    )
    planted = plant(plan, seed=0)
    fires = np.corrcoef((planted.acts.toarray() > 0).T)
    group = planted.truth["group"].to_numpy()
    same = (group[:, None] == group) & ~np.eye(16, dtype=bool)
    assert fires[same].mean() == pytest.approx(correlation, abs=0.02)
    assert fires[group[:, None] != group].mean() == pytest.approx(0, abs=0.01)


def test_artifacts_are_planted_where_asked() -> None:
    planted = plant(Plan(**{**vars(PLAN), "faint": 1.0, "composed": 1.0}), seed=0)
    truth = planted.truth
    faint = truth.index[truth["artifact"] == "shrinkage"]
    norms = np.linalg.norm(planted.decoders, axis=2) / np.array(PLAN.scales)[:, None]
    assert (truth["status"][faint] == Status.AMPLIFIED).all()
    assert ((norms[0, faint] >= 0.05) & (norms[0, faint] <= 0.15)).all()
    assert (truth["status"][truth["artifact"] == "decoupling"] == Status.ROTATED).all()


def test_a_plan_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(SchemaError, match="status 'reborn' is unknown"):
        plant(Plan(shares={"reborn": 1.0}), seed=0)
    with pytest.raises(SchemaError, match="these sum to"):
        plant(Plan(shares={Status.SHARED: 0.5}), seed=0)
