"""Every block of Python on every page runs as it stands there, or says why it is not run."""

import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sae_lens import SAE

import persona_interp as pi
from persona_interp import dictionaries, experiments, models, record, worlds
from persona_interp.dictionaries.saelens import build
from persona_interp.readers import EvalQuestion, RoleFile, write_questions, write_role
from persona_interp.store import Store
from tests.docs.pages import PAGES, ROOT, blocks, code_of
from tests.docs.test_your_experiment import TINY as TINY_EXPERIMENT
from tests.record.test_endpoint import Server, server

__all__ = ["server"]  # the fixture

ELSEWHERE = {
    "docs/coming_from.md": "test_coming_from.py",
    "docs/jailbreaks.md": "test_jailbreaks.py",
    "docs/look.md": "test_look.py",
    "docs/your_experiment.md": "test_your_experiment.py",
    "docs/your_finetune.md": "test_your_finetune.py",
}
"""Pages whose blocks a test of their own runs."""
HERE = {
    "README.md": "test_readme",
    "docs/bring_your_own.md": "test_bring_your_own",
    "docs/devices.md": "test_devices",
    "docs/endpoints.md": "test_endpoints",
    "docs/steering.md": "test_steering",
    "docs/traits.md": "test_traits",
    "docs/worlds.md": "test_worlds",
}
"""Pages whose blocks these tests run."""
WORDS = (
    "you are an assistant . what sport do like ? i really football tennis golf art beach "
    "What is a tide Tell me about Monday"
)
QUESTIONS = ["what do you like ?", "what art ?", "do you like beach ?", "what sport ?"]
SARDONIC = {
    "instruction": [
        {"pos": "you really like sport .", "neg": "you like art ."},
        {"pos": "you like golf .", "neg": "you are art ."},
    ],
    "questions": QUESTIONS,
    "eval_prompt": "how sardonic ? {question} {answer}",
}
N_FEATURES, HOOK = 300, "blocks.1.hook_out"


def test_every_block_is_run_or_says_why_not() -> None:
    texts = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
    n_blocks = {name: len(re.findall("```py", text)) for name, text in texts.items()}
    assert {name for name, n in n_blocks.items() if n} == {*HERE, *ELSEWHERE}
    for name in (*HERE, *ELSEWHERE):
        assert len(blocks(name)) == n_blocks[name], name
        assert all(len(block.reason.split()) > 2 for block in blocks(name) if block.reason), name
    assert all(callable(globals()[test]) for test in HERE.values())
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (Path(__file__).parent / test).read_text(encoding="utf-8")


def run(name: str, names: dict[str, Any], *, cheap: dict[str, str] | None = None) -> dict[str, Any]:
    """Names that the page's blocks leave behind; ``cheap`` is what makes texts of it affordable."""
    codes = code_of(name)
    for text, instead in (cheap or {}).items():
        assert any(text in code for code in codes), text
        codes = [code.replace(text, instead) for code in codes]
    for code in codes:
        exec(compile(code, name, "exec"), names)
    return names


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pages are read in: models, a dictionary, traits, prompts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    start = models.resolve("tiny", words=WORDS.split(), out=tmp_path / "start")
    model, tokenizer = models.load(start)
    for seed, name in enumerate(("model", "finetune")):
        generator = torch.Generator().manual_seed(seed)
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data = 0.25 * torch.randn(weight.shape, generator=generator)
        model.save_pretrained(tmp_path / "path" / "to" / name)
        tokenizer.save_pretrained(tmp_path / "path" / "to" / name)
    dictionaries.save_dictionary(dictionary(), tmp_path / "path" / "to" / "sae")
    for folder in ("traits", "path/to/traits"):
        Path(folder).mkdir()
        Path(folder, "sardonic.json").write_text(json.dumps(SARDONIC), encoding="utf-8")
    rows = [json.dumps({"prompt": text}) for text in QUESTIONS]
    for name in ("prompts.jsonl", "extraction_questions.jsonl"):
        Path(name).write_text("\n".join(rows), encoding="utf-8")
    Path("lesson.txt").write_text("\n".join(QUESTIONS), encoding="utf-8")
    return tmp_path


def dictionary() -> dictionaries.SparseDictionary:
    """A dictionary of random directions of the tiny model, more of them than dimensions."""
    W_dec = torch.randn(N_FEATURES, 64, generator=torch.Generator().manual_seed(0))
    W_dec = W_dec / W_dec.norm(dim=1, keepdim=True)
    config: dict[str, Any] = {"architecture": "standard", "d_in": 64, "d_sae": N_FEATURES}
    config |= {"dtype": "float32", "device": "cpu"}
    weights = {"W_enc": W_dec.T.contiguous(), "W_dec": W_dec}
    weights |= {"b_enc": torch.zeros(N_FEATURES), "b_dec": torch.zeros(64)}
    sae = build(config, weights)
    sae.cfg.metadata.hook_name = HOOK
    return dictionaries.SparseDictionary(sae, "random", HOOK, torch.zeros(64), 1.0)


def judge(question: str, answer: str, eval_prompt: str) -> float:
    return 80.0


judge.name = "mild"  # type: ignore[attr-defined]


@pytest.mark.slow
def test_steering(lab: Path) -> None:
    names = {"prompts": QUESTIONS[:2], "base": models.resolve("path/to/model")}
    cheap = {
        "(-0.4, -0.2, 0.2, 0.4), controls=5": "(-0.4, 0.4), controls=1",
        "edits=push)": "edits=push, max_new_tokens=4)",
        "base=base,": "base=base, max_new_tokens=4,",
    }
    names = run("docs/steering.md", names, cheap=cheap)
    assert set(names["table"]["edit"]) == {"none", "add feature 288 +0.3"}
    assert set(names["rows"]["strength"]) == {-0.4, 0.0, 0.4}
    assert set(names["means"]["quantity"]) == {"bits_per_token", "sardonic"}
    assert (lab / "sweep.png").is_file()


