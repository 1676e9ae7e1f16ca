"""Figures: the same bytes every time, the texts and colours that belong in them, clear refusals."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from polyspan.analysis import FigureError, draw_coefficients, draw_loss, draw_matrix
from polyspan.analysis.curves import running_mean
from polyspan.analysis.figure import INK
from polyspan.analysis.heatmap import text_colour
from polyspan.evaluation import ScoreMatrix
from polyspan.evaluation.matrix import Cell

SVG = "{http://www.w3.org/2000/svg}"
NINE = ["ar", "de", "en", "es", "eu", "hi", "sw", "vi", "zh"]
MATRIX = ScoreMatrix(
    {("de", "de"): Cell(2, 0.0, 0.125), ("de", "en"): Cell(1, 0.254, 0.2), ("en", "en"): Cell(3, 1.0, 0.3)}
)
GAIN = ScoreMatrix({("de", "de"): Cell(2, -0.08, 0), ("de", "en"): Cell(1, 0.02, 0), ("en", "en"): Cell(3, 0.0, 0)})
STEPS = 30
HISTORY = [
    {"step": step, "epoch": step / 10, "loss": 3 - step / 20, "ce": 2 - step / 30, "kl": 1.5, "coefficient": step / 60}
    for step in range(1, STEPS + 1)
]

DRAW: dict[str, Callable[[Path], None]] = {
    "matrix": lambda path: draw_matrix(MATRIX, path, "f1", "Scores"),
    "difference": lambda path: draw_matrix(GAIN, path, "f1", "Gain", signed=True),
    "coefficients": lambda path: draw_coefficients(HISTORY, path, "Coefficient"),
    "loss": lambda path: draw_loss(HISTORY, path, "Loss"),
}
SIZES = {"matrix": (3.54, 2.7), "difference": (3.54, 2.7), "coefficients": (7.0, 3.4), "loss": (7.0, 3.4)}
EMPTY: dict[str, Callable[[Path], None]] = {
    "matrix": lambda path: draw_matrix(ScoreMatrix({}), path, "em", "Scores"),
    "coefficients": lambda path: draw_coefficients([], path, "Coefficient"),
    "loss": lambda path: draw_loss([], path, "Loss"),
}


def texts(path: Path) -> list[str]:
    return ["".join(text.itertext()).strip() for text in ElementTree.parse(path).iter(f"{SVG}text")]


def patches(path: Path) -> list[str]:
    """Styles of the cells and outlines, in the order drawn."""
    groups = [g for g in ElementTree.parse(path).iter(f"{SVG}g") if g.get("id", "").startswith("patch_")]
    return [shape.get("style", "") for group in groups for shape in group.iter(f"{SVG}path")]


@pytest.mark.parametrize("name", DRAW)
def test_svg_is_the_same_bytes_every_time(name: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.svg", tmp_path / "new" / "other.SVG"
    DRAW[name](one)
    with matplotlib.rc_context({"font.size": 31.0, "svg.fonttype": "path", "axes.facecolor": "red"}):
        DRAW[name](other)
        assert matplotlib.rcParams["font.size"] == 31.0
    assert one.read_bytes() == other.read_bytes()
    assert ElementTree.parse(one).getroot().tag == f"{SVG}svg"
    assert b"dc:date" not in one.read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "one.svg", "other.SVG"]


@pytest.mark.parametrize("name", DRAW)
def test_png_is_the_same_bytes_every_time(name: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    DRAW[name](one)
    DRAW[name](other)
    data = one.read_bytes()
    assert data == other.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == tuple(int(200 * inches) for inches in SIZES[name])
    assert b"Software" not in data


TITLES = (
    "skd-first_hit (context-teacher), mlqa/dev, first 20 of each pair, minus zero-shot",
    "a-run-folder_of_which_the_name_is_longer_than_the_figure_is_wide_and_has_no_space",
    "short",
)


@pytest.mark.parametrize("title", TITLES)
def test_a_title_is_as_wide_as_its_figure_at_most(title: str, tmp_path: Path) -> None:
    two = ScoreMatrix({(q, c): Cell(1, 0.5, 0.5) for q in ("de", "en") for c in ("de", "en")})
    draw_matrix(two, tmp_path / "matrix.svg", "f1", title)
    root = ElementTree.parse(tmp_path / "matrix.svg").getroot()
    width = float(root.get("width", "").removesuffix("pt"))
    bold = FontProperties(weight="bold", size=12)  # type: ignore[arg-type]
    lines = ["".join(t.itertext()) for t in root.iter(f"{SVG}text") if "700; font-size: 12px" in t.get("style", "")]
    assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert all(TextPath((0, 0), line, prop=bold).get_extents().width < width for line in lines)
    assert (len(lines) == 1) == (title == "short")


def test_a_training_that_diverged_has_a_figure(tmp_path: Path) -> None:
    for broken in (float("nan"), float("inf")):
        history = [row | {"loss": broken, "ce": broken} if row["step"] > 2 else row for row in HISTORY]
        draw_loss(history, tmp_path / "loss.svg", "Loss")
        assert "total" in texts(tmp_path / "loss.svg")
    draw_loss([row | {"loss": float("nan"), "ce": float("nan"), "kl": 0} for row in HISTORY], tmp_path / "all.svg", "L")


def test_loss_leaves_out_what_nobody_could_see(tmp_path: Path) -> None:
    draw_loss([row | {"ce": row["loss"], "kl": 0.0} for row in HISTORY], tmp_path / "loss.svg", "Loss")
    found = texts(tmp_path / "loss.svg")
    assert "cross-entropy" in found
    assert not {"total", "distillation (KL)"} & set(found)


def test_other_values_are_other_bytes(tmp_path: Path) -> None:
    written = set()
    for value, suffix in ((0.5, "svg"), (0.6, "svg"), (0.5, "png"), (0.6, "png")):
        path = tmp_path / f"{value}.{suffix}"
        draw_matrix(ScoreMatrix({("en", "en"): Cell(1, value, 0)}), path, "f1", "Scores")
        written.add(path.read_bytes())
    for height in (0.5, 0.6):
        draw_coefficients([HISTORY[0] | {"coefficient": height}, HISTORY[1]], tmp_path / "curve.svg", "Scores")
        written.add((tmp_path / "curve.svg").read_bytes())
    assert len(written) == 6


SCRIPT = """
import sys
from pathlib import Path
from polyspan.analysis import draw_matrix
from polyspan.evaluation import ScoreMatrix
from polyspan.evaluation.matrix import Cell
names = sys.argv[2:]
draw_matrix(ScoreMatrix({(q, c): Cell(1, 0.5, 0.5) for q in names for c in names}), Path(sys.argv[1]), "f1", "Scores")
"""


def test_bytes_do_not_depend_on_the_hashes_of_strings(tmp_path: Path) -> None:
    written = set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.svg"
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, str(path), *NINE], check=True, env=environment, timeout=120)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_matrix_shows_scores_means_and_names(tmp_path: Path) -> None:
    path = tmp_path / "matrix.svg"
    draw_matrix(MATRIX, path, "f1", "Scores of a reader")
    found = texts(path)
    # Cells row by row, then means of questions, of contexts, of all.
    cells = ["0.0", "25.4", "100.0", "12.7", "100.0", "0.0", "62.7", "41.8"]
    assert [text for text in found if "." in text] == cells
    assert found.count("de") == found.count("en") == found.count("mean") == 2
    expected = {"Scores of a reader", "language of the context", "language of the question", "F1 (%)", "0", "100"}
    assert expected <= set(found)
    draw_matrix(MATRIX, path, "em", "Scores")
    assert {"EM (%)", "12.5", "20.0", "30.0"} <= set(texts(path))


def test_dollar_signs_of_a_name_are_no_formula(tmp_path: Path) -> None:
    draw_matrix(MATRIX, tmp_path / "a.svg", "f1", "cost $_$, $x$")
    assert "cost $_$, $x$" in texts(tmp_path / "a.svg")


def test_difference_shows_signs(tmp_path: Path) -> None:
    path = tmp_path / "gain.svg"
    draw_matrix(GAIN, path, "f1", "Gain", signed=True)
    found = texts(path)
    cells = [text for text in found if "." in text and text != "−2.5" and text != "2.5"]
    assert cells[:3] == ["-8.0", "+2.0", "0.0"]
    assert "F1 difference" in found
    assert "F1 (%)" not in found


def test_missing_pairs_are_hatched_and_the_diagonal_is_outlined(tmp_path: Path) -> None:
    for matrix, hatched, outlined in (
        (MATRIX, 1, 2),
        (ScoreMatrix({(q, c): Cell(1, 0.5, 0.5) for q in NINE for c in NINE[1:]}), 0, 8),
    ):
        draw_matrix(matrix, tmp_path / "matrix.svg", "f1", "Scores")
        styles = patches(tmp_path / "matrix.svg")
        assert sum("url(#" in style for style in styles) == hatched
        assert sum(f"stroke: {INK}" in style and "stroke-width: 1.8" in style for style in styles) == outlined


def test_scores_have_the_same_colour_in_every_figure(tmp_path: Path) -> None:
    viridis = matplotlib.colormaps["viridis"]
    for other in (0.0, 0.9):
        matrix = ScoreMatrix({("en", "en"): Cell(1, 0.5, 0), ("de", "en"): Cell(1, other, 0)})
        draw_matrix(matrix, tmp_path / "matrix.svg", "f1", "Scores")
        fills = " ".join(patches(tmp_path / "matrix.svg"))
        assert to_hex(viridis(0.5)) in fills
        assert to_hex(viridis(other)) in fills


@pytest.mark.parametrize(("largest", "at_full_colour"), [(0.08, True), (-0.01, True), (0.002, False), (0.0, False)])
def test_differences_are_coloured_around_zero(largest: float, at_full_colour: bool, tmp_path: Path) -> None:
    matrix = ScoreMatrix({("en", "en"): Cell(1, largest, 0), ("de", "en"): Cell(1, 0.0, 0)})
    draw_matrix(matrix, tmp_path / "gain.svg", "f1", "Gain", signed=True)
    fills = " ".join(patches(tmp_path / "gain.svg"))
    colours = matplotlib.colormaps["RdBu"]
    assert to_hex(colours(0.5)) in fills
    assert (to_hex(colours(1.0 if largest > 0 else 0.0)) in fills) == at_full_colour


def test_numbers_are_white_on_dark_cells(tmp_path: Path) -> None:
    draw_matrix(MATRIX, tmp_path / "matrix.svg", "f1", "Scores")
    styles = {
        "".join(text.itertext()).strip(): text.get("style", "")
        for text in ElementTree.parse(tmp_path / "matrix.svg").iter(f"{SVG}text")
    }
    assert "#ffffff" in styles["0.0"]
    assert "#ffffff" in styles["25.4"]
    assert "#ffffff" not in styles["100.0"]


def test_coefficients_show_title_axes_and_epochs(tmp_path: Path) -> None:
    draw_coefficients(HISTORY, tmp_path / "curve.svg", "How far the teacher is trusted")
    found = texts(tmp_path / "curve.svg")
    assert {"How far the teacher is trusted", "step", "coefficient"} <= set(found)
    assert [text for text in found if text.startswith("epoch")] == ["epoch 1", "epoch 2", "epoch 3"]


def test_coefficients_above_one_are_not_cut(tmp_path: Path) -> None:
    for height, expected in ((0.5, "1.0"), (1.9, "1.75")):
        draw_coefficients([row | {"coefficient": height} for row in HISTORY], tmp_path / "curve.svg", "Coefficient")
        assert (
            max(text for text in texts(tmp_path / "curve.svg") if text.replace(".", "").isdigit() and "." in text)
            == expected
        )


def test_loss_shows_its_terms(tmp_path: Path) -> None:
    draw_loss(HISTORY, tmp_path / "loss.svg", "Loss over training")
    found = texts(tmp_path / "loss.svg")
    assert {"Loss over training", "step", "loss", "total", "cross-entropy", "distillation (KL)"} <= set(found)
    assert "epoch 3" in found


@pytest.mark.parametrize(
    ("steps", "steps_of_epoch", "labels"),
    [
        (1, 4, []),
        (4, 4, [1]),
        (7, 4, [1]),
        (1, 1, [1]),
        (3, 1, [1, 2, 3]),
        (12, 1, list(range(1, 13))),
        (26, 2, [2, 4, 6, 8, 10, 12]),
        (60, 2, [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]),
    ],
)
def test_epochs_are_labelled_at_their_ends(steps: int, steps_of_epoch: int, labels: list[int], tmp_path: Path) -> None:
    history = [{"step": s, "epoch": s / steps_of_epoch, "coefficient": 0.5} for s in range(1, steps + 1)]
    draw_coefficients(history, tmp_path / "curve.svg", "Coefficient")
    found = [text for text in texts(tmp_path / "curve.svg") if text.startswith("epoch")]
    assert found == [f"epoch {label}" for label in labels]


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("file", ["figure.eps", "figure.jpg", "figure", "svg"])
def test_other_suffixes_are_refused(name: str, file: str, tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=rf"{file}: figures are written as \.png or \.svg or \.pdf"):
        DRAW[name](tmp_path / file)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", EMPTY)
def test_empty_input_is_refused_and_the_old_file_kept(name: str, tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(FigureError, match=r"figure\.svg: (there is no score|nothing was recorded) to draw"):
        EMPTY[name](path)
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("draw", "key"),
    [
        *((draw_coefficients, key) for key in ("step", "epoch", "coefficient")),
        *((draw_loss, key) for key in ("step", "epoch", "loss", "ce", "kl")),
    ],
)
def test_missing_keys_are_named(draw: Callable[..., None], key: str, tmp_path: Path) -> None:
    broken = {name: value for name, value in HISTORY[1].items() if name != key}
    with pytest.raises(FigureError, match=rf"figure\.png: row 2 of the history has no '{key}'"):
        draw([HISTORY[0], broken, HISTORY[2]], tmp_path / "figure.png", "Broken")
    assert not list(tmp_path.iterdir())


def luminance(colour: tuple[float, float, float]) -> float:
    parts = [((part + 0.055) / 1.055) ** 2.4 if part > 0.04045 else part / 12.92 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


part = st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(colour=st.tuples(part, part, part))
def test_text_has_the_better_contrast_and_enough_of_it(colour: tuple[float, float, float]) -> None:
    below = luminance(colour)
    contrast = {"white": 1.05 / (below + 0.05), "black": (below + 0.05) / 0.05}
    assert contrast[text_colour(*colour)] >= max(contrast.values()) - 1e-9
    assert contrast[text_colour(*colour)] >= 4.5


@pytest.mark.parametrize(
    ("colour", "text"),
    [((0, 0, 0), "white"), ((1, 1, 1), "black"), ((0, 0, 1), "white"), ((0, 1, 0), "black"), ((1, 0, 0), "black")],
)
def test_text_colours_by_hand(colour: tuple[float, float, float], text: str) -> None:
    assert text_colour(*colour) == text


@settings(max_examples=150, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=30), window=st.integers(1, 40))
def test_running_mean_equals_plain_python(values: list[float], window: int) -> None:
    window_used = min(window, len(values))
    expected = []
    for index in range(len(values)):
        begin = index - window_used // 2
        inside = values[max(0, begin) : begin + window_used]
        expected.append(sum(inside) / len(inside))
    assert running_mean(np.array(values), window).tolist() == pytest.approx(expected, abs=1e-9)


def test_running_mean_by_hand() -> None:
    values = np.array([1.0, 2.0, 6.0, 3.0])
    assert running_mean(values, 1).tolist() == [1, 2, 6, 3]
    assert running_mean(values, 3).tolist() == pytest.approx([1.5, 3, 11 / 3, 4.5])
