"""Hard links of files, with a copy where the file system supports none."""

import os
import shutil
from pathlib import Path

from chronotope.runtime.durable_files import replacing


def link_or_copy(source_path: Path, target_path: Path) -> None:
    """Link or copy a file to another path; an existing target is left unchanged.

    Args:
        source_path: The file; neither path may be written to afterwards.
        target_path: Path of the link or copy.
    """
    if target_path.exists():
        return
    try:
        os.link(source_path, target_path)
    except OSError:
        with replacing(target_path) as draft_path:
            shutil.copyfile(source_path, draft_path)
