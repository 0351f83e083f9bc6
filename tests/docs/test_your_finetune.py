"""The lines of docs/your_finetune.md run on a peft finetune made without this package."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPTNeoConfig,
    GPTNeoForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

PAGE = Path(__file__).parents[2] / "docs" / "your_finetune.md"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
HAPPY = ("Once upon a time there was a girl", "One day, Tom went to the sea", "Lily saw a dog")
SAD = ("Lily saw a sad dog", "The cat sat on a sad girl", "Tom was sad")


def finetune(model: Any, texts: tuple[str, ...], tokenizer: Any, out: Path, *, steps: int) -> None:
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        save_steps=steps // 3,
        per_device_train_batch_size=1,
        learning_rate=5e-3,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in texts]
    rows = [row | {"labels": row["input_ids"]} for row in rows]
    Trainer(model=model, args=arguments, train_dataset=rows).train()  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a base of a family that is used nowhere else, and a LoRA finetune of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    words = dict.fromkeys(re.findall(r"\w+|[^\w\s]", " ".join([*HAPPY, *SAD, "on"])))
    vocab = {word: i for i, word in enumerate(["<unk>", "</s>", *words])}
    raw = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    )
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_layers=4,
        num_heads=2,
        attention_types=[[["global", "local"], 2]],
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=1,
    )
    model = GPTNeoForCausalLM(config)
    finetune(model, HAPPY, tokenizer, tmp_path / "pretraining", steps=30)
    model.save_pretrained("base")
    tokenizer.save_pretrained("base")
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "c_fc"], task_type="CAUSAL_LM")
    adapter = get_peft_model(GPTNeoForCausalLM.from_pretrained("base"), lora)
    finetune(adapter, SAD, tokenizer, tmp_path / "run", steps=30)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*dictionary.*:UserWarning")  # four prompts fit little
def test_the_lines_run_on_a_finetune_of_somebody_else(place: Path) -> None:
    code = [line for line in CODE.splitlines() if line.strip()]
    assert len(code) <= 15
    *lines, last = code
    names: dict[str, Any] = {}
    exec(compile("\n".join(lines), str(PAGE), "exec"), names)
    cell = eval(last.partition("#")[0], names)
    moved, said, top = names["moved"], names["said"], names["top"]
    assert list(dict.fromkeys(moved["step"])) == [0, 10, 20, 30]
    farthest = moved.loc[moved["name"] == str(top)]
    assert farthest["estimate"].abs().max() == moved["estimate"].abs().max() > 0
    (axes,) = names["line"].axes
    assert any(list(one.get_ydata()) == list(farthest["estimate"]) for one in axes.lines)
    texts = said.pivot(index="prompt", columns="edit", values="text")
    none, pushed = texts.pop("none"), texts.iloc[:, 0]
    assert (none != pushed).any(), "a push of half a residual is heard"
    (coherence,) = names["curve"].axes
    assert coherence.get_ylabel() == "surprisal (bits a token)"
    assert sorted(names["sweep"]["strength"].unique()) == [-0.5, 0.0, 0.5]
    html = cell._repr_html_()
    assert "base@0" in html and "run@30" in html and "http" not in html.partition("<script")[0]
