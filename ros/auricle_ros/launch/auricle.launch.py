"""Starts the node, configures and activates it."""

import os

import lifecycle_msgs.msg
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import EmitEvent, RegisterEventHandler
from launch.events import matches_action
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState


def generate_launch_description():
    config = os.path.join(get_package_share_directory("auricle_ros"), "config", "auricle.yaml")
    node = LifecycleNode(package="auricle_ros", executable="listener", name="auricle", namespace="", parameters=[config], output="screen")

    def change(transition):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[change(lifecycle_msgs.msg.Transition.TRANSITION_ACTIVATE)],
    )
    return LaunchDescription([node, RegisterEventHandler(activate), change(lifecycle_msgs.msg.Transition.TRANSITION_CONFIGURE)])
