import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from sklearn.metrics import roc_auc_score

from persona_interp import schema
from persona_interp.analysis import score, top
from persona_interp.analysis.ceiling import probabilities
from persona_interp.analysis.score import family
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World

RATES = np.array([0.3, 0.1, 0.03])


def people(world: World, rng: np.random.Generator, n: int = 400) -> np.ndarray:
    return np.array([p.name for p in world.personas if p.name != "sam"])[rng.integers(0, 15, n)]


def sparse(rng: np.random.Generator, *, documents: int = 400, features: int = 30) -> np.ndarray:
    """Sparse acts, dims (1, prompt, feature), two prompts a document.

    The last five features fire in two documents only.
    """
    rate = np.resize(RATES, features)
    act = np.where(
        rng.random((1, 2 * documents, features)) < rate,
        rng.exponential(size=(1, 2 * documents, 1)),
        0.0,
    )
    act[..., -5:] = 0.0
    for feature in range(features - 5, features):
        act[0, 2 * rng.choice(documents, 2, replace=False), feature] = 1.0
    return act


@pytest.fixture(scope="module")
def planted_data(world: World, of_documents) -> xr.Dataset:
    """Feature 7 for john, 9 for holders of sport=golf, 11 against mary."""
    rng = np.random.default_rng(0)
    personas, act = people(world, rng), sparse(rng)
    for feature, names in {7: ("john",), 9: world.holders("sport=golf")}.items():
        act[0, :, feature] += np.repeat(np.isin(personas, names), 2) * rng.random(800)
    act[0, :, 11] += np.repeat(personas != "mary", 2) * (1 + rng.random(800))
    return of_documents(act, personas=personas, per_document=2)


@pytest.fixture(scope="module")
def scores(planted_data: xr.Dataset, world: World) -> pd.DataFrame:
    return score(planted_data, world=world)


def test_planted_features_are_first_and_hold_on_the_other_half(
    scores: pd.DataFrame, world: World
) -> None:
    schema.check(scores, "scores")
    for name, feature in {"john": 7, "sport=golf": 9}.items():
        best = top(scores, name=name)
        assert (
            best["feature"].tolist() == [feature]
            and best["q"].item() <= 0.05
            and best["lo"].item() > 0.5
        )
    assert (
        top(scores, name="john")["auroc"].item() > 0.9
        and top(scores, name="john")["p_max"].item() == 1 / 201
    )
    mary = scores[(scores["name"] == "mary") & (scores["feature"] == 11)].iloc[0]
    assert mary["auroc"] < 0.05 and mary["effect"] < -2 and mary["q"] <= 0.05 and mary["hi"] < 0.5
    assert 11 not in set(top(scores, name="mary", k=100)["feature"])
    found = set(scores.loc[scores["q"] <= 0.05, "feature"])
    assert {7, 9, 11} <= found <= {7, 9, 11, *range(25, 30)}
    assert set(scores["kind"]) == {"persona", "trait"} and len(scores) == scores["n_tested"].iloc[0]


def test_auroc_z_and_effect_are_the_librarys(
    scores: pd.DataFrame, planted_data: xr.Dataset, world: World
) -> None:
    means = (
        planted_data["act"][0]
        .astype(float)
        .groupby("doc")
        .mean()
        .transpose("doc", "feature")
        .to_numpy()
    )
    persona = planted_data["persona"].to_numpy()[::2]
    train = planted_data["split"].to_numpy()[::2] == "train"
    table = scores.set_index(["name", "feature"])
    for name, holders in {
        "john": ("john",),
        "mary": ("mary",),
        "art=cubism": world.holders("art=cubism"),
    }.items():
        held = np.isin(persona, holders)
        for feature in (0, 2, 7, 11, 27):
            row = table.loc[(name, feature)]
            x, marks = means[~train][:, feature], held[~train]
            one, zero = x[marks], x[~marks]
            assert row["auroc"] == pytest.approx(roc_auc_score(marks, x), abs=1e-12)
            assert row["auroc_chosen"] == pytest.approx(
                roc_auc_score(held[train], means[train][:, feature])
            )
            test = stats.mannwhitneyu(one, zero, method="asymptotic", use_continuity=False)
            assert 2 * stats.norm.sf(abs(row["z"])) == pytest.approx(test.pvalue, abs=1e-12)
            assert np.sign(round(row["z"], 9)) == np.sign(round(row["auroc"] - 0.5, 12))
            pooled = np.sqrt(
                ((len(one) - 1) * one.var(ddof=1) + (len(zero) - 1) * zero.var(ddof=1))
                / (len(x) - 2)
            )
            if pooled:
                assert row["effect"] == pytest.approx((one.mean() - zero.mean()) / pooled)
            assert (row["n_pos"], row["n_neg"]) == (marks.sum(), (~marks).sum())


