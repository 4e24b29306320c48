"""Stable Diffusion's parts equal diffusers' and transformers', to 1e-3 of the largest.

The other library draws the weights and saves them; ours reads its folders.
"""

import itertools
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tfpriv.inpainting import StableDiffusionInpainter
from tfpriv.networks.diffusion import loading, pipeline, schedulers, tokenizer

TOLERANCE = 1e-3  # of the largest absolute value
STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
KINDS = {
    "DDIMScheduler": [
        {"clip_sample": False, "set_alpha_to_one": False},
        {"clip_sample": True, "clip_sample_range": 0.7},
        {"clip_sample": False, "prediction_type": "sample"},
        {"clip_sample": False, "prediction_type": "v_prediction"},
        {"clip_sample": False, "timestep_spacing": "trailing", "steps_offset": 0},
    ],
    "PNDMScheduler": [
        {"skip_prk_steps": True, "set_alpha_to_one": False},
        {"skip_prk_steps": True, "prediction_type": "v_prediction"},
        {"skip_prk_steps": True, "timestep_spacing": "linspace"},
        {"skip_prk_steps": True, "timestep_spacing": "trailing"},
    ],
    "DPMSolverMultistepScheduler": [
        {},
        {"solver_type": "heun", "timestep_spacing": "leading"},
        {"solver_order": 1, "prediction_type": "sample"},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"final_sigmas_type": "sigma_min", "euler_at_final": True},
        {"prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "linear"},
    ],
}
CONFIGS = [
    {"_class_name": name, "steps": steps} | STABLE_DIFFUSION | fields
    for name, choices in KINDS.items()
    for fields, steps in itertools.product(choices, (1, 4, 20))
]


