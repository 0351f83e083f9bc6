"""What did a comparison of two models find, in words and figures?

The first sentence follows from the table of effects. With fewer than three control finetunes
nothing is said to have been moved by the finetune; where no test passes, nothing is said to differ.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.experiments.compare.findings import (
    corrected,
    finding,
    fits,
    floors,
    layer,
    made_of,
    merged,
    not_asked,
    sanity,
    twins,
)
from persona_interp.report import page
from persona_interp.report.features import feature_page
from persona_interp.report.page import Block
from persona_interp.report.rows import has, only

Tables = dict[str, pd.DataFrame]

TITLE = "Compare: what does the finetune do that the base does not?"
BESIDE = [
    "quantity",
    "checkpoint",
    "role",
    "verdict",
    "estimate",
    "lo",
    "hi",
    "controls",
    "range_lo",
    "range_hi",
]
BESIDE += ["p", "q", "n_tests", "before", "after"]
UNITS = {
    "behavior": "bits a token",
    "answers": "bits a token",
    "projection": "residual units",
    "feature": "mean activation",
}
FOLD_TEXT = (
    "The chat template of these models has no system role. What a system message says, a trait's "
    "instructions too, "
    "stands before the first user message instead, an empty line between; alike in base, finetunes "
    "and controls."
)
ANSWER = 400
"""Characters of a sampled answer that are shown."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this comparison find?

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        Findings, what was compared, behavior, answers, drift, the inside, features, and what was
        not asked.

    Raises:
        StoreError: Nothing is finished.
    """
    if not set(tables) - {"sources"}:
        raise StoreError(
            f"{run} has no finished measurement yet, so there is nothing to report; run the "
            "comparison on."
        )
    found = _findings(tables, provenance)
    for part in (_behavior, _answers, _drift, _inside, _features):
        found += part(run, tables, provenance)
    return [
        *found,
        page.heading("Not asked"),
        *(page.paragraph(said) for said in not_asked(provenance)),
    ]


def _findings(tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    found = []
    if has(tables, "effects"):
        effects, source = tables["effects"], "tables/effects.csv"
        first, *rest = finding(effects, primary=provenance["primary"])
        found.append(page.paragraph(first, source=source, lead=True))
        found += [
            page.paragraph(said, source=source)
            for said in (*rest, *corrected(effects), *sanity(effects))
        ]
        found.append(page.paragraph(floors(effects), source=source))
    else:
        found.append(
            page.paragraph("Nothing was tested: no trait and no dictionary was named.", lead=True)
        )
    text = "What was compared; equal weights have equal hashes."
    found.append(page.heading("Models"))
    if provenance["fold_system"]:
        found.append(page.paragraph(FOLD_TEXT))
    found += [
        page.paragraph(said) for said in (*twins(tables["sources"]), *merged(tables["sources"]))
    ]
    return [*found, page.table(tables["sources"], caption=text, source="tables/sources.csv")]


def _behavior(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if not has(tables, "effects") or (mine := only(tables["effects"], family="behavior")).empty:
        return []
    found: list[Block] = [page.heading("Behavior on traits")]
    if not (said := only(tables["effects"], family="answers")).empty:
        text = (
            "What each checkpoint's own answers to held-out questions sound like to the base: bits "
            "a token for the "
            "trait's instruction over its opposite. The primary test is here. Right of 0: more "
            "like the trait."
        )
        drawn = plots.forest(said, unit=UNITS["answers"])
        found.append(
            page.saved_figure(
                run, "answers", drawn, table=said, caption=text, provenance=provenance
            )
        )
        text = "The same in numbers (bits a token)."
        found.append(page.table(said.loc[:, BESIDE], caption=text, source="tables/effects.csv"))
    text = (
        "How much more probable each checkpoint finds the base's own held-out answers that show a "
        "trait than those "
        "that show its opposite, when no instruction is given. Right of 0: more like the trait "
        "than the base."
    )
    drawn = plots.forest(mine, unit=UNITS["behavior"])
    found += [
        page.saved_figure(run, "behavior", drawn, table=mine, caption=text, provenance=provenance),
        page.table(
            mine.loc[:, BESIDE],
            caption="The same in numbers (bits a token).",
            source="tables/effects.csv",
        ),
    ]
    if has(tables, "separability"):
        text = (
            "Can the base show these traits at all? How well the vector made from one half of the "
            "questions tells the "
            "base's answers under both instructions apart on the other half (AUROC; 0.5 = not at "
            "all)."
        )
        found.append(
            page.table(tables["separability"], caption=text, source="tables/separability.csv")
        )
    return found


def _answers(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if not has(tables, "samples"):
        return []
    samples = tables["samples"].loc[tables["samples"]["checkpoint"] != "base again"]
    asked = samples["question"] if "question" in samples else samples["prompt"]
    shown = samples.assign(question=asked, answer=samples["answer"].str.slice(0, ANSWER))
    wide = shown.pivot_table(
        index=["prompt", "question"], columns="checkpoint", values="answer", aggfunc="first"
    )
    wide = (
        wide[list(dict.fromkeys(samples["checkpoint"]))]
        .fillna("")
        .reset_index()
        .drop(columns="prompt")
    )
    text = (
        "Sampled with the same random numbers in every checkpoint, at temperature 1; for reading. "
        f"Answers are cut at {ANSWER} characters here."
    )
    found = [page.heading("Answers"), page.table(wide, caption=text, source="tables/samples.csv")]
    if has(tables, "sound"):
        text = (
            "What these answers sound like to the base: bits a token for the trait's instruction "
            "over its opposite, "
            "beside the base's answers to the same prompts. Shown, not tested."
        )
        heard = tables["sound"].loc[tables["sound"]["checkpoint"] != "base again"]
        found.append(page.table(heard, caption=text, source="tables/heard.csv"))
    return found


def _drift(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if not has(tables, "drift"):
        return []
    kl = tables["drift"].loc[tables["drift"]["checkpoint"] != "base"]
    text = "How far the next token has drifted from the base, by whose words come next; 'base again' is the floor."
    figure = page.saved_figure(
        run, "drift", plots.drift(kl), table=kl, caption=text, provenance=provenance
    )
    return [page.heading("Drift of the next token"), figure]


def _inside(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    found: list[Block] = []
    if has(tables, "effects") and not (mine := only(tables["effects"], family="projection")).empty:
        text = "Change along each trait's vector in the base's own answers, by depth."
        drawn = plots.layers(tables["effects"])
        found.append(
            page.saved_figure(run, "layers", drawn, table=mine, caption=text, provenance=provenance)
        )
        shown = mine.assign(hook=mine["hook"].map(layer)).loc[
            :, ["hook", *BESIDE, "random_lo", "random_hi"]
        ]
        found.append(
            page.table(
                shown, caption="The same in numbers (residual units).", source="tables/effects.csv"
            )
        )
    if has(tables, "shift"):
        mine = only(tables["shift"], role="tuned")
        columns = ["hook", "quantity", "checkpoint", "estimate", "lo", "hi"]
        shown = mine.assign(hook=mine["hook"].map(layer)).loc[:, columns]
        text = "Finetuning shift: change along each vector at the last token before the answer. Shown, not tested."
        found.append(page.table(shown, caption=text, source="tables/shift.csv"))
    if has(tables, "novelty"):
        novelty = tables["novelty"]
        mine = only(tables["sources"], role="tuned")["checkpoint"]
        said = made_of(novelty.loc[novelty["checkpoint"].isin(mine)])
        found += [page.paragraph(sentence, source="tables/novelty.csv") for sentence in said]
        text = "Share of every mean shift, a control's too, that the trait vectors and random spans hold."
        found.append(page.table(novelty, caption=text, source="tables/novelty.csv"))
    if has(tables, "lens"):
        deepest = tables["lens"].loc[tables["lens"]["hook"] == tables["lens"]["hook"].iloc[-1]]
        text = (
            f"Words that the mean shift at {layer(deepest['hook'].iloc[0])} makes likelier "
            "(positive) or less likely "
            "through the base's unembedding; other hooks are in the table. Any shift writes words, "
            "a control's too."
        )
        words = deepest.loc[:, ["checkpoint", "token", "weight"]]
        found.append(page.table(words, caption=text, source="tables/lens.csv"))
    return [page.heading("Inside"), *found] if found else []


def _features(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if not has(tables, "fidelity"):
        return []
    gate = tables["fidelity"]
    found: list[Block] = [
        page.heading("Features"),
        page.paragraph(fits(gate), source="tables/fidelity.csv"),
    ]
    for number, (sae, rows) in enumerate(gate.groupby("sae", sort=False)):
        text = f"Does {sae} describe each checkpoint?"
        drawn = plots.fidelity(rows)
        name = f"fidelity_{number}"
        found.append(
            page.saved_figure(run, name, drawn, table=rows, caption=text, provenance=provenance)
        )
        if "unusable" in set(rows["verdict"]) or not has(tables, "features"):
            continue
        for end, moved in only(tables["features"], sae=sae).groupby("end", sort=False):
            text = f"Features of {sae}: {end} against the base. A control's would show discoveries too."
            stem = f"volcano_{number}_{len(found)}"
            drawn = plots.volcano(moved)
            found.append(
                page.saved_figure(
                    run, stem, drawn, table=moved, caption=text, provenance=provenance
                )
            )
            found += _pages(run, tables, str(sae), str(end), f"{number}_{len(found)}", provenance)
    return found


def _pages(
    run: Path, tables: Tables, sae: str, end: str, stem: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """A page for each feature that changed most, with the tokens it fires on before and after."""
    if not has(tables, "tokens"):
        return []
    tokens, words = (only(tables[name], sae=sae, of=end) for name in ("tokens", "words"))
    effects = only(tables["effects"], family="feature", checkpoint=end)
    pages = []
    for feature in map(int, tokens["feature"].unique()):
        mine = only(effects, quantity=str(feature))
        verdict = (
            "" if mine.empty else f": {mine['estimate'].iloc[0]:+.3g}, {mine['verdict'].iloc[0]}"
        )
        mine = only(words, feature=feature)
        said, lens = f"largest change of mean activation{verdict}", mine.loc[:, ["token", "weight"]]
        about = {"summary": said, "hint": mine["hint"].iloc[0], "provenance": provenance}
        pages.append(feature_page(run, tokens, feature=feature, at=stem, lens=lens, **about))
    return pages
