"""How fast, beside what the machine itself can do in the same minutes: machines differ, and are shared."""
