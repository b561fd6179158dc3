"""The examples of the page on storage run as they stand there, with a server of S3."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from stores import s3_store

import bbcompress as bbc
from bbcompress.integrations.filesystem import BBCFileSystem

PAGE = Path(__file__).resolve().parents[1] / "docs" / "storage.md"

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def examples() -> list[str]:
    """The blocks of Python, without their indentation."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if "    $" not in block]


def test_the_examples() -> None:
    hills = np.arange(24, dtype=np.uint8).reshape(4, 6)
    bbc.write("photos.bbc", {"hills.png": hills, "more.png": hills}, effort=1)
    names: dict[str, Any] = {}
    with s3_store("bucket") as store:
        bbc.write(f"{store.url}/photos.bbc", {"hills.png": hills}, effort=1)
        for block in examples():
            if "datasets" not in block and "fuse" not in block:  # which are not among what the tests need
                exec(block, names)
        for system in BBCFileSystem._cache.values():
            system.close()
        BBCFileSystem.clear_instance_cache()
    assert {"archive", "image", "data", "batches"} <= names.keys()
    assert np.array_equal(np.asarray(names["image"]), np.stack([hills] * 3, axis=2))
