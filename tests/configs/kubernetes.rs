//! The manifests of Kubernetes and Knative: they fit the schemas of both, and their numbers fit ours.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{documents, holds_against, resolved, root, seconds, slots, texts, warmfront};

/// The oldest version with all that the manifests say: preStop's `sleep` is in it.
const KUBERNETES: &str = "1.30";

fn kubernetes() -> Command {
    let mut python = Command::new(root().join("tests/validators/kubernetes/venv/bin/python"));
    python.arg(root().join("tests/validators/kubernetes/validate.py")).arg(KUBERNETES);
    python
}

fn knative() -> Command {
    let mut node = Command::new("node");
    node.arg(root().join("tests/validators/knative/validate.mjs"));
    node
}

#[test]
fn the_manifests_of_kubernetes_fit_its_schemas_strictly() {
    let slips = [
        ("sleep: { seconds: 5 }", "sleep: { second: 5 }"),
        ("terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 45s"),
        ("readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("matchLabels", "matchLabel"),
    ];
    holds_against(kubernetes, "kubernetes/deployment.yaml", &slips);
    holds_against(
        kubernetes,
        "kubernetes/service.yaml",
        &[("port: 80", "port: http"), ("selector:", "selectors:")],
    );
    let slips = [("averageUtilization: 60", "averageUtilization: 60%"), ("maxReplicas: 20", "max: 20")];
    holds_against(kubernetes, "kubernetes/hpa.yaml", &slips);
}

#[test]
fn the_service_of_knative_fits_its_schema_and_its_pod_that_of_kubernetes() {
    let slips = [
        ("containerConcurrency: 20", "containerConcurrency: many"),
        ("timeoutSeconds: 60", "timeoutSeconds: 60s"),
        ("apiVersion: serving.knative.dev/v1", "apiVersion: serving.knative.dev/v2"),
    ];
    holds_against(knative, "kubernetes/knative-service.yaml", &slips);
    let slips = [
        ("containerConcurrency: 20", "containerConcurency: 20"),
        ("readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("tcpSocket:", "tcpsocket:"),
    ];
    holds_against(kubernetes, "kubernetes/knative-service.yaml", &slips);
}

fn manifest(name: &str) -> Vec<Value> {
    documents(&root().join("configs/kubernetes").join(name))
}

#[test]
fn the_numbers_of_the_deployment_fit_those_of_its_configuration() {
    let documents = manifest("deployment.yaml");
    let [map, deployment] = &documents[..] else { panic!("a ConfigMap and a Deployment") };
    let dir = tempfile::tempdir().expect("a directory");
    let file: PathBuf = dir.path().join("warmfront.toml");
    let text = map["data"]["warmfront.toml"].as_str().expect("the configuration");
    // The application is in the image; any program stands for it.
    std::fs::write(&file, text.replace("\"node\"", "\"/bin/sh\"")).expect("written");
    let path = file.to_string_lossy().into_owned();
    let output = warmfront(&["check", "--config", &path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = resolved(&["--config".to_owned(), path], &[]);
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("seconds");
    let needed = pause + seconds(&config, "drain.deadline") + seconds(&config, "workers.grace");
    assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(needed), "KILL comes within {needed} s");
    let probe = |name: &str| {
        let probe = &container[name];
        let time = probe["periodSeconds"].as_u64().expect("s")
            * probe["failureThreshold"].as_u64().expect("a number");
        (probe["httpGet"]["path"].clone(), probe["httpGet"]["port"].clone(), time)
    };
    assert!(
        probe("startupProbe").2 > seconds(&config, "start.deadline"),
        "killed before the start is given up"
    );
    for (name, path) in [("startupProbe", "/ready"), ("readinessProbe", "/ready"), ("livenessProbe", "/live")]
    {
        assert_eq!(probe(name).0, path, "{name}");
        assert_eq!(probe(name).1, "admin", "{name}");
    }
    let ports: Vec<_> =
        container["ports"].as_array().expect("ports").iter().map(|port| &port["containerPort"]).collect();
    assert_eq!(config["listen.port"], ports[0].to_string());
    assert_eq!(config["admin.listen"], format!("0.0.0.0:{}", ports[1]));
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], ports[1].to_string());
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    assert!(mounts.iter().any(|mount| mount["mountPath"] == config["workers.socket_dir"].as_str()));
    // Who selects whom.
    let [service, hpa] = ["service.yaml", "hpa.yaml"].map(|name| manifest(name).remove(0));
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        (&service["spec"]["selector"], &deployment["spec"]["selector"]["matchLabels"]),
        (labels, labels)
    );
    assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
    assert_eq!(hpa["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
}

#[test]
fn the_numbers_of_the_knative_service_fit_those_of_warmfront() {
    let service = manifest("knative-service.yaml").remove(0);
    let revision = &service["spec"]["template"]["spec"];
    let container = &revision["containers"][0];
    let variable = |entry: &Value| {
        let [name, value] = ["name", "value"].map(|field| entry[field].as_str().expect("a text").to_owned());
        (name, value)
    };
    let variables: Vec<_> = container["env"].as_array().expect("variables").iter().map(variable).collect();
    let words = texts(&container["args"]);
    assert_eq!(words[0], "run");
    let config = resolved(&words[1..], &variables);
    assert_eq!(revision["containerConcurrency"].as_u64(), Some(slots(&config)));
    let needed = seconds(&config, "drain.deadline") + seconds(&config, "workers.grace");
    assert!(revision["timeoutSeconds"].as_u64() > Some(needed), "KILL comes within {needed} s");
    let port = &container["ports"][0]["containerPort"];
    assert_eq!(config["listen.port"], port.to_string());
    assert_eq!(
        (&container["readinessProbe"]["httpGet"]["port"], &container["livenessProbe"]["tcpSocket"]["port"]),
        (port, port)
    );
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], config["health.path"].as_str());
    let annotations = &service["spec"]["template"]["metadata"]["annotations"];
    let progress =
        annotations["serving.knative.dev/progress-deadline"].as_str().and_then(|time| time.strip_suffix('s'));
    let progress: u64 = progress.and_then(|time| time.parse().ok()).expect("seconds");
    assert!(progress > seconds(&config, "start.deadline"));
    assert!(config["admin.listen"].ends_with(annotations["prometheus.io/port"].as_str().expect("a port")));
    for hook in ["initialize", "pre_freeze", "pre_stop"] {
        assert_eq!(config[&format!("hooks.{hook}")], "off", "anybody could call it");
    }
}
