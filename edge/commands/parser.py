"""Every verb and flag of the command line. Importing this imports no model runtime and no numpy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from edge import __version__
from edge.commands import USAGE
from edge.commands.stdout import say
from edge.config import SETTINGS
from edge.profiles import PROFILES
from edge.sinks import FORMATS

_EXAMPLE = "examples:\n  auricle listen\n  auricle caption kitchen.wav --format srt\n  auricle listen --help"
_VERBS = {
    "listen": (
        "captions what a microphone hears, or a file at the speed of real time",
        "example:\n  auricle listen\n  auricle listen --input kitchen.wav --format jsonl --output kitchen.jsonl",
    ),
    "caption": (
        "captions files as fast as the machine can",
        "example:\n  auricle caption kitchen.wav\n  auricle caption *.flac --format srt --output subtitles",
    ),
    "serve": (
        "listens, and tells every program that asks: a local stream of records",
        "example:\n  auricle serve\n  auricle serve --input kitchen.wav --repeat --socket /tmp/kitchen.sock\n"
        '  auricle ask "What do you hear?"',
    ),
    "bridge": (
        "passes what `auricle serve` tells on to other systems",
        "example:\n  auricle bridge mqtt --broker broker.local\n"
        "  auricle bridge mqtt --broker broker.local:8883 --tls --user kitchen --password-file /etc/auricle/mqtt\n"
        "  auricle bridge zenoh --connect tcp/robot.local:7447",
    ),
    "history": (
        "shows what `auricle serve` has kept",
        "example:\n  auricle history knock --since 2h\n  auricle history --since 2026-11-26T18:00 --json",
    ),
    "ask": (
        "answers a question about what the running `auricle serve` has just heard, or about a file",
        'example:\n  auricle ask "Is a dog barking?" kitchen.wav\n  auricle ask "Which is louder, the bark or the bell?" bark.wav bell.wav'
        '\n  auricle ask "Is there a smoke alarm?" night.wav --through 30',
    ),
    "bench": (
        "measures what this device needs for a bundle: start-up, speed, lateness, memory, energy",
        "example:\n  auricle bench\n  auricle bench --bundle ./my-bundle --html page.html --json today.json\n"
        "  auricle bench --compare yesterday.json --profile glasses",
    ),
    "devices": ("lists the microphones", "example:\n  auricle devices --json"),
    "doctor": (
        "checks this machine and these options, and says what to do about what is missing",
        "example:\n  auricle doctor\n  auricle doctor --config /etc/auricle/auricle.toml --no-microphone\n"
        "  auricle doctor --report support.tar.gz   (for whoever helps: no sound, no text, no secrets)",
    ),
    "inspect": (
        "checks a bundle and shows what is inside",
        "example:\n  auricle inspect starter\n  auricle inspect ./my-bundle.tar --json",
    ),
    "models": (
        "lists, fetches, checks and removes models by name",
        "example:\n  auricle models list\n  auricle models add kitchen OWNER/NAME && auricle models pull kitchen\n"
        "  auricle listen --bundle kitchen",
    ),
}


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence and which takes no abbreviations."""

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        self._words = args or ()
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse itself keeps quiet when nobody can read what it prints.
        if file is sys.stdout:
            say(message.rstrip("\n"))
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        # Whoever writes *.wav where a file is called -x.wav did not mean a flag.
        dashed = next((word for word in self._words if len(word) > 1 and word.startswith("-") and os.path.lexists(word)), None)
        hint = f"; write ./{dashed}, or `--` before the names of files, because {dashed} starts like a flag" if dashed else ""
        self.exit(USAGE, f"{self.prog}: {message}{hint}; see `{self.prog} --help`\n")


