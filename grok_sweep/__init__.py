"""grok_sweep: sweeps of small networks that memorise, grok, generalise or fail."""

__version__ = "0.1.0"
