"""Places as people publish them; on a real model they are where they say."""

from pathlib import Path

import pytest
from transformers import Gemma2Config, Gemma2ForCausalLM

from persona_interp.dictionaries.hooks import hook_name, is_place, resolve_hook, same_hook
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, boot, load


@pytest.mark.parametrize(
    ("place", "hook"),
    [
        (0, "blocks.0.hook_out"),
        ("-1", "blocks.-1.hook_out"),
        # TransformerLens and SAELens
        ("blocks.-1.hook_resid_post", "blocks.-1.hook_out"),
        ("blocks.2.hook_resid_pre", "blocks.2.hook_in"),
        ("blocks.2.ln2.hook_in", "blocks.2.ln2.hook_in"),
        ("blocks.2.hook_resid_mid", "blocks.2.ln2.hook_in"),
        ("hook_embed", "embed.hook_out"),
        # modules: sparsify, nnsight, Gemma Scope 2
        ("layers.3", "blocks.3.hook_out"),
        ("layers_7", "blocks.7.hook_out"),
        ("h.3", "blocks.3.hook_out"),
        ("transformer.h.7", "blocks.7.hook_out"),
        ("transformer.h[7].mlp.output", "blocks.7.mlp.hook_out"),
        ("gpt_neox.layers.7.attention", "blocks.7.attn.hook_out"),
        ("model.layers.3.self_attn", "blocks.3.attn.hook_out"),
        ("model.model.layers.3", "blocks.3.hook_out"),
        ("model.language_model.layers.3", "blocks.3.hook_out"),
        (".model.layers[3].output[0]", "blocks.3.hook_out"),
        ("model.layers.20.output", "blocks.20.hook_out"),
        ("model.layers.3.input", "blocks.3.hook_in"),
        ("model.embed_tokens", "embed.hook_out"),
        ("gpt_neox.embed_in", "embed.hook_out"),
        # words: dictionary_learning, saprmarks, feature circuits, Gemma Scope
        ("resid_post_layer_1", "blocks.1.hook_out"),
        ("resid_pre_layer_1", "blocks.1.hook_in"),
        ("mlp_out_layer_1", "blocks.1.mlp.hook_out"),
        ("attn_out_layer_1", "blocks.1.attn.hook_out"),
        ("resid_out_layer3", "blocks.3.hook_out"),
        ("mlp_out_layer3", "blocks.3.mlp.hook_out"),
        ("resid_3", "blocks.3.hook_out"),
        ("mlp_0", "blocks.0.mlp.hook_out"),
        ("layer_20", "blocks.20.hook_out"),
        ("layer_12/resid_post", "blocks.12.hook_out"),
        ("layer_12_resid_post", "blocks.12.hook_out"),
    ],
)
def test_places_are_translated(place: str | int, hook: str) -> None:
    assert hook_name(place) == hook


@pytest.mark.parametrize(
    "place",
    [
        "residual stream",
        "model.norm",
        "blocks.x",
        "model.layers.3.mlp.down_proj",
        "model.layers.3.layers.4",
        "vision_tower.encoder.layers.3",
        "model.visual.blocks.3",
        "mystery_out_layer_3",
        "layers.99999",
        "\u00b3",
        "",
        True,
        3.0,
        "x" * 5000,
    ],
)
def test_unknown_places_are_refused(place: object) -> None:
    with pytest.raises(ModelError, match="place of an SAE") as error:
        hook_name(place)  # type: ignore[arg-type]
    assert len(str(error.value)) < 1000


def test_names_of_folders_that_are_places() -> None:
    assert all(map(is_place, ("layers.3", "h.3.mlp", "embed_tokens")))
    assert not any(map(is_place, ("my_sae", "3", "ae", "trainer_1")))


def test_what_a_block_adds_is_behind_the_last_norm_of_its_model(
    counter: Checkpoint, tmp_path: Path
) -> None:
    """Gemma norms what MLP and attention write once more; SAEs of hook_mlp_out read behind that."""
    tokenizer = load(counter).tokenizer
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
    config = Gemma2Config(vocab_size=len(tokenizer), **sizes, **heads)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    gemma, llama = boot(Checkpoint(tmp_path, stage="gemma", step=0)), boot(counter)
    for word, behind, plain in (
        ("hook_mlp_out", "ln2_post.hook_out", "mlp.hook_out"),
        ("hook_attn_out", "ln1_post.hook_out", "attn.hook_out"),
    ):
        name = hook_name(f"blocks.1.{word}")
        assert resolve_hook(gemma, name) == f"blocks.1.{behind}"
        assert resolve_hook(llama, name) == f"blocks.1.{plain}"
        assert all(same_hook(f"blocks.1.{site}", name) for site in (behind, plain))
        assert not same_hook("blocks.0.mlp.hook_out", name)
    module = hook_name("model.layers.1.mlp")
    assert resolve_hook(gemma, module) == resolve_hook(llama, module) == "blocks.1.mlp.hook_out"
