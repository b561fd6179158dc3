"""Files that carry their models: which do, and reading them where the models are not installed."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder  # noqa: F401
from models_for_tests import MODELS, random_linear, tiny_vae
from PIL import Image

import bbcompress as bbc
from bbcompress.archive.container import ArchiveWriter
from bbcompress.archive.embedded import EmbeddedModel
from bbcompress.cli import main
from bbcompress.errors import BBCError, LargeModelError, MissingModelError, ModelError
from bbcompress.exact.layers import ACTIVATION_BITS
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import CARD_FILE, WEIGHTS_FILE, load, read_files, save
from bbcompress.models.memory import MAX_UNITS, refuse_large
from bbcompress.models.zoo import CarriedModel, InstalledModel, Zoo
from bbcompress.pipeline import compressor, embedding
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.embedding import Embedding
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parents[1] / "data"
DIGITS = DATA / "digits" / "binary"
BINARY, GREY = MODELS / "tiny-binary", MODELS / "tiny-grey"

pytestmark = pytest.mark.usefixtures("no_models", "empty_folder")


def digits(count: int, first: int = 0, kind: str = "binary") -> dict[str, Image.Image]:
    return {f"{n}.png": Image.open(DIGITS.parent / kind / f"{n:04}.png") for n in range(first, first + count)}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def carried(path: str | Path) -> list[str]:
    """Names of the models that a file carries."""
    with open(path, "rb") as file:
        return [entry.name for entry in Reader(file)._models.zoo.carried]


def pixels(path: str | Path) -> dict[str, Any]:
    with bbc.open(path) as archive:
        return {name: image.pixels for name, image in archive.images()}


def same(found: dict[str, Any], expected: dict[str, Image.Image]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[n], np.asarray(i)) for n, i in expected.items())


def test_an_archive_is_read_without_its_model() -> None:
    summary = bbc.write("a.bbc", digits(3), model=BINARY, embed_model=True)
    assert carried("a.bbc") == ["tiny-binary"] == list(summary.embedded)
    assert same(pixels("a.bbc"), digits(3))
    bbc.write("b.bbc", digits(3), model=BINARY, embed_model=False)
    assert carried("b.bbc") == []
    with pytest.raises(MissingModelError, match=r"needs the model with id 641adb16.*bbc models add"):
        pixels("b.bbc")
    with Path("a.bbc").open("rb") as file:
        parts = Reader(file).describe()["parts"]
    assert parts["models"] == summary.embedded["tiny-binary"] + 16
    assert Path("a.bbc").stat().st_size == Path("b.bbc").stat().st_size + parts["models"]


def test_nothing_is_installed_by_reading() -> None:
    bbc.write("a.bbc", digits(2), model=BINARY, embed_model=True)
    assert same(pixels("a.bbc"), digits(2))
    models = open_models()
    reader = Reader(io.BytesIO(Path("a.bbc").read_bytes()), models)
    assert len(list(reader.images())) == 2
    assert (models.zoo.carried, models.zoo.entries, models._built) == ((), [], {})
    bbc.write("b.bbc", digits(2, 5), model=BINARY, embed_model=False)
    with pytest.raises(MissingModelError):
        list(Reader(io.BytesIO(Path("b.bbc").read_bytes()), models).images())


def test_one_that_is_installed_is_used_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a damaged model in the file does no harm."""
    bbc.write("a.bbc", digits(2), model=BINARY, embed_model=True)
    data = bytearray(Path("a.bbc").read_bytes())
    data[-300] ^= 1
    Path("a.bbc").write_bytes(data)
    with pytest.raises(ModelError, match="the model in the file is damaged: its checksum does not fit"):
        pixels("a.bbc")
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    assert same(pixels("a.bbc"), digits(2))


def test_by_default_it_is_carried_where_it_is_small_beside_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    few = bbc.write("few.bbc", digits(2), model=BINARY)
    assert carried("few.bbc") == [] and not few.embedded
    size, model = Path("few.bbc").stat().st_size, len(_embedded(BINARY).encode())
    (line,) = few.missing_models
    assert f"the model tiny-binary is not in the file, to which it would add {model} bytes" in line
    assert embedding.USUAL_SHARE == 20
    for margin, is_carried in ((-0.001, True), (0.2, False)):
        monkeypatch.setattr(embedding, "USUAL_SHARE", (size + model) / model + margin)
        made = bbc.write("b.bbc", digits(2), model=BINARY, overwrite=True)
        assert (made.embedded, made.missing_models) == (({"tiny-binary": model}, []) if is_carried else ({}, [line]))


