"""A drawn street: its camera, its things and its layout. It does not depend on data sets."""
