"""Where the public data sets lie, under which licence, and how their files are known to be whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RemoteFile:
    """One file at its publisher.

    Attributes:
        name: of the file in the data set's folder.
        url: where the publisher keeps it.
        size: in bytes; None where it is not known beforehand.
        sha256: of its content; None where the publisher states none, then the first download's
            digest is kept and later ones are held against it.
        unpack: for a zip file, what its members' names begin with; they go into the folder without
            that prefix.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    unpack: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A published data set; ``hub_id`` is its name on the Hugging Face hub."""

    name: str
    title: str
    licence: str
    homepage: str
    languages: tuple[str, ...]
    questions: str
    hub_id: str
    files: tuple[RemoteFile, ...]

    @property
    def folder(self) -> str:
        """Where its files go, below the folder of all data."""
        return self.name

    def to_dict(self) -> dict[str, Any]:
        """What a person asks about it, ready for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "licence": self.licence,
            "homepage": self.homepage,
            "languages": list(self.languages),
            "questions": self.questions,
            "files": [file.url for file in self.files],
        }


_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
_XQUAD = "https://raw.githubusercontent.com/google-deepmind/xquad/master"
_TYDIQA = "https://storage.googleapis.com/tydiqa/v1.1"
_XQUAD_FILES = {
    "ar": (
        1_582_988,
        "abdabd7afed5c635d99cca0f3f0d0c9d9ed0bc77451e963c2e4e0638c29e486d",
    ),
    "de": (
        669_810,
        "990b5d746746ed65ed4702ea5f35f99ffa4e2f1c390c07d003642acd937916f9",
    ),
    "el": (
        1_918_889,
        "821cf0f88e73fa258fd2f548b19b6ec39f7025059e16f6f9fc8cd797c9c3663e",
    ),
    "en": (
        609_383,
        "e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29",
    ),
    "es": (
        684_322,
        "dcbae93ec3a9f4b9e78fd834a171d6f96c1a875e10e15b7530b7e4ef4971e37e",
    ),
    "hi": (
        1_680_538,
        "df2cce3532b37e9beb8979704b5c9a4bf874358f105395a298b89427b43b9d24",
    ),
    "ro": (
        661_158,
        "94f8d54e93ad2b7dd2e76dd921a666b5b8eff2d4379df9f179c42b445f09643f",
    ),
    "ru": (
        1_896_368,
        "208d5b1aa154c52b1b5c5eda16281e455e8fd198cdb9af3f469f0d6037d973bf",
    ),
    "th": (
        1_809_143,
        "5cdda11d0e1e075f7872abf4e6ae830388ce7f617964d542308e9ae4257e0f43",
    ),
    "tr": (
        729_506,
        "92179a564774b7696100d144c1e10870d0a966b6fccbdd254a65b9d2ab1971cc",
    ),
    "vi": (
        911_401,
        "f619a1eb11fb42d3ab0834259e488a65f585447ef6154437bfb7199d85161a04",
    ),
    "zh": (
        808_652,
        "691d0b3359bc6b8faa8de931dfdfe21d50a65861ae348e32a0d1a0190b0c8835",
    ),
}

DATA_SETS: dict[str, DataSet] = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            name="squad",
            title="SQuAD 1.1",
            licence="CC BY-SA 4.0",
            homepage="https://rajpurkar.github.io/SQuAD-explorer/",
            languages=("en",),
            questions="87,599 train, 10,570 dev",
            hub_id="rajpurkar/squad",
            files=(
                RemoteFile(
                    "train-v1.1.json",
                    f"{_SQUAD}/train-v1.1.json",
                    30_288_272,
                    "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
                ),
                RemoteFile(
                    "dev-v1.1.json",
                    f"{_SQUAD}/dev-v1.1.json",
                    4_854_279,
                    "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
                ),
            ),
        ),
        DataSet(
            name="xquad",
            title="XQuAD",
            licence="CC BY-SA 4.0",
            homepage="https://github.com/google-deepmind/xquad",
            languages=tuple(_XQUAD_FILES),
            questions="1,190 in each language, parallel",
            hub_id="google/xquad",
            files=tuple(
                RemoteFile(f"xquad.{language}.json", f"{_XQUAD}/xquad.{language}.json", size, sha256)
                for language, (size, sha256) in _XQUAD_FILES.items()
            ),
        ),
        DataSet(
            name="mlqa",
            title="MLQA",
            licence="CC BY-SA 3.0",
            homepage="https://github.com/facebookresearch/MLQA",
            languages=("ar", "de", "en", "es", "hi", "vi", "zh"),
            questions="dev and test, up to 11,590 in a language",
            hub_id="facebook/mlqa",
            files=(RemoteFile("MLQA_V1.zip", "https://dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip", unpack="MLQA_V1/"),),
        ),
        DataSet(
            name="tydiqa-goldp",
            title="TyDiQA-GoldP 1.1",
            licence="Apache 2.0",
            homepage="https://github.com/google-research-datasets/tydiqa",
            languages=("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te"),
            questions="49,881 train, 5,077 dev",
            hub_id="google-research-datasets/tydiqa",
            files=tuple(
                RemoteFile(f"tydiqa-goldp-v1.1-{part}.json", f"{_TYDIQA}/tydiqa-goldp-v1.1-{part}.json")
                for part in ("train", "dev")
            ),
        ),
    )
}
"""Data sets by name, in the order in which they are listed."""
