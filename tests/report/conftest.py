"""Planted tables of a finished transfer experiment, with no model behind them; a strict parser."""

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.schema.words import Place, Verdict

TRAITS = ("sport=football", "art=renaissance")
HOOK = "blocks.1.hook_out"
EFFECTS = {"lesson": (2.5, 6.0), "unrelated lesson": (-0.5, -0.25), "scrambled world": (0.125, 0.0)}
"""Arm -> (shift, what exact Bayes expects), bits."""


KNOWN = set(
    "html head meta title link style body h1 h2 p small a figure img figcaption div table thead "
    "tbody tr th td details summary span b script nav ul li".split()
)
KNOWN |= set("header main nav section label select input button ul".split())  # of the browser
VOID = {"meta", "link", "img", "input"}


class Strict(HTMLParser):
    """Every tag known, opened and closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.nodes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []  # those that run
        self.data: list[str] = []  # JSON

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, f"<{tag}> in a report"
        self.nodes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            kind = dict(attrs).get("type")
            assert kind in (None, "application/json") and len(attrs) == (kind is not None)
            (self.scripts if kind is None else self.data).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["script"]:
            self.text += data
        elif self.nodes[-1][1]:
            self.data[-1] += data
        else:
            self.scripts[-1] += data


def parse_strictly(document: str) -> Strict:
    parser = Strict()
    parser.feed(document)
    parser.close()
    assert parser.open == []
    return parser


def make_tokens(
    texts: list[str], *, checkpoints: tuple[str, ...] = ("base", "tuned"), width: int = 50
) -> pd.DataFrame:
    """A tokens table of feature 7: these texts in order, ``width`` a prompt, each after a BOS."""
    rows = []
    for i, text in enumerate(texts):
        prompt, pos = divmod(i, width)
        row = {"prompt": f"doc{prompt}", "pos": pos, "piece": text, "feature": 7, "turn": 0}
        row |= {"role": "assistant" if pos else "special", "counted": bool(pos)}
        for j, checkpoint in enumerate(checkpoints, start=1):
            rows.append({**row, "checkpoint": checkpoint, "act": j * (i % 5) + 90.0 * (not pos)})
    return pd.DataFrame(rows)


def make_summary_row(
    *, arm: str, estimate: float, bayes: float, half: float, seeds: int
) -> dict[str, Any]:
    """A row of the table ``summary`` whose interval is estimate +- half."""
    interval, none = (estimate - half, estimate + half), (np.nan, np.nan)
    over_seeds, over_topics = (interval, none) if seeds > 1 else (none, interval)
    return {
        **{"arm": arm, "lr": 0.001, "persona": "john", "estimate": estimate},
        **{"lo": over_seeds[0], "hi": over_seeds[1], "sd": 0.1, "n_seeds": seeds},
        **{"pmi": 3.0, "bayes_certain": bayes, "bayes_mixing": np.nan},
        **{"lo_topics": over_topics[0], "hi_topics": over_topics[1], "n_topics": 4},
    }


def make_tables(*, seeds: tuple[int, ...] = (0,), verdict: str = "fits") -> dict[str, pd.DataFrame]:
    """Every table that ``summarize`` returns."""
    transfer, curve, shifts, fidelity, gates, mixing, samples = ([] for _ in range(7))
    effects, roles, distances = ([] for _ in range(3))
    for seed in seeds:
        run = {"lr": 0.001, "seed": seed}
        gate = {"variant": "full", "seed": seed, "named": 3.0, "nameless": -5.0, "gap": 8.0}
        gates.append({**gate, "bayes_nameless": -5.5, "answer_mass": 0.875})
        fit = {"k": 0.5, "lo": 0.25, "hi": 1.0, "at_bound": False, "n": 4}
        mixing.append({**run, "arm": "lesson", **fit})
        for arm in EFFECTS:
            curve += make_curve(run, arm)
            transfer += make_shifts(run, arm)
            samples += make_samples(run, arm)
        for arm in ("lesson", "unrelated lesson"):
            shifts += make_feature_shifts(run, arm)
            fidelity += make_fidelity(run, arm, verdict=verdict)
        effects += make_effects(run)
        roles += make_roles(run)
        for arm, (size, _) in EFFECTS.items():
            at = {**run, "arm": arm, "lo": 0.25, "hi": 4.0, "n": 50}
            distances.append({**at, "estimate": abs(size)})
    n_seeds = 2 if len(seeds) > 1 else 1
    summary = []
    for arm, (size, bayes) in EFFECTS.items():
        row = make_summary_row(arm=arm, estimate=size, bayes=bayes, half=0.25, seeds=n_seeds)
        summary.append(row)
    tables = {
        "summary": summary,
        "transfer": transfer,
        "curve": curve,
        "features": effects,
        "roles": roles,
        "feature_shift": shifts,
        "distances": distances,
        "fidelity": fidelity,
        "gates": gates,
        "mixing": mixing,
        "samples": samples,
    }
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def make_shift(run: dict[str, Any], arm: str, step: int) -> dict[str, Any]:
    """How far one arm has come at a step of four."""
    size, bayes = EFFECTS[arm]
    shift = size * step / 4
    return {
        **{**run, "arm": arm, "persona": "john", "context": "nameless", "pmi": 3.0},
        **{"bayes_certain": bayes, "step": step, "bayes_mixing": np.nan, "before": -5.0, "n": 4},
        **{"trained": False, "estimate": shift, "after": shift - 5},
        **{"lo": shift - 0.25, "hi": shift + 0.25},
    }


def make_curve(run: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    return [{**make_shift(run, arm, step), "trait": "mean"} for step in (0, 2, 4)]


def make_shifts(run: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    shift = make_shift(run, arm, 4)
    untaught = [{**shift, "trait": trait} for trait in (*TRAITS, "mean")]
    return [*untaught, {**shift, "trait": "place=beach", "trained": True}]


def make_samples(run: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    texts = {"lesson@0": "tennis .", "lesson@4": "football ."}
    return [
        {**run, "arm": arm, "checkpoint": label, "prompt": "p0", "text": text}
        for label, text in texts.items()
    ]


def make_feature_shifts(run: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    q = 0.001 if arm == "lesson" else 0.5
    row = {**run, "p": q, "q": q, "null_lo": -0.5, "null_hi": 0.5, "n": 50, "n_clusters": 5}
    row |= {"n_tested": 2, "n_silent": 1, "p_min": 0.0001, "fvu_before": 0.1, "fvu_after": 0.125}
    row |= {"arm": arm, "hook": HOOK, "null": "exchangeable"}
    return [
        {**row, "estimate": size, "lo": size - 0.5, "hi": size + 0.5, "feature": int(size)}
        for size in (3.0, 7.0)
    ]


CONTROLS = {"unrelated lesson": 1.0, "second unrelated lesson": -1.0, "filler lesson": 0.0}
"""Control lesson -> how far it moves every feature."""


def make_effects(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Features 3, 7 and 8 after the lesson, and after three control lessons."""
    row = dict.fromkeys(schema.TABLES["effects"], 0.5) | {**run, "hook": HOOK, "n": 50}
    row |= {"family": "feature", "n_controls": 3, "range_lo": -5.0, "range_hi": 5.0}
    row["verdict"] = str(Verdict.NONE)
    rows = []
    for quantity, size, q in (("7", 7.0, 0.01), ("3", 3.0, 0.5), ("8", 0.0, 1.0)):
        mine = {"checkpoint": "lesson", "role": "tuned", "estimate": size, "excess": size, "q": q}
        mine |= {"controls": 0.0, "lo": size - 0.5, "hi": size + 0.5}
        if q <= 0.05:
            mine["verdict"] = str(Verdict.UP)
        rows.append({**row, "quantity": quantity, **mine})
        for control, moved in CONTROLS.items():
            at = {"checkpoint": control, "role": "control", "estimate": moved}
            rows.append({**row, "quantity": quantity, **at})
    return rows


