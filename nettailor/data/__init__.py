"""Tasks, splits, pictures, named data sets, batches and their augmentation."""
