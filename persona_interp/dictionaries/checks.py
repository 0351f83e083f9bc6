"""How is a diagnosis told? Every number beside its reference, a light, and one sentence."""

import math
from collections.abc import Iterator
from typing import Any

from persona_interp.dictionaries.examination import (
    BOS,
    DTYPE,
    LAYER,
    NORM,
    OTHER,
    SCALE,
    Examination,
)
from persona_interp.dictionaries.repairs import Repair
from persona_interp.schema.words import FITS_FVU, UNUSABLE_FVU, Fit, Light

WEAK_FVU = 0.3
"""Most published SAEs leave 0.1 to 0.3 unexplained: more than this is amber."""
WORSE = 1.5
"""Times what it left unexplained of its training, up to which it does as well as there."""
DRIFT = 1.25
"""Times the base's unexplained fraction, up to which a finetune is described as well."""
SPLIT = 4.0
"""Times, up or down, up to which counts of features are alike: SAELens counts all of training."""
BEYOND_K = 2.0
"""Times up to which the features a token of an SAE that keeps k of them are k."""
SHRUNK = 1.5
"""Times, up or down, up to which norms are alike."""
ROOM = 0.5
"""Bits a token that zeros at a hook must cost before the share recovered says something."""
RECOVERED = 0.5
"""Share of them that is recovered at least."""
LIGHTS = list(Light)  # from the best to the worst
GATE = {
    Fit.FITS: f"{Fit.FITS}",
    Fit.DOUBTFUL: f"is {Fit.DOUBTFUL}",
    Fit.UNUSABLE: f"is {Fit.UNUSABLE}",
}

Row = dict[str, Any]


def diagnosis_rows(exam: Examination, base: Examination | None) -> list[Row]:
    """Rows of a diagnosis table, without checkpoint and cause; the last one is "overall".

    Args:
        exam: What is measured and stated of a dictionary and a checkpoint.
        base: The same for the model it was made for; None for that model itself.

    Returns:
        The rows.
    """
    rows = [*_fit_rows(exam, base), *_cause_rows(exam)]
    worst = max((row["verdict"] for row in rows), key=LIGHTS.index)
    return [*rows, _row("overall", exam.fvu, FITS_FVU, worst, _sentence(exam, rows))]


def _row(check: str, value: float, reference: float, light: str, text: str) -> Row:
    return {
        "check": check,
        "value": value,
        "reference": reference,
        "verdict": str(light),
        "text": text,
    }


def _light(*, fault: bool, color: Light = Light.AMBER) -> Light:
    """Green, or this color where there is a fault."""
    return color if fault else Light.GREEN


def _fit_rows(exam: Examination, base: Examination | None) -> Iterator[Row]:
    """Yield how well it fits: nothing here names a cause."""
    yield _fvu_row(exam)
    if base is not None:
        yield _drift_row(exam, base)
    if exam.fidelity:
        yield from _reconstruction_rows(exam)


def _fvu_row(exam: Examination) -> Row:
    training_fvu = exam.facts.get("fvu")
    usual, reference = WEAK_FVU, FITS_FVU
    if training_fvu is not None:
        usual, reference = max(WEAK_FVU, WORSE * training_fvu), training_fvu
    if exam.fvu <= usual:
        light = Light.GREEN
    elif exam.cause == OTHER or not math.isfinite(exam.fvu):
        light = Light.RED
    else:
        light = Light.AMBER
    fit = Fit(exam.fidelity.get("verdict", Fit.UNUSABLE))
    text = (
        f"{exam.fvu:.1%} of the variance at {exam.hook} is unexplained; by the gate of fidelity it "
        f"{GATE[fit]}"
    )
    return _row("fvu", exam.fvu, reference, light, text)


def _drift_row(exam: Examination, base: Examination) -> Row:
    drift = exam.fvu / max(base.fvu, 1e-6)
    if drift <= DRIFT or exam.fvu <= FITS_FVU:
        light, meaning = Light.GREEN, "as on the base"
    else:
        light = Light.RED if exam.fvu > UNUSABLE_FVU else Light.AMBER
        meaning = "the finetune moved out of what the dictionary describes"
    text = f"{drift:.2f} times the unexplained variance of the base: {meaning}"
    return _row("drift", exam.fvu, base.fvu, light, text)


