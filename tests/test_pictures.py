"""What holds for the pictures of all modules."""

import subprocess
import sys
from functools import partial

import matplotlib as mpl
import pytest
from drawn import P, circuits_table, evenly, noisy_waves, parity_weights, run_curves, wave_neurons

from analysis.circuit_pictures import constructed_circle, frequency_distribution, stars
from analysis.curve_pictures import curves_picture
from analysis.style import picture
from analysis.wave_pictures import coefficients_over_training, logits_picture, waves
from analysis.weight_pictures import trajectories, weights_over_training

W_IN, W_OUT = wave_neurons(*evenly(2, 5), *evenly(9, 7))
PICTURES = {
    "curves": partial(curves_picture, run_curves(), "t"),
    "weights": partial(weights_over_training, parity_weights(), n_parity_bits=2),
    "trajectories": partial(trajectories, parity_weights(), 2),
    "waves": partial(waves, W_IN, P),
    "coefficients": partial(coefficients_over_training, noisy_waves(), P),
    "logits": partial(logits_picture, W_IN, W_OUT, P, 3, 4),
    "stars": partial(stars, W_IN, W_OUT, P),
    "circle": partial(constructed_circle, [5], P),
    "frequencies": partial(frequency_distribution, circuits_table()),
}


@pytest.mark.parametrize("name", PICTURES)
def test_files_are_the_same_whatever_the_user_s_style(name):
    before = dict(mpl.rcParams)
    plain = [picture(PICTURES[name](), extension) for extension in ("png", "svg")]
    with mpl.rc_context(
        {"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 30, "lines.linewidth": 9}
    ):
        again = [picture(PICTURES[name](), extension) for extension in ("png", "svg")]
    assert plain == again
    assert dict(mpl.rcParams) == before
    assert b"</text>" in plain[1]


def test_pyplot_is_not_imported():
    rooms = "circuit_pictures", "curve_pictures", "wave_pictures", "weight_pictures"
    code = f"import sys, analysis; from analysis import {', '.join(rooms)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"matplotlib.pyplot", "scipy", "jax", "ray", "hydra"}
