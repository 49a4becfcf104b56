"""The function that checks shapes in `pytest --jaxtyping-packages=pfpn,tests.shapes.check`."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is accepted for a float
