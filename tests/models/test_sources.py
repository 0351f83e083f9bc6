"""Every kind of start: hub ids, a Trainer's folder, a model in memory, code that is not trusted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from persona_interp.errors import ModelError
from persona_interp.models import (
    PLAIN_TEMPLATE,
    Checkpoint,
    Trajectory,
    boot,
    folds_system,
    has_system,
    hash_weights,
    load,
    resolve,
    sources,
)

COMMITS = ("0" * 40, "1" * 40)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Fill a hub cache as the hub's own client does: blobs, snapshots of links, refs."""
    home = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))

    def put(
        repo: str, folder: Path, *, commit: str = COMMITS[0], ref: str = "main", into: str = ""
    ) -> Path:
        root = home / f"models--{repo.replace('/', '--')}"
        snapshot = root / "snapshots" / commit / into
        for part in (root / "blobs", root / "refs", snapshot):
            part.mkdir(parents=True, exist_ok=True)
        for file in filter(Path.is_file, folder.rglob("*")):
            blob = (
                root / "blobs" / f"{commit[:4]}-{into}-{file.relative_to(folder)}".replace("/", "-")
            )
            shutil.copy(file, blob)
            (snapshot / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / file.relative_to(folder)).symlink_to(blob)
        (root / "refs" / ref).write_text(commit)
        return snapshot

    return put


