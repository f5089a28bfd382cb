"""The lifecycle node: sound events, captions and gaps as they are heard, questions as an action, diagnostics once a second.

QoS: sound events are reliable and the last 50 are kept for who comes late (transient local), so that no alarm is missed by a node that
starts a second later; captions are reliable and volatile, for an old partial is worth nothing.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import rclpy
from auricle_msgs.action import Ask
from auricle_msgs.msg import Caption, Gap, SoundEvent
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.action import ActionServer
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from auricle_ros import fields
from auricle_ros.stream import Stream, ask, usual_path

EVENTS = QoSProfile(
    depth=50, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
CAPTIONS = QoSProfile(
    depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
)
USUAL_LAST_S = 60.0


def filled(message: Any, given: dict[str, Any]) -> Any:
    """The message with these fields; times are {"sec", "nanosec"}."""
    for name, value in given.items():
        setattr(message, name, Time(**value) if isinstance(value, dict) else value)
    return message


class Auricle(LifecycleNode):
    """Parameters: socket, frame_id, partials (config/auricle.yaml)."""

    def __init__(self) -> None:
        super().__init__("auricle")
        self.declare_parameter("socket", "")
        self.declare_parameter("frame_id", "microphone")
        self.declare_parameter("partials", True)
        with resources.files("auricle_ros").joinpath("audioset.csv").open(encoding="utf-8") as lines:
            self._ids = fields.audioset_ids(lines)
        self._stream: Stream | None = None
        self._connection, self._status, self._begin_ns, self._active = "not connected", None, 0, False

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        self._path = self.get_parameter("socket").value or usual_path()
        self._frame = self.get_parameter("frame_id").value
        self._partials = self.get_parameter("partials").value
        self._sounds = self.create_lifecycle_publisher(SoundEvent, "~/sounds", EVENTS)
        self._captions = self.create_lifecycle_publisher(Caption, "~/captions", CAPTIONS)
        self._gaps = self.create_lifecycle_publisher(Gap, "~/gaps", EVENTS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = self.create_timer(1.0, self._tell_condition)
        self._asked = ActionServer(self, Ask, "~/ask", self._answer, callback_group=MutuallyExclusiveCallbackGroup())
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        done = super().on_activate(state)  # first: a publisher that is not active yet swallows what it is given
        self._active = True
        self._stream = Stream(self._path, self._take, self._connected)
        return done

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        self._active = False
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        return super().on_deactivate(state)

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        self._asked.destroy()
        self.destroy_timer(self._timer)
        for publisher in (self._sounds, self._captions, self._gaps):
            self.destroy_lifecycle_publisher(publisher)
        self.destroy_publisher(self._diagnostics)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        self._active = False
        if self._stream is not None:
            self._stream.close()
        return TransitionCallbackReturn.SUCCESS

    def _connected(self, connection: str) -> None:
        if connection != self._connection:
            self.get_logger().info(f"auricle: {connection}")
        self._connection = connection

    def _take(self, epoch: str, record: dict[str, Any]) -> None:
        """One record, in the stream's thread."""
        kind = record["type"]
        self._begin_ns = fields.started_ns(record) or self._begin_ns
        if kind == "snapshot":
            # What a resumed stream repeats belongs to the session that was known, or to one that it repeats as well.
            if not record["resumed"]:
                self._begin_ns = fields.started_ns(record.get("status"), record.get("session")) or self._begin_ns
        elif kind == "status":
            self._status = record
        elif kind == "sound":
            self._publish(self._sounds, SoundEvent(), fields.sound_event(record, epoch, self._begin_ns, self._ids))
        elif kind == "caption" and (record["final"] or self._partials):
            self._publish(self._captions, Caption(), fields.caption(record, epoch, self._begin_ns))
        elif kind == "gap":
            self._publish(self._gaps, Gap(), fields.gap(record, self._begin_ns))

    def _publish(self, publisher: Any, message: Any, given: dict[str, Any]) -> None:
        if not self._active:
            return
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._frame
        publisher.publish(filled(message, given))

    def _answer(self, goal: Any) -> Any:
        result = Ask.Result()
        try:
            told = ask(self._path, goal.request.question, goal.request.last or USUAL_LAST_S)
        except (OSError, ValueError) as error:
            told = {"type": "error", "message": str(error)}
        if told["type"] == "answer":
            goal.succeed()
            result.text = told["text"]
            result.start = Time(**fields.time_of(self._begin_ns, told["start"]))
            result.end = Time(**fields.time_of(self._begin_ns, told["end"]))
        else:
            goal.abort()
            result.error = told["message"]
        return result

    def _tell_condition(self) -> None:
        level, message, values = fields.condition(self._status, self._connection)
        told = DiagnosticArray()
        told.header.stamp = self.get_clock().now().to_msg()
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticStatus(level=bytes([level]), name="auricle: hearing", message=message, hardware_id=self._frame, values=pairs)
        told.status = [status]
        self._diagnostics.publish(told)


def main() -> None:
    rclpy.init()
    node = Auricle()
    executor = MultiThreadedExecutor()  # a question, in a group of its own, must not hold up the diagnostics
    executor.add_node(node)
    try:
        executor.spin()
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
