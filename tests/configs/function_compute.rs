//! What deploys a function: it fits who reads it, and its numbers fit ours.

use std::process::Command;

use serde_json::Value;

use super::{documents, holds_against, resolved, root, seconds, slots, texts};

/// The constraints of Serverless Devs' component, in our words (see the head of the schema): its own schema is in no
/// registry.
fn serverless_devs() -> Command {
    let mut python = Command::new(root().join("tests/validators/kubernetes/venv/bin/python"));
    python.arg(root().join("tests/validators/schema.py"));
    python.arg(root().join("tests/validators/fc3.schema.json"));
    python
}

/// `fun validate`, with its own code.
fn fun() -> Command {
    let mut node = Command::new("node");
    node.arg(root().join("tests/apps/fun/validate.js"));
    node
}

#[test]
fn the_functions_of_serverless_devs_fit_what_its_component_takes() {
    for name in ["fc/s.yaml", "fc/s-container.yaml"] {
        let slips = [
            ("component: fc3", "component: fc"),
            ("timeoutSeconds: 1 ", "timeoutSeconds: 4 "),
            ("httpGetUrl: /", "httpGetUrl: "),
            ("httpGetUrl", "httpGetURL"),
            ("timeout: 30 ", "timeout: 91 "),
            ("timeout: 120 ", "timeout: 301 "),
            ("preStop:", "preFreeze:"),
            ("diskSize: 512", "diskSize: 1024"),
            ("instanceConcurrency: ", "instanceConcurrency: 20"),
            ("triggerType: http", "triggerType: https"),
            ("runtime: custom", "runtime: custum"),
        ];
        holds_against(serverless_devs, name, &slips);
    }
    holds_against(serverless_devs, "fc/s.yaml", &[("code: ./code", "codeUri: ./code")]);
    holds_against(serverless_devs, "fc/s-container.yaml", &[("image: ", "img: ")]);
}

#[test]
fn the_template_of_fun_passes_funs_own_validator() {
    let slips = [
        ("Runtime: custom", "Runtime: custum"),
        ("CAPort: 9000", "CAPort: x"),
        ("  Handler: index.handler", "  Hander: index.handler"),
        ("AuthType: ANONYMOUS", "AuthType: NONE"),
        ("InitializationTimeout", "InitialisationTimeout"),
    ];
    holds_against(fun, "fc/template.yml", &slips);
}

/// Every number that both sides have: slots, hooks' times, ports.
#[test]
fn the_numbers_of_the_functions_fit_those_of_warmfront() {
    for name in ["s.yaml", "s-container.yaml"] {
        let document = &documents(&root().join("configs/fc").join(name))[0];
        let props = &document["resources"]["app"]["props"];
        let (config, command) = match &props["customRuntimeConfig"] {
            Value::Null => {
                (&props["customContainerConfig"], texts(&props["customContainerConfig"]["command"]))
            }
            runtime => (runtime, texts(&runtime["command"])[1..].to_vec()),
        };
        assert_eq!(command[0], "run", "{name}");
        let memory = props["memorySize"].as_u64().expect("MB");
        let cpus = props["cpu"].as_u64().expect("whole ones");
        assert!(
            (1024 * cpus..=4096 * cpus).contains(&memory),
            "{name}: the platform wants 1 to 4 GB for each core"
        );
        assert_eq!(config["healthCheckConfig"]["httpGetUrl"], "/_warmfront/health", "{name}");
        let lifecycle = &props["instanceLifecycleConfig"];
        let times = [&lifecycle["initializer"], &lifecycle["preStop"], props];
        let times =
            [times[0]["timeout"].as_u64(), times[1]["timeout"].as_u64(), times[2]["timeout"].as_u64()];
        let port = config["port"].as_u64().expect("a port");
        fits(name, &command[1..], &props["environmentVariables"], port, &props["instanceConcurrency"], times);
    }
    let document = &documents(&root().join("configs/fc/template.yml"))[0];
    let props = &document["Resources"]["warmfront"]["app"]["Properties"];
    let lifecycle = &props["InstanceLifecycleConfig"];
    let times = [&props["InitializationTimeout"], &lifecycle["PreStop"]["Timeout"], &props["Timeout"]]
        .map(Value::as_u64);
    let port = props["CAPort"].as_u64().expect("a port");
    fits("template.yml", &[], &props["EnvironmentVariables"], port, &props["InstanceConcurrency"], times);
    assert!(lifecycle["PreFreeze"]["Timeout"].as_u64() <= Some(90));
}

/// `times`: of the initializer, of pre-stop, of one invocation.
fn fits(
    name: &str,
    words: &[String],
    variables: &Value,
    port: u64,
    concurrency: &Value,
    times: [Option<u64>; 3],
) {
    let mut variables: Vec<(String, String)> = variables
        .as_object()
        .expect("variables")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
        .collect();
    variables.push(("FC_CUSTOM_LISTEN_PORT".to_owned(), port.to_string()));
    let config = resolved(words, &variables);
    let [initializer, pre_stop, invocation] = times.map(|time| time.expect("seconds"));
    assert_eq!(config["listen.port"], port.to_string(), "{name}");
    assert_eq!(config["health.path"], "/_warmfront/health", "{name}");
    assert_eq!(Some(slots(&config)), concurrency.as_u64(), "{name}: workers × concurrency");
    assert!(
        initializer > seconds(&config, "start.deadline"),
        "{name}: the platform gives up before we say why"
    );
    assert!(
        pre_stop > seconds(&config, "drain.deadline"),
        "{name}: the platform does not wait for the drain"
    );
    assert!(pre_stop <= 90 && initializer <= 300, "{name}: more than the platform takes");
    assert!(
        invocation > seconds(&config, "queue.timeout"),
        "{name}: who waits longest is not served any more"
    );
}
