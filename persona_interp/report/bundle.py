"""Which scripts draw token views? CircuitsVis's own bundle, and the few lines that call it."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from persona_interp.errors import PersonaInterpError


@cache
def scripts() -> tuple[str, str]:
    """Scripts of whatever shows token views.

    Returns:
        The CircuitsVis bundle and the few lines that hand it each view: constants, without any
        data.

    Raises:
        PersonaInterpError: circuitsvis is not installed.
    """
    # Its Python side loads torch and only its bundle is needed, so it is not imported.
    spec = find_spec("circuitsvis")
    if spec is None or spec.origin is None:
        raise PersonaInterpError(
            "token views need circuitsvis, which is not installed: pip install circuitsvis."
        )
    bundle = (Path(spec.origin).parent / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    # Its source map is not on the page, and an end tag inside of it would end the script.
    code = bundle.partition("//# sourceMappingURL")[0].replace("</script", "<\\/script")
    calls = (Path(__file__).parent / "tokens.js").read_text(encoding="utf-8")
    return code, calls
