"""Files of bbc for WebDataset: members of tar files, archives in place of tar files, errors, other processes."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from arrays_for_tests import digits
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress as bbc
from bbcompress.exact.backend import Backend
from bbcompress.integrations.webdataset import ArchivesToSamples, BBCDecoder, archive_samples, bbc_decoder
from bbcompress.models.base import Model, ModelWeights
from bbcompress.models.registry import model_of

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

COUNT = 6
STACK = digits(COUNT)


def tar_file(members: dict[str, bytes], path: str = "set.tar") -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def archives() -> list[str]:
    """Two archives that share the digits."""
    for number in range(2):
        images = {f"{number}/{at:04}.png": STACK[at] for at in range(number, COUNT, 2)}
        bbc.write(f"{number}.bbc", images)
    return ["0.bbc", "1.bbc"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # WebDataset leaves it to Python to close the tar file
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_members_of_tar_files() -> None:
    wds = pytest.importorskip("webdataset")
    deep = (STACK[0].astype(np.uint16) * 257).reshape(14, 56)
    members = {f"{at:04}.bbc": bbc.compress(STACK[at]) for at in range(COUNT)}
    path = tar_file({**members, "0005.cls": b"7", "0006.DEEP.bbc": bbc.compress(deep)})
    samples = list(wds.WebDataset(path, shardshuffle=False, empty_check=False).decode(BBCDecoder()))
    assert [sample["__key__"] for sample in samples] == [f"{at:04}" for at in range(COUNT + 1)]
    assert all(np.array_equal(samples[at]["bbc"], STACK[at]) for at in range(COUNT))
    assert samples[5]["cls"] == 7 and np.array_equal(samples[6]["deep.bbc"], deep)


def test_archives_as_shards(archives: list[str]) -> None:
    """Of a loader with two workers each reads archives of its own; WebDataset decodes the PNGs."""
    wds, torch = pytest.importorskip("webdataset"), pytest.importorskip("torch")
    stages = wds.SimpleShardList(archives), wds.split_by_worker, ArchivesToSamples()
    pipeline = wds.DataPipeline(*stages, wds.decode("l8"), wds.to_tuple("__key__", "png"), wds.batched(2))
    loader = torch.utils.data.DataLoader(pipeline, num_workers=2, batch_size=None, multiprocessing_context="fork")
    found = {key: image for keys, images in loader for key, image in zip(keys, images, strict=True)}
    assert sorted(found) == sorted(f"{at % 2}/{at:04}" for at in range(COUNT))
    assert all(np.array_equal(found[f"{at % 2}/{at:04}"], STACK[at]) for at in range(COUNT))


def test_samples_of_an_archive(archives: list[str]) -> None:
    samples = list(archive_samples("1.bbc", "npy"))
    assert [(sample["__key__"], sample["__url__"]) for sample in samples] == [
        (f"1/{at:04}", "1.bbc") for at in range(1, COUNT, 2)
    ]
    assert all(np.array_equal(sample["npy"], STACK[2 * at + 1]) for at, sample in enumerate(samples))
    sample = next(iter(ArchivesToSamples()([{"url": "1.bbc"}])))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample["png"]))), STACK[1])


def test_a_decoder_loads_a_model_once_and_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    data, built = bbc.compress(STACK[0]), []

    def counted(weights: ModelWeights, backend: Backend) -> Model:
        built.append(weights.id)
        return model_of(weights, backend)

    monkeypatch.setattr("bbcompress.models.cache.model_of", counted)
    decoder = BBCDecoder()
    assert all(np.array_equal(np.asarray(decoder(key, data)), STACK[0]) for key in (".bbc", ".x.BBC"))
    assert len(built) == 1
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(decoder))(".bbc", data)), STACK[0])
    assert len(built) == 2
    assert bbc_decoder(".png", b"") is None


def test_errors(archives: list[str]) -> None:
    with pytest.raises(bbc.FormatError, match="an archive of several images"):
        bbc_decoder(".bbc", Path("0.bbc").read_bytes())
    with pytest.raises(bbc.FormatError):
        bbc_decoder(".bbc", b"\xbb\xc1")
    with pytest.raises(bbc.BBCError, match="there is no form 'jpg'; choose png or npy"):
        archive_samples("0.bbc", "jpg")
    with pytest.raises(bbc.CallError, match="there is no option 'modell'"):
        next(ArchivesToSamples(modell="x")([{"url": "0.bbc"}]))
    with pytest.raises(bbc.BBCError, match="handler must be a function of an error"):
        ArchivesToSamples(handler="x")  # type: ignore[arg-type]
    bbc.write("cmyk.bbc", {"a.tif": bbc.PixelImage("CMYK", np.zeros((2, 2, 4), np.uint8))})
    with pytest.raises(bbc.ImageError, match=r"a\.tif: .*CMYK"):
        list(archive_samples("cmyk.bbc"))
    shards = [{"url": name} for name in ("absent.bbc", "0.bbc")]
    with pytest.raises(bbc.MissingFileError):
        list(ArchivesToSamples()(shards))
    for goes_on in (True, False):
        seen: list[Exception] = []

        def handler(error: Exception, goes_on: bool = goes_on, seen: list[Exception] = seen) -> bool:
            seen.append(error)
            return goes_on

        assert len(list(ArchivesToSamples(handler=handler)(shards))) == goes_on * COUNT // 2
        assert list(map(type, seen)) == [bbc.MissingFileError]
