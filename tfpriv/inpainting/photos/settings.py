"""How photographs are anonymised, and the defaults: of Python and of the command line.

It imports neither NumPy nor TensorFlow, so that the command line's help is quick.
"""

import dataclasses
import hashlib

from tfpriv.inpainting import embedded

MASKS = ("whole_face", "landmarks", "random")
WITHOUT_FACES = ("fail", "blur", "copy")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How photographs are anonymised. Text and numbers only, so that it can travel.

    Args:
        inpainter: as `inpainters.load` takes it; None for the embedded one.
        mask: one of `MASKS`.
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
        keep_above: cosine similarity from which a face is that person's.
        keep_metadata: whether EXIF is kept.
        masks_only: whether the output is the mask: white is what would be covered.

    Raises:
        ValueError: if an argument is out of range, or `keep_person` has no `facenet`.
    """

    inpainter: str | None = None
    mask: str = MASKS[0]
    prompt: str = ""
    steps: int = 50
    guidance_scale: float = 7.5
    seed: int = 0
    if_no_face: str = WITHOUT_FACES[0]
    boxes: str | None = None
    keep_person: str | None = None
    facenet: str | None = None
    # FaceNet's authors verify persons at a squared distance of 1.242, which is a
    # similarity of 0.38. A stranger who is kept is published: far on the strict side.
    keep_above: float = 0.7
    keep_metadata: bool = False
    masks_only: bool = False

    def __post_init__(self):
        from tfpriv.support import checks

        for name, known in (("mask", MASKS), ("if_no_face", WITHOUT_FACES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` of photographs must be one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if self.keep_person is not None and self.facenet is None:
            raise ValueError(
                "To keep a person, name a FaceNet trained on photographs (--facenet "
                "FILE, see `tfpriv weights`): the embedded one (--facenet drawn) knows "
                "drawn faces only and takes strangers for that person. Received: none"
            )
        checks.real("guidance_scale", self.guidance_scale)
        checks.whole("seed", self.seed, low=0)
        checks.whole("steps", self.steps)

    def target(self, name: str) -> str:
        """The name of a photograph's result.

        Args:
            name: of its file.
        """
        from tfpriv.inpainting.photos import files

        if self.masks_only:
            return f"{name.rpartition('.')[0]}.png"
        return files.target(name)

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
