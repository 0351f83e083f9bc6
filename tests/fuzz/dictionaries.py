"""Folders of SAEs, vector files and capping files, and what may become of them on the way."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from persona_interp.dictionaries import (
    SparseDictionary,
    load_pretrained,
    open_dictionary,
    save_dictionary,
)
from persona_interp.dictionaries.saelens import build
from persona_interp.record import read_capping, read_vectors
from tests.fuzz.mutate import json_mutations, mutations
from tests.fuzz.trial import Trial

D_IN, D_SAE, K = 6, 20, 3
HOOK = "blocks.1.hook_resid_post"


def rand(*dims: int) -> Tensor:
    return torch.randn(*dims, generator=torch.Generator().manual_seed(sum(dims)))


WEIGHTS = {
    "W_enc": rand(D_IN, D_SAE),
    "b_enc": rand(D_SAE),
    "W_dec": rand(D_SAE, D_IN),
    "b_dec": rand(D_IN),
}
MORE: dict[str, dict[str, Tensor]] = {
    "standard": {},
    "topk": {},
    "jumprelu": {"threshold": rand(D_SAE).abs()},
    "batchtopk": {"topk_threshold": torch.tensor(0.5)},
}
GATED = {"b_gate": rand(D_SAE), "b_mag": rand(D_SAE), "r_mag": rand(D_SAE)}
LINEAR = {
    "encoder.weight": WEIGHTS["W_enc"].T.contiguous(),
    "encoder.bias": WEIGHTS["b_enc"],
    "decoder.weight": WEIGHTS["W_dec"].T.contiguous(),
}


def write_folders(root: Path) -> dict[str, Path]:
    """Good folders of all libraries, by name."""
    folders = {f"saelens {kind}": _saelens(root / kind, kind) for kind in (*MORE, "gated")}
    ours = SparseDictionary(
        build(_config("topk"), WEIGHTS, source=root), "ours", HOOK, rand(D_IN), 1.0, {"k": K}
    )
    folders["ours"] = save_dictionary(ours, root / "ours")
    for kind, weights in {
        "AutoEncoder": {**LINEAR, "bias": WEIGHTS["b_dec"]},
        "AutoEncoderTopK": {**LINEAR, "b_dec": WEIGHTS["b_dec"], "k": torch.tensor(K)},
        "BatchTopKSAE": {
            **LINEAR,
            "b_dec": WEIGHTS["b_dec"],
            "k": torch.tensor(K),
            "threshold": torch.tensor(0.5),
        },
    }.items():
        folders[f"dictionary_learning {kind}"] = _learned(root / kind, kind, weights)
    folders["sparsify"] = _sparsify(root / "layers.1")
    return folders


def _config(kind: str) -> dict[str, Any]:
    config: dict[str, Any] = {"architecture": kind, "d_in": D_IN, "d_sae": D_SAE}
    config["apply_b_dec_to_input"] = True
    config["normalize_activations"] = "none"
    if "topk" in kind:
        config["k"] = K
    if kind == "batchtopk":
        config |= {"decoder_init_norm": 0.1, "rescale_acts_by_decoder_norm": True}
    config["metadata"] = {
        "hook_name": HOOK,
        "prepend_bos": True,
        "model_name": "org/model",
        "sae_lens_version": "6.54.12",
        "model_from_pretrained_kwargs": {"dtype": "float32"},
        "neuronpedia_id": "gpt2-small/1-res",
    }
    return config


def _saelens(folder: Path, kind: str) -> Path:
    folder.mkdir()
    weights = WEIGHTS | MORE.get(kind, {})
    if kind == "gated":
        weights = {name: weights[name] for name in ("W_enc", "W_dec", "b_dec")} | GATED
    save_file(weights, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(_config(kind)))
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.5}))
    return folder


def _learned(folder: Path, kind: str, weights: dict[str, Tensor]) -> Path:
    folder.mkdir()
    torch.save(weights, folder / "ae.pt")
    trainer = {
        "dict_class": kind,
        "submodule_name": "resid_post_layer_1",
        "layer": 1,
        "lm_name": "org/model",
        "k": K,
        "activation_dim": D_IN,
        "dict_size": D_SAE,
    }
    settings = {"trainer": trainer, "buffer": {"io": "out", "ctx_len": 128}}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def _sparsify(folder: Path) -> Path:
    folder.mkdir()
    weights = {"encoder.weight": LINEAR["encoder.weight"], "encoder.bias": WEIGHTS["b_enc"]}
    save_file(weights | {n: WEIGHTS[n] for n in ("W_dec", "b_dec")}, folder / "sae.safetensors")
    settings = {"d_in": D_IN, "num_latents": D_SAE, "k": K, "transcode": False, "signed": False}
    (folder / "cfg.json").write_text(json.dumps(settings))
    return folder


VECTORS: dict[str, Any] = {
    "evil_diff.pt": rand(5, 4),
    "assistant_axis.pt": {"axis": rand(5, 4), "default_mean": rand(5, 4), "n_roles": 3},
    "list_diff.pt": [rand(4), rand(4) + 1, rand(4) - 1],
    "by_layer_diff.pt": {0: rand(4), 1: rand(4), "2": rand(4)},
    "nested_diff.pt": {"evil": {0: rand(4), 1: rand(4)}, "kind": {0: rand(4), 1: rand(4)}},
    "one_diff.pt": {"vector": rand(4), "layer": 2, "role": "pirate", "metadata": {"n": 3}},
}
CAPPING = {
    "vectors": {
        f"layer_{i}/contrast": {"vector": rand(4).bfloat16(), "layer": i} for i in range(3)
    },
    "experiments": [
        {
            "id": "layers_0:2",
            "interventions": [{"vector": f"layer_{i}/contrast", "cap": -16.9} for i in range(3)],
        }
    ],
}


def _mutants(data: bytes, suffix: str, seed: int, n: int) -> Iterator[bytes]:
    """Bytes near those of a good file: changed anywhere, and changed where its format looks."""
    inner = {".json": _json, ".safetensors": _safetensors, ".pt": _pt}[suffix]
    rng = random.Random(seed)
    outside, inside = mutations(data, seed=seed, n=n), inner(data, seed, n)
    for _ in range(n):
        yield next(rng.choice((outside, inside)), data)


def _json(data: bytes, seed: int, n: int) -> Iterator[bytes]:
    for value in json_mutations(json.loads(data), seed=seed, n=n):
        yield json.dumps(value).encode()


def _safetensors(data: bytes, seed: int, n: int) -> Iterator[bytes]:
    """Files whose header says something else."""
    size = int.from_bytes(data[:8], "little")
    for value in json_mutations(json.loads(data[8 : 8 + size]), seed=seed, n=n):
        header = json.dumps(value).encode()
        yield len(header).to_bytes(8, "little") + header + data[8 + size :]


def _pt(data: bytes, seed: int, n: int) -> Iterator[bytes]:
    """Files with another pickle in a whole archive, or of another content."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    values = json_mutations(content, seed=seed, n=n)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    pickles = mutations(parts[name], seed=seed, n=n)
    rng = random.Random(seed)
    for _ in range(n):
        target = io.BytesIO()
        if rng.random() < 0.5:
            torch.save(next(values, content), target)
        else:
            with zipfile.ZipFile(target, "w") as archive:
                for part, old in (parts | {name: next(pickles, parts[name])}).items():
                    archive.writestr(part, old)
        yield target.getvalue()


