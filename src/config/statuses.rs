//! A set of HTTP statuses as one writes it: classes such as `5xx`, and single ones.

/// Statuses by which a worker says that an event failed. Empty unless configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    classes: Vec<u16>,
    single: Vec<u16>,
}

impl Statuses {
    /// Reads words such as `5xx` and `429`.
    ///
    /// # Errors
    /// The first word that is neither a class from `3xx` to `5xx` nor a status from 300 to 599.
    pub fn parse<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Self, &'w str> {
        let mut statuses = Self::default();
        for word in words {
            match word.strip_suffix("xx") {
                Some(class) => match class.parse() {
                    Ok(class @ 3..=5) => statuses.classes.push(class),
                    _ => return Err(word),
                },
                None => match word.parse() {
                    Ok(status @ 300..=599) => statuses.single.push(status),
                    _ => return Err(word),
                },
            }
        }
        Ok(statuses)
    }

    /// Whether `status` is one of them.
    pub fn hold(&self, status: u16) -> bool {
        self.classes.contains(&(status / 100)) || self.single.contains(&status)
    }

    /// As they are written in the configuration.
    pub fn words(&self) -> Vec<String> {
        let classes = self.classes.iter().map(|class| format!("{class}xx"));
        classes.chain(self.single.iter().map(u16::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_single_statuses_are_read_and_others_named() {
        let statuses = Statuses::parse(["5xx", "429"]).unwrap();
        let held: Vec<u16> =
            [200, 428, 429, 499, 500, 599].into_iter().filter(|&s| statuses.hold(s)).collect();
        assert_eq!(held, [429, 500, 599]);
        assert_eq!(statuses.words(), ["5xx", "429"]);
        for bad in ["2xx", "6xx", "xx", "x", "200", "600", "-1", "5XX"] {
            assert_eq!(Statuses::parse(["5xx", bad]), Err(bad));
        }
        assert!(!Statuses::default().hold(500));
    }
}
