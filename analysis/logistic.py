"""Logistic curves through shares, as many at once as there are resamples."""

import numpy as np

STEPS = 40  # of Newton's method; it takes about ten


def fit(u_J: np.ndarray, hits_BJ: np.ndarray, runs_BJ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(where it is 1/2, slope) of B logistic curves, each through the shares hits / runs at u.

    Of Firth's penalised likelihood, by Newton's method: score X'(k - n p + h (1/2 - p)) with leverages h.
    """
    centre, scale = u_J.mean(), max(u_J.std(), 1e-300)
    x_J = (u_J - centre) / scale
    a_B, b_B = np.zeros((2, len(hits_BJ)))
    for _ in range(STEPS):
        p_BJ = 1 / (1 + np.exp(-np.clip(a_B[:, None] + b_B[:, None] * x_J, -30, 30)))
        w_BJ = runs_BJ * p_BJ * (1 - p_BJ)
        i_aa, i_ab, i_bb = w_BJ.sum(1), w_BJ @ x_J, w_BJ @ x_J**2
        det = np.maximum(i_aa * i_bb - i_ab**2, 1e-12)
        h_BJ = w_BJ * (i_bb[:, None] - 2 * i_ab[:, None] * x_J + i_aa[:, None] * x_J**2) / det[:, None]
        left_BJ = hits_BJ - runs_BJ * p_BJ + h_BJ * (0.5 - p_BJ)
        s_a, s_b = left_BJ.sum(1), left_BJ @ x_J
        a_B = a_B + np.clip((i_bb * s_a - i_ab * s_b) / det, -2, 2)
        b_B = b_B + np.clip((i_aa * s_b - i_ab * s_a) / det, -2, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle_B = np.where(b_B == 0, np.inf, -a_B / b_B)
    return middle_B * scale + centre, b_B / scale
