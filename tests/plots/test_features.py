import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import feature_page


def test_the_histogram_counts_where_it_fires(activations: pd.DataFrame) -> None:
    figure = feature_page(activations, feature=7, bins=4, title="Feature 7")
    before, after = (patch.get_data() for patch in figure.axes[0].patches)
    assert (
        before.values.sum() == 4
        and after.values.sum() == 8
        and np.array_equal(before.edges, after.edges)
    )
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "base: on 50 % of 8 tokens", "tuned: on 100 % of 8 tokens",
    ]  # fmt: skip
    first, second = (patch.get_linestyle() for patch in figure.axes[0].patches)
    assert first != second, "told apart in gray too"


def test_few_tokens_are_counted_on_a_linear_axis(activations: pd.DataFrame) -> None:
    assert feature_page(activations, feature=7).axes[0].get_yscale() == "linear"
    often = pd.concat([activations.assign(prompt=f"p{i}") for i in range(30)])
    assert feature_page(often, feature=7).axes[0].get_yscale() == "symlog"


def test_checkpoints_come_in_the_order_asked_for(activations: pd.DataFrame) -> None:
    texts = feature_page(activations, feature=7, checkpoints=("tuned",)).legends[0].get_texts()
    assert [t.get_text() for t in texts] == ["tuned: on 100 % of 8 tokens"]


def test_nearest_features_are_the_largest_cosines_of_either_sign(activations: pd.DataFrame) -> None:
    nearest = pd.DataFrame({"feature": range(20), "cosine": np.linspace(-0.9, 0.5, 20)})
    axes = feature_page(activations, feature=7, nearest=nearest).axes[1]
    assert len(axes.patches) == 8 and axes.get_yticklabels()[0].get_text() == "0"
    assert axes.patches[0].get_width() == pytest.approx(-0.9)
    with pytest.raises(SchemaError, match="column 'cosine' is unknown"):
        feature_page(activations, feature=7, nearest=nearest.drop(columns="cosine"))


@pytest.mark.parametrize("change", [{"act": 0.0}, {"counted": False}])
def test_a_silent_feature_is_drawn(activations: pd.DataFrame, change: dict) -> None:
    text = (
        feature_page(activations.assign(**change), feature=7).legends[0].get_texts()[0].get_text()
    )
    assert text == ("base: no counted token" if "counted" in change else "base: on 0 % of 8 tokens")


def test_what_is_not_there_is_refused(activations: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="feature '8' is unknown"):
        feature_page(activations, feature=8)
    with pytest.raises(SchemaError, match="did you mean 'tuned'"):
        feature_page(activations, feature=7, checkpoints=("tund",))