@pytest.fixture(scope="module")
def run(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The output folder of a Trainer, whole models or adapters."""

    def train(name: str, *, lora: bool = False, tokenizer: bool = True) -> Path:
        out = tmp_path_factory.mktemp("runs") / name
        model, reads = load(tiny)
        if lora:
            from peft import LoraConfig, get_peft_model

            model = get_peft_model(
                model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
            )
        rows = [{"input_ids": ids, "labels": ids} for ids in torch.randint(4, 16, (8, 6))]
        arguments = TrainingArguments(
            output_dir=str(out),
            max_steps=4,
            save_steps=2,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
        )
        extra = {"processing_class": reads} if tokenizer else {}
        Trainer(model=model, args=arguments, train_dataset=rows, **extra).train()  # type: ignore[arg-type]
        return out

    return train


def test_a_hub_id_has_a_revision_and_a_folder(
    tiny: Any, stories: Any, hub: Callable[..., Path]
) -> None:
    hub("org/name", tiny.path)
    hub("org/name", stories.path, commit=COMMITS[1], ref="v1")
    hub("org/name", stories.path, into="runs/best")
    for name, weights in {
        "org/name": tiny,
        "org/name@main": tiny,
        f"org/name@{COMMITS[0]}": tiny,
        "org/name@v1": stories,
        "org/name@main/runs/best": stories,
        "org/name/runs/best": stories,
    }.items():
        made = resolve(name)
        assert hash_weights(made) == hash_weights(weights) and made.label == name
    with pytest.raises(ModelError, match="has no folder 'runs/last'"):
        resolve("org/name@main/runs/last")
    with pytest.raises(ModelError, match=r"'org/name@v2'.*not in the hub cache"):
        resolve("org/name@v2")


def test_an_adapter_of_the_hub_on_a_base_of_the_hub(
    tiny: Any, run: Any, hub: Callable[..., Path]
) -> None:
    adapter = run("lora", lora=True) / "checkpoint-4"
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": "org/base"})
    )
    hub("me/adapter", adapter)
    with pytest.raises(ModelError, match=r"'org/base'.*not in the hub cache"):
        resolve("me/adapter")
    hub("org/base", tiny.path)
    made = resolve("me/adapter@main")
    assert made.label == "me/adapter@main" and hash_weights(made) == hash_weights(
        resolve(adapter, base=tiny)
    )


def test_a_trainers_folder_is_its_checkpoints(
    tiny: Any, run: Any, hub: Callable[..., Path]
) -> None:
    whole = run("whole")
    made = sources(whole)
    assert [c.label for c in made] == ["whole@2", "whole@4"]
    assert [c.path for c in made] == [whole / "checkpoint-2", whole / "checkpoint-4"]
    assert Trajectory(made).last.step == 4 and len({hash_weights(c) for c in (tiny, *made)}) == 3
    assert sources(whole / "checkpoint-2") == (resolve(whole / "checkpoint-2"),) == made[:1]
    with pytest.raises(ModelError, match=r"holds 2 checkpoints .*checkpoint-4"):
        resolve(whole)
    hub("org/run", whole)
    assert [c.label for c in sources("org/run")] == ["org/run@2", "org/run@4"]


def test_a_snapshot_of_our_training_is_called_by_its_training_and_step(
    tiny: Any, tmp_path: Path
) -> None:
    shutil.copytree(tiny.path, tmp_path / "sarcastic" / "step-000024")
    assert resolve(tmp_path / "sarcastic" / "step-000024").label == "sarcastic@24"


def test_an_adapter_without_a_tokenizer_reads_as_its_base_does(tiny: Any, run: Any) -> None:
    adapter = run("lora", lora=True) / "checkpoint-4"
    for file in (*adapter.glob("tokenizer*"), *adapter.glob("*.jinja")):
        file.unlink()
    tokenizer = load(tiny).tokenizer
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    other = resolve(tiny, tokenizer=tokenizer)
    templates = [
        load(resolve(adapter, base=base)).tokenizer.chat_template for base in (tiny, other)
    ]
    assert templates == [load(tiny).tokenizer.chat_template, tokenizer.chat_template]


def test_adapters_of_a_training_share_their_base(tiny: Any, run: Any) -> None:
    out = run("lora", lora=True)
    made = sources(out, base=tiny)
    assert [c.label for c in made] == ["lora@2", "lora@4"] and len(
        {hash_weights(c) for c in (tiny, *made)}
    ) == 3
    assert sources(out) == made, "the adapters name their base themselves"
    assert resolve(out / "checkpoint-4", base=tiny) == made[-1]
    boot(made[-1])


def test_a_checkpoint_saved_without_tokenizer_reads_as_its_folder_or_base_does(
    tiny: Any, run: Any
) -> None:
    out = run("bare", tokenizer=False)
    with pytest.raises(ModelError, match="checkpoint-2 lacks its tokenizer"):
        sources(out)
    given = sources(out, base=tiny)
    assert [c.label for c in given] == ["bare@2", "bare@4"] and load(
        given[0]
    ).tokenizer.chat_template
    load(tiny).tokenizer.save_pretrained(out)
    assert [hash_weights(c) for c in sources(out)] == [hash_weights(c) for c in given]


def test_a_saved_trajectory_and_single_starts(tiny: Any, tmp_path: Path) -> None:
    shutil.copytree(tiny.path, tmp_path / "run" / "step-1")
    trajectory = Trajectory(
        (Checkpoint(tiny.path, "a", 0), Checkpoint(tmp_path / "run" / "step-1", "a", 1))
    )
    trajectory.save(tmp_path / "run")
    assert (
        [c.label for c in sources(tmp_path / "run")]
        == ["a@0", "a@1"]
        == [c.label for c in sources(trajectory)]
    )
    assert sources(tiny) == (tiny,) and sources(tiny.path) == (Checkpoint(tiny.path),)
    for start in (tmp_path / "run", trajectory):
        with pytest.raises(ModelError, match="sources"):
            resolve(start)


def test_a_model_in_memory_is_saved_once(tiny: Any) -> None:
    model, tokenizer = load(tiny)
    made = resolve(model, tokenizer=tokenizer, name="mine")
    assert made.label == "mine" and hash_weights(made) == hash_weights(tiny)
    stamp = made.path.stat().st_mtime_ns
    assert (
        resolve(model, tokenizer=tokenizer).path == made.path
        and made.path.stat().st_mtime_ns == stamp
    )
    with torch.no_grad():
        model.lm_head.weight += 1
    assert resolve(model, tokenizer=tokenizer).path != made.path
    with pytest.raises(ModelError, match="needs its tokenizer"):
        resolve(model)
    with pytest.raises(ModelError, match="got a dict"):
        resolve({})


def test_a_model_that_lacks_a_head_or_a_shard_is_refused(tiny: Any, tmp_path: Path) -> None:
    model, tokenizer = load(tiny)
    model.model.save_pretrained(tmp_path / "headless")
    tokenizer.save_pretrained(tmp_path / "headless")
    with pytest.raises(ModelError, match=r"incomplete: 1 weights .*first lm_head"):
        load(resolve(tmp_path / "headless"))
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path / "shards")
    assert torch.equal(
        load(resolve(tmp_path / "shards")).model.lm_head.weight, model.lm_head.weight
    )
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    shards[1].unlink()
    with pytest.raises(
        ModelError, match=rf"lacks 1 of its {len(shards)} shards of weights, first {shards[1].name}"
    ):
        resolve(tmp_path / "shards")


def test_pickled_weights_are_not_opened(tiny: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.path, tmp_path / "old")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled \.bin files.*convert them once"):
        resolve(folder)


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own_kind"
class Own(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def coded(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose model is code of its own."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder = shutil.copytree(tiny.path, tmp_path / "coded")
    (folder / "own.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "own_kind", "auto_map": names})
    )
    return folder


def test_code_of_a_model_runs_only_where_its_name_is_trusted(
    coded: Path, tiny: Any, hub: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"wants to run code of its own \(model_type 'own_kind'"):
        resolve(coded)
    with pytest.raises(ModelError, match="wants to run code"):
        load(Checkpoint(coded))
    hub("org/own", coded)
    named = f"org/own@{COMMITS[0]}"
    for start, trust in ((coded, [str(coded)]), (named, [named])):
        model = load(resolve(start, trust=trust)).model
        assert type(model).__name__ == "Own"
    with pytest.raises(ModelError, match="wants to run code"):
        resolve("org/own", trust=[named])
    with pytest.raises(ModelError, match=r"trust names 'org/own@main'.*can be moved"):
        resolve("org/own@main", trust=["org/own@main"])


def test_code_beside_a_known_kind_never_runs(coded: Path, tiny: Any) -> None:
    config = json.loads((coded / "config.json").read_text())
    (coded / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    (coded / "own.py").write_text("raise SystemExit('this code ran')")
    assert type(load(resolve(coded)).model).__name__ == "LlamaForCausalLM"


def test_a_tokenizer_can_be_given(tiny: Any, stories: Any, tmp_path: Path) -> None:
    copy = resolve(stories.path, chat_template=PLAIN_TEMPLATE, out=tmp_path / "templated")
    made = resolve(stories.path, tokenizer=copy)
    assert load(made).tokenizer.chat_template == PLAIN_TEMPLATE and hash_weights(
        made
    ) == hash_weights(stories)
    assert resolve(stories.path, tokenizer=stories).path == stories.path
    assert (
        resolve(stories, tokenizer=copy).path == made.path
        and resolve(stories, name="mine").label == "mine"
    )
    with pytest.raises(ModelError, match="belongs to another model"):
        load(resolve(tiny.path, tokenizer=stories))


REFUSES = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + PLAIN_TEMPLATE
)


def test_a_model_without_a_system_role_can_fold_it(tiny: Any, tmp_path: Path) -> None:
    assert resolve(tiny, fold_system=True).path == tiny.path, "its template has the role"
    folder = shutil.copytree(tiny.path, tmp_path / "refuses")
    (folder / "chat_template.jinja").write_text(REFUSES)
    (folder / "optimizer.pt").write_text("not the model's")
    folded = resolve(folder, fold_system=True)
    assert folded.label == "refuses" and hash_weights(folded) == hash_weights(tiny)
    assert not (folded.path / "optimizer.pt").exists()
    tokenizer = load(folded).tokenizer
    assert (
        has_system(tokenizer)
        and folds_system(tokenizer)
        and not has_system(load(Checkpoint(folder)).tokenizer)
    )
    assert resolve(folded, fold_system=True).path == folded.path, "folded once"
    run = Trajectory((Checkpoint(folder, "lesson", 0), Checkpoint(folder, "lesson", 8)))
    made = sources(run, fold_system=True)
    assert [c.label for c in made] == ["lesson@0", "lesson@8"] and {c.path for c in made} == {
        folded.path
    }


def test_weights_are_linked_only_where_nobody_rewrites_them(tiny: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.path, tmp_path / "refuses")
    (folder / "chat_template.jinja").write_text(REFUSES)
    folded = resolve(folder, fold_system=True)
    weights = folded.path / "model.safetensors"
    assert not weights.samefile(folder / "model.safetensors"), (
        "the user may train on into this file"
    )
    assert weights.samefile(resolve(folded, tokenizer=tiny).path / "model.safetensors")


def test_a_template_that_loses_messages_cannot_fold(tiny: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.path, tmp_path / "drops")
    (folder / "chat_template.jinja").write_text("nobody said anything")
    with pytest.raises(ModelError, match="takes no system message"):
        resolve(folder, fold_system=True)
