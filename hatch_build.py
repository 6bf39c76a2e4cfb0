"""The project's address in its metadata: where it lies, and README with links that work anywhere.

The address stands in pyproject.toml alone, and is empty until there is a public one. Without it,
README's relative links are plain text in the metadata, and its figures are left out.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {"Documentation": "docs/index.md", "Changelog": "CHANGELOG.md"}
CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
RELATIVE = r"\((?![a-z]+:|#)([^)\s]+)\)"  # no scheme, and no place in README itself


def absolute(text: str, address: str) -> str:
    """Markdown whose relative links and figures lead to the address."""
    figure = rf"\1({address}/raw/main/\2)" if address else ""
    link = rf"[\1]({address}/blob/main/\2)" if address else r"\1"
    parts = CODE.split(text)  # every second one is code, which stays as it is
    for i in range(0, len(parts), 2):
        part = re.sub(r"(!\[[^]]*\])" + RELATIVE, figure, parts[i])
        parts[i] = re.sub(r"(?<!!)\[([^][]+)\]" + RELATIVE, link, part)
    return "".join(parts)


class AddressHook(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    def update(self, metadata: dict) -> None:
        """Add them to what pyproject.toml says of the project."""
        address = self.config["address"].rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, address)}
        pages = {name: f"{address}/blob/main/{page}" for name, page in PAGES.items()}
        metadata["urls"] = {"Repository": address, **pages} if address else {}
