"""Whatever the names, no label is cut and no picture is heavy."""

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from persona_interp.plots import (
    baselines,
    causes,
    cosines,
    feature_page,
    heatmap,
    personas,
    style,
    volcano,
)

LONG = "the mean difference of $x_{ and a long name"


@pytest.fixture
def figures(
    profile: pd.DataFrame,
    edits: pd.DataFrame,
    readouts: pd.DataFrame,
    activations: pd.DataFrame,
    feature_effects: pd.DataFrame,
) -> Iterator[dict[str, Figure]]:
    names = [f"name {i}" for i in range(16)]
    pairs = pd.DataFrame(
        [
            {"name": a, "other": b, "cosine": np.sin(7 * i + len(b)) / 2}
            for i, a in enumerate(names)
            for b in names[:i]
        ]
    )
    layers = pd.concat(
        [
            profile.assign(hook=f"blocks.{i}.hook_out", estimate=i / 30, lo=0, hi=0)[:1]
            for i in range(30)
        ]
    )
    many = [{"name": name, "quantity": q, "series": LONG, "estimate": 0.5, "lo": 0.25, "hi": 1.0}
            for name in names for q in ("cosine with\nits vector", "AUROC")]  # fmt: skip
    yield {
        "heatmap": heatmap(profile, title=LONG),
        "hooks": heatmap(profile.assign(hook=profile["hook"] + ".attn" + profile["role"])),
        "layers": heatmap(layers),
        "cosines": cosines(pairs, title=LONG),
        "causes": causes(
            edits.replace({"edit": {"without john": LONG}}),
            random=["random 0"],
            others=["without mary"],
        ),
        "hooks of causes": causes(
            pd.concat(
                [edits.head(3).replace({"edit": {"none": LONG}}).assign(hook=hook) for hook in "ab"]
            ),
            by="hook",
        ),
        "groups of causes": causes(
            edits.head(2).assign(least=-0.5, most=1.25), patch="without john", title=LONG
        ),
        "volcano": volcano(feature_effects, marked={"1": LONG}, title=LONG),
        "personas": personas(pd.DataFrame(many), target="name 3", title=LONG),
        "baselines": baselines(readouts.replace({"method": {"mean difference": LONG}})),
        "features": feature_page(
            activations, feature=7, nearest=pd.DataFrame({"feature": [16_383], "cosine": [0.5]})
        ),
    }


def test_no_label_is_cut(figures: dict[str, Figure]) -> None:
    cut = {}
    for name, figure in figures.items():
        with style():
            figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        if not (
            drawn.x0 > -0.01
            and drawn.y0 > -0.01
            and drawn.x1 < width + 0.01
            and drawn.y1 < height + 0.01
        ):
            cut[name] = drawn
    assert cut == {}


def test_pictures_are_light(figures: dict[str, Figure]) -> None:
    sizes = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        with style():
            figure.savefig(buffer, format="png")
        sizes[name] = len(buffer.getvalue())
    assert max(sizes.values()) < 200 * 1024, sizes
