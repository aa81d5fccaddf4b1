#!/usr/bin/env python3
"""Draws what `make bench NAME=xrdma` has left in bench/out as SVG, in bench/out: python3 bench/plot.py (wants matplotlib).

The figures in docs/plots are copies of these.
"""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

# Text as text, and the same file from the same table.
plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bitcode", "font.family": "sans-serif"})

OUT = Path(__file__).resolve().parent / "out"

# Colours that differ in lightness, too, with a marker each; what is shipped stands out.
CHASES = {
    "get": ("one-sided gets by the origin", "#8c8c8c", "s"),
    "read": ("read requests by the origin", "#b8860b", "^"),
    "am": ("native handlers, predeployed", "#1f77b4", "o"),
    "shipped": ("shipped Julia", "#c0392b", "D"),
}
INCREMENTS = {"native": ("native handler, predeployed", "#1f77b4", "o"), "shipped": ("shipped Julia", "#c0392b", "D")}


def rows(name):
    with open(OUT / name, newline="") as table:
        return list(csv.DictReader(table))


def draw(axes, points, styles):
    for mode, (label, colour, marker) in styles.items():
        if points[mode]:
            xs, ys = zip(*sorted(points[mode]))
            axes.plot(xs, ys, label=label, color=colour, marker=marker, markersize=4, linewidth=1.6)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def save(figure, name):
    figure.savefig(OUT / name, metadata={"Date": None})


def chases():
    points = defaultdict(lambda: defaultdict(list))
    for row in rows("xrdma_chase.csv"):
        points[row["transport"], int(row["nodes"])][row["mode"]].append((int(row["depth"]), float(row["ns_per_step"]) / 1000))
    networks = list(dict.fromkeys(key[0] for key in points))
    counts = sorted({key[1] for key in points})
    figure, grid = plt.subplots(len(networks), len(counts), sharex=True, sharey="row", squeeze=False,
                                figsize=(3.4 * len(counts), 2.7 * len(networks) + 0.6), layout="constrained")
    for i, network in enumerate(networks):
        for j, count in enumerate(counts):
            axes = grid[i][j]
            draw(axes, points[network, count], CHASES)
            axes.set_title(f"{network.replace(' us', ' µs')}, {count} node{'s' if count > 1 else ''}", fontsize=10)
        grid[i][0].set_ylabel("µs a step")
    for axes in grid[-1]:
        axes.set_xlabel("steps of the chase")
    handles, labels = grid[0][-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    save(figure, "chase.svg")


def increments():
    points = defaultdict(lambda: defaultdict(list))
    for row in rows("xrdma_increment.csv"):
        nanoseconds = float(row["ns"])
        points[row["transport"], row["what"]][row["mode"]].append(
            (int(row["bytes"]), nanoseconds / 1000 if row["what"] == "one_way" else 1000 / nanoseconds))
    transports = list(dict.fromkeys(key[0] for key in points))
    figure, grid = plt.subplots(len(transports), 2, sharex=True, squeeze=False, figsize=(7.6, 2.7 * len(transports) + 0.6),
                                layout="constrained")
    for i, transport in enumerate(transports):
        for axes, what, label in zip(grid[i], ("one_way", "stream"), ("µs one way", "million calls a second")):
            draw(axes, points[transport, what], INCREMENTS)
            axes.set_ylabel(label)
            axes.set_title(transport, fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("bytes of payload")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    save(figure, "increment.svg")


if __name__ == "__main__":
    chases()
    increments()
