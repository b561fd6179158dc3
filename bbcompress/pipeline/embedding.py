"""Which models a file that is written carries."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from bbcompress.archive.embedded import EmbeddedModel
from bbcompress.codecs.ways import Coded
from bbcompress.errors import BBCError, FormatError, LargeModelError, ModelError
from bbcompress.models.zoo import CarriedModel, ModelEntry, Zoo

USUAL_SHARE = 20
"""Without a word a file carries models as long as they take less than one of so many parts of it."""


@dataclass(frozen=True)
class LeftOut:
    """A model without which a file cannot be read, that does not come with bbc and that the file does not carry.

    size: bytes that it would take in the file; None where it is too large for any file.
    """

    name: str
    size: int | None

    def note(self) -> str:
        """What the user should know."""
        if self.size is None:
            return f"the model {self.name} is too large to be in the file: those who read it need it as well"
        return (
            f"the model {self.name} is not in the file, to which it would add {self.size} bytes: those who read it "
            "need it as well (--embed-model puts it in)"
        )


class Embedding:
    """The models that code a file, of which it is to carry some."""

    def __init__(self, zoo: Zoo, asked: bool | None, there: Container[bytes] = ()) -> None:
        """asked: whether the file is to carry all of them or none; None for those that do not come with bbc and are
        small beside the file. there: ids of those that it carries already."""
        self._zoo, self._asked, self._there = zoo, asked, there
        self._used: dict[bytes, ModelEntry] = {}

    def use(self, coded: Coded) -> None:
        """Take down by which models a group, or the parts of its images, are coded."""
        for part in coded.parts:
            for its in part:
                self.use(its)
        if not coded.group.header.by_model:
            return
        named = self._zoo.named(coded.group.header.model)
        entry = next((entry for entry in named if entry.name == coded.coder), named[0])
        self._used[entry.id] = entry

    def choose(self, size: int) -> tuple[list[EmbeddedModel], list[LeftOut]]:
        """The models that the file carries, and those that it lacks.

        Args:
            size: bytes of the file without them.

        Raises:
            BBCError: a model that the file is to carry is too large. ModelError: it is damaged.
        """
        if self._asked is False:
            return [], []
        chosen: list[EmbeddedModel] = []
        left_out: list[LeftOut] = []
        total = 0
        for identity, entry in sorted(self._used.items()):
            if identity in self._there or (self._asked is None and self._zoo.is_shipped(identity)):
                continue
            try:
                model = _embedded(entry)
            except LargeModelError as error:
                if self._asked:
                    raise BBCError(f"no file can carry the model {entry.name}: {error}") from None
                left_out.append(LeftOut(entry.name, None))
                continue
            its_size = len(model.encode())
            if self._asked or USUAL_SHARE * (total + its_size) < size + total + its_size:
                chosen.append(model)
                total += its_size
            else:
                left_out.append(LeftOut(entry.name, its_size))
        return chosen, left_out


def _embedded(entry: ModelEntry) -> EmbeddedModel:
    """The model as a file carries it, which a reader was able to read.

    Raises:
        LargeModelError: it is too large for a file, or takes too much memory. ModelError: it was changed meanwhile.
    """
    try:
        model = EmbeddedModel.of(entry.id, *reversed(entry.files()))
    except FormatError as error:
        raise LargeModelError(str(error)) from None
    try:
        _ = CarriedModel(entry.id, lambda: (model.weights, model.card)).weights
    except LargeModelError:
        raise
    except ModelError:
        raise ModelError(f"the model {entry.name} was changed while it was used") from None
    return model
