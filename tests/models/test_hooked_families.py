"""Plain hooks on models of many families hold what TransformerLens shows, at every place."""

from pathlib import Path

import pytest
import torch

from persona_interp.models import boot, open_hooked
from persona_interp.models.boot import canonical, hidden
from persona_interp.models.hooked import HookedModel
from persona_interp.models.tokens import Tokens
from tests.models.test_families import FAMILIES, ROWS, made

# a test's tokenizer is none of its family's, which is said
pytestmark = pytest.mark.filterwarnings("ignore:.*transformers takes its tokenizer:UserWarning")

HOOKS = [f"blocks.{i}.hook_{place}" for i in range(3) for place in ("in", "out", "resid_mid")]
SITES = ["blocks.1.attn.hook_out", "blocks.1.mlp.hook_out", "blocks.1.attn.hook_z"]


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_hooks_hold_what_transformer_lens_shows(
    family: str, tmp_path: Path, own_cache: Path
) -> None:
    checkpoint = made(tmp_path / family, family, FAMILIES[family])
    model, bridge = open_hooked(checkpoint), boot(checkpoint)
    assert isinstance(model, HookedModel), "or it is as slow as before"
    empty = ([],) * len(ROWS)
    tokens = Tokens(ROWS, empty, empty, empty, (0,) * len(ROWS))  # type: ignore[arg-type]
    silent = {"blocks.1.mlp.hook_out"} if family == "opt" else set()  # OPT has no module for it
    hooks = [hook for hook in (*HOOKS, *SITES) if hook in bridge.hook_dict and hook not in silent]
    hooks = [canonical(bridge, hook) for hook in hooks]
    plain = dict(hidden(open_hooked(checkpoint, hooks=hooks), tokens, hooks=hooks))
    shown = dict(hidden(bridge, tokens, hooks=hooks))
    for row in range(len(ROWS)):
        for hook in hooks:
            torch.testing.assert_close(plain[row][hook], shown[row][hook], atol=1e-5, rtol=1e-4)
