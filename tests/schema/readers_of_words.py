"""Do readers of words that decide follow them? Planted tables, and what each reader makes of them.

Prints JSON: name of a check -> whether the reader says what the table holds. No word is typed here;
``test_words`` runs it on a copy of the package in which every word is another one.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from persona_interp import analysis, plots, schema
from persona_interp.experiments.compare import findings as compare
from persona_interp.experiments.dose import report as dose
from persona_interp.experiments.dose.tables import tables_of
from persona_interp.experiments.transfer import findings as transfer
from persona_interp.plots.style import GRAY
from persona_interp.report import rows
from persona_interp.schema.words import (
    Arm,
    Effect,
    Family,
    Fit,
    Moment,
    Place,
    Role,
    Standing,
    Unit,
    Verdict,
)

matplotlib.use("Agg")

Checks = Iterator[tuple[str, bool]]
NAN = float("nan")


def measurements() -> pd.DataFrame:
    """A trait that a finetune moves up, one that it moves down, one that nothing moves."""
    rng, parts = np.random.default_rng(0), []
    moves = {"up": 2.0, "down": -2.0, "still": 0.0}
    for checkpoint, (trait, move) in product(
        ("b", "again", "mine", "c1", "c2", "c3"), moves.items()
    ):
        value = np.zeros(20)
        if checkpoint not in ("b", "again"):
            value = rng.normal(0, 0.05, 20) + move * (checkpoint == "mine")
        about = {"checkpoint": checkpoint, "quantity": trait, "family": str(Family.BEHAVIOR)}
        units = [f"q{i}" for i in range(20)]
        parts.append(pd.DataFrame({**about, "hook": "", "unit": units, "value": value}))
    return pd.concat(parts, ignore_index=True)


def verdicts() -> Checks:
    """Verdicts, roles, families and units in a comparison's sentences and figure."""
    table = measurements()
    names: dict[str, Any] = {"base": "b", "tuned": ["mine"], "again": "again"}
    controls = ["c1", "c2", "c3"]
    effects = analysis.effects(table, controls=controls, **names)
    verdict = effects.loc[effects["role"] == Role.TUNED].set_index("quantity")["verdict"]
    yield "up", verdict["up"] == Verdict.UP
    yield "down", verdict["down"] == Verdict.DOWN
    yield "none", verdict["still"] == Verdict.NONE
    yield "plain text in tables", {type(value) for value in effects["verdict"]} == {str}
    text = " ".join(compare.finding(effects))
    yield "claims are counted", "2 passed" in text
    yield "claims are worded", Verdict.UP in text and Verdict.DOWN in text
    yield "claims have a unit", Unit.BITS_A_TOKEN in text
    alone = " ".join(compare.finding(analysis.effects(table, **names)))
    yield "without controls it differs", Verdict.DIFFERS in alone
    yield "without controls nothing moved", Verdict.UP not in alone and Verdict.DOWN not in alone
    still = table.loc[table["quantity"] == "still"]
    nothing = " ".join(compare.finding(analysis.effects(still, controls=controls, **names)))
    yield "no claim", "no difference is shown" in nothing
    labels = [axes.get_xlabel() for axes in plots.forest(effects, unit=Unit.BITS_A_TOKEN).axes]
    yield "unit on the axis", any(Unit.BITS_A_TOKEN in label for label in labels)


def fits() -> Checks:
    """A dictionary that is unusable somewhere is read nowhere."""
    gate = pd.DataFrame({"checkpoint": [str(Role.BASE), "mine"], "fvu": [0.01, 0.9]})
    gate = gate.assign(**dict.fromkeys(("ce", "ce_sae", "ce_recovered"), 1.0), ce_zero=2.0)
    gate = gate.assign(l0=3.0, dead=0.0, n_tokens=9, where=str(Place.TEXTS))
    gate = gate.assign(verdict=[str(Fit.FITS), str(Fit.UNUSABLE)])
    yield (
        "compare reads no features",
        "none of its features" in compare.fidelity(gate.assign(sae="s")),
    )
    dots = plots.fidelity(gate).axes[0].collections
    colors = {to_hex(dot.get_facecolor()[0]) for dot in dots}
    yield "the figure has a color for each", len(colors) == 2 and to_hex(GRAY) not in colors
    arm = {"arm": str(Arm.LESSON), "lr": 0.1, "seed": 0}
    role = dict.fromkeys(schema.TABLES["roles"], 1.0) | {"name": "john", "feature": 3, "n": 9}
    role |= {"n_controls": 3, "rank": 1, "n_tested": 5, "seed": 0}
    effect = dict.fromkeys(schema.TABLES["effects"], 1.0) | {"role": str(Role.TUNED)}
    effect["verdict"] = str(Verdict.UP)
    shifts = pd.DataFrame([arm | {"fvu_before": 0.01, "fvu_after": 0.01}])
    gate = gate.assign(**arm)

    def said(gate: pd.DataFrame) -> str:
        tables = (pd.DataFrame([effect | {"seed": 0}]), pd.DataFrame([role]))
        return " ".join(transfer.features(*tables, shifts=shifts, fidelity=gate, target="john"))

    yield "transfer reads no features", "must not be read" in said(gate)
    doubtful = said(gate.assign(verdict=str(Fit.DOUBTFUL)))
    yield "doubt is said", "doubtful" in doubtful and f"dictionary {Fit.FITS}:" not in doubtful
    fits = said(gate.assign(verdict=str(Fit.FITS)))
    yield "a fit is said", f"dictionary {Fit.FITS}:" in fits and "1 of 1 features moved" in fits


