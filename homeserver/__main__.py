"""`python -m homeserver` is `hromada`."""

import gc
import sys


def main() -> int:
    """Import and run the command; returns the exit status."""
    # Imports make much and no garbage: looking for some would take a tenth of the start, and what they made stays
    # for good, so later collections need not look at it either.
    gc.disable()
    # structlog imports rich where that is installed, a tenth of the start, for tracebacks that our logs do not use.
    sys.modules["rich"] = None  # type: ignore[assignment]  # what import takes for a module that is not there
    import structlog  # noqa: F401, PLC0415 - the import is the point

    del sys.modules["rich"]
    from homeserver.cli import main as command  # noqa: PLC0415 - the import is the point

    gc.freeze()
    gc.enable()
    return command()


if __name__ == "__main__":
    sys.exit(main())
