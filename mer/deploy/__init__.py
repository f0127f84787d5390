"""Models outside of training: one file per model, and the engines that run it."""
