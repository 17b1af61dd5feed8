//! Records: what every byte on a FastCGI connection is part of (FastCGI 1.0 §3.3).
//!
//! One request at a time and its id is 1: php-fpm knows no other way, and a connection of its own is
//! what keeps a slow request from holding up others.

/// Bytes of the head of each record.
pub const HEAD_BYTES: usize = 8;

/// Most content bytes of one record: what php-fpm accepts (`FCGI_MAX_LENGTH`), 7 less than the length field says.
pub const CONTENT_MAX: usize = 0xfff8;

/// The one version.
const VERSION: u8 = 1;

/// The id of our requests.
const REQUEST: u16 = 1;

/// The role of whoever answers (§6.2).
const RESPONDER: u8 = 1;

/// Asks the application to keep the connection behind the answer (§5.1).
const KEEP_CONN: u8 = 1;

/// Bytes of the content of `END_REQUEST`.
const END_BYTES: usize = 8;

/// What a record is (§8), those that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Opens a request.
    Begin = 1,
    /// Its parameters.
    Params = 4,
    /// Its body.
    Stdin = 5,
}

/// The head of a record of `kind` with `length` bytes of content, at most [`CONTENT_MAX`], and no padding.
#[must_use]
pub fn head(kind: Kind, length: usize) -> [u8; HEAD_BYTES] {
    debug_assert!(length <= CONTENT_MAX, "invariant: whoever writes a record keeps to its length");
    let [high, low] = (length as u16).to_be_bytes();
    let [id_high, id_low] = REQUEST.to_be_bytes();
    [VERSION, kind as u8, id_high, id_low, high, low, 0, 0]
}

/// Appends what opens a request. `keep`: the connection is to be kept behind it.
pub fn push_begin(out: &mut Vec<u8>, keep: bool) {
    out.extend_from_slice(&head(Kind::Begin, 8));
    out.extend_from_slice(&[0, RESPONDER, if keep { KEEP_CONN } else { 0 }, 0, 0, 0, 0, 0]);
}

/// A pair of which not even one record has room; holds its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge(pub Vec<u8>);

/// Writes parameters as records behind what a vector holds already.
///
/// No pair is split between two records, though §3.3 allows it: php-fpm reads each record by itself.
#[derive(Debug)]
pub struct Params<'a> {
    out: &'a mut Vec<u8>,
    /// Where the head of the open record stands.
    at: usize,
}

impl<'a> Params<'a> {
    /// Parameters behind the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let at = out.len();
        out.extend_from_slice(&head(Kind::Params, 0));
        Self { out, at }
    }

    /// Appends one pair; `value` in parts.
    ///
    /// # Errors
    /// [`TooLarge`] if it has more bytes than a record may have.
    pub fn push(&mut self, name: &[u8], value: &[&[u8]]) -> Result<(), TooLarge> {
        let length: usize = value.iter().map(|part| part.len()).sum();
        let bytes = length_bytes(name.len()) + length_bytes(length) + name.len() + length;
        if bytes > CONTENT_MAX {
            return Err(TooLarge(name.to_vec()));
        }
        if self.content() + bytes > CONTENT_MAX {
            self.close();
            self.at = self.out.len();
            self.out.extend_from_slice(&head(Kind::Params, 0));
        }
        push_length(self.out, name.len());
        push_length(self.out, length);
        self.out.extend_from_slice(name);
        value.iter().for_each(|part| self.out.extend_from_slice(part));
        Ok(())
    }

    /// Ends the parameters.
    pub fn end(mut self) {
        self.close();
        self.out.extend_from_slice(&head(Kind::Params, 0));
    }

    fn content(&self) -> usize {
        self.out.len() - self.at - HEAD_BYTES
    }

    /// Writes the length of the open record, now that it is known. An empty one would end the parameters.
    fn close(&mut self) {
        match self.content() {
            0 => self.out.truncate(self.at),
            content => {
                self.out[self.at..self.at + HEAD_BYTES].copy_from_slice(&head(Kind::Params, content));
            }
        }
    }
}

/// Bytes that a length takes (§3.4): one up to 127, else four.
fn length_bytes(length: usize) -> usize {
    if length < 0x80 { 1 } else { 4 }
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => out.extend_from_slice(&(length as u32 | 0x8000_0000).to_be_bytes()),
    }
}

/// Bytes that are no record of an answer, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Which stream of the answer content belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The answer.
    Out,
    /// What the application has to say about it.
    Err,
}

/// How the application says that it is done (§5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All of the answer was sent.
    Complete,
    /// It does not serve two requests on one connection at once.
    CannotMultiplex,
    /// It has no room for the request.
    Overloaded,
    /// It is no responder.
    UnknownRole,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Content of this stream begins, so many bytes of it: [`Records::content`] counts them.
    Content(Stream, usize),
    /// The request is over, and with it what was to be read.
    End(Status),
}

/// Reads the records of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    part: Part,
    head: [u8; HEAD_BYTES],
    have: usize,
    padding: usize,
    out_ended: bool,
}

