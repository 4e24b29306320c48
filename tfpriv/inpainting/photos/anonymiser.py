"""From the content of one photograph's file to that of its anonymised one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import ImageFilter

from tfpriv.faces.large import find_faces_in_large
from tfpriv.inpainting.photos import boxes, face_masks, files, inpainters, photographs
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.recogniser import Keeper, PhotoRecogniser
from tfpriv.inpainting.photos.settings import Settings
from tfpriv.inpainting.photos.tracking import Tracker
from tfpriv.inpainting.seeds import derived
from tfpriv.support import images

NO_FACE = "no face was found"
_BLUR = 1 / 20  # deviation of a whole photograph's blur, in its longer sides


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
        self._keeper = None
        if settings.keep_person:
            recogniser = PhotoRecogniser.load(settings.facenet)
            person, similarity = settings.keep_person, settings.keep_above
            self._keeper = Keeper(recogniser, person, similarity, find)

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
        settings = self.settings
        try:
            photograph = files.read(content, name)
            pixels = photograph.pixels
            faces = self._faces(name, pixels, tracker)
            hidden = [(i, box) for i, box in enumerate(faces) if not box.kept]
            seeds = [self._seed(name, i, box) for i, box in hidden]
            masks = [face_masks.named(settings.mask, seed) for seed in seeds]
            regions = [
                photographs.cover(pixels, box.place, mask)
                for (_, box), mask in zip(hidden, masks, strict=True)
            ]
        except ValueError as error:
            return Outcome(None, None, " ".join(str(error).split()))
        remark = None if faces else NO_FACE
        if not faces and settings.if_no_face == "fail":
            return Outcome(None, faces, remark)
        mask = photographs.covered(pixels.shape, regions)
        result = self._result(pixels, mask, regions, seeds, faces)
        written = files.encode(
            result,
            target or settings.target(name),
            photograph,
            keep_metadata=settings.keep_metadata and not settings.masks_only,
        )
        return Outcome(written, faces, remark, (pixels, mask, result))

    def _faces(self, name, pixels, tracker) -> list[Box]:
        if self._given is None:
            found = [Box(f.box, f.confidence) for f in self._find(pixels)]
        elif name in self._given:
            found = self._given[name]
        else:
            raise ValueError(
                f"The file of boxes lacks this photograph. Received: {name}"
            )
        if self._keeper is not None:
            found = self._keeper(pixels, found)
        if tracker is not None:
            found = tracker(found)
        for box in found:
            box.check_meets(pixels.shape)
        return found

    def _seed(self, name, number, box) -> int:
        if box.track is not None:
            return derived(self.settings.seed, "person", box.track)
        return derived(self.settings.seed, "face", name, number)

    def _result(self, pixels, mask, regions, seeds, faces):
        settings = self.settings
        blur = not faces and settings.if_no_face == "blur"
        if settings.masks_only:
            return np.uint8(255) * (mask | blur)[..., None].repeat(3, -1)
        if blur:
            how = ImageFilter.GaussianBlur(_BLUR * max(pixels.shape[:2]))
            return np.asarray(images.from_array(pixels).filter(how))
        return photographs.repaint(
            pixels,
            regions,
            self._inpainter,
            seeds,
            prompt=settings.prompt,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
        )
