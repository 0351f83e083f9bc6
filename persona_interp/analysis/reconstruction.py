"""At which checkpoints does a crosscoder describe the residuals well enough for its features?"""

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp.analysis.latent_scaling import with_parts
from persona_interp.analysis.stats import jackknife
from persona_interp.schema.words import FITS_FVU, UNUSABLE_FVU, Fit


def reconstruction(scaling: xr.Dataset) -> pd.DataFrame:
    """What a crosscoder leaves unexplained at each of its checkpoints, with a verdict.

    Args:
        scaling: What ``dictionaries.scaling`` gives.

    Returns:
        One row a checkpoint, in order: ``checkpoint``, ``fvu`` (fraction of variance unexplained,
        around the mean residual of the training), ``lo``, ``hi`` (95 %, jackknife over parts of
        the documents), ``n_tokens``, ``verdict``: "fits" up to .1, "unusable" beyond .5, "doubtful"
        between, as of ``dictionaries.fidelity``.

    Raises:
        SchemaError: It is no such dataset, or of one document.
    """
    scaling = with_parts(scaling)
    error, total = scaling["error"].to_numpy(), scaling["total"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = error.sum(axis=0) / total.sum(axis=0)
        left_out = (error.sum(axis=0) - error) / (total.sum(axis=0) - total)
    fvu, lo, hi, _ = jackknife(whole, left_out)
    # what is not finite is not at most .5, so it is unusable too
    verdict = np.where(whole <= UNUSABLE_FVU, str(Fit.DOUBTFUL), str(Fit.UNUSABLE))
    verdict[whole <= FITS_FVU] = str(Fit.FITS)
    return pd.DataFrame(
        {
            "checkpoint": scaling["checkpoint"].to_numpy(),
            "fvu": fvu,
            "lo": lo,
            "hi": hi,
            "n_tokens": int(scaling["tokens"].sum()),
            "verdict": verdict,
        }
    )
