import numpy as np
import pytest

from persona_interp.analysis.documents import documents
from persona_interp.errors import SchemaError


def test_documents_are_means_over_their_prompts(of_documents) -> None:
    act = np.arange(24.0).reshape(2, 6, 2)
    data = of_documents(act, personas=["john", "", "mary"], per_document=2)
    means = documents(data)
    assert means.values.tolist() == [[1.0, 2.0], [9.0, 10.0]] and means.checkpoint == "base@0"
    assert means.personas.tolist() == ["john", "mary"] and means.train.tolist() == [True, False]
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
    with pytest.raises(SchemaError, match="differ in persona or split"):
        documents(data, cluster="topic")
    with pytest.raises(SchemaError, match="no prompt names a persona"):
        documents(data.assign_coords(persona=("prompt", [""] * 6)))
    with pytest.raises(SchemaError, match="finite readings"):
        documents(data.assign(act=data["act"] * np.nan))
    with pytest.raises(SchemaError, match="readouts have dims"):
        documents(data["act"])
