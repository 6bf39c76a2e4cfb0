"""The study, and what all examples share with it: its data sets, its losses, the look of --help.

Whatever imports any of it is told in a line if a package of the extra `examples` is missing.
"""

import argparse
from importlib.util import find_spec

# Of the extra.
PACKAGES = ("filelock", "matplotlib", "numpy", "rich", "scipy", "sklearn", "torchmetrics")

if missing := [name for name in PACKAGES if find_spec(name) is None]:
    raise SystemExit(
        f"The examples need {', '.join(missing)}. Run: pip install 'graphkd[examples]'"
    )


class Help(argparse.RawDescriptionHelpFormatter):
    """The script's own lines as they are, and behind the help of each flag its default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default, text = action.default, action.help
        if not default or default == argparse.SUPPRESS or "default" in (text or ""):
            return text
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        return f"{text} (default: {shown})"
