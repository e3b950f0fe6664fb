"""Parts of Liu et al. 2022, "Towards Understanding Grokking" (arXiv 2205.10343): the toy models of figure 5.

Numbers i = 0 .. 9 are trainable numbers E_i, or permutations of three things trainable 3 x 3 matrices. The
embeddings of two are added (multiplied), and a decoder turns the result into a vector that stands for their
sum (product). Embeddings and decoder have learning rates of their own.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from flax import linen as nn

from grok_sweep.core.parts import Data, Look, Task, definition, metric, model, optimizer, real, whole

SYMBOLS = 10
SUMS = 2 * SYMBOLS - 1
ACCURACY = 0.9  # from which on something is learnt, in all of the paper


class Sums(Task):
    """Which of 19 vectors stands for a + b: the vectors are standard normal, fixed, and drawn by the seed.

    All pairs 0 <= a <= b <= 9; the rows are drawn without replacement by the seed. The target of a row is
    its vector, and below it all of them: right is where the nearest to the output is its own.
    """

    numbers = {
        "train_size": whole(45, "of the 55 pairs that are trained on", 1, 54, rows=True),
        "vector_size": whole(30, "numbers of a target vector", 1, 1000),
    }

    def rows(self, h):
        return h.train_size, SYMBOLS * (SYMBOLS + 1) // 2 - h.train_size

    def pairs(self):
        """x and the class of each row."""
        x = np.array([*itertools.combinations_with_replacement(range(SYMBOLS), 2)], np.int32)
        return x, x.sum(axis=1), SUMS

    def data(self, h, seed):
        random = np.random.default_rng(seed)
        x, of_row, classes = self.pairs()
        order = random.permutation(len(x))
        vectors = random.normal(size=(classes, h.vector_size)).astype(np.float32)
        y = np.stack([np.concatenate([vectors[[k]], vectors]) for k in of_row])
        train, test = order[: h.train_size], order[h.train_size :]
        return Data(x[train], y[train], x[test], y[test])

    def loss(self, h, output, y):
        return jnp.mean((output - y[:, 0]) ** 2, axis=1)

    def correct(self, h, output, y):
        def nearest(z):
            return jnp.argmin(jnp.sum((z[:, None] - y[:, 1:]) ** 2, axis=2), axis=1)

        return nearest(output) == nearest(y[:, 0])


class SumClasses(Sums):
    """The same pairs, by the cross entropy of 19 classes."""

    name = "sum_classes"
    numbers = {"train_size": Sums.numbers["train_size"]}

    def data(self, h, seed):
        order = np.random.default_rng(seed).permutation(55)
        x, y, _ = self.pairs()
        train, test = order[: h.train_size], order[h.train_size :]
        return Data(x[train], y[train], x[test], y[test])

    def loss(self, h, output, y):
        return optax.softmax_cross_entropy_with_integer_labels(output, y)

    def correct(self, h, output, y):
        return jnp.argmax(output, axis=1) == y


class Permutations(Sums):
    """Which of 6 vectors stands for the product of two permutations of three things: all 36 ordered pairs."""

    numbers = {
        "train_size": whole(24, "of the 36 pairs that are trained on", 1, 35, rows=True),
        "vector_size": Sums.numbers["vector_size"],
    }

    def rows(self, h):
        return h.train_size, 36 - h.train_size

    def pairs(self):
        every = [*itertools.permutations(range(3))]
        x = np.array([*itertools.product(range(6), repeat=2)], np.int32)
        products = [every.index(tuple(every[a][k] for k in every[b])) for a, b in x]
        return x, np.array(products), 6


def uniform(bound):
    """PyTorch's: uniform between -bound and bound."""

    def draw(key, shape, dtype=jnp.float32):
        return bound * (2 * nn.initializers.uniform(1.0)(key, shape, dtype) - 1)

    return draw


