"""Where does a number come from? What is written beside every figure and into every report."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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


def provenance_of(store: Store, config: dict[str, Any]) -> dict[str, Any]:
    """How was this run made?

    Args:
        store: The run.
        config: Its configuration, from ``run.json``.

    Returns:
        JSON-able: experiment, world and start where it has them, seeds, cells done of all,
        configuration, versions, git revision. No times and no hosts, so that equal runs give equal
        files.
    """
    planned = store.planned()
    known: dict[str, Any] = {}
    if world := config.get("world"):
        known["world"] = world if isinstance(world, str) else world["name"]
    if "start" in config:
        known["start"] = Path(config["start"]).name
    if "traits" in config:  # whole files, which run.json holds
        known["traits"] = [trait["name"] for trait in config["traits"]]
    return {
        "experiment": config["experiment"],
        **known,
        "seeds": list(config["seeds"]),
        "cells_done": sum(store.has(cell) for cell in planned),
        "cells": len(planned),
        **{
            key: value
            for key, value in config.items()
            if key not in ("experiment", "source", "world", "start", "seeds", *known)
        },
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "git": _revision(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _revision() -> str:
    """The commit of the source tree, marked when files differ from it; "none" outside of one."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--exclude=*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
