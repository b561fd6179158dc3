"""Makes .bbc files known to Pillow as soon as a program has both, whichever it imports first.

Pillow finds no plugins outside of its own package, and importing it here would cost `bbc --help` more than all the
rest. So where it is not imported yet, its import is awaited.
"""

from __future__ import annotations

import sys

from bbcompress.archive.signature import MAGIC, MIME, PILLOW_FORMAT, SUFFIX

TYPE_CHECKING = False  # that of `typing`, which is slow; this module is imported with the package
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import IO, Any

    from PIL.Image import Image
    from PIL.ImageFile import ImageFile


_PILLOW = "PIL.Image"


def register_with_pillow() -> None:
    """Now where Pillow is imported already, else when it is."""
    if _PILLOW in sys.modules:
        from PIL import Image  # waits where another thread is at it

        _register(Image)
    elif not any(isinstance(finder, _Awaited) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Awaited())


class _Awaited:
    """Finds Pillow as the other finders do, and registers when it has been executed; then it is gone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _PILLOW:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:  # ours is a Loader in all but name: their module is slow
                    spec.loader = _Registering(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None


class _Registering:
    """The loader of Pillow, in whose place it stands until it has executed it."""

    def __init__(self, loader: Loader, finder: _Awaited) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        """For who finds Pillow without importing it."""
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)


def _register(image: Any) -> None:
    """image: the module PIL.Image."""
    image.register_open(PILLOW_FORMAT, _open, _accepts)
    image.register_save(PILLOW_FORMAT, _save)
    image.register_save_all(PILLOW_FORMAT, _save_all)
    image.register_extension(PILLOW_FORMAT, SUFFIX)
    image.register_mime(PILLOW_FORMAT, MIME)


def _accepts(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _open(file: IO[bytes], name: str | bytes) -> ImageFile:
    from bbcompress.integrations.pillow_plugin import BBCImageFile

    return BBCImageFile(file, name)


def _save(image: Image, file: IO[bytes], name: str | bytes) -> None:
    from bbcompress.integrations.pillow_plugin import save

    save(image, file)


def _save_all(image: Image, file: IO[bytes], name: str | bytes) -> None:
    from bbcompress.integrations.pillow_plugin import save_all

    save_all(image, file)
