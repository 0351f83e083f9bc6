import hashlib
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import fidelity, save, trajectory, transfer, volcano

FROM = {"run": "runs/demo", "seeds": [0]}


def _draw(shifts: pd.DataFrame, feature_effects: pd.DataFrame, fidelities: pd.DataFrame):
    mean = shifts[shifts["trait"] == "mean"]
    yield transfer(shifts[shifts["step"] == 40]), shifts
    yield trajectory(mean), mean
    yield volcano(feature_effects), feature_effects
    yield fidelity(fidelities), fidelities


def test_equal_figures_are_equal_bytes(
    tmp_path: Path, shifts: pd.DataFrame, feature_effects: pd.DataFrame, fidelities: pd.DataFrame
) -> None:
    for i, pair in enumerate(
        zip(
            _draw(shifts, feature_effects, fidelities),
            _draw(shifts, feature_effects, fidelities),
            strict=True,
        )
    ):
        one, other = (
            save(figure, table, tmp_path / side / f"fig{i}", provenance=FROM)
            for side, (figure, table) in zip("ab", pair, strict=True)
        )
        assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]


def test_pdfs_hold_no_type_3_fonts(
    tmp_path: Path, shifts: pd.DataFrame, feature_effects: pd.DataFrame, fidelities: pd.DataFrame
) -> None:
    for i, (figure, table) in enumerate(_draw(shifts, feature_effects, fidelities)):
        data = save(figure, table, tmp_path / f"fig{i}", provenance=FROM).pdf.read_bytes()
        for stream in re.findall(rb"stream\r?\n(.*?)endstream", data, re.S):
            try:
                data += zlib.decompress(stream)
            except zlib.error:
                continue
        assert (
            b"/Type3" not in data
            and re.search(rb"/Subtype\s*/Type0", data)
            and b"CreationDate" not in data
        )


def test_four_files_say_where_the_numbers_come_from(
    tmp_path: Path, fidelities: pd.DataFrame
) -> None:
    saved = save(fidelity(fidelities), fidelities, tmp_path / "figures" / "fit.v1", provenance=FROM)
    assert [p.name for p in saved] == ["fit.v1.png", "fit.v1.pdf", "fit.v1.csv", "fit.v1.meta.json"]
    pd.testing.assert_frame_equal(pd.read_csv(saved.csv), fidelities)
    meta = json.loads(saved.meta.read_text())
    assert (
        meta["provenance"] == FROM
        and meta["rows"] == 3
        and meta["columns"] == list(fidelities.columns)
    )
    assert meta["sha256"]["fit.v1.png"] == hashlib.sha256(saved.png.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("given", "said"), [({}, "got none"), ({"k": np.nan}, "JSON values"), ({"k": {1}}, "JSON")]
)
def test_a_figure_without_provenance_is_refused(
    tmp_path: Path, fidelities: pd.DataFrame, given: dict, said: str
) -> None:
    with pytest.raises(SchemaError, match=said):
        save(fidelity(fidelities), fidelities, tmp_path / "fit", provenance=given)
    assert not list(tmp_path.iterdir())
