"""`auricle bridge mqtt` and `auricle bridge zenoh`: what `auricle serve` tells, passed on to a broker or to robots."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edge.commands import INTERRUPTED, options
from edge.commands.stderr import tell
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.bridge.mqtt import MqttBridge
    from edge.bridge.zenoh import ZenohBridge
    from edge.config import Config

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
TOPIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(/[A-Za-z_][A-Za-z0-9_]{0,63}){0,4}")
DOMAINS = 232
"""The highest ROS_DOMAIN_ID."""


def run(arguments: argparse.Namespace) -> int:
    """Passes records on until SIGINT or SIGTERM (130). Raises: ConfigError, BundleError, OutputError."""
    config = options.config(arguments)
    from edge.serve.client import usual_path

    place = Path(config.socket) if config.socket else usual_path()
    return _zenoh(arguments, place) if arguments.world == "zenoh" else _mqtt(arguments, config, place)


def _until_stopped(bridge: MqttBridge | ZenohBridge, place: Path) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        bridge.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    bridge.run(place)


def _named(what: str, value: str) -> str:
    if not NAME.fullmatch(value):
        raise ConfigError(f"--{what} is {value!r}, but must be 1 to 64 letters, digits, - and _")
    return value


def _mqtt(arguments: argparse.Namespace, config: Config, place: Path) -> int:
    from edge.bridge.mqtt import Broker, MqttBridge
    from edge.bridge.outbox import Outbox
    from edge.bundle import Bundle
    from edge.serve.history import usual_path

    device = arguments.name or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "auricle"
    for what, value in (("name", device), ("prefix", arguments.prefix), ("discovery-prefix", arguments.discovery_prefix)):
        _named(what, value)
    host, port = _address(arguments.broker, 8883 if arguments.tls else 1883)
    broker = Broker(host, port, arguments.user, _password(arguments), arguments.tls, arguments.ca)
    bundle = Bundle.open(config.bundle)
    labels = bundle.labels
    bundle.close()
    outbox = Outbox(Path(arguments.outbox) if arguments.outbox else usual_path(f"mqtt-{device}"))
    if outbox.notice:
        tell(outbox.notice)
    _until_stopped(MqttBridge(broker, device, outbox, labels, tell, arguments.prefix, arguments.discovery_prefix), place)
    outbox.close()
    return INTERRUPTED


def _zenoh(arguments: argparse.Namespace, place: Path) -> int:
    from edge.bridge.zenoh import ZenohBridge

    variable = arguments.domain is None
    domain = os.environ.get("ROS_DOMAIN_ID", "0") if variable else arguments.domain
    if not (domain.isascii() and domain.isdigit() and int(domain) <= DOMAINS):
        raise ConfigError(f"{'ROS_DOMAIN_ID' if variable else '--domain'} is {domain!r}, but must be a number from 0 to {DOMAINS}")
    prefix, frame_id = arguments.prefix, _named("frame-id", arguments.frame_id)
    if not TOPIC.fullmatch(prefix):
        raise ConfigError(f"--prefix is {prefix!r}, but must be letters, digits and _, not beginning with a digit, as ROS demands of names")
    connect, listen = arguments.connect or ["tcp/localhost:7447"], arguments.listen or ["tcp/localhost:0"]
    _until_stopped(ZenohBridge(connect, listen, int(domain), prefix, frame_id, tell), place)
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
