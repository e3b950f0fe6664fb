"""Networks and tables to draw, and what a picture holds: for the tests of pictures."""

import numpy as np
import pandas as pd

from analysis import Weights

TRAIN, TEST = "#9730c9", "#4cb769"
INPUT_A, INPUT_B = "#2979ff", "#ff6d00"
P = 23


def run_curves(run_id="a", steps=(0, 100, 200, 300), loss=0.5):
    count = len(steps)
    return pd.DataFrame(
        {
            "run_id": run_id,
            "step": np.array(steps, np.int32),
            "train_loss": loss * 10.0 ** -np.arange(count),
            "eval_loss": loss * 2.0 ** -np.arange(count),
            "train_accuracy": np.linspace(0.5, 1, count),
            "eval_accuracy": np.linspace(0.4, 0.9, count),
        }
    )


def wave_neurons(*neurons, size=1.0):
    """w_in (P, H), w_out (H, P) of (frequency, phase); frequency 0 is a constant."""
    x = np.arange(P)
    w_in = [np.cos(2 * np.pi * f * x / P - phase) for f, phase in neurons]
    w_out = [np.cos(2 * np.pi * f * x / P - 2 * phase) for f, phase in neurons]
    return size * np.array(w_in).T, size * np.array(w_out)


def evenly(frequency, count):
    return [(frequency, 2 * np.pi * i / count - np.pi + 0.1) for i in range(count)]


def parity_weights(snapshots=11, digits=5, hidden=4, bits=2):
    """Weights whose distractors shrink to nothing, and whose neurons are larger the higher their index."""
    shrink = np.linspace(1, 0, snapshots)[:, None, None]
    w = np.random.default_rng(0).normal(size=(1, digits + 1, hidden)).repeat(snapshots, axis=0)
    w[:, bits:digits] *= shrink
    w = w / np.linalg.norm(w, axis=1, keepdims=True) * np.arange(1, hidden + 1)
    return Weights(1000 * np.arange(snapshots), {"w_in": w.astype(np.float32), "w_out": w[:, 0]})


def noisy_waves(snapshots=4):
    """From noise to four neurons of frequency 5 and two of frequency 3."""
    w_in, w_out = wave_neurons(*evenly(5, 4), *evenly(3, 2))
    share = np.linspace(0, 1, snapshots)[:, None, None]
    noise = np.random.default_rng(1).normal(size=w_in.shape)
    arrays = {"w_in": (1 - share) * noise + share * w_in, "w_out": np.stack([w_out] * snapshots)}
    return Weights(500 * np.arange(snapshots), arrays)


def texts(artists):
    return [text.get_text() for text in artists]


def heads(figure):
    return [plot.get_title("left") for plot in figure.axes]


def collection(plot, label):
    (found,) = (c for c in plot.collections if c.get_label() == label)
    return found


def title(figure):
    return figure.legends[0].get_title().get_text()


def key(figure):
    return texts(figure.legends[0].get_texts())


def assert_inside(figure):
    """All that is drawn is within the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def circuits_table():
    table = pd.DataFrame(
        {
            "frequencies": ["4 5", "5 9 11", "", "5", None],
            "n_frequencies": [2, 3, 0, 1, None],
            "generalize_step": [100, 200, None, None, 300],
            "modulus": P,
        }
    )
    return table.astype({"n_frequencies": "Int64", "generalize_step": "Int64", "frequencies": "string"})