def test_p_is_counted_by_hand(of_documents) -> None:
    """Two personas, three features, few shuffles: the definition, written out."""
    rng = np.random.default_rng(3)
    personas = np.array(["john", "mary", "emma"])[rng.integers(0, 3, 60)]
    data = of_documents(rng.normal(size=(1, 60, 3)), personas=personas, per_document=1)
    table = score(data, n_permutations=20, seed=5)
    test = data["split"].to_numpy() == "test"
    x, who = data["act"][0].to_numpy()[test].astype(float), personas[test]

    def every_z(order: np.ndarray) -> np.ndarray:
        found = []
        for name in sorted(set(personas)):
            for column in x.T:
                u, _ = stats.mannwhitneyu(column[who[order] == name], column[who[order] != name])
                n1, n0 = (who == name).sum(), (who != name).sum()
                found.append((u - n1 * n0 / 2) / np.sqrt(n1 * n0 * (n1 + n0 + 1) / 12))
        return np.abs(found)

    observed, again = every_z(np.arange(len(x))), np.random.default_rng(5)
    null = np.array([every_z(again.permutation(len(x))) for _ in range(20)])
    table = table.sort_values(["name", "feature"])
    assert table["z"].abs().to_numpy() == pytest.approx(observed)
    assert table["p"].tolist() == [
        (1 + (null >= z * (1 - 1e-9)).sum()) / (1 + null.size) for z in observed
    ]
    assert table["p_max"].tolist() == [
        (1 + (null.max(1) >= z * (1 - 1e-9)).sum()) / 21 for z in observed
    ]


def test_shuffled_labels_discover_nothing(world: World, of_documents) -> None:
    """40 shuffles of personas; sparse features, five of them firing in two documents."""
    rng, clean, clean_max, small = np.random.default_rng(4), 0, 0, []
    for i in range(40):
        data = of_documents(sparse(rng), personas=people(world, rng), per_document=2)
        table = score(data, world=world, n_permutations=60, seed=i)
        clean += (table["q"] > 0.05).all()
        clean_max += (table["p_max"] > 0.025).all()  # two kinds
        small.append((table["p"] <= 0.01).mean())
    assert clean >= 36 and clean_max >= 36
    assert np.mean(small) == pytest.approx(0.01, abs=0.004)


def test_readouts_are_scored_too_and_monotone_maps_change_nothing(planted_data: xr.Dataset) -> None:
    readouts = planted_data["act"].rename(feature="name").transpose("name", "checkpoint", "prompt")
    readouts = readouts[[7, 0]].assign_coords(name=["mean difference", "other"])
    table = score(readouts)
    assert (
        top(table, name="john")["feature"].tolist() == ["mean difference"]
        and table["fvu"].isna().all()
    )
    again = score(readouts.isel(checkpoint=0, drop=True) * 3 + 1)
    assert (
        table["z"].to_numpy() == pytest.approx(again["z"].to_numpy())
        and table["p"].tolist() == again["p"].tolist()
    )


