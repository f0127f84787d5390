"""mer: micro-expression recognition with numbers that can be believed."""

__version__ = "0.1.0"
