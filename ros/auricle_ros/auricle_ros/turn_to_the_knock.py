"""An example: a robot that turns when somebody knocks; towards the knock where the microphone tells a direction, else half around."""

from __future__ import annotations

import math

import rclpy
from auricle_msgs.msg import SoundEvent
from geometry_msgs.msg import Twist
from rclpy.node import Node

from auricle_ros.node import EVENTS

SPEED = 0.8  # radians a second
LATE = rclpy.duration.Duration(seconds=2)


class TurnToTheKnock(Node):
    def __init__(self) -> None:
        super().__init__("turn_to_the_knock")
        self._wheels = self.create_publisher(Twist, "cmd_vel", 10)
        self._until = self.get_clock().now()
        self._speed = 0.0
        self.create_subscription(SoundEvent, "auricle/sounds", self._heard, EVENTS)
        self.create_timer(0.05, self._drive)

    def _heard(self, sound: SoundEvent) -> None:
        age = self.get_clock().now() - rclpy.time.Time.from_msg(sound.header.stamp)
        if sound.state != SoundEvent.START or sound.label != "Knock" or age > LATE:
            return  # what is kept for who comes late may be old
        angle = sound.azimuth if sound.azimuth_valid else math.pi
        self._speed = math.copysign(SPEED, angle)
        self._until = self.get_clock().now() + rclpy.duration.Duration(seconds=abs(angle) / SPEED)

    def _drive(self) -> None:
        twist = Twist()
        twist.angular.z = self._speed if self.get_clock().now() < self._until else 0.0
        self._wheels.publish(twist)


def main() -> None:
    rclpy.init()
    rclpy.spin(TurnToTheKnock())
