"""What does a run depend on? ``run.json`` says so, and knows its own checksum.

A line of the manifest vouches for it as for any file of the run; its own checksum does where the
manifest is lost with all its lines.
"""

import logging
from pathlib import Path
from typing import Any

from persona_interp.store.layout import MANIFEST, RUN
from persona_interp.store.manifest import listing
from persona_interp.store.sums import is_summed, summed
from persona_interp.store.vouched import read_vouched
from persona_interp.tables import json_bytes

_log = logging.getLogger(__name__)


def configuration_bytes(config: dict[str, Any]) -> bytes:
    """Bytes of the file of a configuration.

    Args:
        config: JSON-able.

    Returns:
        UTF-8 JSON with ``sum``.
    """
    return json_bytes(summed(config))


def read_configuration(root: Path) -> dict[str, Any] | None:
    """Configuration of a run.

    Args:
        root: The run folder.

    Returns:
        It, without its checksum; None where there is none, or where it is not what was written
        (which is logged).
    """
    file, lines = root / RUN, listing(root / MANIFEST)
    config = read_vouched(file)
    if not isinstance(config, dict):
        return None
    # Runs of before it had a checksum, and lines of the manifest neither, are still read.
    is_old = bool(lines.entries.keys() - lines.signed)
    is_known = is_summed(config) if "sum" in config else RUN in lines.files or is_old
    if not is_known:
        _log.warning("nothing vouches for %s, and it is not used", file)
        return None
    return {key: value for key, value in config.items() if key != "sum"}
