"""`tfpriv inpaint`: faces in photographs masked and painted anew."""

import argparse
import sys
from pathlib import Path

from tfpriv.inpainting import export_cli
from tfpriv.inpainting.experiment import cli
from tfpriv.support.terminal import progress

INCOMPLETE = 1  # the exit code where photographs have no result
_HELP = ("-h", "--help")
_NOT_MEASURED = (
    "Residual re-identification: not measured. Name a FaceNet trained on photographs: "
    "--facenet FILE (`tfpriv weights` says where there are some)"
)
_WAYS_OUT = (
    "Say where faces are (--boxes FILE), or what becomes of such a photograph "
    "(--if-no-face blur)"
)
_KEPT = (
    "Look at the faces that were left: whoever is taken for the person to be kept is "
    "published (boxes.csv, `kept`)"
)
_READ = "Made of the face's own pixels: recognisers can read it (docs/inpainting.md)"
_SMALL = (
    "Covered, and painted by a small inpainter that knows drawn faces only; "
    "photographs want Stable Diffusion's folder (--inpainter DIR, `tfpriv weights`)"
)
# What `anonymiser.Settings` takes, named here so that help needs no NumPy.
_MASKS = ("whole_face", "landmarks", "random")
_WITHOUT_FACES = ("fail", "blur", "copy")
_OF_DATA_SETS = {"classifier": None, "seen": None, "limit": None}
_OF_NETWORKS = {"facenet": None, "seen": None}
_OF_FOLDERS = {"video": False, "shard": (1, 1)}
_OF_PHOTOGRAPHS = _OF_FOLDERS | {
    "boxes": None,
    "if_no_face": _WITHOUT_FACES[0],
    "keep_metadata": False,
    "keep_person": None,
    "preview": False,
}


