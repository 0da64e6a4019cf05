#!/usr/bin/env python3
"""What cloud-init would be told: that it is YAML of its kind, with keys that it knows, of the kinds that it takes.

    user_data.py FILE        status 1 and a sentence where it is not (needs PyYAML)

For where cloud-init is not installed; its own `cloud-init schema` says more.
"""

import re
import sys

import yaml

KINDS = {
    "package_update": bool,
    "package_upgrade": bool,
    "packages": list,
    "write_files": list,
    "runcmd": list,
    "final_message": str,
}
FILE_KEYS = {"path", "content", "permissions", "owner", "append", "defer", "encoding"}

path = sys.argv[1]
with open(path, encoding="utf-8") as file:
    text = file.read()
if not text.startswith("#cloud-config\n"):
    sys.exit(f"{path}: cloud-init takes a file for its own by its first line, which has to be #cloud-config")
data = yaml.safe_load(text)
for key, value in data.items():
    if key not in KINDS:
        sys.exit(f"{path}: {key}: no key that is known here: one of {', '.join(KINDS)}")
    if not isinstance(value, KINDS[key]):
        sys.exit(f"{path}: {key}: has to be of the kind {KINDS[key].__name__}")
for package in data.get("packages", []):
    if not isinstance(package, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package):
        sys.exit(f"{path}: packages: {package!r} is no name of a package")
for each in data.get("write_files", []):
    if not set(each) <= FILE_KEYS or not str(each.get("path", "")).startswith("/"):
        sys.exit(f"{path}: write_files: {each}: needs an absolute path, and of keys knows {', '.join(sorted(FILE_KEYS))}")
    if not re.fullmatch(r"0[0-7]{3}", str(each.get("permissions", "0644"))):
        sys.exit(f"{path}: write_files: {each['path']}: permissions are four octal digits in quotes")
for command in data.get("runcmd", []):
    words = command if isinstance(command, list) else [command]
    if not words or not all(isinstance(word, str) for word in words):
        sys.exit(f"{path}: runcmd: {command!r} is neither a line nor a list of words")
print(f"{path}: {len(data)} keys, each of its kind")