class Decoder(nn.Module):
    """Tanh between dense layers, whose weights and biases are uniform in +-1 / sqrt(fan_in)."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for i, size in enumerate(self.sizes):
            draw = uniform(x.shape[1] ** -0.5)
            x = nn.Dense(size, kernel_init=draw, bias_init=draw)(jnp.tanh(x) if i else x)
        return x


class OfNumbers(nn.Module):
    """Of rows of two numbers: the decoder of E_a + E_b."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        embedding = self.param("embedding", uniform(0.5), (SYMBOLS,))
        return Decoder(self.sizes)(embedding[x].sum(axis=1)[:, None])


class OfMatrices(nn.Module):
    """Of rows of two permutations: the decoder of the product of their matrices."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        embedding = self.param("embedding", uniform(0.05), (6, 3, 3))
        return Decoder(self.sizes)((embedding[x[:, 0]] @ embedding[x[:, 1]]).reshape(len(x), 9))


SIZES = {
    "hidden_size": whole(200, "neurons of each of the decoder's two hidden layers", 1, 10_000),
    "outputs": whole(30, "of the decoder", 1, 1000),
}


@model(**SIZES)
def toy(h):
    return OfNumbers((h.hidden_size, h.hidden_size, h.outputs))


@model(**SIZES)
def toy_matrices(h):
    return OfMatrices((h.hidden_size, h.hidden_size, h.outputs))


@optimizer(
    embedding_learning_rate=real(1e-3, "step size of AdamW for the embeddings", 0, above=True),
    decoder_learning_rate=real(1e-3, "step size of AdamW for the decoder", 0, above=True),
    decoder_weight_decay=real(0.0, "decoupled decay of AdamW for the decoder", 0),
    embedding_l1=real(0.0, "times the mean size of an embedding's numbers, added to the loss", 0),
)
def two_adamw(h):
    """AdamW with b1 .9, b2 .999 and eps 1e-8 for each; embeddings do not decay."""

    def kind(params):
        def of_tree(name):
            return "embedding" if name == "embedding" else "decoder"

        return {"params": {name: of_tree(name) for name in params["params"]}}

    def penalty(updates, params):
        return {
            "params": {
                name: (
                    gradient + h.embedding_l1 * jnp.sign(params["params"][name]) / gradient.size
                    if name == "embedding"
                    else gradient
                )
                for name, gradient in updates["params"].items()
            }
        }

    return optax.chain(
        optax.stateless(penalty),
        optax.multi_transform(
            {
                "embedding": optax.adamw(h.embedding_learning_rate, weight_decay=0.0),
                "decoder": optax.adamw(h.decoder_learning_rate, weight_decay=h.decoder_weight_decay),
            },
            kind,
        ),
    )


QUADS = np.array(
    [
        (i, j, m, n)
        for i, j, m, n in itertools.product(range(SYMBOLS), repeat=4)
        if i < j <= m < n and i + n == j + m
    ]
)


@metric
def rqi(h, at):
    """Of all i < j <= m < n with i + n = j + m the share that is a parallelogram, nearly: the paper's RQI."""
    embedding = at.params["params"]["embedding"]
    if embedding.ndim != 1:
        return jnp.nan  # matrices have none
    scaled = (embedding - embedding.mean()) / embedding.std()
    i, j, m, n = scaled[QUADS.T]
    return jnp.mean((i + n - j - m) ** 2 < 0.01)


@definition(
    {
        "comprehension": Look("#7CB9DF", "circle"),
        "grokking": Look("#F7DB5C", "triangle"),
        "memorization": Look("#ffffff", "square"),
        "confusion": Look("#aaaaaa", "cross"),
    },
    gap=real(1000.0, "steps that the test may be behind in comprehension", 0, above=True),
)
def liu_toy(runs, curves, h):
    """By the first logged step at which an accuracy is .9, as in table 1 of the paper."""

    def first(side):
        learnt = curves[curves[f"{side}_accuracy"] >= ACCURACY]
        return runs["run_id"].map(learnt.groupby("run_id")["step"].min()).astype(float)

    train, test = first("train"), first("eval")
    found = pd.Series("confusion", runs.index)
    found[train.notna()] = "memorization"
    found[train.notna() & test.notna()] = "grokking"
    found[test - train < h.gap] = "comprehension"
    return found
