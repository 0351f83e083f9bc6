"""What did a comparison of two models find, in words and figures?

The first sentence says how far the finetunes are from the base, whatever else was asked, and
whether anything finer could have been claimed. With fewer than three control finetunes nothing is
said to have been moved by the finetune; where no test passes, nothing finer is said to differ.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.experiments.causes.report import by_finetune
from persona_interp.experiments.compare import findings, headline
from persona_interp.experiments.compare.findings import UNITS, layer_name
from persona_interp.report import page
from persona_interp.report.features import feature_page
from persona_interp.report.page import Block
from persona_interp.report.rows import has, only
from persona_interp.schema.words import Family, Fit, Role, Unit

Tables = dict[str, pd.DataFrame]

TITLE = "Compare: what does the finetune do that the base does not?"
EFFECT_COLUMNS = (
    *("quantity", "checkpoint", "role", "verdict", "estimate", "lo", "hi"),
    *("controls", "range_lo", "range_hi", "ratio", "p", "q", "p_specific", "q_specific"),
    *("n_tests", "p_min", "n_needed", "before", "after"),
)
"""Columns of the table of effects that the page shows."""
FOLD_TEXT = (
    "The chat template of these models has no system role. What a system message says, a trait's "
    "instructions too, stands before the first user message instead, an empty line between; alike "
    "in base, finetunes and controls."
)
TEXT_TEXT = (
    "These models have no chat template: prompts are read as plain text, and an answer is how the "
    "text goes on in its next line; alike in base, finetunes and controls. To chat with them, give "
    "a template (--chat-template)."
)
MOST_CHARACTERS = 400
"""Characters of a sample that are shown."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Everything that the page of a comparison says and shows.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        Findings, distance, what was compared, answers, behavior, samples, drift, the inside,
        features, what carries the effect, and what was not asked.

    Raises:
        StoreError: Nothing is finished.
    """
    if not set(tables) - {"sources"}:
        raise StoreError(
            f"{run} has no finished measurement yet, so there is nothing to report; run the "
            "comparison on."
        )
    content = [
        *_findings(tables, provenance),
        *_distance(run, tables, provenance),
        *_models(tables, provenance),
    ]
    for section in (_answers, _behavior, _samples, _drift, _inside, _features, by_finetune):
        content += section(run, tables, provenance)
    content.append(page.heading("Not asked"))
    content += [page.paragraph(sentence) for sentence in findings.omissions(provenance)]
    return content


def _findings(tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """How far the finetunes are, then what could be claimed, then what is."""
    effects = tables.get("effects", pd.DataFrame())
    if has(tables, "distance"):
        distance, source = tables["distance"], "tables/distance.csv"
        first = headline.headline(distance, effects, provenance=provenance)
        content = [
            page.paragraph(first, source=source, lead=True),
            page.paragraph(headline.on_neutral_requests(distance), source=source),
        ]
    else:
        text = "How far the finetunes are from the base is not measured yet; run the comparison on."
        content = [page.paragraph(text, lead=True)]
    if effects.empty:
        return content
    sentences = [
        *headline.comparable(effects),
        headline.reach(effects),
        *findings.finding(effects, primary=provenance["primary"]),
        *findings.correction(effects),
        *findings.control_claims(effects),
        findings.floor(effects),
    ]
    return content + [page.paragraph(text, source="tables/effects.csv") for text in sentences]


def _distance(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """How far every checkpoint is from the base, on the prompts and on neutral requests."""
    if not has(tables, "distance"):
        return []
    distance, source = tables["distance"], "tables/distance.csv"
    text = (
        "How far each checkpoint's next token is from the base's, in the base's own answers; "
        f"'{Role.AGAIN}' is the floor."
    )
    # one figure draws KL by what the text is: here by what was asked
    by_requests = distance.assign(role=distance["requests"])
    figure = page.saved_figure(
        run,
        "distance",
        plots.drift(by_requests),
        table=distance,
        caption=text,
        provenance=provenance,
    )
    text = (
        f"The same in numbers ({Unit.BITS_A_TOKEN}); 'judges': by this distance finetunes are "
        "weighed against their controls."
    )
    numbers = page.table(distance, caption=text, source=source)
    return [page.heading("Distance from the base"), figure, numbers]


def _models(tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    sources = tables["sources"]
    sentences = [*findings.twins(sources), *findings.merged_adapters(sources)]
    if provenance["fold_system"]:
        sentences.insert(0, FOLD_TEXT)
    if provenance.get("plain_text"):
        sentences.insert(0, TEXT_TEXT)
    text = "What was compared; equal weights have equal hashes."
    return [
        page.heading("Models"),
        *map(page.paragraph, sentences),
        page.table(sources, caption=text, source="tables/sources.csv"),
    ]


def _answers(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """Every checkpoint's answers to the traits' held-out questions."""
    effects = _effects_of(tables, Family.ANSWERS)
    if effects.empty:
        return []
    text = (
        "What each checkpoint's own answers to held-out questions sound like to the base: bits a "
        "token for the trait's instruction over its opposite. The primary test is here. Right of "
        "0: more like the trait."
    )
    plot = plots.forest(effects, unit=UNITS[Family.ANSWERS])
    figure = page.saved_figure(
        run, "answers", plot, table=effects, caption=text, provenance=provenance
    )
    numbers = _effects_table(effects, unit=UNITS[Family.ANSWERS])
    return [page.heading("Answers to the traits' questions"), figure, numbers]


def _behavior(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    effects = _effects_of(tables, Family.BEHAVIOR)
    if effects.empty:
        return []
    text = (
        "How much more probable each checkpoint finds the base's own held-out answers that show a "
        "trait than those that show its opposite, when no instruction is given. Right of 0: more "
        "like the trait than the base."
    )
    plot = plots.forest(effects, unit=UNITS[Family.BEHAVIOR])
    figure = page.saved_figure(
        run, "behavior", plot, table=effects, caption=text, provenance=provenance
    )
    numbers = _effects_table(effects, unit=UNITS[Family.BEHAVIOR])
    section = [page.heading("Behavior on traits"), figure, numbers]
    if has(tables, "separability"):
        text = (
            "Can the base show these traits at all? How well the vector made from one half of the "
            "questions tells the base's answers under both instructions apart on the other half "
            "(AUROC; 0.5 = not at all)."
        )
        source = "tables/separability.csv"
        section.append(page.table(tables["separability"], caption=text, source=source))
    return section


def _samples(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """Answers to the prompts, to be read, side by side; and what they sound like to the base."""
    if not has(tables, "samples"):
        return []
    text = (
        "Sampled with the same random numbers in every checkpoint, at temperature 1; for reading. "
        f"Samples are cut at {MOST_CHARACTERS} characters here."
    )
    side_by_side = _side_by_side(_without_again(tables["samples"]))
    section = [
        page.heading("Samples"),
        page.table(side_by_side, caption=text, source="tables/samples.csv"),
    ]
    if has(tables, "sound"):
        text = (
            "What these samples sound like to the base: bits a token for the trait's instruction "
            "over its opposite, beside the base's samples for the same prompts. Shown, not tested."
        )
        sound = _without_again(tables["sound"])
        section.append(page.table(sound, caption=text, source="tables/sound.csv"))
    return section


def _drift(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if not has(tables, "drift"):
        return []
    drift = tables["drift"].loc[tables["drift"]["checkpoint"] != Role.BASE]
    text = (
        "How far the next token has drifted from the base, by whose words come next; "
        f"'{Role.AGAIN}' is the floor."
    )
    figure = page.saved_figure(
        run, "drift", plots.drift(drift), table=drift, caption=text, provenance=provenance
    )
    return [page.heading("Drift of the next token"), figure]


def _inside(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    section: list[Block] = []
    effects = _effects_of(tables, Family.PROJECTION)
    if not effects.empty:
        text = "Change along each trait's vector in the base's own answers, by depth."
        plot = plots.layers(tables["effects"])
        figure = page.saved_figure(
            run, "layers", plot, table=effects, caption=text, provenance=provenance
        )
        numbers = _effects_table(
            _with_layer_names(effects),
            unit=UNITS[Family.PROJECTION],
            before=("hook",),
            after=("random_lo", "random_hi"),
        )
        section += [figure, numbers]
    if has(tables, "shift"):
        text = (
            "Finetuning shift: change along each vector at the last token before the answer. "
            "Shown, not tested."
        )
        shift = _with_layer_names(only(tables["shift"], role=Role.TUNED))
        shift = shift.loc[:, ["hook", "quantity", "checkpoint", "estimate", "lo", "hi"]]
        section.append(page.table(shift, caption=text, source="tables/shift.csv"))
    if has(tables, "novelty"):
        section += _novelty(tables)
    if has(tables, "lens"):
        section.append(_lens(tables["lens"]))
    return [page.heading("Inside"), *section] if section else []


def _novelty(tables: Tables) -> list[Block]:
    """How much of each shift the traits' vectors span: sentences on finetunes, numbers of all."""
    novelty, source = tables["novelty"], "tables/novelty.csv"
    tuned = only(tables["sources"], role=Role.TUNED)["checkpoint"]
    sentences = findings.composition(novelty.loc[novelty["checkpoint"].isin(tuned)])
    text = (
        "Share of every mean shift, a control's too, that the trait vectors and random spans hold."
    )
    return [
        *(page.paragraph(sentence, source=source) for sentence in sentences),
        page.table(novelty, caption=text, source=source),
    ]


