"""How far does a model show a trait, and does its inside tell answers that do from others?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.auroc import auroc
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import check_mapping

KEYS = ["checkpoint", "trait", "question", "split"]

Array = npt.NDArray[np.float64]


def trait_scores(continuations: pd.DataFrame) -> pd.DataFrame:
    """Log odds of answers that show a trait against answers of its opposite (bits a token).

    ``mean over pos answers of bits / tokens - mean over neg answers of bits / tokens``, question by
    question. Only differences between checkpoints mean anything: which of two answers is the
    likelier one also depends on how they are worded.

    Args:
        continuations: A continuations table of ``record``.

    Returns:
        A trait_scores table, one row a checkpoint (and its edit), trait and question: ``logodds``
        (bits a token; higher = more of the trait), ``split``, ``n_pos``, ``n_neg`` answers.
        ``attrs["n_one_sided"]`` counts the questions left out because one of their sides has no
        answer.

    Raises:
        SchemaError: No continuations, or a trait without any question that has both sides.

    >>> rows = pd.DataFrame({"side": ["pos", "neg"], "bits": [-30.0, -10.0], "n_tokens": [10, 5]})
    >>> rows = rows.assign(checkpoint="base@0", trait="dry", question="Why?", split="test")
    >>> trait_scores(rows.assign(sample=0))[["trait", "logodds", "n_pos", "n_neg"]].values.tolist()
    [['dry', -1.0, 1, 1]]
    """
    rows = schema.check(continuations, "continuations")
    rows = rows.loc[rows["side"].isin(["pos", "neg"])]
    rate = rows["bits"] / rows["n_tokens"]  # so that long answers weigh no more than short ones
    keys = [*KEYS, *[name for name in ("edit",) if name in rows]]
    groups = rows.assign(rate=rate).groupby([*keys, "side"], sort=False)["rate"]
    cells = groups.agg(["mean", "size"]).unstack("side")
    cells = cells.reindex(columns=pd.MultiIndex.from_product([["mean", "size"], ["pos", "neg"]]))
    both = cells.dropna()
    if missing := sorted(set(continuations["trait"]) - set(both.index.get_level_values("trait"))):
        raise SchemaError(
            f"trait '{missing[0]}' has no question with answers of both sides, pos and neg."
        )
    table = pd.DataFrame({"logodds": both["mean", "pos"] - both["mean", "neg"]})
    for side in ("pos", "neg"):
        table[f"n_{side}"] = both["size", side].astype(int)
    table = table.reset_index()
    table.attrs = {"n_one_sided": len(cells) - len(both)}
    return schema.check(table, "trait_scores")


def effective_answers(
    judged: pd.DataFrame,
    *,
    scores: Mapping[str, str] | None = None,
    coherent: str = "coherence",
    threshold: float = 50.0,
) -> pd.DataFrame:
    """The answers that did show the trait, or its opposite, as they were told to.

    The filter of persona vectors (Chen et al. 2025): a question's answers stay if the one under the
    trait's instruction scores at least the threshold, the one under its opposite less than 100
    minus the threshold, and both are at least that coherent. Both go or both stay, so that the two
    sides keep the same questions.

    Args:
        judged: Answers of both sides with scores, of ``record.judgments``; NaN = the judge gave
            none.
        scores: Column of each trait's score; by default the column of its name.
        coherent: Column of the coherence.
        threshold: Score from 0 to 100.

    Returns:
        The rows that stay. ``attrs["kept"]`` says by trait how many pairs of how many.

    Raises:
        SchemaError: A column is missing, or an answer has no partner on the other side or several.

    >>> rows = {"trait": "dry", "side": ["pos", "neg"] * 2, "question": list("aabb"), "sample": 0}
    >>> table = pd.DataFrame({**rows, "dry": [80.0, 10, 30, 10], "coherence": 90.0})
    >>> effective = effective_answers(table)
    >>> list(effective["question"]), effective.attrs["kept"]
    (['a', 'a'], {'dry': (1, 2)})
    """
    names = sorted({str(name) for name in _column(judged, "trait")})
    for column in ("side", "question", "sample", coherent):
        _column(judged, column)
    columns = {} if scores is None else scores
    check_mapping(columns, "scores", of="columns")
    score = pd.Series(np.nan, index=judged.index)
    for name in names:
        score = score.where(judged["trait"] != name, _column(judged, columns.get(name, name)))
    good = np.where(judged["side"] == "pos", score >= threshold, score < 100 - threshold)
    rows = judged.assign(good=good & (judged[coherent] >= threshold).to_numpy())
    key = ["trait", "question", "sample"]
    if "instruction" in judged:
        key.append("instruction")
    pairs = rows.groupby(key, sort=False).agg(
        n=("good", "size"), sides=("side", "nunique"), good=("good", "all")
    )
    odd = pairs.loc[(pairs["n"] != 2) | (pairs["sides"] != 2)]
    if len(odd):
        raise SchemaError(
            f"{', '.join(map(str, odd.index[0]))}: expected one answer of side pos and one of neg."
        )
    table = judged.loc[rows.groupby(key)["good"].transform("all").to_numpy()].copy()
    counts = pairs.groupby("trait")["good"].agg(["sum", "size"])
    n_pairs = {name: (int(n_good), int(n)) for name, n_good, n in counts.itertuples()}
    table.attrs = {**judged.attrs, "kept": n_pairs}
    return table


def separability(
    acts: xr.Dataset | Iterable[xr.Dataset], *, checkpoint: str | None = None
) -> pd.DataFrame:
    """AUROC with which each trait's vector tells answers that show it from the opposite ones.

    The vector is the mean difference of the answers to one half of the questions ("train"); the
    answers to the other half ("test") are projected on it. AUROC .5 = chance, 1 = apart.

    Args:
        acts: ``record.activations(checkpoint, record.conversations(answers), hook=hooks,
            position="answer")``.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        A separability table, one row a hook and trait: ``auroc``, ``lo``, ``hi`` (95 %, test
        questions as clusters), ``n_pos``, ``n_neg`` test answers, ``n_questions``.

    Raises:
        SchemaError: No activations, or a trait that lacks answers of one side in one half.

    >>> act = np.array([[[1.0, 0], [-1, 0], [2, 5], [-3, 5]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "h"})
    >>> along = {"trait": ["dry"] * 4, "side": ["pos", "neg"] * 2, "question": list("aabb")}
    >>> along["split"] = ["train", "train", "test", "test"]
    >>> data = data.assign_coords({name: ("prompt", values) for name, values in along.items()})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"))
    >>> separability(data)[["trait", "auroc"]].values.tolist()
    [['dry', 1.0]]
    """
    parts = schema.list_datasets(acts)
    rows = []
    for part in parts:
        schema.check(part, "activations")
        labels = [str(c) for c in part["checkpoint"].to_numpy()]
        label = labels[0] if checkpoint is None else checkpoint
        if label not in labels:
            raise SchemaError(unknown("checkpoint", label, labels))
        h = part["act"].sel(checkpoint=label).to_numpy().astype(np.float64)
        traits, sides, splits, questions = (
            _along(part, name) for name in ("trait", "side", "split", "question")
        )
        pos = sides == "pos"
        for trait in sorted(set(traits) - {""}):
            mine = (traits == trait) & np.isin(sides, ["pos", "neg"])
            train, test = mine & (splits == "train"), mine & (splits == "test")
            groups = {"train pos": train & pos, "train neg": train & ~pos}
            groups |= {"test pos": test & pos, "test neg": test & ~pos}
            if empty := [name for name, mask in groups.items() if not mask.any()]:
                raise SchemaError(
                    f"trait '{trait}' has no answers of {empty[0]}; separability takes both of "
                    "each half."
                )
            # On the questions it was made of, any mean difference tells the sides apart: in as many
            # dimensions as a model has, that says nothing.
            vector = h[groups["train pos"]].mean(0) - h[groups["train neg"]].mean(0)
            row = {"hook": str(part.attrs.get("hook", "")), "trait": trait}
            row |= _auroc_by_question(h[test] @ vector, pos[test], questions[test])
            row |= {"n_pos": int(groups["test pos"].sum()), "n_neg": int(groups["test neg"].sum())}
            rows.append(row)
    return schema.check(pd.DataFrame(rows), "separability")


def judge_fitness(judged: pd.DataFrame) -> pd.DataFrame:
    """How well a model's own judgment tells under which instruction an answer was given.

    An answer's score is what the judge finds it more likely under the trait's instruction than
    under its opposite, a token. A judge that cannot tell the answers that were given under the one
    from those under the other cannot tell whether a finetune shows the trait.

    Args:
        judged: A trait bits table with ``own_trait`` (the trait whose instruction the answer was
            given under) and ``side``; answers to one trait judged by another one are passed over.

    Returns:
        A judge_fitness table, one row a trait: ``trait``, ``auroc`` of the answers under its
        instruction against those under its opposite (.5 = chance), ``lo``, ``hi`` (95 %, answers as
        units), ``pos``, ``neg`` (mean scores, bits a token), ``n_pos``, ``n_neg`` answers.

    Raises:
        SchemaError: A column is missing, or a trait lacks answers of one side.

    >>> rows = {"own_trait": "dry", "trait": "dry", "side": ["pos", "pos", "neg"]}
    >>> bits = {"bits_pos": [-8.0, -9.0, -9.0], "bits_neg": [-10.0, -10.0, -8.0], "n_tokens": 4}
    >>> judged = pd.DataFrame({**rows, **bits, "prompt": [*"abc"], "sample": 0})
    >>> judge_fitness(judged)["auroc"].tolist()
    [1.0]
    """
    schema.check(judged, "trait_bits")
    schema.require(judged, "own_trait", "side")
    own = judged.loc[judged["own_trait"].eq(judged["trait"]) & judged["side"].isin(["pos", "neg"])]
    score = (own["bits_pos"] - own["bits_neg"]) / own["n_tokens"]
    rows = []
    for trait, scores in score.groupby(own["trait"], sort=False):
        is_pos = own.loc[scores.index, "side"].eq("pos")
        area = auroc(scores, is_pos)
        row = {"trait": trait, "auroc": area.estimate, "lo": area.lo, "hi": area.hi}
        row |= {"pos": scores[is_pos].mean(), "neg": scores[~is_pos].mean()}
        rows.append({**row, "n_pos": int(is_pos.sum()), "n_neg": int((~is_pos).sum())})
    return schema.check(pd.DataFrame(rows), "judge_fitness")


def _auroc_by_question(
    values: Array, positive: npt.NDArray[np.bool_], questions: npt.NDArray[np.str_]
) -> dict[str, float]:
    """AUROC and its interval with questions as clusters."""
    area = auroc(values, positive, clusters=questions)
    row = {"auroc": float(area.estimate), "lo": float(area.lo), "hi": float(area.hi)}
    return {**row, "n_questions": len(np.unique(questions))}


def _column(table: pd.DataFrame, column: str) -> Any:
    """A column that has to be there."""
    if column not in table:
        raise SchemaError(unknown("column", column, table.columns))
    return table[column]


def _along(acts: xr.Dataset, name: str) -> npt.NDArray[np.str_]:
    """A coordinate along prompt that has to be there, as texts."""
    if name not in acts.coords:
        raise SchemaError(unknown("coordinate along prompt", name, map(str, acts["prompt"].coords)))
    return acts[name].to_numpy().astype(str)
