"""What mkdocs.yml cannot say: the pages of the guide, and Sphinx's roles in docstrings. Run by mkdocs."""

import re
from pathlib import Path
from typing import Any

import griffe

#: The order of the guide; pages that are not named come after these, by name.
ORDER = (
    "getting-started", "tensors", "autograd", "networks", "data", "training", "gpu", "coming-from-pytorch",
    "recurrent", "transformers", "graphs", "reinforcement",
)  # fmt: skip


def on_config(config: Any) -> Any:
    """Fill the navigation's "Guide"."""
    found = {page.stem for page in (Path(config.docs_dir) / "guide").glob("*.md")}
    pages = [name for name in ORDER if name in found] + sorted(found - set(ORDER))
    for section in config.nav:
        if "Guide" in section:
            section["Guide"] = [f"guide/{name}.md" for name in pages]
    return config


class Roles(griffe.Extension):
    """Turns the roles of docstrings (:class:`DataLoader`) into code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            obj.docstring.value = text.replace("Example::", "Example:")