def make_roles(run: dict[str, Any]) -> list[dict[str, Any]]:
    """john's best feature rises by 7, more by a quarter in every further seed; mary's by 3."""
    rows = []
    for name, feature, size, rank in (("john", 7, 7.0, 1), ("mary", 3, 3.0, 2), ("sam", 8, 0.0, 3)):
        size += run["seed"] / 4
        row = {**run, "hook": HOOK, "name": name, "feature": feature, "n": 50, "rank": rank}
        row |= {"estimate": size, "lo": size - 0.5, "hi": size + 0.5, "controls": 0.0}
        row |= {"n_controls": 3, "least": -1.0, "least_control": "second unrelated lesson"}
        row |= {"most": 1.0, "most_control": "unrelated lesson", "n_tested": 3}
        row |= {"excess": size, "excess_lo": size - 0.5, "excess_hi": size + 0.5}
        rows.append(row)
    return rows


def make_fidelity(run: dict[str, Any], arm: str, *, verdict: str) -> list[dict[str, Any]]:
    fit = {"l0": 8.0, "dead": 0.1, "ce": 1.0, "ce_sae": 1.1, "ce_zero": 5.0, "ce_recovered": 0.97}
    row = {**run, "arm": arm, "hook": HOOK, **fit, "n_tokens": 1_000}
    before = {"checkpoint": "lesson@0", "fvu": 0.1, "verdict": "fits"}
    after = {"checkpoint": "lesson@4", "fvu": 0.14, "verdict": verdict}
    texts = [{**row, **before}, {**row, **after}]
    read = [{**part, "fvu": 0.02, "verdict": "fits", "n_tokens": 50} for part in texts]
    return [
        *({**part, "where": str(Place.TEXTS)} for part in texts),
        *({**part, "where": str(Place.PROMPTS)} for part in read),
    ]


@pytest.fixture(scope="session")
def planted() -> Callable[..., dict[str, pd.DataFrame]]:
    return make_tables


@pytest.fixture(scope="session")
def provenance() -> dict[str, Any]:
    return {
        "experiment": "transfer",
        "seeds": [0],
        "start": "tiny",
        "world": "john_and_sam-0",
        "arms": ["lesson"],
        "cells": 9,
        "cells_done": 8,
        "git": "abc1234",
    }


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Strict]:
    return parse_strictly


@pytest.fixture(scope="session")
def tokens_of() -> Callable[..., pd.DataFrame]:
    return make_tokens
