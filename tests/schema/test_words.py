"""A word that decides is written once: changed there, every reader follows, and nobody types it again."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_interp.schema import words

PACKAGE = Path(__file__).parents[2] / "persona_interp"
ENUMS = [value for value in vars(words).values() if isinstance(value, type)]
ENUMS = [enum for enum in ENUMS if issubclass(enum, words.StrEnum) and enum is not words.StrEnum]
COMMON = {"base", "control", "tuned", "lesson", "before", "prompt", "behavior", "answers", "null"}
COMMON |= {"feature", "projection", "bits", "red", "green", "fits", "metric", "new", "composable"}
COMMON |= {"divergence", "worse", "better"}
"""Words that also are names of columns, files, stages, roles or colors, which mean something else."""

READERS = """
import json, tempfile
from pathlib import Path
import numpy as np, pandas as pd, matplotlib
matplotlib.use("Agg")
from persona_interp import analysis, plots
from persona_interp.experiments.compare import findings as compare
from persona_interp.experiments.dose import report as dose
from persona_interp.experiments.dose.tables import tables_of
from persona_interp.experiments.transfer import findings as transfer
from persona_interp.report import rows
from persona_interp.schema.words import *

seen = {}
# Compare: one trait that a finetune moves up, one down, one that nothing moves; three controls.
rng = np.random.default_rng(0)
moves = {"up": 2.0, "down": -2.0, "still": 0.0}
parts = []
for checkpoint in ("b", "again", "mine", "c1", "c2", "c3"):
    for trait, move in moves.items():
        value = rng.normal(0, 0.05, 20) + (move if checkpoint == "mine" else 0.0)
        if checkpoint in ("b", "again"):
            value = np.zeros(20)
        units = [f"q{i}" for i in range(20)]
        parts.append(pd.DataFrame({"checkpoint": checkpoint, "quantity": trait, "unit": units, "value": value}))
table = pd.concat(parts, ignore_index=True).assign(family=str(Family.BEHAVIOR), hook="")
names = {"base": "b", "tuned": ["mine"], "again": "again"}
effects = analysis.effects(table, controls=["c1", "c2", "c3"], **names)
mine = effects.loc[effects["role"] == Role.TUNED].set_index("quantity")["verdict"]
seen["verdicts"] = [mine["up"] == Verdict.UP, mine["down"] == Verdict.DOWN, mine["still"] == Verdict.NONE]
seen["plain text in tables"] = {type(value) is str for value in effects["verdict"]} == {True}
sentences = " ".join(compare.finding(effects))
seen["claims are counted"] = "2 passed" in sentences and Verdict.UP in sentences and Verdict.DOWN in sentences
seen["unit of a family"] = Unit.BITS_A_TOKEN in sentences
alone = analysis.effects(table, **names)
seen["differs"] = Verdict.DIFFERS in " ".join(compare.finding(alone)) and "moved it" not in " ".join(compare.finding(alone)).replace("what the finetune moved", "")
still = analysis.effects(table.loc[table["quantity"] == "still"], controls=["c1", "c2", "c3"], **names)
seen["no claim"] = "no difference is shown" in " ".join(compare.finding(still))
figure = plots.forest(effects, unit=Unit.BITS_A_TOKEN)
seen["unit on the axis"] = any(Unit.BITS_A_TOKEN in axes.get_xlabel() for axes in figure.axes)
# Fidelity: a dictionary that is unusable somewhere is not read, in words and in the figure.
fits = pd.DataFrame({"checkpoint": ["base", "mine"], "fvu": [0.01, 0.9], "l0": 3.0, "dead": 0.0, "ce": 1.0, "ce_sae": 1.0, "ce_zero": 2.0, "ce_recovered": 1.0, "n_tokens": 9})
fits = fits.assign(verdict=[str(Fit.FITS), str(Fit.UNUSABLE)], checkpoint=[str(Role.BASE), "mine"])
seen["unusable is said"] = "none of its features is read" in compare.fidelity(fits.assign(sae="s"))
seen["colors of fits"] = len({bar.get_facecolor() for axes in plots.fidelity(fits).axes for bar in axes.patches} | {c for axes in plots.fidelity(fits).axes for k in axes.collections for c in map(tuple, k.get_facecolor())}) >= 1
shift = pd.DataFrame([{"arm": str(Arm.LESSON), "lr": 0.1, "seed": 0, "feature": 3, "estimate": 1.0, "lo": 0.5, "hi": 1.5, "q": 0.01, "n": 9, "n_tested": 5, "null_lo": -0.1, "null_hi": 0.1, "fvu_before": 0.01, "fvu_after": 0.01}])
gate = fits.assign(arm=str(Arm.LESSON), lr=0.1, seed=0)
seen["transfer reads no unusable dictionary"] = "must not be read" in transfer.features(shift, gate, arm=Arm.LESSON, lr=0.1)
doubt = gate.assign(verdict=str(Fit.DOUBTFUL))
seen["doubt is said"] = "doubtful" in transfer.features(shift, doubt, arm=Arm.LESSON, lr=0.1).lower()
# Effects over seeds.
row = {"arm": str(Arm.LESSON), "persona": "john", "lr": 0.1, "n_seeds": 3, "n_topics": 4, "bayes_certain": float("nan")}
def line(lo, hi, arm=Arm.LESSON):
    return {**row, "arm": str(arm), "estimate": (lo + hi) / 2, "lo": lo, "hi": hi, "lo_topics": lo, "hi_topics": hi}