/// Inside of what part of a record the input stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// So many bytes of content are to come.
    Content(Stream, usize),
    /// The content of `END_REQUEST`; it is gathered where heads are.
    End,
    Padding(Option<Status>),
    /// Behind the end.
    Over,
}

impl Records {
    /// Content that comes next: of which stream, and how many bytes.
    #[must_use]
    pub fn content(&self) -> Option<(Stream, usize)> {
        match self.part {
            Part::Content(stream, left) => Some((stream, left)),
            _ => None,
        }
    }

    /// Notes that `count` bytes of the content were taken, at most as many as [`Records::content`] says.
    pub fn on_taken(&mut self, count: usize) {
        if let Part::Content(stream, left) = self.part {
            debug_assert!(count <= left, "invariant: only content is taken");
            self.part = match left.saturating_sub(count) {
                0 => Part::Padding(None),
                left => Part::Content(stream, left),
            };
        }
    }

    /// Whether the request is over.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.part == Part::Over
    }

    /// Reads what is no content from the front of `input`: how many bytes that were, and what it came upon. `None`
    /// at the end of the input, and while content is to be taken.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no record that may stand there. Nothing behind them can be understood.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Malformed> {
        let mut at = 0;
        loop {
            match self.part {
                Part::Content(..) => return Ok((at, None)),
                Part::Over if at < input.len() => {
                    return Err(Malformed("bytes behind the end of the request"));
                }
                Part::Over => return Ok((at, None)),
                Part::Padding(status) => {
                    let count = self.padding.min(input.len() - at);
                    at += count;
                    self.padding -= count;
                    if self.padding > 0 {
                        return Ok((at, None));
                    }
                    self.part = status.map_or(Part::Head, |_| Part::Over);
                    if let Some(status) = status {
                        return Ok((at, Some(Event::End(status))));
                    }
                }
                Part::Head | Part::End => {
                    if !self.gather(input, &mut at) {
                        return Ok((at, None));
                    }
                    let event = if self.part == Part::Head { self.open()? } else { self.close()? };
                    if event.is_some() {
                        return Ok((at, event));
                    }
                }
            }
        }
    }

    /// Gathers eight bytes: heads have as many, and so has the content of `END_REQUEST`.
    fn gather(&mut self, input: &[u8], at: &mut usize) -> bool {
        let count = (HEAD_BYTES - self.have).min(input.len() - *at);
        self.head[self.have..self.have + count].copy_from_slice(&input[*at..*at + count]);
        self.have += count;
        *at += count;
        if self.have < HEAD_BYTES {
            return false;
        }
        self.have = 0;
        true
    }

    fn open(&mut self) -> Result<Option<Event>, Malformed> {
        let [version, kind, id_high, id_low, high, low, padding, _] = self.head;
        let (id, length) =
            (u16::from_be_bytes([id_high, id_low]), usize::from(u16::from_be_bytes([high, low])));
        if version != VERSION {
            return Err(Malformed("its version is not 1: does something else than FastCGI listen there?"));
        }
        if id != REQUEST {
            return Err(Malformed("it belongs to a request that was not sent"));
        }
        self.padding = usize::from(padding);
        let stream = match kind {
            3 if length == END_BYTES => {
                self.part = Part::End;
                return Ok(None);
            }
            3 => return Err(Malformed("its END_REQUEST has not 8 bytes")),
            6 => Stream::Out,
            7 => Stream::Err,
            _ => return Err(Malformed("it is of a kind that no answer has")),
        };
        if length == 0 {
            // The end of a stream. The request is over only when its own record says so.
            self.out_ended |= stream == Stream::Out;
            self.part = Part::Padding(None);
            return Ok(None);
        }
        if stream == Stream::Out && self.out_ended {
            return Err(Malformed("STDOUT goes on behind its end"));
        }
        self.part = Part::Content(stream, length);
        Ok(Some(Event::Content(stream, length)))
    }

    fn close(&mut self) -> Result<Option<Event>, Malformed> {
        // What stands before it is the exit status of the application, whose meaning is its own.
        let status = match self.head[4] {
            0 => Status::Complete,
            1 => Status::CannotMultiplex,
            2 => Status::Overloaded,
            3 => Status::UnknownRole,
            _ => return Err(Malformed("its END_REQUEST has an unknown status")),
        };
        self.part = Part::Padding(Some(status));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let [high, low] = (content.len() as u16).to_be_bytes();
        let mut bytes = vec![1, kind, 0, 1, high, low, padding, 0];
        bytes.extend_from_slice(content);
        bytes.extend(std::iter::repeat_n(0xee, usize::from(padding)));
        bytes
    }

    /// Both streams, and how the request ended.
    type Read = (Vec<u8>, Vec<u8>, Option<Status>);

    /// What an answer says, read in pieces of at most `step` bytes.
    fn read(bytes: &[u8], step: usize) -> Result<Read, Malformed> {
        let (mut records, mut out, mut err, mut status) = (Records::default(), Vec::new(), Vec::new(), None);
        for mut piece in bytes.chunks(step) {
            while !piece.is_empty() {
                if let Some((stream, left)) = records.content() {
                    let count = left.min(piece.len());
                    if stream == Stream::Out { &mut out } else { &mut err }
                        .extend_from_slice(&piece[..count]);
                    records.on_taken(count);
                    piece = &piece[count..];
                    continue;
                }
                let (count, event) = records.next(piece)?;
                piece = &piece[count..];
                if let Some(Event::End(how)) = event {
                    status = Some(how);
                }
            }
        }
        Ok((out, err, status))
    }

    #[test]
    fn an_answer_is_read_in_pieces_of_any_size() {
        let bytes = [
            record(6, b"hello ", 2),
            record(7, b"careful", 0),
            record(6, b"world", 3),
            record(6, b"", 0),
            record(3, &[0, 0, 0, 0, 0, 0, 0, 0], 4),
        ]
        .concat();
        for step in 1..bytes.len() {
            let (out, err, status) = read(&bytes, step).unwrap();
            assert_eq!((out.as_slice(), err.as_slice()), (&b"hello world"[..], &b"careful"[..]), "{step}");
            assert_eq!(status, Some(Status::Complete));
        }
    }

    #[test]
    fn the_request_is_over_only_behind_the_padding_of_its_end() {
        let end = record(3, &[0, 0, 0, 0, 2, 0, 0, 0], 3);
        let mut records = Records::default();
        assert_eq!(records.next(&end[..end.len() - 1]), Ok((end.len() - 1, None)));
        assert!(!records.are_over());
        assert_eq!(records.next(&end[end.len() - 1..]), Ok((1, Some(Event::End(Status::Overloaded)))));
        assert!(records.are_over());
        assert!(records.next(b"x").is_err(), "nobody asked for more");
    }

    #[test]
    fn what_no_answer_has_is_refused() {
        let mut other_version = record(6, b"x", 0);
        other_version[0] = 2;
        let mut other_request = record(6, b"x", 0);
        other_request[3] = 2;
        for bytes in [
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            other_version,
            other_request,
            record(1, b"x", 0),
            record(11, &[0; 8], 0),
            record(3, &[0; 7], 0),
            record(3, &[0, 0, 0, 0, 9, 0, 0, 0], 0),
            [record(6, b"", 0), record(6, b"x", 0)].concat(),
        ] {
            assert!(read(&bytes, bytes.len()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_request_is_written_as_the_specification_draws_it() {
        let mut out = Vec::new();
        push_begin(&mut out, true);
        assert_eq!(out, [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        let mut params = Params::new(&mut out);
        params.push(b"A", &[b"b", b"c"]).unwrap();
        params.push(b"L", &[&[b'x'; 128]]).unwrap();
        params.end();
        let expected = [
            &[1, 4, 0, 1, 0, 139, 0, 0, 1, 2, b'A', b'b', b'c', 1, 0x80, 0, 0, 128, b'L'][..],
            &[b'x'; 128],
            &[1, 4, 0, 1, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(out[16..], expected);
    }

    #[test]
    fn no_pair_is_split_between_two_records() {
        let mut out = Vec::new();
        let mut params = Params::new(&mut out);
        let long = vec![b'x'; 40_000];
        params.push(b"ONE", &[&long]).unwrap();
        params.push(b"TWO", &[&long]).unwrap();
        assert_eq!(params.push(b"THREE", &[&long, &long]), Err(TooLarge(b"THREE".to_vec())));
        params.end();
        let mut lengths = Vec::new();
        let mut rest = out.as_slice();
        while let [_, 4, _, _, high, low, 0, _, more @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            lengths.push(length);
            rest = &more[length..];
        }
        assert_eq!(lengths, [40_008, 40_008, 0]);
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader_and_pieces_change_nothing(
            bytes in proptest::collection::vec(prop_oneof![0_u8..9, any::<u8>()], 0..200),
            step in 1_usize..40,
        ) {
            let whole = read(&bytes, bytes.len().max(1));
            let pieces = read(&bytes, step);
            prop_assert_eq!(whole.is_ok(), pieces.is_ok());
            if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
                prop_assert_eq!(whole, pieces);
            }
        }

        #[test]
        fn whatever_was_written_is_read_again(
            parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..300), any::<u8>()), 0..8),
            step in 1_usize..400,
        ) {
            let mut bytes: Vec<u8> =
                parts.iter().flat_map(|(is_out, content, padding)| record(if *is_out { 6 } else { 7 }, content, *padding)).collect();
            bytes.extend(record(3, &[0; 8], 0));
            let of = |wanted: bool| -> Vec<u8> {
                parts.iter().filter(|(is_out, ..)| *is_out == wanted).flat_map(|(_, content, _)| content.clone()).collect()
            };
            prop_assert_eq!(read(&bytes, step), Ok((of(true), of(false), Some(Status::Complete))));
        }
    }
}
