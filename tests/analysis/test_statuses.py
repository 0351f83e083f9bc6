"""Statuses from sums that are computed here, of a dictionary that is known to be right or wrong."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr

from persona_interp.analysis import latent_scaling, reconstruction, statuses
from persona_interp.errors import SchemaError
from persona_interp.schema import TABLES, check
from persona_interp.schema.words import Status
from persona_interp.tables import read_table, write_table

K, D, N, PARTS = 4, 24, 6_000, 20
Array = npt.NDArray[np.float64]


def planted() -> tuple[Array, Array]:
    """Decoders (checkpoint, feature, d_model) of twelve features, and activations."""
    rng = np.random.default_rng(0)
    unit = np.linalg.qr(rng.standard_normal((D, D)))[0][:13]
    decoder = np.repeat(unit[None, :12], K, axis=0)
    decoder[:2, 1] *= 0.4  # amplified at 2
    decoder[1:, 2] *= 0.3  # shrunk at 1
    decoder[3:, 3] = (unit[3] + unit[12]) / np.sqrt(2)  # rotated by 45 degrees at 3
    decoder[:3, 4] = 0  # born at 3
    decoder[2:, 5] = 0  # died at 2
    decoder[:1, 6] *= 0.07  # woken at 1: a hundredth of the variance was there
    decoder[1:, 8] = (unit[7] + 2 * unit[8]) / np.sqrt(5)  # 7 and 8 were one direction before 1
    decoder[:1, 8] = unit[7]
    acts = (rng.random((N, 12)) < 0.15) * rng.lognormal(0, 0.3, (N, 12))
    return decoder, acts


def sums(
    decoder: Array, acts: Array, *, truth: Array | None = None, noise: float = 0.02, seed: int = 1
) -> xr.Dataset:
    """What ``dictionaries.scaling`` would give, where residuals are made by ``truth``."""
    rng = np.random.default_rng(seed)
    residuals = np.einsum("nj,kjd->knd", acts, decoder if truth is None else truth)
    residuals += noise * rng.standard_normal(residuals.shape)
    rebuilt = np.einsum("nj,kjd->knd", acts, decoder)
    centered = residuals - residuals.mean(axis=1, keepdims=True)
    part = np.arange(len(acts)) // 10 % PARTS
    one = np.eye(PARTS)[part]
    is_on = (acts > 0).astype(float)
    left = np.einsum("np,nj,knd->pkjd", one, acts, residuals - rebuilt)
    squares = one.T @ acts**2
    left += squares[:, None, :, None] * decoder
    return xr.Dataset(
        {
            "decoder": (("checkpoint", "feature", "d_model"), decoder),
            "tokens": (("part",), one.sum(axis=0)),
            "error": (("part", "checkpoint"), one.T @ ((residuals - rebuilt) ** 2).sum(2).T),
            "total": (("part", "checkpoint"), one.T @ (centered**2).sum(2).T),
            "fires": (("part", "feature"), one.T @ is_on),
            "squares": (("part", "feature"), squares),
            "acts": (("part", "feature"), one.T @ acts),
            "gaps": (
                ("part", "checkpoint", "d_model"),
                np.einsum("np,knd->pkd", one, residuals - rebuilt),
            ),
            "left": (("part", "checkpoint", "feature", "d_model"), left),
            "rebuilt": (
                ("part", "checkpoint", "feature", "d_model"),
                np.einsum("np,nj,knd->pkjd", one, acts, rebuilt),
            ),
            "unexplained": (
                ("part", "feature"),
                np.einsum("np,nj,n->pj", one, is_on, ((residuals - rebuilt) ** 2).sum((0, 2))),
            ),
            "together": (("feature", "other"), is_on.T @ is_on),
            "products": (("feature", "other"), acts.T @ acts),
        },
        coords={"checkpoint": ["base", "a", "b", "tuned"], "feature": range(decoder.shape[1])},
    )


TRUTH = [
    (Status.SHARED, None),
    (Status.AMPLIFIED, 2),
    (Status.SHRUNK, 1),
    (Status.ROTATED, 3),
    (Status.BORN, 3),
    (Status.DIED, 2),
    (Status.AMPLIFIED, 1),
    (Status.SHARED, None),
    (Status.ROTATED, 1),
    *[(Status.SHARED, None)] * 3,
]


def test_every_status_and_its_checkpoint_are_read() -> None:
    decoder, acts = planted()
    table = statuses(sums(decoder, acts))
    assert table["status"].tolist() == [status for status, _ in TRUTH]
    changes = table["at"].astype(object).where(table["at"].notna(), None).tolist()
    assert changes == [at for _, at in TRUTH]
    assert (table["at_lo"].dropna() == table["at"].dropna()).all()
    assert (table["at_hi"].dropna() == table["at"].dropna()).all()
    assert table.loc[4, "checkpoint"] == "tuned"
    assert table.loc[3, "turn"] == pytest.approx(45, abs=0.5)
    assert table.loc[2, "ratio_lo"] < 0.3 < table.loc[2, "ratio_hi"]
    assert table.loc[0, "norms"] == pytest.approx((1, 1, 1, 1), abs=0.01)


def test_two_that_had_one_direction_have_split() -> None:
    decoder, acts = planted()
    decoder[1:, 7] = decoder[1:, 3][::-1] * 0.8 + 0.6 * decoder[1:, 11]
    decoder[:1, 7] = decoder[:1, 8]
    decoder[1:, 8] = decoder[0, 9] * 0.8 + 0.6 * decoder[0, 8]
    table = statuses(sums(decoder, acts))
    assert table.loc[[7, 8], "status"].tolist() == [Status.SPLIT] * 2
    assert table.loc[[7, 8], "at"].tolist() == [1, 1]


def test_a_decoder_that_was_shrunk_to_nothing_makes_no_birth() -> None:
    """The residuals still hold the feature; its decoder was set to 0 (complete shrinkage)."""
    decoder, acts = planted()
    acts[:, 0] *= 0.5  # so faint that the dictionary fits without it
    wrong = decoder.copy()
    wrong[:2, 0] = 0
    table = statuses(sums(wrong, acts, truth=decoder))
    assert table.loc[0, "status"] == Status.SHARED
    assert table.loc[0, "beta_error"] == pytest.approx(1, abs=0.02)


def test_a_feature_under_two_names_is_not_born() -> None:
    """One feature is written as one that dies and one that is born, on the same tokens.

    The residuals hold half of it under each name, at every checkpoint.
    """
    decoder, acts = planted()
    before, after = decoder[:, :1].copy(), decoder[:, :1].copy()
    before[2:], after[:2] = 0, 0
    wrong = np.concatenate([before, after, decoder[:, 1:]], axis=1)
    twice = np.concatenate([acts[:, :1], acts], axis=1)
    residuals = np.einsum("nj,kjd->knd", acts, decoder)
    rebuilt = np.einsum("nj,kjd->knd", twice, wrong)
    assert np.allclose(residuals, rebuilt)
    table = statuses(sums(wrong, twice))
    assert table.loc[[0, 1], "status"].tolist() == [Status.SHARED] * 2
    assert table.loc[[0, 1], "beside"].tolist() == [1, 0]
    assert (table.loc[[0, 1], "beta_reconstruction"] > 0.9).all()


def test_copies_of_one_checkpoint_are_shared_exactly() -> None:
    """A dictionary that writes the copies a little differently changes nothing."""
    decoder, acts = planted()
    truth = np.repeat(decoder[:1], K, axis=0)
    truth[:, 4] = truth[:, 9]
    rng = np.random.default_rng(3)
    wrong = truth + 0.01 * rng.standard_normal(truth.shape)
    scaling = sums(wrong, acts, truth=truth, noise=0.0)
    table = statuses(scaling)
    assert set(table["status"]) == {Status.SHARED}
    assert table["at"].isna().all()


def test_copies_of_one_checkpoint_are_shared_however_their_decoders_differ() -> None:
    """Training leaves other decoders in each copy; what the residuals hold is the same."""
    decoder, acts = planted()
    truth = np.repeat(decoder[-1:], K, axis=0)
    rng = np.random.default_rng(3)
    spread = rng.standard_normal(truth.shape) / np.sqrt(truth.shape[2])
    table = statuses(sums(truth + 0.2 * spread, acts, truth=truth))
    alive = np.linalg.norm(truth[0], axis=1) > 0
    assert 0.01 < max(table.loc[0, "fvus"]) < 0.1
    assert set(table.loc[alive, "status"]) == {Status.SHARED}
    assert table.loc[alive, "turn"].max() < 1


def test_no_effect_claims_nothing_and_what_never_fires_is_named() -> None:
    decoder, acts = planted()
    decoder = np.repeat(decoder[-1:], K, axis=0)
    acts[:, 5] = 0
    table = statuses(sums(decoder, acts, noise=0.3))
    assert table.loc[5, "status"] == Status.DEAD
    others = table.drop(index=5)
    assert set(others["status"]) <= {Status.SHARED, Status.UNDECIDED}
    assert (others["q"] > 0.05).all() and (table["n_tested"] == 11).all()


def test_a_change_in_steps_has_a_wide_interval() -> None:
    decoder, acts = planted()
    for k, share in enumerate((0.2, 0.45, 0.75, 1.0)):
        decoder[k, 0] = decoder[-1, 0] * share
    table = statuses(sums(decoder, acts))
    assert table.loc[0, "status"] == Status.AMPLIFIED
    assert (table.loc[0, "at_lo"], table.loc[0, "at_hi"]) == (1, 3)


def test_what_comes_and_goes_is_undecided() -> None:
    decoder, acts = planted()
    decoder[0, 0], decoder[3, 0] = 0, 0
    assert statuses(sums(decoder, acts)).loc[0, "status"] == Status.UNDECIDED


def test_betas_are_those_of_the_published_formula() -> None:
    """Written out for one feature, one checkpoint at a time."""
    decoder, acts = planted()
    rng = np.random.default_rng(5)
    truth = decoder + 0.05 * rng.standard_normal(decoder.shape)
    table = latent_scaling(sums(decoder, acts, truth=truth, noise=0.0))
    residuals = np.einsum("nj,kjd->knd", acts, truth)
    rebuilt = np.einsum("nj,kjd->knd", acts, decoder)
    for feature in (1, 4):
        f = acts[:, feature]
        d = decoder[3, feature]
        for k, label in enumerate(("base", "a", "b", "tuned")):
            error = residuals[k] - rebuilt[k] + np.outer(f, decoder[k, feature])
            row = table[(table["feature"] == feature) & (table["checkpoint"] == label)].iloc[0]
            for name, y in (("error", error), ("reconstruction", rebuilt[k])):
                beta = d @ (f @ y) / (d @ d * (f @ f))
                assert row[f"beta_{name}"] == pytest.approx(beta, abs=1e-4)
                assert row[f"{name}_lo"] - 1e-9 <= beta <= row[f"{name}_hi"] + 1e-9


def test_only_a_scaling_dataset_is_taken() -> None:
    with pytest.raises(SchemaError, match="scaling come as an xarray Dataset"):
        statuses(pd.DataFrame())


def spoiled(scaling: xr.Dataset, *checkpoints: int) -> xr.Dataset:
    """The same sums, of a crosscoder that leaves most of these checkpoints unexplained."""
    error = scaling["error"].copy()
    error[:, list(checkpoints)] = 0.62 * scaling["total"][:, list(checkpoints)]
    return scaling.assign(error=error)


def test_what_may_have_happened_where_nothing_is_rebuilt_is_undecided() -> None:
    scaling = sums(*planted())
    whole = statuses(scaling)
    table = statuses(spoiled(scaling, 2))
    # at the third checkpoint nobody knows: what was shared, changed there, or just after it
    stands = (whole["at"] == 1).fillna(False).to_numpy(bool)
    assert stands.sum() >= 2
    for column in ("status", "at", "checkpoint"):
        assert table.loc[stands, column].tolist() == whole.loc[stands, column].tolist()
    assert set(table.loc[~stands, "status"]) == {Status.UNDECIDED}
    assert table.loc[~stands, "at"].isna().all()
    assert set(table.loc[stands, "why"]) == {""}
    assert set(table.loc[~stands, "why"]) == {"the crosscoder is unusable at b (FVU 0.62)"}
    assert np.isnan([norms[2] for norms in table["norms"]]).all()
    assert table.loc[0, "fvus"] == pytest.approx((0, 0, 0.62, 0), abs=0.01)


def test_the_last_checkpoint_may_be_lost_and_changes_before_it_stand() -> None:
    table = statuses(spoiled(sums(*planted()), 3))
    assert table.loc[[1, 2, 5], "status"].tolist() == ["amplified", "shrunk", "died"]
    assert set(table.loc[[0, 3, 4], "status"]) == {Status.UNDECIDED}


def test_of_one_good_checkpoint_nothing_is_said() -> None:
    table = statuses(spoiled(sums(*planted()), 0, 1, 3))
    assert set(table["status"]) == {Status.UNDECIDED}
    assert table["at"].isna().all()


def test_a_doubtful_checkpoint_decides_nothing_either() -> None:
    scaling = sums(*planted())
    error = scaling["error"].copy()
    error[:, 1] = 0.3 * scaling["total"][:, 1]
    table = statuses(scaling.assign(error=error))
    # the change at 2 may have been at 1 already
    assert table.loc[1, "status"] == Status.UNDECIDED
    assert table.loc[1, "why"] == "the crosscoder is doubtful at a (FVU 0.30)"
    assert table.loc[3, "status"] == Status.ROTATED and table.loc[3, "why"] == ""
    fits = reconstruction(scaling.assign(error=error))
    assert fits["verdict"].tolist() == ["fits", "doubtful", "fits", "fits"]
    assert fits["fvu"].between(fits["lo"], fits["hi"]).all()


def test_a_table_of_statuses_is_one_of_the_schema(tmp_path: Path) -> None:
    table = statuses(sums(*planted()))
    assert list(table.columns) == list(TABLES["statuses"])
    again = read_table(write_table(table, tmp_path / "statuses.parquet"))
    pd.testing.assert_frame_equal(check(again, "statuses"), table)
    why = table.set_index("feature").loc[table["status"].eq(Status.UNDECIDED).to_numpy(), "why"]
    assert (why != "").all()
