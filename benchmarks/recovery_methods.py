"""What each method makes of planted residuals, for ``recovery.py``.

Dictionaries see residuals alone. Directions (mean difference, minimal pair, probe) are told on
which tokens a feature fires, and are asked for the features of the last checkpoint; so they are no
rivals in finding features, only in writing them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy import sparse

from persona_interp.analysis import statuses
from persona_interp.dictionaries.blocks import as_blocks, as_pool
from persona_interp.dictionaries.crosscoder import Crosscoder, crosscoder, difference
from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.planted import Planted
from persona_interp.dictionaries.saelens_training import Settings as Training
from persona_interp.dictionaries.saelens_training import train_rows
from persona_interp.dictionaries.scaling import scaling
from persona_interp.dictionaries.stage_wise import finetune
from persona_interp.schema.words import Sparsity, Status
from recovery_findings import SAME, Findings, cosines, sample

HOOK = "blocks.0.hook_out"
SPARE = 1.25
"""Features of a dictionary over those planted."""


@dataclass(frozen=True)
class Settings:
    """How dictionaries are trained."""

    steps: int = 2400
    batch: int = 1024
    lr: float = 4e-3
    seed: int = 0


def sizes(planted: Planted) -> dict[str, Any]:
    """Width and sparsity: a little more than is planted."""
    active = planted.acts.nnz / planted.residuals.shape[1]
    return {"d_sae": round(SPARE * planted.decoders.shape[1]), "k": 1.1 * active}


def crosscoder_sums(
    planted: Planted, settings: Settings, *, sparsity: str = Sparsity.NORM
) -> tuple[xr.Dataset, Crosscoder]:
    """A crosscoder of all checkpoints and its latent scaling."""
    coder = crosscoder(
        residuals=planted.residuals,
        hook=HOOK,
        sparsity=sparsity,
        **sizes(planted),
        **asdict(settings),
    )
    return scaling(coder, residuals=planted.residuals, documents=planted.documents), coder


def by_crosscoder(planted: Planted, settings: Settings, sparsity: str = Sparsity.NORM) -> Findings:
    """A crosscoder, and statuses from its latent scaling."""
    return read(planted, *crosscoder_sums(planted, settings, sparsity=sparsity))


def read(planted: Planted, sums: xr.Dataset, coder: Crosscoder) -> Findings:
    """What latent scaling says of a crosscoder, whoever trained it."""
    scales = coder.scales.numpy()[:, None, None]
    return with_statuses(
        planted,
        cosines(coder.decoders.numpy() / scales, planted.decoders / scales),
        table=statuses(sums),
        activity=coder.encode(torch.as_tensor(planted.residuals[:, sample(planted)])).numpy(),
    )


def with_statuses(
    planted: Planted, alike: np.ndarray, *, table: pd.DataFrame, activity: np.ndarray
) -> Findings:
    """Findings of a dictionary that has a table of statuses."""
    own = table.iloc[alike.argmax(axis=1)]
    features = pd.DataFrame(
        {
            "cosine": alike.max(axis=1),
            "status": own["status"].to_numpy(),
            "at": own["at"].fillna(-1).to_numpy(dtype=int),
            "ratio": own["ratio"].to_numpy(),
        }
    )
    silent = table["status"].isin([Status.SHARED, Status.UNDECIDED, Status.DEAD]).to_numpy()
    claimed = alike[:, (table["n_tokens"] > 0).to_numpy() & ~silent]
    truth = planted.truth["status"].to_numpy()[claimed.argmax(axis=0)]
    claims = pd.DataFrame({"cosine": claimed.max(axis=0), "truth": truth})
    return Findings(features, alike, activity, claims)


def _train(residuals: Any, planted: Planted, settings: Settings) -> Any:
    """One SAE on the residuals of some checkpoints."""
    rows = as_pool(as_blocks(residuals))
    training = Training(**sizes(planted), **asdict(settings))
    return train_rows(rows, training, metadata={"hook_name": HOOK})


def _at(planted: Planted, checkpoint: int) -> np.ndarray:
    """Which planted features are there at a checkpoint."""
    lengths = np.linalg.norm(planted.decoders[checkpoint], axis=1)
    return lengths > 0.01 * np.median(lengths)


def _without_statuses(alike: np.ndarray, activity: np.ndarray) -> Findings:
    """Findings of a method that reads no status."""
    features = pd.DataFrame({"cosine": alike.max(axis=1), "status": "", "at": -1, "ratio": np.nan})
    return Findings(features, alike, activity)


def _alike_at_last(planted: Planted, directions: np.ndarray) -> np.ndarray:
    """Cosines at the last checkpoint, dims (planted, directions); 0 for what is not there."""
    return cosines(directions[None], planted.decoders[-1:]) * _at(planted, -1)[:, None]


@torch.no_grad()
def _encode(sae: Any, acts: np.ndarray) -> np.ndarray:
    """Activations, dims (token, feature)."""
    return torch.cat([sae.encode(part) for part in torch.as_tensor(acts).split(4096)]).numpy()


def by_last_sae(planted: Planted, settings: Settings) -> Findings:
    """An SAE of the last checkpoint alone; what is not there counts as missed."""
    sae = _train(planted.residuals[-1:], planted, settings)
    alike = _alike_at_last(planted, sae.W_dec.numpy())
    return _without_statuses(alike, _encode(sae, planted.residuals[-1, sample(planted)]))


def by_shared_sae(planted: Planted, settings: Settings) -> Findings:
    """One SAE for all checkpoints; a feature counts where it is longest. Activations say the rest.

    A feature is read off its mean activation at each checkpoint, over the residuals' scale there:
    born or dead under a tenth, amplified or shrunk beyond 1.25; a turn shows as one that dies.
    """
    residuals, spread = _standardized(planted)
    sae = _train(residuals, planted, settings)
    means = np.stack([_encode(sae, acts).mean(axis=0, dtype=np.float64) for acts in residuals])
    longest = np.linalg.norm(planted.decoders / spread, axis=2).argmax(axis=0)
    true = planted.decoders[longest, np.arange(len(longest))]
    activity = sum(_encode(sae, acts[sample(planted)]) for acts in residuals)
    return with_statuses(
        planted,
        cosines(sae.W_dec.numpy()[None], true[None]),
        table=_read_activations(means),
        activity=np.asarray(activity),
    )


def _standardized(planted: Planted) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of each checkpoint centered and over their spread, and that spread."""
    spread = planted.residuals.std(axis=1).mean(axis=1)[:, None, None].astype(np.float32)
    centered = planted.residuals - planted.residuals.mean(axis=1, keepdims=True)
    return centered / spread, spread


