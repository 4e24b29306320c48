"""Time of `tfpriv shuffle protect` on a folder, against decoding its pictures.

Usage: python benchmarks/protect.py [--pictures 500] [--size 480x640]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from tfpriv.shuffling import Key, codec, jobs, pipeline

ROUNDS = 5


def make_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Writes JPEG files: photographs, each with some noise of its own."""
    rng = np.random.default_rng(0)
    photographs = [
        np.asarray(Image.fromarray(array).resize(size[::-1]), "int16")
        for array in (data.astronaut(), data.coffee(), data.cat())
    ]
    for i in range(count):
        picture = photographs[i % 3] + rng.integers(-9, 10, (*size, 1), "int16")
        picture = np.clip(picture, 0, 255).astype("uint8")
        Image.fromarray(picture).save(folder / f"{i:06}.jpg", quality=90)


def competitors(source: Path, output: Path):
    """What is timed: each reads the whole folder, on all cores, in the same way."""
    key, paths = Key.generate(), sorted(source.iterdir())

    def decode():
        pipeline.run(
            paths, codec.read_plain, lambda pictures: pictures, lambda *_: None
        )

    def convert():
        def to_png(pictures):
            return [codec._plain_png(picture.pixels) for picture in pictures]

        def write(path, content):
            (output / f"{path.stem}.png").write_bytes(content)

        pipeline.run(paths, codec.read_plain, to_png, write)

    def protect(fixed):
        jobs.protect(source, output, key, fixed=fixed, overwrite=True)

    return {
        "decode only": decode,
        "decode, write PNG (level 1)": convert,
        "protect": lambda: protect(False),
        "protect --fixed": lambda: protect(True),
        "unprotect": lambda: jobs.unprotect(
            output, output.parent / "back", key, overwrite=True
        ),
    }


def main() -> None:
    """Prints medians and ratios; the competitors take turns, so that load hits all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--size", default="480x640", help="height x width")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "plain"), Path(folder, "protected")
        source.mkdir()
        output.mkdir()
        make_pictures(source, options.pictures, (height, width))
        runs = competitors(source, output)
        seconds = {name: [] for name in runs}
        for turn in range(ROUNDS + 1):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                if turn:  # the first fills the disk's cache
                    seconds[name].append(time.perf_counter() - start)
        plain = sum(path.stat().st_size for path in source.iterdir())
        protected = sum(path.stat().st_size for path in output.iterdir())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(
        f"{options.pictures} JPEG files of {width}x{height}, median of {ROUNDS} turns"
    )
    for name, median in medians.items():
        each, ratio = 1e3 * median / options.pictures, median / medians["decode only"]
        print(f"{name:30} {each:7.2f} ms a picture {ratio:6.2f} x")
    print(f"protected files: {protected / plain:.1f} times the size of the JPEG files")


if __name__ == "__main__":
    main()
