"""What TransformerLens shows is what transformers computes, however rows are batched and padded."""

from typing import Any

import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import PLAIN_TEMPLATE, Tokens, boot, encode, load, residuals
from persona_interp.models.boot import canonical

HOOK = "blocks.0.hook_out"


@pytest.fixture(params=["tiny", "stories"])
def checkpoint(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def off(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).norm() / want.norm())


def test_residuals_equal_hidden_states_alone_batched_and_padded(
    checkpoint: Any, corpus: pd.DataFrame
) -> None:
    bridge = boot(checkpoint, hooks=[HOOK, "blocks.1.hook_resid_pre"])
    bridge.tokenizer.chat_template = bridge.tokenizer.chat_template or PLAIN_TEMPLATE
    tokens = encode(bridge.tokenizer, corpus["messages"].head(6), complete=True)
    plain = load(checkpoint, attention="eager").model
    found = dict(residuals(bridge, tokens, hook=HOOK, batch=4))
    assert sorted(found) == list(range(6))
    ids, mask = tokens.pad(side="left")
    with torch.inference_mode():
        _, cached = bridge.run_with_cache(ids, attention_mask=mask, names_filter=HOOK)
        for i, row in enumerate(tokens.ids):
            want = plain(torch.tensor([row]), output_hidden_states=True).hidden_states[1][0]
            assert found[i].shape == want.shape and off(found[i], want) <= 1e-5
            assert off(cached[HOOK][i, -len(row) :], want) <= 1e-5


def test_old_names_mean_the_same_hook(tiny: Any, corpus: pd.DataFrame) -> None:
    bridge = boot(tiny)
    tokens = encode(bridge.tokenizer, corpus["messages"].head(3))
    new, old = (
        dict(residuals(bridge, tokens, hook=h))
        for h in ("blocks.1.hook_out", "blocks.1.hook_resid_post")
    )
    assert all(torch.equal(new[i], old[i]) for i in range(3))
    assert next(residuals(bridge, tokens, hook="embed.hook_out"))[1].shape[1] == bridge.cfg.d_model


@pytest.mark.parametrize("hook", ["blocks.9.hook_out", "blocks.0.hook_uot", ""])
def test_an_unknown_hook_is_refused(tiny: Any, hook: str) -> None:
    with pytest.raises(ModelError, match=f"hook '{hook}' is unknown.* Valid: 'embed.hook_in'"):
        boot(tiny, hooks=[hook])


def test_a_hook_that_never_fires_is_an_error(tiny: Any) -> None:
    tokens = Tokens(([2, 3],), (["special"] * 2,), ([False] * 2,), ([-1] * 2,), (2,))
    with pytest.raises(ModelError, match="did not fire"):
        next(residuals(boot(tiny), tokens, hook="blocks.0.hook_mlp_in"))


def test_the_bridge_reads_text_as_the_checkpoint_does(checkpoint: Any) -> None:
    bridge, tokenizer = boot(checkpoint), load(checkpoint).tokenizer
    assert bridge.tokenizer.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert bridge.to_tokens("a")[0].tolist() == tokenizer("a")["input_ids"]


def test_a_model_that_transformer_lens_gets_wrong_is_refused(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    right = TransformerBridge.boot_transformers

    def wrong(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            kwargs["hf_model"].model.layers[0].mlp.down_proj.weight *= 1.01
        return right(*args, **kwargs)

    monkeypatch.setattr(TransformerBridge, "boot_transformers", wrong)
    with pytest.raises(ModelError, match="disagree on this model"):
        boot(tiny)


def test_a_negative_block_counts_from_the_end(tiny: Any) -> None:
    assert canonical(boot(tiny), "blocks.-1.hook_resid_post") == "blocks.1.hook_out"
    with pytest.raises(ModelError, match=r"hook 'blocks\.-1\.hook_out' is unknown"):
        canonical(boot(tiny), "blocks.-3.hook_out")


@pytest.mark.parametrize(
    "hook", ["blocks.0.attn.hook_pattern", "blocks.1.attn.hook_attn_scores", "blocks.0.attn.hook_q"]
)
def test_a_hook_that_holds_no_vector_a_token_is_refused_by_name(tiny: Any, hook: str) -> None:
    tokens = Tokens(([2, 3],), (["special"] * 2,), ([False] * 2,), ([-1] * 2,), (2,))
    with pytest.raises(
        ModelError, match=r"holds an array of dims .* one vector a token.*attn\.hook_z"
    ):
        next(residuals(boot(tiny), tokens, hook=hook))


@pytest.mark.parametrize(
    "hook", [f"blocks.-{'9' * 5_000}.hook_out", "blocks.-99.hook_out", 3, None]
)
def test_a_hook_that_is_no_name(tiny: Any, hook: Any) -> None:
    with pytest.raises(
        ModelError, match=r"hook '.*' is unknown|a hook is a name such as"
    ) as caught:
        boot(tiny, hooks=[hook])
    assert len(str(caught.value)) < 1_000


def test_a_folder_is_a_checkpoint(tiny: Any, corpus: pd.DataFrame) -> None:
    from persona_interp import record

    starts: list[Any] = [tiny.path, str(tiny.path)]
    for start in starts:
        assert boot(start).cfg.n_layers == 2 and load(start).model
        table = record.activations(start, corpus.head(2), hook=HOOK, position="mean")
        assert table.equals(record.activations(tiny, corpus.head(2), hook=HOOK, position="mean"))
    both = record.activations(
        [tiny, str(tiny.path)][:1], corpus.head(2), hook=HOOK, position="mean"
    )
    assert both.sizes["checkpoint"] == 1
    wrongs: list[Any] = [5, [5], [None], object()]
    for wrong in wrongs:
        with pytest.raises(ModelError, match=r"a start is|expected a checkpoint"):
            record.activations(wrong, corpus.head(2), hook=HOOK, position="mean")
