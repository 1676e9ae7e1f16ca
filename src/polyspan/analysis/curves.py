"""The coefficient over a training, as in the paper's figures 4 and 7."""

from __future__ import annotations

import json
from pathlib import Path


def draw_coefficient(metrics: Path, path: Path, title: str) -> None:
    """Draw each step's coefficient, a running mean, and a line where each epoch ends.

    Args:
        metrics: a run's ``metrics.jsonl``.
        path: where to, ``.svg`` or ``.png``.
        title: stands above.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [row["step"] for row in rows]
    values = [row["coefficient"] for row in rows]
    width = max(1, len(rows) // 20)
    mean = [
        sum(values[max(0, at - width + 1) : at + 1]) / min(width, at + 1) for at in range(len(values))
    ]
    ends = [row["step"] for row in rows if float(row["epoch"]).is_integer()][:-1]
    with matplotlib.rc_context({"svg.hashsalt": "polyspan", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(steps, values, linewidth=0.7, alpha=0.45, color="tab:blue", label="each step")
        axes.plot(steps, mean, linewidth=2, color="tab:blue", label=f"mean of {width} steps")
        for end in ends:
            axes.axvline(end, color="grey", linestyle="--", linewidth=1)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("step (dashed: the teacher is renewed)")
        axes.set_ylabel("mAP@k coefficient")
        axes.set_title(title, fontsize=10)
        axes.legend(frameon=False, loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