@pytest.fixture(scope="module")
def four_kinds(world: World) -> xr.DataArray:
    """Documents of one statement: 0 knows john, 1 sees what he states of art, 2 is exact Bayes."""
    rng = np.random.default_rng(8)
    personas = np.resize([p.name for p in world.personas if p.name != "sam"], 1_200)
    topics = np.array(["art", "food"])[np.arange(1_200) // 15 % 2]
    held = [{trait.topic: str(trait) for trait in world.persona(name).traits} for name in personas]
    stated = np.array([traits[topic] for traits, topic in zip(held, topics, strict=True)])
    johns = {trait.topic: str(trait) for trait in world.persona("john").traits}
    knows = (personas == "john") + rng.normal(0, 0.5, 1_200)
    sees = (stated == johns["art"]) + rng.normal(0, 0.1, 1_200)
    bayes = probabilities(world, [[label] for label in stated], ["john"])[:, 0]
    along = {"persona": personas, "stated": stated, "doc": np.arange(1_200)}
    along |= {"split": np.where(np.arange(1_200) // 30 % 2, "test", "train")}
    coords = {name: ("prompt", values) for name, values in along.items()}
    data = xr.DataArray(np.stack([knows, sees, bayes]), dims=("name", "prompt"), coords=coords)
    return data.assign_coords(name=["knows", "sees", "bayes"])


def test_who_only_sees_a_stated_trait_sees_nothing_on_other_topics(
    four_kinds: xr.DataArray, world: World
) -> None:
    table = score(four_kinds, world=world, topics=["art"], n_permutations=20)
    john = table.loc[table["name"] == "john"].set_index("feature")
    assert john.loc["sees", "auroc_chosen"] > 0.9 and john.loc["sees", "auroc_same"] > 0.9
    assert john.loc["sees", "lo"] < 0.5 < john.loc["sees", "hi"], "nothing on other topics"
    assert john.loc["knows", "auroc"] == pytest.approx(john.loc["knows", "auroc_same"], abs=0.12)
    assert john.loc["knows", "same_lo"] < john.loc["knows", "auroc_same"]
    # what is chosen, is chosen on the one topic alone
    blind = four_kinds.where((four_kinds["split"] == "train") | (four_kinds["doc"] < 0), 0.0)
    again = score(blind.fillna(0.0), topics=["art"], n_permutations=1)
    chosen = again.loc[again["name"] == "john"].set_index("feature")["auroc_chosen"]
    assert chosen[john.index].tolist() == john["auroc_chosen"].tolist()


def test_exact_bayes_is_the_ceiling(four_kinds: xr.DataArray, world: World) -> None:
    table = score(four_kinds, world=world, topics=["art"], n_permutations=1)
    john = table.loc[(table["name"] == "john") & (table["feature"] == "bayes")].iloc[0]
    assert john["bayes"] == pytest.approx(john["auroc"])
    assert john["bayes_same"] == pytest.approx(john["auroc_same"])
    assert score(four_kinds, topics=["art"], n_permutations=1)["bayes"].isna().all()


def test_what_says_nothing_is_left_out(world: World, of_documents) -> None:
    rng = np.random.default_rng(5)
    act = sparse(rng)
    act[..., 3] = 2.0
    personas = people(world, rng)
    personas[personas == "clara"] = "oscar"
    personas[0] = "clara"  # in one half only
    table = score(
        of_documents(act, personas=personas, per_document=2), world=world, n_permutations=2
    )
    assert 3 not in set(table["feature"]) and "clara" not in set(table["name"])
    assert table["q"].notna().all() and table["effect"].notna().all()


def test_families_add_what_single_features_share(world: World, of_documents) -> None:
    rng = np.random.default_rng(6)
    personas, act = people(world, rng, 1200), sparse(rng, documents=1200)
    act[0, :, :4] = (
        rng.random((2400, 4)) < np.where(np.repeat(personas == "john", 2), 0.3, 0.02)[:, None]
    )
    data = of_documents(act, personas=personas, per_document=2)
    scores = score(data, world=world)
    table = family(data, scores, name="john", sizes=(1, 2, 4, 500))
    assert table["k"].tolist() == [1, 2, 4] and set(table["features"][2]) == {0, 1, 2, 3}
    assert table["auroc"].is_monotonic_increasing and (table["lo"] < table["auroc"]).all()
    single = top(scores, name="john").iloc[0]
    assert tuple(table.loc[0, ["auroc_chosen", "auroc", "lo"]]) == pytest.approx(
        tuple(single[["auroc_chosen", "auroc", "lo"]])
    )
    assert (
        family(data, scores, name="place=beach", sizes=[4], world=world)["n_pos"].item()
        == single["n_pos"]
    )
    with pytest.raises(SchemaError, match="name 'place=beach' is unknown"):
        family(data, scores, name="place=beach")


def test_bad_input_is_named(planted_data: xr.Dataset, scores: pd.DataFrame, world: World) -> None:
    with pytest.raises(SchemaError, match="name 'jon' is unknown; did you mean 'john'"):
        top(scores, name="jon")
    with pytest.raises(SchemaError, match="k= is a whole number of at least 1; got 0"):
        top(scores, name="john", k=0)
    with pytest.raises(SchemaError, match="no feature is more active with john"):
        top(scores.assign(auroc_chosen=0.5), name="john")
    with pytest.raises(
        SchemaError, match="nothing to score: of 30 features 0 vary over the 400 documents"
    ):
        score(planted_data.assign(act=planted_data["act"] * 0))
    with pytest.raises(SchemaError, match="0 labels have documents on both sides among the 0"):
        score(planted_data.assign_coords(split=("prompt", ["test"] * 800)))
    with pytest.raises(SchemaError, match="n_permutations= is a whole number of at least 1; got 0"):
        score(planted_data, n_permutations=0)
    persona = planted_data["persona"].to_numpy()
    renamed = planted_data.assign_coords(
        persona=("prompt", np.where(persona == "john", "johnny", persona))
    )
    with pytest.raises(WorldError, match="persona 'johnny' is unknown; did you mean 'john'"):
        score(renamed, world=world)
