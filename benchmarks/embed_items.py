"""Rate of the encoders: a catalogue of texts and images is embedded, then embedded once more.

    python -m benchmarks.embed_items --data DIR --json embed_items.json

Each encoder gets a lake of its own and runs as ``chronotope embed`` does: content is read from the
lake or from files, encoded, and committed. The second run has to encode nothing.

- Texts: as long as the plots of MovieLens-100K, their sentences drawn from all of its plots, so
  that no two are equal. Without that data set: words drawn from a made-up vocabulary.
- Images: its posters, scaled to 500 x 750, cut and mirrored at random, as JPEG files. Without it:
  coloured noise of the same size.
- Sounds: ten seconds of noise, for an encoder of the user's own (``--audio FILE.onnx``).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.rows import Row, at_least_one, some_of, write_rows
from chronotope.content.embed_items import embed_modality
from chronotope.content.encoder import Modality
from chronotope.content.inputs.audio_reading import SAMPLE_RATE
from chronotope.content.summaries.sentences import split_sentences
from chronotope.datasets.content_spec import AudioContent, ImageContent, TextContent
from chronotope.lake import Lake

DATASET: Final = "movielens_100k"
IMAGE_SIZE: Final = (500, 750)
SOUND_S: Final = 10
TEXT_ENCODERS: Final = ("tfidf", "minilm", "e5")
IMAGE_ENCODERS: Final = ("efficientnet_lite0",)
HEADERS: Final = (
    "encoder", "items", "items/s", "items / processor s", "second run: encoded", "second run, s",
)  # fmt: skip

_N_WORDS: Final = 5_000
_WORDS_OF_TEXT: Final = 50


@dataclass(frozen=True, slots=True)
class EncoderJob:
    """A catalogue and the encoder that reads it.

    Attributes:
        modality: Kind of content.
        content: Where the content is, and its encoder.
        items: Rows of the catalogue.
        data_dir: Folder of the files.
        source: Where the content comes from.
    """

    modality: Modality
    content: TextContent | ImageContent | AudioContent
    items: pa.Table
    data_dir: Path
    source: str


def drawn_texts(n_texts: int, film_dir: Path, seed: int) -> tuple[list[str], str]:
    """Texts of different content, and their source.

    Args:
        n_texts: Number of texts.
        film_dir: Folder of MovieLens-100K; words are made up where it is missing.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    if not (film_dir / "items.parquet").is_file():
        frequency = 1 / np.arange(1, _N_WORDS + 1)  # Zipf's law
        word_idx = rng.choice(_N_WORDS, (n_texts, _WORDS_OF_TEXT), p=frequency / frequency.sum())
        return [" ".join(f"word{idx}" for idx in row) for row in word_idx.tolist()], "made up"
    plots = pq.read_table(film_dir / "items.parquet", columns=["overview"]).column("overview")
    plot_sentences = [split_sentences(str(plot)) for plot in plots.to_pylist() if plot]
    pool = [sentence for sentences in plot_sentences for sentence in sentences]
    lengths = [len(sentences) for sentences in plot_sentences]
    texts = [
        " ".join(pool[idx] for idx in rng.integers(len(pool), size=n_sentences))
        for n_sentences in rng.choice(lengths, n_texts).tolist()
    ]
    return texts, "plots of MovieLens-100K"


def write_images(n_images: int, film_dir: Path, image_dir: Path, seed: int) -> str:
    """Write ``0.jpg``, ``1.jpg``, ...; returns their source.

    Args:
        n_images: Number of images.
        film_dir: Folder of MovieLens-100K; pixels are drawn where it has no posters.
        image_dir: Folder to write to.
        seed: Seed of the draws.
    """
    from PIL import Image, ImageOps

    rng = np.random.default_rng(seed)
    posters = sorted((film_dir / "posters").glob("*.jpg"))
    image_dir.mkdir(parents=True, exist_ok=True)
    for position in range(n_images):
        if posters:
            with Image.open(posters[position % len(posters)]) as poster:
                image = poster.convert("RGB")
            margin = int(rng.integers(8))
            image = ImageOps.fit(ImageOps.crop(image, margin), IMAGE_SIZE)
            image = ImageOps.mirror(image) if rng.random() < 0.5 else image
        else:
            blocks = rng.integers(0, 256, (15, 10, 3), dtype=np.uint8)
            image = Image.fromarray(blocks).resize(IMAGE_SIZE)
        image.save(image_dir / f"{position}.jpg", quality=85)
    return "posters of MovieLens-100K" if posters else "made up"


def write_sounds(n_sounds: int, sound_dir: Path, seed: int) -> None:
    """Write ``0.wav``, ``1.wav``, ...: noise of 16 bits.

    Args:
        n_sounds: Number of sounds.
        sound_dir: Folder to write to.
        seed: Seed of the noise.
    """
    from scipy.io import wavfile

    rng = np.random.default_rng(seed)
    sound_dir.mkdir(parents=True, exist_ok=True)
    for position in range(n_sounds):
        noise = rng.normal(0, 3_000, SOUND_S * SAMPLE_RATE).astype(np.int16)
        wavfile.write(sound_dir / f"{position}.wav", SAMPLE_RATE, noise)