def _read_activations(means: np.ndarray) -> pd.DataFrame:
    """Statuses by one step in mean activations, dims (checkpoint, feature)."""
    n = len(means)
    within = []
    for at in range(1, n):
        sides = (means[:at], means[at:])
        within.append(sum(((side - side.mean(0)) ** 2).sum(0) for side in sides))
    at = np.argmin(within, axis=0) + 1
    after = np.arange(n)[:, None] >= at
    ends = [np.where(side, means, 0).sum(0) / side.sum(0) for side in (~after, after)]
    ratio = (ends[1] + 1e-9) / (ends[0] + 1e-9)
    status = np.full(len(at), str(Status.SHARED), dtype=object)
    status[ratio > 1.25], status[ratio < 0.8] = Status.AMPLIFIED, Status.SHRUNK
    status[ratio > 10], status[ratio < 0.1] = Status.BORN, Status.DIED
    tokens = (means.max(0) > 0).astype(int)
    return pd.DataFrame({"status": status, "at": at, "ratio": ratio, "n_tokens": tokens})


def by_difference(planted: Planted, settings: Settings) -> Findings:
    """An SAE on last minus first checkpoint: only what changes in between can be found.

    Both are centered and scaled before: else what is shared would not cancel.
    """
    residuals, spread = _standardized(planted)
    pair = residuals[[0, -1]]
    own = difference(residuals=pair, hook=HOOK, **sizes(planted), **asdict(settings))
    scaled = planted.decoders / spread
    changes = planted.truth["status"].to_numpy() != Status.SHARED
    alike = cosines(own.W_dec.numpy()[None], (scaled[-1] - scaled[0])[None]) * changes[:, None]
    moved = pair[1] - pair[0]
    return _without_statuses(alike, _encode(own, moved[sample(planted)]))


def by_stages(planted: Planted, settings: Settings) -> Findings:
    """An SAE of the first checkpoint, finetuned to the last; turned decoders are called rotated.

    It is trained on as long as it was trained, at half the rate, and with as many features active:
    on the last checkpoint's residuals the first's thresholds let twice as many through.
    """
    residuals, _ = _standardized(planted)
    sae = _train(residuals[:1], planted, settings)
    zero = torch.zeros(planted.residuals.shape[2])
    start = SparseDictionary(sae, "first", HOOK, zero, 1.0, {"k": sizes(planted)["k"]})
    later = finetune(start, residuals[-1:], steps=settings.steps, lr=settings.lr / 2)
    before, after = (one.W_dec.numpy() for one in (start, later))
    # rows of unit length
    turned = np.where((before * after).sum(axis=1) < SAME, Status.ROTATED, Status.SHARED)
    activity = _encode(later, residuals[-1, sample(planted)])
    fires = (activity > 0).sum(axis=0)
    table = pd.DataFrame({"status": turned, "at": -1, "ratio": np.nan, "n_tokens": fires})
    alike = _alike_at_last(planted, after)
    return with_statuses(planted, alike, table=table, activity=activity)


