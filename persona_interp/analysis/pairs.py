"""Which of several readouts knows a persona better, on the same documents?"""

from collections.abc import Iterable
from itertools import permutations

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp.analysis.auroc import auroc, auroc_differences
from persona_interp.analysis.ceiling import CEILING, probabilities
from persona_interp.analysis.documents import Documents, documents
from persona_interp.analysis.stats import benjamini_hochberg
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import World

RANDOM = "random"
"""Method of the row that stands for all random directions."""


def pairs(
    hidden: xr.DataArray,
    *,
    persona: str,
    world: World | None = None,
    random: Iterable[str] = (),
    topics: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Difference in AUROC of every two readouts, paired by document.

    Both read the same documents, so what makes a document hard for both cancels: the variance of
    the difference takes their covariance off (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        hidden: Readouts on the cuts of documents, as in ``baselines``; of the first checkpoint.
        persona: Whose documents are told from the others'.
        world: The world that wrote the documents; with it "exact Bayes" is among the methods.
        random: Names of readouts along random directions; the best of them, which is harder to beat
            than any one of them, stands for all as "random".
        topics: Topics that were chosen on, see ``parts``.

    Returns:
        A pairs table, one row an ordered pair of methods: ``estimate`` (AUROC of ``method`` minus
        that of ``other`` on test documents about other topics, fraction), ``lo``, ``hi`` (95 %),
        ``p`` (two-sided), ``q`` (Benjamini-Hochberg over the pairs), ``n_pos``, ``n_neg``.

    Raises:
        SchemaError: An unknown persona or random name, or no documents on one side.

    >>> who, rng = np.array(["john", "mary"] * 40), np.random.default_rng(0)
    >>> values = np.stack([(who == "john") + rng.normal(0, 0.1, 80), rng.normal(size=80)])
    >>> along = {"persona": who, "doc": range(80), "split": np.repeat(["train", "test"], 40)}
    >>> along |= {"stated": np.tile(np.repeat(["art=op", "food=rice"], 20), 2)}
    >>> coords = {name: ("prompt", list(x)) for name, x in along.items()}
    >>> coords |= {"name": ["feature", "noise"]}
    >>> hidden = xr.DataArray(values, dims=("name", "prompt"), coords=coords)
    >>> table = pairs(hidden, persona="john")
    >>> table.loc[table["q"] <= 0.05, ["method", "other"]].values.tolist()[0]
    ['feature', 'noise']
    """
    docs = read_documents(hidden, persona=persona, world=world, topics=topics)
    names = [str(name) for name in docs.readings]
    values, marks = docs.values[docs.other], (docs.personas == persona)[docs.other]
    band = list(random)
    for name in band:
        if name not in names:
            raise SchemaError(unknown("random readout", name, names))
    columns = {name: column for column, name in enumerate(names) if name not in band}
    if band:
        numbers = [names.index(name) for name in band]
        areas = auroc(values[:, numbers], marks).estimate
        columns[RANDOM] = numbers[int(np.argmax(areas))]
    versus = auroc_differences(values[:, list(columns.values())], marks)
    rows = []
    for (i, method), (j, other) in permutations(enumerate(columns), 2):
        numbers = {
            name: float(getattr(versus, name)[i, j]) for name in ("estimate", "lo", "hi", "p")
        }
        rows.append({"method": method, "other": other, **numbers})
    table = pd.DataFrame(rows, columns=["method", "other", "estimate", "lo", "hi", "p"])
    # a pair stands here twice, once each way, which leaves every q what it is
    table["q"] = benjamini_hochberg(table["p"].to_numpy())
    return table.assign(n_pos=int(marks.sum()), n_neg=int((~marks).sum()))


def read_documents(
    hidden: xr.DataArray,
    *,
    persona: str,
    world: World | None = None,
    topics: Iterable[str] | None = None,
) -> Documents:
    """What readouts, and with a world exact Bayes, read of documents.

    Args:
        hidden: Readouts on the cuts of documents.
        persona: Whose documents exact Bayes is asked about.
        world: The world that wrote the documents.
        topics: Topics that were chosen on, see ``parts``.

    Returns:
        The documents; with a world the last reading is "exact Bayes", a probability.

    Raises:
        SchemaError: As ``documents``; or nobody's documents are this persona's.
    """
    docs = documents(hidden, topics=topics)
    if persona not in set(docs.personas):
        raise SchemaError(unknown("persona", persona, sorted(set(docs.personas))))
    if world is None:
        return docs
    belief = probabilities(world, docs.stated, [persona])
    readings = np.append(docs.readings.astype(object), CEILING)
    return docs._replace(values=np.hstack([docs.values, belief]), readings=readings)
