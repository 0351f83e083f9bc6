"""How is a diagnosis told? Every number beside what it is compared with, a light, and one sentence."""

import math
from collections.abc import Iterator
from typing import Any

from persona_interp.dictionaries.evidence import BOS, DTYPE, LAYER, NORM, OTHER, SCALE, Evidence
from persona_interp.dictionaries.fidelity import FITS_FVU, UNUSABLE_FVU
from persona_interp.dictionaries.repairs import Repair

WEAK_FVU = 0.3  # more is unexplained than by most published SAEs, which leave 0.1 to 0.3
DRIFT = 1.25  # times the base's unexplained fraction, up to which a finetune is described as well
SPLIT = 4.0  # times, up or down, up to which two counts of active features are alike: SAELens counts all of training
SHRUNK = 1.5  # times, up or down, up to which norms are alike
GREEN, AMBER, RED = LIGHTS = ("green", "amber", "red")


def lines(found: Evidence, base: Evidence | None) -> list[dict[str, Any]]:
    """What is there to say about this pair?

    Args:
        found: What was measured.
        base: The same for the model it was made for; None for that model itself.

    Returns:
        Rows of a diagnosis table without checkpoint and cause; the last one is "overall".
    """
    rows = [*_fit(found, base), *_causes(found)]
    worst = max((row["verdict"] for row in rows), key=LIGHTS.index)
    return [*rows, _row("overall", found.here, FITS_FVU, worst, _sentence(found, rows))]


def _row(check: str, value: float, reference: float, verdict: str, text: str) -> dict[str, Any]:
    return {
        "check": check,
        "value": value,
        "reference": reference,
        "verdict": verdict,
        "text": text,
    }


def _fit(found: Evidence, base: Evidence | None) -> Iterator[dict[str, Any]]:
    """How well it fits: nothing here names a cause."""
    trained = found.facts.get("fvu")
    usual = max(WEAK_FVU, 1.5 * trained) if trained is not None else WEAK_FVU
    verdict = found.fidelity.get("verdict", "unusable")
    light = (
        GREEN
        if found.here <= usual
        else RED
        if found.cause == OTHER or not math.isfinite(found.here)
        else AMBER
    )
    text = f"{found.here:.1%} of the variance at {found.hook} is unexplained; by the gate of fidelity it {_gate(verdict)}"
    yield _row("fvu", found.here, FITS_FVU if trained is None else trained, light, text)
    if base is not None:
        drift = found.here / max(base.here, 1e-6)
        light = (
            GREEN
            if drift <= DRIFT or found.here <= FITS_FVU
            else RED
            if found.here > UNUSABLE_FVU
            else AMBER
        )
        told = (
            "as on the base"
            if light == GREEN
            else "the finetune moved out of what the dictionary describes"
        )
        yield _row(
            "drift",
            found.here,
            base.here,
            light,
            f"{drift:.2f} times the unexplained variance of the base: {told}",
        )
    if not found.fidelity:
        return
    known, l0 = found.facts.get("l0"), found.fidelity["l0"]
    split = known is not None and known > 0 and not 1 / SPLIT <= l0 / known <= SPLIT
    said = (
        f"its metadata says {known:.1f}"
        if known is not None
        else "its metadata does not say how many"
    )
    yield _row(
        "l0",
        l0,
        math.nan if known is None else known,
        AMBER if split else GREEN,
        f"{l0:.1f} features a token; {said}",
    )
    alike = 1 / SHRUNK <= found.norm_ratio <= SHRUNK
    text = "mean norm of the reconstruction over that of the residual"
    yield _row("norm ratio", found.norm_ratio, 1.0, GREEN if alike else AMBER, text)
    yield _row("cosine", found.cosine, 1.0, GREEN, "mean cosine of reconstruction and residual")
    recovered, room = (
        found.fidelity["ce_recovered"],
        found.fidelity["ce_zero"] - found.fidelity["ce"],
    )
    text = f"of the {room:.2f} bits a token that zeros at this hook cost, this share is recovered"
    yield _row(
        "ce recovered", recovered, 0.9, AMBER if room > 0.5 and recovered < 0.5 else GREEN, text
    )
    dead = found.fidelity["dead"]
    yield _row(
        "dead",
        dead,
        0.0,
        GREEN,
        f"share of features that never fired on {found.fidelity['n_tokens']} tokens",
    )
    for role, one in found.roles.items():
        if not math.isnan(one):
            yield _row(
                f"fvu of {role}",
                one,
                found.here,
                GREEN,
                f"unexplained on tokens of role {role}, over all variance",
            )


def _gate(verdict: str) -> str:
    return {"fits": "fits", "doubtful": "is doubtful", "unusable": "is unusable"}[verdict]


