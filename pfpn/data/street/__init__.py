"""A drawn street: what it looks like and where everything is, without a word on data sets."""
