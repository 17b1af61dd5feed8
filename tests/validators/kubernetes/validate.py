"""Judges manifests by the schemas of Kubernetes, strictly: VERSION FILE... Writes `FILE: fits` or `FILE: KIND: WHERE: WHY`."""

import sys

import kubernetes_validate
import yaml

# What a revision of Knative has beside the fields of a pod.
KNATIVE = ("containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds")


def as_kubernetes(document):
    """The pod in a service of Knative, whose own schema lets unknown fields pass; anything else as it is."""
    if not document.get("apiVersion", "").startswith("serving.knative.dev/"):
        return document
    spec = {name: value for name, value in document["spec"]["template"]["spec"].items() if name not in KNATIVE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": spec}


for path in sys.argv[2:]:
    verdict = "fits"
    with open(path, encoding="utf-8") as file:
        for document in yaml.safe_load_all(file):
            try:
                kubernetes_validate.validate(as_kubernetes(document), sys.argv[1], strict=True)
            except kubernetes_validate.ValidationError as error:
                verdict = f"{document.get('kind')}: {'.'.join(map(str, error.path))}: {error.message}"
    print(f"{path}: {verdict}")
