"""One file under two names, instead of a copy where the disk allows it."""

import os
import shutil
from pathlib import Path

from chronotope.runtime.durable_files import replacing


def link_or_copy(source_path: Path, target_path: Path) -> None:
    """Give a file another name; nothing happens if the name is taken.

    Args:
        source_path: The file; neither name may be written to afterwards.
        target_path: The other name.
    """
    if target_path.exists():
        return
    try:
        os.link(source_path, target_path)
    except OSError:
        with replacing(target_path) as draft_path:
            shutil.copyfile(source_path, draft_path)
