"""Which models, candidates and questions do these names mean? Looked up before anything is run."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import dictionaries, models, schema
from persona_interp.dictionaries import SparseDictionary
from persona_interp.errors import SchemaError, unknown
from persona_interp.experiments.causes.config import Causes, CausesSettings
from persona_interp.experiments.experiment import compute
from persona_interp.experiments.inputs import file_of, trait_files
from persona_interp.experiments.material import File, Source, controls_of, ends_of
from persona_interp.experiments.sources import (
    blocks_of,
    checkpoint_of,
    default_blocks,
    dictionary_files,
    sources_of,
)
from persona_interp.models.cache import cache
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.record.vectors import locate
from persona_interp.tables import read_directions, write_directions
from persona_interp.worlds import World


def causes(
    base: Any,
    tuned: Any,
    *,
    out: str | Path,
    world: World | None = None,
    traits: str | Path | None = None,
    target: str = "",
    directions: Any = None,
    sae: Any = (),
    hooks: Iterable[str] = (),
    control: Any = (),
    settings: CausesSettings | None = None,
    trust: Iterable[str] = (),
    seed: int = 0,
    workers: int | None = None,
    device: object = None,
    batch: Batch = AUTO,
    progress: bool = True,
) -> dict[str, pd.DataFrame]:
    """What carries a finetune's effect: removed from the finetune, and added to its base.

    Candidates are the target's directions, the axes along which the finetune moved residuals most,
    and features of dictionaries, each alone, in sets, and at several sites together. Behavior is
    the log odds of the target's untaught traits in a world; else how much likelier, without the
    instruction, the base's own answers are that show the trait than those that show its opposite.
    Text is drawn under the edits and judged by the base. The train half of the questions chooses,
    the test half is reported.

    Args:
        base: The model before: whatever ``models.resolve`` takes.
        tuned: A finetune, or several in a list: whatever ``models.sources`` takes; the last step
            of a training counts. Of three or more there is an interval over finetunes.
        out: Run folder; finished cells are read, missing ones computed.
        world: The world that wrote the documents; or ``traits``.
        traits: A folder of trait files, or one file. The other traits' vectors are controls.
        target: Whose effect it is; by default the world's target, or the only trait.
        directions: Candidate directions instead of those made here, a DataArray of ``record`` or
            its file (``tables.write_directions``); one of their names is the target's, the others
            are controls.
        sae: A dictionary or several, or their folders: of SAELens, or of a crosscoder
            (``crosscoder.at("base")``).
        hooks: Sites; after a quarter, a half and three quarters of the blocks by default, but never
            after the last one.
        control: Other finetunes, as ``tuned``: the axes along which they moved are controls.
        settings: How much is tried and measured.
        trust: Models whose own code may run, as in ``models.resolve``.
        seed: Of every draw.
        workers: Processes, as of ``compare``; 0 = this one.
        device: Where models compute.
        batch: Tokens a forward pass; "auto": what fits into memory.
        progress: Whether to show a progress bar.

    Returns:
        Tables by name: ``carriers`` (see ``analysis.carriers``; what is added is sufficiency, what
        is removed necessity), ``ranking`` (features by what taking each out does to behavior),
        ``text`` (what was said), ``sources``.

    Raises:
        ModelError: A source, hook or dictionary is not there or does not fit; nothing was computed.
        SchemaError: Neither a world nor traits, or an unknown target; nothing was computed.
        StoreError: The run folder belongs to another search.
    """
    with on_device(device, batch=batch):
        experiment = search(
            base,
            tuned,
            world=world,
            traits=traits,
            target=target,
            directions=directions,
            sae=sae,
            hooks=hooks,
            control=control,
            settings=settings,
            trust=trust,
            seed=seed,
        )
        return compute(experiment, out, workers=workers, progress=progress)


def search(
    base: Any,
    tuned: Any,
    *,
    world: World | None = None,
    traits: str | Path | None = None,
    target: str = "",
    directions: Any = None,
    sae: Any = (),
    hooks: Iterable[str] = (),
    control: Any = (),
    settings: CausesSettings | None = None,
    trust: Iterable[str] = (),
    seed: int = 0,
) -> Causes:
    """Search for causes that these names mean, all of them looked up: a wrong name costs nothing.

    Args:
        base: As in ``causes``, like all others.
        tuned: A finetune or a list of them.
        world: The world, or ``traits``.
        traits: Trait files.
        target: Whose effect it is.
        directions: Candidate directions.
        sae: Dictionaries.
        hooks: Sites.
        control: Other finetunes.
        settings: How much is tried and measured.
        trust: Models whose own code may run.
        seed: Of every draw.

    Returns:
        The experiment.

    Raises:
        ModelError: A source, hook or dictionary is not there or does not fit.
        SchemaError: Neither a world nor traits, or an unknown target.
    """
    if (world is None) == (traits is None):
        raise SchemaError(
            "behavior is measured on a world's probes or on traits; give one of world= and traits=."
        )
    files = trait_files(traits)
    names = [p.name for p in world.personas] if world else [file.name for file in files]
    target = target or (world.target if world else names[0] if len(names) == 1 else "")
    if target not in names:
        raise SchemaError(unknown("target", target, names))
    reading = {"keep_template": True, "fold_system": bool(files), "trust": tuple(trust)}
    first, finetunes, controls = sources_of(base, tuned, control, **reading)
    ends = tuple(ends_of(finetunes))
    by_path = _dictionaries(sae)
    sites = sites_of(first, hooks, by_path.values())
    models.boot(checkpoint_of(first.plain()), hooks=sites)
    return Causes(
        first,
        ends,
        target,
        sites,
        world=replace(world, target=target) if world else None,
        traits=files,
        directions=_directions_file(directions, sites, target),
        sae=dictionary_files(by_path),
        control=tuple(controls_of(controls, base=first, tuned=ends)),
        settings=settings or CausesSettings(),
        seeds=(seed,),
    )


def sites_of(
    source: Source, hooks: Iterable[str], saes: Iterable[SparseDictionary]
) -> tuple[str, ...]:
    """Where candidates are edited.

    Args:
        source: One of the models.
        hooks: Sites that were named; by default some before the last block, because what is edited
            after it writes the answer itself.
        saes: Dictionaries, whose sites are added.

    Returns:
        Hooks, distinct.
    """
    named = tuple(hooks)
    if not named:
        n = blocks_of(source)
        blocks = [block for block in default_blocks(n) if block < n - 1] or [0]
        named = tuple(f"blocks.{block}.hook_out" for block in blocks)
    return tuple(dict.fromkeys((*named, *(one.hook for one in saes))))


def _dictionaries(sae: Any) -> dict[str, SparseDictionary]:
    """Dictionaries by where they are; one that is in memory is kept in the cache."""
    given = [sae] if isinstance(sae, str | Path | SparseDictionary) else list(sae)
    by_path: dict[str, SparseDictionary] = {}
    for one in given:
        path: Any = one
        if isinstance(one, SparseDictionary):
            path = cache() / "dictionaries" / dictionaries.hash_dictionary(one)
            if not (path / "dictionary.json").is_file():
                dictionaries.save_dictionary(one, path)
        where = str(Path(path).absolute()) if Path(path).exists() else str(path)
        by_path[where] = dictionaries.open_any(path)
    return by_path


def _directions_file(directions: Any, hooks: tuple[str, ...], target: str) -> File | None:
    """File of the candidate directions; those in memory are kept in the cache."""
    if directions is None:
        return None
    if isinstance(directions, str | Path):
        path = Path(directions).expanduser()
        array = read_directions(path)
    else:
        array = schema.check(directions, "directions")
        digest = hashlib.sha256(repr((array.dims, array["name"].values.tolist())).encode())
        digest.update(repr(array["hook"].values.tolist()).encode() + array.to_numpy().tobytes())
        path = cache() / "directions" / digest.hexdigest()[:16] / "directions.nc"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_directions(array, path)
    _check_directions(array, hooks, target)
    return file_of(path)


def _check_directions(array: xr.DataArray, hooks: tuple[str, ...], target: str) -> None:
    names = [str(name) for name in array["name"].values]
    if target not in names:
        raise SchemaError(unknown("target among the directions", target, names))
    for hook in hooks:
        locate(array, hook)
