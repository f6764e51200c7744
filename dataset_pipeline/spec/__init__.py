"""The spec: models, what each step receives of it, and loading with every problem at once."""
