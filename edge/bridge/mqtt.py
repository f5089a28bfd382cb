"""MQTT: each record a message of QoS 1 from an outbox, the newest state retained, and a device for Home Assistant's discovery.

Topics below PREFIX/DEVICE: `record/TYPE` (every final, sound, gap, device change), `event` (sounds that begin, for Home Assistant), `state`
(retained), `availability` (retained; online while `auricle serve` is heard; the last will). A broker that comes back gets what waited
after a moment in which others come back.
MQTT 5 is spoken, for it tells when an access list forbids what 3.1.1 acknowledges and drops; 3.1.1 with brokers that know no other.
Sources: MQTT 3.1.1 (OASIS 2014) section 4.3.2, MQTT 5.0 (OASIS 2019) section 3.4.2.1; Home Assistant's MQTT discovery, device payloads.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge import __version__
from edge.bridge.follow import follow, payload
from edge.bridge.outbox import Outbox
from edge.errors import OutputError

IN_FLIGHT = 20
SETTLE_S = 2.0
"""After the broker has come back, so that those who listen there have come back too before what waited is delivered."""
TRY_AGAIN_S = (0.5, 10.0)
ANSWER_S = 10.0
KEEP_ALIVE_S = 15
TOLD = ("caption", "sound", "gap", "device", "session")
PLACE_EVERY = 500
"""Records that lead to no message after which the place is written all the same: flash is worn by each writing, and they may come again."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where, and as whom. ca: a file of certificates to trust; tls without it: the system's."""

    host: str
    port: int = 1883
    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca: str | None = None


@dataclass(slots=True)
class _State:
    """What is retained: the newest of everything."""

    caption: str = ""
    sounds: dict[int, tuple[str, bool]] = field(default_factory=dict)
    lag: float = 0.0

    def take(self, record: dict[str, Any]) -> bool:
        """Whether the record changed anything."""
        kind = record["type"]
        if kind in ("snapshot", "session"):
            self.sounds = {s["id"]: (s["label"], bool(s.get("priority"))) for s in record.get("sounds", [])}
        elif kind == "caption" and record["final"] and record["text"]:
            self.caption = record["text"]
        elif kind == "sound" and record["state"] == "start":
            self.sounds[record["id"]] = record["label"], bool(record.get("priority"))
        elif kind == "sound":
            self.sounds.pop(record["id"], None)
        elif kind == "status":
            self.lag = record["lag"]
        else:
            return False
        return True

    def json(self) -> str:
        labels = [label for label, _ in self.sounds.values()]
        alarm = any(priority for _, priority in self.sounds.values())
        # Home Assistant's states hold 255 characters.
        told = {"caption": self.caption[:255], "sounds": labels, "sounding": bool(labels), "alarm": alarm, "lag": self.lag}
        return json.dumps(told, ensure_ascii=False)


def discovery(prefix: str, device: str, labels: Sequence[str]) -> dict[str, Any]:
    """The payload of Home Assistant's device discovery. labels: what the bundle can hear."""
    base = f"{prefix}/{device}"
    state = {"state_topic": f"{base}/state"}
    return {
        "device": {"identifiers": [f"auricle-{device}"], "name": device, "manufacturer": "auricle", "sw_version": __version__},
        "origin": {"name": "auricle", "sw_version": __version__},
        "availability_topic": f"{base}/availability",
        "qos": 1,
        "components": {
            "sound": {
                **{"platform": "event", "unique_id": f"auricle_{device}_sound", "name": "Sound", "state_topic": f"{base}/event"},
                **{"event_types": list(labels), "icon": "mdi:ear-hearing"},
            },
            "caption": {
                **{"platform": "sensor", "unique_id": f"auricle_{device}_caption", "name": "Caption", **state},
                **{"value_template": "{{ value_json.caption }}", "icon": "mdi:closed-caption-outline"},
            },
            "sounding": {
                **{"platform": "binary_sensor", "unique_id": f"auricle_{device}_sounding", "name": "Sounding", **state},
                **{"device_class": "sound", "value_template": "{{ 'ON' if value_json.sounding else 'OFF' }}"},
            },
            "alarm": {
                **{"platform": "binary_sensor", "unique_id": f"auricle_{device}_alarm", "name": "Alarm", **state},
                **{"device_class": "safety", "value_template": "{{ 'ON' if value_json.alarm else 'OFF' }}"},
            },
            "lag": {
                **{"platform": "sensor", "unique_id": f"auricle_{device}_lag", "name": "Lag", "device_class": "duration", **state},
                **{"unit_of_measurement": "s", "entity_category": "diagnostic", "value_template": "{{ value_json.lag }}"},
            },
        },
    }


