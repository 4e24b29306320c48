"""From the content of one photograph's file to that of its anonymised one."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import ImageFilter

from tfpriv.faces.large import find_faces_in_large
from tfpriv.inpainting import embedded
from tfpriv.inpainting.photos import (
    boxes,
    face_masks,
    inpainters,
    keeping,
    photographs,
)
from tfpriv.inpainting.photos import (
    files as photo_files,
)
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.recogniser import PhotoRecogniser
from tfpriv.inpainting.photos.tracking import Tracker
from tfpriv.inpainting.seeds import derived
from tfpriv.support import checks, images

WITHOUT_FACES = ("fail", "blur", "copy")
NO_FACE = "no face was found"
_BLUR = 1 / 20  # deviation of a whole photograph's blur, in its longer sides


@dataclasses.dataclass(frozen=True)
class Settings:
    """How photographs are anonymised. Text and numbers only, so that it can travel.

    Args:
        inpainter: as `inpainters.load` takes it; None for the embedded one.
        mask: one of `face_masks.NAMES`.
        prompt: for the inpainter.
        steps: of the inpainter.
        guidance_scale: of the inpainter.
        seed: not negative. With a file's name it decides what is painted there.
        if_no_face: of a photograph without a face, "fail" gives no output, "blur" a
            coarse one, "copy" one as it is.
        boxes: file of faces, taken instead of looking for them.
        keep_person: photograph of a person whose faces stay.
        facenet: what recognises that person, as `PhotoRecogniser.load` takes it: file
            of a `FaceNet` trained on photographs, or `"drawn"` for drawn faces.
        keep_above: similarity from which a face is that person's.
        keep_metadata: whether EXIF is kept.
        masks_only: whether the output is the mask: white is what would be covered.

    Raises:
        ValueError: if an argument is out of range, or `keep_person` has no `facenet`.
    """

    inpainter: str | None = None
    mask: str = face_masks.NAMES[0]
    prompt: str = ""
    steps: int = 50
    guidance_scale: float = 7.5
    seed: int = 0
    if_no_face: str = "fail"
    boxes: str | None = None
    keep_person: str | None = None
    facenet: str | None = None
    keep_above: float = keeping.THRESHOLD
    keep_metadata: bool = False
    masks_only: bool = False

    def __post_init__(self):
        face_masks.named(self.mask, 0)
        if self.if_no_face not in WITHOUT_FACES:
            raise ValueError(
                f"Without a face one can {', '.join(WITHOUT_FACES)}. "
                f"Received: {self.if_no_face!r}"
            )
        if self.keep_person is not None and self.facenet is None:
            raise ValueError(
                "To keep a person, name a FaceNet trained on photographs: --facenet "
                "20180402-114759-vggface2.pt (`tfpriv weights` says where it is). The "
                "embedded one knows drawn faces only (--facenet drawn) and takes "
                "strangers in photographs for that person. "
                f"Received: keep_person={self.keep_person!r}, facenet=None"
            )
        checks.real("guidance_scale", self.guidance_scale)
        if self.seed < 0 or self.steps < 1:
            raise ValueError(
                "The seed must not be negative, and steps at least 1. "
                f"Received: seed={self.seed}, steps={self.steps}"
            )

    def target(self, name: str) -> str:
        """The name of a photograph's result.

        Args:
            name: of its file.
        """
        if self.masks_only:
            return f"{name.rpartition('.')[0]}.png"
        return photo_files.target(name)

    def record(self) -> dict:
        """What decides about results, to be compared: files by their content."""
        found = dataclasses.asdict(self)
        files = {"boxes": self.boxes, "keep_person": self.keep_person}
        if self.keep_person is None:  # nobody is asked who is who
            found |= {"facenet": None, "keep_above": None}
        else:
            files["facenet"] = embedded.facenet_path(self.facenet)
        for name, path in files.items():
            if path is not None:
                with open(path, "rb") as file:
                    found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found


class Outcome(NamedTuple):
    """What became of a photograph.

    Attributes:
        content: of the result's file; None if there is none.
        faces: that were found; None if nobody could look, which is not no face.
        remark: why somebody should look at it; None if nobody need.
        shown: the original, the mask (bool) and the result, for a preview; or None.
    """

    content: bytes | None
    faces: list[Box] | None
    remark: str | None = None
    shown: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


class Anonymiser:
    """Anonymises photographs, each by itself.

    A result follows from the settings, the file's name and its content: not from other
    photographs, their order, or the process.

    Args:
        settings: how.
        inpainter: a function as `StableDiffusionInpainter`, instead of the settings'.
        find: finds the faces of a photograph, as `faces.find_faces` does.

    Raises:
        FileNotFoundError: a file of the settings is missing.
        ValueError: a file of the settings is not what it should be.
    """

    def __init__(
        self,
        settings: Settings,
        inpainter: Callable[..., np.ndarray] | None = None,
        find: Callable = find_faces_in_large,
    ):
        self.settings, self._find = settings, find
        self._inpainter = inpainter
        if inpainter is None and not settings.masks_only:
            self._inpainter = inpainters.load(settings.inpainter)
        self._given = boxes.read(settings.boxes) if settings.boxes else None
        self._keeper = _keeper(settings, find) if settings.keep_person else None

    @property
    def reads_masked(self) -> bool:
        """Whether results are made of what is under the masks."""
        return inpainters.reads_masked(self._inpainter)

    def __call__(
        self,
        name: str,
        content: bytes,
        tracker: Tracker | None = None,
        target: str | None = None,
    ) -> Outcome:
        """Anonymises a photograph.

        Args:
            name: of its file, as the file of boxes has it, too.
            content: of its file.
            tracker: of a video, whose next picture it is.
            target: name of the result, .png or .jpg; by default that of the
                settings.

        Returns:
            What became of it. Whatever is wrong with the photograph is a remark, and no
            output; an inpainter's error is raised.
        """
        try:
            photograph = photo_files.read(content, name)
            faces = self._faces(name, photograph.pixels, tracker)
            regions, seeds = self._regions(name, photograph.pixels, faces)
        except ValueError as error:
            return Outcome(None, None, " ".join(str(error).split()))
        remark = None if faces else NO_FACE
        if not faces and self.settings.if_no_face == "fail":
            return Outcome(None, faces, remark)
        mask = photographs.covered(photograph.pixels.shape, regions)
        result = self._result(photograph.pixels, mask, regions, seeds, bool(faces))
        written = photo_files.encode(
            result,
            target or self.settings.target(name),
            photograph,
            keep_metadata=self.settings.keep_metadata and not self.settings.masks_only,
        )
        return Outcome(written, faces, remark, (photograph.pixels, mask, result))

    def _faces(self, name, pixels, tracker) -> list[Box]:
        if self._given is None:
            found = [Box(f.box, f.confidence) for f in self._find(pixels)]
        elif name in self._given:
            found = self._given[name]
        else:
            raise ValueError(
                "The file of boxes says nothing about this photograph. "
                f"Received: {name}"
            )
        if self._keeper is not None:
            found = self._keeper(pixels, found)
        if tracker is not None:
            found = tracker(found)
        for box in found:
            box.check_meets(pixels.shape)
        return found

    def _regions(self, name, pixels, faces):
        regions, seeds = [], []
        for number, box in enumerate(faces):
            if not box.kept:
                seed = self._seed(name, number, box)
                mask = face_masks.named(self.settings.mask, seed)
                regions.append(photographs.cover(pixels, box.place, mask))
                seeds.append(seed)
        return regions, seeds

    def _seed(self, name, number, box):
        if box.track is not None:
            return derived(self.settings.seed, "person", box.track)
        return derived(self.settings.seed, "face", name, number)

    def _result(self, pixels, mask, regions, seeds, found):
        settings = self.settings
        if settings.masks_only:
            white = mask if found or settings.if_no_face == "copy" else ~mask
            return np.repeat(
                np.where(white, np.uint8(255), np.uint8(0))[..., None], 3, 2
            )
        if not found and settings.if_no_face == "blur":
            radius = _BLUR * max(pixels.shape[:2])
            blur = ImageFilter.GaussianBlur(radius)
            return np.asarray(images.from_array(pixels).filter(blur))
        return photographs.repaint(
            pixels,
            regions,
            self._inpainter,
            seeds,
            prompt=settings.prompt,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
        )


def _keeper(settings, find):
    recogniser = PhotoRecogniser.load(settings.facenet)
    return keeping.Keeper(recogniser, settings.keep_person, settings.keep_above, find)
