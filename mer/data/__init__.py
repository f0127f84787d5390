"""From the prepared store to batches: inputs, augmentation, dataset, data module."""
