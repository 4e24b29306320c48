"""FaceNet by facenet-pytorch, GradCAM by grad-cam, gradient masks by OpenCV.

The weights are random; they are saved where the inputs say, with a classifier, as the
published files have one. The gradients' masks are made by the steps of
AakankshaSanctis/PrivacyPreservingDiffusion, and thresholded as diffusers does.
"""

import sys

import cv2
import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from pytorch_grad_cam import GradCAM

inputs = np.load(sys.argv[1])
torch.manual_seed(int(inputs["seed"]))
network = InceptionResnetV1(classify=True, num_classes=10).eval()
for module in network.modules():
    if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
        torch.nn.init.uniform_(module.weight, 0.8, 1.2)
        torch.nn.init.normal_(module.bias, std=0.1)
        torch.nn.init.normal_(module.running_mean, std=0.1)
        torch.nn.init.uniform_(module.running_var, 0.05, 0.15)
torch.save(network.state_dict(), str(inputs["path"]))
network.classify = False

outputs = {}
pictures = torch.from_numpy(inputs["pictures"]).permute(0, 3, 1, 2)
with torch.no_grad():
    outputs["embeddings"] = network(pictures).numpy()


def similarity(target):
    return lambda output: torch.nn.functional.cosine_similarity(output, target, dim=0)


targets = [similarity(torch.from_numpy(t)) for t in inputs["targets"]]
for layer in (network.block8.branch1, network.repeat_2):
    with GradCAM(model=network, target_layers=[layer]) as cam:
        name = "branch_heat" if layer is network.block8.branch1 else "repeat_2_heat"
        outputs[name] = cam(pictures, targets)

# In doubles: a ReLU's input next to zero has the one sign here and the other there.
precise = pictures.double().requires_grad_()
directions = torch.from_numpy(inputs["directions"]).double()
(network.double()(precise) * directions).sum().backward()
outputs["gradients"] = precise.grad.permute(0, 2, 3, 1).numpy()


def heatmap(gradient):
    """Steps of the published script, from a gradient to what its pipeline is given."""
    image = cv2.resize(gradient, dsize=(512, 512), interpolation=cv2.INTER_CUBIC)
    outputs.setdefault("enlarged", image)
    image = abs(image)
    low, high = image.min(), image.max()
    image = ((image - low) * (1 / (high - low) * 255)).astype("uint8")
    image = 255.0 * (image > np.percentile(image, 75))
    lab = cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_BGR2LAB)
    binary = cv2.threshold(lab[:, :, 1], 100, 255, cv2.THRESH_BINARY)[1]
    blur = cv2.GaussianBlur(binary, (13, 13), 11)
    colours = cv2.applyColorMap(blur, cv2.COLORMAP_JET)
    return 255 * (colours > 50).astype("uint8")


outputs["published"] = np.stack(
    [
        np.asarray(Image.fromarray(heatmap(gradient)).convert("L")) / 255 >= 0.5
        for gradient in inputs["saliency"]
    ]
)
shades = np.arange(256, dtype=np.uint8)[None]
outputs["jet"] = cv2.applyColorMap(shades, cv2.COLORMAP_JET)[0]
np.savez(sys.argv[2], **outputs)