def add_parser(subparsers) -> None:
    """Adds `inpaint` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    inpaint = subparsers.add_parser(
        "inpaint",
        help="anonymise faces in photographs",
        description="`tfpriv inpaint photo.jpg` is short for `tfpriv inpaint generate "
        "photo.jpg`.",
    )
    actions = inpaint.add_subparsers(dest="action", metavar="action", required=True)
    _add_generate(actions)
    _add_mask(actions)
    cli.add_parsers(actions)
    export_cli.add_parser(actions)
    _generate_by_default(inpaint, actions)


def _generate_by_default(inpaint, actions):
    """A photograph where an action is expected is one to generate from."""
    parse = inpaint.parse_known_args

    def parse_known_args(args=None, namespace=None):
        args = list(args or ())
        if args and args[0] not in (*actions.choices, *_HELP):
            args = ["generate", *args]
        return parse(args, namespace)

    inpaint.parse_known_args = parse_known_args


def _add_generate(actions):
    parser = actions.add_parser(
        "generate",
        help="cover faces and paint them anew: of a photograph, a folder, or a folder "
        "in CelebA's layout",
    )
    _add_photographs(parser)
    parser.add_argument(
        "--inpainter",
        metavar="NAME|DIR",
        help="blur, pixelate, black, or a folder of diffusers (default: the embedded "
        "one)",
    )
    parser.add_argument("--prompt", default="", help="what is painted")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=7.5)
    parser.add_argument(
        "--keep-metadata",
        action="store_true",
        help="keep EXIF and GPS; thumbnails, which show the original, never",
    )
    parser.add_argument(
        "--classifier",
        type=Path,
        metavar="FILE.keras",
        help="for the mask `gradients` of a folder in CelebA's layout",
    )
    parser.add_argument(
        "--seen",
        type=int,
        metavar="PIXELS",
        help="for the masks `gradcam` and `private`: at how many pixels the network "
        "sees a picture (default: 512; the embedded one: 160)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="of a folder in CelebA's layout: at most so many pictures, of as many "
        "persons as can be",
    )
    parser.set_defaults(handler=generate)


def _add_mask(actions):
    parser = actions.add_parser(
        "mask", help="write the masks only: white is what would be painted anew"
    )
    _add_photographs(parser)
    parser.set_defaults(handler=mask)


def _add_photographs(parser):
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="folder; or a .jpg or .png for one photograph (default: beside it)",
    )
    parser.add_argument(
        "--mask",
        metavar="NAME",
        help=f"{', '.join(_MASKS)} (default: {_MASKS[0]}); of a folder in CelebA's "
        "layout also gradcam, gradients, private",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--if-no-face",
        choices=_WITHOUT_FACES,
        default="fail",
        help="what becomes of a photograph in which no face is found: no result, a "
        "blurred one, or the photograph as it is (default: %(default)s)",
    )
    parser.add_argument(
        "--boxes", type=Path, metavar="FILE", help="faces, as boxes.csv has them"
    )
    parser.add_argument(
        "--keep-person",
        type=Path,
        metavar="PHOTO",
        help="leave the faces of this person as they are",
    )
    parser.add_argument(
        "--facenet",
        metavar="FILE|drawn",
        help="FaceNet trained on photographs, .pt or .keras, that recognises that "
        "person; and tells, after a folder, how many repainted faces it still finds. "
        "`drawn`: the embedded one, for drawn faces only",
    )
    parser.add_argument(
        "--keep-above",
        type=float,
        default=0.7,
        metavar="SIMILARITY",
        help="of embeddings, from which a face is theirs (default: %(default)s)",
    )
    parser.add_argument(
        "--preview",
        action="store_true",
        help="write a sheet beside the output that shows originals, masks and results",
    )
    parser.add_argument(
        "--video",
        action="store_true",
        help="the folder's files are pictures of one video: each person gets one seed",
    )
    parser.add_argument(
        "--shard",
        type=_share,
        default=(1, 1),
        metavar="I/N",
        help="the I-th of N shares of the folder",
    )


def _share(text: str) -> tuple[int, int]:
    number, _, total = text.partition("/")
    try:
        share = int(number), int(total)
    except ValueError:
        share = 0, 0
    if not 1 <= share[0] <= share[1]:
        raise argparse.ArgumentTypeError(f"a share is like 2/4: {text!r}")
    return share


def generate(options: argparse.Namespace) -> int:
    from tfpriv.faces.celeba import IDENTITIES

    if (options.source / IDENTITIES).is_file():
        return _generate_dataset(options)
    _refuse(options, "of a data set in CelebA's layout", _OF_DATA_SETS)
    return _anonymise(
        options,
        inpainter=options.inpainter,
        prompt=options.prompt,
        steps=options.steps,
        guidance_scale=options.guidance_scale,
        keep_metadata=options.keep_metadata,
    )


def mask(options: argparse.Namespace) -> int:
    return _anonymise(options, masks_only=True)


def _generate_dataset(options) -> int:
    """The published experiment, for pictures of known persons."""
    from tfpriv.inpainting import embedded, facenet_option
    from tfpriv.inpainting import report as pages
    from tfpriv.inpainting.experiment import generation
    from tfpriv.inpainting.masks import kinds as mask_kinds
    from tfpriv.inpainting.photos import inpainters
    from tfpriv.support.report import PAGE

    _refuse(options, "of photographs, not of a data set", _OF_PHOTOGRAPHS)
    if options.output is None:
        raise ValueError("Name the folder to write: --output DIR. Received: none")
    inpainter = inpainters.load(options.inpainter)
    given = {"mask": options.mask, "size": inpainters.pixels(inpainter)}
    if mask_kinds.KINDS.get(options.mask, mask_kinds.Kind()).network:
        given["network"] = facenet_option.load(options.facenet)
        seen = embedded.seen(options.facenet, options.seen)
        given["settings"] = mask_kinds.Settings(seen=seen)
    else:
        _refuse(options, "of the masks gradcam and private", _OF_NETWORKS)
    if options.classifier is not None:
        from tfpriv.inpainting import load_classifier

        given["classifier"] = load_classifier(options.classifier)
    report = generation.generate_dataset(
        options.source,
        options.output,
        inpainter=inpainter,
        seed=options.seed,
        prompt=options.prompt,
        steps=options.steps,
        guidance_scale=options.guidance_scale,
        limit=options.limit,
        progress=progress("repainting"),
        **{name: value for name, value in given.items() if value is not None},
    )
    for failure in report.failures:
        print(f"left out: {failure}", file=sys.stderr)
    if report.there:
        print(f"There already: {report.there}")
    print(f"Pictures repainted: {report.done} in {options.output}")
    if report.done or report.there:
        pages.experiment(
            options.output / PAGE,
            options.mask or "random",
            network=given.get("network"),
            reads_masked=inpainters.reads_masked(inpainter),
        )
    return INCOMPLETE if report.failures else 0


def _anonymise(options, **settings) -> int:
    from tfpriv.inpainting.photos import jobs
    from tfpriv.inpainting.photos import preview as photo_preview

    if not options.source.exists():
        raise FileNotFoundError(
            "There is neither a photograph nor a folder at this path, and no action of "
            f"this name. Received: {options.source}"
        )
    masks_only = "masks_only" in settings
    output, one = _output(options.source, options.output, masks_only)
    if one:
        _refuse(options, "of folders", _OF_FOLDERS)
    preview = _preview(output, one) if options.preview else None
    anonymiser = _anonymiser(options, settings)
    recogniser = None if one or masks_only else _recogniser(options)
    if one:
        report = jobs.anonymise_file(options.source, output, anonymiser)
    else:
        report = jobs.anonymise_folder(
            options.source,
            output,
            anonymiser,
            share=options.shard,
            video=options.video,
            progress=progress("masking" if masks_only else "anonymising"),
        )
    if preview and report.shown:
        photo_preview.save(preview, report.shown)
        print(f"{photo_preview.TITLE}: {preview}")
    if one and report.missing:
        return _say_no_result(options, report)
    code = _say(report, "Masks written" if masks_only else "Anonymised", output)
    if any(report.faces.values()) and not masks_only:
        _say_what_is_left(options, anonymiser)
    if not (one or masks_only):
        _write_page(output, options.shard, anonymiser, report)
        if recogniser is None:
            print(_NOT_MEASURED)
    if recogniser is not None:
        _say_residual(options.source, output, anonymiser, report, recogniser)
    return code


def _preview(output: Path, one: bool) -> Path:
    """The file of the preview, which replaces an earlier run's and nothing else."""
    from tfpriv.support.outputs import SETTINGS

    output = output.resolve()  # "." has no name
    path = output.with_name(f"{output.stem if one else output.name}-preview.png")
    if path.exists() and (one or not (output / SETTINGS).is_file()):
        raise FileExistsError(
            "The preview would replace a file; move it, or name another output. "
            f"Received: {path}"
        )
    return path


