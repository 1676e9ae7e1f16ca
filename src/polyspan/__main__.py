"""``python -m polyspan`` is the ``polyspan`` command."""

from polyspan.cli.main import run

run()
