"""A float32 in parts that a matrix unit of bfloat16 multiplies without rounding."""

import jax
import jax.numpy as jnp


def pieces(a: jax.Array) -> list[jax.Array]:
    """Three bfloat16, of 8 bits each, whose sum is the float32."""

    def top(a: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(a, jnp.uint32) & jnp.uint32(0xFFFF0000)
        return jax.lax.bitcast_convert_type(bits, jnp.float32)

    first = top(a)
    second = top(a - first)
    return [piece.astype(jnp.bfloat16) for piece in (first, second, a - first - second)]


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Of bfloat16, its sums in float32."""
    return jnp.dot(a, b, precision=jax.lax.Precision.DEFAULT, preferred_element_type=jnp.float32)
