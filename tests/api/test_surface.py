"""Public names of ``import chronotope as ct``, and the cost of the import."""

import subprocess
import sys
from pathlib import Path

import chronotope as ct

COMPONENTS = Path(ct.__file__).parents[1]


def test_the_public_names_are_these() -> None:
    assert ct.__all__ == [
        "Catalog",
        "Ease",
        "Evaluation",
        "FirstOrderMarkov",
        "GfCf",
        "Log",
        "Popularity",
        "PopularityLastDays",
        "Recommender",
        "TifuKnn",
        "UpCf",
        "UserCounts",
        "datasets",
        "evaluate",
        "plot",
        "recommend",
        "split",
    ]
    assert set(ct.__all__) <= set(dir(ct))


def test_every_public_name_is_documented() -> None:
    assert [name for name in ct.__all__ if not getattr(ct, name).__doc__] == []


def test_the_import_loads_nothing_heavy_and_takes_less_than_0_3_s() -> None:
    program = (
        f"import sys, time; sys.path.insert(0, {str(COMPONENTS)!r}); start = time.process_time(); "
        "import chronotope as ct; print(time.process_time() - start, "
        "sorted({'numpy', 'pandas', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    output = subprocess.run(  # noqa: S603 - our interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split(maxsplit=1)
    assert float(output[0]) < 0.3
    assert output[1].strip() == "[]"
