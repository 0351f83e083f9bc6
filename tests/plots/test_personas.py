import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import personas


def readings() -> pd.DataFrame:
    """Two quantities of two personas; a control of the first and a band of the second."""
    rows = [
        ("cosine", "lesson", "john", 0.75),
        ("cosine", "lesson", "mary", -0.25),
        ("cosine", "unrelated", "john", -0.5),
        ("AUROC", "feature", "mary", 0.875),
        ("AUROC", "random", "random", 0.5),
    ]
    table = pd.DataFrame(rows, columns=["quantity", "series", "name", "estimate"])
    return table.assign(lo=table["estimate"] - 0.125, hi=table["estimate"] + 0.125)


def test_personas_are_rows_of_every_quantity() -> None:
    figure = personas(
        readings(), target="mary", controls=["unrelated"], zeros={"AUROC": 0.5}, title="Who?"
    )
    moved, read = figure.axes
    assert [t.get_text() for t in moved.get_yticklabels()] == ["john", "mary"]
    assert [t.get_fontweight() for t in moved.get_yticklabels()] == ["normal", "bold"]
    lesson, control = (np.asarray(moved.collections[i].get_offsets()) for i in (1, 3))
    assert lesson == pytest.approx(np.array([[0.75, -0.22], [-0.25, 0.78]]))
    assert control == pytest.approx(np.array([[-0.5, 0.22]]))
    assert moved.collections[0].get_segments()[0][:, 0] == pytest.approx([0.625, 0.875])
    assert np.asarray(read.collections[1].get_offsets()) == pytest.approx(np.array([[0.875, 1]])), (
        "mary's row"
    )
    assert [moved.lines[0].get_xdata()[0], read.lines[0].get_xdata()[0]] == [0, 0.5]
    assert figure.get_suptitle() == "Who?"


def test_controls_are_hollow_and_random_is_a_band() -> None:
    moved, read = personas(readings(), controls=["unrelated"]).axes
    assert moved.collections[3].get_facecolor().tolist() == [[1, 1, 1, 1]]
    assert not moved.patches and read.patches[0].get_x() == pytest.approx(0.375)
    assert read.patches[0].get_width() == pytest.approx(0.25)


def test_the_caption_says_over_what() -> None:
    assert (
        personas(readings())
        .get_supxlabel()
        .endswith("no interval over seeds. Gray: 95 % of random directions.")
    )
    several = readings().assign(n_seeds=[3, 3, 3, 4, 3]).query("name != 'random'")
    assert (
        personas(several).get_supxlabel().replace("\n", " ")
        == "95 % t intervals over 3 to 4 seeds."
    )


def test_wrong_tables_and_names_are_refused() -> None:
    table = readings()
    with pytest.raises(SchemaError, match="column 'lo' is unknown"):
        personas(table.drop(columns="lo"))
    with pytest.raises(SchemaError, match="one name of one series"):
        personas(pd.concat([table, table]))
    with pytest.raises(SchemaError, match="name 'jon' is unknown; did you mean 'john'"):
        personas(table, target="jon")
    with pytest.raises(SchemaError, match="series 'unrelate'"):
        personas(table, controls=["unrelate"])
    with pytest.raises(SchemaError, match="quantity 'AUC'"):
        personas(table, zeros={"AUC": 0.5})
