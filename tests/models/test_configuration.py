"""A configuration that its weights cannot be of is refused before it takes time or memory."""

import builtins
import errno
import json
import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, checkup, load, resolve


def changed(tiny: Any, folder: Path, name: str, text: str) -> Checkpoint:
    shutil.copytree(tiny.path, folder)
    (folder / name).write_text(text)
    return Checkpoint(folder)


def config_of(tiny: Any, **fields: Any) -> str:
    return json.dumps({**json.loads((tiny.path / "config.json").read_text()), **fields})


HARMLESS = {
    "architectures",
    "quantization_config",
    "text_config",
    "pad_token_id",
    "tie_word_embeddings",
}
"""Fields that no number of a Llama depends on, or that its weights overrule."""


@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 2.5},
        {"num_hidden_layers": "two"},
        {"num_hidden_layers": None},
        {"hidden_size": 10**9},
        {"hidden_size": 0},
        {"hidden_size": -64},
        {"intermediate_size": 10**7},
        {"vocab_size": 10**8},
        {"vocab_size": 3},
        {"num_attention_heads": 0},
        {"num_attention_heads": 10**6},
        {"head_dim": 10**9},
        {"num_key_value_heads": 3},
        {"hidden_act": "none such"},
        {"rms_norm_eps": "small"},
        {"rms_norm_eps": float("nan")},
        {"num_labels": 10**8},
        {"rope_parameters": 5},
        {"rope_parameters": {"rope_type": "none such"}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 0.0}},
        {"rope_parameters": {"rope_type": "linear", "factor": 0.0, "rope_theta": 1e4}},
        {"model_type": 5},
        {"model_type": "no such kind"},
        {"model_type": ""},
        {"architectures": 5},
        {"dtype": "float3"},
        {"quantization_config": {"quant_method": "none such"}},
        {"transformers_weights": "other.safetensors"},
        {"text_config": []},
        {"attn_implementation": "nobody/kernel"},
        {"pad_token_id": 10**9},
        {"tie_word_embeddings": "yes"},
    ],
)
def test_fields_of_another_size_or_type(tiny: Any, tmp_path: Path, fields: dict[str, Any]) -> None:
    checkpoint = changed(tiny, tmp_path / "m", "config.json", config_of(tiny, **fields))
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        load(checkpoint)
    except ModelError as error:
        assert len(str(error)) < 2_000 and str(tmp_path) in str(error)
    else:
        assert set(fields) <= HARMLESS
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 * 1024


@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"],
)
@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "5", '["x"]', "{", "[" * 100_000, '{"a": "\\ud800"}', '{"a": NaN', "\x00"],
)
def test_a_file_of_another_kind(tiny: Any, tmp_path: Path, name: str, text: str) -> None:
    checkpoint = changed(tiny, tmp_path / "m", name, text)
    if name == "tokenizer_config.json" and text.startswith('{"a"') and text.endswith("}"):
        load(checkpoint)  # an entry that nobody asks for
        return
    with pytest.raises(ModelError) as caught:
        load(checkpoint)
    assert len(str(caught.value)) < 2_000
    if name == "config.json":
        for use in (resolve, checkup):
            with pytest.raises(ModelError):
                use(checkpoint.path)


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": 5},
        {"eos_token": 5},
        {"eos_token": {"content": ["x"]}},
        {"tokenizer_class": 5},
        {"tokenizer_class": "NoSuchTokenizer"},
        {"added_tokens_decoder": {"x": 1}},
        {"model_max_length": "long"},
    ],
)
def test_a_tokenizer_with_fields_of_another_type(
    tiny: Any, tmp_path: Path, fields: dict[str, Any]
) -> None:
    settings = json.loads((tiny.path / "tokenizer_config.json").read_text())
    checkpoint = changed(
        tiny, tmp_path / "m", "tokenizer_config.json", json.dumps({**settings, **fields})
    )
    (checkpoint.path / "chat_template.jinja").unlink(missing_ok=True)
    try:
        load(checkpoint)
    except ModelError as error:
        assert len(str(error)) < 2_000


