"""`auricle bridge mqtt`: what `auricle serve` tells, passed on to a broker."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from edge.commands import INTERRUPTED, options
from edge.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def run(arguments: argparse.Namespace) -> int:
    """Passes records on until SIGINT or SIGTERM (130). Raises: ConfigError, BundleError, OutputError."""
    config = options.config(arguments)
    from edge.bridge.mqtt import Broker, MqttBridge
    from edge.bridge.outbox import Outbox, usual_path
    from edge.bundle import Bundle
    from edge.serve.local_socket import usual_path as usual_socket

    device = arguments.name or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "auricle"
    for what, value in (("name", device), ("prefix", arguments.prefix), ("discovery-prefix", arguments.discovery_prefix)):
        if not NAME.fullmatch(value):
            raise ConfigError(f"--{what} is {value!r}, but must be 1 to 64 letters, digits, - and _")
    host, port = _address(arguments.broker, 8883 if arguments.tls else 1883)
    broker = Broker(host, port, arguments.user, _password(arguments), arguments.tls, arguments.ca)
    bundle = Bundle.open(config.bundle)
    labels = bundle.labels
    bundle.close()

    def tell(sentence: str) -> None:
        print(f"auricle: {sentence}", file=sys.stderr, flush=True)

    outbox = Outbox(Path(arguments.outbox) if arguments.outbox else usual_path(f"mqtt-{device}"))
    bridge = MqttBridge(broker, device, outbox, labels, tell, arguments.prefix, arguments.discovery_prefix)

    def stop(number: int, frame: FrameType | None) -> None:
        bridge.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    bridge.run(Path(config.socket) if config.socket else usual_socket())
    outbox.close()
    return INTERRUPTED


def _address(text: str, usual: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    if not host or (colon and not (port.isdigit() and 0 < int(port) < 65_536)):
        raise ConfigError(f"--broker is {text!r}, but must be a name or address, or one with a port such as broker.local:1883")
    return host, int(port) if port else usual


def _password(arguments: argparse.Namespace) -> str | None:
    """From a file or AURICLE_MQTT_PASSWORD: on a command line everybody on the machine could read it."""
    if arguments.password_file is None:
        return os.environ.get("AURICLE_MQTT_PASSWORD")
    try:
        return Path(arguments.password_file).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--password-file {arguments.password_file}: it cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
