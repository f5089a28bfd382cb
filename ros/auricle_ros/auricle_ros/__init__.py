"""What `auricle serve` hears, for ROS 2."""
