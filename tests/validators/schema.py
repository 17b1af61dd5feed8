"""Judges TOML and YAML files by a JSON Schema: SCHEMA FILE... Writes a line for each, `FILE: fits` or `FILE: WHERE: WHY`."""

import json
import sys
import tomllib

import jsonschema


def read(path):
    if path.endswith(".toml"):
        with open(path, "rb") as file:
            return tomllib.load(file)
    # Only in the environment of tests/validators/kubernetes.
    import yaml

    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)

for path in sys.argv[2:]:
    error = jsonschema.exceptions.best_match(validator.iter_errors(read(path)))
    verdict = "fits" if error is None else f"{error.json_path}: {error.message.splitlines()[0]}"
    print(f"{path}: {verdict}")
