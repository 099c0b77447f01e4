"""One call of `optimize run`, and one of `optimize confirm`: everything is opened in the right order, and the loop runs."""
