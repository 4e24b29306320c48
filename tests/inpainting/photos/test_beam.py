"""Photographs through Apache Beam: the same as by the command, to the last byte."""

import pytest
from photo_scenes import encoded, scene

from tfpriv.inpainting.photos import boxes, jobs
from tfpriv.inpainting.photos.anonymiser import NO_FACE, Anonymiser, Settings
from tfpriv.support import images

beam = pytest.importorskip("apache_beam")


def run(source, settings, output):
    """Writes what the pipeline gives; returns faces and what is to be reviewed."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from tfpriv.inpainting.photos.beam import AnonymisePhotographs

    paths, _ = images.below(source)
    names = [(p.relative_to(source).as_posix(), str(p)) for p in paths]
    texts = output / "texts"
    texts.mkdir(parents=True)

    def write(item):
        path = output / "results" / item[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item[1])

    def write_text(item, ending):
        name, text = item
        (texts / f"{name.replace('/', '_')}.{ending}").write_text(text)

    # The direct runner's own engine, by its name: "DirectRunner" looks for a newer one
    # on the network first.
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        found = pipeline | beam.Create(names) | AnonymisePhotographs(settings)
        found.results | "results" >> beam.Map(write)
        found.review | "review" >> beam.Map(write_text, "review")
        (
            found.faces
            | beam.Map(lambda item: (item[0], boxes.to_csv(dict([item]))))
            | "faces" >> beam.Map(write_text, "csv")
        )
    faces = "".join(path.read_text() for path in sorted(texts.glob("*.csv")))
    review = {path.stem: path.read_text() for path in texts.glob("*.review")}
    return boxes.from_csv(faces, "faces"), review


def written(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix in (".png", ".jpg")
    }


def test_the_same_as_by_the_command(tmp_path):
    source, lines = tmp_path / "photos", ["picture,left,top,width,height"]
    (source / "more").mkdir(parents=True)
    for i in range(20):
        name = f"{'more/' * (i % 2)}{i}.{('png', 'jpg')[i % 3 == 0]}"
        images.save(source / name, scene((i, 20), (50, 30), seed=i))
        lines += [f"{name},{i},20,12,12", f"{name},50,30,12,12"]
    (source / "empty.png").write_bytes(encoded(scene()))
    (source / "broken.png").write_bytes(b"no picture")
    (source / "twin.png").write_bytes(encoded(scene()))
    (source / "twin.webp").write_bytes(encoded(scene(), "WEBP"))
    (source / "unknown.png").write_bytes(encoded(scene()))
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join([*lines, "empty.png,,,,\n"]))
    for number, inpainter in enumerate(("black", "pixelate")):
        settings = Settings(inpainter=inpainter, mask="random", boxes=str(path))
        output = tmp_path / f"folder{number}"
        report = jobs.anonymise_folder(source, output, Anonymiser(settings))
        faces, review = run(source, settings, tmp_path / f"beam{number}")
        by_beam = written(tmp_path / f"beam{number}" / "results")
        assert by_beam == written(output)
        assert len(by_beam) == 20
        assert faces == boxes.read(output / "boxes.csv")
        assert review == report.remarks
        assert review["empty.png"] == NO_FACE
        assert set(review) == {
            "empty.png",
            "broken.png",
            "twin.png",
            "twin.webp",
            "unknown.png",
        }


@pytest.mark.slow
def test_a_thousand_generated_faces(tmp_path):
    from tfpriv import faces

    source = faces.write_dataset(tmp_path / "celeba", 100, 10, size=64)
    pictures = source / "img_align_celeba"
    rows = [f"{p.name},16,20,32,34" for p in sorted(pictures.iterdir())]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(["picture,left,top,width,height", *rows, ""]))
    settings = Settings(inpainter="pixelate", mask="random", boxes=str(path))
    jobs.anonymise_folder(pictures, tmp_path / "folder", Anonymiser(settings))
    run(pictures, settings, tmp_path / "beam")
    by_beam = written(tmp_path / "beam" / "results")
    assert len(by_beam) == 1000
    assert by_beam == written(tmp_path / "folder")
