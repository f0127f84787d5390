"""Lightning callbacks, and what becomes of their outputs."""
