"""How every entry point ends: the user's errors in one line, a stopped run with a word on how to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable


def exit_status(action: Callable[[], None]) -> int:
    """Status of a command: 0, 2 for an error of the user, 130 when stopped by hand."""
    try:
        action()
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; a training run goes on from here with --resume", file=sys.stderr)
        return 130
    return 0
