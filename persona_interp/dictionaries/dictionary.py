"""What is a dictionary of features, and where does it come from?

A dictionary turns a residual into a sparse list of feature activations (``encode``) and back
(``decode``). Anything with the members of ``Dictionary`` is one; the rest of the package asks for
nothing else, so that a planted dictionary of ten lines, an SAE trained here and an SAE of somebody
else are the same thing to it.

``SparseDictionary`` is the one kept on disk: the folder holds the SAE exactly as SAELens writes it,
and beside it ``dictionary.json`` with what SAELens does not know: the mean and variance of the
residuals it was trained on, the hook, and which weights and tokens they came from.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from persona_interp.card import card
from persona_interp.dictionaries.saelens import build
from persona_interp.dictionaries.saelens_folders import CONFIG, WEIGHTS, from_saelens
from persona_interp.dictionaries.settings import check_kinds, read_settings
from persona_interp.errors import ModelError, excerpt
from persona_interp.files import atomic, write_text
from persona_interp.models.device import CPU, resolve_device
from persona_interp.models.dtype import FULL, resolve_dtype

CARD = "dictionary.json"
FIELDS = {
    **dict.fromkeys(("name", "hook", "hash"), (str,)),
    "mean": (list,),
    **dict.fromkeys(("provenance", "settings"), (dict,)),
}
"""Fields of the card, and their types."""
PROVENANCE = {
    **dict.fromkeys(("l0", "fvu", "k", "scaling_factor"), (float,)),
    **dict.fromkeys(("stored", "declared", "metadata", "layout"), (str,)),
    **dict.fromkeys(("normalize_activations", "neuronpedia_id", "model_name"), (str,)),
    "adds_bos": (list,),
    "prepend_bos": (bool,),
}
"""Fields of the provenance that are read again, and their types."""
NOT_SETTINGS = ("metadata", "dtype", "device")
"""Fields of SAELens' configuration that decide no answer."""


