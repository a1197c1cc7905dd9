"""Imports by name, of what is not needed until it is asked for: public names, commands.

Everything else is imported at the head of its file. `tests/unit/test_imports.py` counts what a
start loads.
"""

import gc
import importlib
from types import ModuleType


def import_when_used(name: str) -> ModuleType:
    """Import a module, and what it needs, without a run of the garbage collector.

    An import makes objects by the hundred thousand, nearly all of which stay: the collector would
    walk them again and again, for a tenth of the time that a worker's imports take.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collects:
            gc.enable()
