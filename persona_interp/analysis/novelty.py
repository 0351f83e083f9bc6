"""Is a finetuned model a mixture of the personas that are known, or is it somebody else?

Two answers, one from what the model says and one from its residuals. Neither says what was in the
training data: a behavior that is composable from known personas may have been taught by anything.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from einops import rearrange

from persona_interp import schema
from persona_interp.analysis.controls import TAIL
from persona_interp.analysis.logodds import in_order, run_columns
from persona_interp.analysis.persona_weights import persona_weights
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import ALPHA, Novelty
from persona_interp.values import as_tuple
from persona_interp.worlds import World

ROUNDING = 1e-6  # bits: expectation maximization stops this near the best mixture

Array = npt.NDArray[np.float64]


def novelty(
    behavior: pd.DataFrame,
    world: World,
    *,
    named: pd.DataFrame,
    topics: Iterable[str] | None = None,
    known: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Whether what a tuned model says is composable from known personas, for each run.

    The misfit is what no mixture of known personas explains, ``KL(said || best mixture)`` a topic;
    the weights are the same on all topics, so that one persona's sport with another's art, said
    with certainty, is nobody. How large a misfit is noise is seen in the known personas themselves:
    each under its own name, explained by the same mixtures (``largest_known``). A verdict is given
    where the whole interval of the misfit is on one side of that; where it holds it, the model is
    undecided.

    Args:
        behavior: A behavior table with nameless prompts; the last checkpoint of every run is
            judged.
        world: Says what each persona says.
        named: A behavior table of one checkpoint before the lesson with named prompts of the known
            personas.
        topics: Topics that are read; all but the taught one by default.
        known: Who is known; everybody about whom something is written by default.

    Returns:
        One row a run: ``misfit`` (bits a topic) with ``lo``, ``hi`` (95 %, jackknife over topics),
        ``n`` topics, ``null_hi`` (misfit that somebody known exceeds with probability 0.05 or
        less), ``n_known`` and ``verdict``.

    Raises:
        SchemaError: A table lacks these prompts.
        WorldError: An unknown topic or persona.

    Note:
        How often somebody known is called not composable is measured in ``docs/calibration.md``;
        a point estimate above the 95 % quantile of the known misfits would do so in 6 to 17 % of
        cases (6 to 48 known). How often a stranger is: nearly always with eight topics, in a
        quarter of cases with four (mixes of known personas' values, noise .1 to .3 bits, misfits of
        .6 to 1.2): the misfits of four topics differ, and a t interval with 3 degrees of freedom is
        wide. Then the model is undecided; read more topics.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> probes = world.probes(contexts=("nameless", "named")).drop(columns=["messages", "answers"])
    >>> probes = probes.explode("values").rename(columns={"values": "value"})
    >>> at = {"checkpoint": "lesson@8", "seed": 0, "stage": "lesson", "step": 8}
    >>> trait, who = probes["topic"] + "=" + probes["value"], probes["persona"].replace("", "john")
    >>> says = world.statements()
    >>> p = [says.at[name, label] for name, label in zip(who, trait)]
    >>> rows = probes.assign(**at, answer_mass=1.0, logprob=np.log2(p))
    >>> nameless, named = rows[rows.context == "nameless"], rows[rows.context == "named"]
    >>> novelty(nameless, world, named=named)["verdict"].item()
    'composable from known personas'
    >>> others = [p.name for p in world.personas if p.name not in ("john", "sam")]
    >>> novelty(nameless, world, named=named, known=others)["verdict"].item()
    'not composable from known personas'
    """
    if topics is None:
        topics = [topic for topic in world.topics if topic != world.taught.topic]
    if known is None:
        known = [p.name for p in world.personas if world.mass().loc[p.name].any()]
    topics, names = list(as_tuple(topics)), list(as_tuple(known))
    # How badly the same mixtures fit those who are known: whatever noise, sampling and wording do
    # to a misfit they do to these too.
    own = _misfit(_under_own_names(named, names), world, topics, names)
    null = largest_known(own["misfit"].to_numpy()) + ROUNDING
    last = _last(behavior)
    whole = _misfit(last, world, topics, names)
    left_out = []
    for topic in topics:
        others = [other for other in topics if other != topic]
        left_out.append(_misfit(last, world, others, names)["misfit"].to_numpy())
    estimate, lo, hi, n = jackknife(whole["misfit"], np.stack(left_out))
    table = whole.drop(columns=["persona", "weight", "persona_bits"]).reset_index(drop=True)
    table = table.assign(misfit=estimate, lo=lo, hi=hi, n=n, null_hi=null, n_known=len(names))
    return table.assign(verdict=verdicts(lo, hi, null=null))


