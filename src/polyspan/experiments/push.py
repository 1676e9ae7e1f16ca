"""A finished model to the Hugging Face hub, with its card."""

from __future__ import annotations

from pathlib import Path

from polyspan.errors import PolyspanError, one_line
from polyspan.experiments.leakage import AVERAGE_FILE
from polyspan.experiments.model_card import CARD, write_model_card
from polyspan.experiments.recipe import MODEL_FOLDER, RECIPE_FILE

MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", CARD]


class PushError(PolyspanError):
    """A model that cannot be sent; says why and what to do."""


def push_model(folder: Path, repo_id: str, public: bool = False, message: str | None = None) -> str:
    """Send a model folder, or the model of a run folder, to the hub; the repository is made if need be.

    Who sends it is known from ``HF_TOKEN`` or ``hf auth login``; another hub is named by ``HF_ENDPOINT``.

    Args:
        folder: holds ``config.json``, weights in safetensors and the card.
        repo_id: ``OWNER/NAME``.
        public: whether a repository that is made now can be seen by all; one that is there already
            stays as it is.
        message: of the commit.

    Returns:
        The address of the repository.

    Raises:
        PushError: no model or no card is there, the hub does not accept it, or it cannot be reached.
    """
    from huggingface_hub import HfApi, ModelCard

    is_run = (folder / RECIPE_FILE).is_file()
    model = folder / MODEL_FOLDER if is_run else folder
    if not (model / "config.json").is_file() or not any(model.glob("*.safetensors")):
        raise PushError(f"{folder}: holds no model (config.json and *.safetensors)")
    if not (model / CARD).is_file():
        if not is_run:
            raise PushError(f"{model}: has no {CARD}, which is the model's card; name its run folder, or write one")
        write_model_card(folder)
    try:
        card = ModelCard.load(model / CARD)
    except ValueError as error:
        raise PushError(f"{model / CARD}: its metadata cannot be read ({one_line(error, 300)})") from error
    api = HfApi()
    try:
        card.validate()
        made = api.create_repo(repo_id, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=model,
            allow_patterns=MODEL_FILES,
            ignore_patterns=AVERAGE_FILE,  # it names folders of this machine
            commit_message=message or f"{folder.resolve().name}, sent by polyspan push",
        )
    except Exception as error:  # a dozen kinds, and of another HTTP library in every second version
        raise PushError(f"{repo_id}: not sent to {api.endpoint} ({one_line(error, 300)})") from error
    return str(made)
