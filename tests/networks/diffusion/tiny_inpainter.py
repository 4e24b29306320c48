"""A tiny inpainter: its networks' configurations, and one with random weights."""

UNET = {
    "in_channels": 9,
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
}
VAE = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
}
TEXT = {
    "vocab_size": 8,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
WORDS = ["a", "b", "a</w>", "b</w>", "ab</w>", "!", "<|startoftext|>", "<|endoftext|>"]


def new_inpainter(seed=0):
    """One with CLIP's text encoder; dividing by 4 pixels."""
    import keras

    from tfpriv.networks import diffusion
    from tfpriv.networks.diffusion import schedulers
    from tfpriv.networks.diffusion.text_encoder import text_encoder
    from tfpriv.networks.diffusion.tokenizer import Tokenizer

    keras.utils.set_random_seed(seed)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    return diffusion.StableDiffusionInpainter(
        diffusion.UNet(UNET),
        diffusion.VAE(VAE),
        schedulers.DDIMScheduler(clip_sample=False, beta_schedule="scaled_linear"),
        text_encoder(TEXT),
        Tokenizer(vocabulary, ["a b</w>"], pad_token="!"),
    )
