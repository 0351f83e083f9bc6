"""What do the finished cells of a search for causes say, as tables?"""

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.causes.config import Causes
from persona_interp.schema.words import TEXT
from persona_interp.store import Store
from persona_interp.tables import read_table

Tables = dict[str, pd.DataFrame]


def summarize(experiment: Causes, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The search.
        store: Its run; missing cells leave fewer finetunes.

    Returns:
        Tables by name: ``sources``; ``ranking``, where there are dictionaries; ``carriers``,
        ``text`` and ``strengths`` (what pushes were tried) of the finetunes whose edits are done.
    """
    sources = [experiment.base, *experiment.tuned]
    rows = [(one.label, one.path, one.weights, one.note) for one in sources]
    tables = {"sources": pd.DataFrame(rows, columns=["checkpoint", "path", "weights", "note"])}
    ranked, parts = [], []
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        for source in experiment.tuned:
            moved, edits = (cells[kind, source.label] for kind in ("moved", "edits"))
            if store.has(moved):
                table = read_table(store.path(moved, "ranked.parquet"))
                ranked.append(table.assign(of=source.label))
            if store.has(edits):
                names = ("cases", "measured", "text", "strengths")
                parts.append(
                    [
                        read_table(store.path(edits, f"{name}.parquet")).assign(of=source.label)
                        for name in names
                    ]
                )
    if ranked and any(map(len, ranked)):
        table = pd.concat(ranked, ignore_index=True)
        tables["ranking"] = analysis.causal_ranking(table, n_tuned=len(ranked))
    if parts:
        cases, measured, text, strengths = (
            pd.concat(p, ignore_index=True) for p in zip(*parts, strict=True)
        )
        tables["carriers"] = _carriers(experiment, cases, measured, text)
        tables |= {"text": text, "strengths": strengths}
    return tables


def _carriers(
    experiment: Causes, cases: pd.DataFrame, measured: pd.DataFrame, text: pd.DataFrame
) -> pd.DataFrame:
    """What carries behavior, then what carries text."""
    base = experiment.base.label
    behavior = analysis.carriers(cases, measured, base=base, world=experiment.world)
    spoken = cases.loc[cases["edit"].isin(list(set(text["edit"])))]
    keys = ["of", "checkpoint", "edit", "question"]
    scores = pd.DataFrame(text.groupby(keys, sort=False)["logodds"].agg("mean")).reset_index()
    # what was never answered under some edit cannot be compared with what was
    silent = scores.loc[scores["logodds"].isna(), "question"]
    scores = scores.loc[~scores["question"].isin(list(silent))]
    if scores.empty or spoken.empty:
        return behavior
    texts = analysis.carriers(spoken, scores, base=base, measure=TEXT)
    return pd.concat([behavior, texts], ignore_index=True)
