"""Settings that are chosen from the images and the device."""

import pytest

import keras_clmae
from keras_clmae import cli
from keras_clmae import runs
from keras_clmae.distribution import device_memory
from keras_clmae.runs.choices import Device
from keras_clmae.runs.choices import ImageListing
from keras_clmae.runs.choices import choose
from keras_clmae.runs.choices import find_device
from keras_clmae.runs.choices import list_images
from keras_clmae.runs.settings import needs_choices
from tests.data.pictures import save_picture
from tests.data.pictures import smooth_picture
from tests.once import ONCE

for module in ("jsonargparse", "rich", "tensorflow", "matplotlib"):
    pytest.importorskip(module)

pytestmark = ONCE
GPU = Device(True, 80 * 2**30, True)
CPU = Device(False, 16 * 2**30, False)


def chosen(images, device, **given):
    values, reasons = choose(given, images, device)
    assert all(choice.reason for choice in reasons)
    return values


@pytest.mark.parametrize(
    "listing, device, expected",
    [
        # (count, side, channels), then preset, side, patch, batch, epochs.
        ((1_000_000, 375, 3), GPU, ("base", 224, 16, 256, 200)),
        ((100_000, 375, 3), GPU, ("small", 224, 16, 256, 200)),
        ((5_000, 32, 3), GPU, ("tiny", 32, 4, 256, 400)),
        ((500, 64, 1), GPU, ("tiny", 64, 8, 32, 400)),
        ((1_000_000, 375, 3), CPU, ("tiny", 64, 8, 256, 100)),
        ((30, 8, 1), CPU, ("tiny", 8, 2, 8, 100)),
        ((5, 20, 3), CPU, ("tiny", 16, 2, 5, 100)),
    ],
)
def test_table(listing, device, expected):
    values = chosen(ImageListing(*listing), device)
    assert (
        values["preset"].partition("_")[0],
        values["image_size"],
        values["model"]["patch_size"],
        values["batch_size"],
        values["epochs"],
    ) == expected
    assert values["channels"] == listing[2]
    assert values["warmup_epochs"] == min(40, values["epochs"] // 5)
    assert (values.get("precision") == "mixed_bfloat16") == device.is_gpu


def test_masks_are_the_recommended_ones():
    images = ImageListing(500, 32, 3)
    values = chosen(images, GPU)
    assert values["objective"] == {"name": "patch_error", "sharpness": 2.0}
    # ViT-Ti is 192 wide.
    assert values["masking_module"]["width"] == 48
    assert values["final_factor"] == -0.5
    assert values["masking_learning_rate"] == 2e-4
    values = chosen(images, GPU, model={"hidden_dim": 100}, final_factor=-1.0)
    assert values["masking_module"]["width"] == 24
    assert values["final_factor"] == -1.0
    for given in (
        {"method": "mae"},
        {"objective": "curriculum"},
        {"masking_module": {"num_layers": 2}},
        {"random_mask_share": 0.5},
    ):
        values = chosen(images, GPU, **given)
        assert {**values, **given} == values and "final_factor" not in values


def test_batch_follows_the_memory():
    images = ImageListing(1_000_000, 375, 3)
    batches = [
        chosen(images, Device(True, gigabytes * 2**30, True))["batch_size"]
        for gigabytes in (8, 16, 80)
    ]
    assert batches == sorted(batches)
    assert batches[0] < batches[1] <= batches[2] == 256


def test_precision_follows_the_device():
    """A GPU need not compute in bfloat16, and some processors do."""
    images = ImageListing(1_000_000, 375, 3)
    old = chosen(images, Device(True, 16 * 2**30, False))
    new = chosen(images, Device(True, 16 * 2**30, True))
    assert "precision" not in old and old["preset"] == new["preset"]
    assert new["batch_size"] == 2 * old["batch_size"]
    processor = chosen(images, Device(False, 16 * 2**30, True))
    assert processor["precision"] == "mixed_bfloat16"


def test_recipe_follows_the_size():
    large = chosen(ImageListing(1_000_000, 375, 3), GPU)
    assert large["curriculum"] == "linear_per_epoch"
    small = chosen(ImageListing(1_000, 375, 3), GPU)
    assert "curriculum" not in small and small["weight_decay"] == 0.05


def test_other_channels_are_measured():
    values = chosen(ImageListing(1_000, 64, 7), GPU)
    assert values["statistics"] == "from_data" and "channels" not in values


def test_what_is_given_stays():
    given = {
        "channels": 1,
        "image_size": 48,
        "preset": "base_patch16_224",
        "batch_size": 10,
        "epochs": 3,
        "warmup_epochs": 0,
        "precision": "float32",
        "weight_decay": 0.1,
        "base_learning_rate": 1e-2,
        "curriculum": "cosine",
        "objective": "curriculum",
    }
    values, reasons = choose(given, ImageListing(500, 32, 1), GPU)
    assert {name: values[name] for name in given} == given
    assert reasons == []
    assert given.get("model") is None
    # A side of one's own gets a patch that divides it.
    values = chosen(ImageListing(500, 32, 1), GPU, image_size=100)
    assert 100 % values["model"]["patch_size"] == 0


def test_when_there_is_a_need(tmp_path):
    folder = str(tmp_path)
    assert needs_choices({"data": folder})
    assert needs_choices({"data": f"folder:{folder}", "epochs": 3})
    assert not needs_choices({"data": folder, "preset": "tiny_patch4_32"})
    assert not needs_choices({"data": "digits"})
    assert not needs_choices({"data": "tfds:mnist"})
    assert not needs_choices({"data": "folder:nowhere"})
    assert needs_choices({"data": "webdataset:{000..002}.tar"})
    assert not needs_choices({})
    assert needs_choices({"data": folder, "model": {"num_layers": 8}})
    sizes = {"num_layers": 1, "decoder_num_layers": 1}
    for name in ("patch_size", "hidden_dim", "num_heads"):
        sizes |= {name: 2, f"decoder_{name}": 2}
    assert not needs_choices({"data": folder, "model": sizes})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(17):
        save_picture(folder / f"{seed}.png", "L", seed, size=(20, 30))
    return folder


def test_listing_of_a_folder(photos):
    assert list_images(f"folder:{photos}") == ImageListing(17, 20, 1)
    device = find_device()
    assert device.memory > 2**28
    assert device.bfloat16 == keras_clmae.kernels.bfloat16_is_fast()
    assert not find_device(simulated_devices=2).bfloat16


@pytest.mark.filterwarnings("ignore")
def test_listing_of_shards_and_tables(tmp_path):
    for module in ("datasets", "webdataset", "pyarrow"):
        pytest.importorskip(module)
    from tests.data.source_places import COUNT
    from tests.data.source_places import KINDS
    from tests.data.source_places import write_sources

    write_sources(tmp_path)
    for kind in KINDS:
        data = f"{kind}:{tmp_path / kind}"
        arguments = {} if kind == "webdataset" else {"image_column": "photo"}
        found = list_images(data, None, arguments)
        assert found == ImageListing(COUNT, 8, 3), kind
        assert list_images(data, 1, arguments).channels == 1


@pytest.mark.parametrize("kind", ["L.png", "RGB.tif", "RGB.png", "L.tif"])
def test_images_of_16_bits_are_measured(kind, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    mode, _, ending = kind.partition(".")
    save_picture(tmp_path / "8" / f"a.{ending}", mode, size=(20, 30))
    shallow = list_images(f"folder:{tmp_path / '8'}")
    assert shallow == ImageListing(1, 20, len(mode))
    assert "statistics" not in chosen(shallow, CPU)
    (tmp_path / "16").mkdir()
    path = tmp_path / "16" / f"a.{ending}"
    levels = smooth_picture(20, 30, len(mode)).astype("uint16").squeeze() * 9
    if ending == "tif":
        tifffile.imwrite(path, levels)
    else:
        import tensorflow as tf

        levels = levels.reshape(20, 30, -1)
        path.write_bytes(tf.io.encode_png(levels).numpy())
    deep = list_images(f"folder:{tmp_path / '16'}")
    assert deep == ImageListing(1, 20, len(mode), deep=True)
    assert chosen(deep, CPU)["statistics"] == "from_data"


def test_listing_of_nothing_that_can_be_read(tmp_path):
    (tmp_path / "torn.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match="can be read|cannot be read"):
        list_images(f"folder:{tmp_path}", 1)


def test_choosing_takes_one_process(monkeypatch):
    for name, value in ("RANK", "0"), ("WORLD_SIZE", "2"):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1234")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="several processes"):
        find_device()


@pytest.mark.filterwarnings("ignore")
def test_a_folder_is_all_it_takes(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(device_memory, "accelerator_memory", lambda: None)
    run_dir = tmp_path / "out"
    arguments = ["pretrain", str(photos), f"--run_dir={run_dir}"]
    assert cli.run([*arguments, "--dry_run"]) is None
    printed = capsys.readouterr().out
    assert "chosen: --preset" in printed and "without a GPU" in printed
    assert "chosen: --image_size" in printed and "20 pixels" in printed
    assert "operations counted" in printed
    assert "tiny_patch16_224 (without a GPU; its layers" in printed
    assert "without --dry_run" in printed
    assert not run_dir.exists()
    assert '{"name": "patch_error", "sharpness": 2.0} (ahead' in printed
    # A network that trains at once; what is given is not chosen.
    short = ["--epochs=1", "--pictures_every=0", "--model.hidden_dim=48"]
    short += ["--model.num_layers=1", "--model.decoder_num_layers=1"]
    model = cli.run([*arguments, *short])
    printed = capsys.readouterr().out
    assert "chosen: --epochs" not in printed
    assert "encoder" in printed
    assert model.encoder.image_shape == (16, 16, 1)
    assert model.masking_module.width == 12
    assert not model.objective.needs_masking_phase
    assert (run_dir / "encoder" / "normalization.json").exists()
    stored = runs.read_settings(run_dir)
    assert (stored.image_size, stored.batch_size) == (16, 8)
    with pytest.raises(SystemExit):
        cli.run([*arguments, "--data=digits"])
    assert "must not both be given" in capsys.readouterr().err
    assert keras_clmae.pretrain is runs.pretrain
