"""A tiny inpainting pipeline of diffusers, saved, and what it paints; tokens as well.

The inputs name a folder with `vocab.json` and `merges.txt`, where it is saved, too.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

inputs = np.load(sys.argv[1])
folder, configs = Path(str(inputs["folder"])), json.loads(str(inputs["configs"]))
torch.manual_seed(int(inputs["seed"]))
tokenizer = CLIPTokenizer(
    vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
)
tokenizer.model_max_length = 77
tokens = tokenizer(
    [str(text) for text in inputs["prompts"]],
    padding="max_length",
    max_length=77,
    truncation=True,
)
outputs = {"tokens": np.array(tokens["input_ids"])}

pipeline = diffusers.StableDiffusionInpaintPipeline(
    vae=diffusers.AutoencoderKL(**configs["vae"]),
    text_encoder=CLIPTextModel(CLIPTextConfig(**configs["text"])),
    tokenizer=tokenizer,
    unet=diffusers.UNet2DConditionModel(**configs["unet"]),
    scheduler=diffusers.PNDMScheduler.from_config(configs["scheduler"]),
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
)
pipeline.set_progress_bar_config(disable=True)
pipeline.save_pretrained(folder / "saved")


def first(array):
    """Pictures with channels first."""
    return torch.from_numpy(array).permute(0, 3, 1, 2)


images = first(inputs["images"].astype("float32") / 127.5 - 1)
masks = torch.from_numpy(inputs["masks"].astype("float32"))[:, None]
height, width = images.shape[2:]
with torch.no_grad():
    # The pipeline would draw a sample of the posterior; its mode is compared.
    encoded = pipeline.vae.encode(images * (masks < 0.5)).latent_dist.mode()
    encoded = encoded * pipeline.vae.config.scaling_factor
    for name, kind, prompt in json.loads(str(inputs["runs"])):
        pipeline.scheduler = getattr(diffusers, kind).from_config(configs["scheduler"])
        shared = {
            "prompt": [prompt] * len(images),
            "image": (images + 1) / 2,
            "mask_image": masks,
            "height": height,
            "width": width,
            "num_inference_steps": 4,
            "guidance_scale": 7.5,
            "masked_image_latents": encoded,
            "latents": first(inputs["noise"]),
        }
        latents = pipeline(**shared, output_type="latent").images
        outputs[f"{name}_latents"] = latents.permute(0, 2, 3, 1).numpy()
        outputs[f"{name}_pictures"] = pipeline(**shared, output_type="np").images
np.savez(sys.argv[2], **outputs)