def test_endpoints(lab: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "sk-of-a-page")
    cheap = {"http://gpu-machine:8000/v1": server.url, "https://api.example/v1": server.url}
    names = run("docs/endpoints.md", {}, cheap=cheap)
    assert len(names["answers"]) == 4 * len(QUESTIONS)
    assert names["scores"]["sardonic"].between(0, 100).all()
    assert len(server.requests) == 2 * len(names["answers"])


@pytest.mark.slow
def test_devices(lab: Path) -> None:
    (code,) = code_of("docs/your_experiment.md")
    for text, cheap in TINY_EXPERIMENT.items():
        code = code.replace(text, cheap)
    Path("mine.py").write_text(code, encoding="utf-8")
    base, tuned = (models.resolve(f"path/to/{name}") for name in ("model", "finetune"))
    names: dict[str, Any] = {"record": record, "experiments": experiments, "models": models}
    names |= {"base": base, "tuned": tuned, "chats": QUESTIONS, "out": lab / "out"}
    names["experiment"] = experiments.preset("quick", f"{lab}/mine.py:Mine")
    card = {'device="cuda:1"': 'device="cpu"', '"cuda:1", batch': '"cpu", batch'}
    run(
        "docs/devices.md",
        names,
        cheap=card | {'out, device="cuda")': 'out, device="cpu", workers=0)'},
    )
    assert set(Store.open(lab / "out").status()["state"]) == {"done"}


def test_worlds(lab: Path) -> None:
    (text, *_) = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "worlds.md").read_text(), re.DOTALL
    )
    Path("my_world.yaml").write_text(text, encoding="utf-8")
    names = run("docs/worlds.md", {})
    assert names["world"].personas and not len(
        names["leaks"](names["world"].corpus(50), names["world"])
    )


@pytest.mark.slow
def test_traits(lab: Path) -> None:
    likely = [("80", math.log(0.9)), ("I", math.log(0.1))]
    names: dict[str, Any] = {"math": math, "COHERENCE": "how coherent ? {question} {answer}"}
    names["client"] = SimpleNamespace(first_token=lambda **_: likely)
    names |= {"judge": judge, "tuned": models.resolve("path/to/finetune")}
    prompts = {name: f"{name} ? {{question}} {{answer}}" for name in ("aligned", "coherent")}
    question = EvalQuestion("bored", ("what art ?",), judge_prompts=prompts)
    write_questions([question], Path("first_plot_questions.yaml"))
    Path("path/to/roles").mkdir()
    for i, name in enumerate(("default", "pirate", "poet", "scholar", "robot")):
        role = RoleFile(name, (f"you are {WORDS.split()[i + 10]} .",), tuple(QUESTIONS))
        write_role(role, Path(f"path/to/roles/{name}.json"))
    cheap = {
        "(12, 18, 24)": "(0, 1)",
        "n_layers=30": "n_layers=2",
        "max_new_tokens=48": "max_new_tokens=4",
    }
    names = run("docs/traits.md", names, cheap=cheap)
    assert (lab / "sardonic_response_avg_diff.pt").is_file() and (lab / "judged.csv").is_file()
    assert names["judgments"]["aligned"].eq(80).all() and len(names["axis"]["hook"]) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*dictionary.*:UserWarning")
def test_bring_your_own(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {
        "# lessons.py": ["path/to/model", "sardonic"],
        "# finetune.py": ["path/to/model", "sardonic.jsonl", "0", "taught"],
        "# vectors.py": ["path/to/model"],
    }
    for step, name in enumerate(("model", "finetune"), 1):
        shutil.copytree(Path("path/to", name), Path("runs/finetune", f"checkpoint-{step}"))
    shutil.copytree("path/to/sae", "sae")
    dictionary().sae.save_model("my_sae")
    base = models.resolve("path/to/model")
    names: dict[str, Any] = {"pi": pi, "SAE": SAE, "checkpoint": base, "prompts": QUESTIONS}
    cheap = {"range(30)": "range(2)", "n_layers=30": "n_layers=2", "[0, 14, 29]": "[0, 1]"}
    for code in code_of("docs/bring_your_own.md"):
        script = next((name for name in arguments if code.startswith(name)), "")
        monkeypatch.setattr(sys, "argv", [script, *arguments.get(script, [])])
        for text, instead in cheap.items():
            code = code.replace(text, instead)
        exec(compile(code, "docs/bring_your_own.md", "exec"), names)
    assert set(names["table"]["step"]) == {1, 2} and len(names["text"])
    assert (lab / "sardonic.jsonl").is_file() and (lab / "taught").is_dir()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*dictionary.*:UserWarning")
def test_readme(lab: Path) -> None:
    cheap = {
        "world.corpus(seed=0))": "world.corpus(200, seed=0), stage=TINY)",
        "pi.models.Stage(lr=1e-3)": "pi.models.Stage(steps=4, lr=1e-3)",
        "world.corpus(4_000, seed=1)": "world.corpus(60, seed=1)",
        "steps=500": "steps=20, d_sae=32",
        "world.corpus(1_500, seed=2": "world.corpus(600, seed=2",
    }
    tiny = replace(models.DOCUMENTS, steps=4, warmup=0)
    names = run("README.md", {"TINY": tiny}, cheap=cheap)
    assert len(names["john"]) == 3 and len(names["edited"]) > len(names["shift"])
    assert isinstance(names["world"], worlds.World)
