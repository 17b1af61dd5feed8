"""Writes every document of a YAML file as one JSON list, for tests that compare its numbers: FILE."""

import json
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    json.dump(list(yaml.safe_load_all(file)), sys.stdout)
