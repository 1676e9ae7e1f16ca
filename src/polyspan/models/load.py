"""Models by shipped name, folder or hub id: always an ordinary Hugging Face folder in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from safetensors import SafetensorError

from polyspan.errors import one_line
from polyspan.files import remove_leftovers, sha256, what_is_broken, write_aside, write_manifest
from polyspan.models.cache import cache_folder
from polyspan.models.embedded import find_data_file, read_embedded
from polyspan.models.errors import ModelError
from polyspan.models.packed import pack, unpack
from polyspan.models.unigram import build_tokenizer, wrap_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "embedded"
SHIPPED = ("polyspan-qa-en", "polyspan-small")
DEFAULT = "polyspan-small"
CALIBRATION_FILE = "calibration.json"
"""In a model folder: how its logits become probabilities that can be trusted."""
FOLDER_VERSION = 2
"""Raised when what is written into the cached folders changes."""
UNLIMITED = 2**20
COUNT_FROM_PADDING = {
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Kinds of models whose first position is the one after that of padding, so that they read fewer tokens."""
STALE = 3600.0
"""Seconds after which a folder that is not unpacked to its end is a leftover; unpacking takes minutes at most."""


@dataclass(frozen=True)
class LoadedModel:
    """A question-answering model and its tokeniser.

    Attributes:
        name: as it was asked for.
        fresh_head: the checkpoint had no question-answering head, so a new one was drawn.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fresh_head: bool


def load_model(
    name: str | Path, attn_implementation: str | None = None, dropout: float | None = None, seed: int = 1
) -> LoadedModel:
    """Load a question-answering model in fp32, in evaluation mode, on the CPU.

    Args:
        name: ``polyspan-qa-en``, ``polyspan-small``, ``embedded``, a folder, or a hub id.
        attn_implementation: of ``transformers``; its own choice when None.
        dropout: set all dropouts of the configuration to this.
        seed: of a new head, where the checkpoint has none.

    Raises:
        ModelError: not there, not readable, not in safetensors, or without a fast tokeniser.
    """
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering

    name = str(name)
    place = resolve_model(name)
    _refuse_pickle(name, place)
    _reach(name, place)
    options: dict[str, Any] = {"attn_implementation": attn_implementation} if attn_implementation else {}
    with _quiet():
        try:
            config = AutoConfig.from_pretrained(place, trust_remote_code=False)
            if config.num_labels != 2:  # of a classifier; a reader's are start and end
                config.num_labels = 2
            if dropout is not None:
                for field, value in config.to_dict().items():
                    if "dropout" in field and type(value) in (int, float):  # every kind has names of its own
                        setattr(config, field, dropout)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model, info = AutoModelForQuestionAnswering.from_pretrained(
                    place,
                    config=config,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=torch.float32,
                    output_loading_info=True,
                    **options,
                )
        except Exception as error:  # transformers raises a dozen kinds for an unreadable model
            reason = one_line(error)
            raise ModelError(f"{name}: cannot be loaded as a question-answering model ({reason})") from error
    tokenizer = load_tokenizer(name, place)
    # What lies outside of the encoder's body is the head, whatever its kind calls it.
    head = f"(?!{model.base_model_prefix}\\.)" if model.base_model is not model else r"qa_outputs\."  # mT5 has no body
    missing = {key: re.match(head, key) is not None for key in sorted(info["missing_keys"])}
    if unknown := [key for key, of_head in missing.items() if not of_head and "pooler" not in key]:
        raise ModelError(f"{name}: the checkpoint has no weights for {unknown[0]} and {len(unknown) - 1} more")
    return LoadedModel(model.eval(), tokenizer, name, fresh_head=any(missing.values()))


def load_tokenizer(name: str, place: str) -> PreTrainedTokenizerBase:
    """A model's tokeniser, which must give character offsets.

    Args:
        name: the model's, for messages.
        place: as `resolve_model` gives it.

    Raises:
        ModelError: it is not there, cannot be read, or is not a fast one.
    """
    from transformers import AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        except Exception as error:  # as many kinds as for a model
            reason = one_line(error)
            raise ModelError(f"{name}: its tokeniser cannot be loaded ({reason})") from error
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        raise ModelError(f"{name}: has no tokeniser; save it beside the weights, as tokenizer.json")
    if not tokenizer.is_fast:
        raise ModelError(f"{name}: its tokeniser gives no character offsets; save it with a tokenizer.json")
    return tokenizer


def longest_window(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens, special ones included, that a model reads at once; a huge number where none is told.

    A multiple of 8, as batches are padded to one.
    """
    positions = getattr(config, "max_position_embeddings", None) or UNLIMITED
    if config.model_type in COUNT_FROM_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    most = int(min(tokenizer.model_max_length, positions, UNLIMITED))
    return most - most % 8


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder, whole or not at all.

    Raises:
        ModelError: the disk is full or the place may not be written.
    """
    with _writing(folder), write_aside(folder) as aside:
        with _quiet():
            model.save_pretrained(aside)
        save_around_weights(model.config, tokenizer, aside)


def save_around_weights(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write what a model's folder holds besides weights, without the place it was loaded from."""
    with _quiet():
        config.save_pretrained(folder)
        _save_tokenizer(tokenizer, folder)
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings.pop("_name_or_path", None)
        (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_reader(name: str, attn_implementation: str | None = None) -> LoadedModel:
    """Load a model that can be asked, as `load_model` does.

    Raises:
        ModelError: it cannot be loaded, or has no question-answering head of its own.
    """
    loaded = load_model(name, attn_implementation)
    if loaded.fresh_head:
        raise ModelError(
            f"{name}: has no question-answering head, and one drawn at random says nothing; train it first"
        )
    return loaded


def local_path(name: str) -> Path:
    """Where a model of this name lies if it is a folder; ``~`` is the user's home."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's raises where there is no such user


def looks_local(name: str) -> bool:
    """Whether a name can only be a path: a hub id is a word, or two with a slash between."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def resolve_model(name: str) -> str:
    """The folder of a shipped name or of the embedded encoder; any other name as it is."""
    if name == EMBEDDED:
        return str(_embedded_folder())
    if name in SHIPPED and not Path(name).is_dir():
        return str(_shipped_folder(name))
    place = local_path(name)
    if looks_local(name) and not place.is_dir() and "/" in name:
        raise ModelError(f"{name}: no such folder")
    return str(place) if place.is_dir() else name


def model_folder(name: str) -> Path | None:
    """Where the files of a model that was loaded lie: its folder, or the hub's copy of it on this machine."""
    from huggingface_hub import try_to_load_from_cache

    place = resolve_model(name)
    if Path(place).is_dir():
        return Path(place)
    config = try_to_load_from_cache(place, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def pack_model(folder: Path, path: Path, about: dict[str, str]) -> None:
    """Pack a model trained from the embedded encoder, for shipping."""
    loaded = load_model(str(folder))
    with _writing(path), write_aside(path) as aside:
        pack(dict(loaded.model.state_dict()), _base_state(), aside, about)


def _embedded_folder() -> Path:
    source = find_data_file()
    folder = cache_folder() / f"embedded-v{FOLDER_VERSION}-{sha256(source)[:16]}"
    _unpack_once(folder, _base_state)
    return folder


def _shipped_folder(name: str) -> Path:
    packed = Path(str(resources.files("polyspan.models"))) / "shipped" / f"{name}.safetensors"
    if not packed.is_file():
        raise ModelError(f"{name}: {packed.name} is missing from this installation; reinstall polyspan")
    calibration = packed.with_name(f"{name}.{CALIBRATION_FILE}")
    sources = [packed, find_data_file()]
    folder = cache_folder() / f"{name}-v{FOLDER_VERSION}-{''.join(sha256(source)[:8] for source in sources)}"
    _unpack_once(folder, lambda: unpack(packed, _base_state()))
    _renew_calibration(folder / CALIBRATION_FILE, calibration)
    return folder


def _renew_calibration(path: Path, shipped: Path) -> None:
    """Make it the shipped one: it changes more often than weights, so neither folder name nor manifest has it."""
    if not shipped.is_file():
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != shipped.read_bytes():
        with _writing(path), write_aside(path) as aside:
            shutil.copyfile(shipped, aside)


def _unpack_once(folder: Path, state: Callable[[], dict[str, Tensor]]) -> None:
    """Write the folder if it is not there whole; of several processes the first does, and the others wait for it."""
    remove_leftovers(folder, older_than=STALE)
    if what_is_broken(folder, digests=False) is None:
        return
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{folder.name}.lock"):
            if what_is_broken(folder, digests=False) is not None:
                _write_folder(folder, state())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say where something could not be written, and why."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{error.filename or path}: cannot be written ({error.strerror or error})") from error
    except SafetensorError as error:  # that is how the library tells of a full disk
        raise ModelError(f"{path}: cannot be written ({error})") from error


def _base_state() -> dict[str, Tensor]:
    import torch

    embedded = read_embedded(find_data_file())
    return {f"bert.{name}": torch.from_numpy(value.copy()) for name, value in embedded.weights.items()}


def _write_folder(folder: Path, state: dict[str, Tensor]) -> None:
    """An ordinary folder with a manifest of sizes, which is written last."""
    from transformers import BertConfig, BertForQuestionAnswering, BertModel

    embedded = read_embedded(find_data_file())
    with _quiet():
        config = BertConfig(**embedded.config)
        with write_aside(folder) as aside:
            if any(name.startswith("qa_outputs") for name in state):
                model: Any = BertForQuestionAnswering(config)
                model.load_state_dict(state)
            else:
                model = BertModel(config, add_pooling_layer=False)
                model.load_state_dict({name.removeprefix("bert."): value for name, value in state.items()})
            model.save_pretrained(aside)
            tokenizer = build_tokenizer(embedded.vocabulary)
            _save_tokenizer(wrap_tokenizer(tokenizer, config.max_position_embeddings), aside)
            write_manifest(aside)


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Under the class name that transformers 4 knows too; version 5 reads it as well."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _refuse_pickle(name: str, place: str) -> None:
    folder = Path(place)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        if (folder / "model" / "config.json").is_file():
            raise ModelError(f"{name}: is the folder of a run; its model is {Path(name) / 'model'}")
        raise ModelError(f"{name}: not a model folder, it has no config.json")
    if not any(folder.glob("*.safetensors")):
        pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)]
        if pickles:
            raise ModelError(
                f"{name}: holds a pickle ({pickles[0]}), which can run code when it is read;"
                " save the model with safetensors"
            )
        if any(folder.glob("*.onnx")):
            raise ModelError(
                f"{name}: is an ONNX export, which ask, predict, evaluate, serve and Answerer read with the backend"
                " onnx or openvino; name its model here"
            )
        raise ModelError(f"{name}: holds no weights (*.safetensors)")


def _reach(name: str, place: str) -> None:
    """One attempt for a hub id, so that a missing connection is not waited for file by file.

    It also fetches the model's calibration, if there is one.
    """
    if Path(place).is_dir():
        return
    if place.startswith("polyspan-") and "/" not in place:
        raise ModelError(f"{name}: no shipped model and no folder of this name; {', '.join(SHIPPED)} ship")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        hf_hub_download(place, "config.json")
        with suppress(EntryNotFoundError):
            hf_hub_download(place, CALIBRATION_FILE)  # which transformers does not fetch
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{name}: neither a folder, nor one of {', '.join((*SHIPPED, EMBEDDED))}, nor a hub model"
            f" that can be reached ({reason})"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and chatter of the libraries below."""
    import transformers

    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