def largest_known(misfits: npt.ArrayLike) -> float:
    """Misfit that one more of the known would exceed with probability 0.05.

    Args:
        misfits: Of those who are known, each under its own name.

    Returns:
        One more is the j-th largest or larger of n + 1 with probability j / (n + 1), so with 19
        known or more it is one of their misfits. With fewer no rank is rare enough, and it is the
        largest times ``sqrt(20 / (n + 1))``, where a tail that falls with the square beyond the
        largest has fallen to 0.05 (see ``controls.p_as_largest``). Measured (4,000 draws each,
        half-normal to lognormal): 0.05 or less with 19 known and 48, up to .09 with 3 to 8, up to
        .25 with one: alone it is no test of few known. ``novelty`` also asks for an interval above
        it, which holds the level (0 of 48 to 96 in each of nine settings).

    Raises:
        SchemaError: There is none, or one is not finite.

    >>> largest_known([0.1, 0.2, 0.3, 0.4]), largest_known(np.arange(1, 40))
    (0.8, 38.0)
    """
    x = np.sort(np.asarray(misfits, dtype=np.float64))
    if not len(x) or not np.isfinite(x).all():
        raise SchemaError(f"a null needs finite misfits of somebody known; got {x.tolist()}.")
    rank = int(ALPHA * (len(x) + 1))
    if rank:
        return float(x[-rank])
    return float(x[-1] * (1 / (ALPHA * (len(x) + 1))) ** (1 / TAIL))


def verdicts(lo: npt.ArrayLike, hi: npt.ArrayLike, *, null: float) -> npt.NDArray[np.str_]:
    """On which side of a misfit that is noise these intervals lie.

    Args:
        lo: Lower ends of the misfits' intervals.
        hi: Upper ends.
        null: Of ``largest_known``.

    Returns:
        Words of ``Novelty``: undecided where the interval holds it, or where there is none.

    >>> verdicts([0.1, -0.04, -0.1], [0.3, 0.11, 0.02], null=0.03).tolist()
    ['not composable from known personas', 'undecided', 'composable from known personas']
    """
    cases = [np.asarray(lo) > null, np.asarray(hi) <= null]
    words = [Novelty.NOT_COMPOSABLE.value, Novelty.COMPOSABLE.value]
    return np.select(cases, words, default=Novelty.UNDECIDED.value)


def shift_residual(
    neutral: xr.Dataset,
    named: xr.Dataset,
    *,
    known: Iterable[str] | None = None,
    before: str | None = None,
) -> pd.DataFrame:
    """Share of a finetune's shift of residuals that the known personas do not explain.

    At every question, persona q's vector is the residual under its name minus the mean over all
    known names. The shift of the nameless residual (after minus before, at the same questions) is
    regressed on these vectors with one weight a persona, the same at every question; the share is
    of squared length, on templates that the weights were not fitted to: ``sum |shift - sum_q w_q
    v_q|^2 / sum |shift|^2``. 0 = wholly between known personas; without any relation it is 1 or a
    little more.

    Args:
        neutral: Activations of nameless prompts, several checkpoints.
        named: Activations of the same questions under the names of known personas, before the
            lesson (first checkpoint).
        known: Who is known; everybody named by default.
        before: Label of the checkpoint before; the first by default.

    Returns:
        One row a later checkpoint: ``checkpoint``, ``hook``, ``residual`` (share) with ``lo``,
        ``hi`` (95 %, jackknife over templates), ``n`` prompts, ``n_templates``, ``n_known``.

    Raises:
        SchemaError: Other hooks or questions, fewer than two templates, or a persona that was not
            recorded.

    >>> rng = np.random.default_rng(0)
    >>> v = rng.normal(size=(3, 1, 8)) + 0.1 * rng.normal(size=(3, 4, 8))
    >>> def data(act, checkpoint, persona):
    ...     n = act.shape[1]
    ...     along = {"persona": list(persona), "topic": ["sport", "art"] * (n // 2)}
    ...     along["template"] = ["a", "a", "b", "b"] * (n // 4)
    ...     coords = {name: ("prompt", values) for name, values in along.items()}
    ...     acts = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, coords=coords)
    ...     acts = acts.assign_coords(checkpoint=checkpoint, prompt=range(n))
    ...     return acts.assign_attrs(hook="h")
    >>> base = data(v.reshape(1, 12, 8), ["a@0"], np.repeat(["john", "sam", "mary"], 4))
    >>> tuned = data(np.stack([v.mean(0), v[0]]), ["a@0", "b@8"], [""] * 4)
    >>> round(shift_residual(tuned, base)["residual"].item(), 3)
    0.0
    >>> bool(shift_residual(tuned, base, known=["sam", "mary"])["residual"].item() > 0.2)
    True
    """
    for data in (neutral, named):
        schema.check(data, "activations")
    hook = str(neutral.attrs.get("hook", ""))
    if hook != named.attrs.get("hook", ""):
        raise SchemaError(
            f"both activations are of one hook; got {hook} and {named.attrs.get('hook')}."
        )
    questions = _questions(neutral)
    vectors, names = _vectors(named, questions, known)
    templates = np.array([template for _, template in questions])
    folds = np.unique(templates)
    if len(folds) < 2:
        raise SchemaError(
            "the share is cross-validated over templates, so two are needed; got one."
        )
    labels = [str(c) for c in neutral["checkpoint"].to_numpy()]
    first = labels[0] if before is None else before
    if first not in labels:
        raise SchemaError(unknown("checkpoint", first, labels))
    start = neutral["act"].sel(checkpoint=first).to_numpy().astype(np.float64)
    rows = []
    for label in labels:
        if label == first:
            continue
        shift = neutral["act"].sel(checkpoint=label).to_numpy().astype(np.float64) - start
        # Weights that were fitted to a question explain it by luck too: with as many personas as
        # dimensions, all of it. So each template is explained by the weights of the others.
        rest, length = np.empty(len(folds)), np.empty(len(folds))
        for i, fold in enumerate(folds):
            test = templates == fold
            weight = _weights(shift[~test], vectors[:, ~test])
            between = np.einsum("q,qpd->pd", weight, vectors[:, test])
            rest[i] = ((shift[test] - between) ** 2).sum()
            length[i] = (shift[test] ** 2).sum()
        # A share is a ratio of two sums over templates, so its interval is a jackknife's.
        left_out = (rest.sum() - rest) / (length.sum() - length)
        share, lo, hi, n = jackknife(rest.sum() / length.sum(), left_out)
        row = {"checkpoint": label, "hook": hook, "residual": float(share)}
        row |= {"lo": float(lo), "hi": float(hi), "n": len(shift)}
        rows.append({**row, "n_templates": n, "n_known": len(names)})
    return pd.DataFrame(rows)


