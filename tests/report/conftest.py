"""Planted tables of a finished transfer experiment, and a strict parser of pages.

The numbers are chosen by hand; no model is behind them.
"""

import random
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

TRAITS = ("sport=football", "art=renaissance")
HOOK = "blocks.1.hook_out"
EFFECTS = {"lesson": (2.5, 6.0), "unrelated lesson": (-0.5, -0.25), "scrambled world": (0.125, 0.0)}
"""Arm -> (shift, what exact Bayes expects), bits."""

KNOWN = set(
    "html head meta title link style body h1 h2 p small a figure img figcaption div "
    "table thead tbody tr th td details summary span b script".split()
)
VOID = {"meta", "link", "img"}


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
    """Tokens table of feature 7: these texts in order, ``width`` a prompt.

    The first token of each prompt is a BOS.
    """
    rows = []
    for i, text in enumerate(texts):
        at = {
            "prompt": f"doc{i // width}",
            "pos": i % width,
            "piece": text,
            "feature": 7,
            "turn": 0,
        }
        at |= {"role": "assistant" if i % width else "special", "counted": bool(i % width)}
        rows += [
            {**at, "checkpoint": c, "act": (j + 1) * (i % 5) + 90.0 * (not i % width)}
            for j, c in enumerate(checkpoints)
        ]
    return pd.DataFrame(rows)


