"""What does a comparison say, in sentences?

Each follows from a table, and says no more than it holds.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from persona_interp.analysis.effects import BY_CONTROLS, ENOUGH_CONTROLS
from persona_interp.experiments.compare.config import SAME_WEIGHTS
from persona_interp.experiments.material import MERGED_INTO
from persona_interp.report.rows import Row, only, rows
from persona_interp.schema.words import CLAIMS, Family, Fit, Role, Unit

UNITS = {
    Family.BEHAVIOR: f"{Unit.BITS_A_TOKEN}",
    Family.ANSWERS: f"{Unit.BITS_A_TOKEN}",
    Family.PROJECTION: f"{Unit.RESIDUAL}",
    Family.FEATURE: f"of {Unit.ACTIVATION}",
}
"""Unit of the numbers of each family, as it stands after a number."""
MOST_CLAIMS = 8
"""Claims that are said in words."""


def finding(effects: pd.DataFrame, *, primary: str = "") -> list[str]:
    """Sentences on what was found, the main one first.

    Args:
        effects: Table ``effects``.
        primary: The trait named beforehand; "" for none.

    Returns:
        Sentences, the first of the primary test where there is one, else of everything tested.

    >>> row = {"family": "behavior", "hook": "", "quantity": "wry", "checkpoint": "mine"}
    >>> row |= {"role": "tuned", "estimate": 0.1, "lo": -0.1, "hi": 0.3, "n": 20, "p": 0.4}
    >>> row |= {"q": 0.4, "n_tests": 1, "primary": True, "verdict": "no difference shown"}
    >>> row |= {"n_controls": 0, "possible": True}
    >>> row |= dict.fromkeys(["controls", "range_lo", "range_hi"], math.nan)
    >>> finding(pd.DataFrame([row]), primary="wry")[0][:64]
    'Wry was named beforehand as the one primary test. mine: no diffe'
    """
    tuned = only(effects, role=Role.TUNED)
    sentences = _primary_sentences(tuned, primary) if primary else []
    rest = tuned.loc[~tuned["primary"]]
    if not rest.empty:
        sentences.append(_rest_sentence(rest, has_primary=bool(sentences)))
    n_controls = rows(tuned)[0].n_controls
    if n_controls < ENOUGH_CONTROLS:
        sentences.append(_too_few_controls(n_controls))
    return sentences


def correction(effects: pd.DataFrame) -> list[str]:
    """Sentence on what was tested beside the primary, and how it was corrected.

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence; none where nothing else was tested.
    """
    tuned = only(effects, role=Role.TUNED)
    rest = tuned.loc[~tuned["primary"]]
    if rest.empty:
        return []
    sizes = [f"{family} {len(part)}" for family, part in rest.groupby("family", sort=False)]
    if BY_CONTROLS in set(rest["judged_by"]):
        tests = (
            "could one more control finetune go as far (prediction interval; of features the "
            "largest change of all), and is it the choice of questions that it went farther than "
            "the controls, or left the base at all"
        )
    else:
        tests = "the t interval over questions, and sign flips by question"
    return [
        f"Tests beside the primary: {', '.join(sizes)}; q by Benjamini-Hochberg within each of "
        f"these families, times their number ({len(sizes)}), held to 0.05. Each p is the largest "
        f"of: {tests}."
    ]


def control_claims(effects: pd.DataFrame) -> list[str]:
    """Sentence on how many claims the controls would have brought, judged by each other.

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence, none without controls.
    """
    controls = only(effects, role=Role.CONTROL)
    if controls.empty:
        return []
    n_claims = controls["verdict"].isin(CLAIMS).sum()
    n_controls = controls["checkpoint"].nunique()
    how = "against the base alike"
    if BY_CONTROLS in set(controls["judged_by"]):
        how = "by the others in the same way"
    tests = _tests(len(controls))
    return [f"Each of the {n_controls} controls, judged {how}: {n_claims} of {tests} pass."]


def floor(effects: pd.DataFrame) -> str:
    """Sentence on how far the base, recorded twice, differs from itself.

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence.
    """
    off = effects.loc[effects["floor"] > 0]
    if off.empty:
        return (
            "The base, recorded twice, differs from itself by exactly 0 in everything that was "
            "tested."
        )
    largest = off.groupby("family", sort=False)["floor"].max()
    sizes = [f"{value:.2g} {UNITS[Family(family)]}" for family, value in largest.items()]
    return (
        f"The base, recorded twice, differs from itself by up to {', '.join(sizes)}; nothing "
        "smaller is claimed."
    )


def twins(sources: pd.DataFrame) -> list[str]:
    """Sentences on models that have the same weights as another.

    Args:
        sources: Table ``sources``.

    Returns:
        One sentence each.

    >>> row = {"checkpoint": "mine", "role": "tuned", "note": "the same weights as base"}
    >>> twins(pd.DataFrame([row]))
    ['mine (tuned) has the same weights as base.']
    """
    sentences = []
    for row in rows(sources.loc[sources["note"].str.startswith(SAME_WEIGHTS)]):
        # what was merged has a sentence of its own
        note = row.note.partition(f"; {MERGED_INTO}")[0]
        sentences.append(f"{row.checkpoint} ({row.role}) has {note}.")
    return sentences


def merged_adapters(sources: pd.DataFrame) -> list[str]:
    """Sentences on adapters that were merged into another base than they name.

    Args:
        sources: Table ``sources``.

    Returns:
        One sentence each.

    >>> note = "an adapter merged into base, because it names none"
    >>> merged_adapters(pd.DataFrame([{"checkpoint": "mine", "role": "tuned", "note": note}]))
    ['mine (tuned) is an adapter merged into base, because it names none.']
    """
    sentences = []
    for row in rows(sources.loc[sources["note"].str.contains(MERGED_INTO, regex=False)]):
        into = row.note.partition(MERGED_INTO)[2]
        sentences.append(f"{row.checkpoint} ({row.role}) is {MERGED_INTO}{into}.")
    return sentences


def composition(novelty: pd.DataFrame) -> list[str]:
    """Sentences on how much of each mean shift lies along the traits' vectors.

    Args:
        novelty: Table ``novelty``.

    Returns:
        One sentence a checkpoint and hook where it moved.
    """
    sentences = []
    for row in rows(novelty.loc[novelty["share"].map(math.isfinite)]):
        more = "no more than" if row.share <= row.null_hi else "more than"
        # the interval is by jackknife, which may leave the range of a share
        interval = f"[{max(row.lo, 0):.1%}, {min(row.hi, 1):.1%}]"
        sentences.append(
            f"{row.checkpoint}, {layer_name(row.hook)}: of the mean shift "
            f"({row.relative_norm:.1%} of a residual's length) {row.share:.1%} {interval} lies in "
            f"the span of the {row.n_vectors} trait vectors, {more} in spans of as many random "
            f"directions ({row.null_lo:.1%} to {row.null_hi:.1%}); the rest is along no trait that "
            "was given."
        )
    return sentences


def fidelity(fits: pd.DataFrame) -> str:
    """Sentences on whether the dictionaries still describe the checkpoints.

    Args:
        fits: Table ``fidelity`` with ``sae``.

    Returns:
        One or two sentences a dictionary, together.
    """
    sentences = []
    for sae, part in fits.groupby("sae", sort=False):
        base = only(part, checkpoint=Role.BASE)["fvu"].iloc[0]
        others = part.loc[~part["checkpoint"].isin([Role.BASE, Role.AGAIN])]
        worst = rows(others.sort_values("fvu", ascending=False))[0]
        sentences.append(
            f"{sae} leaves {base:.1%} of the variance unexplained in the base, {worst.fvu:.1%} in "
            f"{worst.checkpoint}."
        )
        unusable = only(part, verdict=Fit.UNUSABLE)["checkpoint"]
        if not unusable.empty:
            names = ", ".join(unusable)
            sentences.append(f"It is {Fit.UNUSABLE} in {names}, so none of its features is read.")
    return " ".join(sentences)


def feature_summary(effects: pd.DataFrame, *, feature: int, sae: str, checkpoint: str) -> str:
    """Phrase on why a feature has a page: its change, and what may be claimed of it.

    Args:
        effects: Table ``effects``.
        feature: Number of the feature.
        sae: Name of its dictionary.
        checkpoint: The finetune.

    Returns:
        Half a sentence.
    """
    phrase = f"largest change of {Unit.ACTIVATION}"
    same = only(effects, family=Family.FEATURE, checkpoint=checkpoint, quantity=str(feature))
    # features of several dictionaries may have one number: the hook names the dictionary too
    same = same.loc[same["hook"].str.startswith(f"{sae} at ")]
    if same.empty:
        return phrase
    row = rows(same)[0]
    return f"{phrase}: {row.estimate:+.3g}, {row.verdict}"


def omissions(provenance: Mapping[str, Any]) -> list[str]:
    """Sentences on what was left out because nobody asked for it.

    Args:
        provenance: From ``provenance_of``, with the configuration.

    Returns:
        Sentences.
    """
    by_option = {
        "traits": "No trait files (--traits): behavior, projections and novelty were not measured.",
        "sae": "No dictionary (--sae): features were not read.",
        "control": (
            "No control finetunes (--control): what any finetune does cannot be told from what "
            "this one does."
        ),
        "primary": (
            "No trait was named beforehand (--primary): every test is corrected for all others."
        ),
        "causes": (
            "What carries the effect was not searched for (--causes): that something inside "
            "changed does not say that behavior hangs on it."
        ),
    }
    sentences = [sentence for option, sentence in by_option.items() if not provenance.get(option)]
    return sentences or ["Everything was asked."]


def layer_name(hook: str) -> str:
    """Name of a layer in both conventions.

    Args:
        hook: Canonical name.

    Returns:
        The name, and the index of transformers' hidden states where it is a block's output.

    >>> layer_name("blocks.7.hook_out")
    'blocks.7.hook_out (hidden_states[8])'
    """
    parts = hook.split(".")
    if len(parts) == 3 and parts[0] == "blocks" and parts[2] == "hook_out":
        return f"{hook} (hidden_states[{int(parts[1]) + 1}])"
    return hook


def _primary_sentences(tuned: pd.DataFrame, primary: str) -> list[str]:
    """One sentence a finetune on its primary test; the first says that it was named beforehand."""
    sentences = [_primary_sentence(row) for row in rows(tuned.loc[tuned["primary"]])]
    if not sentences:
        return []
    test = "the one primary test"
    if len(sentences) > 1:
        test = f"the primary test of {len(sentences)} finetunes"
    sentences[0] = f"{primary.capitalize()} was named beforehand as {test}. {sentences[0]}"
    return sentences


def _primary_sentence(row: Row) -> str:
    controls, corrected = "", ""
    if math.isfinite(row.range_lo):
        controls = (
            f"; {row.n_controls} controls changed by {row.controls:+.3f} on average, one more "
            f"would by {row.range_lo:+.3f} to {row.range_hi:+.3f}"
        )
    if row.n_tests > 1:
        corrected = f", q = {_p(row.q)} over {row.n_tests}"
    if not row.possible:
        corrected = f"{corrected}; {row.n} questions are too few for any claim"
    return (
        f"{row.checkpoint}: {row.verdict}; {row.estimate:+.3f} [{row.lo:+.3f}, {row.hi:+.3f}] "
        f"{UNITS[Family(row.family)]} over {row.n} held-out questions{controls} "
        f"(p = {_p(row.p)}{corrected})."
    )


def _rest_sentence(rest: pd.DataFrame, *, has_primary: bool) -> str:
    """Sentence on all tests but the primary ones."""
    what = "everything else" if has_primary else "everything"
    start = f"Of {what} that was tested ({_tests(len(rest))}), "
    claims = rest.loc[rest["verdict"].isin(CLAIMS)]
    if not claims.empty:
        return f"{start}{len(claims)} passed: {_claims(claims)}."
    possible = rest.loc[rest["possible"]]
    if possible.empty:
        return f"{start}none could have shown a lone difference, and nothing follows from that."
    text = f"{start}no difference is shown among {_tests(len(possible))} that could have shown one"
    smallest = (possible["p_min"] * possible["n_tests"] * possible["n_families"]).max()
    # beside controls that vary no p is the smallest
    return f"{text} (smallest possible q {_p(smallest)})." if smallest else f"{text}."


def _too_few_controls(n_controls: int) -> str:
    count = {0: "no control finetune", 1: "1 control finetune"}
    beside = count.get(n_controls, f"{n_controls} control finetunes")
    return (
        f"There is {beside}, so it cannot be said what the finetune moved, only whether it differs "
        "from the base: any finetune, a neutral one too, differs somewhere. Give "
        f"{ENOUGH_CONTROLS} controls or more to tell."
    )


def _claims(claims: pd.DataFrame) -> str:
    """The claims that are surest, in words, and how many more there are."""
    phrases = []
    for row in rows(claims.sort_values("q", kind="stable").head(MOST_CLAIMS)):
        place = f" at {layer_name(row.hook)}" if row.hook else ""
        size = f"{row.estimate:+.3g} [{row.lo:+.3g}, {row.hi:+.3g}] {UNITS[Family(row.family)]}"
        phrases.append(
            f"{row.family} {row.quantity}{place}, {row.checkpoint}: {row.verdict} "
            f"({size}, q = {_p(row.q)})"
        )
    if len(claims) > MOST_CLAIMS:
        phrases.append(f"and {len(claims) - MOST_CLAIMS} more in the table")
    return "; ".join(phrases)


def _tests(n: int) -> str:
    return "1 test" if n == 1 else f"{n} tests"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"
