"""One session of a sweep, on the machine that drives it."""
