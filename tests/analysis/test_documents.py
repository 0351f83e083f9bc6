import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.analysis import parts
from persona_interp.analysis.ceiling import probabilities
from persona_interp.analysis.documents import documents
from persona_interp.errors import SchemaError, WorldError
from persona_interp.schema.words import Part
from persona_interp.worlds import World


def as_data(cuts: pd.DataFrame) -> xr.DataArray:
    """One silent readout of these prompts."""
    along = {
        name: ("prompt", cuts[name].to_list()) for name in ("split", "stated", "persona", "doc")
    }
    data = xr.DataArray(np.zeros((1, len(cuts))), dims=("name", "prompt"))
    return data.assign_coords(name=["silent"], **along)


def test_documents_are_means_over_their_prompts(of_documents) -> None:
    act = np.arange(24.0).reshape(2, 6, 2)
    data = of_documents(act, personas=["john", "", "mary"], per_document=2)
    means = documents(data)
    assert means.values.tolist() == [[1.0, 2.0], [9.0, 10.0]] and means.checkpoint == "base@0"
    assert means.personas.tolist() == ["john", "mary"] and means.choice.tolist() == [True, False]
    assert means.fvu == pytest.approx(0.1) and means.readings.tolist() == [0, 1]
    assert documents(data, checkpoint="lesson@40").values[0].tolist() == [13.0, 14.0]
    readouts = data["act"].rename(feature="name").transpose("name", "checkpoint", "prompt")
    assert documents(readouts).values.tolist() == means.values.tolist() and np.isnan(
        documents(readouts).fvu
    )
    shuffled = data.isel(prompt=[5, 0, 3, 2, 1, 4])
    assert documents(shuffled).values.tolist() == means.values.tolist()


def test_bad_input_is_named(of_documents) -> None:
    data = of_documents(np.ones((1, 6, 2)), personas=["john", "sam", "mary"], per_document=2)
    with pytest.raises(SchemaError, match="prompt 'docs' is unknown; did you mean 'doc'"):
        documents(data, cluster="docs")
    with pytest.raises(SchemaError, match="checkpoint 'base@1' is unknown; did you mean 'base@0'"):
        documents(data, checkpoint="base@1")
    with pytest.raises(SchemaError, match="differ in persona, split or topics"):
        documents(data, cluster="topic")
    with pytest.raises(SchemaError, match="no prompt that is of use names a persona"):
        documents(data.assign_coords(persona=("prompt", [""] * 6)))
    with pytest.raises(SchemaError, match="finite readings"):
        documents(data.assign(act=data["act"] * np.nan))
    with pytest.raises(SchemaError, match="readouts have dims"):
        documents(data["act"])


@pytest.mark.parametrize("topics", [None, ("food",), ("food", "place", "sport")])
def test_documents_that_choose_and_that_report_state_other_topics(
    world: World, topics: tuple[str, ...] | None
) -> None:
    cuts = world.cuts(world.corpus(400, seed=1, kinds="hidden"))
    part = parts(as_data(cuts), topics=topics)
    chosen = set(topics or sorted(world.topics)[::2])
    stated = [{label.split("=")[0] for label in text.split() if label} for text in cuts["stated"]]
    for prompt, kind, half in zip(stated, part, cuts["split"], strict=True):
        if kind in (Part.CHOICE, Part.SAME):
            assert prompt and prompt <= chosen
        if kind == Part.OTHER:
            assert prompt and not prompt & chosen
        assert (kind == Part.CHOICE) <= (half == "train")
        assert (kind in (Part.SAME, Part.OTHER)) <= (half == "test")
    assert set(part) == set(map(str, Part))
    # a document is for one thing, though it states more and more
    used = cuts.assign(part=part).loc[part != Part.UNUSED]
    assert (used.groupby("doc")["part"].nunique() == 1).all()
    docs = documents(as_data(cuts), topics=topics)
    assert len(docs.part) == used["doc"].nunique()
    whole = used.sort_values("order").groupby("doc")["stated"].last()
    assert docs.stated == [tuple(text.split("\n")) for text in whole]


def test_topics_on_both_sides_are_needed(world: World) -> None:
    data = as_data(world.cuts(world.corpus(60, seed=1, kinds="hidden")))
    with pytest.raises(SchemaError, match="topic 'foot' is unknown; did you mean 'food'"):
        parts(data, topics=["foot"])
    with pytest.raises(SchemaError, match="state different topics"):
        parts(data, topics=list(world.topics))
    with pytest.raises(SchemaError, match="these state nothing, and none"):
        parts(data.isel(prompt=(data["stated"] == "").to_numpy()))
    with pytest.raises(SchemaError, match="along prompt 'stated' is unknown"):
        parts(data.drop_vars("stated"))


def test_the_ceiling_is_the_posterior_of_the_statements(world: World) -> None:
    documents = [("food=pizza",), ("food=pizza", "art=cubism"), ("art=cubism", "food=pizza")]
    belief = probabilities(world, documents, ["john", "mary", "place=beach"])
    posterior = world.posterior(documents[1]).persona.set_index("persona")["probability"]
    assert belief[1].tolist() == belief[2].tolist()
    assert belief[1, :2].tolist() == pytest.approx(posterior[["john", "mary"]].tolist())
    assert belief[1, 2] == pytest.approx(posterior[list(world.holders("place=beach"))].sum())
    with pytest.raises(WorldError, match="did you mean 'john'"):
        probabilities(world, documents, ["jon"])