def measure_encoder(job: EncoderJob, scratch_dir: Path) -> Row | None:
    """Row of one encoder; None, with a line that says why, if it is not installed.

    Args:
        job: Catalogue and encoder.
        scratch_dir: Folder for the lake and the caches.
    """
    item_lake = Lake(str(scratch_dir / f"lake-{Path(job.content.encoder).stem}"))
    item_lake.upsert_items(job.items)
    runs = []
    for _ in range(2):
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        report = embed_modality(
            job.modality,
            job.content,
            item_lake,
            data_dir=job.data_dir,
            cache_dir=scratch_dir / "cache",
        )
        if report.skipped:
            print(f"{job.content.encoder}: {report.skipped}")
            return None
        runs.append((report, time.perf_counter() - start_s, time.process_time() - start_cpu_s))
    (first, wall_s, cpu_s), (second, second_wall_s, _) = runs
    return {
        "encoder": job.content.encoder,
        "modality": job.modality.value,
        "source": job.source,
        "n_items": first.n_items,
        "n_encoded": first.n_encoded,
        "n_missing": first.n_missing,
        "items_per_s": round(first.n_encoded / wall_s, 1),
        "items_per_cpu_s": round(first.n_encoded / cpu_s, 1),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "second_n_encoded": second.n_encoded,
        "second_n_unchanged": second.n_unchanged,
        "second_wall_s": round(second_wall_s, 2),
        "n_threads": os.environ["OMP_NUM_THREADS"],
    }


def encoder_jobs(
    args: argparse.Namespace, scratch_dir: Path
) -> Mapping[str, Callable[[], EncoderJob]]:
    """Jobs by the name of the encoder; a job's content is made when it is called.

    Args:
        args: Parsed options.
        scratch_dir: Folder for files.
    """
    film_dir = data_root(args.data) / DATASET

    def text_job(encoder: str) -> EncoderJob:
        texts, source = drawn_texts(args.n_texts, film_dir, args.seed)
        items = pa.table({"item_id": _item_ids(args.n_texts), "text": texts})
        content = TextContent(columns=("text",), encoder=encoder)
        return EncoderJob(Modality.TEXT, content, items, scratch_dir, source)

    def image_job(encoder: str) -> EncoderJob:
        source = write_images(args.n_images, film_dir, scratch_dir / "images", args.seed)
        items = pa.table({"item_id": _item_ids(args.n_images)})
        content = ImageContent(path="images/{item_id}.jpg", encoder=encoder)
        return EncoderJob(Modality.IMAGE, content, items, scratch_dir, source)

    def audio_job() -> EncoderJob:
        write_sounds(args.n_sounds, scratch_dir / "sounds", args.seed)
        items = pa.table({"item_id": _item_ids(args.n_sounds)})
        content = AudioContent(path="sounds/{item_id}.wav", encoder=str(args.audio))
        return EncoderJob(Modality.AUDIO, content, items, scratch_dir, "made up")

    jobs: dict[str, Callable[[], EncoderJob]] = {}
    for name in args.encoders:
        make_job = text_job if name in TEXT_ENCODERS else image_job
        jobs[name] = partial(make_job, name)
    return jobs | ({str(args.audio): audio_job} if args.audio else {})


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all encoders in turn, print a table and write the rows.

    Args:
        argv: Command-line arguments; None for those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embed_items", description="Rate of the encoders."
    )
    add_data_option(parser)
    known_encoders = (*TEXT_ENCODERS, *IMAGE_ENCODERS)
    parser.add_argument("--encoders", type=some_of(known_encoders), default=list(known_encoders))
    parser.add_argument("--n-texts", type=at_least_one, default=10_000)
    parser.add_argument("--n-images", type=at_least_one, default=1_000)
    parser.add_argument("--n-sounds", type=at_least_one, default=200)
    parser.add_argument("--audio", type=Path, help="ONNX file of an audio encoder")
    parser.add_argument("--threads", type=at_least_one, default=2, help="threads of an encoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the rows")
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when a session is opened
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for make_job in encoder_jobs(args, Path(scratch)).values():
            row = measure_encoder(make_job(), Path(scratch))
            if row is not None:
                rows.append(row)
                if args.json:
                    write_rows(rows, args.json)
    Console(width=120).print(_table(rows))


def _item_ids(n_items: int) -> list[str]:
    return [str(position) for position in range(n_items)]


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="Embedding of a catalogue", box=box.SIMPLE_HEAD)
    for header in HEADERS:
        table.add_column(header, justify="left" if header == "encoder" else "right")
    for row in rows:
        table.add_row(
            row["encoder"],
            f"{row['n_items']:,}",
            f"{row['items_per_s']:,.1f}",
            f"{row['items_per_cpu_s']:,.1f}",
            f"{row['second_n_encoded']:,}",
            f"{row['second_wall_s']:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
