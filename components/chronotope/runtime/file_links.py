"""One file under two names, instead of a copy where the disk allows it."""

import os
import shutil
from pathlib import Path

from chronotope.runtime.durable_files import replacing


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file another name; nothing happens if the name is taken.

    Args:
        source: The file; neither name may be written to afterwards.
        target: The other name.
    """
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        with replacing(target) as draft:
            shutil.copyfile(source, draft)