def _reconstruction_rows(exam: Examination) -> Iterator[Row]:
    """Yield what is special about the reconstruction: features, norm, bits, roles."""
    fidelity = exam.fidelity
    known, k = exam.facts.get("l0"), exam.facts.get("k")
    yield _l0_row(fidelity["l0"], known, most=BEYOND_K if known == k else SPLIT)
    alike = 1 / SHRUNK <= exam.norm_ratio <= SHRUNK
    text = "mean norm of the reconstruction over that of the residual"
    yield _row("norm ratio", exam.norm_ratio, 1.0, _light(fault=not alike), text)
    text = "mean cosine of reconstruction and residual"
    yield _row("cosine", exam.cosine, 1.0, Light.GREEN, text)
    recovered, room = fidelity["ce_recovered"], fidelity["ce_zero"] - fidelity["ce"]
    light = _light(fault=room > ROOM and recovered < RECOVERED)
    text = f"of the {room:.2f} bits a token that zeros at this hook cost, this share is recovered"
    yield _row("ce recovered", recovered, 0.9, light, text)
    text = f"share of features that never fired on {fidelity['n_tokens']} tokens"
    yield _row("dead", fidelity["dead"], 0.0, Light.GREEN, text)
    for role, fvu in exam.role_fvus.items():
        if not math.isnan(fvu):
            text = f"unexplained on tokens of role {role}, over all variance"
            yield _row(f"fvu of {role}", fvu, exam.fvu, Light.GREEN, text)


def _l0_row(l0: float, known: float | None, *, most: float) -> Row:
    if known is None:
        text = f"{l0:.1f} features a token; its metadata does not say how many"
        return _row("l0", l0, math.nan, Light.GREEN, text)
    alike = known <= 0 or 1 / SPLIT <= l0 / known <= most
    text = f"{l0:.1f} features a token; its metadata says {known:.1f}"
    return _row("l0", l0, known, _light(fault=not alike), text)


def _cause_rows(exam: Examination) -> Iterator[Row]:
    """Yield what could be wrong, each beside what would be right."""
    yield from _layer_rows(exam)
    if exam.scales:
        yield _scale_row(exam)
    if exam.normalizations:
        yield _normalization_row(exam)
    yield from _bos_rows(exam)
    yield _dtype_row(exam)
    if math.isfinite(exam.null_fvu):
        light = _light(fault=exam.cause == OTHER, color=Light.RED)
        text = (
            "unexplained of residuals turned at random, beside the least that any repair leaves of "
            "the real ones"
        )
        yield _row("null", exam.null_fvu, exam.least_fvu, light, text)
    altered = exam.facts.get("altered")
    if altered:
        yield _row("card", math.nan, math.nan, Light.AMBER, str(altered))


def _layer_rows(exam: Examination) -> Iterator[Row]:
    for repair in exam.layers:
        text = "the same dictionary at another hook"
        yield _row(f"fvu at {repair.name}", repair.fvu, exam.fvu, Light.GREEN, text)
    best = exam.repairs.get(LAYER)
    if best is not None:
        light = _light(fault=exam.cause == LAYER, color=Light.RED)
        text = f"least unexplained elsewhere: {best.fvu:.3f} at {best.name}; {_as_it_is(exam)}"
        yield _row("layer", best.fvu, exam.fvu, light, text)


def _scale_row(exam: Examination) -> Row:
    best = min(exam.scales, key=lambda repair: repair.fvu)
    fault = exam.cause in (SCALE, NORM) and exam.cause in exam.remedies
    text = (
        f"best factor on {_target(best)}: {best.factor:.3g}, which leaves {best.fvu:.3f}; "
        f"{_as_it_is(exam)}"
    )
    return _row("scale", best.factor, 1.0, _light(fault=fault, color=Light.RED), text)


def _normalization_row(exam: Examination) -> Row:
    best = min(exam.normalizations, key=lambda repair: repair.fvu)
    text = (
        f"best normalization: {best.name}, which leaves {best.fvu:.3f} unexplained; "
        f"{_as_it_is(exam)}"
    )
    if exam.states_normalization:
        outcome = "fits raw residuals better: a stale flag"
        if exam.unfolded_by_statement:
            outcome = "fits no worse so"
        text += f"; its folder says {exam.facts['normalize_activations']}, and it {outcome}"
    light = Light.GREEN
    if exam.cause == NORM:  # measured, or only stated
        light = Light.RED if NORM in exam.remedies else Light.AMBER
    return _row("normalization", best.fvu, exam.fvu, light, text)


