"""Options from one TOML file, then AURICLE_* variables, then flags: the later wins; frozen once read.

In the file the gate's keys stand in a table of that name; a variable is the key in capitals (AURICLE_GATE_THRESHOLD); a flag is the key's
last word (--threshold). The table SETTINGS is the only list of them.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError
from edge.profiles import PROFILES

if TYPE_CHECKING:
    from edge.gate import GateOptions

FILE_BYTES = 1 << 20
PREFIX = "AURICLE_"
# Variables of that prefix which are no settings: where the file and the pulled models are, full tracebacks, and the build's own.
OTHER_VARIABLES = (
    *("AURICLE_CONFIG", "AURICLE_MODELS", "AURICLE_DEBUG", "AURICLE_TOKEN", "AURICLE_MQTT_PASSWORD"),
    *("AURICLE_WHEEL_CACHE", "AURICLE_LLAMA_CMAKE_ARGS"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a key may hold: `kind` str, bool, int or float, numbers in [low, high]; default None where it may be absent."""

    kind: type
    default: Any
    low: float
    high: float
    about: str
    choices: tuple[str, ...] = ()


def _words(default: str | None, about: str, choices: tuple[str, ...] = ()) -> Setting:
    return Setting(str, default, 0, 0, about, choices)


# Ranges are what makes sense for sound in a room; the gate's defaults and meanings are those of edge.gate.GateOptions.
SETTINGS: dict[str, Setting] = {
    "profile": _words(None, "settings for a kind of device, below those that are set", tuple(PROFILES)),
    "bundle": _words("starter", "bundle: a name that ships with auricle, a folder or a tar"),
    "speech": _words(None, "a second bundle that transcribes: captions then hold words and sounds on one line"),
    "language": _words(None, "of speech in words: a code such as de, or auto (default: what the bundle was built with)"),
    "translate": Setting(bool, False, 0, 0, "speech in words is translated into English"),
    "carry_tokens": Setting(int, 0, 0, 448, "tokens of the turn before that a Whisper is reminded of"),
    "beam": Setting(int, 1, 1, 8, "hypotheses that a final text in words is looked for with; each costs as much as the first"),
    "word_times": Setting(bool, False, 0, 0, "final captions in words say when each word was said"),
    "device": _words(None, "microphone, by a part of its name (see `auricle devices`)"),
    "format": _words(None, "how records are written", ("live", "jsonl", "text", "srt", "vtt")),
    "providers": _words("cpu", "where models run, in order of preference, such as cuda,cpu or ethosu,cpu (see docs/placement.md)"),
    "strict": Setting(bool, False, 0, 0, "refuse to start when a model does not run where --providers says"),
    "threads": Setting(int, 1, 1, 64, "threads for each model"),
    "memory_mb": Setting(int, 0, 0, 1 << 24, "megabytes that the models may take, 0 for what is free; more is refused before loading"),
    "priority": _words("alarm; siren; glass; shatter; cry; scream; gunshot", "words of sounds that must not be overlooked"),
    "names": _words(None, "names or words that mark a caption in which they are said"),
    "reading_cps": Setting(float, 0.0, 0.0, 1_000.0, "characters a second that are read: faster revisions are held back; 0: none are"),
    "revised_words": Setting(int, None, 0, 1_000, "most words that a revision may change of what is shown (default: any)"),
    "remind_s": Setting(float, 60.0, 1.0, 86_400.0, "seconds after which a sound that only goes on is captioned again"),
    "memory_s": Setting(float, 300.0, 0.0, 3_600.0, "seconds for which what was heard is kept to be asked about, in memory only"),
    "think_tokens": Setting(int, 0, 0, 4_096, "tokens that a model which thinks may think in before it answers, 0 for none"),
    "socket": _words(None, "where `auricle serve` listens (default: $XDG_RUNTIME_DIR/auricle.sock, or what `auricle serve` says)"),
    "web": _words(None, "where `auricle serve` serves pages and programs: a port, or address:port (default: nowhere)"),
    "web_names": _words(None, "further names by which this machine is called, with commas between them"),
    "token_file": _words(None, "file whose first line must be known to who looks (also: AURICLE_TOKEN)"),
    "wyoming": _words(None, "where `auricle serve` turns sound into text for Home Assistant: a port, or address:port (default: nowhere)"),
    "history": _words("off", "what `auricle serve` keeps on the disk: off, text (final captions) or all records", ("off", "text", "all")),
    "history_path": _words(None, "where (default: $XDG_STATE_HOME/auricle/history.db)"),
    "history_days": Setting(float, 30.0, 0.01, 36_500.0, "days after which it is deleted"),
    "history_mb": Setting(float, 256.0, 1.0, 1e6, "megabytes beyond which the oldest is deleted"),
    "status_s": Setting(float, 10.0, 0.1, 3_600.0, "seconds between two status records of a live stream; a lag is told at once"),
    "block_size": Setting(int, 0, 0, 65_536, "samples that are taken from the ring at a time, 0 for what fits; changes no caption"),
    "gate.threshold": Setting(float, 0.5, 0.01, 1.0, "probability from which a chunk is speech"),
    "gate.neg_threshold": Setting(float, None, 0.001, 1.0, "probability below which speech ends (default: threshold - 0.15)"),
    "gate.min_speech_ms": Setting(int, 250, 0, 10_000, "shorter speech is dropped"),
    "gate.min_silence_ms": Setting(int, 100, 0, 10_000, "silence that ends a span of speech"),
    "gate.speech_pad_ms": Setting(int, 30, 0, 5_000, "added to both ends of speech"),
    "gate.max_turn_s": Setting(float, 30.0, 1.0, 60.0, "longest turn before it is cut"),
    "gate.hop_s": Setting(float, 0.5, 0.032, 10.0, "seconds between revisions of an open caption"),
    "gate.pre_roll_s": Setting(float, 0.5, 0.0, 10.0, "what was heard before the gate opened and still belongs to the turn"),
    "gate.hang_over_s": Setting(float, 1.2, 0.0, 10.0, "seconds without speech or sound after which a turn closes"),
    "gate.tail_s": Setting(float, 0.3, 0.0, 10.0, "what of that silence still belongs to the turn"),
    "gate.margin_db": Setting(float, 6.0, 0.5, 60.0, "how far above the noise floor a chunk is audible"),
    "gate.click_db": Setting(float, 10.0, 0.5, 80.0, "how far above it one chunk alone opens the gate"),
    "gate.minimum_dbfs": Setting(float, -60.0, -120.0, -1.0, "below this nothing is audible"),
    "gate.window_s": Setting(float, 12.0, 1.0, 600.0, "seconds after which a steady sound counts as background"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, checked. format: None means what the command finds best. gate: the gate's keys by their last word."""

    profile: str | None = None
    bundle: str = "starter"
    speech: str | None = None
    language: str | None = None
    translate: bool = False
    carry_tokens: int = 0
    beam: int = 1
    word_times: bool = False
    device: str | None = None
    format: str | None = None
    providers: str = "cpu"
    strict: bool = False
    threads: int = 1
    memory_mb: int = 0
    priority: str = str(SETTINGS["priority"].default)
    names: str | None = None
    reading_cps: float = 0.0
    revised_words: int | None = None
    remind_s: float = 60.0
    memory_s: float = 300.0
    think_tokens: int = 0
    socket: str | None = None
    web: str | None = None
    web_names: str | None = None
    token_file: str | None = None
    wyoming: str | None = None
    history: str = "off"
    history_path: str | None = None
    history_days: float = 30.0
    history_mb: float = 256.0
    status_s: float = 10.0
    block_size: int = 0
    gate: GateOptions = field(default_factory=lambda: _gate({}))

    def providers_asked(self) -> tuple[str, ...]:
        """`providers` one by one."""
        return tuple(self.providers.replace(" ", "").split(","))


def load(
    file: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Config:
    """The options from a TOML file (or the one that AURICLE_CONFIG names), variables and flags.

    environ: None for none. flags: keys as in SETTINGS, or their last word; None values are left out.
    Raises: ConfigError naming where it was set, the key, and the nearest known key or what the value must be.
    """
    environ = environ or {}
    values: dict[str, Any] = {}
    file = file or environ.get("AURICLE_CONFIG") or None
    if file is not None:
        values |= {key: _value(key, value, os.fspath(file), spoken=False) for key, value in _from_file(Path(file)).items()}
    for name, text in environ.items():
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES:
            key = _from_variable(name)
            values[key] = _value(key, text, name)
    for word, value in (flags or {}).items():
        if value is not None:
            words = {key.rpartition(".")[2]: key for key in SETTINGS} | {key: key for key in SETTINGS}
            key = _known(word, words, f"the option {word}")
            values[key] = _value(key, value, "--" + key.rpartition(".")[2].replace("_", "-"))
    values = {**PROFILES.get(values.get("profile") or "", {}), **values}
    gate = {key.removeprefix("gate."): value for key, value in values.items() if key.startswith("gate.")}
    return Config(gate=_gate(gate), **{key: value for key, value in values.items() if not key.startswith("gate.")})


def _gate(values: Mapping[str, Any]) -> GateOptions:
    # Imported late: the gate brings numpy, and `auricle --help` needs none of it.
    from edge.gate import GateOptions

    try:
        return GateOptions(**values)
    except ValueError as error:
        raise ConfigError(f"the gate's options do not go together: {error}") from None


def _providers(value: str, where: str) -> None:
    # Imported late: what knows the names brings numpy.
    from edge.backends.litert import DELEGATES
    from edge.backends.onnx import PROVIDERS

    known = list(dict.fromkeys([*PROVIDERS, *DELEGATES]))
    if any(name not in known for name in value.replace(" ", "").split(",")):
        raise ConfigError(f"{where} is {value!r}, but must be some of {', '.join(known)}, with commas between them")


def _from_file(path: Path) -> dict[str, Any]:
    """Dotted keys to values, names checked."""
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise ConfigError(f"{path}: it is larger than {FILE_BYTES} bytes; name the configuration file")
        table = _toml(data.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a configuration file that can be read") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: it is not TOML ({error}); correct it") from None
    sections = {key.partition(".")[0] for key in SETTINGS if "." in key}
    keys = {key: key for key in SETTINGS}
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name in sections:
            if not isinstance(value, dict):
                raise ConfigError(f"{path}: {name} must be a table; write [{name}] and its keys below")
            found |= {_known(f"{name}.{inner}", keys, f"{path}: the key {name}.{inner}"): item for inner, item in value.items()}
        else:
            near = {key: key for key in keys if "." in key} if isinstance(value, dict) and name not in keys else keys  # a table was meant
            found[_known(name, near, f"{path}: the key {name}")] = value
    return found


def _toml(text: str) -> dict[str, Any]:
    """Raises ValueError where the text is not TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError:
            raise ConfigError("a configuration file needs Python 3.11 or the package tomli; install one of them") from None
    return tomllib.loads(text)


def _from_variable(name: str) -> str:
    """The key that an AURICLE_* variable sets, else ConfigError with the nearest variable, those that are no settings included."""
    word = name[len(PREFIX) :].lower()
    keys = {key.replace(".", "_"): key for key in SETTINGS}
    if word in keys:
        return keys[word]
    import difflib

    # A gate's variable is near without its GATE_ too.
    spelled = {short: PREFIX + long.upper() for long, key in keys.items() for short in (long, key.rpartition(".")[2])}
    spelled |= {other[len(PREFIX) :].lower(): other for other in OTHER_VARIABLES}
    near = difflib.get_close_matches(word, spelled, n=1, cutoff=0.0)
    raise ConfigError(f"the variable {name} is unknown; the nearest known one is {spelled[near[0]]}")


def _known(word: str, known: Mapping[str, str], what: str) -> str:
    """The key that `word` names, else ConfigError with the nearest one."""
    if word in known:
        return known[word]
    import difflib

    # Without its table a key is still near: "treshold" is meant to be gate.threshold.
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    last = {key.rpartition(".")[2]: key for key in known.values()}
    close = difflib.get_close_matches(word.rpartition(".")[2], last, n=1, cutoff=0.6)
    key = last[close[0]] if close else known[near[0]]
    raise ConfigError(f"{what} is unknown; the nearest known one is {key}")


def _value(key: str, value: Any, where: str, spoken: bool = True) -> Any:
    """`value` as the setting's kind and within its range. spoken: from a variable or a flag, where numbers are text."""
    setting = SETTINGS[key]
    where = where if where.startswith("--") else f"{where}: {key}"
    if setting.kind is str:
        if not isinstance(value, str) or not value or "\0" in value or (setting.choices and value not in setting.choices):
            wanted = f"one of {', '.join(setting.choices)}" if setting.choices else "text"
            raise ConfigError(f"{where} is {value!r}, but must be {wanted}")
        if key == "providers" and value != setting.default:
            _providers(value, where)
        return value
    if setting.kind is bool:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if isinstance(value, bool) or (spoken and str(value).lower() in words):
            return value if isinstance(value, bool) else words[str(value).lower()]
        raise ConfigError(f"{where} is {value!r}, but must be {'yes or no' if spoken else 'true or false'}")
    kind = "a whole number" if setting.kind is int else "a number"
    try:
        if isinstance(value, bool) or not isinstance(value, (int, setting.kind, str) if spoken else (int, setting.kind)):
            raise ValueError
        number = setting.kind(value)
        if not math.isfinite(number) or not setting.low <= number <= setting.high:
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(f"{where} is {value!r}, but must be {kind} from {setting.low:g} to {setting.high:g}") from None
    return number
