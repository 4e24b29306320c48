"""`tfpriv inpaint PATHS` and `tfpriv inpaint mask PATHS`: photographs."""

import argparse
import dataclasses
import sys
from pathlib import Path

from tfpriv.inpainting import options as shared
from tfpriv.inpainting.photos.settings import MASKS, WITHOUT_FACES, Settings
from tfpriv.support.terminal import progress


def add_parsers(verbs) -> None:
    """Adds the parsers of photographs and of their masks.

    Args:
        verbs: what `ArgumentParser.add_subparsers` returned.
    """
    parser = verbs.add_parser(
        "PATHS",
        usage="tfpriv inpaint PATHS ... [options]",
        help="anonymise photographs: files, folders",
    )
    _add_photographs(parser)
    shared.add_painting(parser)
    metadata = "keep EXIF and GPS, but never thumbnails, which show the original"
    parser.add_argument("--keep-metadata", action="store_true", help=metadata)
    masks = "write the masks only: white is what would be painted anew"
    parser = verbs.add_parser("mask", help=masks)
    _add_photographs(parser)
    parser.set_defaults(masks_only=True)


def _add_photographs(parser):
    parser.set_defaults(handler=anonymise)
    output = "folder; or a .jpg or .png for one photograph (default: beside it)"
    shared.add_output(parser, output, required=False)
    add = parser.add_argument
    add("paths", nargs="+", type=_existing, metavar="PATHS", help="files, and folders")
    add("--mask", choices=MASKS, default=Settings.mask, help="default: %(default)s")
    add("--seed", type=int, default=Settings.seed)
    add(
        "--if-no-face",
        choices=WITHOUT_FACES,
        default=Settings.if_no_face,
        help="if no face is found: no result, a blurred one, or the photograph as it "
        "is (default: %(default)s)",
    )
    add("--boxes", metavar="FILE", help="faces, as boxes.csv has them")
    add("--keep-person", metavar="PHOTO", help="leave this person's faces as they are")
    add(
        "--facenet",
        metavar="FILE|drawn",
        help="FaceNet trained on photographs, .pt or .keras, that recognises this "
        "person and, after a folder, repainted faces; or the one for drawn faces",
    )
    add(
        "--keep-above",
        type=float,
        default=Settings.keep_above,
        metavar="SIMILARITY",
        help="of embeddings, from which a face is theirs (default: %(default)s)",
    )
    add("--preview", action="store_true", help="a sheet with originals, beside OUTPUT")
    add("--video", action="store_true", help="frames of one video: a seed per person")
    add("--shard", type=_share, default=(1, 1), metavar="I/N", help="I-th of N shares")


def _existing(text):
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(
            f"neither a photograph nor a folder, and no verb: {text!r}"
        )
    return Path(text)


def _share(text):
    number, _, total = text.partition("/")
    if not (
        number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)
    ):
        raise argparse.ArgumentTypeError(f"a share is like 2/4: {text!r}")
    return int(number), int(total)


def anonymise(options: argparse.Namespace) -> int:
    """Writes results, or masks; returns 1 if a photograph has none."""
    from tfpriv.inpainting.photos import jobs, preview
    from tfpriv.inpainting.photos.anonymiser import Anonymiser
    from tfpriv.inpainting.photos.recogniser import PhotoRecogniser

    names = {field.name for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in vars(options).items() if name in names}
    settings = Settings(**given)
    output, one = _output(options, settings)
    sheet = _preview(output, one) if options.preview else None
    anonymiser, recogniser = Anonymiser(settings), None
    if one:
        report = jobs.anonymise_file(options.paths[0], output, anonymiser)
    else:
        if options.facenet is not None and not settings.masks_only:
            recogniser = PhotoRecogniser.load(options.facenet)
        show = progress("masking" if settings.masks_only else "anonymising")
        how = {"share": options.shard, "video": options.video, "progress": show}
        report = jobs.anonymise_folder(options.paths, output, anonymiser, **how)
    if sheet and report.shown:
        preview.save(sheet, report.shown)
        print(f"{preview.TITLE}: {sheet}")
    _say(report, output, one, settings)
    if not settings.masks_only:
        _say_what_is_left(report, anonymiser)
        if not one:
            _write_page(output, options.shard, anonymiser, report)
            _say_residual(output, settings, report, recogniser)
    return int(report.missing > 0)