def by_direction(
    fit: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[..., Findings]:
    """A direction for each feature at the last checkpoint, from the tokens on which it fires."""

    def run(planted: Planted, settings: Settings) -> Findings:
        del settings
        acts = sparse.csc_array(planted.acts)
        last = planted.residuals[-1].astype(np.float64)
        directions = np.zeros(planted.decoders.shape[1:])
        for i in np.flatnonzero(_at(planted, -1)):
            fires = np.zeros(len(last), dtype=bool)
            fires[acts.indices[acts.indptr[i] : acts.indptr[i + 1]]] = True
            directions[i] = fit(last, fires)
        return _along(planted, directions)

    return run


def _along(planted: Planted, directions: np.ndarray) -> Findings:
    """Findings of a direction for each planted feature: its own is the one that counts."""
    alike = _alike_at_last(planted, directions)
    findings = _without_statuses(alike, planted.residuals[-1, sample(planted)] @ directions.T)
    return findings._replace(features=findings.features.assign(cosine=alike.diagonal()))


def mean_difference(residuals: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """Mean on the tokens minus mean on the others."""
    return residuals[fires].mean(0) - residuals[~fires].mean(0)


def probe(residuals: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """Linear discriminant: the difference of means, whitened."""
    covariance = np.cov(residuals.T) + 1e-6 * np.eye(residuals.shape[1])
    return np.linalg.solve(covariance, mean_difference(residuals, fires))


def by_minimal_pairs(planted: Planted, settings: Settings) -> Findings:
    """Each token beside itself without the feature, both with noise of their own, 50 pairs."""
    rng = np.random.default_rng(settings.seed)
    last = planted.decoders[-1]
    usual = np.median(np.linalg.norm(last, axis=1))
    directions = np.zeros_like(last)
    for i in np.flatnonzero(_at(planted, -1)):
        noise = 0.1 * usual * rng.standard_normal((2, 50, last.shape[1])) / last.shape[1] ** 0.5
        directions[i] = last[i] + (noise[0] - noise[1]).mean(0)
    return _along(planted, directions)


def by_components(planted: Planted, settings: Settings) -> Findings:
    """Principal components of the last checkpoint, both ways."""
    del settings
    last = planted.residuals[-1].astype(np.float64)
    vectors = np.linalg.eigh(np.cov(last.T))[1].T
    both = np.concatenate([vectors, -vectors])
    return _without_statuses(_alike_at_last(planted, both), last[sample(planted)] @ both.T)


def by_l1(planted: Planted, settings: Settings) -> Findings:
    """The published two-model L1 crosscoder, written out; statuses by relative decoder norm.

    First and last checkpoint only (Lindsey et al. 2024): a relative norm under .1 is born, over .9
    died, .4 to .6 shared; the rest is amplified or shrunk.
    """
    torch.manual_seed(settings.seed)
    pair = torch.as_tensor(planted.residuals[[0, -1]])
    pair = pair - pair.mean(1, keepdim=True)
    scale = pair.pow(2).mean((1, 2)).sqrt()[:, None, None]
    pair = pair / scale
    d_sae = sizes(planted)["d_sae"]
    width = pair.shape[2]
    start = torch.randn(2, d_sae, width)
    decoder = (0.4 * start / start.norm(dim=-1, keepdim=True)).requires_grad_()
    encoder = decoder.detach().transpose(1, 2).clone().requires_grad_()
    bias = torch.zeros(d_sae, requires_grad=True)
    shift = torch.zeros(2, 1, width, requires_grad=True)
    optimizer = torch.optim.Adam([decoder, encoder, bias, shift], lr=settings.lr / 2)
    for step in range(settings.steps):
        batch = pair[:, torch.randint(pair.shape[1], (settings.batch,))]
        feats = torch.relu((batch @ encoder).sum(0) + bias)
        error = (batch - feats @ decoder - shift).pow(2).sum((0, 2)).mean()
        penalty = (feats * decoder.norm(dim=-1).sum(0)).sum(1).mean()
        (error + 1.0 * min(1.0, 5 * step / settings.steps) * penalty).backward()
        optimizer.step()
        optimizer.zero_grad()
    decoders = decoder.detach().numpy()
    norms = np.linalg.norm(decoders, axis=2)
    share = norms[1] / norms.sum(0).clip(1e-9)
    status = np.full(d_sae, str(Status.SHARED), dtype=object)
    status[share > 0.6], status[share < 0.4] = Status.AMPLIFIED, Status.SHRUNK
    status[share > 0.9], status[share < 0.1] = Status.BORN, Status.DIED
    with torch.no_grad():
        shown = pair[:, sample(planted)]
        activity = torch.relu((shown @ encoder).sum(0) + bias).numpy()
    ratio = share / (1 - share).clip(1e-6)
    fires = (activity > 0).sum(axis=0)
    table = pd.DataFrame({"status": status, "at": -1, "ratio": ratio, "n_tokens": fires})
    alike = cosines(decoders, planted.decoders[[0, -1]] / scale.numpy())
    return with_statuses(planted, alike, table=table, activity=activity)


METHODS: dict[str, Callable[[Planted, Settings], Findings]] = {
    # first, since cost is told in units of it
    "SAE": by_last_sae,
    "crosscoder": by_crosscoder,
    "crosscoder, sum of norms": lambda p, s: by_crosscoder(p, s, Sparsity.SUM),
    "L1 crosscoder, two models": by_l1,
    "shared SAE": by_shared_sae,
    "stage-wise": by_stages,
    "difference SAE": by_difference,
    "mean difference": by_direction(mean_difference),
    "probe": by_direction(probe),
    "minimal pair": by_minimal_pairs,
    "PCA": by_components,
}
