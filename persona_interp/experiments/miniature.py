"""What is the same run with hardly any training? Cells that cost little and tell what theirs cost.

Of a configuration only the numbers called ``steps`` become smaller (and what may not exceed them);
corpora, models, dictionaries, probes and the number of snapshots stay, so that a miniature writes
as many files, of the same sizes, and holds as much in memory.
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


def shrink(config: Any, most: int) -> Any:
    """The configuration with at most so many steps a stage, and more than it has snapshots.

    Args:
        config: Of a cell.
        most: Steps of a stage.

    Returns:
        A smaller configuration, or an equal one. Snapshots are at the first steps, but for one at
        the end, which stays there.

    >>> shrink({"stage": {"steps": 40, "warmup": 9}, "snapshots": [8, 40]}, 2)
    {'stage': {'steps': 3, 'warmup': 3}, 'snapshots': [1, 3]}
    >>> shrink({"steps": 40, "snapshots": [8]}, 2), shrink({"steps": 1}, 2)
    ({'steps': 2, 'snapshots': [1]}, {'steps': 1})
    """
    snapshots = config.get(SNAPSHOTS) if isinstance(config, dict) else None
    if not snapshots or not all(type(step) is int for step in snapshots):
        return _shrink(config, most)
    n, full = len(snapshots), steps_of(config)
    fewest = max(most, n + 1)
    if fewest >= full:
        return _shrink(config, full)
    last = fewest if snapshots[-1] == full else n
    return {**_shrink(config, fewest), SNAPSHOTS: [*range(1, n), last]}


def _shrink(value: Any, most: int) -> Any:
    """A value in which no stage has more steps."""
    if isinstance(value, list):
        return [_shrink(item, most) for item in value]
    if not isinstance(value, dict):
        return value
    smaller = {key: _shrink(item, most) for key, item in value.items()}
    if type(value.get(STEPS)) is int:
        smaller[STEPS] = min(value[STEPS], most)
        if type(value.get(WARMUP)) is int:
            smaller[WARMUP] = min(value[WARMUP], smaller[STEPS])
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