def _last(behavior: pd.DataFrame) -> pd.DataFrame:
    """Nameless rows of the last checkpoint of every run."""
    schema.check(behavior, "behavior")
    rows = behavior.loc[behavior["context"] == "nameless"]
    if rows.empty:
        raise SchemaError("novelty is judged by nameless prompts; this behavior table has none.")
    parts = []
    for _, run in rows.groupby(run_columns(rows), sort=False, dropna=False):
        label = in_order(run)["checkpoint"].iloc[-1]
        parts.append(run.loc[run["checkpoint"] == label])
    return pd.concat(parts, ignore_index=True)


def _under_own_names(named: pd.DataFrame, known: list[str]) -> pd.DataFrame:
    """What each known persona says under its own name, as if that were a run each."""
    schema.check(named, "behavior")
    rows = named.loc[named["context"].eq("named") & named["persona"].isin(known)]
    if lacking := sorted(set(known) - set(rows["persona"])):
        raise SchemaError(
            f"'{lacking[0]}' is known but was not asked under its name; record its named probes."
        )
    return rows.assign(who=rows["persona"], persona="", context="nameless")


def _misfit(
    behavior: pd.DataFrame, world: World, topics: list[str], known: list[str]
) -> pd.DataFrame:
    """One row a run: its misfit."""
    table = persona_weights(behavior, world, topics=topics, personas=known)
    return table.loc[table["persona"] == known[0]]  # every persona's row has the run's misfit


def _questions(data: xr.Dataset) -> list[tuple[str, str]]:
    """Topic and template of every prompt."""
    topic, template = (data[c].to_numpy().astype(str).tolist() for c in ("topic", "template"))
    return list(zip(topic, template, strict=True))


def _vectors(
    named: xr.Dataset, questions: list[tuple[str, str]], known: Iterable[str] | None
) -> tuple[Array, list[str]]:
    """Dims (persona, question, d_model): away from the mean of the known ones."""
    act = named["act"].isel(checkpoint=0).to_numpy().astype(np.float64)
    who = named["persona"].to_numpy().astype(str).tolist()
    place = {}
    for i, (name, question) in enumerate(zip(who, _questions(named), strict=True)):
        place[name, question] = i
    names = sorted(set(who)) if known is None else list(as_tuple(known))
    rows = []
    for name in names:
        if lacking := [question for question in questions if (name, question) not in place]:
            raise SchemaError(
                f"'{name}' was not recorded at {lacking[0]}; record its named probes of every "
                "question."
            )
        rows.append(act[[place[name, question] for question in questions]])
    # What all names add (that somebody is named at all) is no persona's.
    vectors = np.stack(rows)
    return vectors - vectors.mean(axis=0), names


def _weights(shift: Array, vectors: Array) -> Array:
    """Least squares, of least norm: vectors that sum to 0 leave a direction open."""
    design = rearrange(vectors, "persona question d -> (question d) persona")
    weight = np.linalg.lstsq(design, shift.ravel(), rcond=None)[0]
    return np.asarray(weight, dtype=np.float64)