for name, ends, word in (("rise", (1, 2), Effect.RISE), ("fall", (-2, -1), Effect.FALL), ("none", (-1, 1), Effect.NONE), ("unknown", (float("nan"),) * 2, Effect.UNKNOWN)):
    (one,) = rows.rows(pd.DataFrame([line(*ends)]))
    seen[f"effect {name}"] = rows.effect(one) == word
    said = transfer.headline(pd.DataFrame([line(*ends)]), arm=Arm.LESSON, target="john", taught="a=b", lr=0.1)
    seen[f"headline {name}"] = {"rise": " rose ", "fall": " fell ", "none": "includes 0", "unknown": str(Effect.UNKNOWN)}[name] in said
beside = transfer.controls(pd.DataFrame([line(1, 2), line(-1, 1, Arm.FILLER)]), arm=Arm.LESSON, target="john", lr=0.1)
seen["controls"] = len(beside) == 1 and str(Effect.NONE) in beside[0] and str(Arm.FILLER).lower() in beside[0].lower()
# Moments: contrasts planted as Bayes has them are read before, in the prompt and after the lesson.
planted = []
for seed in (0, 1, 2):
    for when, lr in ((Moment.BEFORE, 0.0), (Moment.PROMPT, 0.0), (Moment.AFTER, 1e-3)):
        for d in (-4, -2, 0, 2, 4):
            p = 0.0125 + 0.9 / (1 + 2.0 ** -d)
            planted.append({"seed": seed, "arm": "ratio", "dose": float(d), "mass": 1.0, "first": "john", "second": "sam", "when": str(when), "lr": lr, "estimate": d + 0.01 * seed, "lo": d - 1.0, "hi": d + 1.0, "n": 4, "p_first": p, "p_second": 1 - p, "bayes_hidden": float(d), "bayes_named": float(d), **{f"{u}_{w}": 100 * 2 ** (d if w == "first" else 0) for u in ("documents", "statements", "fact_tokens") for w in ("first", "second")}})
contrasts = pd.DataFrame(planted)
tables = {"dose": contrasts, **tables_of(contrasts, limits={"floor": 0.0125, "ceiling": 0.9125})}
reliable = rows.rows(rows.only(tables["reliable"], when=Moment.AFTER))
seen["moments"] = len(reliable) == 1 and "reliably says what john says" in dose.answer(reliable[0], first="john", second="sam")
blocks = dose.blocks(Path(tempfile.mkdtemp()), tables, provenance={"experiment": "dose", "seeds": [0, 1, 2]})
text = json.dumps(blocks, default=str)
seen["moments in sentences"] = all(part in text for part in ("with one statement in the prompt", "after the lesson at lr 0.001"))
seen["lead"] = any(block.get("lead") for block in blocks)
print(json.dumps({name: bool(np.all(value)) for name, value in seen.items()}))
"""


def constants(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string of the code that is no docstring."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.lineno, node.value


def test_no_word_has_two_meanings_in_one_enum() -> None:
    assert len(ENUMS) >= 8
    for enum in ENUMS:
        assert len({str(member) for member in enum}) == len(enum), enum.__name__


def test_nobody_types_a_word_again() -> None:
    texts = {str(member) for enum in ENUMS for member in enum} - COMMON
    again = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "words.py":
            continue
        for line, text in constants(ast.parse(path.read_text())):
            if text in texts:
                again.append(f"{path.relative_to(PACKAGE)}:{line}: {text!r}")
    assert again == []


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package in which every word is another one."""
    root = tmp_path_factory.mktemp("changed")
    shutil.copytree(PACKAGE, root / "persona_interp", ignore=shutil.ignore_patterns("__pycache__"))
    file = root / "persona_interp" / "schema" / "words.py"
    text, n = re.subn(
        r'^    ([A-Z_]+) = "([^"]*)"$', r'    \1 = "zz \2 zz"', file.read_text(), flags=re.M
    )
    assert n == sum(map(len, ENUMS))
    file.write_text(text)
    return root


def test_every_reader_follows_a_changed_word(changed: Path) -> None:
    command = [sys.executable, "-c", READERS]
    done = subprocess.run(command, cwd=changed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    follows = json.loads(done.stdout.splitlines()[-1])
    assert len(follows) >= 20
    assert [reader for reader, ok in follows.items() if not ok] == []