def _output(options, settings):
    """Where results go, and whether that is a single file."""
    from tfpriv.support.images import FORMATS

    [path, *others], output = options.paths, options.output
    one = not others and path.is_file()
    if output is not None:
        one = one and output.suffix.lower() in FORMATS
    elif others:
        raise ValueError("Several paths need a folder: --output DIR. Received: none")
    else:
        path = Path(settings.target(str(path))) if one else path.resolve()
        stem, ending = (path.stem, path.suffix) if one else (path.name, "")
        word = "mask" if settings.masks_only else "anonymised"
        output = path.with_name(f"{stem}-{word}{ending}")
    if one and (options.video or options.shard != (1, 1)):
        raise ValueError(f"--video and --shard are for folders. Received: {path}")
    return output, one


def _preview(output, one):
    """The file of the preview, which replaces an earlier run's and nothing else."""
    from tfpriv.support.outputs import SETTINGS

    output = output.resolve()  # "." has no name
    path = output.with_name(f"{output.stem if one else output.name}-preview.png")
    if path.exists() and (one or not (output / SETTINGS).is_file()):
        raise FileExistsError(
            f"The preview would replace a file; name another output. Received: {path}"
        )
    return path


def _say(report, output, one, settings):
    from tfpriv.inpainting.photos.anonymiser import NO_FACE

    for name, remark in report.remarks.items():
        what = "No result" if one and report.missing else "to be reviewed"
        print(f"{what}: {name}: {remark}", file=sys.stderr)
    if report.there:
        print(f"There already: {report.there}")
    if report.others:
        kinds = "Files that are no pictures, and links to folders"
        print(f"{kinds}, left where they are: {report.others}")
    if report.done or not one:
        what = "Masks written" if settings.masks_only else "Anonymised"
        print(f"{what}: {report.done} in {output}")
    if any(report.faces.values()):
        print(f"Faces covered: {report.covered}; left as they are: {report.kept}")
    if report.kept:
        print(
            "Look at the faces that were left (boxes.csv, `kept`): a stranger who was"
        )
        print("taken for the person to be kept is published")
    if report.missing:
        print(f"Photographs without a result: {report.missing}", file=sys.stderr)
    if report.missing and NO_FACE in report.remarks.values():
        ways = "Say where faces are (--boxes), or what to write (--if-no-face blur)"
        print(ways, file=sys.stderr)


def _say_what_is_left(report, anonymiser):
    """What covered faces leave to be known, or to be wished for."""
    if not any(report.faces.values()):
        return
    if anonymiser.reads_masked:
        print("Made of the face's own pixels: recognisers read it (docs/inpainting.md)")
    elif anonymiser.settings.inpainter is None:
        print("Painted by a small inpainter that knows drawn faces only. Photographs")
        print("want Stable Diffusion's folder (--inpainter DIR, see `tfpriv weights`)")


def _write_page(output, share, anonymiser, report):
    from tfpriv.inpainting import report as pages
    from tfpriv.inpainting.photos import record

    path = output / record.named("report.html", share)
    pages.photographs(
        path, report.faces, anonymiser.settings, reads_masked=anonymiser.reads_masked
    )
    print(f"What was done, to look at: {path}")


def _say_residual(output, settings, report, recogniser):
    from tfpriv.inpainting.photos.recogniser import residual

    if recogniser is None:
        found = "not measured (it needs --facenet FILE, see `tfpriv weights`)"
    else:
        found = residual(recogniser, report.root, output, report.faces, settings.target)
    print(f"Residual re-identification: {found}")
