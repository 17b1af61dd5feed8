//! Why FastCGI gave no answer that may be passed on, and what that means to whoever asked.

use crate::config::units::size_text;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhpFault {
    /// What came is no FastCGI, or breaks its rules.
    #[error("php-fpm has sent a record that cannot be read: {0}")]
    Record(&'static str),
    /// The head of the answer cannot be passed on.
    #[error("the head of PHP's answer cannot be passed on: {0}")]
    Head(&'static str),
    /// The body is not as long as its head says.
    #[error("PHP's answer has another length than it has announced")]
    Length,
    /// The application has no room for the request; it did nothing with it.
    #[error("php-fpm is overloaded")]
    Overloaded,
    /// It does not take a second request on the connection; it did nothing with it.
    #[error("php-fpm does not take two requests on one connection")]
    Multiplex,
    /// It is another thing than something that answers.
    #[error("what listens there is no FastCGI responder")]
    Role,
    /// The request came in chunks, and more of them than are held until its length is known.
    #[error(
        "PHP must know the length of a request before its first byte, and this one came in chunks with more than \
         php.chunked_bytes={}; send Content-Length", size_text(*.0)
    )]
    NoLength(u64),
    /// A field is too long for FastCGI; holds the parameter's name.
    #[error("the field that becomes {0} is too long for php-fpm, which takes 64 KiB")]
    Field(String),
}

impl PhpFault {
    /// The status that says so.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Record(_) | Self::Head(_) | Self::Length | Self::Role => 502,
            Self::Overloaded | Self::Multiplex => 503,
            Self::NoLength(_) => 411,
            Self::Field(_) => 431,
        }
    }

    /// Its word in `x-warmfront-reason` and in the access line.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Record(_) => "php-record".to_owned(),
            Self::Head(_) => "php-head".to_owned(),
            Self::Length => "php-length".to_owned(),
            Self::Overloaded => "php-overloaded".to_owned(),
            Self::Multiplex => "php-multiplex".to_owned(),
            Self::Role => "php-role".to_owned(),
            Self::NoLength(limit) => format!("php.chunked_bytes={}", size_text(*limit)),
            Self::Field(_) => "php-field".to_owned(),
        }
    }

    /// Whether the application did certainly nothing with the request, so that it may be sent again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Overloaded | Self::Multiplex)
    }

    /// One of each kind.
    #[must_use]
    pub fn all() -> [Self; 8] {
        [
            Self::Record("version"),
            Self::Head("Status"),
            Self::Length,
            Self::Overloaded,
            Self::Multiplex,
            Self::Role,
            Self::NoLength(1),
            Self::Field("HTTP_COOKIE".to_owned()),
        ]
    }
}
