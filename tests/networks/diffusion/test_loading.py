"""Folders of diffusers: what is written is read, and what is wrong is named."""

import json
import shutil

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tfpriv.inpainting import StableDiffusionInpainter
from tfpriv.networks.diffusion import loading, tokenizer

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that may be spoilt."""
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def respell(path, change):
    """Writes a file of weights anew, after a change of the dict."""
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)


def test_what_is_written_is_read(inpainter, saved):
    again = StableDiffusionInpainter.from_diffusers(saved)
    assert again.scheduler.get_config() == inpainter.scheduler.get_config()
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(inpainter, part), getattr(again, part)
        assert ours.config == theirs.config | {
            k: tuple(v)
            for k, v in theirs.config.items()
            if isinstance(ours.config[k], tuple)
        }
        for one, other in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.tokenizer(["ab"]), inpainter.tokenizer(["ab"]))
    with pytest.raises(FileExistsError, match="Received"):
        inpainter.save_diffusers(saved)


def into_shards(folder, index="diffusion_pytorch_model.safetensors.index.json"):
    """Parts a network's file of weights in two, as diffusers does with large ones."""
    arrays = load_file(folder / WEIGHTS)
    names = sorted(arrays)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, some in parts.items():
        save_file({name: arrays[name] for name in some}, folder / file)
    (folder / WEIGHTS).unlink()
    where = {name: file for file, some in parts.items() for name in some}
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder / index