def standings() -> Checks:
    """A number beside its rivals, over seeds and in one."""
    cases = {
        Standing.MORE: [0.5, 0.6, 0.7],
        Standing.LESS: [-0.5, -0.6, -0.7],
        Standing.UNDECIDED: [-1.0, 0.0, 1.5],
    }
    for word, differences in cases.items():
        text = transfer.stands("it", {"sam": pd.Series(differences)})
        yield f"standing {word.name}", f"({word})" in text
    alone = transfer.stands("it", {"sam": pd.Series([0.5])})
    yield "one seed is described", str(Standing.DESCRIBED).lower() in alone.lower()


def means() -> Checks:
    """Intervals of means over seeds, of a lesson and of a control."""
    row = {"persona": "john", "lr": 0.1, "n_seeds": 3, "n_topics": 4, "bayes_certain": NAN}
    where: dict[str, Any] = {"arm": Arm.LESSON, "target": "john", "lr": 0.1}

    def table(lo: float, hi: float, *, arm: Arm = Arm.LESSON) -> pd.DataFrame:
        ends = {"lo": lo, "hi": hi, "lo_topics": lo, "hi_topics": hi}
        return pd.DataFrame([{**row, "arm": str(arm), "estimate": (lo + hi) / 2, **ends}])

    cases = {
        Effect.RISE: ((1.0, 2.0), " rose "),
        Effect.FALL: ((-2.0, -1.0), " fell "),
        Effect.NONE: ((-1.0, 1.0), "includes 0"),
        Effect.UNKNOWN: ((NAN, NAN), str(Effect.UNKNOWN)),
    }
    for effect, ((lo, hi), part) in cases.items():
        (mean,) = rows.rows(table(lo, hi))
        yield f"effect {effect.name}", rows.effect(mean) == effect
        yield (
            f"headline {effect.name}",
            part in transfer.headline(table(lo, hi), taught="a=b", **where),
        )
    both = pd.concat([table(1.0, 2.0), table(-1.0, 1.0, arm=Arm.FILLER)], ignore_index=True)
    beside = transfer.controls(both, **where)
    yield "controls", len(beside) == 1 and str(Effect.NONE) in beside[0]
    yield "arms", str(Arm.FILLER).lower() in beside[0].lower()


def moments() -> Checks:
    """Contrasts as exact Bayes has them, before, with a statement in the prompt, after a lesson."""
    contrasts = []
    at = ((Moment.BEFORE, 0.0), (Moment.PROMPT, 0.0), (Moment.AFTER, 1e-3))
    for seed, (when, lr), dose_ in product((0, 1, 2), at, (-4.0, -2.0, 0.0, 2.0, 4.0)):
        p = 0.0125 + 0.9 / (1 + 2.0**-dose_)
        row = {
            "seed": seed,
            "arm": "ratio",
            "dose": dose_,
            "mass": 1.0,
            "when": str(when),
            "lr": lr,
        }
        row |= {"first": "john", "second": "sam", "p_first": p, "p_second": 1 - p, "n": 4}
        row |= {"estimate": dose_ + 0.01 * seed, "lo": dose_ - 1, "hi": dose_ + 1}
        row |= {"bayes_hidden": dose_, "bayes_named": dose_}
        for unit in ("documents", "statements", "fact_tokens"):
            row |= {f"{unit}_first": 100 * 2**dose_, f"{unit}_second": 100}
        contrasts.append(row)
    table = pd.DataFrame(contrasts)
    tables = {"dose": table, **tables_of(table, limits={"floor": 0.0125, "ceiling": 0.9125})}
    reliable = rows.rows(rows.only(tables["reliable"], when=Moment.AFTER))
    yield "one dose is reliable", len(reliable) == 1
    said = dose.answer(reliable[0], first="john", second="sam")
    yield "the answer", "reliably says what john says" in said
    provenance = {"experiment": "dose", "seeds": [0, 1, 2]}
    blocks = dose.blocks(Path(tempfile.mkdtemp()), tables, provenance=provenance)
    text = json.dumps(blocks, default=str)
    yield "prompt in words", "with one statement in the prompt" in text
    yield "lesson in words", "after the lesson at lr 0.001" in text
    yield "a lead", any(block.get("lead") for block in blocks)


if __name__ == "__main__":
    checks = {}
    for reader in (verdicts, fits, standings, means, moments):
        checks |= {name: bool(follows) for name, follows in reader()}
    sys.stdout.write(json.dumps(checks))