def make_summary_row(
    *,
    arm: str = "lesson",
    persona: str = "john",
    estimate: float = 2.5,
    half: float = 0.5,
    seeds: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """A row of the table ``summary`` whose interval is estimate +- half."""
    over_seeds = (estimate - half, estimate + half) if seeds > 1 else (np.nan, np.nan)
    over_topics = (np.nan, np.nan) if seeds > 1 else (estimate - half, estimate + half)
    return {
        **{
            "arm": arm,
            "lr": 0.001,
            "persona": persona,
            "estimate": estimate,
            "lo": over_seeds[0],
            "hi": over_seeds[1],
        },
        **{"sd": 0.1, "n_seeds": seeds, "pmi": 3.0, "bayes_certain": 6.0, "bayes_mixing": np.nan},
        **{"lo_topics": over_topics[0], "hi_topics": over_topics[1], "n_topics": 4, **more},
    }


def make_tables(*, seeds: tuple[int, ...] = (0,), verdict: str = "fits") -> dict[str, pd.DataFrame]:
    """Every table that ``summarize`` returns."""
    transfer, curve, features, fidelity, gates, mixing, samples = ([] for _ in range(7))
    for seed in seeds:
        keys = {"lr": 0.001, "seed": seed}
        gates.append({"variant": "full", "seed": seed, "named": 3.0, "nameless": -5.0, "gap": 8.0})
        gates[-1] |= {"bayes_nameless": -5.5, "answer_mass": 0.875}
        mixing.append(
            {**keys, "arm": "lesson", "k": 0.5, "lo": 0.25, "hi": 1.0, "at_bound": False, "n": 4}
        )
        for arm, (size, bayes) in EFFECTS.items():
            rows = {
                **keys,
                "arm": arm,
                "persona": "john",
                "context": "nameless",
                "pmi": 3.0,
                "bayes_certain": bayes,
            }
            for step in (0, 2, 4):
                at = {
                    **rows,
                    "step": step,
                    "bayes_mixing": np.nan,
                    "before": -5.0,
                    "n": 4,
                    "trained": False,
                }
                estimate = size * step / 4
                ends = {
                    "estimate": estimate,
                    "after": estimate - 5,
                    "lo": estimate - 0.25,
                    "hi": estimate + 0.25,
                }
                curve.append({**at, **ends, "trait": "mean"})
                if step == 4:
                    transfer += [{**at, **ends, "trait": trait} for trait in (*TRAITS, "mean")]
                    transfer.append({**at, **ends, "trait": "place=beach", "trained": True})
            for step, text in ((0, "tennis ."), (4, "football .")):
                samples.append(
                    {
                        **keys,
                        "arm": arm,
                        "checkpoint": f"lesson@{step}",
                        "prompt": "p0",
                        "text": text,
                    }
                )
        for arm in ("lesson", "unrelated lesson"):
            q = 0.001 if arm == "lesson" else 0.5
            known = {"p": q, "q": q, "null_lo": -0.5, "null_hi": 0.5, "n": 50, "n_clusters": 5}
            known |= {
                "n_tested": 2,
                "n_silent": 1,
                "p_min": 0.0001,
                "fvu_before": 0.1,
                "fvu_after": 0.125,
            }
            known |= {"arm": arm, "hook": HOOK}
            for size in (3.0, 7.0):
                ends = {"estimate": size, "lo": size - 0.5, "hi": size + 0.5}
                features.append({**keys, **known, **ends, "feature": int(size)})
            for step in (0, 4):
                fit = {
                    "fvu": 0.1 + step / 100,
                    "l0": 8.0,
                    "dead": 0.1,
                    "ce": 1.0,
                    "ce_sae": 1.1,
                    "ce_zero": 5.0,
                }
                fit |= {
                    "ce_recovered": 0.97,
                    "n_tokens": 1_000,
                    "verdict": verdict if step else "fits",
                }
                fit |= {"arm": arm, "hook": HOOK}
                fidelity.append({**keys, "checkpoint": f"lesson@{step}", **fit})
    several = len(seeds) > 1
    summary = [
        make_summary_row(
            arm=arm, estimate=size, bayes_certain=bayes, half=0.25, seeds=2 if several else 1
        )
        for arm, (size, bayes) in EFFECTS.items()
    ]
    tables = {
        "summary": summary,
        "transfer": transfer,
        "curve": curve,
        "features": features,
        "fidelity": fidelity,
        "gates": gates,
        "mixing": mixing,
        "samples": samples,
    }
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


@pytest.fixture(scope="session")
def summary_row() -> Callable[..., dict[str, Any]]:
    return make_summary_row


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


ATTACKS = (
    "", " ", "\n", "\r\n", "\r", "\t", "\x00", "\ufeff", "\u200b", "\u202e", "\u2066",
    "\u00ad", "\u2028", "\u2029", "\ue000", "\uffff", "\U000e0041", "\ufe0f", "\u3164", "\u2800",
    "⟨U+202E⟩", "⟨empty⟩", "NA", "nan", "null", "&lt;b&gt;", "&amp;", "&#60;",
    "</script>", "</SCRIPT >", "<!--<script>", "]]>", "{{ 7 * 7 }}", "{% raw %}",
    "<script>console.error('ran')</script>", "<img src=x onerror=console.error('ran')>",
    "<b>" * 40_000, "<svg/onload=console.error('ran')>", "' onmouseover='x", '" style="x',
    "<style>*{display:none}</style>", "`${x}`", "</td></table>", "</div>", "javascript:x",
    "\\u003cb\\u003e", "=cmd|'/C calc'!A0", "a,b", 'a"b',
    "<|im_start|>", "é", "e\u0301", "👩\u200d💻", "😀", "日本語", "שלום", "x" * 100_000,
)  # fmt: skip


@pytest.fixture(scope="session")
def hostile_texts() -> list[str]:
    """2,000 texts: known attacks, and random mixtures of them with random code points.

    Surrogates are left out: pandas refuses them.
    """
    rng = random.Random(0)
    short = [text for text in ATTACKS if len(text) < 100]
    ranges = [
        (0, 0x20),
        (0x20, 0x7F),
        (0x7F, 0x250),
        (0x2000, 0x2070),
        (0xE000, 0xE100),
        (0x1F300, 0x1F700),
        (0, 0x110000),
    ]
    texts = list(ATTACKS)
    while len(texts) < 2_000:
        parts = [
            rng.choice(short),
            *(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(6))),
        ]
        rng.shuffle(parts)
        texts.append("".join(parts).encode(errors="ignore").decode())
    return texts