def _embedded(folder: Path) -> EmbeddedModel:
    return embedding._embedded(InstalledModel(folder))


def test_a_model_that_comes_with_bbc_is_carried_on_demand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [BINARY])
    monkeypatch.setattr(embedding, "USUAL_SHARE", 0)
    shutil.copytree(BINARY, "copy")  # by its id, wherever it lies
    for model in (None, "copy"):
        summary = bbc.write("a.bbc", digits(2), model=model, overwrite=True)
        assert (summary.embedded, summary.missing_models) == ({}, [])
    assert list(bbc.write("a.bbc", digits(2), overwrite=True, embed_model=True).embedded) == ["tiny-binary"]
    assert list(bbc.write("b.bbc", digits(2), model=BINARY).embedded) == []


def test_images_of_the_fallback_need_no_model() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 4), np.uint8))
    with pytest.warns(UserWarning, match="does not fit the image"):
        summary = bbc.write("a.bbc", {"a": noise}, model=BINARY, embed_model=True)
    assert (summary.embedded, summary.missing_models, carried("a.bbc")) == ({}, [], [])
    with pytest.warns(UserWarning, match="does not fit the image"):
        data = bbc.compress(noise, model=BINARY, embed_model=True)
    assert np.array_equal(bbc.decompress(data), np.asarray(noise))


def test_of_several_models_those_that_code_something() -> None:
    expected = digits(2) | digits(8, 2, "grey")
    summary = bbc.write("a.bbc", expected, model=MODELS, embed_model=True)
    assert sorted(summary.embedded) == ["tiny-binary", "tiny-grey"] == sorted(carried("a.bbc"))
    assert same(pixels("a.bbc"), expected)


def test_adding_does_not_carry_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    bbc.write("a.bbc", digits(2), model=BINARY, embed_model=True)
    for first, asked in ((2, True), (4, None)):
        summary = bbc.add("a.bbc", digits(2, first), model=BINARY, embed_model=asked)
        assert (summary.embedded, summary.missing_models) == ({}, [])
    assert carried("a.bbc") == ["tiny-binary"]
    assert same(pixels("a.bbc"), digits(6))
    bbc.write("b.bbc", digits(2), model=BINARY, embed_model=False)
    assert list(bbc.add("b.bbc", digits(2, 2), model=BINARY, embed_model=True).embedded) == ["tiny-binary"]
    assert same(pixels("b.bbc"), digits(4))  # also what was there before
    with Path("b.bbc").open("rb") as file:
        assert Reader(file).describe()["parts"]["models"] > 0