def _causes(found: Evidence) -> Iterator[dict[str, Any]]:
    """What could be wrong, each beside what would be right."""
    best, cause = found.repairs, found.cause
    for repair in found.layers:
        yield _row(
            f"fvu at {repair.name}",
            repair.fvu,
            found.here,
            GREEN,
            "the same dictionary at another hook",
        )
    if LAYER in best:
        text = f"least unexplained elsewhere: {best[LAYER].fvu:.3f} at {best[LAYER].name}; {_here(found)}"
        yield _row("layer", best[LAYER].fvu, found.here, RED if cause == LAYER else GREEN, text)
    if found.scales:
        factor = min(found.scales, key=lambda repair: repair.fvu)
        light = RED if cause in (SCALE, NORM) and cause in found.helping else GREEN
        text = f"best factor on {_of(factor)}: {factor.factor:.3g}, which leaves {factor.fvu:.3f}; {_here(found)}"
        yield _row("scale", factor.factor, 1.0, light, text)
    if found.normalizations:
        way = min(found.normalizations, key=lambda repair: repair.fvu)
        text = f"best normalization: {way.name}, which leaves {way.fvu:.3f} unexplained; {_here(found)}"
        if found.states_normalization:
            told = (
                "fits no worse so"
                if found.unfolded_by_statement
                else "fits raw residuals better: a stale flag"
            )
            text += f"; its folder says {found.facts['normalize_activations']}, and it {told}"
        light = GREEN if cause != NORM else RED if NORM in found.helping else AMBER
        yield _row("normalization", way.fvu, found.here, light, text)
    if BOS in best:
        text = f"{best[BOS].name} {best[BOS].fvu:.3f} is unexplained; as read {found.here:.3f}"
        text += f"; {found.expects_bos}" if found.expects_bos else ""
        yield _row(
            "bos",
            best[BOS].fvu,
            found.here,
            RED if BOS in found.helping and cause == BOS else _note(found),
            text,
        )
    if len(found.openings) == 2:
        text = "unexplained at the first tokens of documents, as read beside the other BOS handling"
        light = AMBER if cause == BOS and found.opens_otherwise else GREEN
        yield _row("first token", found.openings["read"], found.openings["toggled"], light, text)
    if not math.isnan(found.first):
        text = "unexplained at first tokens without BOS, beside all others"
        light = AMBER if cause == BOS and found.opens_otherwise else GREEN
        yield _row("no BOS", found.first, found.rest, light, text)
    share = max(found.precision.exact.values(), default=0.0)
    complaint = found.precision.complaint
    light = GREEN if not complaint else RED if not found.precision.finite else AMBER
    yield _row(
        "dtype",
        share,
        0.0,
        light,
        complaint or f"the weights are {found.precision.stored}, as stated",
    )
    if math.isfinite(found.null):
        text = "unexplained of residuals turned at random, beside the least that any repair leaves of the real ones"
        yield _row("null", found.null, found.best, RED if cause == OTHER else GREEN, text)
    if altered := found.facts.get("altered"):
        yield _row("card", math.nan, math.nan, AMBER, str(altered))


def _note(found: Evidence) -> str:
    return AMBER if found.expects_bos else GREEN


def _here(found: Evidence) -> str:
    return (
        f"{found.here:.3f} as it is"
        if math.isfinite(found.here)
        else f"it cannot be read at {found.hook}"
    )


def _of(repair: Repair) -> str:
    return "the residual" if repair.name == "input" else f"its {repair.name}"


def _sentence(found: Evidence, rows: list[dict[str, Any]]) -> str:
    """The one sentence to read."""
    repair = found.helping.get(found.cause)
    fixed = f" ({found.here:.3f} unexplained, {repair.fvu:.3f} repaired)" if repair else ""
    if found.cause == OTHER:
        if found.d_in not in found.widths.values():
            return f"{OTHER}: it reads width {found.d_in}, this model has {sorted(set(found.widths.values()))}"
        return f"{OTHER}: nothing tried makes it fit better than residuals turned at random{fixed}"
    if found.cause == LAYER:
        name = repair.name if repair else "another hook"
        return f"wrong layer: it says {found.hook} but fits {name}{fixed}"
    repair = repair or (found.stated if found.cause == NORM else None)
    if found.cause in (SCALE, NORM) and repair:
        how = (
            f"multiply {_of(repair)} by {repair.factor:.3g}"
            if repair.factor != 1
            else f"it expects {repair.name}"
        )
        return f"{found.cause}: {how}{fixed}"
    if found.cause == BOS:
        how = (
            f"read the text {repair.name}"
            if repair
            else found.expects_bos or "leave out the first token of documents"
        )
        return f"{BOS}: {how}{fixed}"
    if found.cause == DTYPE:
        return (
            f"dtype: {found.precision.complaint or 'it answers with numbers that are not finite'}"
        )
    seen = [row for row in rows if row["verdict"] != GREEN]
    if moved := next((row for row in seen if row["check"] == "drift" and found.base_fits), None):
        return f"it fits the base, not this finetune: {moved['text']}"
    return f"no cause found, but {seen[-1]['check']}: {seen[-1]['text']}" if seen else "it fits"
