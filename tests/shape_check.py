"""What `--jaxtyping-packages=pfpn,shape_check.check` checks calls with.

As type checkers do (PEP 484), an int is let through where a float is asked for.
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
