"""On a real model places are where they say."""

from pathlib import Path

from transformers import Gemma2Config, Gemma2ForCausalLM, Olmo2Config, Olmo2ForCausalLM

from persona_interp.dictionaries.hooks import neighbors, resolve_hook
from persona_interp.models import Checkpoint, boot, load
from persona_interp.models.sites import hook_name, older_names


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
        assert name in older_names(gemma, f"blocks.1.{behind}")
        assert name in older_names(llama, f"blocks.1.{plain}")
    module = hook_name("model.layers.1.mlp")
    assert resolve_hook(gemma, module) == resolve_hook(llama, module) == "blocks.1.mlp.hook_out"


def test_the_residual_after_attention_is_where_its_model_has_it(
    counter: Checkpoint, tmp_path: Path
) -> None:
    """OLMo 2 norms what the MLP writes, not what it reads: its MLP reads the residual itself."""
    tokenizer = load(counter).tokenizer
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = Olmo2Config(vocab_size=len(tokenizer), num_attention_heads=2, **sizes)
    Olmo2ForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    olmo, llama = boot(Checkpoint(tmp_path, stage="olmo", step=0)), boot(counter)
    adds = ["blocks.1.mlp.hook_out", "blocks.1.attn.hook_out"]
    assert neighbors(olmo, "blocks.1.hook_out")[-3:] == ["blocks.1.mlp.hook_in", *adds]
    assert neighbors(llama, "blocks.1.hook_out")[-3:] == ["blocks.1.ln2.hook_in", *adds]
