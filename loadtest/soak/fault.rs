//! What a misbehaving worker may do, by name.

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// The process ends while bytes of a request lie unread.
    CrashUnread,
    /// The process ends behind the head of a request, its body unread or partly read.
    CrashReading,
    /// The process ends behind a whole request, before the answer.
    CrashBeforeAnswer,
    /// The process ends in the middle of an answer.
    CrashAnswering,
    /// Closes a connection whose request lies unread: the sidecar finds a reset.
    ResetUnread,
    /// Closes behind the head of a request, its body unread or partly read.
    ResetReading,
    /// Closes behind a whole request without a word.
    Close,
    /// Waits, then goes on as if nothing were.
    Stall,
    /// Announces more than it sends, and closes.
    Truncated,
    /// Sends something that is no HTTP, or HTTP in two ways.
    Garbage,
    /// Sends bytes behind a complete answer.
    Excess,
    /// Closes a connection that is idle, although nobody was told.
    IdleClose,
    /// Lets connections wait before it accepts them.
    SlowAccept,
    /// Opens its socket late.
    SlowStart,
}

impl Fault {
    pub(crate) const ALL: [Self; 14] = [
        Self::CrashUnread,
        Self::CrashReading,
        Self::CrashBeforeAnswer,
        Self::CrashAnswering,
        Self::ResetUnread,
        Self::ResetReading,
        Self::Close,
        Self::Stall,
        Self::Truncated,
        Self::Garbage,
        Self::Excess,
        Self::IdleClose,
        Self::SlowAccept,
        Self::SlowStart,
    ];

    /// Those that end the process.
    pub(crate) const CRASHES: [Self; 4] =
        [Self::CrashUnread, Self::CrashReading, Self::CrashBeforeAnswer, Self::CrashAnswering];

    /// Those that a request may meet without the end of the process.
    pub(crate) const RUDE: [Self; 6] =
        [Self::ResetReading, Self::Close, Self::Stall, Self::Truncated, Self::Garbage, Self::Excess];

    /// Its name in journals and tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CrashUnread => "crash-unread",
            Self::CrashReading => "crash-reading",
            Self::CrashBeforeAnswer => "crash-before-answer",
            Self::CrashAnswering => "crash-answering",
            Self::ResetUnread => "reset-unread",
            Self::ResetReading => "reset-reading",
            Self::Close => "close",
            Self::Stall => "stall",
            Self::Truncated => "truncated",
            Self::Garbage => "garbage",
            Self::Excess => "excess",
            Self::IdleClose => "idle-close",
            Self::SlowAccept => "slow-accept",
            Self::SlowStart => "slow-start",
        }
    }

    /// The fault of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// Whether a request that meets it may fail for it.
    pub(crate) fn can_fail_a_request(self) -> bool {
        !matches!(self, Self::Stall | Self::Excess | Self::SlowAccept | Self::SlowStart)
    }

    /// Whether it may hit a request that the worker has not read.
    pub(crate) fn hits_unread_requests(self) -> bool {
        matches!(self, Self::CrashUnread | Self::ResetUnread | Self::IdleClose)
    }
}