def test_an_addition_that_fails_leaves_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    bbc.write("a.bbc", digits(2), model=BINARY, embed_model=True)
    before = Path("a.bbc").read_bytes()
    monkeypatch.setattr(ArchiveWriter, "_finish", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        bbc.add("a.bbc", {"g": Image.open(DATA / "digits" / "grey" / "0001.png")}, model=GREY, embed_model=True)
    assert Path("a.bbc").read_bytes() == before


def test_the_file_of_one_image() -> None:
    image = digits(1)["0.png"]
    data = bbc.compress(image, model=BINARY, embed_model=True)
    assert np.array_equal(bbc.decompress(data), np.asarray(image))
    assert len(data) > len(bbc.compress(image, model=BINARY))
    with pytest.raises(MissingModelError):
        bbc.decompress(bbc.compress(image, model=BINARY))


def test_every_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes, one image of many, Pillow, extraction, commands."""
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 3 * 28 * 28)
    expected = digits(9)
    bbc.write("a.bbc", expected, model=BINARY, embed_model=True)
    with bbc.open("a.bbc") as archive:
        assert len(archive.groups) == 3
        assert np.array_equal(archive["7.png"].pixels, np.asarray(expected["7.png"]))
    for jobs in ("1", "2"):
        result = run("decompress", "a.bbc", "--output-dir", f"out{jobs}", "-j", jobs)
        assert result.exit_code == 0, result.output
        for name, image in expected.items():
            assert np.array_equal(np.asarray(Image.open(f"out{jobs}/a/{name}")), np.asarray(image))
    assert run("test", "a.bbc").exit_code == 0
    assert "tiny-binary" in run("list", "a.bbc").output
    assert len(bbc.extract("a.bbc", "there", jobs=2)) == 9
    bbc.register_pillow()
    Path("one.bbc").write_bytes(bbc.compress(expected["0.png"], model=BINARY, embed_model=True))
    with Image.open("one.bbc") as image:
        assert np.array_equal(np.asarray(image), np.asarray(expected["0.png"]))
    expected["0.png"].save("saved.bbc", model=BINARY, embed_model=True)
    with Image.open("saved.bbc") as image:
        assert np.array_equal(np.asarray(image), np.asarray(expected["0.png"]))


def test_loader_workers() -> None:
    torch = pytest.importorskip("torch")
    bbc.write("a.bbc", digits(4), model=BINARY, embed_model=True)
    loader = torch.utils.data.DataLoader(bbc.ArchiveDataset("a.bbc"), batch_size=2, num_workers=2)
    found = [image[0].numpy() for batch in loader for image in batch]
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(found, digits(4).values(), strict=True))


def test_compressing_by_commands() -> None:
    result = run("compress", str(DIGITS / "0001.png"), "-o", "a.bbc", "-m", str(BINARY))
    assert (result.exit_code, result.stderr) == (0, "")
    two = str(DIGITS / "0001.png"), str(DIGITS / "0002.png")
    result = run("compress", *two, "-o", "two.bbc", "-m", str(BINARY))
    assert (result.exit_code, "the model tiny-binary is not in the file" in result.stderr) == (0, True)
    result = run("compress", *two, "-o", "quiet.bbc", "-m", str(BINARY), "--no-embed-model")
    assert (result.exit_code, result.stderr) == (0, "")
    result = run("compress", str(DIGITS / "0001.png"), "-o", "b.bbc", "-m", str(BINARY), "--no-embed-model")
    assert (result.exit_code, result.stderr) == (0, "")
    result = run("compress", str(DIGITS / "0001.png"), "-o", "c.bbc", "-m", str(BINARY), "--embed-model")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (carried("a.bbc"), carried("b.bbc"), carried("c.bbc")) == ([], [], ["tiny-binary"])
    assert run("decompress", "c.bbc", "-o", "c.png").exit_code == 0
    assert run("decompress", "b.bbc", "-o", "b.png").exit_code == 1
    assert run("compress", *two, "-o", "set.bbc").exit_code == 0
    result = run("add", "set.bbc", str(DIGITS / "0003.png"), "-m", str(BINARY))
    assert (result.exit_code, "the model tiny-binary is not in the file" in result.stderr) == (0, True)
    result = run("add", "set.bbc", str(DIGITS / "0004.png"), "-m", str(BINARY), "--embed-model")
    assert (result.exit_code, result.stderr, carried("set.bbc")) == (0, "", ["tiny-binary"])


def test_what_helps_where_a_model_is_missing() -> None:
    """The model; --keep-going is named where something is damaged."""
    bbc.write("a.bbc", digits(2), model=BINARY, embed_model=False)
    result = run("decompress", "a.bbc", "-o", "out")
    assert (result.exit_code, "is not installed (give it with -m" in result.stderr) == (1, True)
    assert "--keep-going" not in result.stderr
    data = bytearray(Path("a.bbc").read_bytes())
    data[20] ^= 1
    Path("a.bbc").write_bytes(data)
    result = run("decompress", "a.bbc", "-o", "out", "-m", str(BINARY))
    assert (result.exit_code, "--keep-going brings out what is not damaged" in result.stderr) == (1, True)
    assert not Path("out").exists()


# What is not trusted


def forged(
    model: ModelWeights, identity: bytes | None = None, weights: bytes | None = None, card: bytes | None = None
) -> CarriedModel:
    save(model, Path("forged"))
    its_weights, its_card = read_files(Path("forged"))
    carries = EmbeddedModel.of(identity or model.id, its_card if card is None else card, weights or its_weights)
    again = EmbeddedModel.decode(carries.encode())
    return CarriedModel(again.id, lambda: (again.weights, again.card))


def test_what_a_file_carries_is_checked_as_a_checkpoint_is() -> None:
    weights = tiny_vae()
    assert forged(weights).weights.id == weights.id
    assert (forged(weights).name, forged(weights, card=b"").name) == ("tiny", weights.id.hex()[:8])
    for model, reason in (
        (forged(weights, identity=bytes(32)), "is not the one that the file names"),
        (forged(weights, card=b"{"), "the card of the model in the file is damaged"),
        (forged(weights, card=b'{"id": "00"}'), "not the model that its card names"),
        (forged(weights, weights=b"hello"), "damaged or no safetensors file"),
    ):
        with pytest.raises(ModelError, match=reason):
            _ = model.weights


def test_models_that_take_much_memory_are_refused() -> None:
    """Of a few bytes: weights of 0 pack well."""
    random = np.random.default_rng(0)
    thin = tiny_vae(shape=(2, 2), hidden=1, latents=1)
    many = random_linear(random, 1, ACTIVATION_BITS, [ACTIVATION_BITS] * (MAX_UNITS + 1), True, 0.001)
    few = random_linear(random, MAX_UNITS + 1, ACTIVATION_BITS, [ACTIVATION_BITS], True, 0.0001)
    wide = replace(thin, decoder=(*thin.decoder[:1], many, few, *thin.decoder[1:]))
    with pytest.raises(LargeModelError, match="16385 outputs, the limit is 16384"):
        refuse_large(wide)
    with pytest.raises(LargeModelError):
        _ = forged(wide).weights
    with pytest.raises(LargeModelError, match="17 latents for 4 pixels"):
        refuse_large(tiny_vae(shape=(2, 2), latents=17))
    refuse_large(tiny_vae(shape=(2, 2), latents=16))
    for folder in [*MODELS.iterdir(), *(Path(__file__).parents[2] / "models").iterdir()]:
        refuse_large(load(folder))


def test_a_model_that_is_too_large_is_not_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.archive.embedded.MAX_WEIGHT_BYTES", 5000)
    with pytest.raises(BBCError, match=r"no file can carry the model tiny-binary: it has .* the limit in files is 5"):
        bbc.write("a.bbc", digits(1), model=BINARY, embed_model=True)
    assert not Path("a.bbc").exists()
    summary = bbc.write("a.bbc", digits(1), model=BINARY)
    assert ["too large to be in the file" in line for line in summary.missing_models] == [True]


def test_a_model_that_is_changed_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(BINARY, "mine")
    models = Zoo("mine")
    _ = models.chosen[0].weights
    (Path("mine") / CARD_FILE).unlink()
    shutil.copy(GREY / WEIGHTS_FILE, Path("mine") / WEIGHTS_FILE)
    used = Embedding(models, True)
    used._used[models.chosen[0].id] = models.chosen[0]
    with pytest.raises(ModelError, match="was changed while it was used"):
        used.choose(10**9)


def test_bytes_do_not_depend_on_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 2 * 28 * 28)
    made = []
    for jobs in (1, 2):
        file = io.BytesIO()
        options = Options(model=BINARY, embed_model=True, jobs=jobs)
        images = [(name, bbc.from_pillow(image)) for name, image in digits(4).items()]
        Compressor(options).archive(images, file)
        made.append(file.getvalue())
    assert made[0] == made[1]


def test_images_in_parts_carry_the_models_of_their_parts() -> None:
    colours = Image.open(DATA / "local" / "middle-0.png")
    image = colours.copy()
    image.putalpha(Image.fromarray((np.indices(colours.size[::-1]).sum(0) * 3 % 256).astype(np.uint8)))
    data = bbc.compress(image, model=MODELS / "tiny-local", embed_model=True)
    reader = Reader(io.BytesIO(data))
    assert [place.id for place in reader.file.models] == [load(MODELS / "tiny-local").id]
    assert reader.file.read_header(0).parts == "RGBA"
    assert np.array_equal(bbc.decompress(data), np.asarray(image))
    assert list(bbc.write("a.bbc", {"a": image}, model=MODELS / "tiny-local", embed_model=True).embedded)
    assert np.array_equal(pixels("a.bbc")["a"], np.asarray(image))
