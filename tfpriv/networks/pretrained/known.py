"""The table of files: facts only, nothing is read or fetched here."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Known:
    """Weights that one of the systems reads.

    Attributes:
        file: name under which they are published; of a folder, its name.
        use: what reads them here.
        licence: that their publishers name, and terms of the data where they are known.
        mirrors: addresses, the original first. Of a folder, repositories of the Hugging
            Face hub, which `hf download` reads.
        size: in bytes, or None where nobody recorded it.
        sha256: of the file, or None where no digest is on record. Such a file is never
            fetched by us: nothing would tell it from another.
        folder: whether it is a folder of files.
    """

    file: str
    use: str
    licence: str
    mirrors: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    folder: bool = False


_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
_NVIDIA = "CC BY-NC 4.0 (NVIDIA)"

KNOWN = {
    "vgg16": Known(
        file="vgg16-397923af.pth",
        use="tfpriv.networks.perception.vgg, LPIPS, `tfpriv edit invert --vgg`",
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        mirrors=("https://download.pytorch.org/models/vgg16-397923af.pth",),
        size=553_433_881,
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "facenet-vggface2": Known(
        file="20180402-114759-vggface2.pt",
        use="tfpriv.inpainting.load_facenet",
        licence="MIT (facenet-pytorch); trained on VGGFace2, for research",
        mirrors=(_FACENET + "20180402-114759-vggface2.pt",),
        size=111_898_327,
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
    ),
    "facenet-casia": Known(
        file="20180408-102900-casia-webface.pt",
        use="tfpriv.inpainting.load_facenet",
        licence="MIT (facenet-pytorch); trained on CASIA-WebFace, for research",
        mirrors=(_FACENET + "20180408-102900-casia-webface.pt",),
    ),
    "stylegan-ffhq-torch": Known(
        file="stylegan_ffhq.pth",
        use="tfpriv.editing.load_generator, `tfpriv edit --generator`",
        licence=_NVIDIA,
        mirrors=(
            "https://www.dropbox.com/s/qyv37eaobnow7fu/stylegan_ffhq.pth?dl=1",
            "https://huggingface.co/spaces/ybelkada/interfacegan_pp/resolve/main/"
            "models/pretrain/stylegan_ffhq.pth",
        ),
    ),
    "stylegan-ffhq": Known(
        file="karras2019stylegan-ffhq-1024x1024.pkl",
        use="tfpriv.editing.load_generator, `tfpriv edit --generator`",
        licence=_NVIDIA,
        mirrors=("https://drive.google.com/uc?id=1MEGjdvVpUsu1jB4zrXZN7Y4kBBOzizDQ",),
    ),
    "stable-diffusion-inpainting": Known(
        file="stable-diffusion-inpainting",
        use="StableDiffusionInpainter.from_diffusers, `tfpriv inpaint --inpainter`",
        licence="CreativeML Open RAIL-M",
        mirrors=(
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            "botp/stable-diffusion-v1-5-inpainting",
        ),
        folder=True,
    ),
}
