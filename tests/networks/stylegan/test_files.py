"""Generators from files: every format, and what is said of a bad one."""

import os
import pickle

import foreign_files
import numpy as np
import pytest

from tfpriv.networks.stylegan import load_generator, names, save_generator

NAMES = [
    "truncation.w_avg",
    "mapping.dense3.linear.weight",
    "synthesis.layer0.first_layer",
    "synthesis.layer3.conv.weight",
    "synthesis.layer4.epilogue.apply_noise.noise",
    "synthesis.layer5.epilogue.style_mod.dense.wscale.bias",
    "synthesis.output2.bias",
    "synthesis.output0.conv.weight",  # of a lower resolution, but part of the format
]


def nvlabs_parts(generator):
    """A generator's weights as NVlabs' networks divide them."""
    arrays = {
        name.text: name.from_ours(np.asarray(variable))
        for name, variable in names.nvlabs(generator).items()
    }
    arrays |= {
        name: np.zeros(shape, np.float32)
        for name, shape in names.nvlabs_unused(generator).items()
    }
    mapping = {name: arrays.pop(name) for name in list(arrays) if name[:5] == "Dense"}
    own = {"dlatent_avg": arrays.pop("dlatent_avg"), "lod": np.float32(0)}
    return {"": own, "mapping": mapping, "synthesis": arrays}


@pytest.fixture
def nvlabs_file(tiny, tmp_path):
    """A function that writes the tiny generator as NVlabs' code does."""

    def write(parts=None, options=None, **changes):
        path = tmp_path / "tiny.pkl"
        options = {"fused_scale": False, "resolution": 16} | (options or {})
        parts = parts or nvlabs_parts(tiny)
        foreign_files.write_nvlabs(path, parts, options, **changes)
        return path

    return write


def test_legacy_files_of_pytorch(tiny, tiny_weights, tmp_path):
    foreign_files.write_torch(tmp_path / "g.pth", tiny_weights, legacy=True)
    assert load_generator(tmp_path / "g.pth").fingerprint == tiny.fingerprint


def test_constants_of_pytorchs_state_are_accepted(tiny, tiny_weights, tmp_path):
    constants = {
        name: np.ones(shape, np.float32)
        for name, shape in names.genforce_constants(tiny).items()
    }
    assert "synthesis.layer2.blur.kernel" in constants
    foreign_files.write_torch(tmp_path / "g.pth", tiny_weights | constants)
    assert load_generator(tmp_path / "g.pth").fingerprint == tiny.fingerprint


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".safetensors"])
def test_our_own_files(tiny, tmp_path, ending):
    path = tmp_path / f"tiny{ending}"
    save_generator(tiny, path)
    assert load_generator(path).fingerprint == tiny.fingerprint
    assert list(tmp_path.iterdir()) == [path]


