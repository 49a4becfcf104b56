"""How `pytest --nbval` compares the notebooks with what they hold."""

import nbval.kernel


def _execute(self, cell_input, allow_stdin=None):
    """Run a cell with history, as Jupyter does: without it IPython forgets the trailing `;`."""
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


nbval.kernel.RunningKernel.execute_cell_input = _execute


def pytest_collection_modifyitems(items):
    """Allow a busy machine more than nbval's fixed five seconds to hand over an output."""
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 60