def assert_equal(found, expected, what=""):
    """Within the tolerance, of the largest expected value."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, what
    largest = np.abs(expected).max()
    assert largest > 1e-3, what
    error = np.abs(found - expected).max() / largest
    print(f"{what}: {error:.1e}")
    assert error < TOLERANCE, what


@pytest.fixture(scope="module")
def sequences(run_torch, rng):
    sample = rng.normal(size=(2, 3, 3, 4)).astype("float32")
    answers = rng.normal(size=(21, 2, 3, 3, 4)).astype("float32")
    configs = np.array([json.dumps(config) for config in CONFIGS])
    inputs = {"sample": sample, "answers": answers, "configs": configs}
    return sample, answers, run_torch("diffusion_schedulers", inputs)


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_schedulers(sequences, number):
    start, answers, expected = sequences
    config = dict(CONFIGS[number])
    steps = config.pop("steps")
    scheduler = schedulers.from_config(config)
    scheduler.set_timesteps(steps)
    times = expected[f"timesteps_{number}"]
    np.testing.assert_array_equal(scheduler.timesteps, times)
    sample, samples = start, []
    for answer, time in zip(answers, times, strict=False):
        sample = np.asarray(scheduler.step(answer, time, sample))
        samples.append(sample)
    assert_equal(samples, expected[f"samples_{number}"], str(config))
    times = times[[0, len(times) // 2]]
    noisy = scheduler.add_noise(start, answers[0], times)
    assert_equal(noisy, expected[f"noisy_{number}"], str(config))


UNET = {
    "in_channels": 9,
    "sample_size": 8,
    "block_out_channels": [8, 16, 16],
    "down_block_types": ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2,
    "attention_head_dim": 2,
    "cross_attention_dim": 12,
    "norm_num_groups": 4,
}
VAE = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "sample_size": 16,
}
TEXT = {
    "vocab_size": 60,
    "hidden_size": 12,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 77,
    "bos_token_id": 58,
    "eos_token_id": 59,
    "pad_token_id": 59,
}
NETWORKS = {
    "unet": UNET,
    "unet_second": UNET
    | {"use_linear_projection": True, "attention_head_dim": [1, 2, 4]}
    | {"layers_per_block": 1, "upcast_attention": True, "freq_shift": 1},
    "vae": VAE,
    "text": TEXT,
    "text_gelu": TEXT | {"hidden_act": "gelu"},
}


@pytest.fixture(scope="module")
def networks(run_torch, rng, tmp_path_factory):
    """The folder of saved networks, what they were given and what they answered."""
    folder = tmp_path_factory.mktemp("networks")

    def normal(*shape):
        return rng.normal(size=shape).astype("float32")

    given = {
        "noisy": normal(2, 8, 12, 9),
        "times": np.array([981, 20]),
        "context": normal(2, 5, 12),
        "pictures": normal(2, 16, 24, 3),
        "latents": normal(2, 8, 12, 4),
        "tokens": rng.integers(0, 60, (2, 77)),
        "seed": np.array(rng.integers(2**31)),
        "folder": np.array(str(folder)),
        "configs": np.array(json.dumps(NETWORKS)),
        "halves": np.array(True),
    }
    return folder, given, run_torch("diffusion_models", given)


@pytest.mark.parametrize("name", ["unet", "unet_second"])
def test_unet(networks, name):
    folder, given, expected = networks
    network = loading.read_unet(folder / name)
    found = network(given["noisy"], given["times"], given["context"])
    assert_equal(found, expected[name], name)


def test_vae(networks):
    folder, given, expected = networks
    network = loading.read_vae(folder / "vae")
    mean, log_variance = network.moments(given["pictures"])
    assert_equal(mean, expected["vae_mean"], "mean")
    assert_equal(log_variance, expected["vae_log_variance"], "log variance")
    scaled = given["latents"] * network.config["scaling_factor"]
    assert_equal(network.decode(scaled), expected["vae_decoded"], "decoded")


@pytest.mark.parametrize("name", ["text", "text_gelu"])
def test_text_encoder(networks, name):
    folder, given, expected = networks
    network = loading.read_text_encoder(folder / name)
    found = network({"token_ids": given["tokens"].astype("int32")})
    assert_equal(found, expected[name], name)


def test_half_precision_files_are_read(networks):
    folder, _, _ = networks
    for name, read in (
        ("unet", loading.read_unet),
        ("vae", loading.read_vae),
        ("text", loading.read_text_encoder),
    ):
        whole, half = read(folder / name), read(folder / f"{name}_half")
        for one, other in zip(whole.weights, half.weights, strict=True):
            np.testing.assert_array_equal(np.asarray(one).astype("float16"), other)


PROMPTS = [
    "",
    "a photo of a FACE",
    "  two   spaces\n and a line ",
    "don't, it's 2026!! ...",
    "naïve café, Zürich 東京 🙂",
    "cat<|endoftext|>dog",
    "word " * 100,
]
PIPELINE = {
    "unet": UNET,
    "vae": VAE,
    "text": TEXT | {"vocab_size": 600},
    "scheduler": STABLE_DIFFUSION | {"clip_sample": False, "set_alpha_to_one": False},
}
PIPELINE["scheduler"]["skip_prk_steps"] = True
RUNS = [
    ("pndm", "PNDMScheduler", "a photo of a face"),
    ("ddim", "DDIMScheduler", "a photo of a face"),
    ("dpm", "DPMSolverMultistepScheduler", "a photo of a face"),
    ("empty", "PNDMScheduler", ""),
]


def write_vocabulary(folder):
    """Bytes, alone and at the end of words, some joined, and the two marks.

    Returns:
        How many tokens there are.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [n for n in range(256) if n not in visible]
    letters = [chr(n) for n in visible] + [chr(256 + n) for n in range(len(rest))]
    pairs = ["p h", "ph o", "t o</w>", "pho to</w>", "c a", "ca t</w>", "f a", "fa c"]
    pairs += ["fac e</w>", "o f</w>", "w o", "wo r", "wor d</w>"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [pair.replace(" ", "") for pair in pairs]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    return len(tokens)


@pytest.fixture(scope="module")
def painted(run_torch, rng, tmp_path_factory):
    """The folder of the pipeline, what it was given and what it painted."""
    folder = tmp_path_factory.mktemp("pipeline")
    count = write_vocabulary(folder)
    text = PIPELINE["text"] | {"vocab_size": count}
    text |= {"bos_token_id": count - 2, "eos_token_id": count - 1}
    masks = np.zeros((2, 24, 16), bool)
    masks[0, 5:17, 3:11] = True
    masks[1] = rng.random((24, 16)) < 0.5
    given = {
        "images": rng.integers(0, 256, (2, 24, 16, 3), np.uint8),
        "masks": masks,
        "noise": pipeline.initial_noise(3, 2, (12, 8, 4)),
        "prompts": np.array(PROMPTS),
        "seed": np.array(rng.integers(2**31)),
        "folder": np.array(str(folder)),
        "configs": np.array(json.dumps(PIPELINE | {"text": text})),
        "runs": np.array(json.dumps(RUNS)),
    }
    return folder, given, run_torch("diffusion_pipeline", given)


def test_tokenizer(painted):
    folder, _, expected = painted
    for place in (folder, folder / "saved" / "tokenizer"):
        found = tokenizer.read_tokenizer(place)(PROMPTS)
        np.testing.assert_array_equal(found, expected["tokens"])


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run[0])
def test_pipeline(painted, run):
    folder, given, expected = painted
    name, kind, prompt = run
    inpainter = StableDiffusionInpainter.from_diffusers(folder / "saved")
    config = PIPELINE["scheduler"] | {"_class_name": kind}
    inpainter.scheduler = schedulers.from_config(config)
    latents = []

    def keep(step):
        latents.append(np.asarray(step.latents))

    images, masks = given["images"], given["masks"]
    found = inpainter(images, masks, prompt, steps=4, seed=3, callback=keep)
    assert_equal(latents[-1], expected[f"{name}_latents"], name)
    right = expected[f"{name}_pictures"] * 255
    assert np.abs(found - right)[masks].max() < 0.5 + 1e-3 * 255
    np.testing.assert_array_equal(found[~masks], images[~masks])


def test_what_is_written_is_read_again(painted, tmp_path):
    folder, given, _ = painted
    inpainter = StableDiffusionInpainter.from_diffusers(folder / "saved")
    inpainter.save_diffusers(tmp_path / "again")
    again = StableDiffusionInpainter.from_diffusers(tmp_path / "again")
    arguments = given["images"], given["masks"], "a cat"
    found = [one(*arguments, steps=2) for one in (inpainter, again)]
    np.testing.assert_array_equal(*found)
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        ours, theirs = (
            load_file(f"{place}/{part}/{stem}.safetensors")
            for place in (tmp_path / "again", folder / "saved")
        )
        # Newer versions of transformers leave the prefix out; both are read.
        ours = {key.removeprefix("text_model."): value for key, value in ours.items()}
        assert set(ours) == set(theirs)
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value, key)
