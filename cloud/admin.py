"""``smartconnect-cloud admin``: what an operator does by hand."""

import argparse
import sys

from cloud.app import REFUSALS
from cloud.config import Settings
from cloud.provision import provision
from cloud.supervisor import EXIT_CONFIGURATION
from protocol.codec import encode


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Carry out one administrative command."""
    try:
        return _run(chosen, settings)
    except REFUSALS as error:
        sys.stderr.write(f"smartconnect-cloud: {error}\n")
        return EXIT_CONFIGURATION


def _run(chosen: argparse.Namespace, settings: Settings) -> int:
    installation = provision(settings)
    if chosen.subject == "bundle":
        sys.stdout.write(encode(installation).decode() + "\n")
    elif chosen.subject == "keys":
        sys.stdout.write(f"keys and certificates are in {settings.state_dir}\n")
    return 0