@pytest.mark.parametrize(
    "fields",
    [
        {"unk_token": ""},
        {"unk_token": "", "tokenizer_class": "TokenizersBack<unk>"},
        {"unk_token": "", "bos_token": "", "eos_token": ""},
    ],
)
def test_an_unknown_token_that_is_none_is_refused(
    tiny: Any, tmp_path: Path, fields: dict[str, Any]
) -> None:
    # transformers loads it, and recurses without end once it is asked for an id
    settings = json.loads((tiny.path / "tokenizer_config.json").read_text())
    checkpoint = changed(
        tiny, tmp_path / "m", "tokenizer_config.json", json.dumps({**settings, **fields})
    )
    with pytest.raises(ModelError, match=r"unk_token '', .* none \(null\)"):
        load(checkpoint)


@pytest.mark.parametrize("name", ["all_special_ids", "pad_token_id"])
@pytest.mark.parametrize("kind", [RecursionError, type("PanicException", (BaseException,), {})])
def test_a_tokenizer_that_fails_at_its_first_use_is_refused(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[BaseException]
) -> None:
    def fail(self: Any) -> None:
        raise kind(name)

    monkeypatch.setattr(PreTrainedTokenizerFast, name, property(fail), raising=False)
    with pytest.raises(ModelError, match=f"has no loadable tokenizer: .*{name}"):
        load(tiny)


def test_a_subfolder_is_suggested(tiny: Any, tmp_path: Path) -> None:
    shutil.copytree(tiny.path, tmp_path / "repo" / "final")
    (tmp_path / "repo" / "evil").mkdir()
    (tmp_path / "repo" / "evil" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"holds the model .*final \(or one of 1 more\)"):
        resolve(tmp_path / "repo")
    shutil.rmtree(tmp_path / "repo" / "final")
    with pytest.raises(ModelError, match=r"lacks config\.json.* holds the adapter .*evil: name"):
        resolve(tmp_path / "repo")


@pytest.mark.parametrize(
    "name", ["a\0b", "x" * 5_000, "\x1b[31mred", "~nobody-here/x", ".", "", "\n"]
)
def test_a_name_that_no_file_has(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (resolve, load, lambda start: resolve(Path(start))):
        with pytest.raises(ModelError) as caught:
            use(name)
        assert len(str(caught.value)) < 2_000 and "\0" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        {
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
            "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        },
    ],
)
def test_rotations_stated_twice_are_refused(
    fields: dict[str, Any], tiny: Any, tmp_path: Path
) -> None:
    model = changed(tiny, tmp_path / "m", "config.json", config_of(tiny, **fields))
    with pytest.raises(ModelError, match="twice"):
        load(model)


def test_rotations_stated_twice_alike_are_read(tiny: Any, tmp_path: Path) -> None:
    theta = json.loads((tiny.path / "config.json").read_text())["rope_parameters"]["rope_theta"]
    text = config_of(tiny, rope_theta=theta, rope_scaling=None)
    assert load(changed(tiny, tmp_path / "m", "config.json", text))


@pytest.mark.parametrize("n_faults", [1, 2])
def test_generation_settings_are_those_of_the_file_or_refused(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_faults: int
) -> None:
    settings = json.dumps({"do_sample": True, "temperature": 0.3})
    checkpoint = changed(tiny, tmp_path / "m", "generation_config.json", settings)
    real, faults = builtins.open, [errno.EIO] * n_faults

    def faulty(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file).endswith("generation_config.json") and faults:
            raise OSError(faults.pop(), os.strerror(errno.EIO))
        return real(file, *args, **kwargs)

    # transformers opens files so, and swallows the first fault; this package reads through pathlib
    monkeypatch.setattr(builtins, "open", faulty)
    if n_faults == 1:
        assert load(checkpoint).model.generation_config.temperature == 0.3
    else:
        with pytest.raises(ModelError, match=os.strerror(errno.EIO)):
            load(checkpoint)
    assert not faults