def parser() -> Parser:
    """The parser of the whole command line; `verb` names the module of edge.commands that runs it."""
    top = Parser(
        prog="auricle",
        description="Hears speech and sounds and says what it hears, on this machine alone.",
        epilog=_EXAMPLE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"auricle {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    made = {}
    for name, (about, example) in _VERBS.items():
        made[name] = verbs.add_parser(
            name, help=about, description=about, epilog=example, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
    listen, caption = made["listen"], made["caption"]
    for verb in (listen, made["serve"]):
        door = verb.add_mutually_exclusive_group()
        door.add_argument("--input", metavar="FILE", help="a sound file instead of a microphone, played at the speed of real time")
        door.add_argument("--device", metavar="NAME", help=SETTINGS["device"].about)
    made["serve"].add_argument("--repeat", action="store_true", help="with --input: play it again and again")
    _add_options(made["serve"])
    listen.add_argument("--output", metavar="FILE", help="write there instead of to the terminal")
    caption.add_argument("files", metavar="FILE", nargs="+", help="a sound file: any format, rate and channels that libsndfile reads")
    caption.add_argument("--output", metavar="DIR", help="write one file for each FILE there, whole or not at all")
    for verb, usual in ((listen, "live"), (caption, "text")):
        verb.add_argument("--format", metavar="FORMAT", choices=FORMATS, help=f"{', '.join(FORMATS)} (usual: {usual})")
        _add_options(verb)
    ask = made["ask"]
    ask.add_argument("question", metavar="QUESTION", help="in a few words, at most 800 characters")
    ask.add_argument("files", metavar="FILE", nargs="*", help="sound files, heard as one; without any the running listener is asked")
    ask.add_argument("--last", metavar="S", help="without files: about the newest that was heard, if it is not older than this (usual: 60)")
    ask.add_argument("--each", action="store_true", help="without files: an answer for each turn of these seconds, not only the newest")
    ask.add_argument("--through", metavar="S", help="answer for one window of at most so many seconds after another")
    ask.add_argument("--json", action="store_true", help="one JSON object an answer, for programs")
    _add_options(ask, ("bundle", "providers", "strict", "threads", "think_tokens", "socket"))
    _add_bridge(made["bridge"])
    history = made["history"]
    history.add_argument("words", metavar="WORD", nargs="*", help="all of them must occur, each as the beginning of a word")
    history.add_argument("--since", metavar="WHEN", help="a moment such as 2026-11-26T18:00, or 30m, 2h, 3d ago")
    history.add_argument("--limit", metavar="N", help="the newest so many (usual: 100)")
    history.add_argument("--json", action="store_true", help="JSON Lines, for programs")
    _add_options(history, ("history_path",))
    _add_bench(made["bench"])
    made["devices"].add_argument("--json", action="store_true", help="one JSON array, for programs")
    doctor = made["doctor"]
    doctor.add_argument("--no-microphone", action="store_true", help="do not listen for a second")
    doctor.add_argument("--json", action="store_true", help="one JSON array, for programs")
    doctor.add_argument("--report", metavar="FILE", help="also write a .tar.gz for whoever helps: no sound, no text, no secrets")
    _add_options(doctor)
    made["inspect"].add_argument("bundle", metavar="BUNDLE", help="a name that ships with auricle (starter), a folder or a tar")
    made["inspect"].add_argument("--providers", metavar="PROVIDERS", help="load its ONNX models there and tell which nodes run where")
    made["inspect"].add_argument("--json", action="store_true", help="one JSON object, for programs")
    _add_models(made["models"])
    return top


def _add_bridge(verb: Parser) -> None:
    about = "messages of QoS 1 to an MQTT broker, with discovery for Home Assistant"
    worlds = verb.add_subparsers(dest="world", metavar="WORLD", required=True)
    mqtt = worlds.add_parser("mqtt", help=about, description=about, allow_abbrev=False)
    mqtt.add_argument("--broker", metavar="HOST[:PORT]", required=True)
    mqtt.add_argument("--name", help="of this device in topics (usual: the machine's name)")
    mqtt.add_argument("--user", help="as whom; the password comes from --password-file or AURICLE_MQTT_PASSWORD")
    mqtt.add_argument("--password-file", metavar="FILE", help="its first line")
    mqtt.add_argument("--tls", action="store_true", help="encrypted (usual port: 8883)")
    mqtt.add_argument("--ca", metavar="FILE", help="certificates to trust instead of the system's")
    mqtt.add_argument("--prefix", default="auricle", help="of all topics (usual: auricle)")
    mqtt.add_argument("--discovery-prefix", metavar="PREFIX", default="homeassistant", help="of Home Assistant (usual: homeassistant)")
    mqtt.add_argument("--outbox", metavar="FILE", help="where messages wait (usual: $XDG_STATE_HOME/auricle/mqtt-NAME.db)")
    _add_options(mqtt, ("socket", "bundle"))
    about = "ROS 2 topics over Zenoh, for robots on rmw_zenoh; needs no ROS"
    zenoh = worlds.add_parser("zenoh", help=about, description=about, allow_abbrev=False)
    zenoh.add_argument("--connect", metavar="ENDPOINT", nargs="+", help="routers or peers (usual: tcp/localhost:7447, ROS's router)")
    zenoh.add_argument("--listen", metavar="ENDPOINT", nargs="+", help="where peers reach it (usual: tcp/localhost:0, this machine alone)")
    zenoh.add_argument("--domain", metavar="N", help="0 to 232 (usual: ROS_DOMAIN_ID, else 0)")
    zenoh.add_argument("--prefix", default="auricle", help="of all topics (usual: auricle)")
    zenoh.add_argument("--frame-id", metavar="NAME", default="microphone", help="of the messages (usual: microphone)")
    _add_options(zenoh, ("socket",))


def _add_bench(bench: Parser) -> None:
    bench.add_argument("--input", metavar="FILE", help="a sound file or a folder of them, instead of the scene that ships with auricle")
    bench.add_argument("--seconds", metavar="S", help="seconds at the speed of real time (usual: 60; memory's growth needs 600)")
    bench.add_argument("--json", metavar="FILE", help="write the result there")
    bench.add_argument("--html", metavar="FILE", help="write a page with plots there")
    bench.add_argument("--compare", metavar="FILE", help="a result of --json to be put beside this one")
    bench.add_argument("--power-csv", metavar="FILE", help="readings of a meter: time_s (Unix) and watts, or volts and amps")
    bench.add_argument("--quick", action="store_true", help="windows of two seconds, to see whether it runs; not to be quoted")
    bench.add_argument("--profile", metavar="PROFILE", choices=[*PROFILES, "all"], help=f"{', '.join(PROFILES)}, or all one after another")
    _add_options(bench, ("bundle", "providers", "strict", "threads", "hop_s"))


def _add_models(verb: Parser) -> None:
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    said = {
        "list": "what ships, what was pulled, what is known of hubs",
        "pull": "fetches one; goes on where it was cut off",
        "verify": "checks every size and sha256 of one that is here",
        "rm": "removes one that was pulled or added",
        "add": "adds a repository of a hub under a name",
    }
    made = {name: actions.add_parser(name, help=about, description=about, allow_abbrev=False) for name, about in said.items()}
    made["list"].add_argument("--json", action="store_true", help="one JSON array, for programs")
    for name in ("pull", "verify", "rm", "add"):
        made[name].add_argument("name", metavar="NAME")
    made["pull"].add_argument("--offline", action="store_true", help="only with what is here already")
    add = made["add"]
    add.add_argument("repository", metavar="OWNER/NAME", help="a repository that holds a bundle, or a model that --recipe can build")
    add.add_argument("--recipe", default="", help="of `auricle-export list`, for what is no bundle yet")
    add.add_argument("--revision", default="main")
    add.add_argument("--licence", default="see the source")
    add.add_argument("--about", default="", help="in a few words")


def _add_options(verb: Parser, only: Sequence[str] = tuple(SETTINGS)) -> None:
    verb.add_argument("--config", metavar="FILE", help="TOML file with any of these options (also: AURICLE_CONFIG)")
    gate = verb.add_argument_group("when to listen")
    for key in only:
        setting = SETTINGS[key if key in SETTINGS else f"gate.{key}"]
        section, _, word = key.rpartition(".")
        if word in ("device", "format"):
            continue
        flag = "--" + word.replace("_", "-")
        if setting.kind is bool:
            verb.add_argument(flag, action="store_true", default=None, help=setting.about)
            continue
        usual = "" if setting.default is None or "usual" in setting.about else f" (usual: {setting.default})"
        (gate if section else verb).add_argument(flag, metavar=word.rpartition("_")[2].upper(), help=setting.about + usual)
