"""What runs a reader: PyTorch, ``onnxruntime`` or OpenVINO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from polyspan.answering.asked import AskedError

if TYPE_CHECKING:
    from polyspan.models.load import LoadedModel

Backend = Literal["torch", "onnx", "openvino"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def check_backend(backend: str | None) -> Backend | None:
    """The backend of this name, or None.

    Raises:
        AskedError: there is none of this name.
    """
    if backend is None:
        return None
    for known in BACKENDS:
        if backend == known:
            return known
    raise AskedError(f"backend must be {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}, not {backend!r}")


def choose_backend(name: str, backend: str | None = None) -> Backend:
    """The backend of this name; by default what a model's folder is made for: "onnx" for exports, "torch" for all else.

    Raises:
        AskedError: there is none of this name.
    """
    from polyspan.answering.onnx_model import is_export

    return check_backend(backend) or ("onnx" if is_export(name) else "torch")


def load_reader_for(name: str, backend: Backend) -> LoadedModel:
    """Load a reader for what is to run it.

    Args:
        name: shipped name, folder or hub id, or a folder that ``polyspan export`` wrote.
        backend: of `choose_backend`.

    Raises:
        ModelError: the model cannot be loaded.
        OnnxError: no export is there, or it cannot be opened.
        OpenvinoError: OpenVINO is not installed, or cannot convert the model.
    """
    from polyspan.answering.onnx_model import load_onnx
    from polyspan.models.load import load_reader

    if backend == "openvino":
        from polyspan.answering.openvino_model import load_openvino

        return load_openvino(name)
    return load_onnx(name) if backend == "onnx" else load_reader(name)


def move_to_accelerator(loaded: LoadedModel) -> None:
    """Put a model that PyTorch runs on the GPU or its like, where there is one."""
    import torch

    if (device := torch.accelerator.current_accelerator(check_available=True)) is not None:
        loaded.model.to(device)  # type: ignore[arg-type]