def answers(dictionary: Any) -> tuple[Tensor, Tensor]:
    """What a dictionary answers to a few rows."""
    feats = dictionary.encode(rand(7, D_IN))
    return feats, dictionary.decode(feats)


def trials(root: Path) -> Iterator[Trial]:
    """Yield every file of every folder, and every vector and capping file."""
    for name, folder in write_folders(root).items():
        if name == "ours":  # a card names what it must answer
            expected = answers(open_dictionary(folder))
            read, same = partial(open_dictionary, folder), partial(_equal, expected)
        else:
            read, same = partial(load_pretrained, folder), None
        for file in sorted(folder.iterdir()):
            yield _trial(f"{name} {file.name}", file, read, same)
    for name, content in VECTORS.items():
        torch.save(content, root / name)
        yield _trial(name, root / name, partial(read_vectors, root / name))
    capping = root / "capping_config.pt"
    torch.save(CAPPING, capping)
    yield _trial("capping", capping, partial(read_capping, capping))


def _trial(
    name: str, file: Path, read: Callable[[], Any], same: Callable[[Any], bool] | None = None
) -> Trial:
    good = file.read_bytes()
    return Trial(name, file, good, read, partial(_mutants, good, file.suffix), same)


def _equal(expected: tuple[Tensor, Tensor], dictionary: Any) -> bool:
    return all(map(torch.equal, answers(dictionary), expected))
