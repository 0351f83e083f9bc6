"""What ``validate`` said, as a table from which the documents' numbers are taken."""

from pathlib import Path

import pandas as pd

from claim import Claim
from persona_interp.report.provenance import revision
from persona_interp.tables import IDS
from trial import Trial

KEY = ["group", "seeds", "world"]
MOST_VALUES = 50
"""Values of a claim that are written out; those of hundreds of simulations are not."""


def table(claims: dict[str, list[Claim]], trial: Trial) -> pd.DataFrame:
    """One row a claim, with the seeds, the world and the commit it was tried on.

    Args:
        claims: By group.
        trial: What they were tried on.
    """
    seeds = " ".join(map(str, trial.seeds))
    world = Path(trial.world_file).name if trial.world_file else "recipe"
    rows = []
    for group, own in claims.items():
        where = {"group": group, "seeds": seeds, "world": world, "commit": revision()}
        for claim in own:
            row = claim.row()
            if len(claim.values) > MOST_VALUES:
                row["values"] = ""
            rows.append({**where, **row})
    return pd.DataFrame(rows)


def store(new: pd.DataFrame, path: Path) -> None:
    """Write a table; rows of other groups, seeds or worlds that the file holds stay."""
    if path.exists():
        old = pd.read_csv(path, dtype={**IDS, "seeds": str}, keep_default_na=False)
        mine = set(new[KEY].itertuples(index=False, name=None))
        kept = [key not in mine for key in old[KEY].itertuples(index=False, name=None)]
        new = pd.concat([old.loc[kept], new.astype(object)], ignore_index=True)
    new.to_csv(path, index=False, float_format="%.6g")
