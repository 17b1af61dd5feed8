//! The file of service profiles: names that stand for one function, or for several by share.
//!
//! The schema is that of Noslate's SDK (noslated v0.25: `service_profile_schema.json`). It lets a service pass that
//! selects nothing, and data planes keep it; the first request then finds out. Here it is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::control::{FunctionProfile, FunctionService, KeyValuePair, Selector};
use super::profiles::note_name;
use super::sheet::{Fields, Judged, Object, Sheet, shown};
use crate::config::nearest::nearest;
use crate::error::Problem;

const DEFAULT: &str = "default";
const BY_SHARE: &str = "proportional-load-balance";

/// How far shares may be above 1 together: what decimal fractions lose in binary.
const ROUNDING: f64 = 1e-6;

/// The services that `bytes` hold, which stand in `file`. `functions`: those that planes will know, if that is known.
///
/// # Errors
/// Every problem at once, down the file, each with its line; warnings among them.
pub fn services(
    bytes: &[u8],
    file: &str,
    functions: Option<&[FunctionProfile]>,
) -> Result<Judged<FunctionService>, Vec<Problem>> {
    let (mut sheet, items) = Sheet::open(bytes, file, "service profiles")?;
    let mut names = BTreeMap::new();
    let mut services = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        if let Some(service) = service(&mut sheet, item, &format!("/{index}"), functions) {
            note_name(&mut sheet, &mut names, &service.name, index);
            services.push(service);
        }
    }
    sheet.finish(services)
}

