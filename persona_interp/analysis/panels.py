"""Which quantities were measured at the same units in every checkpoint, as pairs need it?"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Family

CLUSTER = "cluster"
"""Column of measurements, where units of one topic or conversation move together."""


class Panel(NamedTuple):
    """Quantities of one family and hook that were measured at the same units."""

    family: str
    hook: str
    values: dict[str, pd.DataFrame]
    """Dims (unit, quantity), by checkpoint."""
    clusters: Sequence[str]
    """Of each unit: units of one cluster move together."""
    n_silent: int
    """Quantities of this family and hook that are left out because they never fire."""

    @property
    def n_quantities(self) -> int:
        """Quantities that are compared."""
        return next(iter(self.values.values())).shape[1]


def check_measurements(measurements: pd.DataFrame) -> None:
    """Refuse measurements unless every quantity has one finite value, or none, at each unit.

    Args:
        measurements: A measurements table.

    Raises:
        SchemaError: Something has no name, several values at one unit, or an infinite one; or a
            unit has several clusters.
    """
    schema.check(measurements, "measurements")
    key = ["checkpoint", "family", "hook", "quantity", "unit"]
    for column in key:
        if measurements[column].isna().to_numpy().any():
            raise SchemaError(f"measurements need a {column} in every row; some have none.")
    if CLUSTER in measurements:
        n_clusters = measurements.groupby("unit")[CLUSTER].nunique().to_numpy()
        if (n_clusters != 1).any():
            raise SchemaError("measurements need one cluster a unit, the same in all checkpoints.")
    if np.isinf(measurements["value"].to_numpy(np.float64)).any():
        raise SchemaError("measurements need finite values; some are infinite.")
    if (again := measurements.duplicated(key)).any():
        row = measurements.loc[again, key].iloc[0]
        where = ", ".join(f"{column} {row[column]}" for column in key if row[column] != "")
        raise SchemaError(f"measurements need one row a unit; there are several of {where}.")


def panels(measurements: pd.DataFrame, labels: list[str]) -> Iterator[Panel]:
    """Yield the quantities that share their units; silent features are in none.

    Args:
        measurements: A measurements table; ``check_measurements`` has seen it.
        labels: Checkpoints, in order.

    Yields:
        Panels, in the order of the table.

    Raises:
        SchemaError: A checkpoint was not measured at the same units.

    >>> rows = pd.DataFrame({"checkpoint": ["a", "b"], "unit": "q", "value": [0.5, 1.0]})
    >>> (panel,) = panels(rows.assign(family="behavior", hook="", quantity="wry"), ["a", "b"])
    >>> panel.values["b"].to_numpy().tolist(), panel.clusters
    ([[1.0]], ['q'])
    """
    if CLUSTER not in measurements:
        measurements = measurements.assign(**{CLUSTER: measurements["unit"]})
    for _, rows in measurements.groupby(["family", "hook"], sort=False):
        family, hook = map(str, rows[["family", "hook"]].iloc[0])
        names = rows["quantity"].drop_duplicates()
        clusters = rows.drop_duplicates("unit").set_index("unit")[CLUSTER]
        wide = {}
        for label, part in rows.groupby("checkpoint", sort=False):
            table = part.pivot(index="unit", columns="quantity", values="value")
            wide[label] = table.reindex(columns=names)
        for label in labels:
            # Pairs need the same unit in both checkpoints, so cells without a value must be alike.
            if label not in wide or not wide[label].notna().equals(wide[labels[0]].notna()):
                place = f"{family} {hook}".strip()
                raise SchemaError(
                    f"{label} was not measured at the same units as {labels[0]} ({place}); record "
                    "all checkpoints on one table of questions."
                )
        # A feature that is silent everywhere cannot move. Testing it would cost the others power.
        silent = set()
        if family == Family.FEATURE:
            fires = np.any([wide[label].fillna(0).ne(0).any() for label in labels], axis=0)
            silent = set(names[~fires])
        has_value = wide[labels[0]].notna()
        # A trait may have questions of its own: quantities with the same units form one block.
        units_of = {name: tuple(has_value[name]) for name in names if name not in silent}
        for units in dict.fromkeys(units_of.values()):
            block = [name for name, own in units_of.items() if own == units]
            values = {label: wide[label].loc[list(units), block] for label in labels}
            own_clusters = clusters[values[labels[0]].index]
            yield Panel(family, hook, values, list(own_clusters), len(silent))
