//! The part of the configuration that is about PHP behind FastCGI.

use super::super::guess::{is_php_fpm, names_fpm_config};
use super::super::keys::{KEYS, Key};
use super::super::layers::Value;
use super::super::php::{Php, PhpFpm};
use super::super::read;
use super::{CommandChoice, Facts, Judge, Protocol, Slots, Spawn, Transport, WorkerSource, Workers};
use crate::error::Problem;

/// How all keys begin that are about PHP.
const PREFIX: &str = "php.";

/// Children for each CPU where nobody says how many: most of a page is waiting for a database.
const CHILDREN_PER_CPU: usize = 4;

/// Most children where nobody says how many: each has some 50 MB of its own.
const CHILDREN_MAX: usize = 64;

/// Whether it is a php-fpm, by its name or because somebody says so.
fn is_fpm(spawn: &Spawn) -> bool {
    spawn.transport == Transport::FastCgi || is_php_fpm(&spawn.argv)
}

impl Judge<'_> {
    /// What workers speak: what was said, else what the command is known for. `spawn` is theirs, if we start them.
    pub(super) fn spoken(&mut self, spawn: Option<&Spawn>) -> Protocol {
        let said = self.choice("workers.protocol");
        let is_fpm = spawn.is_some_and(is_fpm);
        match said {
            0 if is_fpm && !self.layers.is_set("workers.protocol") => Protocol::FastCgi,
            0 => Protocol::Auto,
            1 => Protocol::Http1,
            2 => Protocol::Http2,
            _ => Protocol::FastCgi,
        }
    }

    /// How `spawn` starts a php-fpm, if it does, and how many requests that then holds. One of our own configuration
    /// has as many children as it has slots. Of one with its own we do not know them: one more connection than
    /// children would leave a request without a child.
    pub(super) fn php_fpm(&mut self, spawn: &mut Spawn, facts: &Facts, slots: &mut Slots) {
        if !is_fpm(spawn) {
            return;
        }
        let is_configured = names_fpm_config(&spawn.argv);
        if slots.guessed && !is_configured {
            let children = (facts.cpus * CHILDREN_PER_CPU).min(CHILDREN_MAX);
            slots.count = u32::try_from(children).unwrap_or(1);
        }
        if !self.layers.is_set("workers.count") {
            // One, which has its children.
            spawn.count = 1;
        }
        let user = self.optional("php.user", read::text).flatten();
        spawn.php_fpm = Some(PhpFpm { children: slots.count, user, is_configured });
    }

    /// What is served, if that is PHP.
    pub(super) fn php(&mut self, workers: &Workers, facts: &Facts) -> Option<Php> {
        let php = Php {
            root: facts.php_root.clone().unwrap_or_default(),
            index: self.read("php.index", |_, value| {
                Ok(read::words(value)?.iter().map(|word| word.to_string_lossy().into_owned()).collect())
            }),
            front: self.read("php.front", |_, value| read::target(value)),
            serves_files: self.switch("php.files"),
            follows_links: self.switch("php.follow_links"),
            chunked_bytes: self.size("php.chunked_bytes"),
            keeps_connections: self.switch("php.keep_connections"),
            user: self.optional("php.user", read::text).flatten(),
        };
        if workers.protocol != Protocol::FastCgi {
            self.refuse_php_keys();
            return None;
        }
        if facts.php_root.is_none() && self.is_sound("php.root") {
            let problem = Problem::new(
                "The directory of PHP's scripts is not there.",
                "It is `php.root`, else `workers.cwd`, else our own working directory.",
                "Set `php.root` to the directory that holds index.php.",
            );
            self.find("php.root", problem);
        }
        if matches!(&workers.source, WorkerSource::Spawn(spawn) if spawn.chosen == CommandChoice::Demo) {
            let problem = Problem::new(
                "`workers.protocol = \"fastcgi\"`, but there is no command.",
                "The demo worker, which starts without one, speaks HTTP.",
                "Give the command: `warmfront run -- php-fpm`, or sockets of a php-fpm that runs already.",
            );
            self.find("workers.protocol", problem);
        }
        for index in php.index.iter().filter(|index| index.contains('/')) {
            let problem = Problem::new(
                format!("`php.index` names `{index}`, which is no name of a file."),
                "It is looked for in the directory that was asked for.",
                "Write the name alone, such as index.php.",
            );
            self.find("php.index", problem);
        }
        Some(php)
    }

    fn refuse_php_keys(&mut self) {
        // A default changes nothing.
        let is_said = |key: &&Key| {
            let setting = self.layers.setting(key.path).filter(|_| key.path.starts_with(PREFIX));
            setting.is_some_and(|setting| setting.value != Value::Word(key.default.into()))
        };
        let said: Vec<_> = KEYS.iter().filter(is_said).map(|key| key.path).collect();
        for path in said {
            if self.is_sound(path) {
                let problem = Problem::new(
                    format!("`{path}` means nothing to workers that speak HTTP."),
                    "It is about PHP behind FastCGI: `workers.protocol = \"fastcgi\"`, or a command that is php-fpm.",
                    format!("Set `workers.protocol = \"fastcgi\"`, or remove `{path}`."),
                );
                self.find(path, problem);
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::super::super::layers::{Layers, Source};
    use super::super::{WorkerSource, resolve};
    use super::*;
    use crate::config::Config;

    fn resolved(values: &[(&str, &str)]) -> Result<Config, String> {
        let mut layers = Layers::default();
        for (path, value) in values {
            let key = Key::find(path).expect(path);
            layers.set(key, Value::Word(value.into()), Source::Env(path.to_string()));
        }
        resolve(&layers, &super::super::tests::facts())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn spawned(config: &Config) -> (&Spawn, u32) {
        let WorkerSource::Spawn(spawn) = &config.workers.source else { panic!("spawned workers") };
        (spawn, config.workers.slots.count)
    }

    #[test]
    fn a_command_that_is_php_fpm_is_one_worker_with_its_children_that_speaks_fastcgi() {
        let config = resolved(&[("workers.command", "/usr/sbin/php-fpm8.2")]).unwrap();
        let (spawn, slots) = spawned(&config);
        assert_eq!((spawn.count, slots, config.workers.protocol), (1, 8, Protocol::FastCgi));
        assert_eq!(spawn.php_fpm, Some(PhpFpm { children: 8, user: None, is_configured: false }));
        assert_eq!(config.php.unwrap().root, std::path::Path::new("/srv/app"));
        let told = [("workers.command", "php-fpm"), ("workers.concurrency", "3"), ("workers.count", "2")];
        let config = resolved(&told).unwrap();
        let (spawn, slots) = spawned(&config);
        assert_eq!((spawn.count, slots, spawn.php_fpm.as_ref().unwrap().children), (2, 3, 3));
    }

    #[test]
    fn of_a_php_fpm_with_a_configuration_of_its_own_no_more_than_one_child_is_known() {
        let config = resolved(&[("workers.command", "php-fpm -y own.conf")]).unwrap();
        let (spawn, slots) = spawned(&config);
        assert_eq!((slots, spawn.php_fpm.as_ref().unwrap().is_configured), (1, true));
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for (values, said) in [
            (&[("workers.protocol", "fastcgi")][..], "but there is no command"),
            (&[("workers.command", "node x"), ("php.front", "/app.php")], "`php.front` means nothing"),
            (&[("workers.command", "php-fpm"), ("php.index", "a/index.php")], "is no name of a file"),
        ] {
            let problems = resolved(values).unwrap_err();
            assert!(problems.contains(said), "{problems}");
        }
        let plain = resolved(&[("workers.command", "node x"), ("php.front", "/index.php")]).unwrap();
        assert_eq!(plain.php, None, "a default changes nothing");
        let other = resolved(&[("workers.command", "php-fpm"), ("workers.protocol", "http1")]).unwrap();
        assert_eq!(other.workers.protocol, Protocol::Http1, "whoever says so means it");
    }
}
