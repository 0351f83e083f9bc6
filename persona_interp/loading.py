"""How is a module loaded that brings torch, without a look at all the objects that come with it?"""

import gc
import importlib
import sys
from types import ModuleType


def load_module(name: str) -> ModuleType:
    """Module of this name; of what torch brings nothing is looked at for garbage, now or later.

    Torch and transformers make a million objects that stay, and each look at all of them takes a
    tenth of a second. Where torch is there before, a model may be in memory already, which must
    stay collectable.

    Args:
        name: Full name of the module.

    Returns:
        The module.

    >>> load_module("persona_interp.errors").__name__
    'persona_interp.errors'
    """
    if "torch" in sys.modules:
        return importlib.import_module(name)
    was_on = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if was_on:
            gc.enable()
        if "torch" in sys.modules:
            gc.freeze()