class MqttBridge:
    """run() until stop(). tell: gets sentences for the log. Raises: OutputError without paho-mqtt."""

    def __init__(
        self, broker: Broker, device: str, outbox: Outbox, labels: Sequence[str], tell: Callable[[str], None], prefix: str = "auricle",
        home: str = "homeassistant",
    ) -> None:  # fmt: skip
        try:
            import paho.mqtt.client as paho
        except ImportError as error:
            raise OutputError(f"mqtt: it needs paho-mqtt ({error}); pip install 'auricle[mqtt]'") from None
        self._paho, self._broker, self._device, self._outbox, self._tell = paho, broker, device, outbox, tell
        self._base, self._prefix, self._home, self._labels = f"{prefix}/{device}", prefix, home, labels
        self._stop, self._changed = threading.Event(), threading.Event()
        self._state, self._state_lock = _State(), threading.Lock()
        self._following = False
        """Whether what is known of the state is still so: there is a server, and its snapshot has come."""
        self._place, self._unwritten = outbox.place, 0
        self._broken: OutputError | None = None
        self._version = paho.MQTTv5

    def stop(self) -> None:
        self._stop.set()
        self._changed.set()

    def run(self, socket: Path) -> None:
        """Takes the stream in a thread of its own and delivers in this one. Raises: OutputError where the outbox takes nothing more."""
        taking = threading.Thread(target=self._take, args=(socket,), name="auricle-take", daemon=True)
        taking.start()
        pause, told = TRY_AGAIN_S[0], ""
        while not self._stop.is_set():
            why = self._deliver()
            if self._stop.is_set():
                break
            pause = TRY_AGAIN_S[0] if not why else pause
            sentence = f"broker {self._broker.host}:{self._broker.port}: {why or 'the connection broke off'}; trying again"
            if sentence != told:
                self._tell(sentence)
                told = sentence
            self._stop.wait(pause)
            pause = min(TRY_AGAIN_S[1], 2 * pause)
        if self._broken is not None:
            raise self._broken

    def _take(self, socket: Path) -> None:
        try:
            self._follow(socket)
        except Exception as error:  # whatever it is: a bridge without this thread would look alive and pass nothing on
            if not self._stop.is_set():
                self._broken = error if isinstance(error, OutputError) else OutputError(f"mqtt: taking the stream broke off ({error})")
                self.stop()

    def _follow(self, socket: Path) -> None:
        for epoch, record in follow(socket, lambda: self._place, self._stop, self._tell, self._lost):
            with self._state_lock:
                changed = self._state.take(record)
                self._following = True
            if record["type"] != "snapshot" or not record["resumed"]:
                self._keep(epoch, record)
            if changed or record["type"] in TOLD:
                self._changed.set()

    def _lost(self) -> None:
        with self._state_lock:  # nobody listens: what sounded is not known to sound any more
            self._following = False
            self._state.sounds.clear()
        self._changed.set()

    def _keep(self, epoch: str, record: dict[str, Any]) -> None:
        messages, anew = self._messages(epoch, record), record["type"] == "snapshot"
        self._place, self._unwritten = (epoch, record["seq"]), self._unwritten + 1
        if messages or anew or self._unwritten >= PLACE_EVERY:
            self._outbox.take(epoch, record["seq"], messages)
            self._unwritten = 0

    def _messages(self, epoch: str, record: dict[str, Any]) -> list[tuple[str, str]]:
        kind = record["type"]
        if kind not in TOLD or (kind == "caption" and not record["final"]):
            return []
        found = [(f"{self._base}/record/{kind}", payload(epoch, record))]
        if kind == "sound" and record["state"] == "start":
            found.append((f"{self._base}/event", payload(epoch, record, event_type=record["label"])))
        return found

    def _deliver(self) -> str:
        """One connection from its beginning to its end; why it could not be made, "" where it was and broke off."""
        paho, broker = self._paho, self._broker
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, f"auricle-{self._device}", reconnect_on_failure=False, protocol=self._version
        )
        client.max_inflight_messages_set(IN_FLIGHT)
        client.will_set(f"{self._base}/availability", "offline", qos=1, retain=True)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        connected, gone, acknowledged = threading.Event(), threading.Event(), deque[tuple[int, str]]()
        answered: list[str] = []

        def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            answered.append(f"it refuses us ({reason})" if reason.is_failure else "")
            if reason.is_failure:
                gone.set()
            connected.set()

        def on_disconnect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            gone.set()
            connected.set()
            self._changed.set()

        def on_publish(client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
            # And no more than this: paho holds a lock here that publish() wants as well.
            acknowledged.append((mid, str(reason) if reason.is_failure else ""))
            self._changed.set()

        client.on_connect, client.on_disconnect, client.on_publish = on_connect, on_disconnect, on_publish
        try:
            if broker.tls:
                client.tls_set(ca_certs=broker.ca, tls_version=ssl.PROTOCOL_TLS_CLIENT)
            client.connect(broker.host, broker.port, keepalive=KEEP_ALIVE_S)
        except (OSError, ValueError) as error:
            return str(getattr(error, "strerror", None) or error)
        client.loop_start()
        try:
            if not connected.wait(ANSWER_S) or not answered:
                return "it does not answer"
            if answered[0]:
                if "protocol version" in answered[0].lower():
                    self._version = paho.MQTTv311
                return answered[0]
            self._greet(client)
            return self._pump(client, gone, acknowledged)
        except OutputError:  # of the outbox: this is the end
            self.stop()
            raise
        finally:
            if self._stop.is_set():
                client.publish(f"{self._base}/availability", "offline", qos=1, retain=True).wait_for_publish(1.0)
            client.disconnect()
            client.loop_stop()

    def _greet(self, client: Any) -> None:
        described = json.dumps(discovery(self._prefix, self._device, self._labels), ensure_ascii=False)
        client.publish(f"{self._home}/device/auricle-{self._device}/config", described, qos=1, retain=True)
        self._tell(f"connected to {self._broker.host}:{self._broker.port} as {self._device}")

    def _pump(self, client: Any, gone: threading.Event, acknowledged: deque[tuple[int, str]]) -> str:
        """Delivers until the connection is gone, or the broker refuses a record: then why. What was sent and not acknowledged, or refused,
        stays in the outbox for the next connection.
        """
        retained, last, begin, sent = "", 0, time.monotonic(), dict[int, int]()
        available, refused = "", ""

        def account() -> None:
            nonlocal refused
            while acknowledged:
                mid, failure = acknowledged.popleft()
                if (id := sent.pop(mid, None)) is not None and not failure:
                    self._outbox.delivered(id)
                elif id is not None:
                    who = self._broker.user or "nobody in particular"
                    remedy = "give --name the user's name, or change its access list"
                    refused = f"it lets {who} publish nothing below {self._base} ({failure}); {remedy}"

        while not gone.is_set() and not self._stop.is_set() and not refused:
            with self._state_lock:
                state, there = self._state.json(), "online" if self._following else "offline"
            if there != available:
                client.publish(f"{self._base}/availability", there, qos=1, retain=True)
                available = there
            if state != retained:
                client.publish(f"{self._base}/state", state, qos=1, retain=True)
                retained = state
            if time.monotonic() - begin < SETTLE_S:
                gone.wait(0.05)
                continue
            for message in self._outbox.waiting(last, IN_FLIGHT - len(sent)) if len(sent) < IN_FLIGHT else []:
                sent[client.publish(message.topic, message.payload, qos=1).mid] = message.id
                last = message.id
            self._changed.wait(0.5)
            self._changed.clear()
            account()
        account()
        return refused
