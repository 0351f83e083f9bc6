"""What is the same run with hardly any training? Cells that cost little and tell what theirs cost.

Of a configuration only the numbers called ``steps`` become smaller (and what may not exceed them);
corpora, models, dictionaries, probes and the number of snapshots stay, so that a miniature writes as
many files, of the same sizes, and holds as much in memory.
"""

from typing import Any

from persona_interp.store import Cell

STEPS, SNAPSHOTS, WARMUP = "steps", "snapshots", "warmup"


def steps_of(config: Any) -> int:
    """Steps that a configuration trains for, all stages together; 0 where it trains nothing.

    >>> steps_of({"stage": {"steps": 40, "lr": 0.1}, "sae": {"steps": 700}})
    740
    """
    if isinstance(config, list):
        return sum(steps_of(item) for item in config)
    if not isinstance(config, dict):
        return 0
    own = config.get(STEPS)
    here = own if type(own) is int else 0
    return here + sum(steps_of(value) for key, value in config.items() if key != STEPS)


def shrink(config: Any, most: int, *, n_snapshots: int = 0) -> Any:
    """The configuration with at most so many steps a stage, and at least one for each snapshot.

    Args:
        config: Of a cell.
        most: Steps of a stage.
        n_snapshots: Of the configuration that this is a part of.

    Returns:
        A smaller configuration, or an equal one.

    >>> shrink({"stage": {"steps": 40, "warmup": 9}, "snapshots": [8, 40]}, 3)
    {'stage': {'steps': 3, 'warmup': 3}, 'snapshots': [1, 2]}
    """
    if isinstance(config, list):
        return [shrink(item, most, n_snapshots=n_snapshots) for item in config]
    if not isinstance(config, dict):
        return config
    snapshots = config.get(SNAPSHOTS)
    n = len(snapshots) if _are_numbers(snapshots) else n_snapshots
    smaller = {key: shrink(value, most, n_snapshots=n) for key, value in config.items()}
    steps = config.get(STEPS)
    if type(steps) is int:
        smaller[STEPS] = min(steps, max(most, n))
        if type(config.get(WARMUP)) is int:
            smaller[WARMUP] = min(config[WARMUP], smaller[STEPS])
    if _are_numbers(snapshots) and steps_of(smaller) < steps_of(config):
        smaller[SNAPSHOTS] = list(range(1, n + 1))
    return smaller


def kind_of(cell: Cell) -> str:
    """What cells that cost the same have in common: everything but names, rates and seeds.

    >>> one, two = (Cell("a", {"seed": s, "lr": 0.1 * s, "n": 3}) for s in (1, 2))
    >>> kind_of(one) == kind_of(two), kind_of(one) == kind_of(Cell("a", {"n": 4}))
    (True, False)
    """
    return f"{cell.task} {len(cell.needs)} {_shape(cell.config)}"


def _shape(value: Any) -> Any:
    """A value without what changes nothing about its cost."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items() if key not in ("seed", "seeds")}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return value if type(value) is int else type(value).__name__


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)
