"""Where does a number come from? What is written beside every figure and into every report."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from persona_interp.schema.words import CellState
from persona_interp.store import Store

LIBRARIES = (
    "persona_interp",
    "torch",
    "transformers",
    "transformer-lens",
    "sae-lens",
    "numpy",
    "pandas",
)
"""Packages whose versions are noted."""


def provenance_of(store: Store, config: dict[str, Any]) -> dict[str, Any]:
    """How this run was made.

    Args:
        store: The run.
        config: Its configuration, from ``run.json``.

    Returns:
        JSON-able: experiment, world and start where it has them, seeds, cells done of all,
        configuration, versions, git revision. No times and no hosts, so that equal runs give equal
        files.
    """
    planned = store.planned()
    short = _short(config)
    # Where the experiment's file lay is of one machine only.
    skipped = {"experiment", "source", "seeds", *short}
    return {
        "experiment": config["experiment"],
        **short,
        "seeds": list(config["seeds"]),
        "cells_done": int((store.status(planned).state == CellState.DONE).sum()),
        "cells": len(planned),
        **{key: value for key, value in config.items() if key not in skipped},
        **versions(),
    }


def versions() -> dict[str, str]:
    """With what numbers are computed here.

    Returns:
        Versions of Python and of ``LIBRARIES``, and the git revision, by name.

    >>> list(versions())[-1]
    'git'
    """
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "git": revision(),
    }


def _short(config: dict[str, Any]) -> dict[str, Any]:
    """Names of what run.json holds in whole, or by a path of one machine."""
    short: dict[str, Any] = {}
    world, start, traits = (config.get(key) for key in ("world", "start", "traits"))
    if isinstance(world, str):
        short["world"] = world
    elif isinstance(world, dict):
        short["world"] = world["name"]
    if isinstance(start, str):
        short["start"] = Path(start).name
    if isinstance(traits, list) and all(isinstance(trait, dict) for trait in traits):
        short["traits"] = [trait["name"] for trait in traits]
    return short


def _version(name: str) -> str:
    """Version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def revision() -> str:
    """The commit of the package's source tree.

    Returns:
        Its short name, with "-dirty" where files differ from it; "none" outside of a git tree.

    >>> isinstance(revision(), str)
    True
    """
    folder = str(Path(__file__).parent)
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
