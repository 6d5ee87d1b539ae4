"""Links from the pages to files outside docs/: right in a checkout, and without a target on the site."""

import re
from typing import Any

_OUTSIDE = re.compile(r'\[([^\]]+)\]\(\.\./([^)]+)\)')


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Point them at the repository, if mkdocs.yml has its ``repo_url``; else keep their text."""
    if config.repo_url:
        return _OUTSIDE.sub(rf'[\1]({config.repo_url.rstrip("/")}/blob/main/\2)', markdown)
    return _OUTSIDE.sub(r'\1', markdown)