@runtime_checkable
class Dictionary(Protocol):
    """What a thing must know to be used as a dictionary.

    Attributes:
        name: What tables and reports call it.
        hook: Canonical hook whose residuals it reads, ``"blocks.1.hook_out"``.
        d_in: Width of the residual; of heads, of all of them one behind the other.
        d_sae: Number of features.
        W_dec: Decoder, dims (d_sae, d_in).
        mean: Mean residual of the tokens it was trained on, dims (d_in,); the origin that ``fvu``
            is measured from.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def hook(self) -> str: ...  # noqa: D102
    @property
    def d_in(self) -> int: ...  # noqa: D102
    @property
    def d_sae(self) -> int: ...  # noqa: D102
    @property
    def W_dec(self) -> Tensor: ...  # noqa: D102
    @property
    def mean(self) -> Tensor: ...  # noqa: D102

    def encode(self, acts: Tensor) -> Tensor:
        """Activations of the features, dims (..., d_in) to (..., d_sae), where the acts are."""
        ...

    def decode(self, feats: Tensor) -> Tensor:
        """Residuals that these features stand for, dims (..., d_sae) to (..., d_in)."""
        ...


@dataclass(frozen=True, eq=False)
class SparseDictionary:
    """An SAE of SAELens with its provenance; satisfies ``Dictionary``.

    It computes where the activations that it is given are: there its weights and mean move, once,
    and stay. It computes in the dtype of its weights (float32 unless it was opened otherwise), to
    which activations of another dtype are cast, and always answers in float32.

    Attributes:
        sae: The SAELens inference module.
        name: What tables and reports call it.
        hook: Canonical hook whose residuals it reads.
        mean: Mean training residual, dims (d_in,).
        variance: Mean squared distance of the training residuals from ``mean``.
        provenance: Checkpoints, hashes, token counts and training settings; JSON values only.
    """

    sae: Any
    name: str
    hook: str
    mean: Tensor
    variance: float
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        # neither weights nor a mean residual: nobody reads these
        return (
            f"SparseDictionary({self.name!r}, hook={self.hook!r}, d_in={self.d_in}, "
            f"d_sae={self.d_sae}, sae={type(self.sae).__name__})"
        )

    def _repr_html_(self) -> str:
        rows = {
            "name": self.name,
            "hook": self.hook,
            "features": f"{self.d_sae:,} (d_sae)",
            "residual": f"{self.d_in:,} wide (d_in)",
            "SAE": type(self.sae).__name__,
        }
        return card("SparseDictionary", rows)

    @property
    def d_in(self) -> int:
        """Width of the residual."""
        return int(self.W_dec.shape[1])

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return int(self.W_dec.shape[0])

    @property
    def W_dec(self) -> Tensor:
        """Decoder, dims (d_sae, d_in)."""
        return self.sae.W_dec.detach()

    @torch.no_grad()
    def encode(self, acts: Tensor) -> Tensor:
        """Activations of the features, dims (..., d_in) to (..., d_sae)."""
        return self._follow(acts.device).encode(acts.to(self.W_dec.dtype)).float()

    @torch.no_grad()
    def decode(self, feats: Tensor) -> Tensor:
        """Residuals that these features stand for, dims (..., d_sae) to (..., d_in)."""
        return self._follow(feats.device).decode(feats.to(self.W_dec.dtype)).float()

    def _follow(self, device: torch.device) -> Any:
        """The module on this device, and the mean beside it."""
        if self.W_dec.device != device:
            self.sae.to(device)
        if self.mean.device != device:
            object.__setattr__(self, "mean", self.mean.to(device))
        return self.sae


def hash_dictionary(dictionary: Dictionary) -> str:
    """Hash of what a dictionary computes, for telling dictionaries apart.

    Args:
        dictionary: Any dictionary.

    Returns:
        Sixteen hexadecimal digits of the SHA-256 over hook, mean and weights (of a dictionary that
        is no ``SparseDictionary`` only the decoder is known).

    >>> from types import SimpleNamespace
    >>> one = SimpleNamespace(hook="blocks.0.hook_out", W_dec=torch.eye(2), mean=torch.zeros(2))
    >>> hash_dictionary(one)
    '755dcde2c3fd3f08'
    """
    if isinstance(dictionary, SparseDictionary):
        weights = dictionary.sae.state_dict()
    else:
        weights = {"W_dec": dictionary.W_dec}
    # float32 on the CPU, in the order of the names: the hash depends on neither device nor dtype
    digest = hashlib.sha256(dictionary.hook.encode())
    for name, tensor in sorted({**weights, "mean": dictionary.mean}.items()):
        digest.update(name.encode() + tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_dictionary(dictionary: SparseDictionary, folder: str | Path) -> Path:
    """Write a dictionary and its provenance to a folder.

    Args:
        dictionary: What ``fit`` or ``open_dictionary`` returned.
        folder: Where to; made when missing.

    Returns:
        The folder: ``cfg.json`` and ``sae_weights.safetensors`` of SAELens, and
        ``dictionary.json``, which is written last: a folder without it is not finished.

    Raises:
        ModelError: Another dictionary is there already.
    """
    if not isinstance(dictionary, SparseDictionary):
        raise ModelError(
            f"save_dictionary writes what fit(...) or load_pretrained(...) gave; got "
            f"{excerpt(dictionary)}. An SAE of SAELens writes itself: sae.save_model(folder)."
        )
    folder = Path(folder)
    card = {
        "name": dictionary.name,
        "hook": dictionary.hook,
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "mean": dictionary.mean.tolist(),
        "variance": dictionary.variance,
        "hash": hash_dictionary(dictionary),
        "settings": _settings(dictionary.sae),
        "provenance": dict(dictionary.provenance),
    }
    if (folder / CARD).exists():
        other = read_card(folder)
        if other["hash"] != card["hash"]:
            raise ModelError(
                f"{folder} holds another dictionary ({excerpt(other['name'])}, "
                f"{excerpt(other['hash'])}); choose an empty folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as parts:
        dictionary.sae.save_model(parts)
        for name in (WEIGHTS, CONFIG):
            with atomic(folder / name) as tmp:
                (Path(parts) / name).replace(tmp)
    write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", folder / CARD)
    return folder


def open_dictionary(
    folder: str | Path, *, device: object = CPU, dtype: str = FULL
) -> SparseDictionary:
    """Open a dictionary that was saved here, and check that it is the one on its card.

    Args:
        folder: What ``save_dictionary`` or ``fit(..., out=folder)`` wrote.
        device: Where its weights are until it is given activations elsewhere.
        dtype: Of its weights, in which it computes: "float32", "bfloat16" or "auto".

    Returns:
        The dictionary, equal to the one saved but for the dtype.

    Raises:
        ModelError: The folder holds no dictionary, or one whose weights or settings are not those
            its card names; or there is no such device or dtype.
    """
    folder = Path(folder).expanduser()
    if not (folder / CARD).is_file():
        fault = "has none"
        if (folder / WEIGHTS).is_file():
            fault = "has weights alone: half written, or not ours (load_pretrained opens those)"
        raise ModelError(
            f"expected a folder with {CARD} and SAELens weights; {folder} {fault}. Make one with "
            "fit(...)."
        )
    card = read_card(folder)
    config, weights, *_ = from_saelens(folder)
    dictionary = SparseDictionary(
        build(config, weights, source=folder),
        card["name"],
        card["hook"],
        torch.tensor(card["mean"], dtype=torch.float32),
        card["variance"],
        card["provenance"],
    )
    if fault := alteration(dictionary, card):
        raise ModelError(f"{folder}: {fault}: fit it again.")
    return cast(dictionary, device=device, dtype=dtype)


def cast(dictionary: SparseDictionary, *, device: object, dtype: str) -> SparseDictionary:
    """Move a dictionary, and let it compute in another dtype.

    Args:
        dictionary: The dictionary; its module is changed.
        device: Where to, as of ``resolve_device``.
        dtype: "float32", "bfloat16" or "auto".

    Returns:
        The dictionary.

    Raises:
        ModelError: There is no such device or dtype.
    """
    place = torch.device(resolve_device(device))
    dictionary.sae.to(device=place, dtype=getattr(torch, resolve_dtype(dtype, device)))
    return replace(dictionary, mean=dictionary.mean.to(place))


def read_card(folder: Path) -> dict[str, Any]:
    """Card of a dictionary that was saved here.

    Args:
        folder: Its folder.

    Returns:
        Its fields.

    Raises:
        ModelError: The card cannot be read, or a field is missing or of another type.
    """
    path = folder / CARD
    card = read_settings(path, FIELDS)
    card["variance"] = card.get("variance", math.nan)
    missing = [name for name in FIELDS if card.get(name) is None and name != "settings"]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}; fit it again.")
    check_kinds(path, card["provenance"], PROVENANCE)
    for name, values in (("mean", card["mean"]), ("variance", [card["variance"]])):
        if not values or not all(type(value) in (int, float) for value in values):
            raise ModelError(f"{path}: '{name}' must be numbers; got {excerpt(values)}.")
    return card


def alteration(dictionary: SparseDictionary, card: Mapping[str, Any]) -> str:
    """What of a dictionary is not as its card says, in words; "" for nothing.

    Args:
        dictionary: As its folder opens.
        card: The card.

    Returns:
        The difference.
    """
    digest = hash_dictionary(dictionary)
    if digest != card["hash"]:
        return f"weights, hook and mean hash to {digest}, its {CARD} says {excerpt(card['hash'])}"
    settings = _settings(dictionary.sae)
    stated = card.get("settings")
    if stated is None:  # cards of older versions
        stated = settings
    for name in sorted(settings.keys() | stated.keys()):
        here, there = settings.get(name), stated.get(name)
        if here != there:
            return f"{CONFIG} says {excerpt(name)} = {excerpt(here)}, its {CARD} {excerpt(there)}"
    return ""


def _settings(sae: Any) -> dict[str, Any]:
    """Settings that decide what an SAE answers."""
    config = sae.cfg.to_dict()
    return {name: value for name, value in config.items() if name not in NOT_SETTINGS}
