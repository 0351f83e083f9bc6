"""Places as people name them, and what each holds: the inputs and outputs of plain modules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Tokens, boot, load
from persona_interp.models.boot import hidden
from persona_interp.models.load import quiet
from persona_interp.models.sites import canonical, hook_name, is_place, middle_of
from tests.models.test_families import FAMILIES, GROUPED, N_BLOCKS, ROWS, SMALL, made

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260k"


@pytest.mark.parametrize(
    ("place", "hook"),
    [
        (0, "blocks.0.hook_out"),
        ("-1", "blocks.-1.hook_out"),
        # TransformerLens and SAELens
        ("blocks.-1.hook_resid_post", "blocks.-1.hook_out"),
        ("blocks.2.hook_resid_pre", "blocks.2.hook_in"),
        ("blocks.2.ln2.hook_in", "blocks.2.ln2.hook_in"),
        ("blocks.2.hook_resid_mid", "blocks.2.hook_resid_mid"),  # only a model knows
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
        ("resid_mid_layer_1", "blocks.1.hook_resid_mid"),
        ("blocks.2.attn.hook_z", "blocks.2.attn.o.hook_in"),
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


OUT, IN = "output", "input"
LLAMA = {
    "hook_resid_pre": ("", IN),
    "hook_attn_out": ("self_attn", OUT),
    "hook_resid_mid": ("post_attention_layernorm", IN),
    "hook_mlp_out": ("mlp", OUT),
    "hook_resid_post": ("", OUT),
    "mlp.hook_post": ("mlp.down_proj", IN),
    "attn.hook_z": ("self_attn.o_proj", IN),
}
GEMMA = LLAMA | {
    "hook_attn_out": ("post_attention_layernorm", OUT),
    "hook_resid_mid": ("pre_feedforward_layernorm", IN),
    "hook_mlp_out": ("post_feedforward_layernorm", OUT),
}
GPT2 = {
    "hook_resid_pre": ("", IN),
    "hook_attn_out": ("attn", OUT),
    "hook_resid_mid": ("ln_2", IN),
    "hook_mlp_out": ("mlp", OUT),
    "hook_resid_post": ("", OUT),
    "mlp.hook_post": ("mlp.c_proj", IN),
    "attn.hook_z": ("attn.c_proj", IN),
}
NEOX = {
    "hook_resid_pre": ("", IN),
    "hook_attn_out": ("attention", OUT),
    "hook_mlp_out": ("mlp", OUT),
    "hook_resid_post": ("", OUT),
    "mlp.hook_post": ("mlp.dense_4h_to_h", IN),
    "attn.hook_z": ("attention.dense", IN),
}
MODULES = {
    "llama": LLAMA,  # its keys and values are shared by two heads each
    "gemma2": GEMMA,
    "olmo2": GEMMA | {"hook_resid_mid": ("mlp", IN)},
    "gpt2": GPT2,
    "gpt_neox": NEOX,  # attention and MLP read the same residual
    "phi3": LLAMA,
}
"""Module of transformers within a block, and whether the site is its input or output."""


def plain_sites(plain: Any, row: tuple[int, ...] | list[int], modules: dict[str, Any]) -> Any:
    """What plain modules read and answer at a row, by block and site, dims (position, width)."""
    (blocks,) = [m for m in plain.modules() if isinstance(m, torch.nn.ModuleList)]
    values: dict[str, Tensor] = {}

    def keep(name: str, side: str) -> Callable[..., None]:
        def hook(_: Any, args: Any, kwargs: Any, out: Any) -> None:
            if side == IN:
                out = args[0] if args else kwargs["hidden_states"]
            tensor = out[0] if isinstance(out, tuple) else out
            values[name] = tensor.reshape(len(row), -1).clone()

        return hook

    handles = []
    for i, block in enumerate(blocks):
        for site, (path, side) in modules.items():
            module = block.get_submodule(path)
            hook = keep(f"blocks.{i}.{site}", side)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
    plain(torch.tensor([list(row)]))
    for handle in handles:
        handle.remove()
    return values


def tokens_of(rows: Any) -> Tokens:
    empty = tuple([""] * len(row) for row in rows)
    return Tokens(tuple(rows), empty, empty, empty, (0,) * len(rows))  # type: ignore[arg-type]


def check_sites(
    checkpoint: Checkpoint, rows: Any, modules: dict[str, Any], *, dtype: str, most: float
) -> None:
    bridge = boot(checkpoint, device="cpu", dtype=dtype)
    plain = load(checkpoint, attention="eager", device="cpu", dtype=dtype).model
    wanted = [plain_sites(plain, row, modules) for row in rows]
    sites = list(wanted[0])
    names = {site: canonical(bridge, site) for site in sites}
    # one pass of padded rows, beside every row alone
    for row, held in hidden(bridge, tokens_of(rows), hooks=sites, batch=100):
        assert list(held) == list(names.values())
        for site, name in names.items():
            want, got = wanted[row][site].float(), held[name].float()
            off = float((got - want).norm() / want.norm())
            assert got.shape == want.shape and off <= most, f"{dtype}, row {row}, {site}: {off:.1e}"


@pytest.mark.parametrize("family", MODULES)
@torch.inference_mode()
def test_every_site_is_what_the_plain_module_reads_or_answers(family: str, tmp_path: Path) -> None:
    checkpoint = made(tmp_path, family, FAMILIES[family])
    check_sites(checkpoint, ROWS, MODULES[family], dtype="float32", most=1e-5)
    # the same operations in bfloat16, but padded: rounding of 2^-8 on the way through three blocks
    check_sites(checkpoint, ROWS, MODULES[family], dtype="bfloat16", most=0.02)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the real checkpoint stories260k is not here")
@torch.inference_mode()
def test_sites_of_a_real_model_are_those_of_plain_transformers() -> None:
    rows = ([1, 403, 407, 261, 378, 432], [1, 385, 328], [1, 274, 410, 293, 501, 263, 287, 430])
    check_sites(Checkpoint(STORIES), rows, LLAMA, dtype="float32", most=1e-5)


@pytest.mark.parametrize("family", ["llama", "gemma2", "olmo2", "gpt2"])
@torch.inference_mode()
def test_what_attention_and_mlp_add_is_what_the_residual_gains(family: str, tmp_path: Path) -> None:
    bridge = boot(made(tmp_path, family, FAMILIES[family]))
    sites = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
    names = [f"blocks.1.{site}" for site in sites]
    for _, held in hidden(bridge, tokens_of(ROWS), hooks=names):
        before, attention, between, mlp, after = held.values()
        torch.testing.assert_close(before + attention, between)
        torch.testing.assert_close(between + mlp, after)


def test_a_module_means_its_output_in_every_family(tmp_path: Path) -> None:
    names = {
        "gpt2": {
            "transformer.h.1": "blocks.1.hook_out",
            "transformer.h.1.attn": "blocks.1.attn.hook_out",
            "transformer.h.1.ln_2": "blocks.1.ln2.hook_out",
            "transformer.h.1.mlp.c_fc": "blocks.1.mlp.in.hook_out",
        },
        "gemma2": {
            "model.layers.1.mlp": "blocks.1.mlp.hook_out",
            "model.layers.1.post_feedforward_layernorm": "blocks.1.ln2_post.hook_out",
            "model.layers.1.self_attn.o_proj": "blocks.1.attn.o.hook_out",
            "model.language_model.layers.1": "blocks.1.hook_out",
            "resid_mid_layer_1": "blocks.1.ln2.hook_in",
        },
    }
    for family, places in names.items():
        bridge = boot(made(tmp_path / family, family, FAMILIES[family]))
        for place, name in places.items():
            assert canonical(bridge, place) == name
        with pytest.raises(ModelError, match=r"hook 'model\.layers\.1\.mlp\.act_fn' is unknown"):
            canonical(bridge, "model.layers.1.mlp.act_fn")


def test_no_residual_is_between_parallel_attention_and_mlp(tmp_path: Path) -> None:
    for family in ("gpt_neox", "phi"):
        bridge = boot(made(tmp_path / family, family, SMALL))
        for name in ("blocks.1.hook_resid_mid", "blocks.-2.hook_resid_mid", "resid_mid_layer_1"):
            with pytest.raises(
                ModelError, match=r"mid.* does not exist in this model.*Read one of .*attn_out"
            ):
                canonical(bridge, name)
        with pytest.raises(ModelError, match="is unknown"):
            canonical(bridge, f"blocks.{N_BLOCKS}.hook_resid_mid")
    bridge = boot(made(tmp_path / "serial", "gpt_neox", {**SMALL, "use_parallel_residual": False}))
    assert canonical(bridge, "blocks.1.hook_resid_mid") == "blocks.1.ln2.hook_in"


def test_a_norm_behind_the_mlp_leaves_no_residual_of_that_name(tmp_path: Path) -> None:
    """As in OPT-350m, where TransformerLens gives the name to what is behind the MLP."""
    post_norm = {**FAMILIES["opt"], "do_layer_norm_before": False, "word_embed_proj_dim": 16}
    bridge = boot(made(tmp_path / "post", "opt", post_norm))
    for name in ("blocks.1.hook_resid_mid", "blocks.-2.hook_resid_mid", "resid_mid_layer_1"):
        with pytest.raises(ModelError, match=r"does not exist.*not what enters.*Read one of"):
            canonical(bridge, name)
    assert middle_of(bridge, "blocks.1.ln2.hook_in") is None
    bridge = boot(made(tmp_path / "pre", "opt", FAMILIES["opt"]))
    assert middle_of(bridge, canonical(bridge, "blocks.1.hook_resid_mid")) == 1


def test_a_mixture_of_experts_has_no_hidden_layer_for_all_tokens(tmp_path: Path) -> None:
    with quiet():
        bridge = boot(made(tmp_path, "mixtral", GROUPED))
    assert canonical(bridge, "blocks.1.attn.hook_z") == "blocks.1.attn.o.hook_in"
    with pytest.raises(ModelError, match=r"mixture of experts.*Read blocks\.1\.mlp\.hook_out"):
        canonical(bridge, "blocks.1.mlp.hook_post")
