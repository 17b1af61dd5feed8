//! The methods that are sent, and which of them may be sent twice.

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

impl Method {
    const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Delete];

    /// As it stands in a request line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// The method of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// How often workers may execute one request: only what is read twice as well as once is sent
    /// again after a worker may have got it, and once at that. PUT and DELETE may be repeated by
    /// RFC 9110; warmfront does not.
    pub(super) const fn executions_max(self) -> u32 {
        match self {
            Self::Get | Self::Head => 2,
            Self::Post | Self::Put | Self::Delete => 1,
        }
    }
}