def _lens(lens: pd.DataFrame) -> Block:
    """Words that the shift writes at the last hook."""
    hook = lens["hook"].iloc[-1]
    text = (
        f"Words that the mean shift at {layer_name(hook)} makes likelier (positive) or less likely "
        "through the base's unembedding; other hooks are in the table. Any shift writes words, a "
        "control's too."
    )
    words = only(lens, hook=hook).loc[:, ["checkpoint", "token", "weight"]]
    return page.table(words, caption=text, source="tables/lens.csv")


def _features(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if not has(tables, "fidelity"):
        return []
    text = findings.fidelity(tables["fidelity"])
    section: list[Block] = [
        page.heading("Features"),
        page.paragraph(text, source="tables/fidelity.csv"),
    ]
    of_dictionary = [
        [_of_dictionary(run, tables, sae=str(sae), number=number, provenance=provenance)]
        for number, sae in enumerate(tables["fidelity"]["sae"].unique())
    ]
    return section + page.first_open(of_dictionary)


def _of_dictionary(
    run: Path, tables: Tables, *, sae: str, number: int, provenance: Mapping[str, Any]
) -> list[Block]:
    """Whether one dictionary fits, what moved in it, and the pages of what moved most."""
    fits = only(tables["fidelity"], sae=sae)
    save = {"table": fits, "caption": f"Does {sae} describe each checkpoint?"}
    plot = plots.fidelity(fits)
    figure = page.saved_figure(run, f"fidelity_{number}", plot, **save, provenance=provenance)
    section = [page.heading(f"Features of {sae}"), figure]
    if Fit.UNUSABLE in set(fits["verdict"]) or not has(tables, "features"):
        return section
    for place, end in enumerate(only(tables["features"], sae=sae)["end"].unique()):
        moved = _moved(tables["effects"], sae=sae, end=str(end))
        text = f"Features of {sae}: {end} against the base, beside the controls."
        plot = plots.forest(moved, unit=Unit.ACTIVATION)
        if all(only(moved, role=Role.TUNED)["controls"].notna()):
            plot = plots.volcano(moved)
        # the place on the page makes the names of files distinct
        stem = f"{number}_{place}"
        figure = page.saved_figure(
            run, f"volcano_{stem}", plot, table=moved, caption=text, provenance=provenance
        )
        section.append(figure)
        section += _feature_pages(
            run, tables, sae=sae, end=str(end), stem=stem, provenance=provenance
        )
    return section


def _moved(effects: pd.DataFrame, *, sae: str, end: str) -> pd.DataFrame:
    """Effects on the features of one dictionary, of one finetune and of the controls."""
    rows = only(effects, family=Family.FEATURE)
    # the hook names the dictionary too
    rows = rows.loc[rows["hook"].str.startswith(f"{sae} at ")]
    return rows.loc[(rows["checkpoint"] == end) | (rows["role"] == Role.CONTROL)]


def _feature_pages(
    run: Path, tables: Tables, *, sae: str, end: str, stem: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """A page for each feature that changed most, with the tokens it fires on before and after."""
    if not has(tables, "tokens"):
        return []
    tokens, words = (only(tables[name], sae=sae, of=end) for name in ("tokens", "words"))
    pages = []
    for feature in map(int, tokens["feature"].unique()):
        lens = only(words, feature=feature)
        summary = findings.feature_summary(
            tables["effects"], feature=feature, sae=sae, checkpoint=end
        )
        feature_block = feature_page(
            run,
            tokens,
            feature=feature,
            provenance=provenance,
            at=stem,
            summary=summary,
            hint=lens["hint"].iloc[0],
            lens=lens.loc[:, ["token", "weight"]],
        )
        pages.append(feature_block)
    return pages


def _effects_of(tables: Tables, family: Family) -> pd.DataFrame:
    """Effects of one family; no rows where nothing was tested."""
    if not has(tables, "effects"):
        return pd.DataFrame()
    return only(tables["effects"], family=family)


def _effects_table(
    effects: pd.DataFrame, *, unit: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> Block:
    """Numbers of a figure of effects, with more columns before and after the usual ones."""
    numbers = effects.loc[:, [*before, *EFFECT_COLUMNS, *after]]
    text = f"The same in numbers ({unit})."
    return page.table(numbers, caption=text, source="tables/effects.csv")


def _with_layer_names(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(hook=table["hook"].map(layer_name))


def _without_again(table: pd.DataFrame) -> pd.DataFrame:
    """Rows but those of the base's second recording, which is a floor and nothing to read."""
    return table.loc[table["checkpoint"] != Role.AGAIN]


def _side_by_side(samples: pd.DataFrame) -> pd.DataFrame:
    """One row a prompt, one column a checkpoint."""
    question = "question" if "question" in samples else "prompt"
    table = samples.assign(
        question=samples[question], answer=samples["answer"].str.slice(0, MOST_CHARACTERS)
    )
    wide = table.pivot_table(
        index=["prompt", "question"], columns="checkpoint", values="answer", aggfunc="first"
    )
    in_order = list(dict.fromkeys(samples["checkpoint"]))
    return wide[in_order].fillna("").reset_index().drop(columns="prompt")