def test_nvlabs_pickles(tiny, nvlabs_file):
    """All kernels in one form: `fused_scale` says which."""
    loaded = load_generator(nvlabs_file())
    assert [layer.form for layer in loaded.synthesis.layers[2::2]] == ["up", "up"]
    for ours, theirs in zip(tiny.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    automatic = load_generator(nvlabs_file(options={"fused_scale": "auto"}))
    assert automatic.fingerprint == loaded.fingerprint
    fused = load_generator(nvlabs_file(options={"fused_scale": True}))
    assert [layer.form for layer in fused.synthesis.layers[2::2]] == ["fused", "fused"]


def test_the_source_code_in_nvlabs_pickles_is_not_run(nvlabs_file, tmp_path):
    target = tmp_path / "touched"
    load_generator(nvlabs_file(source=f"open({str(target)!r}, 'w')"))
    assert not target.exists()


class Touch:
    """Pickles to a call that creates a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["pkl", "pth", "legacy pth", "inside", "raw pth"])
def test_code_in_a_pickle_is_refused_and_not_run(
    tiny_weights, nvlabs_file, tmp_path, form
):
    target, path = tmp_path / "touched", tmp_path / f"bad.{form[-3:]}"
    touch = Touch(target)
    if form == "inside":
        path = nvlabs_file(others=touch)
    elif form in ("pkl", "raw pth"):
        path.write_bytes(pickle.dumps((None, None, touch)))
    else:
        foreign_files.write_torch(
            path, tiny_weights, legacy="legacy" in form, others={"more": touch}
        )
    with pytest.raises(ValueError, match=r"posix\.system.*Nothing was executed"):
        load_generator(path)
    assert not target.exists()
    if form == "pkl":  # the planted pickle does what it should not
        pickle.loads(path.read_bytes())
        assert target.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_weight_is_named(tiny_weights, tmp_path, name):
    weights = dict(tiny_weights)
    del weights[name]
    foreign_files.write_torch(tmp_path / "g.pth", weights)
    with pytest.raises(ValueError, match=f"missing: {name}. Received"):
        load_generator(tmp_path / "g.pth")


@pytest.mark.parametrize("name", NAMES)
def test_a_misshapen_weight_is_named(tiny_weights, tmp_path, name):
    bad = tiny_weights[name][..., :-1]
    foreign_files.write_torch(tmp_path / "g.pth", tiny_weights | {name: bad})
    expected = ", ".join(map(str, tiny_weights[name].shape))
    with pytest.raises(ValueError, match=rf"misshapen: {name}: expected \({expected}"):
        load_generator(tmp_path / "g.pth")


def test_extra_and_infinite_weights_are_named(tiny_weights, tmp_path):
    bad = {"more.weight": np.ones(3, np.float32)}
    bad["synthesis.output2.bias"] = np.array([0, np.nan, 0], np.float32)
    foreign_files.write_torch(tmp_path / "g.pth", tiny_weights | bad)
    message = r"extra: more\.weight; not finite: synthesis\.output2\.bias"
    with pytest.raises(ValueError, match=message):
        load_generator(tmp_path / "g.pth")


def test_nvlabs_weights_are_named_too(tiny, nvlabs_file):
    parts = nvlabs_parts(tiny)
    del parts["synthesis"]["8x8/Conv1/Noise/weight"]
    with pytest.raises(ValueError, match="missing: 8x8/Conv1/Noise/weight"):
        load_generator(nvlabs_file(parts))


def test_an_unfinished_generator_is_refused(tiny_weights, tmp_path):
    weights = tiny_weights | {"synthesis.lod": np.float32(1.5)}
    foreign_files.write_torch(tmp_path / "g.pth", weights)
    with pytest.raises(ValueError, match=r"Received: synthesis\.lod=1\.5"):
        load_generator(tmp_path / "g.pth")


def test_another_kind_of_generator_is_refused(nvlabs_file):
    with pytest.raises(ValueError, match="Received: use_pixel_norm=True"):
        load_generator(nvlabs_file(options={"use_pixel_norm": True}))
    for odd in ({"components": {}}, {"options": {"fused_scale": "often"}}):
        with pytest.raises(ValueError, match=r"tuple \(G, D, Gs\)"):
            load_generator(nvlabs_file(**odd))


def test_numbers_in_names_are_not_trusted(tiny_weights, tmp_path):
    for name in ("synthesis.layer{}.bias", "mapping.dense{}.wscale.bias"):
        more = {name.format(10**12): np.ones(3, np.float32)}
        foreign_files.write_torch(tmp_path / "g.pth", tiny_weights | more)
        with pytest.raises(ValueError, match=r"Received: .*g\.pth"):
            load_generator(tmp_path / "g.pth")


@pytest.mark.parametrize("content", [(), (1, 2, 3), {"a": np.zeros(3)}, "text"])
def test_other_pickles_are_no_generator(tmp_path, content):
    path = tmp_path / "g.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="holds no generator"):
        load_generator(path)


@pytest.mark.parametrize(
    "ending", [".pth", ".pkl", ".keras", ".weights.h5", ".safetensors"]
)
@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_file_is_one_error(tiny, tiny_file, tmp_path, ending, damage):
    path = tmp_path / f"g{ending}"
    if ending == ".pth":
        path.write_bytes(tiny_file.read_bytes())
    elif ending == ".pkl":
        path.write_bytes(pickle.dumps({"a": np.zeros(99)}))
    else:
        save_generator(tiny, path)
    whole = path.read_bytes()
    bad = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "noise": bytes(range(256)) * 9,
    }
    path.write_bytes(bad[damage])
    with pytest.raises(ValueError, match=f"Received: .*g{ending}"):
        load_generator(path)


def test_other_endings_and_no_file(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"ends in one of.*Received: .*g\.npz"):
        load_generator(tmp_path / "g.npz")
    with pytest.raises(FileNotFoundError, match=r"g\.pth"):
        load_generator(tmp_path / "g.pth")
    with pytest.raises(ValueError, match=r"written as.*Received: .*g\.pth"):
        save_generator(tiny, tmp_path / "g.pth")
