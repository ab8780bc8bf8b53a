"""Fails if a library of the default features asks for a later Rust than the project's own Cargo.toml promises."""

import json
import subprocess
import sys


def number(version):
    return [int(part) for part in version.split(".")]


command = ["cargo", "metadata", "--format-version", "1", "--locked"]
packages = json.loads(subprocess.check_output(command))["packages"]
promised = next(package["rust_version"] for package in packages if package["name"] == "repro")
later = [
    f"{package['name']} {package['version']} asks for Rust {package['rust_version']}"
    for package in packages
    if package["rust_version"] and number(package["rust_version"])[:2] > number(promised)[:2]
]
if later:
    sys.exit("\n".join([f"expected Rust {promised} or earlier, found:", *later]))
print(f"{len(packages)} packages, none of which asks for a later Rust than {promised}")