@pytest.mark.parametrize(
    "index",
    [
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model.fp16.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.fp16.json",
    ],
)
def test_weights_in_several_files(inpainter, folder, index):
    into_shards(folder / "unet", index)
    again = loading.read_unet(folder / "unet")
    for one, other in zip(inpainter.unet.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_indices(folder, change_json):
    index = into_shards(folder / "unet")
    change_json(index, weight_map={"conv_in.bias": "one.safetensors"})
    with pytest.raises(ValueError, match="lacks"):
        loading.read_unet(folder / "unet")
    names = [{"a": name} for name in ("../one.safetensors", "..", "", 1, {}, ["b"])]
    for wrong in (*names, {}, None, [1]):
        change_json(index, weight_map=wrong)
        with pytest.raises(ValueError, match="must name files of its folder"):
            loading.read_unet(folder / "unet")
    change_json(index, weight_map={"a": "none.safetensors"})
    with pytest.raises(FileNotFoundError):
        loading.read_unet(folder / "unet")


def test_names_and_shapes_are_diffusers(saved):
    shapes = {k: v.shape for k, v in load_file(saved / "unet" / WEIGHTS).items()}
    at = "down_blocks.0.attentions.0."
    assert shapes["conv_in.weight"] == (8, 9, 3, 3)
    assert shapes["time_embedding.linear_1.weight"] == (32, 8)
    assert shapes[f"{at}proj_in.weight"] == (8, 8, 1, 1)
    assert shapes[f"{at}transformer_blocks.0.ff.net.0.proj.weight"] == (64, 8)
    assert shapes[f"{at}transformer_blocks.0.attn2.to_k.weight"] == (8, 8)
    assert shapes["up_blocks.1.resnets.1.conv_shortcut.weight"] == (8, 16, 1, 1)
    shapes = load_file(saved / "text_encoder" / "model.safetensors")
    assert shapes["text_model.encoder.layers.0.self_attn.q_proj.bias"].shape == (8,)


def test_every_weight_has_a_name(inpainter):
    for network in (inpainter.unet, inpainter.vae):
        named = [weight.variable for weight in loading.weights(network)]
        assert {id(v) for v in named} == {id(v) for v in network.weights}
    named = [weight.variable for weight in loading.text_weights(inpainter.text_encoder)]
    assert {id(v) for v in named} == {id(v) for v in inpainter.text_encoder.weights}


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_keras_files(inpainter, part, tmp_path):
    network = getattr(inpainter, part)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    for one, other in zip(network.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("conv_in.bias"), "lacks 1 weights.*'conv_in.bias'"),
        (lambda w: w.update(more=np.zeros(3, "f4")), "network lacks.*'more'"),
        (
            lambda w: w.update({"conv_in.bias": np.zeros(9, "f4")}),
            r"'conv_in.bias' must have the shape \(8,\). Received: \(9,\)",
        ),
        (
            lambda w: w.update({"conv_in.bias": np.full(8, np.nan, "f4")}),
            "finite.*'conv_in.bias'",
        ),
        (
            lambda w: w.update({"conv_in.bias": np.zeros(8, "i4")}),
            "floating point.*'conv_in.bias'",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, change, message):
    respell(folder / "unet" / WEIGHTS, change)
    with pytest.raises(ValueError, match=message):
        StableDiffusionInpainter.from_diffusers(folder)


def test_older_spellings_are_read(inpainter, folder):
    def older(arrays):
        names = {
            "to_q": "query",
            "to_k": "key",
            "to_v": "value",
            "to_out.0": "proj_attn",
        }
        for name in [n for n in arrays if ".attentions." in n and "norm" not in n]:
            new = name
            for now, then in names.items():
                new = new.replace(now, then)
            arrays[new] = arrays.pop(name)

    respell(folder / "vae" / WEIGHTS, older)
    assert "encoder.mid_block.attentions.0.query.weight" in load_file(
        folder / "vae" / WEIGHTS
    )
    respell(
        folder / "text_encoder" / "model.safetensors",
        lambda w: w.update({"text_model.embeddings.position_ids": np.arange(77)[None]}),
    )
    again = StableDiffusionInpainter.from_diffusers(folder)
    for one, other in zip(inpainter.vae.weights, again.vae.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_precision_files_come_second(folder):
    whole = folder / "vae" / WEIGHTS
    arrays = {k: v.astype("float16") for k, v in load_file(whole).items()}
    save_file(arrays, folder / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    exact = loading.read_vae(folder / "vae").weights[0].numpy()
    whole.unlink()
    found = loading.read_vae(folder / "vae").weights[0].numpy()
    np.testing.assert_array_equal(found, exact.astype("float16").astype("float32"))
    assert (found != exact).any()


def test_files_that_are_missing_or_damaged_are_named(folder, change_json):
    (folder / "unet" / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"damaged.*unet"):
        StableDiffusionInpainter.from_diffusers(folder)
    (folder / "unet" / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights.*unet"):
        StableDiffusionInpainter.from_diffusers(folder)
    (folder / "vae" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"no JSON.*config\.json"):
        StableDiffusionInpainter.from_diffusers(folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"model_index\.json"):
        StableDiffusionInpainter.from_diffusers(folder)


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("unet", {"act_fn": "gelu"}),
        ("unet", {"mid_block_type": "UNetMidBlock2D"}),
        ("unet", {"down_block_types": ["AttnDownBlock2D", "DownBlock2D"]}),
        ("unet", {"attention_head_dim": [1, 2, 3]}),
        ("unet", {"in_channels": 4}),
        ("unet", {"unheard_of": 1}),
        ("vae", {"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]}),
        ("vae", {"shift_factor": 0.1}),
        ("vae", {"norm_num_groups": [4]}),
        ("vae", {"norm_num_groups": 0}),
        ("vae", {"block_out_channels": 8}),
        ("vae", {"block_out_channels": []}),
        ("vae", {"scaling_factor": "1"}),
        ("unet", {"layers_per_block": 2**31}),
        ("unet", {"attention_head_dim": []}),
        ("unet", {"down_block_types": "DownBlock2D"}),
        ("text_encoder", {"num_hidden_layers": 10**9}),
        ("text_encoder", {"hidden_size": None}),
        ("text_encoder", {"hidden_act": "relu"}),
        ("text_encoder", {"layer_norm_eps": 1e-3}),
    ],
)
def test_configurations_that_are_not_built_are_refused(
    folder, change_json, part, fields
):
    change_json(folder / part / "config.json", **fields)
    with pytest.raises(ValueError, match="Received"):
        StableDiffusionInpainter.from_diffusers(folder)


def test_tokens(inpainter):
    found = inpainter.tokenizer(["", "ab A", "a " * 100])
    start, end, pad = 6, 7, 5
    assert found.shape == (3, 77)
    assert found[0].tolist() == [start, end] + [pad] * 75
    assert found[1].tolist() == [start, 4, 2, end] + [pad] * 73
    assert found[2].tolist() == [start, *[2] * 75, end]


def test_a_pad_token_must_be_known(folder, change_json):
    change_json(folder / "tokenizer" / "tokenizer_config.json", pad_token="<pad>")
    with pytest.raises(ValueError, match="Received: '<pad>'"):
        tokenizer.read_tokenizer(folder / "tokenizer")
    (folder / "tokenizer" / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"merges\.txt"):
        tokenizer.read_tokenizer(folder / "tokenizer")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"pad_token": {"text": "a"}}),
        ("tokenizer_config.json", {"pad_token": {"content": []}}),
        ("tokenizer_config.json", {"model_max_length": None}),
        ("tokenizer_config.json", {"model_max_length": "77"}),
        ("tokenizer_config.json", {"model_max_length": float("nan")}),
        ("vocab.json", {"a": 0}),
        ("vocab.json", {"a": 0, "<|endoftext|>": 0}),
        ("vocab.json", {"a": -1, "<|endoftext|>": 0}),
        ("vocab.json", {"a": "1", "<|endoftext|>": 0}),
        ("tokenizer.json", {"model": 1}),
        ("tokenizer.json", {"model": {"vocab": 1}}),
        ("tokenizer.json", {"model": {"vocab": {"a": 0}, "merges": [3]}}),
        ("tokenizer.json", {"model": {"vocab": {"a": 0}, "merges": 3}}),
    ],
)
def test_damaged_tokenizers(folder, name, content):
    place = folder / "tokenizer"
    if name == "tokenizer.json":
        (place / "vocab.json").unlink()
    (place / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="Received"):
        tokenizer.read_tokenizer(place)


@pytest.mark.parametrize("merges", ["", "a\n", "a b c\n", "a nothing\n", "twice"])
def test_damaged_merges(folder, merges):
    path = folder / "tokenizer" / "merges.txt"
    path.write_text(2 * path.read_text() if merges == "twice" else merges)
    with pytest.raises(ValueError, match="Merges must be pairs"):
        tokenizer.read_tokenizer(path.parent)