fn service(
    sheet: &mut Sheet<'_>,
    value: &Value,
    pointer: &str,
    functions: Option<&[FunctionProfile]>,
) -> Option<FunctionService> {
    let fields = Fields { own: &["name", "type", "selector", "selectors"], inside: &[] };
    let object = sheet.object(value, pointer, &fields)?;
    let name = sheet.required(&object, "name", "Give the service a name.").unwrap_or_default();
    // Without a word it is the first.
    let kind = match object.get("type") {
        None => DEFAULT.to_owned(),
        Some(_) => sheet.choice(&object, "type", &[DEFAULT, BY_SHARE])?,
    };
    let (needed, other) = if kind == DEFAULT { ("selector", "selectors") } else { ("selectors", "selector") };
    if object.get(other).is_some() {
        let at = object.at(other);
        let what = format!("`{at}` is not read where the type is {kind}.");
        sheet.warn(&at, what, "", format!("Remove it, or set another type; {kind} has `{needed}`."));
    }
    if object.get(needed).is_none() {
        let at = object.at(needed);
        sheet.error(
            &at,
            format!("`{at}` is missing."),
            "The service would stand for no function.",
            match needed {
                "selector" => "Write it as { \"functionName\": \"…\" }.",
                _ => "Write it as [ { \"selector\": { \"functionName\": \"…\" }, \"proportion\": 0.5 }, … ].",
            },
        );
        return None;
    }
    let mut service = FunctionService { name, r#type: kind, ..FunctionService::default() };
    if needed == "selector" {
        service.selector = selector(sheet, &object, functions);
    } else {
        service.selectors = selectors(sheet, &object, functions);
    }
    Some(service)
}

/// Functions with their shares.
fn selectors(
    sheet: &mut Sheet<'_>,
    object: &Object<'_>,
    functions: Option<&[FunctionProfile]>,
) -> Vec<Selector> {
    let at = object.at("selectors");
    let items = sheet.list(object, "selectors");
    if items.is_empty() && object.get("selectors").is_some_and(Value::is_array) {
        sheet.error(&at, format!("`{at}` is empty."), "The service would stand for no function.", "Add one.");
    }
    let mut selectors = Vec::with_capacity(items.len());
    let mut sum = 0.0;
    for (pointer, item) in items {
        let fields = Fields { own: &["selector", "proportion"], inside: &[("selector", &["functionName"])] };
        let Some(entry) = sheet.object(item, &pointer, &fields) else { continue };
        for (name, fix) in
            [("selector", "Write it as { \"functionName\": \"…\" }."), ("proportion", "Set 0 to 1.")]
        {
            if entry.get(name).is_none() {
                let at = entry.at(name);
                sheet.error(&at, format!("`{at}` is missing."), "", fix);
            }
        }
        let selector = selector(sheet, &entry, functions);
        let proportion = sheet.share(&entry, "proportion", 1.0).unwrap_or_default();
        // As it was written: single precision would lose the comparison below.
        sum +=
            entry.get("proportion").and_then(Value::as_f64).filter(|_| proportion > 0.0).unwrap_or_default();
        selectors.push(Selector { selector, proportion });
    }
    if sum > 1.0 + ROUNDING {
        sheet.error(
            &at,
            format!("The proportions in `{at}` are {sum} together."),
            "What is beyond 1 gets no request.",
            "Lower them to 1 or less; the last function gets what is left.",
        );
    }
    selectors
}

/// What selects a function, in the object's field of that name.
fn selector(
    sheet: &mut Sheet<'_>,
    object: &Object<'_>,
    functions: Option<&[FunctionProfile]>,
) -> Vec<KeyValuePair> {
    let Some(value) = object.get("selector") else { return Vec::new() };
    let fields = Fields { own: &["functionName"], inside: &[] };
    let Some(inner) = sheet.object(value, &object.at("selector"), &fields) else { return Vec::new() };
    let Some(name) = sheet.required(&inner, "functionName", "Set the function's name.") else {
        return Vec::new();
    };
    if functions.is_some_and(|functions| functions.iter().all(|function| function.name != name)) {
        let at = inner.at("functionName");
        let near =
            nearest(&name, functions.unwrap_or_default().iter().map(|function| function.name.as_str()));
        let fix = match near {
            Some(near) => format!("Did you mean {}?", shown(near)),
            None => "Add it there, or correct the name.".to_owned(),
        };
        let what = format!("`{at} = {}` is no function of noslate.profiles.", shown(&name));
        sheet.warn(&at, what, "Its requests get 404.", fix);
    }
    vec![KeyValuePair { key: "functionName".to_owned(), value: name }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const READY: &str = include_str!("../../tests/it/noslate/files/services.json");

    /// What is said of these, error or not.
    fn said(services: Value, functions: &[&str]) -> (bool, Vec<String>) {
        let named = |name: &&str| FunctionProfile { name: (*name).into(), ..FunctionProfile::default() };
        let functions: Vec<_> = functions.iter().map(named).collect();
        let known = (!functions.is_empty()).then_some(functions.as_slice());
        match super::services(services.to_string().as_bytes(), "s.json", known) {
            Ok(judged) => (true, judged.warnings.iter().map(ToString::to_string).collect()),
            Err(problems) => (false, problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[track_caller]
    fn refused(service: Value, words: &str) {
        let (is_fine, said) = said(json!([service]), &[]);
        assert!(!is_fine && said.len() == 1 && said[0].contains(words), "{words}: {is_fine} {said:?}");
    }

    fn shares(proportions: &[f64]) -> Value {
        let entry = |share: &f64| json!({ "selector": { "functionName": "a" }, "proportion": share });
        let selectors: Vec<_> = proportions.iter().map(entry).collect();
        json!({ "name": "s", "type": BY_SHARE, "selectors": selectors })
    }

    #[test]
    fn a_good_file_becomes_the_messages_it_describes() {
        let judged = super::services(READY.as_bytes(), "s.json", None).expect("a good file");
        assert_eq!(judged.warnings, []);
        let [shop, canary] = judged.items.as_slice() else { panic!("two services") };
        let web = vec![KeyValuePair { key: "functionName".into(), value: "web".into() }];
        assert_eq!((shop.r#type.as_str(), &shop.selector), (DEFAULT, &web));
        assert_eq!(canary.r#type, BY_SHARE);
        assert_eq!(canary.selectors[0], Selector { selector: web, proportion: 0.9 });
    }

    #[test]
    fn a_service_without_a_type_is_of_the_default_one() {
        let text = json!([{ "name": "s", "selector": { "functionName": "a" } }]).to_string();
        let judged = super::services(text.as_bytes(), "s.json", None).expect("good");
        assert_eq!(judged.items[0].r#type, DEFAULT);
    }

    #[test]
    fn a_service_has_a_name_a_known_type_and_what_selects() {
        let selector = json!({ "functionName": "a" });
        refused(json!({ "selector": selector }), "`/0/name` is missing.");
        refused(json!({ "name": "s", "type": "defualt", "selector": selector }), "Did you mean \"default\"?");
        refused(json!({ "name": "s" }), "`/0/selector` is missing.");
        refused(json!({ "name": "s", "type": BY_SHARE }), "`/0/selectors` is missing.");
        refused(json!({ "name": "s", "selector": {} }), "`/0/selector/functionName` is missing.");
        refused(json!({ "name": "s", "selector": "a" }), "`/0/selector` is a text where an object belongs");
    }

    #[test]
    fn two_services_do_not_share_a_name() {
        let service = json!({ "name": "s", "selector": { "functionName": "a" } });
        let (is_fine, said) = said(json!([service, service]), &[]);
        assert!(!is_fine && said[0].contains("`/1/name = \"s\"` is the name of `/0` too"), "{said:?}");
    }

    #[test]
    fn proportions_are_from_0_to_1_and_at_most_1_together() {
        refused(shares(&[1.5]), "`/0/selectors/0/proportion = 1.5` is out of range");
        refused(shares(&[-0.5, 1.0]), "`/0/selectors/0/proportion = -0.5` is out of range");
        refused(shares(&[0.5, 0.6]), "The proportions in `/0/selectors` are 1.1 together.");
        for good in [&[0.1, 0.2, 0.7][..], &[0.3], &[0.0, 1.0]] {
            assert_eq!(said(json!([shares(good)]), &[]), (true, vec![]), "{good:?}");
        }
    }

    #[test]
    fn each_share_names_its_function_and_how_much() {
        refused(shares(&[]), "`/0/selectors` is empty.");
        let one = |entry: Value| json!({ "name": "s", "type": BY_SHARE, "selectors": [entry] });
        refused(one(json!({ "proportion": 1 })), "`/0/selectors/0/selector` is missing.");
        refused(
            one(json!({ "selector": { "functionName": "a" } })),
            "`/0/selectors/0/proportion` is missing.",
        );
    }

    #[test]
    fn a_function_that_the_planes_will_not_know_is_a_warning() {
        let service = json!([{ "name": "s", "selector": { "functionName": "wbeshop" } }]);
        let (is_fine, told) = said(service.clone(), &["webshop", "other"]);
        assert!(is_fine && told[0].contains("is no function of noslate.profiles"), "{told:?}");
        assert!(told[0].contains("Did you mean \"webshop\"?"), "{told:?}");
        assert_eq!(said(service, &[]), (true, vec![]));
    }

    #[test]
    fn what_the_type_does_not_read_is_a_warning() {
        let selector = json!({ "functionName": "a" });
        let (is_fine, told) = said(json!([{ "name": "s", "selector": selector, "selectors": [] }]), &[]);
        assert!(is_fine && told[0].contains("`/0/selectors` is not read"), "{told:?}");
    }
}
