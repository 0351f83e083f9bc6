"""Whatever a foreign library tries while it reads, nothing starts and nothing is asked."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, boot, load
from persona_interp.models.guard import guard

TOUCH = ("touch", "planted")


def in_thread(attempt: Callable[[], Any]) -> None:
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()


def in_pool(attempt: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(attempt).exception()


ATTEMPTS: dict[str, Callable[[], Any]] = {
    "subprocess": lambda: subprocess.run(TOUCH, check=True),
    "shell": lambda: os.system("touch planted"),
    "popen": lambda: os.popen("touch planted").read(),
    "spawn": lambda: os.posix_spawnp("touch", list(TOUCH), os.environ),
    "fork": lambda: os.fork() or os._exit(0),
    "exec": lambda: os.execvp("touch", TOUCH),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "lookup": lambda: socket.getaddrinfo("localhost", 80),
    "install": lambda: subprocess.check_call([sys.executable, "-m", "pip", "--version"]),
}


@pytest.mark.parametrize("runner", [lambda attempt: attempt(), in_thread, in_pool])
@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_is_refused_and_named_even_where_it_is_swallowed(
    name: str,
    runner: Callable[[Callable[[], Any]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    def swallow() -> None:
        try:
            ATTEMPTS[name]()
        except Exception:
            pass

    with pytest.raises(ModelError, match=r"^mine: loading it tried to (start a process|connect)"):
        with guard("mine"):
            runner(swallow)
    assert not list(tmp_path.iterdir())


def test_outside_of_the_block_and_in_other_threads_all_is_as_before() -> None:
    begun, done, answers = threading.Event(), threading.Event(), []

    def other() -> None:
        begun.wait(10)
        answers.append(subprocess.run(["true"], check=True).returncode)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with guard("mine"):
        begun.set()
        assert done.wait(10)
    thread.join()
    assert answers == [0] and subprocess.run(["true"], check=True).returncode == 0


class PanicException(BaseException):
    """What a Rust library raises is called so."""


@pytest.mark.parametrize("raised", [KeyError("a"), RecursionError(), MemoryError(), ImportError()])
def test_any_error_becomes_ours(raised: Exception) -> None:
    with pytest.raises(SchemaError, match=r"^mine: .*\.$"), guard("mine", error=SchemaError):
        raise raised
    with pytest.raises(ModelError, match="PanicException: oh"), guard("mine"):
        raise PanicException("oh")
    with pytest.raises(KeyboardInterrupt), guard("mine"):
        raise KeyboardInterrupt


def test_a_long_or_colored_reason_is_one_short_line() -> None:
    with pytest.raises(ModelError) as caught, guard("mine"):
        raise ValueError("\x1b[31m" + "x\n" * 5_000)
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_a_planted_attempt_in_the_loading_of_a_model(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import LlamaForCausalLM

    monkeypatch.chdir(tmp_path)
    right = LlamaForCausalLM.__init__

    def planted(self: Any, config: Any) -> None:
        try:
            subprocess.run(TOUCH, check=True)
        except OSError:
            pass
        right(self, config)

    monkeypatch.setattr(LlamaForCausalLM, "__init__", planted)
    with pytest.raises(ModelError, match=r"tried to start a process .*touch planted"):
        load(tiny)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    load(tiny)

    def booted(*args: Any, **kwargs: Any) -> Any:
        socket.create_connection(("127.0.0.1", 9))

    monkeypatch.setattr(TransformerBridge, "boot_transformers", booted)
    with pytest.raises(ModelError, match=r"cannot boot .*tried to connect .*127\.0\.0\.1"):
        boot(tiny)
    assert not list(tmp_path.iterdir())


def test_the_text_part_of_a_model_that_sees_is_booted(tmp_path: Path) -> None:
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    from persona_interp.models.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer("a chat of few words and no sense".split())
    text = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": len(tokenizer),
        "sliding_window": 4,
        "query_pre_attn_scalar": 8,
        "max_position_embeddings": 64,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "pad_token_id": 0,
    }
    sight = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sight |= {"num_attention_heads": 4, "image_size": 28, "patch_size": 14}
    torch.manual_seed(0)
    config = Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=4)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    bridge = boot(Checkpoint(tmp_path), hooks=["blocks.2.hook_out"])
    ids = torch.tensor([[4, 5, 6, 7, 8, 9]])
    with torch.inference_mode():
        plain = load(Checkpoint(tmp_path), attention="eager").model(ids).logits
        assert torch.allclose(bridge(ids), plain, atol=1e-5)
