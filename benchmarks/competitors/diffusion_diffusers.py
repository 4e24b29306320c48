"""diffusers' Stable Diffusion inpainting: a step of the UNet, and the pipeline."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from competitors import worker, workload

TOKENS = 77


def build(network, batch_size, form):
    """See `worker.main`. Its forms: `"step"`, `"pipeline"`, `"default"`."""
    sizes = workload.DIFFUSERS[network]
    unet = UNet2DConditionModel(**sizes.unet).eval().requires_grad_(False)
    weights = sum(weight.numel() for weight in unet.parameters())
    if form == "step":
        latents, context = map(torch.tensor, workload.latents(network, batch_size))
        latents = latents.permute(0, 3, 1, 2).contiguous()

        def step():
            with torch.no_grad():
                return unet(latents, 500, context).sample.numpy()

        return step, weights
    encoder = CLIPTextModel(CLIPTextConfig(**sizes.text)).eval()
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL(**sizes.vae).eval(),
        text_encoder=encoder,
        tokenizer=None,
        unet=unet,
        scheduler=DDIMScheduler(
            clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pictures, masks = workload.pictures(network, batch_size)
    steps = workload.scheduler_steps(form)

    def repaint():
        with torch.no_grad():
            # With a prompt's tokens, and those of the empty one: it asks for both.
            context = encoder(torch.zeros((2, TOKENS), dtype=torch.long))[0]
        return pipeline(
            prompt_embeds=context[:1].repeat(batch_size, 1, 1),
            negative_prompt_embeds=context[1:].repeat(batch_size, 1, 1),
            image=[Image.fromarray(one) for one in pictures],
            mask_image=[Image.fromarray(mask) for mask in masks],
            height=pictures.shape[1],
            width=pictures.shape[2],
            num_inference_steps=next(steps),
        )

    return repaint, weights


if __name__ == "__main__":
    worker.main(build)