def _write_page(output, share, anonymiser, report) -> None:
    from tfpriv.inpainting import report as pages
    from tfpriv.inpainting.photos import record

    path = output / record.named("report.html", share)
    pages.photographs(
        path, report.faces, anonymiser.settings, reads_masked=anonymiser.reads_masked
    )
    print(f"What was done, to look at: {path}")


def _anonymiser(options, settings):
    from tfpriv.inpainting.photos.anonymiser import Anonymiser, Settings

    return Anonymiser(
        Settings(
            **settings,
            mask=options.mask or _MASKS[0],
            seed=options.seed,
            if_no_face=options.if_no_face,
            boxes=_text(options.boxes),
            keep_person=_text(options.keep_person),
            facenet=options.facenet,
            keep_above=options.keep_above,
        )
    )


def _recogniser(options):
    """What `--facenet` names, or None."""
    if options.facenet is None:
        return None
    from tfpriv.inpainting.photos.recogniser import PhotoRecogniser

    return PhotoRecogniser.load(options.facenet)


def _refuse(options, what: str, defaults: dict) -> None:
    """Raises `ValueError` for options that would be ignored."""
    given = [
        name for name, value in defaults.items() if getattr(options, name) != value
    ]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"These are options {what}. Received: {names}")


def _output(source: Path, output: Path | None, masks_only: bool) -> tuple[Path, bool]:
    """Where results go, and whether that is a single file."""
    from tfpriv.inpainting.photos import files
    from tfpriv.support import images

    word = "mask" if masks_only else "anonymised"
    if source.is_dir():
        name = f"{source.resolve().name}-{word}"
        return output or source.resolve().with_name(name), False
    if output is None:
        path = Path(files.target(str(source)))
        ending = ".png" if masks_only else path.suffix
        return path.with_name(f"{path.stem}-{word}{ending}"), True
    return output, output.suffix.lower() in images.FORMATS


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _say(report, what: str, output: Path) -> int:
    """Says what was done; returns the exit code."""
    for name, remark in report.remarks.items():
        print(f"to be reviewed: {name}: {remark}", file=sys.stderr)
    if report.there:
        print(f"There already: {report.there}")
    if report.others:
        kinds = "Files that are no pictures, and links to folders"
        print(f"{kinds}, left where they are: {report.others}")
    print(f"{what}: {report.done} in {output}")
    if any(report.faces.values()):
        print(f"Faces covered: {report.covered}; left as they are: {report.kept}")
    if report.kept:
        print(_KEPT)
    if report.missing:
        print(f"Photographs without a result: {report.missing}", file=sys.stderr)
    return INCOMPLETE if report.missing else 0


def _say_what_is_left(options, anonymiser) -> None:
    """What covered faces leave to be known, or to be wished for."""
    if anonymiser.reads_masked:
        print(_READ)
    elif options.inpainter is None:
        print(_SMALL)


def _say_no_result(options, report) -> int:
    from tfpriv.inpainting.photos.anonymiser import NO_FACE

    [(name, remark)] = report.remarks.items()
    print(f"No result: {name}: {remark}", file=sys.stderr)
    if remark == NO_FACE:
        print(_WAYS_OUT, file=sys.stderr)
    return INCOMPLETE


def _say_residual(source, output, anonymiser, report, recogniser) -> None:
    from tfpriv.inpainting.photos import residual

    root = source if source.is_dir() else source.parent
    found = residual.residual(
        recogniser, root, output, report.faces, anonymiser.settings.target
    )
    print(f"Residual re-identification: {found}")