def _bos_rows(exam: Examination) -> Iterator[Row]:
    other = exam.repairs.get(BOS)
    if other is not None:
        light = _light(fault=bool(exam.broken_bos_claim))
        if exam.cause == BOS and BOS in exam.remedies:
            light = Light.RED
        text = f"{other.name} {other.fvu:.3f} is unexplained; as read {exam.fvu:.3f}"
        if exam.broken_bos_claim:
            text += f"; {exam.broken_bos_claim}"
        yield _row("bos", other.fvu, exam.fvu, light, text)
    light = _light(fault=exam.cause == BOS and exam.opens_otherwise)
    if len(exam.opening_fvus) == 2:
        read, toggled = exam.opening_fvus["read"], exam.opening_fvus["toggled"]
        text = "unexplained at the first tokens of documents, as read beside the other BOS handling"
        yield _row("first token", read, toggled, light, text)
    if not math.isnan(exam.first_fvu):
        text = "unexplained at first tokens without BOS, beside all others"
        yield _row("no BOS", exam.first_fvu, exam.rest_fvu, light, text)


def _dtype_row(exam: Examination) -> Row:
    share = max(exam.precision.exact.values(), default=0.0)
    complaint = exam.precision.complaint
    if not complaint:
        text = f"the weights are {exam.precision.stored}, as stated"
        return _row("dtype", share, 0.0, Light.GREEN, text)
    light = Light.AMBER if exam.precision.finite else Light.RED
    return _row("dtype", share, 0.0, light, complaint)


def _as_it_is(exam: Examination) -> str:
    if math.isfinite(exam.fvu):
        return f"{exam.fvu:.3f} as it is"
    return f"it cannot be read at {exam.hook}"


def _target(repair: Repair) -> str:
    """What a factor multiplies, in words."""
    return "the residual" if repair.name == "input" else f"its {repair.name}"


def _sentence(exam: Examination, rows: list[Row]) -> str:
    """The one sentence to read."""
    if not exam.cause:
        return _sentence_without_cause(exam, rows)
    repair = exam.remedies.get(exam.cause)
    numbers = ""
    if repair:
        numbers = f" ({exam.fvu:.3f} unexplained, {repair.fvu:.3f} repaired)"
    elif exam.cause == NORM:
        repair = exam.stated_scale
    return f"{exam.cause}: {_advice(exam, repair)}{numbers}"


def _advice(exam: Examination, repair: Repair | None) -> str:
    """What to do about the cause, or what speaks for it."""
    widths = exam.widths.values()
    if exam.cause == OTHER and exam.d_in not in widths:
        return f"it reads width {exam.d_in}, this model has {sorted(set(widths))}"
    if exam.cause == OTHER:
        return "nothing tried makes it fit better than residuals turned at random"
    if exam.cause == DTYPE:
        return exam.precision.complaint or "it answers with numbers that are not finite"
    if exam.cause == BOS and repair is None:
        return exam.broken_bos_claim or "leave out the first token of documents"
    assert repair is not None, f"{exam.cause} is a cause by what repairs it"
    if exam.cause == BOS:
        return f"read the text {repair.name}"
    if exam.cause == LAYER:
        return f"it says {exam.hook} but fits {repair.name}"
    if repair.factor != 1:
        return f"multiply {_target(repair)} by {repair.factor:.3g}"
    return f"it expects {repair.name}"


def _sentence_without_cause(exam: Examination, rows: list[Row]) -> str:
    """The one sentence where nothing is wrong, or what is wrong has no cause."""
    alarms = [row for row in rows if row["verdict"] != Light.GREEN]
    if not alarms:
        return "it fits"
    for row in alarms:
        if row["check"] == "drift" and exam.base_fits:
            return f"it fits the base, not this finetune: {row['text']}"
    return f"no cause found, but {alarms[-1]['check']}: {alarms[-1]['text']}"
