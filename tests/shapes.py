"""Who checks shapes and types in `pytest --jaxtyping-packages=pfpn,tests.shapes.check`."""

from beartype import BeartypeConf, beartype

check = beartype(
    conf=BeartypeConf(is_pep484_tower=True)
)  # an int will do where a float is asked for
