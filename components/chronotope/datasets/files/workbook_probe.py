"""Sizes of the sheets of a workbook, read in a separate process.

A sheet with two cells that are far apart takes hundreds of gigabytes, and the parser aborts the
process, which no ``except`` can catch, so ``spreadsheets`` runs this file as a script. It imports
nothing of Chronotope.

Standard input is the path of the workbook as JSON; standard output has one JSON object a line for
each sheet.
"""

import json
import resource
import sys

from python_calamine import CalamineWorkbook, SheetTypeEnum

MAX_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Print name and size of each sheet that may hold rows."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    memory_limit = (
        MAX_MEMORY_BYTES
        if hard_limit == resource.RLIM_INFINITY
        else min(MAX_MEMORY_BYTES, hard_limit)
    )
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit, hard_limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with CalamineWorkbook.from_path(json.load(sys.stdin)) as workbook:
        for sheet_metadata in workbook.sheets_metadata:
            if sheet_metadata.typ == SheetTypeEnum.WorkSheet:
                sheet = workbook.get_sheet_by_name(sheet_metadata.name)
                sheet_size = {
                    "name": sheet_metadata.name,
                    "n_rows": sheet.total_height,
                    "n_columns": sheet.total_width,
                }
                sys.stdout.write(json.dumps(sheet_size) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
