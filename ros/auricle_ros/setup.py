from setuptools import setup

setup(
    name="auricle_ros",
    version="0.1.0",
    packages=["auricle_ros"],
    package_data={"auricle_ros": ["audioset.csv"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/auricle_ros"]),
        ("share/auricle_ros", ["package.xml"]),
        ("share/auricle_ros/launch", ["launch/auricle.launch.py"]),
        ("share/auricle_ros/config", ["config/auricle.yaml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    license="Apache-2.0",
    entry_points={"console_scripts": ["listener = auricle_ros.node:main", "turn_to_the_knock = auricle_ros.turn_to_the_knock:main"]},
)
